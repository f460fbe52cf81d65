/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clone(2), fork, vfork, clone3: a new task. Everything that can fail happens before the task is
 * published; after that it only remains to start its fiber.
 */
#include "base/heap.h"
#include "base/usermem.h"
#include "sentry/kernel/kernel_priv.h"
#include "sentry/kernel/namespace.h"
#include "sentry/kernel/pidfd.h"
#include "vfs/fdtable.h"

#include <linux/capability.h>
#include <linux/sched.h>

#define CLONE_NEW_SUPPORTED (CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC)
#define CLONE_NEW_REFUSED                                                                          \
    (CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP | CLONE_NEWTIME)

static int check_flags(const struct task *t, const struct clone_args_k *args)
{
    u64 f = args->flags;

    if ((f & CLONE_NEWNS) != 0 && (f & CLONE_FS) != 0) {
        return -EINVAL;
    }
    if ((f & CLONE_THREAD) != 0 && (f & CLONE_SIGHAND) == 0) {
        return -EINVAL;
    }
    if ((f & CLONE_SIGHAND) != 0 && (f & CLONE_VM) == 0) {
        return -EINVAL;
    }
    if ((f & CLONE_SIGHAND) != 0 && (f & CLONE_CLEAR_SIGHAND) != 0) {
        return -EINVAL;
    }
    if ((f & CLONE_PIDFD) != 0 && (f & CLONE_DETACHED) != 0) {
        return -EINVAL;
    }
    if ((f & CLONE_THREAD) != 0 && (f & (CLONE_NEWPID | CLONE_NEWUSER)) != 0) {
        return -EINVAL;
    }
    if ((f & CLONE_NEW_REFUSED) != 0) {
        return -EINVAL; /* as a kernel built without these namespaces */
    }
    if ((f & CLONE_NEW_SUPPORTED) != 0 && !cred_capable(t->vfs.cred, CAP_SYS_ADMIN)) {
        return -EPERM;
    }
    return 0;
}

/* ---- the pieces, each copied or shared ---- */

static int copy_mm(struct task *child, struct task *t, u64 flags)
{
    if ((flags & CLONE_VM) != 0) {
        child->mm = mm_get(t->mm);
        return 0;
    }
    child->mm = mm_fork(t->mm);
    if (IS_ERR(child->mm)) {
        int err = (int)PTR_ERR(child->mm);

        child->mm = NULL;
        return err;
    }
    return 0;
}

static int copy_files(struct task *child, struct task *t, u64 flags)
{
    if ((flags & CLONE_FILES) != 0) {
        child->vfs.fdt = fdtable_get(t->vfs.fdt);
    } else {
        child->vfs.fdt = fdtable_copy(t->vfs.fdt, UINT32_MAX);
    }
    if (child->vfs.fdt == NULL) {
        return -ENOMEM;
    }
    child->vfs.fs =
        (flags & CLONE_FS) != 0 ? fs_context_get(t->vfs.fs) : fs_context_copy(t->vfs.fs);
    return child->vfs.fs == NULL ? -ENOMEM : 0;
}

static int copy_namespaces(struct task *child, struct task *t, u64 flags)
{
    if ((flags & CLONE_NEWNS) != 0) {
        struct mnt_ns *ns = mnt_ns_copy(t->vfs.mnt_ns, child->vfs.fs);

        if (IS_ERR(ns)) {
            return (int)PTR_ERR(ns);
        }
        child->vfs.mnt_ns = ns;
    } else {
        child->vfs.mnt_ns = mnt_ns_get(t->vfs.mnt_ns);
    }
    child->uts_ns = (flags & CLONE_NEWUTS) != 0 ? uts_ns_copy(t->uts_ns) : uts_ns_get(t->uts_ns);
    child->ipc_ns = (flags & CLONE_NEWIPC) != 0 ? ipc_ns_new() : ipc_ns_get(t->ipc_ns);
    return child->uts_ns == NULL || child->ipc_ns == NULL ? -ENOMEM : 0;
}

static int copy_fp(struct task *child, struct task *t)
{
    size_t size = platform->fp_size();
    void *buf = heap_alloc(size);
    int err;

    if (buf == NULL) {
        return -ENOMEM;
    }
    err = platform->fp_get(t->pctx, buf, size);
    if (err == 0) {
        err = platform->fp_set(child->pctx, buf, size);
    }
    heap_free(buf);
    return err;
}

static int copy_cpu(struct task *child, struct task *t, const struct clone_args_k *args)
{
    struct regs *r;

    child->pctx = platform->context_new(mm_aspace(child->mm));
    if (IS_ERR(child->pctx)) {
        int err = (int)PTR_ERR(child->pctx);

        child->pctx = NULL;
        return err;
    }
    r = task_regs(child);
    *r = *task_regs(t);
    r->rax = 0;
    r->orig_rax = (u64)-1;
    if (args->stack != 0) {
        r->rsp = args->stack;
    }
    if ((args->flags & CLONE_SETTLS) != 0) {
        r->fs_base = args->tls;
    }
    return copy_fp(child, t);
}

