/* SPDX-License-Identifier: Apache-2.0 */
/* Pipes and FIFOs (pipe(7), fifo(7)). */
#ifndef PAVISE_VFS_PIPE_H
#define PAVISE_VFS_PIPE_H

#include "vfs/vfs.h"

/* pipe2(2): two files; flags O_NONBLOCK | O_DIRECT. */
must_check int pipe_new(const struct cred *cred, u32 flags, struct file **rd, struct file **wr);
/* open(2) of an S_IFIFO inode: waits for the other end as fifo(7) says. */
must_check struct file *fifo_open(struct inode *inode, const struct path *path, u32 flags,
                                  const struct cred *cred);
bool file_is_pipe(const struct file *f);
must_check long pipe_get_size(struct file *f);
must_check long pipe_set_size(struct file *f, u64 size, const struct cred *cred);

/*
 * splice(2), tee(2), vmsplice(2): bytes moved, 0 at the end, or -errno; SPLICE_F_NONBLOCK in flags
 * is about the pipes. off NULL: the file position; else it is advanced. The caller checked that the
 * ends are pipes or not, open modes, and that offsets are allowed.
 */
must_check ssize_t splice_file_to_pipe(struct file *in, u64 *off, struct file *pipe, size_t len,
                                       u32 flags);
must_check ssize_t splice_pipe_to_file(struct file *pipe, struct file *out, u64 *off, size_t len,
                                       u32 flags, const struct vfs_ctx *ctx);
must_check ssize_t splice_pipe_to_pipe(struct file *in, struct file *out, size_t len, u32 flags,
                                       bool tee);
/* vmsplice: from and to the caller's memory (copies: the caller may change its pages afterwards).
 */
must_check ssize_t splice_user_to_pipe(struct file *pipe, struct uio *u, u32 flags);
must_check ssize_t splice_pipe_to_user(struct file *pipe, struct uio *u, u32 flags);
/* sendfile(2) to anything but a pipe, copy_file_range(2). */
must_check ssize_t splice_file_to_file(struct file *in, u64 *in_off, struct file *out, u64 *out_off,
                                       size_t len, const struct vfs_ctx *ctx);

#endif
