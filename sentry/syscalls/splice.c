/* SPDX-License-Identifier: Apache-2.0 */
/* pipe(2), splice(2), tee(2), vmsplice(2), sendfile(2), copy_file_range(2): decode and check. */
#include "base/heap.h"
#include "base/uio.h"
#include "base/usermem.h"
#include "sentry/syscalls/file_args.h"
#include "sentry/syscalls/syscalls.h"
#include "vfs/fdtable.h"
#include "vfs/pipe.h"

#include <limits.h>

#define MAX_COUNT  (0x7fffffffUL & PAGE_MASK)
#define SPLICE_ALL (SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT)

/* ---- pipe ---- */

long sys_pipe2(struct task *t, uaddr fds, int flags)
{
    struct file *rd, *wr;
    int err;

    if ((flags & ~(O_CLOEXEC | O_NONBLOCK | O_DIRECT)) != 0) {
        return -EINVAL;
    }
    err = pipe_new(t->vfs.cred, (u32)flags, &rd, &wr);
    return err != 0 ? err : install_two(t, rd, wr, fds, (flags & O_CLOEXEC) != 0);
}

long sys_pipe(struct task *t, uaddr fds)
{
    return sys_pipe2(t, fds, 0);
}

/* ---- offsets ---- */

/* A guest offset argument: NULL means the file position. */
struct offset {
    uaddr user;
    u64 value;
};

static int offset_in(struct offset *off, uaddr user)
{
    off->user = user;
    if (user == 0) {
        return 0;
    }
    if (copy_in(&off->value, user, sizeof(off->value)) != 0) {
        return -EFAULT;
    }
    return off->value > INT64_MAX ? -EINVAL : 0;
}

static u64 *offset_ptr(struct offset *off)
{
    return off->user != 0 ? &off->value : NULL;
}

static long offset_out(const struct offset *off, long ret)
{
    if (ret >= 0 && off->user != 0 && copy_out(off->user, &off->value, sizeof(off->value)) != 0) {
        return -EFAULT;
    }
    return ret;
}

static bool is_append(const struct file *f)
{
    return (atomic_load_explicit(&f->flags, memory_order_relaxed) & O_APPEND) != 0;
}

/* ---- splice ---- */

/* One side is a pipe, the other is not: an offset needs a file that has positions. */
static long splice_check(const struct file *in, uaddr in_pos, const struct file *out, uaddr out_pos)
{
    if ((file_is_pipe(in) && in_pos != 0) || (file_is_pipe(out) && out_pos != 0)) {
        return -ESPIPE;
    }
    if (!file_is_pipe(in) && !file_is_pipe(out)) {
        return -EINVAL;
    }
    if ((in_pos != 0 && (in->mode & FMODE_STREAM) != 0) ||
        (out_pos != 0 && (out->mode & FMODE_STREAM) != 0)) {
        return -EINVAL;
    }
    if (!file_is_pipe(out) && is_append(out)) {
        return -EINVAL;
    }
    return S_ISDIR(in->inode->mode) ? -EISDIR : 0;
}

static long splice_files(struct task *t, struct file *in, struct offset *in_off, struct file *out,
                         struct offset *out_off, size_t len, u32 flags)
{
    if (file_is_pipe(in) && file_is_pipe(out)) {
        return splice_pipe_to_pipe(in, out, len, flags, false);
    }
    if (file_is_pipe(in)) {
        return splice_pipe_to_file(in, out, offset_ptr(out_off), len, flags, &t->vfs);
    }
    return splice_file_to_pipe(in, offset_ptr(in_off), out, len, flags);
}

long sys_splice(struct task *t, int in_fd, uaddr in_pos, int out_fd, uaddr out_pos, size_t len,
                unsigned int flags)
{
    AUTOPUT_FILE in = NULL;
    AUTOPUT_FILE out = NULL;
    struct offset in_off, out_off;
    long ret;

    if ((flags & ~(u32)SPLICE_ALL) != 0) {
        return -EINVAL;
    }
    if (len == 0) {
        return 0;
    }
    in = fd_get(t->vfs.fdt, in_fd);
    out = in != NULL ? fd_get(t->vfs.fdt, out_fd) : NULL;
    if (in == NULL || out == NULL || (in->mode & FMODE_READ) == 0 ||
        (out->mode & FMODE_WRITE) == 0) {
        return -EBADF;
    }
    ret = splice_check(in, in_pos, out, out_pos);
    if (ret == 0) {
        ret = offset_in(&in_off, in_pos);
    }
    if (ret == 0) {
        ret = offset_in(&out_off, out_pos);
    }
    if (ret != 0) {
        return ret;
    }
    ret = splice_files(t, in, &in_off, out, &out_off, min(len, MAX_COUNT), flags);
    ret = write_result(t, ret);
    return offset_out(&out_off, offset_out(&in_off, ret));
}

long sys_tee(struct task *t, int in_fd, int out_fd, size_t len, unsigned int flags)
{
    AUTOPUT_FILE in = NULL;
    AUTOPUT_FILE out = NULL;

    if ((flags & ~(u32)SPLICE_ALL) != 0) {
        return -EINVAL;
    }
    if (len == 0) {
        return 0;
    }
    in = fd_get(t->vfs.fdt, in_fd);
    out = in != NULL ? fd_get(t->vfs.fdt, out_fd) : NULL;
    if (in == NULL || out == NULL || (in->mode & FMODE_READ) == 0 ||
        (out->mode & FMODE_WRITE) == 0) {
        return -EBADF;
    }
    if (!file_is_pipe(in) || !file_is_pipe(out)) {
        return -EINVAL;
    }
    return write_result(t, splice_pipe_to_pipe(in, out, min(len, MAX_COUNT), flags, true));
}

