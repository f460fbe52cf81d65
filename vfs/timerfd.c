/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timerfd_create(2). As in Linux a periodic timer fires once and is then forwarded by the next read
 * or gettime, so that an unread timer costs nothing.
 *
 * All deadlines are kept on CLOCK_MONOTONIC; an absolute time of another clock is converted when it
 * is set (the guest cannot set clocks). Locking: t->lock, a leaf, also taken by the callback.
 */
#include "vfs/timerfd.h"

#include "base/clock.h"
#include "base/heap.h"
#include "base/sched/timer.h"

#include <linux/capability.h>
#include <stdio.h>
#include <sys/timerfd.h>

struct timerfd {
    struct file f;
    struct spinlock lock;
    struct ktimer timer;
    struct waitq wait;
    int clockid;       /* (c) */
    u64 deadline;      /* (lock) CLOCK_NEVER: disarmed */
    u64 interval;      /* (lock) ns */
    u64 ticks;         /* (lock) expirations not yet read */
    bool expired;      /* (lock) fired and not yet forwarded */
    int settime_flags; /* (lock) */
};
DEFINE_CACHE(timerfd_cache, struct timerfd);

static const struct file_ops timerfd_ops;

static struct timerfd *timerfd_of(const struct file *f)
{
    return container_of(f, struct timerfd, f);
}

bool file_is_timerfd(const struct file *f)
{
    return f->ops == &timerfd_ops;
}

static void timerfd_fire(struct ktimer *timer)
{
    struct timerfd *t = container_of(timer, struct timerfd, timer);
    bool due;

    spin_lock(&t->lock);
    /* A callback that lost the race with settime finds another deadline. */
    due = !t->expired && t->deadline <= clock_monotonic();
    if (due) {
        t->expired = true;
        t->ticks++;
    }
    spin_unlock(&t->lock);
    if (due) {
        (void)waitq_wake(&t->wait, POLLIN, 0);
    }
}

/* Count the periods that passed since a periodic timer fired, and go on. Lock held. */
static void forward(struct timerfd *t)
{
    u64 now = clock_monotonic(), periods;

    if (!t->expired || t->interval == 0) {
        return;
    }
    periods = now > t->deadline ? (now - t->deadline) / t->interval : 0;
    t->ticks += periods;
    t->deadline += (periods + 1) * t->interval;
    t->expired = false;
    ktimer_arm(&t->timer, t->deadline);
}

static bool take_ticks(struct timerfd *t, u64 *ticks)
{
    SPIN_GUARD(&t->lock);
    if (t->ticks == 0) {
        return false;
    }
    forward(t);
    *ticks = t->ticks;
    t->ticks = 0;
    if (t->expired) {
        t->deadline = CLOCK_NEVER;
        t->expired = false;
    }
    return true;
}

static ssize_t timerfd_read(struct file *f, struct uio *u, u64 *pos, u32 rwf)
{
    struct timerfd *t = timerfd_of(f);
    u64 ticks;
    int err;

    if (uio_left(u) < sizeof(ticks)) {
        return -EINVAL;
    }
    if (!take_ticks(t, &ticks)) {
        if (file_nonblock(f) || (rwf & RWF_NOWAIT) != 0) {
            return -EAGAIN;
        }
        err = waitq_wait_event(&t->wait, take_ticks(t, &ticks), PARK_INTERRUPTIBLE, CLOCK_NEVER);
        if (err != 0) {
            return err;
        }
    }
    return uio_put(u, &ticks, sizeof(ticks)) == sizeof(ticks) ? (ssize_t)sizeof(ticks) : -EFAULT;
}

static u32 timerfd_poll(struct file *f, struct poller *p)
{
    struct timerfd *t = timerfd_of(f);

    poller_add(p, &t->wait);
    SPIN_GUARD(&t->lock);
    return t->ticks > 0 ? POLLIN : 0;
}

/* Lock held. */
static void current_setting(struct timerfd *t, struct itimerspec *out)
{
    u64 now = clock_monotonic();
    u64 left = t->deadline != CLOCK_NEVER && t->deadline > now ? t->deadline - now : 0;

    out->it_value = ns_timespec(left);
    out->it_interval = ns_timespec(t->interval);
}

static u64 clock_now(int clockid)
{
    switch (clockid) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_ALARM:
        return clock_realtime();
    case CLOCK_BOOTTIME:
    case CLOCK_BOOTTIME_ALARM:
        return clock_boottime();
    default:
        return clock_monotonic();
    }
}

