/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What ppoll, pselect6 and epoll_pwait share: a signal mask for the length of the call, and
 * deadlines.
 */
#ifndef PAVISE_SENTRY_SYSCALLS_WAIT_MASK_H
#define PAVISE_SENTRY_SYSCALLS_WAIT_MASK_H

#include "base/clock.h"
#include "base/usermem.h"
#include "sentry/kernel/signal.h"
#include "sentry/kernel/task.h"

#include <time.h>

/* Install the guest's mask (NULL: none is given). 0, -EINVAL, -EFAULT. */
static inline must_check int wait_mask_begin(struct task *t, uaddr umask, size_t size)
{
    sigmask_t mask;

    if (umask == 0) {
        return 0;
    }
    if (size != sizeof(mask)) {
        return -EINVAL;
    }
    if (copy_in(&mask, umask, sizeof(mask)) != 0) {
        return -EFAULT;
    }
    task_set_temp_mask(t, mask);
    return 0;
}

/* The call was not interrupted: signals that only the temporary mask lets through stay pending.
 * Else signal delivery restores the mask after the handler's frame was made. */
static inline void wait_mask_end(struct task *t, bool interrupted)
{
    if (!interrupted && t->restore_blocked) {
        t->restore_blocked = false;
        task_set_blocked(t, t->saved_blocked);
    }
}

/* The deadline of a relative time in nanoseconds; 0 stands for "do not wait". */
static inline u64 wait_deadline(u64 ns)
{
    u64 now = clock_monotonic();

    if (ns == 0) {
        return 0;
    }
    return ns >= INT64_MAX - now ? CLOCK_NEVER : now + ns;
}

/* 0 or -EINVAL. */
static inline must_check int timespec_in(const struct timespec *ts, u64 *ns)
{
    if (ts->tv_sec < 0 || (u64)ts->tv_nsec >= NSEC_PER_SEC) {
        return -EINVAL;
    }
    *ns = (u64)ts->tv_sec >= INT64_MAX / NSEC_PER_SEC
              ? INT64_MAX
              : (u64)ts->tv_sec * NSEC_PER_SEC + (u64)ts->tv_nsec;
    return 0;
}

/* A guest timespec (NULL: for ever) as a deadline. */
static inline must_check int wait_deadline_in(uaddr uts, u64 *deadline)
{
    struct timespec ts;
    u64 ns;
    int err;

    *deadline = CLOCK_NEVER;
    if (uts == 0) {
        return 0;
    }
    if (copy_in(&ts, uts, sizeof(ts)) != 0) {
        return -EFAULT;
    }
    err = timespec_in(&ts, &ns);
    if (err == 0) {
        *deadline = wait_deadline(ns);
    }
    return err;
}

#endif
