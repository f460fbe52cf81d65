/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes: stat(2) and its kin, statx(2), statfs(2), access(2), chmod(2), chown(2), the ways to
 * set times. */
#include "base/usermem.h"
#include "sentry/syscalls/file_args.h"
#include "vfs/mount.h"

#include <linux/capability.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/vfs.h>
#include <utime.h>

_Static_assert(sizeof(struct stat) == 144, "glibc's struct stat is the kernel's");
_Static_assert(sizeof(struct statfs) == 120, "glibc's struct statfs is the kernel's");
_Static_assert(sizeof(struct statx) == 256, "glibc's struct statx is the kernel's");

#define STAT_AT_FLAGS (AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH)

/* ---- stat ---- */

static long put_stat(uaddr dst, const struct attr *a)
{
    struct stat st;

    memset(&st, 0, sizeof(st));
    st.st_dev = a->dev;
    st.st_ino = a->ino;
    st.st_nlink = a->nlink;
    st.st_mode = a->mode;
    st.st_uid = a->uid;
    st.st_gid = a->gid;
    st.st_rdev = a->rdev;
    st.st_size = (off_t)a->size;
    st.st_blksize = a->blksize;
    st.st_blocks = (blkcnt_t)a->blocks;
    st.st_atim = a->atime;
    st.st_mtim = a->mtime;
    st.st_ctim = a->ctime;
    return copy_out(dst, &st, sizeof(st));
}

/* fstat(2): O_PATH descriptors too. */
static int stat_fd(struct task *t, int fd, struct attr *a, u64 *mnt_id)
{
    AUTOPUT_FILE f = fd_get_any(t->vfs.fdt, fd);

    return f != NULL ? path_getattr(&f->path, a, mnt_id) : -EBADF;
}

/* The attributes of a path argument; AT_EMPTY_PATH with "" (or, since Linux 6.11, NULL) is the
 * descriptor's own. */
static int stat_at(struct task *t, int dirfd, uaddr name, int flags, struct attr *a, u64 *mnt_id)
{
    if ((flags & AT_EMPTY_PATH) != 0 && name == 0 && dirfd >= 0) {
        return stat_fd(t, dirfd, a, mnt_id);
    }
    PATH_ARG(path, name);
    if (path.err != 0) {
        return path.err;
    }
    if ((flags & AT_EMPTY_PATH) != 0 && path.str[0] == '\0' && dirfd >= 0) {
        return stat_fd(t, dirfd, a, mnt_id);
    }
    return vfs_stat(&t->vfs, dirfd, path.str, (u32)flags, a, mnt_id);
}

long sys_newfstatat(struct task *t, int dirfd, uaddr name, uaddr st, int flags)
{
    struct attr a;
    int err;

    if ((flags & ~STAT_AT_FLAGS) != 0) {
        return -EINVAL;
    }
    err = stat_at(t, dirfd, name, flags, &a, NULL);
    return err != 0 ? err : put_stat(st, &a);
}

long sys_stat(struct task *t, uaddr name, uaddr st)
{
    return sys_newfstatat(t, AT_FDCWD, name, st, 0);
}

long sys_lstat(struct task *t, uaddr name, uaddr st)
{
    return sys_newfstatat(t, AT_FDCWD, name, st, AT_SYMLINK_NOFOLLOW);
}

long sys_fstat(struct task *t, int fd, uaddr st)
{
    struct attr a;
    int err = stat_fd(t, fd, &a, NULL);

    return err != 0 ? err : put_stat(st, &a);
}

static struct statx_timestamp statx_time(struct timespec ts)
{
    return (struct statx_timestamp){.tv_sec = ts.tv_sec, .tv_nsec = (u32)ts.tv_nsec};
}

