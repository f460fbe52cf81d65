/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Path walk and the operations on names: what the *at system calls do once their strings are in the
 * kernel. `dirfd` is a descriptor of ctx->fdt or AT_FDCWD; `name` a NUL-terminated kernel string.
 * All check permissions, mount flags (read-only: -EROFS) and follow path_resolution(7).
 */
#ifndef PAVISE_VFS_NAMEI_H
#define PAVISE_VFS_NAMEI_H

#include "vfs/vfs.h"

/* Flags of path_lookup. */
#define LOOKUP_FOLLOW       1U /* follow a trailing symbolic link */
#define LOOKUP_DIRECTORY    2U /* must be a directory */
#define LOOKUP_EMPTY        4U /* AT_EMPTY_PATH: "" is dirfd itself */
#define LOOKUP_NO_AUTOMOUNT 8U /* accepted, nothing to do */
/* openat2(2) RESOLVE_*, shifted so that they fit beside. */
#define LOOKUP_RESOLVE_SHIFT 8

must_check int path_lookup(const struct vfs_ctx *ctx, int dirfd, const char *name, u32 flags,
                           struct path *out);

struct open_how_args {
    u32 flags;   /* O_* */
    u32 mode;    /* umask not yet applied */
    u32 resolve; /* RESOLVE_* */
};
/* open, creat, openat2: a new file, or ERR_PTR. */
must_check struct file *vfs_open(const struct vfs_ctx *ctx, int dirfd, const char *name,
                                 const struct open_how_args *how);
/* Open what a path names (no further walk), e.g. for exec or the loader. */
must_check struct file *vfs_open_path(const struct vfs_ctx *ctx, const struct path *path,
                                      u32 flags);
/* For execve: regular, executable by ctx->cred, not on a noexec mount. */
must_check struct file *vfs_open_exec(const struct vfs_ctx *ctx, int dirfd, const char *name,
                                      u32 at_flags);

must_check int vfs_mkdir(const struct vfs_ctx *ctx, int dirfd, const char *name, u32 mode);
must_check int vfs_mknod(const struct vfs_ctx *ctx, int dirfd, const char *name, u32 mode,
                         u64 rdev);
/* As vfs_mknod with S_IFSOCK, storing `special` in the inode (unix bind): returns the path too. */
must_check int vfs_bind_socket(const struct vfs_ctx *ctx, const char *name, u32 mode, void *special,
                               struct path *out);
must_check int vfs_symlink(const struct vfs_ctx *ctx, const char *target, int dirfd,
                           const char *name);
must_check int vfs_link(const struct vfs_ctx *ctx, int olddirfd, const char *old, int newdirfd,
                        const char *new, u32 at_flags);
must_check int vfs_unlink(const struct vfs_ctx *ctx, int dirfd, const char *name,
                          u32 at_flags); /* AT_REMOVEDIR */
must_check int vfs_rename(const struct vfs_ctx *ctx, int olddirfd, const char *old, int newdirfd,
                          const char *new, u32 flags);
must_check ssize_t vfs_readlink(const struct vfs_ctx *ctx, int dirfd, const char *name, char *buf,
                                size_t size);
must_check int vfs_access(const struct vfs_ctx *ctx, int dirfd, const char *name, u32 mask,
                          u32 at_flags); /* uses real ids unless AT_EACCESS */
must_check int vfs_stat(const struct vfs_ctx *ctx, int dirfd, const char *name, u32 at_flags,
                        struct attr *out, u64 *mnt_id);
must_check int vfs_chmod(const struct vfs_ctx *ctx, int dirfd, const char *name, u32 mode,
                         u32 at_flags);
must_check int vfs_chown(const struct vfs_ctx *ctx, int dirfd, const char *name, u32 uid, u32 gid,
                         u32 at_flags);
must_check int vfs_utimens(const struct vfs_ctx *ctx, int dirfd, const char *name,
                           const struct timespec times[2], u32 at_flags);
/* The same on what a path names already (descriptors); mount_want_write is checked. */
must_check int path_getattr(const struct path *path, struct attr *out, u64 *mnt_id);
must_check int path_setattr(const struct path *path, struct setattr *set, const struct cred *cred);
must_check int path_chown(const struct path *path, u32 uid, u32 gid, const struct cred *cred);
must_check int path_utimens(const struct path *path, const struct timespec times[2],
                            const struct cred *cred);
must_check int vfs_truncate(const struct vfs_ctx *ctx, const char *name, s64 len);
must_check int vfs_chdir(const struct vfs_ctx *ctx, const char *name);
must_check int vfs_fchdir(const struct vfs_ctx *ctx, int fd);
must_check int vfs_chroot(const struct vfs_ctx *ctx, const char *name);

#endif
