/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seeded order: one worker, and one generator that decides which runnable fiber is next and at
 * which preemption points (lock, unlock, wake, park) the running one yields. The same seed and the
 * same inputs give the same interleaving.
 */
#include "base/sched/sched_priv.h"

/* splitmix64: every seed is good, and the state is one word. */
u64 sched_random(void)
{
    u64 z = (sched.rng += 0x9e3779b97f4a7c15UL);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9UL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebUL;
    return z ^ (z >> 31);
}

void sched_preempt_slow(void)
{
    struct thread *t = thread_current();

    if (t->current == NULL || t->spin_depth != 0 || !t->is_sched) {
        return;
    }
    if (sched_random() % 4 == 0) {
        fiber_yield();
    }
}
