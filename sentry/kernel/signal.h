/* SPDX-License-Identifier: Apache-2.0 */
/* Signals below the level of task.h: what the signal calls and /proc ask of signal.c. */
#ifndef PAVISE_SENTRY_KERNEL_SIGNAL_H
#define PAVISE_SENTRY_KERNEL_SIGNAL_H

#include "sentry/kernel/task.h"

#define SIGMASK_KILL_STOP (SIG_BIT(SIGKILL) | SIG_BIT(SIGSTOP))
#define SIGMASK_STOP      (SIG_BIT(SIGSTOP) | SIG_BIT(SIGTSTP) | SIG_BIT(SIGTTIN) | SIG_BIT(SIGTTOU))
#define SIGMASK_IGNORED   (SIG_BIT(SIGCONT) | SIG_BIT(SIGCHLD) | SIG_BIT(SIGWINCH) | SIG_BIT(SIGURG))
#define SIGMASK_SYNCHRONOUS                                                                        \
    (SIG_BIT(SIGSEGV) | SIG_BIT(SIGBUS) | SIG_BIT(SIGILL) | SIG_BIT(SIGTRAP) | SIG_BIT(SIGFPE) |   \
     SIG_BIT(SIGSYS))
#define SIGMASK_CORE                                                                               \
    (SIG_BIT(SIGQUIT) | SIG_BIT(SIGILL) | SIG_BIT(SIGTRAP) | SIG_BIT(SIGABRT) | SIG_BIT(SIGBUS) |  \
     SIG_BIT(SIGFPE) | SIG_BIT(SIGSEGV) | SIG_BIT(SIGXCPU) | SIG_BIT(SIGXFSZ) | SIG_BIT(SIGSYS))

#define SIG_DEFAULT 0UL
#define SIG_IGNORE  1UL

/* All with tg->siglock held. */
void sigpending_flush(struct thread_group *tg, struct sigpending *p, sigmask_t which);
int signal_dequeue(struct task *t, sigmask_t which, struct abi_siginfo *info);
sigmask_t signal_pending_set(const struct task *t);
bool signal_is_ignored(const struct task *t, int sig);
void task_recalc_sigpending(struct task *t);

/* rt_sigreturn(2), by the owner: 0, or -EFAULT (the stack is bad: SIGSEGV follows). */
must_check int sigframe_pop(struct task *t);

#endif
