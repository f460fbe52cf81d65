/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What vfs asks of the kernel (vfs/hooks.h): ids and limits of the caller, and SIGIO. A change of
 * readiness is reported from anywhere, so the signal is sent by a fiber of its own.
 */
#include "vfs/hooks.h"

#include "base/heap.h"
#include "base/sched/worker.h"
#include "sentry/kernel/kernel_priv.h"

struct sigio_work {
    struct file_owner owner;
    int fd, code;
    u32 band;
};
DEFINE_CACHE(sigio_work_cache, struct sigio_work);

/* May the owner that F_SETOWN recorded signal the target (sigio_perm of Linux)? */
static bool owner_may_signal(const struct file_owner *o, struct task *target)
{
    const struct cred *c = task_cred_get(target);
    bool ok = c != NULL && (o->euid == 0 || o->euid == c->suid || o->euid == c->uid ||
                            o->uid == c->suid || o->uid == c->uid);

    cred_put(c);
    return ok;
}

static void send_one(struct task *target, const struct sigio_work *w,
                     const struct abi_siginfo *info)
{
    int err = 0;

    if (!owner_may_signal(&w->owner, target)) {
        return;
    }
    if (w->owner.type == F_OWNER_TID) {
        err = signal_send_task(target, info);
    } else {
        err = signal_send_tg(target->tg, info);
    }
    if (err != 0) { /* the queue is full: a plain SIGIO says "look everywhere" */
        signal_kernel_tg(target->tg, SIGIO);
    }
}

static void send_group(const struct sigio_work *w, const struct abi_siginfo *info)
{
    struct process_group *pg;
    struct thread_group *tg;
    s32 pgid = w->owner.type == F_OWNER_PGRP && w->owner.pid > 0 ? w->owner.pid : -w->owner.pid;

    MUTEX_GUARD(&kernel->tasklist);
    pg = pgrp_find(pgid);
    if (pg == NULL) {
        return;
    }
    TAILQ_FOREACH (tg, &pg->members, pg_link) {
        if (tg->leader != NULL) {
            send_one(tg->leader, w, info);
        }
    }
}

static void sigio_fiber(void *arg)
{
    struct sigio_work *w = arg;
    int sig = w->owner.sig != 0 ? w->owner.sig : SIGIO;
    struct abi_siginfo info = {.si_signo = sig};
    struct task *t;

    if (w->owner.sig != 0) {
        info.si_code = w->code;
        info.u.poll.band = w->band;
        info.u.poll.fd = w->fd;
    } else {
        info.si_code = SI_KERNEL;
    }
    if (w->owner.type == F_OWNER_PGRP || w->owner.pid < 0) {
        send_group(w, &info);
    } else {
        t = task_find(w->owner.pid);
        if (t != NULL) {
            send_one(t, w, &info);
            task_put(t);
        }
    }
    cache_del(sigio_work_cache, w);
}

static void hook_send_sigio(const struct file_owner *owner, int fd, int code, u32 band)
{
    struct sigio_work *w = cache_new(sigio_work_cache);

    if (w == NULL) {
        return;
    }
    *w = (struct sigio_work){.owner = *owner, .fd = fd, .code = code, .band = band};
    if (sched_defer(sigio_fiber, w) != 0) {
        cache_del(sigio_work_cache, w);
    }
}

static void hook_send_sigurg(const struct file_owner *owner)
{
    struct file_owner o = *owner;

    o.sig = SIGURG;
    hook_send_sigio(&o, -1, SI_KERNEL, POLLPRI);
}

static s32 hook_current_tgid(void)
{
    struct task *t = task_current();

    return t != NULL ? t->tg->tgid : 0;
}

static u64 hook_current_rlimit(int resource)
{
    struct task *t = task_current();

    return t != NULL ? task_rlimit(t, resource) : UINT64_MAX;
}

static const struct vfs_hooks hooks = {
    .send_sigio = hook_send_sigio,
    .send_sigurg = hook_send_sigurg,
    .current_tgid = hook_current_tgid,
    .current_rlimit = hook_current_rlimit,
};

void vfs_hooks_boot(void)
{
    vfs_set_hooks(&hooks);
}
