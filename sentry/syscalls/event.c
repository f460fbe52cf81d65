/* SPDX-License-Identifier: Apache-2.0 */
/* Event files: epoll(7), eventfd(2), timerfd_create(2), inotify(7); and flock(2). */
#include "base/heap.h"
#include "sentry/syscalls/file_args.h"
#include "sentry/syscalls/syscalls.h"
#include "sentry/syscalls/wait_mask.h"
#include "vfs/dentry.h"
#include "vfs/epoll.h"
#include "vfs/eventfd.h"
#include "vfs/fdtable.h"
#include "vfs/inotify.h"
#include "vfs/locks.h"
#include "vfs/namei.h"
#include "vfs/timerfd.h"

#include <limits.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>

/* ---- epoll ---- */

long sys_epoll_create1(struct task *t, int flags)
{
    return install_file(t, epoll_new(flags, t->vfs.cred), (flags & EPOLL_CLOEXEC) != 0);
}

long sys_epoll_create(struct task *t, int size)
{
    return size <= 0 ? -EINVAL : sys_epoll_create1(t, 0);
}

long sys_epoll_ctl(struct task *t, int epfd, int op, int fd, uaddr event)
{
    struct epoll_event ev = {0};
    AUTOPUT_FILE ep = NULL;
    AUTOPUT_FILE target = NULL;

    if (op != EPOLL_CTL_DEL && copy_in(&ev, event, sizeof(ev)) != 0) {
        return -EFAULT;
    }
    ep = fd_get(t->vfs.fdt, epfd);
    if (ep == NULL) {
        return -EBADF;
    }
    target = fd_get(t->vfs.fdt, fd);
    if (target == NULL) {
        return -EBADF;
    }
    return epoll_ctl_file(ep, op, target, fd, &ev);
}

struct epoll_out {
    uaddr events;
};

static int emit_event(void *arg, u32 index, const struct epoll_event *ev)
{
    struct epoll_out *out = arg;

    return copy_out(out->events + index * sizeof(*ev), ev, sizeof(*ev));
}

static long do_epoll_wait(struct task *t, int fd, uaddr events, int max, u64 deadline)
{
    struct epoll_out out = {.events = events};
    AUTOPUT_FILE ep = NULL;

    if (max <= 0 || max > (int)(INT_MAX / sizeof(struct epoll_event))) {
        return -EINVAL;
    }
    ep = fd_get(t->vfs.fdt, fd);
    if (ep == NULL) {
        return -EBADF;
    }
    if (!file_is_epoll(ep)) {
        return -EINVAL;
    }
    return epoll_wait_file(ep, max, deadline, emit_event, &out);
}

static u64 ms_deadline(int timeout)
{
    return timeout < 0 ? CLOCK_NEVER : wait_deadline((u64)timeout * NSEC_PER_MSEC);
}

long sys_epoll_wait(struct task *t, int fd, uaddr events, int max, int timeout)
{
    return do_epoll_wait(t, fd, events, max, ms_deadline(timeout));
}

static long masked_epoll_wait(struct task *t, int fd, uaddr events, int max, u64 deadline,
                              uaddr mask, size_t size)
{
    long ret = wait_mask_begin(t, mask, size);

    if (ret != 0) {
        return ret;
    }
    ret = do_epoll_wait(t, fd, events, max, deadline);
    wait_mask_end(t, ret == -EINTR);
    return ret;
}

long sys_epoll_pwait(struct task *t, int fd, uaddr events, int max, int timeout, uaddr mask,
                     size_t sigsetsize)
{
    return masked_epoll_wait(t, fd, events, max, ms_deadline(timeout), mask, sigsetsize);
}

long sys_epoll_pwait2(struct task *t, int fd, uaddr events, int max, uaddr timeout, uaddr mask,
                      size_t sigsetsize)
{
    u64 deadline;
    int err = wait_deadline_in(timeout, &deadline);

    return err != 0 ? err : masked_epoll_wait(t, fd, events, max, deadline, mask, sigsetsize);
}

/* ---- eventfd ---- */

long sys_eventfd2(struct task *t, unsigned int count, int flags)
{
    return install_file(t, eventfd_new(count, flags, t->vfs.cred), (flags & EFD_CLOEXEC) != 0);
}

