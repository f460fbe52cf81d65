/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timers: one red-black tree by deadline. Whichever worker finds one due fires it, between fibers.
 *
 * Invariants: `next` is the first deadline of the tree (CLOCK_NEVER: none), written under the lock.
 * One thread at a time fires; `running` is the timer whose callback it is in. So ktimer_cancel_sync
 * has one pointer to look at, and a callback never runs twice at once even when it re-arms itself.
 *
 * A timer armed by a fiber is seen by its worker at the latest when the fiber parks; by any other
 * thread, sched_timer_armed makes a sleeping worker look again (idle.c).
 *
 * Locking: timers.lock, never held while a callback runs.
 */
#include "base/sched/timer.h"

#include "base/clock.h"
#include "base/host.h"
#include "base/panic.h"
#include "base/sched/sched_priv.h"

static int timer_cmp(struct ktimer *a, struct ktimer *b)
{
    if (a->deadline != b->deadline) {
        return a->deadline < b->deadline ? -1 : 1;
    }
    if (a == b) {
        return 0;
    }
    return (uintptr_t)a < (uintptr_t)b ? -1 : 1;
}

RB_HEAD(timer_tree, ktimer);
RB_GENERATE_STATIC(timer_tree, ktimer, link, timer_cmp)

static struct {
    struct spinlock lock;
    struct timer_tree tree;           /* (lock) */
    _Atomic u64 next;                 /* (a) written under lock */
    _Atomic(struct ktimer *) running; /* (a) written under lock */
    struct thread *runner;            /* (lock) the thread that fires, NULL for none */
} timers = {.next = CLOCK_NEVER};

static void timers_update_next_locked(void)
{
    struct ktimer *first = RB_MIN(timer_tree, &timers.tree);

    atomic_store(&timers.next, first != NULL ? first->deadline : CLOCK_NEVER);
}

static bool timer_disarm_locked(struct ktimer *t)
{
    if (!t->armed) {
        return false;
    }
    RB_REMOVE(timer_tree, &timers.tree, t);
    t->armed = false;
    return true;
}

void ktimer_init(struct ktimer *t, void (*fire)(struct ktimer *t))
{
    memset(t, 0, sizeof(*t));
    t->fire = fire;
}

void ktimer_arm(struct ktimer *t, u64 deadline)
{
    bool is_first;

    raw_spin_lock(&timers.lock);
    (void)timer_disarm_locked(t);
    t->deadline = deadline;
    t->armed = true;
    RB_INSERT(timer_tree, &timers.tree, t);
    is_first = RB_MIN(timer_tree, &timers.tree) == t;
    timers_update_next_locked();
    raw_spin_unlock(&timers.lock);
    if (is_first) {
        sched_timer_armed(deadline);
    }
}

bool ktimer_cancel(struct ktimer *t)
{
    bool was_armed;

    raw_spin_lock(&timers.lock);
    was_armed = timer_disarm_locked(t);
    if (was_armed) {
        timers_update_next_locked();
    }
    raw_spin_unlock(&timers.lock);
    return was_armed;
}

void ktimer_cancel_sync(struct ktimer *t)
{
    unsigned spins = 0;

    for (;;) {
        raw_spin_lock(&timers.lock);
        if (timer_disarm_locked(t)) {
            timers_update_next_locked();
        }
        CHECK(atomic_load(&timers.running) != t || timers.runner != thread_current(),
              "a timer's callback waits for itself");
        if (atomic_load(&timers.running) != t) {
            raw_spin_unlock(&timers.lock);
            return;
        }
        raw_spin_unlock(&timers.lock);
        while (atomic_load_explicit(&timers.running, memory_order_acquire) == t) {
            if (++spins % 128 == 0) {
                host_sched_yield();
            }
            cpu_pause();
        }
    }
}

u64 timers_next(void)
{
    return atomic_load(&timers.next);
}

u64 timers_run(u64 now)
{
    struct ktimer *t;

    if (timers_next() > now) {
        return timers_next();
    }
    raw_spin_lock(&timers.lock);
    if (timers.runner != NULL) {
        raw_spin_unlock(&timers.lock);
        return timers_next();
    }
    timers.runner = thread_current();
    while ((t = RB_MIN(timer_tree, &timers.tree)) != NULL && t->deadline <= now) {
        (void)timer_disarm_locked(t);
        timers_update_next_locked();
        atomic_store(&timers.running, t);
        raw_spin_unlock(&timers.lock);
        t->fire(t);
        raw_spin_lock(&timers.lock);
        atomic_store_explicit(&timers.running, NULL, memory_order_release);
    }
    timers.runner = NULL;
    raw_spin_unlock(&timers.lock);
    return timers_next();
}
