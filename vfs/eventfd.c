/* SPDX-License-Identifier: Apache-2.0 */
/*
 * eventfd(2): a counter that is readable while it is not zero and writable while it can grow by
 * one. Every write wakes, so that edge-triggered watchers see each (eventfd(2), NOTES of epoll).
 */
#include "vfs/eventfd.h"

#include "base/heap.h"

#include <stdio.h>
#include <sys/eventfd.h>

struct eventfd {
    struct file f;
    struct spinlock lock; /* leaf */
    u64 count;            /* (lock) at most UINT64_MAX - 1; UINT64_MAX after a kernel overflow */
    bool semaphore;       /* (c) */
    struct waitq wait;
};
DEFINE_CACHE(eventfd_cache, struct eventfd);

static const struct file_ops eventfd_ops;

static struct eventfd *eventfd_of(const struct file *f)
{
    return container_of(f, struct eventfd, f);
}

bool file_is_eventfd(const struct file *f)
{
    return f->ops == &eventfd_ops;
}

static bool try_read(struct eventfd *e, u64 *value)
{
    SPIN_GUARD(&e->lock);
    if (e->count == 0) {
        return false;
    }
    *value = e->semaphore ? 1 : e->count;
    e->count -= *value;
    return true;
}

static bool try_write(struct eventfd *e, u64 value)
{
    SPIN_GUARD(&e->lock);
    if (UINT64_MAX - e->count <= value) {
        return false;
    }
    e->count += value;
    return true;
}

static ssize_t eventfd_file_read(struct file *f, struct uio *u, u64 *pos, u32 rwf)
{
    struct eventfd *e = eventfd_of(f);
    u64 value;
    int err;

    if (uio_left(u) < sizeof(value)) {
        return -EINVAL;
    }
    if (!try_read(e, &value)) {
        if (file_nonblock(f) || (rwf & RWF_NOWAIT) != 0) {
            return -EAGAIN;
        }
        err = waitq_wait_event(&e->wait, try_read(e, &value), PARK_INTERRUPTIBLE, CLOCK_NEVER);
        if (err != 0) {
            return err;
        }
    }
    (void)waitq_wake(&e->wait, POLLOUT, 0);
    return uio_put(u, &value, sizeof(value)) == sizeof(value) ? (ssize_t)sizeof(value) : -EFAULT;
}

static ssize_t eventfd_file_write(struct file *f, struct uio *u, u64 *pos, u32 rwf)
{
    struct eventfd *e = eventfd_of(f);
    u64 value;
    int err;

    if (uio_left(u) < sizeof(value)) {
        return -EINVAL;
    }
    if (uio_take(u, &value, sizeof(value)) != sizeof(value)) {
        return -EFAULT;
    }
    if (value == UINT64_MAX) {
        return -EINVAL;
    }
    if (!try_write(e, value)) {
        if (file_nonblock(f) || (rwf & RWF_NOWAIT) != 0) {
            return -EAGAIN;
        }
        err = waitq_wait_event(&e->wait, try_write(e, value), PARK_INTERRUPTIBLE, CLOCK_NEVER);
        if (err != 0) {
            return err;
        }
    }
    (void)waitq_wake(&e->wait, POLLIN, 0);
    return sizeof(value);
}

static u32 eventfd_poll(struct file *f, struct poller *p)
{
    struct eventfd *e = eventfd_of(f);
    u32 mask = 0;

    poller_add(p, &e->wait);
    SPIN_GUARD(&e->lock);
    mask |= e->count > 0 ? POLLIN : 0;
    mask |= e->count == UINT64_MAX ? POLLERR : 0;
    mask |= e->count < UINT64_MAX - 1 ? POLLOUT : 0;
    return mask;
}

static void eventfd_show(struct file *f, char *buf, size_t size)
{
    struct eventfd *e = eventfd_of(f);

    (void)snprintf(buf, size, "eventfd-count: %16lx\neventfd-id: %lu\neventfd-semaphore: %d\n",
                   (unsigned long)__atomic_load_n(&e->count, __ATOMIC_RELAXED),
                   (unsigned long)f->inode->ino, e->semaphore);
}

static void eventfd_release(struct file *f)
{
    waitq_fini(&eventfd_of(f)->wait);
    file_fini(f);
    file_free(&eventfd_cache, f);
}

static const struct file_ops eventfd_ops = {
    .name = "eventfd",
    .read = eventfd_file_read,
    .write = eventfd_file_write,
    .poll = eventfd_poll,
    .show_fdinfo = eventfd_show,
    .release = eventfd_release,
};
HEAP_OPS(eventfd_ops);

void eventfd_signal(struct file *f, u64 n)
{
    struct eventfd *e = eventfd_of(f);

    spin_lock(&e->lock);
    e->count += min(n, UINT64_MAX - e->count);
    spin_unlock(&e->lock);
    (void)waitq_wake(&e->wait, POLLIN, 0);
}

struct file *eventfd_new(u32 initial, int flags, const struct cred *cred)
{
    struct eventfd *e;
    int err;

    if ((flags & ~(EFD_SEMAPHORE | EFD_CLOEXEC | EFD_NONBLOCK)) != 0) {
        return ERR_PTR(-EINVAL);
    }
    e = cache_new(eventfd_cache);
    if (e == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    err =
        file_init_anon(&e->f, &eventfd_ops, "[eventfd]", O_RDWR | ((u32)flags & O_NONBLOCK), cred);
    if (err != 0) {
        cache_del(eventfd_cache, e);
        return ERR_PTR(err);
    }
    e->f.mode |= FMODE_STREAM | FMODE_NOPOSLOCK;
    e->count = initial;
    e->semaphore = (flags & EFD_SEMAPHORE) != 0;
    waitq_init(&e->wait);
    return &e->f;
}