static long put_statx(uaddr dst, const struct attr *a, u64 mnt_id)
{
    struct statx sx;

    memset(&sx, 0, sizeof(sx));
    sx.stx_mask = STATX_BASIC_STATS | STATX_MNT_ID;
    sx.stx_blksize = a->blksize;
    sx.stx_attributes = a->statx_attributes;
    sx.stx_nlink = a->nlink;
    sx.stx_uid = a->uid;
    sx.stx_gid = a->gid;
    sx.stx_mode = (u16)a->mode;
    sx.stx_ino = a->ino;
    sx.stx_size = a->size;
    sx.stx_blocks = a->blocks;
    sx.stx_atime = statx_time(a->atime);
    sx.stx_mtime = statx_time(a->mtime);
    sx.stx_ctime = statx_time(a->ctime);
    if (a->btime.tv_nsec >= 0) {
        sx.stx_mask |= STATX_BTIME;
        sx.stx_btime = statx_time(a->btime);
    }
    sx.stx_dev_major = major(a->dev);
    sx.stx_dev_minor = minor(a->dev);
    sx.stx_rdev_major = major(a->rdev);
    sx.stx_rdev_minor = minor(a->rdev);
    sx.stx_mnt_id = mnt_id;
    return copy_out(dst, &sx, sizeof(sx));
}

long sys_statx(struct task *t, int dirfd, uaddr name, int flags, unsigned int mask, uaddr buf)
{
    struct attr a;
    u64 mnt_id = 0;
    int err;

    if ((mask & STATX__RESERVED) != 0 || (flags & ~(STAT_AT_FLAGS | AT_STATX_SYNC_TYPE)) != 0 ||
        (flags & AT_STATX_SYNC_TYPE) == AT_STATX_SYNC_TYPE) {
        return -EINVAL;
    }
    err = stat_at(t, dirfd, name, flags & STAT_AT_FLAGS, &a, &mnt_id);
    return err != 0 ? err : put_statx(buf, &a, mnt_id);
}

/* ---- statfs ---- */

static long put_statfs(uaddr dst, const struct path *path)
{
    struct statfs_info i;
    struct statfs s;
    int err = path_statfs(path, &i);

    if (err != 0) {
        return err;
    }
    memset(&s, 0, sizeof(s));
    s.f_type = (__fsword_t)i.type;
    s.f_bsize = (__fsword_t)i.bsize;
    s.f_blocks = i.blocks;
    s.f_bfree = i.bfree;
    s.f_bavail = i.bavail;
    s.f_files = i.files;
    s.f_ffree = i.ffree;
    memcpy(&s.f_fsid, &i.fsid, sizeof(s.f_fsid));
    s.f_namelen = (__fsword_t)i.namelen;
    s.f_frsize = (__fsword_t)i.frsize;
    s.f_flags = (__fsword_t)i.flags;
    return copy_out(dst, &s, sizeof(s));
}

long sys_statfs(struct task *t, uaddr name, uaddr buf)
{
    struct path at;
    long err;

    PATH_ARG(path, name);
    err = path.err != 0 ? path.err : path_lookup(&t->vfs, AT_FDCWD, path.str, LOOKUP_FOLLOW, &at);
    if (err == 0) {
        err = put_statfs(buf, &at);
        path_put(&at);
    }
    return err;
}

long sys_fstatfs(struct task *t, int fd, uaddr buf)
{
    AUTOPUT_FILE f = fd_get_any(t->vfs.fdt, fd);

    return f != NULL ? put_statfs(buf, &f->path) : -EBADF;
}

/* ---- access ---- */

