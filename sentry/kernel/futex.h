/* SPDX-License-Identifier: Apache-2.0 */
/* Futexes (futex(2), get_robust_list(2)): keys, waits and wakes, PI, robust lists. */
#ifndef PAVISE_SENTRY_KERNEL_FUTEX_H
#define PAVISE_SENTRY_KERNEL_FUTEX_H

#include "sentry/kernel/task.h"

must_check int futex_boot(void);
/* Wake up to `count` waiters on addr of t's address space; for clear_child_tid. Errors are ignored.
 */
void futex_wake_addr(struct task *t, uaddr addr, u32 count);
/* The owner is exiting or execs: release what its robust list names (owner died), and its PI
 * futexes. */
void futex_exit_robust(struct task *t);

#endif
