/* SPDX-License-Identifier: Apache-2.0 */
/* The host thread's own record. Out of line so that no compiler keeps its address over a switch of
 * threads. */
#include "base/sched/sched_priv.h"

static __thread struct thread self;

noinline_fn struct thread *thread_current(void)
{
    __asm__ volatile("" ::: "memory");
    return &self;
}
