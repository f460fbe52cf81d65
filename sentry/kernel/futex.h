/* SPDX-License-Identifier: Apache-2.0 */
/* Futexes (futex(2), get_robust_list(2)): keys, waits and wakes, PI, robust lists. */
#ifndef PAVISE_SENTRY_KERNEL_FUTEX_H
#define PAVISE_SENTRY_KERNEL_FUTEX_H

#include "sentry/kernel/task.h"

must_check int futex_boot(void);

/* The operations of futex(2). deadline: CLOCK_MONOTONIC ns, CLOCK_NEVER for none. Errors as in the
 * man page; -ERESTARTSYS when interrupted. */
must_check long futex_wait(struct task *t, uaddr addr, bool shared, u32 value, u32 bitset,
                           u64 deadline);
must_check long futex_wake(struct task *t, uaddr addr, bool shared, u32 count, u32 bitset);
must_check long futex_requeue(struct task *t, uaddr addr, uaddr addr2, bool shared, u32 wake,
                              u32 requeue, const u32 *expected);
must_check long futex_wake_op(struct task *t, uaddr addr, uaddr addr2, bool shared, u32 wake,
                              u32 wake2, u32 op);
must_check long futex_lock_pi(struct task *t, uaddr addr, bool shared, u64 deadline, bool try_only);
must_check long futex_unlock_pi(struct task *t, uaddr addr, bool shared);
must_check long futex_wait_requeue_pi(struct task *t, uaddr addr, bool shared, u32 value,
                                      u64 deadline, uaddr addr2);
must_check long futex_cmp_requeue_pi(struct task *t, uaddr addr, uaddr addr2, bool shared,
                                     u32 requeue, u32 expected);

struct futex_wait_entry {
    uaddr addr;
    u32 value;
    bool shared;
};
/* futex_waitv(2): the index of a woken one. */
must_check long futex_waitv(struct task *t, const struct futex_wait_entry *entries, u32 count,
                            u64 deadline);

/* Wake up to `count` waiters on addr of t's address space; for clear_child_tid. Errors are ignored.
 */
void futex_wake_addr(struct task *t, uaddr addr, u32 count);
/* The owner is exiting or execs: release what its robust list names (owner died), and its PI
 * futexes. */
void futex_exit_robust(struct task *t);

#endif
