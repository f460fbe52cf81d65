/* SPDX-License-Identifier: Apache-2.0 */
/* The seeded order: one generator decides which fiber runs next and where fibers are preempted. */
#include "base/sched/sched_priv.h"

/* xorshift64*: the state is never 0 because the seed is not. */
u64 sched_random(void)
{
    sched.rng ^= sched.rng >> 12;
    sched.rng ^= sched.rng << 25;
    sched.rng ^= sched.rng >> 27;
    return sched.rng * 0x2545f4914f6cdd1dULL;
}

/* One point in four yields; never with spin locks held or outside a fiber. */
void sched_preempt_slow(void)
{
    struct thread *t = thread_current();

    if (t->current != NULL && t->worker != NULL && t->spin_depth == 0 && sched_random() % 4 == 0) {
        fiber_switch_out(t, SWITCH_YIELD);
    }
}