static void copy_plain(struct task *child, struct task *t, const struct clone_args_k *args)
{
    u64 flags = args->flags;

    child->blocked = t->blocked;
    memcpy(child->comm, t->comm, sizeof(child->comm));
    memcpy(child->cpu_affinity, t->cpu_affinity, sizeof(child->cpu_affinity));
    child->sched_policy = t->sched_policy;
    child->sched_priority = t->sched_priority;
    child->nice = t->nice;
    child->timer_slack = t->timer_slack;
    child->personality = t->personality;
    child->vfs.fsize_limit = t->vfs.fsize_limit;
    if ((flags & CLONE_VM) == 0 || (flags & CLONE_VFORK) != 0) {
        child->altstack = t->altstack;
    }
    if ((flags & CLONE_CHILD_SETTID) != 0) {
        child->set_child_tid = args->child_tid;
    }
    if ((flags & CLONE_CHILD_CLEARTID) != 0) {
        child->clear_child_tid = args->child_tid;
    }
    if ((flags & CLONE_VM) == 0) {
        child->rseq = t->rseq;
        child->rseq_len = t->rseq_len;
        child->rseq_sig = t->rseq_sig;
    }
}

/* ---- the group ---- */

static struct sighand *copy_sighand(struct task *t, u64 flags)
{
    struct sighand *sh;

    if ((flags & CLONE_SIGHAND) != 0) {
        return sighand_get(t->tg->sighand);
    }
    sh = sighand_new();
    if (sh != NULL) {
        spin_lock(&t->tg->siglock);
        memcpy(sh->action, t->tg->sighand->action, sizeof(sh->action));
        spin_unlock(&t->tg->siglock);
        if ((flags & CLONE_CLEAR_SIGHAND) != 0) {
            for (unsigned i = 0; i < ABI_NSIG; i++) {
                if (sh->action[i].handler != SIG_IGNORE) {
                    sh->action[i].handler = SIG_DEFAULT;
                }
            }
        }
    }
    return sh;
}

static struct thread_group *copy_group(struct task *t, const struct clone_args_k *args)
{
    struct thread_group *tg, *from = t->tg;

    if ((args->flags & CLONE_THREAD) != 0) {
        return tg_get(from);
    }
    tg = tg_new();
    if (tg == NULL) {
        return NULL;
    }
    tg->sighand = copy_sighand(t, args->flags);
    if (tg->sighand == NULL) {
        tg_put(tg);
        return NULL;
    }
    tg->exit_signal = args->exit_signal;
    tg->oom_score_adj = from->oom_score_adj;
    tg->dumpable = from->dumpable;
    spin_lock(&from->rlimit_lock);
    memcpy(tg->rlimits, from->rlimits, sizeof(tg->rlimits));
    spin_unlock(&from->rlimit_lock);
    return tg;
}

/* Link a new process under its parent. tasklist held. */
static void link_process(struct thread_group *tg, struct task *t, u64 flags)
{
    struct thread_group *parent = t->tg;

    if ((flags & CLONE_PARENT) != 0 && parent->parent != NULL) {
        tg->exit_signal = parent->exit_signal;
        tg->parent_task = NULL;
        parent = parent->parent;
    } else {
        tg->parent_task = t;
    }
    tg->parent = parent;
    tg->has_child_subreaper = t->tg->has_child_subreaper || t->tg->is_child_subreaper;
    TAILQ_INSERT_TAIL(&parent->children, tg, sibling);
    tg_set_pgrp(tg, t->tg->pgrp);
}

static bool over_process_limit(struct task *t)
{
    u64 limit = task_rlimit(t, RLIMIT_NPROC);
    u32 uid = t->vfs.cred->uid, count = 0;
    u32 id = 1;
    struct task *other;

    if (limit == RLIM_INFINITY || uid == 0 || cred_capable(t->vfs.cred, CAP_SYS_RESOURCE) ||
        cred_capable(t->vfs.cred, CAP_SYS_ADMIN) || kernel->nr_tasks < limit) {
        return false;
    }
    for (; (other = idr_next(&kernel->pids, &id)) != NULL; id++) {
        spin_lock(&other->vfs_lock);
        count += other->vfs.cred != NULL && other->vfs.cred->uid == uid;
        spin_unlock(&other->vfs_lock);
    }
    return count >= limit;
}

