/* SPDX-License-Identifier: Apache-2.0 */
/* Restartable sequences (rseq(2), Documentation/userspace-api/rseq.rst). */
#ifndef PAVISE_SENTRY_KERNEL_RSEQ_H
#define PAVISE_SENTRY_KERNEL_RSEQ_H

#include "sentry/kernel/task.h"

/* Before each entry to the guest: publish the CPU number and abort a critical section that was
 * interrupted. Cheap when nothing is registered. Owner. */
void rseq_before_guest(struct task *t);

#endif
