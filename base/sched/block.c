/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host calls that may sleep: worker_block_begin/end, and the monitor thread behind them.
 *
 * The common case is a call that does not sleep, and costs two atomic writes: begin stores the
 * thread in its worker's `blocked`, end takes it out again. While it is there, the worker may be
 * taken away with the same compare-and-swap (sched_relieve), and then end finds it gone:
 *
 *   end, worker still ours      go on
 *   gone, another is idle       take that one (its sleeping thread becomes a spare), go on
 *   gone, none is idle          queue the fiber for all, become a spare
 *
 * The monitor takes workers away: those in the same bracket for two looks in a row (half a
 * millisecond), while fibers are runnable or a timer is due and no worker is idle. It looks only
 * after it was told that there may be something (monitor_poke), and sleeps without a time-out
 * otherwise:
 *
 *   begin                                 monitor going to sleep
 *   blocked = me                          wake_at = never
 *   full barrier                          full barrier
 *   fibers queued? timer uncovered?       any blocked with fibers queued, timer uncovered?
 *   then wake_at > wanted? poke           then don't sleep
 *
 * Who queues a fiber while nobody is idle looks for blocked workers likewise (sched_call_help).
 *
 * Worker 0 of a platform with idle operations cannot change its thread (ptrace: only the tracer may
 * wait), so there the fiber moves: begin switches to the loop, which hands it to a spare thread
 * that runs it without a worker until end. That costs a wake-up, so a file system had better try
 * first whether the call would sleep at all (RWF_NOWAIT).
 */
#include "base/clock.h"
#include "base/host.h"
#include "base/panic.h"
#include "base/sched/sched_priv.h"

#include <urcu-qsbr.h>

#define MONITOR_TICK  (500 * NSEC_PER_USEC)
#define MONITOR_GRACE 4 /* looks that find nothing before it sleeps again */

static struct {
    _Atomic u64 wake_at; /* (a) when it looks next: 0 soon */
    _Atomic u32 seq;     /* (a) futex, counts pokes */
    _Atomic bool stop;   /* (a) */
    bool is_running;     /* (c) */
    pthread_t tid;       /* (c) */
} monitor;

bool sched_any_blocked(void)
{
    for (unsigned i = 0; i < sched.nr_workers; i++) {
        if (atomic_load(&sched.workers[i].blocked) != NULL) {
            return true;
        }
    }
    return false;
}

void monitor_poke_timer(u64 deadline)
{
    if (atomic_load(&monitor.wake_at) <= deadline) {
        return;
    }
    if (atomic_exchange(&monitor.wake_at, 0) != 0) {
        atomic_fetch_add(&monitor.seq, 1);
        host_futex_wake(&monitor.seq, 1);
    }
}

void monitor_poke(void)
{
    monitor_poke_timer(0);
}

/* The first deadline that no sleeping worker will be up for. */
static u64 uncovered_deadline(void)
{
    u64 next = timers_next();

    return next < atomic_load(&sched.sleep_deadline) ? next : CLOCK_NEVER;
}

static bool is_relief_due(void)
{
    if (!sched_any_blocked()) {
        return false;
    }
    if (sched_has_work()) {
        return true;
    }
    return uncovered_deadline() != CLOCK_NEVER && uncovered_deadline() <= clock_monotonic();
}

static void monitor_look(void)
{
    for (unsigned i = 0; i < sched.nr_workers; i++) {
        struct worker *w = &sched.workers[i];
        struct thread *stuck = atomic_load(&w->blocked);
        u32 seq = atomic_load_explicit(&w->block_seq, memory_order_relaxed);
        bool is_stuck = stuck != NULL && seq == w->seen_seq;

        w->seen_seq = seq;
        if (!is_stuck || sched_ring_one()) {
            continue;
        }
        if (!sched_has_spare()) {
            /* It lists itself; the next look finds it. None to be had: the worker stays stuck. */
            (void)!sched_spawn_thread(NULL, NULL);
        } else {
            (void)sched_relieve(w, stuck);
        }
    }
}