static int publish(struct task *child, struct task *t, const struct clone_args_k *args,
                   const s32 *want_tid)
{
    struct thread_group *tg = child->tg;
    int err;

    MUTEX_GUARD(&kernel->tasklist);
    if (over_process_limit(t)) {
        return -EAGAIN;
    }
    spin_lock(&t->tg->siglock);
    /* A signal that came before the fork takes effect before it, so that a group kill misses
     * nobody. */
    err = t->tg->group_exit || (t->tg->exec_task != NULL && t->tg->exec_task != t) ? -ERESTARTNOINTR
                                                                                   : 0;
    spin_unlock(&t->tg->siglock);
    if (err == 0) {
        err = task_publish(child, want_tid);
    }
    if (err != 0) {
        return err;
    }
    if ((args->flags & CLONE_THREAD) == 0) {
        link_process(tg, t, args->flags);
    } else if (t->stop_wanted) {
        spin_lock(&tg->siglock);
        child->stop_wanted = true;
        tg->stop_pending++;
        spin_unlock(&tg->siglock);
    }
    if ((args->flags & CLONE_VFORK) != 0) {
        child->vfork_parent = t;
    }
    return 0;
}

/* Undo what a task that was never published holds. */
static void discard(struct task *child)
{
    if (child->fiber != NULL) {
        fiber_discard(child->fiber);
    }
    if (child->pctx != NULL) {
        platform->context_free(child->pctx);
    }
    if (child->mm != NULL) {
        mm_put(child->mm);
    }
    task_drop_resources(child);
    task_put(child);
}

static struct task *copy_task(struct task *t, const struct clone_args_k *args, int *err)
{
    struct thread_group *tg = copy_group(t, args);
    struct task *child = tg != NULL ? task_new(tg) : NULL;

    tg_put(tg);
    if (child == NULL) {
        *err = -ENOMEM;
        return NULL;
    }
    copy_plain(child, t, args);
    child->vfs.cred = cred_get(t->vfs.cred);
    *err = copy_files(child, t, args->flags);
    if (*err == 0) {
        *err = copy_namespaces(child, t, args->flags);
    }
    if (*err == 0) {
        *err = copy_mm(child, t, args->flags);
    }
    if (*err == 0) {
        *err = copy_cpu(child, t, args);
    }
    if (*err == 0) {
        child->fiber = fiber_new(child->comm, task_main, child);
        *err = child->fiber == NULL ? -ENOMEM : 0;
    }
    if (*err != 0) {
        discard(child);
        return NULL;
    }
    fiber_set_local(child->fiber, child);
    return child;
}

static void wait_for_vfork(struct task *t, struct task *child)
{
    int err =
        waitq_wait_event(&child->vfork_wait, vfork_is_done(child), PARK_KILLABLE, CLOCK_NEVER);

    if (err != 0) {
        mutex_lock(&kernel->tasklist);
        child->vfork_parent = NULL;
        mutex_unlock(&kernel->tasklist);
    }
}

long task_clone(struct task *t, const struct clone_args_k *args)
{
    struct task *child;
    struct file *pidfd_file = NULL;
    s32 want = 0, tid;
    int err = check_flags(t, args), pidfd = -1;

    if (err != 0) {
        return err;
    }
    if (args->set_tid_size != 0) {
        if (args->set_tid_size != 1 || copy_in(&want, args->set_tid, sizeof(want)) != 0) {
            return args->set_tid_size != 1 ? -EINVAL : -EFAULT;
        }
        if (want < 1 || want >= PID_LIMIT) {
            return -EINVAL;
        }
        if (!cred_capable(t->vfs.cred, CAP_SYS_ADMIN)) {
            return -EPERM;
        }
    }
    child = copy_task(t, args, &err);
    if (child == NULL) {
        return err;
    }
    if ((args->flags & CLONE_PIDFD) != 0) {
        pidfd = pidfd_prepare(t, child->tg, &pidfd_file);
        if (pidfd >= 0 && copy_out(args->pidfd, &pidfd, sizeof(pidfd)) != 0) {
            (void)!fd_close(t->vfs.fdt, pidfd);
            pidfd = -EFAULT;
        }
        if (pidfd < 0) {
            discard(child);
            return pidfd;
        }
    }
    err = publish(child, t, args, want != 0 ? &want : NULL);
    if (err != 0) {
        if (pidfd >= 0) {
            (void)!fd_close(t->vfs.fdt, pidfd);
        }
        discard(child);
        return err;
    }
    tid = child->tid;
    if ((args->flags & CLONE_PARENT_SETTID) != 0) {
        (void)!copy_out(args->parent_tid, &tid, sizeof(tid));
    }
    task_get(child);
    fiber_start(child->fiber);
    if ((args->flags & CLONE_VFORK) != 0) {
        wait_for_vfork(t, child);
    }
    task_put(child);
    return tid;
}

void task_started(struct task *t)
{
    if (t->set_child_tid != 0) {
        (void)!copy_out(t->set_child_tid, &t->tid, sizeof(t->tid));
        t->set_child_tid = 0;
    }
}
