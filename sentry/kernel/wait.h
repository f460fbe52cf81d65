/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for children (wait4(2), waitid(2)). */
#ifndef PAVISE_SENTRY_KERNEL_WAIT_H
#define PAVISE_SENTRY_KERNEL_WAIT_H

#include "sentry/kernel/task.h"

enum wait_which { WAIT_ALL, WAIT_PID, WAIT_PGRP };

struct wait_request {
    enum wait_which which;
    s32 id;      /* WAIT_PID, WAIT_PGRP */
    u32 options; /* WNOHANG WEXITED WSTOPPED WCONTINUED WNOWAIT __WALL __WCLONE __WNOTHREAD */
};

struct wait_result {
    s32 pid; /* 0: WNOHANG and nothing yet */
    u32 uid;
    int status;               /* as of wait(2) */
    int code;                 /* CLD_* */
    u64 utime, stime, maxrss; /* ns, ns, bytes: of the child and what it waited for */
};

/* 0, -ECHILD or -ERESTARTSYS. */
must_check int task_wait(struct task *t, const struct wait_request *req, struct wait_result *out);

#endif
