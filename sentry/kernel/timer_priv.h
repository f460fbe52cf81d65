/* SPDX-License-Identifier: Apache-2.0 */
/* Between timer.c (itimers, CPU clocks) and posix_timer.c (timer_create and kin). */
#ifndef PAVISE_SENTRY_KERNEL_TIMER_PRIV_H
#define PAVISE_SENTRY_KERNEL_TIMER_PRIV_H

#include "sentry/kernel/timer.h"

struct wall_timer {
    struct ktimer kt;
    u64 expires; /* on its clock; 0: disarmed */
    u64 interval;
};

struct itimer_set {
    struct thread_group *tg; /* (c) owner */
    struct spinlock lock;
    struct wall_timer real;   /* (lock) ITIMER_REAL */
    struct wall_timer cpu[2]; /* (lock) ITIMER_VIRTUAL, ITIMER_PROF; kt unused */
    struct ktimer cpu_kick;   /* (lock) */
    bool cpu_armed;           /* (lock) read without as a hint */
    u64 rlimit_cpu;           /* (lock) next SIGXCPU in ns of CPU time; 0: no limit */
    struct idr posix;         /* (lock) id -> struct posix_timer */
};

struct posix_timer {
    struct ktimer kt;       /* wall clocks */
    struct itimer_set *set; /* (c) */
    struct task
        *target; /* (c) counted: SIGEV_THREAD_ID or a thread's CPU clock; NULL: the process */
    int id;      /* (c) */
    int clock;   /* (c) CLOCK_* */
    bool cpu_clock, thread_clock, notify_none, notify_thread; /* (c) */
    int signo;                                                /* (c) */
    u64 sigval;                                               /* (c) */
    u64 expires, interval; /* (set->lock) on the clock; wall clocks: monotonic ns */
    u64 overrun_pending;   /* (set->lock) since the signal that is pending */
    u64 overrun_last;      /* (set->lock) of the signal delivered last */
};

struct itimer_set *itimer_set_of(struct thread_group *tg); /* made on first use; NULL: no memory */
void cpu_timers_rearm(struct itimer_set *set);             /* set->lock */
void posix_timer_free(struct posix_timer *pt);             /* off the table already */
void posix_timer_signal(struct posix_timer *pt);           /* set->lock */

#endif
