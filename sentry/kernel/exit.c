/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a task (_exit(2), exit_group(2), wait(2) for what is left behind).
 *
 * task_exit runs on the task's own fiber: it gives up everything, then under the task list becomes
 * a zombie. A thread other than the leader is released at once; the group becomes a zombie when its
 * last thread is gone, and is kept until its parent waits (or does not want to know). The fiber's
 * reference is put last.
 */
#include "base/usermem.h"
#include "sentry/kernel/futex.h"
#include "sentry/kernel/kernel_priv.h"
#include "sentry/kernel/namespace.h"
#include "sentry/kernel/timer.h"
#include "vfs/fdtable.h"

bool vfork_is_done(struct task *child)
{
    MUTEX_GUARD(&kernel->tasklist);
    return child->vfork_done;
}

void vfork_finish(struct task *t)
{
    bool was;

    mutex_lock(&kernel->tasklist);
    was = t->vfork_parent != NULL;
    t->vfork_parent = NULL;
    t->vfork_done = true;
    mutex_unlock(&kernel->tasklist);
    if (was) {
        waitq_wake_all(&t->vfork_wait);
    }
}

/* The thread's id word: cleared and woken so that pthread_join sees the end (set_tid_address(2)).
 */
static void clear_tid(struct task *t)
{
    u32 zero = 0;

    if (t->clear_child_tid != 0) {
        if (copy_out(t->clear_child_tid, &zero, sizeof(zero)) == 0) {
            futex_wake_addr(t, t->clear_child_tid, 1);
        }
        t->clear_child_tid = 0;
    }
}

void task_drop_resources(struct task *t)
{
    struct fdtable *fdt;
    struct fs_context *fs;
    struct mnt_ns *mnt;

    spin_lock(&t->vfs_lock);
    fdt = t->vfs.fdt;
    fs = t->vfs.fs;
    mnt = t->vfs.mnt_ns;
    t->vfs.fdt = NULL;
    t->vfs.fs = NULL;
    t->vfs.mnt_ns = NULL;
    spin_unlock(&t->vfs_lock);
    if (fdt != NULL) {
        fdtable_put(fdt);
    }
    if (fs != NULL) {
        fs_context_put(fs);
    }
    if (mnt != NULL) {
        mnt_ns_put(mnt);
    }
    if (t->uts_ns != NULL) {
        uts_ns_put(t->uts_ns);
    }
    if (t->ipc_ns != NULL) {
        ipc_ns_put(t->ipc_ns);
    }
    t->uts_ns = NULL;
    t->ipc_ns = NULL;
}

/* The most memory the group has had resident, before t leaves its address space. */
void task_note_maxrss(struct task *t)
{
    struct mm_usage usage;

    if (t->mm != NULL) {
        mm_get_usage(t->mm, &usage);
        t->tg->maxrss = max(t->tg->maxrss, usage.peak_rss);
    }
}

static void drop_mm(struct task *t)
{
    struct mm *mm;
    struct pcontext *pctx;

    spin_lock(&t->tg->siglock);
    pctx = t->pctx;
    t->pctx = NULL;
    spin_unlock(&t->tg->siglock);
    platform->context_free(pctx);
    spin_lock(&t->mm_lock);
    mm = t->mm;
    t->mm = NULL;
    spin_unlock(&t->mm_lock);
    if (mm != NULL) {
        mm_put(mm);
    }
}

/* Who inherits the children of a process that is gone: the nearest subreaper above, or init. */
static struct thread_group *find_reaper(struct thread_group *tg)
{
    struct thread_group *p;

    if (tg->has_child_subreaper) {
        for (p = tg->parent; p != NULL && p != kernel->init; p = p->parent) {
            if (p->is_child_subreaper && !p->dead && !p->group_exit) {
                return p;
            }
        }
    }
    return kernel->init;
}

static void reparent_children(struct thread_group *tg)
{
    struct thread_group *reaper = find_reaper(tg), *child, *next;

    for (child = TAILQ_FIRST(&tg->children); child != NULL; child = next) {
        struct thread_group *old = child->parent;

        next = TAILQ_NEXT(child, sibling);
        TAILQ_REMOVE(&tg->children, child, sibling);
        child->parent = reaper;
        child->parent_task = NULL;
        child->exit_signal = SIGCHLD;
        TAILQ_INSERT_TAIL(&reaper->children, child, sibling);
        if (child->leader != NULL && child->leader->pdeath_signal != 0) {
            signal_kernel_tg(child, child->leader->pdeath_signal);
        }
        pgrp_check_orphans(child, old);
        if (child->dead) {
            tg_notify_parent(child);
        }
    }
}