static void monitor_sleep(void)
{
    u32 seq = atomic_load(&monitor.seq);
    u64 deadline = sched_any_blocked() ? uncovered_deadline() : CLOCK_NEVER;

    /* 0 means awake. */
    deadline = max(deadline, (u64)1);
    atomic_exchange(&monitor.wake_at, deadline);
    full_fence();
    if (!is_relief_due() && (!sched_any_blocked() || uncovered_deadline() >= deadline)) {
        (void)!host_futex_wait(&monitor.seq, seq, deadline);
    }
    atomic_store(&monitor.wake_at, 0);
}

static void *monitor_main(void *arg)
{
    unsigned nothing = MONITOR_GRACE;

    while (!atomic_load(&monitor.stop)) {
        if (is_relief_due()) {
            nothing = 0;
            monitor_look();
        } else {
            nothing++;
        }
        if (nothing >= MONITOR_GRACE) {
            monitor_sleep();
        } else {
            (void)!host_futex_wait(&monitor.seq, atomic_load(&monitor.seq),
                                   clock_monotonic() + MONITOR_TICK);
        }
    }
    return NULL;
}

void monitor_start(void)
{
    atomic_store(&monitor.stop, false);
    monitor.is_running = sched_create_thread(&monitor.tid, monitor_main, NULL) == 0;
    CHECK(monitor.is_running, "no thread for the monitor");
}

void monitor_stop(void)
{
    if (!monitor.is_running) {
        return;
    }
    atomic_store(&monitor.stop, true);
    atomic_fetch_add(&monitor.seq, 1);
    host_futex_wake(&monitor.seq, 1);
    (void)pthread_join(monitor.tid, NULL);
    monitor.is_running = false;
}

void worker_block_begin(void)
{
    struct thread *t = thread_current();
    struct worker *w;

    if (t->current == NULL || sched.seed != 0) {
        return;
    }
    CHECK(!atomic_load_explicit(&t->in_bracket, memory_order_relaxed), "brackets do not nest");
    CHECK(t->spin_depth == 0, "%s blocks with a spin lock held", t->current->name);
    if (worker_is_bound(t->worker)) {
        fiber_switch_out(t, SWITCH_HAND);
        t = thread_current();
    }
    atomic_store_explicit(&t->in_bracket, true, memory_order_relaxed);
    urcu_qsbr_thread_offline();
    w = t->worker;
    if (w == NULL || worker_is_bound(w)) {
        return;
    }
    atomic_store_explicit(&w->block_seq, atomic_load(&w->block_seq) + 1, memory_order_relaxed);
    atomic_exchange(&w->blocked, t);
    if (atomic_load(&w->q.len) != 0 || atomic_load(&sched.inject.len) != 0) {
        monitor_poke();
    } else {
        monitor_poke_timer(uncovered_deadline());
    }
}

/* The worker is ours to go on with: true. */
static bool block_end_keeps_worker(struct thread *t)
{
    struct thread *expected = t;

    if (t->worker != NULL && worker_is_bound(t->worker)) {
        return true;
    }
    if (t->worker != NULL && atomic_compare_exchange_strong(&t->worker->blocked, &expected, NULL)) {
        return true;
    }
    t->worker = NULL;
    return sched_take_idle_worker(t);
}

void worker_block_end(void)
{
    struct thread *t = thread_current();
    struct fiber *f = t->current;
    bool is_kept;

    if (!atomic_load_explicit(&t->in_bracket, memory_order_relaxed)) {
        return; /* begin was a no-op */
    }
    if (thread_must_stop(t)) {
        /* in_bracket stays: sched_join_threads may have given this thread up already. */
        urcu_qsbr_thread_online();
        fiber_switch_out(t, SWITCH_ABANDON);
        BUG("an abandoned fiber runs");
    }
    is_kept = block_end_keeps_worker(t);
    urcu_qsbr_thread_online();
    atomic_store_explicit(&t->in_bracket, false, memory_order_relaxed);
    if (is_kept) {
        atomic_store_explicit(&t->worker->current, f, memory_order_relaxed);
    } else {
        fiber_switch_out(t, SWITCH_REQUEUE);
    }
}