/* The guest's iovecs as segments, checked. The total must fit ssize_t. */
static long segs_in(uaddr uiov, u32 count, struct uio_seg *segs)
{
    u64 total = 0;

    if (copy_in(segs, uiov, count * sizeof(*segs)) != 0) {
        return -EFAULT;
    }
    for (u32 i = 0; i < count; i++) {
        if (segs[i].len > SSIZE_MAX - total) {
            return -EINVAL;
        }
        total += segs[i].len;
    }
    return 0;
}

long sys_vmsplice(struct task *t, int fd, uaddr iov, unsigned long count, unsigned int flags)
{
    AUTOPUT_FILE f = NULL;
    struct uio_seg *segs;
    struct uio u;
    long ret;

    if ((flags & ~(u32)SPLICE_ALL) != 0) {
        return -EINVAL;
    }
    f = fd_get(t->vfs.fdt, fd);
    if (f == NULL || !file_is_pipe(f)) {
        return -EBADF;
    }
    if (count > IOV_MAX) {
        return -EINVAL;
    }
    segs = heap_alloc((count + 1) * sizeof(*segs));
    if (segs == NULL) {
        return -ENOMEM;
    }
    ret = segs_in(iov, (u32)count, segs);
    if (ret == 0) {
        uio_init_segs(&u, segs, (u32)count, false);
        ret = (f->mode & FMODE_WRITE) != 0 ? write_result(t, splice_user_to_pipe(f, &u, flags))
                                           : splice_pipe_to_user(f, &u, flags);
    }
    heap_free(segs);
    return ret;
}

/* ---- file to file ---- */

long sys_sendfile(struct task *t, int out_fd, int in_fd, uaddr pos, size_t count)
{
    AUTOPUT_FILE in = fd_get(t->vfs.fdt, in_fd);
    AUTOPUT_FILE out = NULL;
    struct offset off;
    long ret;

    if (in == NULL || (in->mode & FMODE_READ) == 0) {
        return -EBADF;
    }
    ret = offset_in(&off, pos);
    if (ret == 0 && pos != 0 && (in->mode & FMODE_STREAM) != 0) {
        ret = -ESPIPE;
    }
    if (ret != 0) {
        return ret;
    }
    out = fd_get(t->vfs.fdt, out_fd);
    if (out == NULL || (out->mode & FMODE_WRITE) == 0) {
        return -EBADF;
    }
    if (!S_ISREG(in->inode->mode) || is_append(out)) {
        return -EINVAL;
    }
    count = min(count, MAX_COUNT);
    if (count == 0) {
        return 0;
    }
    ret = file_is_pipe(out) ? splice_file_to_pipe(in, offset_ptr(&off), out, count, 0)
                            : splice_file_to_file(in, offset_ptr(&off), out, NULL, count, &t->vfs);
    return offset_out(&off, write_result(t, ret));
}

static long copy_range_check(const struct file *in, const struct file *out)
{
    if ((in->mode & FMODE_READ) == 0 || (out->mode & FMODE_WRITE) == 0 || is_append(out)) {
        return -EBADF;
    }
    if (S_ISDIR(in->inode->mode) || S_ISDIR(out->inode->mode)) {
        return -EISDIR;
    }
    return S_ISREG(in->inode->mode) && S_ISREG(out->inode->mode) ? 0 : -EINVAL;
}

static bool ranges_overlap(const struct file *in, const struct offset *in_off,
                           const struct file *out, const struct offset *out_off, u64 len)
{
    u64 a = in_off->user != 0 ? in_off->value : in->pos;
    u64 b = out_off->user != 0 ? out_off->value : out->pos;

    return in->inode == out->inode && a < b + len && b < a + len;
}

long sys_copy_file_range(struct task *t, int in_fd, uaddr in_pos, int out_fd, uaddr out_pos,
                         size_t len, unsigned int flags)
{
    AUTOPUT_FILE in = fd_get(t->vfs.fdt, in_fd);
    AUTOPUT_FILE out = fd_get(t->vfs.fdt, out_fd);
    struct offset in_off, out_off;
    long ret;

    if (in == NULL || out == NULL) {
        return -EBADF;
    }
    ret = offset_in(&in_off, in_pos);
    if (ret == 0) {
        ret = offset_in(&out_off, out_pos);
    }
    if (ret == 0 && flags != 0) {
        ret = -EINVAL;
    }
    if (ret == 0) {
        ret = copy_range_check(in, out);
    }
    if (ret != 0) {
        return ret;
    }
    len = min(len, MAX_COUNT);
    if (ranges_overlap(in, &in_off, out, &out_off, len)) {
        return -EINVAL;
    }
    ret = len == 0 ? 0
                   : splice_file_to_file(in, offset_ptr(&in_off), out, offset_ptr(&out_off), len,
                                         &t->vfs);
    return offset_out(&out_off, offset_out(&in_off, ret));
}
