/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks and sleeps: clock_gettime(2), clock_nanosleep(2), times(2). Setting a clock: EPERM, as
 * without CAP_SYS_TIME. */
#include "base/clock.h"
#include "base/usermem.h"
#include "sentry/kernel/signal.h"
#include "sentry/kernel/timer.h"
#include "sentry/syscalls/syscalls.h"

#include <sys/time.h>
#include <sys/times.h>
#include <sys/timex.h>
#include <time.h>

#define CLOCK_TICK_NS      10000000UL /* USER_HZ 100 */
#define CPUCLOCK_PERTHREAD 4

/* A CPU clock id of pthread_getcpuclockid: ~pid << 3 | kind (linux/posix-timers). */
static int cpu_clock_read(struct task *t, int id, u64 *ns)
{
    s32 pid = ~(id >> 3), err = 0;
    struct task *other;

    if ((id & 3) == 3) {
        return -EINVAL;
    }
    other = pid == 0 ? task_get(t) : task_find(pid);
    if (other == NULL ||
        ((id & CPUCLOCK_PERTHREAD) != 0 ? other->tg != t->tg
                                        : other->tg->tgid != other->tid && pid != 0)) {
        task_put(other);
        return -EINVAL;
    }
    if ((id & CPUCLOCK_PERTHREAD) != 0) {
        *ns = task_cpu_time(other);
    } else {
        u64 u, s;

        (void)tg_cpu_time(other->tg, &u, &s);
        *ns = (id & 3) == 1 ? u : u + s;
    }
    task_put(other);
    return err;
}

/* The time on a clock in ns; -EINVAL for one that does not exist. */
static int clock_read(struct task *t, int id, u64 *ns)
{
    if (id < 0) {
        return cpu_clock_read(t, id, ns);
    }
    switch (id) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
    case CLOCK_REALTIME_ALARM:
    case CLOCK_TAI:
        *ns = clock_realtime();
        return 0;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_MONOTONIC_COARSE:
        *ns = clock_monotonic();
        return 0;
    case CLOCK_BOOTTIME:
    case CLOCK_BOOTTIME_ALARM:
        *ns = clock_boottime();
        return 0;
    case CLOCK_PROCESS_CPUTIME_ID:
        *ns = tg_cpu_time(t->tg, NULL, NULL);
        return 0;
    case CLOCK_THREAD_CPUTIME_ID:
        *ns = task_cpu_time(t);
        return 0;
    default:
        return -EINVAL;
    }
}

long sys_clock_gettime(struct task *t, int clock, uaddr uts)
{
    struct timespec ts;
    u64 ns;
    int err = clock_read(t, clock, &ns);

    if (err != 0) {
        return err;
    }
    ts = ns_timespec(ns);
    return copy_out(uts, &ts, sizeof(ts));
}

long sys_clock_getres(struct task *t, int clock, uaddr uts)
{
    struct timespec ts = {0, 1};
    u64 ns;
    int err = clock_read(t, clock, &ns);

    if (err != 0) {
        return err;
    }
    if (clock == CLOCK_REALTIME_COARSE || clock == CLOCK_MONOTONIC_COARSE) {
        ts.tv_nsec = 4000000;
    }
    return uts != 0 ? copy_out(uts, &ts, sizeof(ts)) : 0;
}

long sys_clock_settime(struct task *t, int clock, uaddr uts)
{
    struct timespec ts;

    (void)t;
    if (clock != CLOCK_REALTIME) {
        return -EINVAL;
    }
    if (copy_in(&ts, uts, sizeof(ts)) != 0) {
        return -EFAULT;
    }
    return timespec_valid(&ts) ? -EPERM : -EINVAL;
}

long sys_gettimeofday(struct task *t, uaddr utv, uaddr utz)
{
    struct timezone tz = {0};
    struct timeval tv = ns_timeval(clock_realtime());

    (void)t;
    if (utv != 0 && copy_out(utv, &tv, sizeof(tv)) != 0) {
        return -EFAULT;
    }
    return utz != 0 ? copy_out(utz, &tz, sizeof(tz)) : 0;
}

long sys_settimeofday(struct task *t, uaddr utv, uaddr utz)
{
    struct timeval tv;

    (void)t;
    (void)utz;
    if (utv != 0) {
        if (copy_in(&tv, utv, sizeof(tv)) != 0) {
            return -EFAULT;
        }
        if (tv.tv_usec < 0 || tv.tv_usec >= 1000000 || tv.tv_sec < 0) {
            return -EINVAL;
        }
    }
    return -EPERM;
}

long sys_time(struct task *t, uaddr ut)
{
    s64 now = (s64)(clock_realtime() / NSEC_PER_SEC);

    (void)t;
    if (ut != 0 && copy_out(ut, &now, sizeof(now)) != 0) {
        return -EFAULT;
    }
    return now;
}

long sys_times(struct task *t, uaddr ubuf)
{
    struct thread_group *tg = t->tg;
    struct tms buf;
    u64 u, s;

    if (ubuf != 0) {
        (void)tg_cpu_time(tg, &u, &s);
        buf.tms_utime = (clock_t)(u / CLOCK_TICK_NS);
        buf.tms_stime = (clock_t)(s / CLOCK_TICK_NS);
        mutex_lock(&kernel->tasklist);
        buf.tms_cutime = (clock_t)(tg->child_utime / CLOCK_TICK_NS);
        buf.tms_cstime = (clock_t)(tg->child_stime / CLOCK_TICK_NS);
        mutex_unlock(&kernel->tasklist);
        if (copy_out(ubuf, &buf, sizeof(buf)) != 0) {
            return -EFAULT;
        }
    }
    return (long)(clock_boottime() / CLOCK_TICK_NS);
}

