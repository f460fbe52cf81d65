/* SPDX-License-Identifier: Apache-2.0 */
/* Process groups and sessions as the system calls see them, kill(2)'s targets, rights over other
 * tasks, unshare(2). */
#include "sentry/kernel/process.h"

#include "sentry/kernel/kernel_priv.h"
#include "sentry/kernel/namespace.h"
#include "vfs/fdtable.h"

#include <linux/capability.h>
#include <linux/sched.h>

s32 task_pgid(struct task *t)
{
    MUTEX_GUARD(&kernel->tasklist);
    return t->tg->pgrp->pgid;
}

s32 task_ppid(struct task *t)
{
    MUTEX_GUARD(&kernel->tasklist);
    return t->tg->parent != NULL ? t->tg->parent->tgid : 0;
}

/* The group of the thread `pid` (0: t's own), borrowed; NULL: none. tasklist held. */
static struct thread_group *group_of(struct task *t, s32 pid)
{
    struct task *other = pid == 0 ? t : task_find_locked(pid);

    return other != NULL && other->tg->pgrp != NULL ? other->tg : NULL;
}

long process_getpgid(struct task *t, s32 pid)
{
    struct thread_group *tg;

    MUTEX_GUARD(&kernel->tasklist);
    tg = group_of(t, pid);
    return tg != NULL ? tg->pgrp->pgid : -ESRCH;
}

long process_getsid(struct task *t, s32 pid)
{
    struct thread_group *tg;

    MUTEX_GUARD(&kernel->tasklist);
    tg = group_of(t, pid);
    return tg != NULL ? tg->pgrp->session->sid : -ESRCH;
}

/* May t move tg? tasklist held. */
static int setpgid_check(struct task *t, struct thread_group *tg)
{
    if (tg != t->tg) {
        if (tg->parent != t->tg) {
            return -ESRCH;
        }
        if (tg->pgrp->session != t->tg->pgrp->session) {
            return -EPERM;
        }
        if (tg->did_exec) {
            return -EACCES;
        }
    }
    return tg->pgrp->session->leader == tg ? -EPERM : 0;
}

long process_setpgid(struct task *t, s32 pid, s32 pgid)
{
    struct thread_group *tg;
    struct process_group *pg;
    int err;

    if (pgid < 0) {
        return -EINVAL;
    }
    MUTEX_GUARD(&kernel->tasklist);
    tg = pid == 0 || pid == t->tg->tgid ? t->tg : tg_find_locked(pid);
    if (tg == NULL) {
        return task_find_locked(pid) != NULL ? -EINVAL : -ESRCH;
    }
    err = setpgid_check(t, tg);
    if (err != 0) {
        return err;
    }
    pgid = pgid == 0 ? tg->tgid : pgid;
    pg = pgrp_find(pgid);
    if (pg != NULL) {
        if (pg->session != tg->pgrp->session) {
            return -EPERM;
        }
        tg_set_pgrp(tg, pg);
        return 0;
    }
    if (pgid != tg->tgid) {
        return -EPERM;
    }
    pg = pgrp_new(pgid, tg->pgrp->session);
    if (pg == NULL) {
        return -ENOMEM;
    }
    tg_set_pgrp(tg, pg);
    pgrp_put(pg);
    return 0;
}

long process_setsid(struct task *t)
{
    struct thread_group *tg = t->tg;
    struct process_group *pg;
    struct session *s;

    MUTEX_GUARD(&kernel->tasklist);
    if (pgrp_find(tg->tgid) != NULL) {
        return -EPERM;
    }
    s = session_new(tg);
    if (s == NULL) {
        return -ENOMEM;
    }
    pg = pgrp_new(tg->tgid, s);
    session_put(s);
    if (pg == NULL) {
        return -ENOMEM;
    }
    tg_set_pgrp(tg, pg);
    pgrp_put(pg);
    return tg->tgid;
}

/* One target of kill(2). *found: somebody to whom it may be sent. */
static int kill_one(struct task *t, struct thread_group *tg, const struct abi_siginfo *info,
                    bool *any)
{
    int err = signal_may_send(t, tg->leader, info->si_signo);

    if (err == 0) {
        *any = true;
        if (info->si_signo != 0) {
            err = signal_send_tg(tg, info);
        }
    }
    return err;
}

static int kill_group(struct task *t, s32 pgid, const struct abi_siginfo *info)
{
    struct process_group *pg = pgrp_find(pgid);
    struct thread_group *tg;
    bool any = false;
    int err = -ESRCH;

    if (pg == NULL) {
        return -ESRCH;
    }
    TAILQ_FOREACH (tg, &pg->members, pg_link) {
        err = kill_one(t, tg, info, &any);
    }
    return any ? 0 : err;
}

