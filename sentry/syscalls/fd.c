/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors: close(2), dup(2), fcntl(2), ioctl(2), close_range(2). */
#include "base/usermem.h"
#include "sentry/syscalls/file_args.h"
#include "vfs/dnotify.h"
#include "vfs/fasync.h"
#include "vfs/locks.h"
#include "vfs/pipe.h"
#include "vfs/tmpfs/tmpfs.h"

#include <linux/close_range.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#ifndef F_SETSIG
#define F_SETSIG 10
#define F_GETSIG 11
#endif
#define F_GETOWNER_UIDS_CMD 17
#define FIOQSIZE_CMD        0x5460

/* ---- close, dup ---- */

long sys_close(struct task *t, int fd)
{
    long err = fd_close(t->vfs.fdt, fd);

    /* The descriptor is gone whatever flush says: it must not be closed again by a restart. */
    return err == -ERESTARTSYS || err == -ERESTARTNOINTR || err == -ERESTARTNOHAND ? -EINTR : err;
}

static long dup_from(struct task *t, int fd, int low, bool cloexec)
{
    u64 limit = task_rlimit(t, RLIMIT_NOFILE);
    struct file *f;

    if (low < 0 || (u64)low >= limit) {
        return -EINVAL;
    }
    f = fd_get_any(t->vfs.fdt, fd);
    return f != NULL ? fd_install(t->vfs.fdt, f, low, limit, cloexec) : -EBADF;
}

long sys_dup(struct task *t, int fd)
{
    struct file *f = fd_get_any(t->vfs.fdt, fd);

    return f != NULL ? install_file(t, f, false) : -EBADF;
}

static long dup_onto(struct task *t, int oldfd, int newfd, bool cloexec)
{
    struct file *f = fd_get_any(t->vfs.fdt, oldfd);

    if (f == NULL) {
        return -EBADF;
    }
    return fd_replace(t->vfs.fdt, f, newfd, task_rlimit(t, RLIMIT_NOFILE), cloexec);
}

long sys_dup3(struct task *t, int oldfd, int newfd, int flags)
{
    if ((flags & ~O_CLOEXEC) != 0 || oldfd == newfd) {
        return -EINVAL;
    }
    return dup_onto(t, oldfd, newfd, (flags & O_CLOEXEC) != 0);
}

long sys_dup2(struct task *t, int oldfd, int newfd)
{
    if (oldfd == newfd) {
        AUTOPUT_FILE f = fd_get_any(t->vfs.fdt, oldfd);

        return f != NULL ? newfd : -EBADF;
    }
    return dup_onto(t, oldfd, newfd, false);
}

/* A table of the caller's own, with what a close of [first, last] would leave. */
static int unshare_fdtable(struct task *t, u32 first, u32 last, bool keeps_all)
{
    struct fdtable *old = t->vfs.fdt, *copy;
    u32 max_fd = !keeps_all && last == UINT32_MAX ? (first == 0 ? 0 : first - 1) : UINT32_MAX;

    if (!fdtable_is_shared(old)) {
        return 0;
    }
    copy = fdtable_copy(old, max_fd);
    if (copy == NULL) {
        return -ENOMEM;
    }
    spin_lock(&t->vfs_lock);
    t->vfs.fdt = copy;
    spin_unlock(&t->vfs_lock);
    fdtable_put(old);
    return 0;
}

long sys_close_range(struct task *t, unsigned int first, unsigned int last, unsigned int flags)
{
    bool cloexec = (flags & CLOSE_RANGE_CLOEXEC) != 0;
    int err = 0;

    if ((flags & ~(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC)) != 0 || first > last) {
        return -EINVAL;
    }
    if ((flags & CLOSE_RANGE_UNSHARE) != 0) {
        err = unshare_fdtable(t, first, last, cloexec);
    }
    return err != 0 ? err : fd_close_range(t->vfs.fdt, first, last, cloexec);
}

/* ---- fcntl: who gets SIGIO ---- */

static bool owner_exists(const struct file_owner *o)
{
    struct task *task;
    struct thread_group *tg;
    bool found;

    if (o->pid == 0 || o->type == F_OWNER_PGRP) {
        return true; /* a group is looked for when there is something to tell */
    }
    if (o->type == F_OWNER_TID) {
        task = task_find(o->pid);
        found = task != NULL;
        task_put(task);
    } else {
        tg = tg_find(o->pid);
        found = tg != NULL;
        if (tg != NULL) {
            tg_put(tg);
        }
    }
    return found;
}