long sys_faccessat2(struct task *t, int dirfd, uaddr name, int mode, int flags)
{
    if ((mode & ~(R_OK | W_OK | X_OK)) != 0 ||
        (flags & ~(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) != 0) {
        return -EINVAL;
    }
    PATH_ARG(path, name);
    /* R_OK, W_OK, X_OK are MAY_READ, MAY_WRITE, MAY_EXEC. */
    return path.err != 0 ? path.err : vfs_access(&t->vfs, dirfd, path.str, (u32)mode, (u32)flags);
}

long sys_faccessat(struct task *t, int dirfd, uaddr name, int mode)
{
    return sys_faccessat2(t, dirfd, name, mode, 0);
}

long sys_access(struct task *t, uaddr name, int mode)
{
    return sys_faccessat2(t, AT_FDCWD, name, mode, 0);
}

/* ---- chmod, chown ---- */

long sys_fchmodat2(struct task *t, int dirfd, uaddr name, unsigned int mode, int flags)
{
    if ((flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) != 0) {
        return -EINVAL;
    }
    PATH_ARG(path, name);
    return path.err != 0 ? path.err : vfs_chmod(&t->vfs, dirfd, path.str, mode, (u32)flags);
}

long sys_fchmodat(struct task *t, int dirfd, uaddr name, unsigned int mode)
{
    return sys_fchmodat2(t, dirfd, name, mode, 0);
}

long sys_chmod(struct task *t, uaddr name, unsigned int mode)
{
    return sys_fchmodat2(t, AT_FDCWD, name, mode, 0);
}

long sys_fchmod(struct task *t, int fd, unsigned int mode)
{
    AUTOPUT_FILE f = fd_get(t->vfs.fdt, fd);
    struct setattr set = {.valid = SETATTR_MODE, .mode = mode & 07777U};

    return f != NULL ? path_setattr(&f->path, &set, t->vfs.cred) : -EBADF;
}

long sys_fchownat(struct task *t, int dirfd, uaddr name, unsigned int uid, unsigned int gid,
                  int flags)
{
    if ((flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) != 0) {
        return -EINVAL;
    }
    PATH_ARG(path, name);
    return path.err != 0 ? path.err : vfs_chown(&t->vfs, dirfd, path.str, uid, gid, (u32)flags);
}

long sys_chown(struct task *t, uaddr name, unsigned int uid, unsigned int gid)
{
    return sys_fchownat(t, AT_FDCWD, name, uid, gid, 0);
}

long sys_lchown(struct task *t, uaddr name, unsigned int uid, unsigned int gid)
{
    return sys_fchownat(t, AT_FDCWD, name, uid, gid, AT_SYMLINK_NOFOLLOW);
}

long sys_fchown(struct task *t, int fd, unsigned int uid, unsigned int gid)
{
    AUTOPUT_FILE f = fd_get(t->vfs.fdt, fd);

    return f != NULL ? path_chown(&f->path, uid, gid, t->vfs.cred) : -EBADF;
}

/* ---- times ---- */

/* NULL name: the descriptor itself. */
static long utimens_at(struct task *t, int dirfd, uaddr name, const struct timespec *times,
                       int flags)
{
    if (name == 0) {
        AUTOPUT_FILE f = dirfd != AT_FDCWD ? fd_get(t->vfs.fdt, dirfd) : NULL;

        if (dirfd == AT_FDCWD) {
            return -EFAULT;
        }
        if (flags != 0) {
            return -EINVAL;
        }
        return f != NULL ? path_utimens(&f->path, times, t->vfs.cred) : -EBADF;
    }
    PATH_ARG(path, name);
    return path.err != 0 ? path.err : vfs_utimens(&t->vfs, dirfd, path.str, times, (u32)flags);
}

long sys_utimensat(struct task *t, int dirfd, uaddr name, uaddr times, int flags)
{
    struct timespec ts[2];

    if (times != 0 && copy_in(ts, times, sizeof(ts)) != 0) {
        return -EFAULT;
    }
    if (times != 0 && ts[0].tv_nsec == UTIME_OMIT && ts[1].tv_nsec == UTIME_OMIT) {
        return 0;
    }
    if ((flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) != 0) {
        return -EINVAL;
    }
    return utimens_at(t, dirfd, name, times != 0 ? ts : NULL, flags);
}

long sys_futimesat(struct task *t, int dirfd, uaddr name, uaddr times)
{
    struct timeval tv[2];
    struct timespec ts[2];

    if (times != 0) {
        if (copy_in(tv, times, sizeof(tv)) != 0) {
            return -EFAULT;
        }
        for (int i = 0; i < 2; i++) {
            if (tv[i].tv_usec < 0 || tv[i].tv_usec >= 1000000) {
                return -EINVAL;
            }
            ts[i] = (struct timespec){tv[i].tv_sec, tv[i].tv_usec * 1000};
        }
    }
    return utimens_at(t, dirfd, name, times != 0 ? ts : NULL, 0);
}

long sys_utimes(struct task *t, uaddr name, uaddr times)
{
    return sys_futimesat(t, AT_FDCWD, name, times);
}

long sys_utime(struct task *t, uaddr name, uaddr times)
{
    struct utimbuf ub;
    struct timespec ts[2];

    if (times != 0) {
        if (copy_in(&ub, times, sizeof(ub)) != 0) {
            return -EFAULT;
        }
        ts[0] = (struct timespec){.tv_sec = ub.actime};
        ts[1] = (struct timespec){.tv_sec = ub.modtime};
    }
    return utimens_at(t, AT_FDCWD, name, times != 0 ? ts : NULL, 0);
}