/* Everybody but init and the caller. */
static int kill_all(struct task *t, const struct abi_siginfo *info)
{
    bool any = false;
    int err = -ESRCH;
    struct task *other;
    u32 id = 1;

    for (; (other = idr_next(&kernel->pids, &id)) != NULL; id++) {
        if (other == other->tg->leader && other->tg != t->tg && other->tg != kernel->init) {
            err = kill_one(t, other->tg, info, &any);
        }
    }
    return any ? 0 : err;
}

int process_kill(struct task *t, s32 pid, const struct abi_siginfo *info)
{
    struct task *target;
    bool any;

    if (pid == INT32_MIN) {
        return -ESRCH;
    }
    MUTEX_GUARD(&kernel->tasklist);
    if (pid == -1) {
        return kill_all(t, info);
    }
    if (pid <= 0) {
        return kill_group(t, pid == 0 ? t->tg->pgrp->pgid : -pid, info);
    }
    target = task_find_locked(pid);
    return target != NULL ? kill_one(t, target->tg, info, &any) : -ESRCH;
}

int task_may_inspect(struct task *t, struct task *target)
{
    const struct cred *c = t->vfs.cred, *o;
    bool same;

    if (t->tg == target->tg) {
        return 0;
    }
    o = task_cred_get(target);
    if (o == NULL) {
        return -ESRCH;
    }
    same = c->uid == o->euid && c->uid == o->suid && c->uid == o->uid && c->gid == o->egid &&
           c->gid == o->sgid && c->gid == o->gid && (o->cap_permitted & ~c->cap_permitted) == 0 &&
           target->tg->dumpable == 1;
    cred_put(o);
    return same || cred_capable(c, CAP_SYS_PTRACE) ? 0 : -EPERM;
}

/* ---- unshare ---- */

#define UNSHARE_KNOWN                                                                              \
    (CLONE_THREAD | CLONE_FS | CLONE_NEWNS | CLONE_SIGHAND | CLONE_VM | CLONE_FILES |              \
     CLONE_SYSVSEM | CLONE_NEWUTS | CLONE_NEWIPC)

static int unshare_fs(struct task *t)
{
    struct fs_context *copy = fs_context_copy(t->vfs.fs), *old;

    if (copy == NULL) {
        return -ENOMEM;
    }
    spin_lock(&t->vfs_lock);
    old = t->vfs.fs;
    t->vfs.fs = copy;
    spin_unlock(&t->vfs_lock);
    fs_context_put(old);
    return 0;
}

/* A descriptor table of t's own. */
int task_unshare_files(struct task *t)
{
    struct fdtable *copy = fdtable_copy(t->vfs.fdt, UINT32_MAX), *old;

    if (copy == NULL) {
        return -ENOMEM;
    }
    spin_lock(&t->vfs_lock);
    old = t->vfs.fdt;
    t->vfs.fdt = copy;
    spin_unlock(&t->vfs_lock);
    fdtable_put(old);
    return 0;
}

static int unshare_mounts(struct task *t)
{
    struct mnt_ns *copy = mnt_ns_copy(t->vfs.mnt_ns, t->vfs.fs), *old;

    if (IS_ERR(copy)) {
        return (int)PTR_ERR(copy);
    }
    spin_lock(&t->vfs_lock);
    old = t->vfs.mnt_ns;
    t->vfs.mnt_ns = copy;
    spin_unlock(&t->vfs_lock);
    mnt_ns_put(old);
    return 0;
}

static int unshare_uts(struct task *t)
{
    struct uts_ns *copy = uts_ns_copy(t->uts_ns);

    if (copy == NULL) {
        return -ENOMEM;
    }
    uts_ns_put(t->uts_ns);
    t->uts_ns = copy;
    return 0;
}

int task_unshare(struct task *t, u64 flags)
{
    int err = 0;

    if ((flags & CLONE_NEWNS) != 0) {
        flags |= CLONE_FS;
    }
    if ((flags & ~(u64)UNSHARE_KNOWN) != 0) {
        return -EINVAL;
    }
    if ((flags & (CLONE_THREAD | CLONE_SIGHAND | CLONE_VM)) != 0 && t->tg->nr_live > 1) {
        return -EINVAL;
    }
    if ((flags & (CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC)) != 0 &&
        !cred_capable(t->vfs.cred, CAP_SYS_ADMIN)) {
        return -EPERM;
    }
    if ((flags & CLONE_FS) != 0) {
        err = unshare_fs(t);
    }
    if (err == 0 && (flags & CLONE_FILES) != 0) {
        err = task_unshare_files(t);
    }
    if (err == 0 && (flags & CLONE_NEWNS) != 0) {
        err = unshare_mounts(t);
    }
    if (err == 0 && (flags & CLONE_NEWUTS) != 0) {
        err = unshare_uts(t);
    }
    if (err == 0 && (flags & CLONE_NEWIPC) != 0) {
        struct ipc_ns *ns = ipc_ns_new();

        if (ns == NULL) {
            return -ENOMEM;
        }
        ipc_ns_put(t->ipc_ns);
        t->ipc_ns = ns;
    }
    return err;
}
