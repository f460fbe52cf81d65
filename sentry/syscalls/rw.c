/* SPDX-License-Identifier: Apache-2.0 */
/* Content of files: read(2), write(2) and their kin, lseek(2), fsync(2), fallocate(2),
 * ftruncate(2), the hints. */
#include "base/usermem.h"
#include "sentry/syscalls/file_args.h"

#include <linux/fs.h>

#define RWF_READ_KNOWN  (RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT)
#define RWF_WRITE_KNOWN (RWF_READ_KNOWN | RWF_APPEND)

long sys_read(struct task *t, int fd, uaddr buf, size_t count)
{
    AUTOPUT_FILE f = fd_get(t->vfs.fdt, fd);
    struct uio u;

    if (f == NULL) {
        return -EBADF;
    }
    uio_init_user(&u, buf, count);
    return file_read(f, &u, 0);
}

long sys_write(struct task *t, int fd, uaddr buf, size_t count)
{
    AUTOPUT_FILE f = fd_get(t->vfs.fdt, fd);
    struct uio u;

    if (f == NULL) {
        return -EBADF;
    }
    uio_init_user(&u, buf, count);
    return write_result(t, file_write(f, &u, 0, &t->vfs));
}

long sys_pread64(struct task *t, int fd, uaddr buf, size_t count, s64 pos)
{
    AUTOPUT_FILE f = fd_get(t->vfs.fdt, fd);
    struct uio u;

    if (pos < 0) {
        return -EINVAL;
    }
    if (f == NULL) {
        return -EBADF;
    }
    uio_init_user(&u, buf, count);
    return file_pread(f, &u, (u64)pos, 0);
}

long sys_pwrite64(struct task *t, int fd, uaddr buf, size_t count, s64 pos)
{
    AUTOPUT_FILE f = fd_get(t->vfs.fdt, fd);
    struct uio u;

    if (pos < 0) {
        return -EINVAL;
    }
    if (f == NULL) {
        return -EBADF;
    }
    uio_init_user(&u, buf, count);
    return write_result(t, file_pwrite(f, &u, (u64)pos, 0, &t->vfs));
}

/* ---- vectors; pos -1: the file position ---- */

static long do_readv(struct task *t, int fd, uaddr iov, unsigned long count, s64 pos, int flags)
{
    AUTOPUT_FILE f = fd_get(t->vfs.fdt, fd);
    struct iov_arg a;
    long n;

    if (pos < -1) {
        return -EINVAL;
    }
    if (f == NULL || (f->mode & FMODE_READ) == 0) {
        return -EBADF;
    }
    if ((flags & ~RWF_READ_KNOWN) != 0) {
        return -EOPNOTSUPP;
    }
    if (pos >= 0 && (f->mode & FMODE_STREAM) != 0) {
        return -ESPIPE;
    }
    n = iov_arg_init(&a, iov, count);
    if (n != 0) {
        return n;
    }
    n = pos < 0 ? file_read(f, &a.uio, (u32)flags) : file_pread(f, &a.uio, (u64)pos, (u32)flags);
    iov_arg_fini(&a);
    return n;
}

static long do_writev(struct task *t, int fd, uaddr iov, unsigned long count, s64 pos, int flags)
{
    AUTOPUT_FILE f = fd_get(t->vfs.fdt, fd);
    struct iov_arg a;
    long n;

    if (pos < -1) {
        return -EINVAL;
    }
    if (f == NULL || (f->mode & FMODE_WRITE) == 0) {
        return -EBADF;
    }
    if ((flags & ~RWF_WRITE_KNOWN) != 0) {
        return -EOPNOTSUPP;
    }
    if (pos >= 0 && (f->mode & FMODE_STREAM) != 0) {
        return -ESPIPE;
    }
    n = iov_arg_init(&a, iov, count);
    if (n != 0) {
        return n;
    }
    n = pos < 0 ? file_write(f, &a.uio, (u32)flags, &t->vfs)
                : file_pwrite(f, &a.uio, (u64)pos, (u32)flags, &t->vfs);
    iov_arg_fini(&a);
    return write_result(t, n);
}

long sys_readv(struct task *t, int fd, uaddr iov, unsigned long count)
{
    return do_readv(t, fd, iov, count, -1, 0);
}

long sys_writev(struct task *t, int fd, uaddr iov, unsigned long count)
{
    return do_writev(t, fd, iov, count, -1, 0);
}

