/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How threads sleep and are woken. An idle sandbox makes no wake-ups: threads sleep on futexes
 * without a time-out, but for the one (`sched.sleeper`) that took the next timer's deadline.
 *
 * No fiber is left in a queue with everybody asleep:
 *
 *   worker going idle                      waker
 *   [A] idle_mask |= me                    [C] queue the fiber
 *   full barrier                           full barrier
 *   [B] look into every queue              [D] look at idle_mask
 *   sleep while word == 0                  idle: clear its bit, word = 1, futex wake
 *
 *   Wrong would be: B sees nothing and D sees nobody. The barriers exclude it. If both see the
 *   other, the worker takes its bit back itself, or finds it cleared and the ring is spurious.
 *
 * The same picture with timers.next for the fiber, [B] reading the next deadline: a timer armed by
 * a thread that is no worker is not overslept. A worker that arms one rings nobody: it looks at the
 * timers itself between fibers, and takes the deadline if it goes to sleep. Invariant: timers.next
 * < sleep_deadline only while some worker runs, or is in a bracket with the monitor told (block.c).
 *
 * `word`, idle bits and spare lists change under sched.lock, so no thread is rung that has left.
 */
#include "base/clock.h"
#include "base/err.h"
#include "base/host.h"
#include "base/panic.h"
#include "base/sched/sched_priv.h"

#include <urcu-qsbr.h>

/* Does the platform own how this worker waits (and hence its thread)? */
bool worker_is_bound(const struct worker *w)
{
    return w->id == 0 && sched.ops != NULL;
}

static u64 worker_bit(const struct worker *w)
{
    return 1UL << w->id;
}

static void sleeper_clear_locked(struct thread *t)
{
    if (sched.sleeper == t) {
        sched.sleeper = NULL;
        atomic_store(&sched.sleep_deadline, CLOCK_NEVER);
    }
}

/* Mark t's worker idle and take the timer deadline unless another sleeper covers it. */
static u64 worker_begin_idle(struct thread *t)
{
    u64 deadline = CLOCK_NEVER;
    u64 next;

    raw_spin_lock(&sched.lock);
    atomic_store_explicit(&t->word, 0, memory_order_relaxed);
    atomic_fetch_or(&sched.idle_mask, worker_bit(t->worker));
    full_fence();
    next = timers_next();
    if (next < atomic_load_explicit(&sched.sleep_deadline, memory_order_relaxed)) {
        sched.sleeper = t;
        atomic_store(&sched.sleep_deadline, next);
        deadline = next;
    }
    raw_spin_unlock(&sched.lock);
    return deadline;
}

/* Back from sleep: rung (bit cleared), by itself, or without its worker (taken by block_end). */
static void worker_end_idle(struct thread *t)
{
    raw_spin_lock(&sched.lock);
    if (t->worker != NULL) {
        atomic_fetch_and(&sched.idle_mask, ~worker_bit(t->worker));
    }
    sleeper_clear_locked(t);
    raw_spin_unlock(&sched.lock);
}

static void thread_sleep(struct thread *t, u64 deadline)
{
    while (atomic_load_explicit(&t->word, memory_order_acquire) == 0) {
        if (host_futex_wait(&t->word, 0, deadline) == -ETIMEDOUT) {
            break;
        }
    }
}

void worker_idle(struct thread *t)
{
    struct worker *w = t->worker;
    u64 deadline = worker_begin_idle(t);

    if (!sched_has_work() && !thread_must_stop(t)) {
        stat_inc(&w->stat_sleeps);
        urcu_qsbr_thread_offline();
        if (worker_is_bound(w)) {
            sched.ops->wait(deadline);
        } else {
            thread_sleep(t, deadline);
        }
        urcu_qsbr_thread_online();
    }
    worker_end_idle(t);
}

/* Sleep until given a worker or a fiber. */
void thread_wait_spare(struct thread *t)
{
    urcu_qsbr_thread_offline();
    raw_spin_lock(&sched.lock);
    while (t->worker == NULL && t->handed == NULL && !thread_must_stop(t)) {
        if (!t->is_spare) {
            t->is_spare = true;
            TAILQ_INSERT_HEAD(&sched.spares, t, spare_link);
        }
        atomic_store_explicit(&t->word, 0, memory_order_relaxed);
        raw_spin_unlock(&sched.lock);
        thread_sleep(t, CLOCK_NEVER);
        raw_spin_lock(&sched.lock);
    }
    raw_spin_unlock(&sched.lock);
    urcu_qsbr_thread_online();
}

