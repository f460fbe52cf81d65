/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What vfs needs from the kernel above it, which it may not include. sentry/kernel sets the table
 * once at boot; unit tests set their own. An unset hook does nothing.
 */
#ifndef PAVISE_VFS_HOOKS_H
#define PAVISE_VFS_HOOKS_H

#include "base/base.h"

struct file_owner;

struct vfs_hooks {
    /*
     * SIGIO (or owner->sig) for a change of readiness of descriptor `fd` (-1: unknown) to
     * `owner`. band: POLL* bits; code: POLL_IN, POLL_OUT, POLL_MSG, POLL_ERR, POLL_PRI, POLL_HUP.
     * owner is a copy. Rights are checked as kill(2) for owner->uid, euid. Called with spin locks
     * of wait queues held: must not park (queue the work if it needs a mutex).
     */
    void (*send_sigio)(const struct file_owner *owner, int fd, int code, u32 band);
    /* SIGURG to the owner (out-of-band data). Same contract. */
    void (*send_sigurg)(const struct file_owner *owner);
    /* The calling process's id, for l_pid of locks and SO_PEERCRED. */
    s32 (*current_tgid)(void);
    /* A soft limit of the calling process (RLIMIT_*), UINT64_MAX when unlimited. */
    u64 (*current_rlimit)(int resource);
};

void vfs_set_hooks(const struct vfs_hooks *hooks);
extern const struct vfs_hooks *vfs_hooks; /* never NULL, every member callable */

#endif
