/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fibers: life, the switch with its sanitizer notes, park and wake.
 *
 * Life: fiber_new (owned by the caller) -> fiber_start (owned by run queues and threads) -> fn
 * returns -> the thread's loop frees it, from its own stack. Between parks a fiber may move to
 * another host thread: after every switch thread_current() is asked anew.
 *
 * Park and wake. `state` holds posted flags and, while parked, which of them end the park. A fiber
 * is only *committed* as parked by its thread's loop, once its registers are saved, so that nobody
 * can run it while it still stands on its stack:
 *
 *   fiber                                thread loop                    waker
 *   waitq_add                                                           condition = true
 *   reads condition: false                                              [A] RMW: state |= TOKEN
 *   fiber_park: no TOKEN yet
 *   switch out ------------------------> [B] RMW: state has no ending
 *                                        flag -> state |= ends << 16
 *
 *   A before B: B sees TOKEN and runs the fiber on; nothing was lost.
 *   B before A: A sees the ends, takes them away (it now owns the fiber) and queues it.
 *
 * [A] is a read-modify-write even when TOKEN is already set. The wrong case, were it a mere look:
 *
 *   waker                                fiber
 *   condition = true (in store buffer)
 *   sees the old TOKEN, does nothing     takes the old TOKEN
 *                                        reads condition: still false
 *                                        parks, for ever
 *
 * With the RMW the fiber's taking of the token (also an RMW) reads from the waker's and so sees
 * the condition.
 *
 * A lock's hand-over (FIBER_LOCK_TOKEN) is a flag of its own: a fiber that sleeps for a mutex while
 * it checks the condition of an outer wait must not swallow that wait's TOKEN.
 *
 * After a waker's RMW the fiber may run on and free itself, unless that RMW took the ends away: so
 * nothing touches the fiber after a post that did not unpark it.
 */
#include "base/sched/fiber.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/heap.h"
#include "base/panic.h"
#include "base/sched/sanitize_priv.h"
#include "base/sched/sched_priv.h"

#include <stdio.h>

DEFINE_CACHE(fiber_cache, struct fiber);

static struct {
    struct spinlock lock;
    struct fiber_list list; /* (lock) every live fiber */
    _Atomic u64 count;      /* (a) */
} fibers = {.list = TAILQ_HEAD_INITIALIZER(fibers.list)};

/* The deadline of a park passed. On a worker's loop. */
static void fiber_timer_fire(struct ktimer *t)
{
    fiber_post(container_of(t, struct fiber, timer), FIBER_TIMEOUT);
}

/* The frame fiber_switch pops the first time: it returns into fiber_boot with r12 = f. */
static void fiber_prepare_stack(struct fiber *f)
{
    struct switch_frame *frame;
    u64 top = (u64)f->stack + FIBER_STACK_SIZE;

    frame = (struct switch_frame *)(top - 2 * sizeof(u64) - sizeof(*frame));
    *frame = (struct switch_frame){
        .mxcsr = 0x1f80, .fpu_cw = 0x37f, .r12 = (u64)f, .rip = (u64)fiber_boot};
    f->sp = frame;
}

struct fiber *fiber_new(const char *name, fiber_fn fn, void *arg)
{
    struct fiber *f = cache_new(fiber_cache);

    if (f == NULL) {
        return NULL;
    }
    if (stack_get(&f->slot, &f->stack) != 0) {
        cache_del(fiber_cache, f);
        return NULL;
    }
    f->fn = fn;
    f->arg = arg;
    (void)snprintf(f->name, sizeof(f->name), "%s", name);
    ktimer_init(&f->timer, fiber_timer_fire);
    fiber_prepare_stack(f);
    f->tsan_fiber = tsan_fiber_new();
    raw_spin_lock(&fibers.lock);
    TAILQ_INSERT_TAIL(&fibers.list, f, all_link);
    raw_spin_unlock(&fibers.lock);
    atomic_fetch_add_explicit(&fibers.count, 1, memory_order_relaxed);
    return f;
}

