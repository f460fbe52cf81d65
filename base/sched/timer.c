/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timers: one red-black tree by deadline. Whoever finds timers due fires them, one thread at a
 * time, with no lock held; `running` lets ktimer_cancel_sync wait for a callback that is under way.
 */
#include "base/sched/timer.h"

#include "base/clock.h"
#include "base/sched/sched_priv.h"

#include <sched.h>

static int timer_cmp(const struct ktimer *a, const struct ktimer *b)
{
    if (a->deadline != b->deadline) {
        return a->deadline < b->deadline ? -1 : 1;
    }
    return a < b ? -1 : a > b;
}
RB_HEAD(timer_tree, ktimer);
RB_GENERATE_STATIC(timer_tree, ktimer, link, timer_cmp)

static struct {
    struct spinlock lock;
    struct timer_tree tree;           /* (lock) */
    _Atomic u64 next;                 /* (a) the first deadline, written under lock */
    _Atomic(struct ktimer *) running; /* (a) whose callback runs, written under lock */
} timers = {.next = CLOCK_NEVER};

static void update_next(void)
{
    struct ktimer *first = RB_MIN(timer_tree, &timers.tree);

    atomic_store(&timers.next, first != NULL ? first->deadline : CLOCK_NEVER);
}

void ktimer_init(struct ktimer *t, void (*fire)(struct ktimer *t))
{
    *t = (struct ktimer){.fire = fire};
}

void ktimer_arm(struct ktimer *t, u64 deadline)
{
    bool first;

    raw_spin_lock(&timers.lock);
    if (t->armed) {
        RB_REMOVE(timer_tree, &timers.tree, t);
    }
    t->deadline = deadline;
    t->armed = true;
    RB_INSERT(timer_tree, &timers.tree, t);
    first = RB_MIN(timer_tree, &timers.tree) == t;
    update_next();
    raw_spin_unlock(&timers.lock);
    if (first) {
        sched_timer_armed(deadline);
    }
}

static bool disarm_locked(struct ktimer *t)
{
    bool was = t->armed;

    if (was) {
        RB_REMOVE(timer_tree, &timers.tree, t);
        t->armed = false;
        update_next();
    }
    return was;
}

bool ktimer_cancel(struct ktimer *t)
{
    bool was;

    raw_spin_lock(&timers.lock);
    was = disarm_locked(t);
    raw_spin_unlock(&timers.lock);
    return was;
}

void ktimer_cancel_sync(struct ktimer *t)
{
    for (unsigned spins = 0;; spins++) {
        bool running;

        raw_spin_lock(&timers.lock);
        (void)disarm_locked(t);
        running = timers.running == t;
        raw_spin_unlock(&timers.lock);
        if (!running) {
            return;
        }
        if (spins > 100) {
            sched_yield();
        }
        cpu_pause();
    }
}

/* Take the first due timer; NULL: none, or somebody else is firing. */
static struct ktimer *take_due(u64 now)
{
    struct ktimer *t;

    raw_spin_lock(&timers.lock);
    t = RB_MIN(timer_tree, &timers.tree);
    if (timers.running != NULL || (t != NULL && t->deadline > now)) {
        t = NULL;
    }
    if (t != NULL) {
        (void)disarm_locked(t);
        timers.running = t;
    }
    raw_spin_unlock(&timers.lock);
    return t;
}

u64 timers_run(u64 now)
{
    struct ktimer *t;

    while ((t = take_due(now)) != NULL) {
        t->fire(t);
        raw_spin_lock(&timers.lock);
        timers.running = NULL;
        raw_spin_unlock(&timers.lock);
    }
    return timers_next();
}

u64 timers_next(void)
{
    return atomic_load(&timers.next);
}
