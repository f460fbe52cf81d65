/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Job control stops (signal(7), kernel/signal.c do_signal_stop).
 *
 * A stop: one thread dequeues a stop signal and sets stop_wanted for every live thread; each joins
 * on its way to the guest (stop_join) and the last one to join completes the stop: tg->stopped, and
 * the parent is told. SIGCONT or SIGKILL clears stop_wanted and wakes them; a completed stop that
 * SIGCONT ended is reported as continued. The report is left to the thread that runs next
 * (tg->cld_notify), because the sender of SIGCONT may hold locks above the task list.
 *
 *   state           stop_sig  stop_wanted (threads)  stopped   left by
 *   running         0         none                   false     a stop signal
 *   stopping        sig       all live ones          false     last thread joins; SIGCONT; SIGKILL
 *   stopped         sig       all live ones          true      SIGCONT; SIGKILL
 */
#include "sentry/kernel/kernel_priv.h"

static void stop_clear(struct thread_group *tg)
{
    struct task *t;

    tg->stop_sig = 0;
    tg->stop_pending = 0;
    tg->stopped = false;
    TAILQ_FOREACH (t, &tg->threads, tg_link) {
        t->stop_wanted = false;
        t->stopped = false;
    }
    waitq_wake_all(&tg->stop_wait);
}

void stop_cancel(struct thread_group *tg)
{
    if (tg->stop_sig != 0) {
        stop_clear(tg);
    }
}

void stop_continue(struct thread_group *tg)
{
    struct task *t;

    if (tg->stop_sig == 0) {
        return;
    }
    tg->cld_notify = tg->stopped ? CLD_CONTINUED : CLD_STOPPED;
    stop_clear(tg);
    TAILQ_FOREACH (t, &tg->threads, tg_link) {
        if (t->state == TASK_RUNNING) {
            task_kick(t, false);
            break;
        }
    }
}

/* Tell the parent (SIGCHLD unless SA_NOCLDSTOP) and let its wait4 look. */
void stop_notify_parent(struct thread_group *tg, int why)
{
    struct abi_siginfo info = {.si_signo = SIGCHLD, .si_code = why};
    struct thread_group *parent;

    MUTEX_GUARD(&kernel->tasklist);
    parent = tg->parent;
    if (parent == NULL) {
        return;
    }
    if (why == CLD_CONTINUED) {
        tg->wait_flags = TG_WAIT_CONTINUED;
        info.u.chld.status = SIGCONT;
    } else {
        tg->wait_flags = TG_WAIT_STOPPED;
        info.u.chld.status = tg->exit_code != 0 ? (tg->exit_code >> 8) & 0xff : SIGSTOP;
    }
    info.u.chld.pid = tg->tgid;
    info.u.chld.uid = tg->leader->vfs.cred != NULL ? tg->leader->vfs.cred->uid : 0;
    if ((parent->sighand->action[SIGCHLD - 1].flags & SA_NOCLDSTOP) == 0 &&
        parent->sighand->action[SIGCHLD - 1].handler != SIG_IGNORE) {
        (void)!signal_send_tg(parent, &info);
    }
    waitq_wake_all(&parent->child_wait);
}

/* One thread fewer to wait for: true if that completes the stop. siglock. */
static bool stop_count_down(struct thread_group *tg)
{
    if (tg->stop_pending > 0 && --tg->stop_pending == 0) {
        tg->stopped = true;
        return true;
    }
    return false;
}

void stop_thread_gone(struct task *t)
{
    if (t->stop_wanted) {
        t->stop_wanted = false;
        if (!t->stopped && stop_count_down(t->tg)) {
            t->tg->cld_notify = CLD_STOPPED;
        }
    }
}

/* Park until the stop ends. */
static void stop_sleep(struct task *t)
{
    struct thread_group *tg = t->tg;
    struct waiter w;

    waiter_init_current(&w);
    waitq_add(&tg->stop_wait, &w, 0);
    for (;;) {
        bool go_on;

        spin_lock(&tg->siglock);
        go_on = !t->stop_wanted || tg->group_exit || tg->exec_task != NULL;
        if (go_on) {
            t->stopped = false;
        }
        spin_unlock(&tg->siglock);
        if (go_on) {
            break;
        }
        (void)!fiber_park(PARK_UNINTERRUPTIBLE, CLOCK_NEVER);
    }
    waitq_remove(&w);
}

void stop_join(struct task *t)
{
    struct thread_group *tg = t->tg;
    bool complete = false;

    spin_lock(&tg->siglock);
    if (t->stop_wanted && !t->stopped && !tg->group_exit) {
        t->stopped = true;
        complete = stop_count_down(tg);
        if (complete) {
            tg->exit_code = (tg->stop_sig << 8) | 0x7f;
        }
    }
    spin_unlock(&tg->siglock);
    if (complete) {
        stop_notify_parent(tg, CLD_STOPPED);
        sandbox_stop_changed(tg, true);
    }
    stop_sleep(t);
}

/* The default action of SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU. The last three do nothing in an
 * orphaned group. */
void stop_begin(struct task *t, int sig)
{
    struct thread_group *tg = t->tg;
    struct task *other;
    bool orphaned;

    if (sig != SIGSTOP) {
        mutex_lock(&kernel->tasklist);
        orphaned = pgrp_is_orphaned(tg->pgrp, NULL);
        mutex_unlock(&kernel->tasklist);
        if (orphaned) {
            return;
        }
    }
    spin_lock(&tg->siglock);
    /* A SIGCONT or SIGKILL that came since the dequeue wins. */
    if (!tg->group_exit && tg->exec_task == NULL &&
        (tg->shared_pending.set & SIG_BIT(SIGCONT)) == 0 && tg->stop_sig == 0) {
        tg->stop_sig = sig;
        tg->stop_pending = 0;
        TAILQ_FOREACH (other, &tg->threads, tg_link) {
            if (other->state == TASK_RUNNING || other->state == TASK_NEW) {
                other->stop_wanted = true;
                other->stopped = false;
                tg->stop_pending++;
                if (other != t) {
                    task_kick(other, false);
                }
            }
        }
    }
    spin_unlock(&tg->siglock);
    stop_join(t);
}