/* On 64 bits the whole position is in pos_low. */
long sys_preadv(struct task *t, int fd, uaddr iov, unsigned long count, unsigned long pos_low,
                unsigned long pos_high)
{
    return (s64)pos_low < 0 ? -EINVAL : do_readv(t, fd, iov, count, (s64)pos_low, 0);
}

long sys_pwritev(struct task *t, int fd, uaddr iov, unsigned long count, unsigned long pos_low,
                 unsigned long pos_high)
{
    return (s64)pos_low < 0 ? -EINVAL : do_writev(t, fd, iov, count, (s64)pos_low, 0);
}

long sys_preadv2(struct task *t, int fd, uaddr iov, unsigned long count, unsigned long pos_low,
                 unsigned long pos_high, int flags)
{
    return do_readv(t, fd, iov, count, (s64)pos_low, flags);
}

long sys_pwritev2(struct task *t, int fd, uaddr iov, unsigned long count, unsigned long pos_low,
                  unsigned long pos_high, int flags)
{
    return do_writev(t, fd, iov, count, (s64)pos_low, flags);
}

/* ---- position, size, storage ---- */

long sys_lseek(struct task *t, int fd, s64 offset, int whence)
{
    AUTOPUT_FILE f = fd_get(t->vfs.fdt, fd);

    return f != NULL ? file_seek(f, offset, whence) : -EBADF;
}

long sys_ftruncate(struct task *t, int fd, s64 len)
{
    AUTOPUT_FILE f = fd_get(t->vfs.fdt, fd);

    if (len < 0) {
        return -EINVAL;
    }
    if (f == NULL) {
        return -EBADF;
    }
    return write_result(t, file_truncate(f, len, &t->vfs));
}

long sys_fallocate(struct task *t, int fd, int mode, s64 pos, s64 len)
{
    AUTOPUT_FILE f = fd_get(t->vfs.fdt, fd);

    if (f == NULL) {
        return -EBADF;
    }
    return write_result(t, file_fallocate(f, (u32)mode, pos, len, &t->vfs));
}

/* ---- to the disk ---- */

long sys_fsync(struct task *t, int fd)
{
    AUTOPUT_FILE f = fd_get(t->vfs.fdt, fd);

    return f != NULL ? file_fsync(f, 0, INT64_MAX, false) : -EBADF;
}

long sys_fdatasync(struct task *t, int fd)
{
    AUTOPUT_FILE f = fd_get(t->vfs.fdt, fd);

    return f != NULL ? file_fsync(f, 0, INT64_MAX, true) : -EBADF;
}

long sys_sync(struct task *t)
{
    super_sync_all();
    return 0;
}

long sys_syncfs(struct task *t, int fd)
{
    AUTOPUT_FILE f = fd_get(t->vfs.fdt, fd);

    return f != NULL ? super_sync(f->inode->sb) : -EBADF;
}

long sys_sync_file_range(struct task *t, int fd, s64 pos, s64 len, unsigned int flags)
{
    AUTOPUT_FILE f = fd_get(t->vfs.fdt, fd);
    s64 end;

    if (f == NULL) {
        return -EBADF;
    }
    if ((flags & ~7U) != 0 || pos < 0 || len < 0 || __builtin_add_overflow(pos, len, &end)) {
        return -EINVAL;
    }
    if (!S_ISREG(f->inode->mode) && !S_ISDIR(f->inode->mode) && !S_ISLNK(f->inode->mode) &&
        !S_ISBLK(f->inode->mode)) {
        return -ESPIPE;
    }
    return file_fsync(f, (u64)pos, len == 0 ? INT64_MAX : (u64)end, true);
}

/* ---- hints: checked, nothing to do ---- */

long sys_fadvise64(struct task *t, int fd, s64 pos, size_t len, int advice)
{
    AUTOPUT_FILE f = fd_get(t->vfs.fdt, fd);

    if (f == NULL) {
        return -EBADF;
    }
    if (S_ISFIFO(f->inode->mode)) {
        return -ESPIPE;
    }
    return (s64)len < 0 || advice < POSIX_FADV_NORMAL || advice > POSIX_FADV_NOREUSE ? -EINVAL : 0;
}

long sys_readahead(struct task *t, int fd, s64 pos, size_t count)
{
    AUTOPUT_FILE f = fd_get(t->vfs.fdt, fd);

    if (f == NULL || (f->mode & FMODE_READ) == 0) {
        return -EBADF;
    }
    return S_ISREG(f->inode->mode) || S_ISBLK(f->inode->mode) ? 0 : -EINVAL;
}
