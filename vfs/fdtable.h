/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptor tables. Look-up is lock-free (QSBR) and always returns a counted reference.
 */
#ifndef PAVISE_VFS_FDTABLE_H
#define PAVISE_VFS_FDTABLE_H

#include "vfs/vfs.h"

struct fdtable;

must_check struct fdtable *fdtable_new(void);
must_check struct fdtable *fdtable_copy(struct fdtable *fdt,
                                        u32 max_fd); /* fork; descriptors above max_fd left out */
struct fdtable *fdtable_get(struct fdtable *fdt);
void fdtable_put(struct fdtable *fdt); /* the last put closes every descriptor */
bool fdtable_is_shared(const struct fdtable *fdt);

/* The file behind fd, or NULL (-EBADF). O_PATH files: only fd_get_any. */
must_check struct file *fd_get(struct fdtable *fdt, int fd);
must_check struct file *fd_get_any(struct fdtable *fdt, int fd);

/* The lowest free descriptor >= low and < limit (RLIMIT_NOFILE): takes over the reference to f,
 * also on error
 * (-EMFILE, -ENOMEM). */
must_check int fd_install(struct fdtable *fdt, struct file *f, int low, u64 limit, bool cloexec);
/* dup2/dup3: atomically closes what newfd was. Takes over the reference to f, also on error. */
must_check int fd_replace(struct fdtable *fdt, struct file *f, int newfd, u64 limit, bool cloexec);
/* close(2): flush, drop POSIX locks of `fdt`, put. */
must_check int fd_close(struct fdtable *fdt, int fd);
must_check int fd_close_range(struct fdtable *fdt, u32 first, u32 last, bool set_cloexec_only);
void fdtable_close_on_exec(struct fdtable *fdt);
must_check int fd_get_cloexec(struct fdtable *fdt, int fd); /* 0, 1 or -EBADF */
must_check int fd_set_cloexec(struct fdtable *fdt, int fd, bool on);
/* The first open descriptor >= fd, or -1: for /proc/PID/fd. */
int fd_next(struct fdtable *fdt, int fd);
u32 fdtable_size(struct fdtable *fdt); /* FDSize of /proc/PID/status */

#endif
