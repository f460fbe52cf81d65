/* SPDX-License-Identifier: Apache-2.0 */
/* Timers of a process: setitimer(2), alarm(2), timer_create(2) and kin. */
#include "sentry/kernel/timer.h"

#include "base/clock.h"
#include "base/usermem.h"
#include "sentry/syscalls/syscalls.h"

#include <sys/time.h>
#include <time.h>

static bool timeval_valid(const struct timeval *tv)
{
    return tv->tv_sec >= 0 && tv->tv_usec >= 0 && tv->tv_usec < 1000000;
}

static u64 timeval_ns(const struct timeval *tv)
{
    struct timespec ts = {tv->tv_sec, tv->tv_usec * 1000};

    return timespec_ns(&ts);
}

static int itimer_out(uaddr u, const struct itimer_value *v)
{
    struct itimerval out = {ns_timeval(v->interval), ns_timeval(v->value)};

    return copy_out(u, &out, sizeof(out));
}

long sys_getitimer(struct task *t, int which, uaddr uvalue)
{
    struct itimer_value v;
    int err;

    if (which < ITIMER_REAL || which > ITIMER_PROF) {
        return -EINVAL;
    }
    err = itimer_get(t->tg, which, &v);
    return err != 0 ? err : itimer_out(uvalue, &v);
}

long sys_setitimer(struct task *t, int which, uaddr uvalue, uaddr uold)
{
    struct itimer_value v = {0}, old;
    struct itimerval in;
    int err;

    if (which < ITIMER_REAL || which > ITIMER_PROF) {
        return -EINVAL;
    }
    if (uvalue != 0) {
        if (copy_in(&in, uvalue, sizeof(in)) != 0) {
            return -EFAULT;
        }
        if (!timeval_valid(&in.it_interval) || !timeval_valid(&in.it_value)) {
            return -EINVAL;
        }
        v.interval = timeval_ns(&in.it_interval);
        v.value = timeval_ns(&in.it_value);
    }
    err = itimer_set_value(t->tg, which, &v, &old);
    if (err != 0) {
        return err;
    }
    return uold != 0 ? itimer_out(uold, &old) : 0;
}

long sys_alarm(struct task *t, unsigned int seconds)
{
    struct itimer_value v = {0, (u64)seconds * NSEC_PER_SEC}, old;
    int err = itimer_set_value(t->tg, ITIMER_REAL, &v, &old);

    if (err != 0) {
        return err;
    }
    /* Rounded as Linux does: never 0 while one was armed. */
    if (old.value != 0 && old.value < NSEC_PER_SEC) {
        return 1;
    }
    return (long)((old.value + NSEC_PER_SEC / 2) / NSEC_PER_SEC);
}

/* ---- POSIX timers ---- */

struct abi_sigevent { /* struct sigevent, 64 bytes */
    u64 value;
    s32 signo, notify;
    s32 tid;
    u8 pad[44];
};
_Static_assert(sizeof(struct abi_sigevent) == 64, "struct sigevent");

long sys_timer_create(struct task *t, int clock, uaddr uevent, uaddr uid)
{
    struct sigevent_args ev = {.notify = SIGEV_SIGNAL, .signo = SIGALRM, .is_default = true};
    struct abi_sigevent raw;
    int id;

    if (uevent != 0) {
        if (copy_in(&raw, uevent, sizeof(raw)) != 0) {
            return -EFAULT;
        }
        ev = (struct sigevent_args){raw.notify, raw.signo, raw.value, raw.tid, false};
    }
    id = posix_timer_create(t, clock, &ev);
    if (id < 0) {
        return id;
    }
    if (copy_out(uid, &id, sizeof(id)) != 0) {
        (void)!posix_timer_delete(t, id);
        return -EFAULT;
    }
    return 0;
}

static int spec_out(uaddr u, const struct itimer_value *v)
{
    struct itimerspec out = {ns_timespec(v->interval), ns_timespec(v->value)};

    return copy_out(u, &out, sizeof(out));
}

long sys_timer_settime(struct task *t, int id, int flags, uaddr uvalue, uaddr uold)
{
    struct itimer_value v, old;
    struct itimerspec in;
    int err;

    if (uvalue == 0) {
        return -EINVAL;
    }
    if (copy_in(&in, uvalue, sizeof(in)) != 0) {
        return -EFAULT;
    }
    if (!timespec_valid(&in.it_interval) || !timespec_valid(&in.it_value)) {
        return -EINVAL;
    }
    v.interval = timespec_ns(&in.it_interval);
    v.value = timespec_ns(&in.it_value);
    err = posix_timer_settime(t, id, (flags & TIMER_ABSTIME) != 0, &v, &old);
    if (err != 0) {
        return err;
    }
    return uold != 0 ? spec_out(uold, &old) : 0;
}

long sys_timer_gettime(struct task *t, int id, uaddr uvalue)
{
    struct itimer_value v;
    int err = posix_timer_gettime(t, id, &v);

    return err != 0 ? err : spec_out(uvalue, &v);
}

long sys_timer_getoverrun(struct task *t, int id)
{
    return posix_timer_getoverrun(t, id);
}

long sys_timer_delete(struct task *t, int id)
{
    return posix_timer_delete(t, id);
}
