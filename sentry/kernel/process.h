/* SPDX-License-Identifier: Apache-2.0 */
/* What the identity and process calls ask of sentry/kernel: groups, sessions, rights over others,
 * unshare. */
#ifndef PAVISE_SENTRY_KERNEL_PROCESS_H
#define PAVISE_SENTRY_KERNEL_PROCESS_H

#include "sentry/kernel/task.h"

s32 task_pgid(struct task *t);
s32 task_ppid(struct task *t);
/* getpgid(2), getsid(2) of pid (0: the caller): the id or -ESRCH. */
must_check long process_getpgid(struct task *t, s32 pid);
must_check long process_getsid(struct task *t, s32 pid);
must_check long process_setpgid(struct task *t, s32 pid, s32 pgid);
must_check long process_setsid(struct task *t);

/* kill(2): pid as there. */
must_check int process_kill(struct task *t, s32 pid, const struct abi_siginfo *info);

/* PTRACE_MODE_ATTACH of ptrace(2) "Ptrace access mode checking": 0 or -EPERM. */
must_check int task_may_inspect(struct task *t, struct task *target);

must_check int task_unshare(struct task *t, u64 flags);

#endif