/* Reading the clock's state is free; changing it needs CAP_SYS_TIME, which nobody has here. */
static long adjust(uaddr utx)
{
    struct timex tx;
    u64 now = clock_realtime();

    if (copy_in(&tx, utx, sizeof(tx)) != 0) {
        return -EFAULT;
    }
    if (tx.modes != 0 && tx.modes != ADJ_OFFSET_SS_READ) {
        return -EPERM;
    }
    memset(&tx, 0, sizeof(tx));
    tx.status = STA_UNSYNC;
    tx.tick = 10000;
    tx.maxerror = tx.esterror = 16000000;
    tx.constant = 2;
    tx.precision = 1;
    tx.tolerance = 32768000;
    tx.time = ns_timeval(now);
    return copy_out(utx, &tx, sizeof(tx)) != 0 ? -EFAULT : TIME_ERROR;
}

long sys_adjtimex(struct task *t, uaddr utx)
{
    (void)t;
    return adjust(utx);
}

long sys_clock_adjtime(struct task *t, int clock, uaddr utx)
{
    u64 ns;

    if (clock_read(t, clock, &ns) != 0) {
        return -EINVAL;
    }
    return clock == CLOCK_REALTIME ? adjust(utx) : -EOPNOTSUPP;
}

/* ---- sleeping ---- */

static long sleep_until(u64 deadline)
{
    int err;

    do {
        err = fiber_park(PARK_INTERRUPTIBLE, deadline);
    } while (err == 0);
    return err == -ETIMEDOUT ? 0 : -ERESTART_RESTARTBLOCK;
}

static long rem_out(uaddr urem, u64 deadline, long ret)
{
    u64 now = clock_monotonic();
    struct timespec rem = ns_timespec(deadline > now ? deadline - now : 0);

    if (urem != 0 && copy_out(urem, &rem, sizeof(rem)) != 0) {
        return -EFAULT;
    }
    return ret;
}

static long restart_sleep(struct task *t)
{
    u64 deadline = t->restart.deadline;
    long ret = sleep_until(deadline);

    if (ret == -ERESTART_RESTARTBLOCK) {
        t->restart.fn = restart_sleep;
        ret = rem_out(t->restart.addr, deadline, ret);
    }
    return ret;
}

static long sleep_relative(struct task *t, const struct timespec *ts, uaddr urem)
{
    u64 deadline = clock_deadline(ts);
    long ret = sleep_until(deadline);

    if (ret == -ERESTART_RESTARTBLOCK) {
        t->restart =
            (struct restart_block){.fn = restart_sleep, .deadline = deadline, .addr = urem};
        ret = rem_out(urem, deadline, ret);
    }
    return ret;
}

long sys_nanosleep(struct task *t, uaddr ureq, uaddr urem)
{
    struct timespec ts;

    if (copy_in(&ts, ureq, sizeof(ts)) != 0) {
        return -EFAULT;
    }
    return timespec_valid(&ts) ? sleep_relative(t, &ts, urem) : -EINVAL;
}

/* A sleep on CPU time: look again whenever the clock could have got there. */
static long sleep_cpu(struct task *t, int clock, u64 target)
{
    u64 now;
    int err;

    while ((err = clock_read(t, clock, &now)) == 0 && now < target) {
        err = fiber_park(PARK_INTERRUPTIBLE, clock_monotonic() + max(target - now, NSEC_PER_MSEC));
        if (err == -ERESTARTSYS) {
            return -EINTR;
        }
    }
    return err;
}

long sys_clock_nanosleep(struct task *t, int clock, int flags, uaddr ureq, uaddr urem)
{
    struct timespec ts;
    u64 now, target;
    int err = clock_read(t, clock, &now);
    long ret;

    if (err != 0 || clock == CLOCK_THREAD_CPUTIME_ID) {
        return -EINVAL;
    }
    if (clock == CLOCK_REALTIME_COARSE || clock == CLOCK_MONOTONIC_COARSE ||
        clock == CLOCK_MONOTONIC_RAW) {
        return -EOPNOTSUPP;
    }
    if (copy_in(&ts, ureq, sizeof(ts)) != 0) {
        return -EFAULT;
    }
    if (!timespec_valid(&ts)) {
        return -EINVAL;
    }
    if (clock < 0 || clock == CLOCK_PROCESS_CPUTIME_ID) {
        target = timespec_ns(&ts) + ((flags & TIMER_ABSTIME) != 0 ? 0 : now);
        return sleep_cpu(t, clock, target);
    }
    if ((flags & TIMER_ABSTIME) == 0) {
        return sleep_relative(t, &ts, urem);
    }
    target = timespec_ns(&ts);
    if (target <= now) {
        return 0;
    }
    ret = sleep_until(clock_monotonic() + (target - now));
    return ret == -ERESTART_RESTARTBLOCK ? -ERESTARTNOHAND : ret;
}