/* The session's leader is gone: its terminal is hung up (credentials(7), tty_ioctl(4)). */
static void leave_session(struct thread_group *tg)
{
    struct session *s = tg->pgrp != NULL ? tg->pgrp->session : NULL;

    if (s != NULL && s->leader == tg) {
        s->leader = NULL;
        session_disassociate_tty(s);
    }
}

/* SIGCHLD and wake-up; a parent that ignores SIGCHLD lets go of the zombie at once. tasklist held.
 */
void tg_notify_parent(struct thread_group *tg)
{
    struct thread_group *parent = tg->parent;
    struct abi_siginfo info = {.si_signo = tg->exit_signal};
    const struct abi_sigaction *action;
    bool autoreap = false;

    if (parent == NULL) {
        return;
    }
    info.u.chld.pid = tg->tgid;
    info.u.chld.uid = tg->exit_uid;
    info.u.chld.utime = (s64)(tg->dead_utime / 10000000);
    info.u.chld.stime = (s64)(tg->dead_stime / 10000000);
    if ((tg->exit_code & 0x7f) == 0) {
        info.si_code = CLD_EXITED;
        info.u.chld.status = (tg->exit_code >> 8) & 0xff;
    } else {
        info.si_code = (tg->exit_code & 0x80) != 0 ? CLD_DUMPED : CLD_KILLED;
        info.u.chld.status = tg->exit_code & 0x7f;
    }
    if (tg->exit_signal == SIGCHLD) {
        action = &parent->sighand->action[SIGCHLD - 1];
        autoreap = action->handler == SIG_IGNORE || (action->flags & SA_NOCLDWAIT) != 0;
    }
    if (tg->exit_signal != 0 &&
        !(autoreap && parent->sighand->action[SIGCHLD - 1].handler == SIG_IGNORE)) {
        (void)!signal_send_tg(parent, &info);
    }
    waitq_wake_all(&parent->child_wait);
    if (autoreap) {
        tg_release(tg);
    }
}

/* Remove a zombie group for good. tasklist held; drops the table's references. */
void tg_release(struct thread_group *tg)
{
    struct thread_group *parent = tg->parent;

    if (parent != NULL) {
        parent->child_utime += tg->dead_utime + tg->child_utime;
        parent->child_stime += tg->dead_stime + tg->child_stime;
        parent->child_maxrss = max(parent->child_maxrss, tg->maxrss);
        parent->child_maxrss = max(parent->child_maxrss, tg->child_maxrss);
        TAILQ_REMOVE(&parent->children, tg, sibling);
        tg->parent = NULL;
    }
    tg_set_pgrp(tg, NULL);
    task_unpublish(tg->leader);
}

/* All threads are gone. tasklist held. */
static void group_dead(struct thread_group *tg)
{
    if (!tg->group_exit) {
        tg->exit_code = tg->leader->exit_code;
    }
    tg->dead = true;
    timers_exit(tg);
    waitq_wake_all(&tg->pidfd_wait);
    leave_session(tg);
    pgrp_check_orphans(tg, tg->parent);
    reparent_children(tg);
    if (tg == kernel->first) {
        sandbox_first_exited(tg->exit_code);
    }
    tg_notify_parent(tg);
}

/* Children forked by this thread now have only the process as parent. */
static void forget_parent_task(struct task *t)
{
    struct thread_group *child;

    TAILQ_FOREACH (child, &t->tg->children, sibling) {
        if (child->parent_task == t) {
            child->parent_task = NULL;
        }
    }
}

static void become_zombie(struct task *t)
{
    struct thread_group *tg = t->tg;
    bool last;

    mutex_lock(&kernel->tasklist);
    spin_lock(&tg->siglock);
    t->state = TASK_ZOMBIE;
    stop_thread_gone(t);
    signal_retarget_shared(t, ~0ULL);
    spin_unlock(&tg->siglock);
    last = --tg->nr_live == 0;
    tg->dead_utime += t->utime;
    tg->dead_stime += t->stime;
    forget_parent_task(t);
    if (tg->exec_task != NULL) {
        fiber_wake(tg->exec_task->fiber);
    }
    if (t != tg->leader) {
        task_unpublish(t);
    }
    if (last) {
        tg_get(tg);
        group_dead(tg);
        tg_put(tg);
    }
    mutex_unlock(&kernel->tasklist);
}

void task_exit(struct task *t, int status)
{
    t->exit_code = status;
    futex_exit_robust(t);
    clear_tid(t);
    task_note_maxrss(t);
    t->tg->exit_uid = t->vfs.cred->uid;
    drop_mm(t);
    vfork_finish(t);
    task_drop_resources(t);
    become_zombie(t);
    task_put(t);
    fiber_exit();
}

void task_exit_group(struct task *t, int status)
{
    spin_lock(&t->tg->siglock);
    signal_begin_group_exit(t->tg, status);
    status = t->tg->exit_code;
    spin_unlock(&t->tg->siglock);
    task_exit(t, status);
}