/* The idle worker to use first: the bound one, whose platform would have to be rung anyway. */
static struct worker *idle_pick_locked(bool may_be_bound)
{
    u64 mask = atomic_load_explicit(&sched.idle_mask, memory_order_relaxed);

    if (!may_be_bound && sched.ops != NULL) {
        mask &= ~1UL;
    }
    return mask != 0 ? &sched.workers[__builtin_ctzl(mask)] : NULL;
}

/* Wake one idle worker: false when there is none. */
bool sched_ring_one(void)
{
    struct worker *w;
    struct thread *t;

    full_fence();
    if (atomic_load(&sched.idle_mask) == 0) {
        return false;
    }
    raw_spin_lock(&sched.lock);
    w = idle_pick_locked(true);
    if (w == NULL) {
        raw_spin_unlock(&sched.lock);
        return false;
    }
    t = w->thread;
    atomic_fetch_and(&sched.idle_mask, ~worker_bit(w));
    sleeper_clear_locked(t);
    atomic_store_explicit(&t->word, 1, memory_order_release);
    raw_spin_unlock(&sched.lock);
    if (worker_is_bound(w)) {
        sched.ops->ring();
    } else {
        host_futex_wake(&t->word, 1);
    }
    return true;
}

/* For sched_stop: everybody looks again. */
void sched_ring_all(void)
{
    struct thread *t;

    raw_spin_lock(&sched.lock);
    TAILQ_FOREACH (t, &sched.threads, all_link) {
        atomic_store_explicit(&t->word, 1, memory_order_release);
        host_futex_wake(&t->word, 1);
    }
    raw_spin_unlock(&sched.lock);
    if (sched.ops != NULL) {
        sched.ops->ring();
    }
}

/* A timer became the first, on any thread. */
void sched_timer_armed(u64 deadline)
{
    struct thread *t = thread_current();

    if (t->worker != NULL && !atomic_load_explicit(&t->in_bracket, memory_order_relaxed)) {
        return;
    }
    full_fence();
    if (deadline < atomic_load(&sched.sleep_deadline) && !sched_ring_one()) {
        monitor_poke_timer(deadline);
    }
}

bool sched_take_idle_worker(struct thread *t)
{
    struct worker *w;
    struct thread *old;

    if (atomic_load(&sched.idle_mask) == 0) {
        return false;
    }
    raw_spin_lock(&sched.lock);
    w = thread_must_stop(t) ? NULL : idle_pick_locked(false);
    if (w != NULL) {
        old = w->thread;
        atomic_fetch_and(&sched.idle_mask, ~worker_bit(w));
        sleeper_clear_locked(old);
        old->worker = NULL;
        old->is_spare = true;
        TAILQ_INSERT_HEAD(&sched.spares, old, spare_link);
        w->thread = t;
        t->worker = w;
    }
    raw_spin_unlock(&sched.lock);
    return w != NULL;
}

static struct thread *spare_pop_locked(void)
{
    struct thread *t = TAILQ_FIRST(&sched.spares);

    if (t != NULL) {
        TAILQ_REMOVE(&sched.spares, t, spare_link);
        t->is_spare = false;
        atomic_store_explicit(&t->word, 1, memory_order_release);
    }
    return t;
}

bool sched_use_spare(struct fiber *handed)
{
    struct thread *t;

    raw_spin_lock(&sched.lock);
    t = spare_pop_locked();
    if (t != NULL) {
        t->handed = handed;
    }
    raw_spin_unlock(&sched.lock);
    if (t == NULL) {
        return false;
    }
    host_futex_wake(&t->word, 1);
    return true;
}

bool sched_has_spare(void)
{
    bool has;

    raw_spin_lock(&sched.lock);
    has = !TAILQ_EMPTY(&sched.spares);
    raw_spin_unlock(&sched.lock);
    return has;
}

bool sched_relieve(struct worker *w, struct thread *stuck)
{
    struct thread *t = NULL;

    raw_spin_lock(&sched.lock);
    if (!TAILQ_EMPTY(&sched.spares) && atomic_compare_exchange_strong(&w->blocked, &stuck, NULL)) {
        t = spare_pop_locked();
        t->worker = w;
        w->thread = t;
        atomic_store_explicit(&w->current, NULL, memory_order_relaxed);
    }
    raw_spin_unlock(&sched.lock);
    if (t == NULL) {
        return false;
    }
    atomic_fetch_add_explicit(&sched.stat_spares, 1, memory_order_relaxed);
    host_futex_wake(&t->word, 1);
    return true;
}
