/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials of tasks: what execve does to them (capabilities(7)), and the initial ones. */
#ifndef PAVISE_SENTRY_KERNEL_CREDS_H
#define PAVISE_SENTRY_KERNEL_CREDS_H

#include "vfs/vfs.h"

/* Every capability that Linux 6.x knows. */
#define CAP_ALL ((1ULL << 41) - 1)

must_check struct cred *cred_new(u32 uid, u32 gid, const u32 *groups, u32 nr_groups,
                                 bool privileged); /* or NULL */

/*
 * The credentials after executing `file`: set-user-ID, set-group-ID, capability transformation,
 * securebits. *secure: AT_SECURE. New reference or ERR_PTR.
 */
must_check const struct cred *cred_for_exec(const struct cred *old, struct file *file,
                                            bool *secure);

#endif
