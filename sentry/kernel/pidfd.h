/* SPDX-License-Identifier: Apache-2.0 */
/* pidfds (pidfd_open(2), clone(2) CLONE_PIDFD). */
#ifndef PAVISE_SENTRY_KERNEL_PIDFD_H
#define PAVISE_SENTRY_KERNEL_PIDFD_H

#include "sentry/kernel/task.h"

/* Install a pidfd for tg (which may not be published yet) in t's table: the descriptor. *file is
 * borrowed. */
must_check int pidfd_prepare(struct task *t, struct thread_group *tg, struct file **file);
/* A pidfd file, not installed; flags: O_NONBLOCK. ERR_PTR. */
must_check struct file *pidfd_new(struct thread_group *tg, u32 flags, const struct cred *cred);
/* The group a pidfd names, counted, or NULL: not a pidfd. */
must_check struct thread_group *pidfd_tg(struct file *f);

#endif