long sys_eventfd(struct task *t, unsigned int count)
{
    return sys_eventfd2(t, count, 0);
}

/* ---- timerfd ---- */

long sys_timerfd_create(struct task *t, int clock, int flags)
{
    return install_file(t, timerfd_new(clock, flags, t->vfs.cred), (flags & O_CLOEXEC) != 0);
}

long sys_timerfd_settime(struct task *t, int fd, int flags, uaddr value, uaddr old)
{
    struct itimerspec new_value, old_value;
    AUTOPUT_FILE f = NULL;
    int err;

    if (copy_in(&new_value, value, sizeof(new_value)) != 0) {
        return -EFAULT;
    }
    f = fd_get(t->vfs.fdt, fd);
    if (f == NULL) {
        return -EBADF;
    }
    err = timerfd_set(f, flags, &new_value, &old_value);
    if (err == 0 && old != 0) {
        err = copy_out(old, &old_value, sizeof(old_value));
    }
    return err;
}

long sys_timerfd_gettime(struct task *t, int fd, uaddr value)
{
    AUTOPUT_FILE f = fd_get(t->vfs.fdt, fd);
    struct itimerspec cur;
    int err;

    if (f == NULL) {
        return -EBADF;
    }
    err = timerfd_get(f, &cur);
    return err != 0 ? err : copy_out(value, &cur, sizeof(cur));
}

/* ---- inotify ---- */

long sys_inotify_init1(struct task *t, int flags)
{
    return install_file(t, inotify_new(flags, t->vfs.cred), (flags & IN_CLOEXEC) != 0);
}

long sys_inotify_init(struct task *t)
{
    return sys_inotify_init1(t, 0);
}

static long add_watch(struct task *t, struct file *f, const char *name, u32 mask)
{
    u32 flags = ((mask & IN_DONT_FOLLOW) != 0 ? 0 : LOOKUP_FOLLOW) |
                ((mask & IN_ONLYDIR) != 0 ? LOOKUP_DIRECTORY : 0);
    struct path path;
    int ret = path_lookup(&t->vfs, AT_FDCWD, name, flags, &path);

    if (ret != 0) {
        return ret;
    }
    ret = inode_permission(dentry_inode(path.dentry), MAY_READ, t->vfs.cred);
    if (ret == 0) {
        ret = inotify_add(f, dentry_inode(path.dentry), mask);
    }
    path_put(&path);
    return ret;
}

long sys_inotify_add_watch(struct task *t, int fd, uaddr uname, unsigned int mask)
{
    AUTOPUT_FILE f = NULL;
    char *name;
    long ret;

    if ((mask &
         (IN_ALL_EVENTS | IN_UNMOUNT | IN_Q_OVERFLOW | IN_IGNORED | IN_ONLYDIR | IN_DONT_FOLLOW |
          IN_EXCL_UNLINK | IN_MASK_CREATE | IN_MASK_ADD | IN_ISDIR | IN_ONESHOT)) == 0) {
        return -EINVAL;
    }
    f = fd_get(t->vfs.fdt, fd);
    if (f == NULL) {
        return -EBADF;
    }
    if (!file_is_inotify(f)) {
        return -EINVAL;
    }
    name = heap_alloc(PATH_LEN_MAX);
    if (name == NULL) {
        return -ENOMEM;
    }
    ret = copy_in_str(name, uname, PATH_LEN_MAX);
    if (ret == 0) {
        ret = -ENOENT;
    } else if (ret > 0) {
        ret = add_watch(t, f, name, mask);
    }
    heap_free(name);
    return ret;
}

long sys_inotify_rm_watch(struct task *t, int fd, int wd)
{
    AUTOPUT_FILE f = fd_get(t->vfs.fdt, fd);

    if (f == NULL) {
        return -EBADF;
    }
    return file_is_inotify(f) ? inotify_remove(f, wd) : -EINVAL;
}

/* ---- flock ---- */

long sys_flock(struct task *t, int fd, int op)
{
    AUTOPUT_FILE f = fd_get(t->vfs.fdt, fd);

    return f == NULL ? -EBADF : flock_set(f, op);
}
