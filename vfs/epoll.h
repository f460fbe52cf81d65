/* SPDX-License-Identifier: Apache-2.0 */
/* epoll(7). */
#ifndef PAVISE_VFS_EPOLL_H
#define PAVISE_VFS_EPOLL_H

#include "vfs/vfs.h"

#include <sys/epoll.h>

/* flags: EPOLL_CLOEXEC. ERR_PTR. */
must_check struct file *epoll_new(int flags, const struct cred *cred);
bool file_is_epoll(const struct file *f);

/* `fd` is the number the caller used (part of the key, as in Linux). event is ignored by DEL. */
must_check int epoll_ctl_file(struct file *ep, int op, struct file *target, int fd,
                              const struct epoll_event *event);

/*
 * Wait for events until `deadline` (monotonic ns, CLOCK_NEVER, 0: do not wait). Ready ones are
 * given to emit one by one, which may copy them to the guest; it returns 0 or an error, which ends
 * the call (the event stays ready). The number given, 0 on time-out, the error of the first emit,
 * or -EINTR when interrupted (epoll_wait is never restarted).
 */
must_check int epoll_wait_file(struct file *ep, int maxevents, u64 deadline,
                               int (*emit)(void *arg, u32 index, const struct epoll_event *ev),
                               void *arg);

/* file.c: the last reference to f goes; drop its watches (f->epitems). */
void epoll_file_released(struct file *f);

#endif