static long set_owner(struct task *t, struct file *f, struct file_owner o)
{
    if (!owner_exists(&o)) {
        return -ESRCH;
    }
    spin_lock(&f->lock);
    o.sig = f->owner.sig;
    o.uid = t->vfs.cred->uid;
    o.euid = t->vfs.cred->euid;
    f->owner = o;
    spin_unlock(&f->lock);
    return 0;
}

static struct file_owner get_owner(struct file *f)
{
    SPIN_GUARD(&f->lock);
    return f->owner;
}

static long fcntl_set_owner(struct task *t, struct file *f, int who)
{
    struct file_owner o = {.pid = who, .type = F_OWNER_PID};

    if (who == INT32_MIN) {
        return -EINVAL;
    }
    if (who < 0) {
        o.pid = -who;
        o.type = F_OWNER_PGRP;
    }
    return set_owner(t, f, o);
}

static long fcntl_get_owner(struct file *f)
{
    struct file_owner o = get_owner(f);

    return o.type == F_OWNER_PGRP ? -(long)o.pid : o.pid;
}

static long fcntl_owner_ex(struct task *t, struct file *f, u32 cmd, uaddr arg)
{
    struct file_owner o = get_owner(f);
    struct f_owner_ex ex;

    if (cmd == F_GETOWN_EX) {
        ex = (struct f_owner_ex){.type = (enum __pid_type)o.type, .pid = o.pid};
        return copy_out(arg, &ex, sizeof(ex));
    }
    if (copy_in(&ex, arg, sizeof(ex)) != 0) {
        return -EFAULT;
    }
    if ((u32)ex.type > F_OWNER_PGRP || ex.pid < 0) {
        return -EINVAL;
    }
    return set_owner(t, f, (struct file_owner){.pid = ex.pid, .type = (u32)ex.type});
}

static long fcntl_owner_uids(struct file *f, uaddr arg)
{
    struct file_owner o = get_owner(f);
    const u32 ids[2] = {o.uid, o.euid};

    return copy_out(arg, ids, sizeof(ids));
}

static long fcntl_set_sig(struct file *f, unsigned long sig)
{
    if (sig > 64) {
        return -EINVAL;
    }
    SPIN_GUARD(&f->lock);
    f->owner.sig = (s32)sig;
    return 0;
}

/* ---- fcntl: locks ---- */

/* If the descriptor was closed while the lock was being taken, the close did not see the lock. */
static int recheck_closed(struct task *t, int fd, struct file *f, const struct flock *fl)
{
    AUTOPUT_FILE now = fd_get_any(t->vfs.fdt, fd);
    struct flock unlock = *fl;

    if (now == f || fl->l_type == F_UNLCK) {
        return 0;
    }
    unlock.l_type = F_UNLCK;
    (void)!posix_lock_set(f, t->vfs.fdt, t->tg->tgid, &unlock, false);
    return -EBADF;
}

static long fcntl_lock(struct task *t, int fd, struct file *f, u32 cmd, uaddr arg)
{
    bool is_ofd = cmd == F_OFD_GETLK || cmd == F_OFD_SETLK || cmd == F_OFD_SETLKW;
    const void *owner = is_ofd ? NULL : t->vfs.fdt;
    struct flock fl;
    int err;

    if (copy_in(&fl, arg, sizeof(fl)) != 0) {
        return -EFAULT;
    }
    if (is_ofd && fl.l_pid != 0) {
        return -EINVAL;
    }
    if (cmd == F_GETLK || cmd == F_OFD_GETLK) {
        err = posix_lock_get(f, owner, &fl);
        return err != 0 ? err : copy_out(arg, &fl, sizeof(fl));
    }
    err = posix_lock_set(f, owner, t->tg->tgid, &fl, cmd == F_SETLKW || cmd == F_OFD_SETLKW);
    return err == 0 && !is_ofd ? recheck_closed(t, fd, f, &fl) : err;
}

/* ---- fcntl ---- */

static long fcntl_set_flags(struct file *f, int fd, unsigned long flags)
{
    int err = file_set_flags(f, (u32)flags);

    if (err == 0 && (flags & O_ASYNC) != 0) {
        fasync_set_fd(f, fd);
    }
    return err;
}

/* F_NOTIFY: the caller gets the signals unless somebody was named. */
static long fcntl_notify(struct task *t, int fd, struct file *f, u32 events)
{
    if (get_owner(f).pid == 0) {
        (void)!fcntl_set_owner(t, f, t->tg->tgid);
    }
    return dnotify_set(f, fd, events, t->vfs.fdt);
}

