/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host calls of host trees that change something, or look at names. Rules as in base/host.h, of
 * which this is a part. Names are single components: the callers check that they hold no '/', so
 * that no call here walks a path, and none follows a link.
 */
#ifndef PAVISE_BASE_HOST_FS_H
#define PAVISE_BASE_HOST_FS_H

#include "base/base.h"

#include <sys/uio.h>

struct statx;
struct timespec;

/* One component below dirfd: openat2 with RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS and
 * RESOLVE_NO_MAGICLINKS; close-on-exec. */
must_check int host_open_beneath(int dirfd, const char *name, u32 flags, u32 mode);
/* Of `name` itself; "" with AT_EMPTY_PATH is dirfd. */
must_check int host_statx(int dirfd, const char *name, u32 at_flags, u32 mask, struct statx *out);
must_check int host_mkdirat(int dirfd, const char *name, u32 mode);
must_check int host_mknodat(int dirfd, const char *name, u32 mode, u64 dev);
must_check int host_symlinkat(const char *target, int dirfd, const char *name);
must_check int host_linkat(int old_dirfd, const char *old, int new_dirfd, const char *new);
must_check int host_unlinkat(int dirfd, const char *name, u32 at_flags);
must_check int host_renameat2(int old_dirfd, const char *old, int new_dirfd, const char *new,
                              u32 flags);
must_check int host_fchmod(int fd, u32 mode);
/* With AT_EMPTY_PATH, for any descriptor; (u32)-1 leaves an id alone. */
must_check int host_fchown_path(int fd, u32 uid, u32 gid);
must_check int host_utimens_path(int fd, const struct timespec times[2]);
u32 host_geteuid(void);
must_check int host_fsync(int fd);
must_check int host_fdatasync(int fd);
must_check int host_syncfs(int fd);
must_check ssize_t host_pwritev2(int fd, const struct iovec *iov, int count, u64 off, u32 rwf);
must_check ssize_t host_fgetxattr(int fd, const char *name, void *buf, size_t size);
must_check int host_fsetxattr(int fd, const char *name, const void *value, size_t size, int flags);
must_check ssize_t host_flistxattr(int fd, char *buf, size_t size);
must_check int host_fremovexattr(int fd, const char *name);

#endif