void fiber_free(struct fiber *f)
{
    rank_check_none(&f->held, f->name);
    raw_spin_lock(&fibers.lock);
    TAILQ_REMOVE(&fibers.list, f, all_link);
    raw_spin_unlock(&fibers.lock);
    tsan_fiber_free(f->tsan_fiber);
    stack_put(f->slot);
    cache_del(fiber_cache, f);
    atomic_fetch_sub_explicit(&fibers.count, 1, memory_order_release);
}

void fiber_start(struct fiber *f)
{
    sched_make_runnable(f);
    sched_preempt_point();
}

void fiber_discard(struct fiber *f)
{
    fiber_free(f);
}

struct fiber *fiber_current(void)
{
    return thread_current()->current;
}

void fiber_set_local(struct fiber *f, void *local)
{
    f->local = local;
}

void *fiber_local(const struct fiber *f)
{
    return f->local;
}

void *fiber_current_local(void)
{
    struct fiber *f = fiber_current();

    return f != NULL ? f->local : NULL;
}

/* From the running fiber to the loop of its thread, and back some day on whatever thread. */
noinline_fn void fiber_switch_out(struct thread *t, enum switch_op op)
{
    struct fiber *f = t->current;
    const void *bottom = NULL;
    size_t size = 0;

    t->op = op;
    asan_start_switch(op == SWITCH_EXIT ? NULL : &f->asan_fake_stack, t->asan_bottom, t->asan_size);
    tsan_fiber_switch(t->tsan_fiber);
    fiber_switch(&f->sp, t->sp);
    asan_finish_switch(f->asan_fake_stack, &bottom, &size);
    t = thread_current();
    t->asan_bottom = bottom;
    t->asan_size = size;
}

noinline_fn void fiber_run(struct thread *t, struct fiber *f)
{
    void *sp = f->sp;

    f->sp = NULL;
    t->current = f;
    if (t->worker != NULL) {
        atomic_store_explicit(&t->worker->current, f, memory_order_relaxed);
    }
    t->tsan_fiber = tsan_fiber_current();
    asan_start_switch(&t->asan_fake_stack, f->stack, FIBER_STACK_SIZE);
    tsan_fiber_switch(f->tsan_fiber);
    fiber_switch(&t->sp, sp);
    asan_finish_switch(t->asan_fake_stack, NULL, NULL);
    t->current = NULL;
    if (t->worker != NULL) {
        atomic_store_explicit(&t->worker->current, NULL, memory_order_relaxed);
    }
}

/* The first C function on a fiber's stack. */
noreturn_fn void fiber_main(struct fiber *f)
{
    struct thread *t = thread_current();

    asan_finish_switch(NULL, &t->asan_bottom, &t->asan_size);
    f->fn(f->arg);
    fiber_exit();
}

static void fiber_check_may_switch(const struct thread *t, const char *what)
{
    CHECK(t->spin_depth == 0, "%s %s with %u spin locks held", t->current->name, what,
          t->spin_depth);
    CHECK(!atomic_load_explicit(&t->in_bracket, memory_order_relaxed), "%s %s inside a bracket",
          t->current->name, what);
}

noreturn_fn void fiber_exit(void)
{
    struct thread *t = thread_current();

    CHECK(t->current != NULL, "fiber_exit outside a fiber");
    fiber_check_may_switch(t, "exits");
    fiber_switch_out(t, SWITCH_EXIT);
    BUG("a dead fiber runs");
}

void fiber_yield(void)
{
    struct thread *t = thread_current();

    if (t->current == NULL) {
        return;
    }
    fiber_check_may_switch(t, "yields");
    fiber_switch_out(t, SWITCH_YIELD);
}

/* Set flags; when they end f's park, make it runnable. See the head comment for the order. */
void fiber_post(struct fiber *f, u32 flags)
{
    u32 old = atomic_load_explicit(&f->state, memory_order_relaxed);
    bool unparks;
    u32 new;

    do {
        new = old | flags;
        unparks = ((old >> FIBER_ENDS_SHIFT) & flags) != 0;
        if (unparks) {
            new &= FIBER_FLAGS;
        }
    } while (!atomic_compare_exchange_weak_explicit(&f->state, &old, new, memory_order_acq_rel,
                                                    memory_order_relaxed));
    if (unparks) {
        sched_make_runnable(f);
    }
}

