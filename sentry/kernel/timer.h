/* SPDX-License-Identifier: Apache-2.0 */
/* Per-process timers: setitimer(2), alarm(2), timer_create(2), RLIMIT_CPU; CPU clocks. */
#ifndef PAVISE_SENTRY_KERNEL_TIMER_H
#define PAVISE_SENTRY_KERNEL_TIMER_H

#include "sentry/kernel/task.h"

/* Stop and free everything (last reference to the group is gone); NULL allowed. */
void itimer_set_free(struct itimer_set *set);
/* exec and exit: POSIX timers are deleted; itimers survive exec only. */
void timers_exec(struct thread_group *tg);
void timers_exit(struct thread_group *tg);
/* run.c, after CPU time was added: CPU-time timers and RLIMIT_CPU may be due. Cheap when none is
 * armed. */
void timers_cpu_tick(struct task *t);
/* setrlimit(RLIMIT_CPU). */
void timers_rlimit_cpu_changed(struct thread_group *tg, u64 seconds);

/* setitimer(2), getitimer(2): nanoseconds; which: ITIMER_*. */
struct itimer_value {
    u64 interval, value;
};
must_check int itimer_get(struct thread_group *tg, int which, struct itimer_value *out);
must_check int itimer_set_value(struct thread_group *tg, int which, const struct itimer_value *new,
                                struct itimer_value *old);

/* timer_create(2) and kin. */
struct sigevent_args {
    int notify; /* SIGEV_* */
    int signo;
    u64 value;
    s32 tid;
    bool is_default; /* no sigevent given: sival is the timer's id */
};
must_check int posix_timer_create(struct task *t, int clock, const struct sigevent_args *ev);
must_check int posix_timer_settime(struct task *t, int id, bool absolute,
                                   const struct itimer_value *new, struct itimer_value *old);
must_check int posix_timer_gettime(struct task *t, int id, struct itimer_value *out);
must_check int posix_timer_getoverrun(struct task *t, int id);
must_check int posix_timer_delete(struct task *t, int id);
/* A timer's signal is being delivered: its overrun count for si_overrun. */
int posix_timer_delivered(struct thread_group *tg, int id);

/* CPU time in ns: of a thread; of a group (live and dead threads). */
u64 task_cpu_time(const struct task *t);
u64 tg_cpu_time(struct thread_group *tg, u64 *utime, u64 *stime);

#endif
