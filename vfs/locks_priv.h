/* SPDX-License-Identifier: Apache-2.0 */
/* What locks.c (taking locks) and locks_show.c (their text) share. */
#ifndef PAVISE_VFS_LOCKS_PRIV_H
#define PAVISE_VFS_LOCKS_PRIV_H

#include "vfs/locks.h"

enum lock_kind { KIND_FLOCK, KIND_POSIX, KIND_OFD };

struct file_lock {
    TAILQ_ENTRY(file_lock) link;
    const void *owner; /* identity only */
    enum lock_kind kind;
    short type;     /* F_RDLCK, F_WRLCK */
    s32 pid;        /* shown; -1 for OFD locks */
    u64 start, end; /* inclusive; end INT64_MAX: to the end of file */
};
TAILQ_HEAD(file_lock_list, file_lock);

struct file_lock_ctx {
    TAILQ_ENTRY(file_lock_ctx) all;
    struct inode *inode;          /* (c) borrowed: the inode frees the context */
    struct file_lock_list flocks; /* (locks_mutex) */
    struct file_lock_list posix;  /* (locks_mutex) POSIX and OFD */
    struct waitq wait;
};

/* One for all locks of the sandbox, and every inode that has a context. */
extern struct mutex locks_mutex; /* LOCK_LEAF */
TAILQ_HEAD(all_lock_ctx, file_lock_ctx);
extern struct all_lock_ctx locks_all; /* (locks_mutex) */

#endif