static u64 deadline_of(const struct timerfd *t, u64 value, bool absolute)
{
    u64 mono = clock_monotonic(), now;

    if (absolute) {
        now = clock_now(t->clockid);
        value = value > now ? value - now : 0;
    }
    return value > INT64_MAX - mono ? INT64_MAX : mono + value;
}

int timerfd_set(struct file *f, int flags, const struct itimerspec *new, struct itimerspec *old)
{
    struct timerfd *t = timerfd_of(f);
    u64 value, interval;

    if (!file_is_timerfd(f) || (flags & ~(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET)) != 0 ||
        !timespec_valid(&new->it_value) || !timespec_valid(&new->it_interval)) {
        return -EINVAL;
    }
    value = timespec_ns(&new->it_value);
    interval = timespec_ns(&new->it_interval);
    SPIN_GUARD(&t->lock);
    forward(t);
    if (old != NULL) {
        current_setting(t, old);
    }
    t->ticks = 0;
    t->expired = false;
    t->settime_flags = flags;
    t->interval = interval;
    if (value == 0) {
        t->deadline = CLOCK_NEVER;
        (void)ktimer_cancel(&t->timer);
        return 0;
    }
    t->deadline = deadline_of(t, value, (flags & TFD_TIMER_ABSTIME) != 0);
    ktimer_arm(&t->timer, t->deadline);
    return 0;
}

int timerfd_get(struct file *f, struct itimerspec *cur)
{
    struct timerfd *t = timerfd_of(f);

    if (!file_is_timerfd(f)) {
        return -EINVAL;
    }
    SPIN_GUARD(&t->lock);
    forward(t);
    current_setting(t, cur);
    return 0;
}

static void timerfd_show(struct file *f, char *buf, size_t size)
{
    struct timerfd *t = timerfd_of(f);
    struct itimerspec cur;
    int flags;
    u64 ticks;

    spin_lock(&t->lock);
    current_setting(t, &cur);
    ticks = t->ticks;
    flags = t->settime_flags;
    spin_unlock(&t->lock);
    (void)snprintf(buf, size,
                   "clockid: %d\nticks: %lu\nsettime flags: 0%o\nit_value: (%ld, %ld)\n"
                   "it_interval: (%ld, %ld)\n",
                   t->clockid, (unsigned long)ticks, (unsigned)flags, (long)cur.it_value.tv_sec,
                   cur.it_value.tv_nsec, (long)cur.it_interval.tv_sec, cur.it_interval.tv_nsec);
}

static void timerfd_release(struct file *f)
{
    struct timerfd *t = timerfd_of(f);

    ktimer_cancel_sync(&t->timer);
    waitq_fini(&t->wait);
    file_fini(f);
    file_free(&timerfd_cache, f);
}

static const struct file_ops timerfd_ops = {
    .name = "timerfd",
    .read = timerfd_read,
    .poll = timerfd_poll,
    .show_fdinfo = timerfd_show,
    .release = timerfd_release,
};
HEAP_OPS(timerfd_ops);

static int check_clock(int clockid, const struct cred *cred)
{
    switch (clockid) {
    case CLOCK_REALTIME:
    case CLOCK_MONOTONIC:
    case CLOCK_BOOTTIME:
        return 0;
    case CLOCK_REALTIME_ALARM:
    case CLOCK_BOOTTIME_ALARM:
        return cred_capable(cred, CAP_WAKE_ALARM) ? 0 : -EPERM;
    default:
        return -EINVAL;
    }
}

struct file *timerfd_new(int clockid, int flags, const struct cred *cred)
{
    struct timerfd *t;
    int err = check_clock(clockid, cred);

    if ((flags & ~(TFD_CLOEXEC | TFD_NONBLOCK)) != 0) {
        err = -EINVAL;
    }
    if (err != 0) {
        return ERR_PTR(err);
    }
    t = cache_new(timerfd_cache);
    if (t == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    err =
        file_init_anon(&t->f, &timerfd_ops, "[timerfd]", O_RDWR | ((u32)flags & O_NONBLOCK), cred);
    if (err != 0) {
        cache_del(timerfd_cache, t);
        return ERR_PTR(err);
    }
    t->f.mode |= FMODE_STREAM | FMODE_NOPOSLOCK;
    t->clockid = clockid;
    t->deadline = CLOCK_NEVER;
    ktimer_init(&t->timer, timerfd_fire);
    waitq_init(&t->wait);
    return &t->f;
}
