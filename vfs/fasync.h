/* SPDX-License-Identifier: Apache-2.0 */
/*
 * O_ASYNC: which open files get SIGIO when an object (a pipe, a socket, a terminal) becomes ready.
 * The object embeds a fasync_list; its files' fasync op is one line, fasync_set(f, on, &list), and
 * its release op calls fasync_set(f, false, &list).
 */
#ifndef PAVISE_VFS_FASYNC_H
#define PAVISE_VFS_FASYNC_H

#include "base/sched/lock.h"
#include "vfs/vfs.h"

struct fasync_list {
    struct spinlock lock;                   /* leaf */
    LIST_HEAD(fasync_head, fasync) entries; /* (lock) */
};

void fasync_init(struct fasync_list *list);
int fasync_set(struct file *f, bool on, struct fasync_list *list);
/* The descriptor that fcntl(F_SETFL) was called on: what si_fd will say. */
void fasync_set_fd(struct file *f, int fd);
/* code: POLL_IN... of siginfo. From anywhere. */
void fasync_send(struct fasync_list *list, int code);

#endif
