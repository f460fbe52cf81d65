/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread-local part of every host thread. It has a file of its own so that no caller can keep
 * the address of thread-local data across a switch, whatever the optimiser inlines: a fiber may go
 * on on another thread.
 */
#include "base/sched/sched_priv.h"

static _Thread_local struct thread thread_self;

noinline_fn struct thread *thread_current(void)
{
    struct thread *t = &thread_self;

    /* The compiler must not find out that this always returns the same on one thread. */
    __asm__ volatile("" : "+r"(t)::"memory");
    return t;
}
