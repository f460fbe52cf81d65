/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wait4(2), waitid(2): look for a child that fits, take what it has to report, else sleep on the
 * group's child_wait. The search and the taking happen under the task list in one go, so two
 * waiters never get the same zombie.
 */
#include "sentry/kernel/wait.h"

#include "sentry/kernel/kernel_priv.h"

#include <linux/wait.h>

/* Is this child one the request asks for? tasklist held. */
static bool eligible(const struct task *t, const struct wait_request *req,
                     const struct thread_group *child)
{
    bool clone_child = child->exit_signal != SIGCHLD;

    if (req->which == WAIT_PID && child->tgid != req->id) {
        return false;
    }
    if (req->which == WAIT_PGRP && (child->pgrp == NULL || child->pgrp->pgid != req->id)) {
        return false;
    }
    if ((req->options & __WNOTHREAD) != 0 && child->parent_task != t) {
        return false;
    }
    return (req->options & __WALL) != 0 || clone_child == ((req->options & __WCLONE) != 0);
}

static void fill(struct wait_result *out, const struct thread_group *child, int code, int status)
{
    out->pid = child->tgid;
    out->uid = child->dead ? child->exit_uid : child->leader->vfs.cred->uid;
    out->code = code;
    out->status = status;
    out->utime = child->dead_utime + child->child_utime;
    out->stime = child->dead_stime + child->child_stime;
    out->maxrss = child->maxrss > child->child_maxrss ? child->maxrss : child->child_maxrss;
}

/* Something to report? Takes it unless WNOWAIT. tasklist held. */
static bool take(struct thread_group *child, const struct wait_request *req,
                 struct wait_result *out)
{
    bool keep = (req->options & WNOWAIT) != 0;

    if (child->dead) {
        if ((req->options & WEXITED) == 0) {
            return false;
        }
        fill(out, child, (child->exit_code & 0x7f) != 0 ? CLD_KILLED : CLD_EXITED,
             child->exit_code);
        if (!keep) {
            tg_release(child);
        }
        return true;
    }
    if ((req->options & WSTOPPED) != 0 && (child->wait_flags & TG_WAIT_STOPPED) != 0 &&
        child->stopped) {
        fill(out, child, CLD_STOPPED, child->exit_code);
        if (!keep) {
            child->wait_flags &= ~TG_WAIT_STOPPED;
        }
        return true;
    }
    if ((req->options & WCONTINUED) != 0 && (child->wait_flags & TG_WAIT_CONTINUED) != 0) {
        fill(out, child, CLD_CONTINUED, 0xffff);
        if (!keep) {
            child->wait_flags &= ~TG_WAIT_CONTINUED;
        }
        return true;
    }
    return false;
}

/* 1: found; 0: none yet; -ECHILD: there is nobody to wait for. */
static int scan(struct task *t, const struct wait_request *req, struct wait_result *out)
{
    struct thread_group *child, *next;
    int ret = -ECHILD;

    MUTEX_GUARD(&kernel->tasklist);
    for (child = TAILQ_FIRST(&t->tg->children); child != NULL; child = next) {
        next = TAILQ_NEXT(child, sibling);
        if (!eligible(t, req, child)) {
            continue;
        }
        if (take(child, req, out)) {
            return 1;
        }
        ret = 0;
    }
    return ret;
}

int task_wait(struct task *t, const struct wait_request *req, struct wait_result *out)
{
    int found = 0, err;

    memset(out, 0, sizeof(*out));
    if ((req->options & WNOHANG) != 0) {
        found = scan(t, req, out);
        return found < 0 ? found : 0;
    }
    err = waitq_wait_event(&t->tg->child_wait, (found = scan(t, req, out)) != 0, PARK_INTERRUPTIBLE,
                           CLOCK_NEVER);
    return err != 0 ? err : (found < 0 ? found : 0);
}
