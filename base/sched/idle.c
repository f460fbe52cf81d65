/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Idling: a worker without work sleeps on its thread's futex word until rung or until the next
 * timer, worker 0 in the platform's way if there is one. An idle process has no wake-ups: without
 * timers everybody sleeps for ever.
 */
#include "base/clock.h"
#include "base/host.h"
#include "base/sched/sched_priv.h"

#include <urcu-qsbr.h>

bool worker_is_bound(const struct worker *w)
{
    return w->id == 0 && sched.ops != NULL;
}

static void ring(struct worker *w)
{
    struct thread *t = w->thread;

    if (worker_is_bound(w)) {
        sched.ops->ring();
    } else if (t != NULL && atomic_exchange(&t->word, 1) == 0) {
        (void)host_futex_wake(&t->word, 1);
    }
}

/* Take one idle worker's bit and wake it. The thread that rings may be any. */
void sched_ring_one(void)
{
    u64 mask = atomic_load(&sched.idle_mask);

    while (mask != 0) {
        /* The bound worker last: it is the one that also drives the guests. */
        unsigned i = (mask & ~1ULL) != 0 ? (unsigned)__builtin_ctzll(mask & ~1ULL) : 0;

        if (atomic_compare_exchange_strong(&sched.idle_mask, &mask, mask & ~(1ULL << i))) {
            ring(&sched.workers[i]);
            return;
        }
    }
}

void sched_ring_all(void)
{
    for (unsigned i = 0; i < sched.nr_workers; i++) {
        ring(&sched.workers[i]);
    }
}

/* A timer became the first one: somebody must sleep shorter. */
void sched_timer_armed(u64 deadline)
{
    if (deadline < atomic_load(&sched.sleep_deadline)) {
        sched_ring_one();
    }
}

static void note_deadline(u64 deadline)
{
    u64 old = atomic_load(&sched.sleep_deadline);

    while (deadline < old && !atomic_compare_exchange_weak(&sched.sleep_deadline, &old, deadline)) {
    }
}

void worker_idle(struct thread *t)
{
    struct worker *w = t->worker;
    u64 bit = 1ULL << w->id, deadline;

    atomic_store(&t->word, 0);
    atomic_fetch_or(&sched.idle_mask, bit);
    deadline = timers_next();
    note_deadline(deadline);
    /* Look again: who queued or armed before it could see our bit or deadline relied on this. */
    if (!sched_has_work() && timers_next() >= deadline && !atomic_load(&sched.stopping)) {
        stat_inc(&w->stat_sleeps);
        rcu_thread_offline();
        if (worker_is_bound(w)) {
            sched.ops->wait(deadline);
        } else {
            (void)!host_futex_wait(&t->word, 0, deadline);
        }
        rcu_thread_online();
    }
    atomic_fetch_and(&sched.idle_mask, ~bit);
    if (deadline != CLOCK_NEVER) {
        atomic_store(&sched.sleep_deadline, CLOCK_NEVER); /* the next to sleep notes it anew */
    }
}
