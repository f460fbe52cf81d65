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
/* CPU time in ns: of a thread; of a group (live and dead threads). */
u64 task_cpu_time(const struct task *t);
u64 tg_cpu_time(struct thread_group *tg, u64 *utime, u64 *stime);

#endif
