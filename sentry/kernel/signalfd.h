/* SPDX-License-Identifier: Apache-2.0 */
/* signalfd(2). */
#ifndef PAVISE_SENTRY_KERNEL_SIGNALFD_H
#define PAVISE_SENTRY_KERNEL_SIGNALFD_H

#include "sentry/kernel/task.h"

must_check struct file *signalfd_new(sigmask_t mask, u32 flags,
                                     const struct cred *cred); /* ERR_PTR */
/* Change the mask of an existing one; -EINVAL: f is no signalfd. */
must_check int signalfd_set_mask(struct file *f, sigmask_t mask);

#endif