static long fcntl_file(struct task *t, int fd, struct file *f, u32 cmd, unsigned long arg)
{
    switch (cmd) {
    case F_SETFL:
        return fcntl_set_flags(f, fd, arg);
    case F_GETLK:
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_GETLK:
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
        return fcntl_lock(t, fd, f, cmd, arg);
    case F_SETOWN:
        return fcntl_set_owner(t, f, (int)arg);
    case F_GETOWN:
        return fcntl_get_owner(f);
    case F_SETOWN_EX:
    case F_GETOWN_EX:
        return fcntl_owner_ex(t, f, cmd, arg);
    case F_GETOWNER_UIDS_CMD:
        return fcntl_owner_uids(f, arg);
    case F_SETSIG:
        return fcntl_set_sig(f, arg);
    case F_GETSIG:
        return get_owner(f).sig;
    case F_NOTIFY:
        return fcntl_notify(t, fd, f, (u32)arg);
    case F_SETLEASE:
        return lease_set(f, (int)arg);
    case F_GETLEASE:
        return lease_get(f);
    case F_SETPIPE_SZ:
        return file_is_pipe(f) ? pipe_set_size(f, arg, t->vfs.cred) : -EBADF;
    case F_GETPIPE_SZ:
        return file_is_pipe(f) ? pipe_get_size(f) : -EBADF;
    case F_ADD_SEALS:
        return arg > UINT32_MAX ? -EINVAL : shmem_add_seals(f, (u32)arg);
    case F_GET_SEALS:
        return shmem_get_seals(f);
    default:
        return -EINVAL;
    }
}

long sys_fcntl(struct task *t, int fd, unsigned int cmd, unsigned long arg)
{
    AUTOPUT_FILE f = fd_get_any(t->vfs.fdt, fd);

    if (f == NULL) {
        return -EBADF;
    }
    switch (cmd) {
    case F_DUPFD:
        return dup_from(t, fd, (int)arg, false);
    case F_DUPFD_CLOEXEC:
        return dup_from(t, fd, (int)arg, true);
    case F_GETFD:
        return fd_get_cloexec(t->vfs.fdt, fd);
    case F_SETFD:
        return fd_set_cloexec(t->vfs.fdt, fd, (arg & FD_CLOEXEC) != 0);
    case F_GETFL:
        return (long)atomic_load(&f->flags);
    default:
        return (f->mode & FMODE_PATH) != 0 ? -EBADF : fcntl_file(t, fd, f, cmd, arg);
    }
}

/* ---- ioctl ---- */

static long ioctl_set_flag(struct file *f, u32 flag, uaddr arg)
{
    u32 flags = f->flags;
    int on;

    if (copy_in(&on, arg, sizeof(on)) != 0) {
        return -EFAULT;
    }
    return file_set_flags(f, on != 0 ? flags | flag : flags & ~flag);
}

/* FIONREAD of a regular file: what is left behind the position. */
static long ioctl_regular(struct file *f, u32 cmd, uaddr arg)
{
    s64 size = (s64)__atomic_load_n(&f->inode->size, __ATOMIC_RELAXED);
    int left = (int)(size - (s64)f->pos);

    return cmd == FIONREAD ? copy_out(arg, &left, sizeof(left)) : -ENOTTY;
}

long sys_ioctl(struct task *t, int fd, unsigned int cmd, unsigned long arg)
{
    AUTOPUT_FILE f = fd_get(t->vfs.fdt, fd);
    s64 size;
    long ret;

    if (f == NULL) {
        return -EBADF;
    }
    switch (cmd) {
    case FIOCLEX:
        return fd_set_cloexec(t->vfs.fdt, fd, true);
    case FIONCLEX:
        return fd_set_cloexec(t->vfs.fdt, fd, false);
    case FIONBIO:
        return ioctl_set_flag(f, O_NONBLOCK, arg);
    case FIOASYNC:
        return ioctl_set_flag(f, O_ASYNC, arg);
    case FIOQSIZE_CMD:
        size = (s64)__atomic_load_n(&f->inode->size, __ATOMIC_RELAXED);
        return S_ISREG(f->inode->mode) || S_ISDIR(f->inode->mode)
                   ? copy_out(arg, &size, sizeof(size))
                   : -ENOTTY;
    default:
        ret = file_ioctl(f, cmd, arg, &t->vfs);
        return ret == -ENOTTY && S_ISREG(f->inode->mode) ? ioctl_regular(f, cmd, arg) : ret;
    }
}