bool fiber_commit_park(struct fiber *f)
{
    u32 old = atomic_load_explicit(&f->state, memory_order_relaxed);

    do {
        if ((old & f->park_ends) != 0) {
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&f->state, &old,
                                                    old | (f->park_ends << FIBER_ENDS_SHIFT),
                                                    memory_order_acq_rel, memory_order_relaxed));
    return true;
}

static u32 mode_ends(enum park_mode mode)
{
    switch (mode) {
    case PARK_INTERRUPTIBLE:
        return FIBER_INTR | FIBER_KILL;
    case PARK_KILLABLE:
        return FIBER_KILL;
    case PARK_UNINTERRUPTIBLE:
        break;
    }
    return 0;
}

/* Take `token` if it is there: true. */
static bool fiber_take(struct fiber *f, u32 token)
{
    u32 state = atomic_load_explicit(&f->state, memory_order_relaxed);

    if ((state & token) == 0) {
        return false;
    }
    atomic_fetch_and_explicit(&f->state, ~token, memory_order_acq_rel);
    return true;
}

static bool fiber_has(const struct fiber *f, u32 flags)
{
    return (atomic_load_explicit(&f->state, memory_order_acquire) & flags) != 0;
}

static void fiber_sleep(struct thread *t, struct fiber *f, u32 ends)
{
    fiber_check_may_switch(t, "parks");
    f->park_ends = ends;
    fiber_switch_out(t, SWITCH_PARK);
}

int fiber_park(enum park_mode mode, u64 deadline)
{
    struct thread *t = thread_current();
    struct fiber *f = t->current;
    u32 intr = mode_ends(mode);
    int ret = 0;

    CHECK(f != NULL, "fiber_park outside a fiber");
    sched_preempt_point();
    if (fiber_take(f, FIBER_TOKEN)) {
        return 0;
    }
    if (fiber_has(f, intr)) {
        return -ERESTARTSYS;
    }
    if (deadline == CLOCK_NEVER) {
        fiber_sleep(thread_current(), f, FIBER_TOKEN | intr);
    } else {
        if (deadline <= clock_monotonic()) {
            return -ETIMEDOUT;
        }
        ktimer_arm(&f->timer, deadline);
        fiber_sleep(thread_current(), f, FIBER_TOKEN | FIBER_TIMEOUT | intr);
        ktimer_cancel_sync(&f->timer);
        ret = fiber_take(f, FIBER_TIMEOUT) ? -ETIMEDOUT : 0;
    }
    if (fiber_take(f, FIBER_TOKEN)) {
        return 0;
    }
    if (ret == 0 && fiber_has(f, intr)) {
        ret = -ERESTARTSYS;
    }
    return ret;
}

int fiber_park_lock(bool killable)
{
    struct thread *t = thread_current();
    struct fiber *f = t->current;
    u32 kill = killable ? FIBER_KILL : 0;

    for (;;) {
        if (fiber_take(f, FIBER_LOCK_TOKEN)) {
            return 0;
        }
        if (fiber_has(f, kill)) {
            return -ERESTARTSYS;
        }
        fiber_sleep(t, f, FIBER_LOCK_TOKEN | kill);
        t = thread_current();
    }
}

void fiber_wake(struct fiber *f)
{
    fiber_post(f, FIBER_TOKEN);
    sched_preempt_point();
}

void fiber_interrupt(struct fiber *f, bool kill)
{
    fiber_post(f, kill ? FIBER_INTR | FIBER_KILL : FIBER_INTR);
    sched_preempt_point();
}

void fiber_clear_interrupt(void)
{
    atomic_fetch_and_explicit(&fiber_current()->state, ~(FIBER_INTR | FIBER_KILL),
                              memory_order_acq_rel);
}

bool fiber_is_interrupted(void)
{
    struct fiber *f = fiber_current();

    return f != NULL && fiber_has(f, FIBER_INTR);
}

void fiber_for_each(void (*fn)(struct fiber *f, void *arg), void *arg)
{
    struct fiber *f;

    TAILQ_FOREACH (f, &fibers.list, all_link) {
        fn(f, arg);
    }
}

const char *fiber_name(const struct fiber *f)
{
    return f->name;
}

u64 fiber_count(void)
{
    return atomic_load_explicit(&fibers.count, memory_order_acquire);
}
