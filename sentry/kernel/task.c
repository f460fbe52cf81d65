/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tasks and thread groups as objects: creation, look-up, references, limits. What happens in their
 * lives is in clone.c, exec.c, exit.c, wait.c, run.c.
 *
 * A task is reachable by its tid from task_publish to task_unpublish (both under tasklist);
 * references keep the memory only. The running fiber owns one reference, the pid table another.
 */
#include "base/clock.h"
#include "base/heap.h"
#include "sentry/kernel/creds.h"
#include "sentry/kernel/futex.h"
#include "sentry/kernel/kernel_priv.h"
#include "sentry/kernel/namespace.h"
#include "sentry/kernel/timer.h"
#include "vfs/fdtable.h"

#include <linux/capability.h>

DEFINE_CACHE(task_cache, struct task);
DEFINE_CACHE(thread_group_cache, struct thread_group);
DEFINE_CACHE(sighand_cache, struct sighand);

struct kernel *kernel;

struct task *task_current(void)
{
    return fiber_current_local();
}

struct sighand *sighand_new(void)
{
    struct sighand *sh = cache_new(sighand_cache);

    if (sh != NULL) {
        ref_init(&sh->ref);
    }
    return sh;
}

struct sighand *sighand_get(struct sighand *sh)
{
    ref_get(&sh->ref);
    return sh;
}

void sighand_put(struct sighand *sh)
{
    if (sh != NULL && ref_put(&sh->ref)) {
        cache_del(sighand_cache, sh);
    }
}

struct thread_group *tg_new(void)
{
    struct thread_group *tg = cache_new(thread_group_cache);

    if (tg == NULL) {
        return NULL;
    }
    ref_init(&tg->ref);
    TAILQ_INIT(&tg->threads);
    TAILQ_INIT(&tg->children);
    sigpending_init(&tg->shared_pending);
    waitq_init(&tg->child_wait);
    waitq_init(&tg->stop_wait);
    waitq_init(&tg->signalfd_wait);
    waitq_init(&tg->pidfd_wait);
    tg->dumpable = 1;
    tg->start_time = clock_boottime();
    return tg;
}

struct thread_group *tg_get(struct thread_group *tg)
{
    ref_get(&tg->ref);
    return tg;
}

void tg_put(struct thread_group *tg)
{
    if (tg == NULL || !ref_put(&tg->ref)) {
        return;
    }
    sigpending_flush(tg, &tg->shared_pending, ~0ULL);
    sighand_put(tg->sighand);
    itimer_set_free(tg->timers);
    waitq_fini(&tg->child_wait);
    waitq_fini(&tg->stop_wait);
    waitq_fini(&tg->signalfd_wait);
    waitq_fini(&tg->pidfd_wait);
    cache_del(thread_group_cache, tg);
}

struct task *task_new(struct thread_group *tg)
{
    struct task *t = cache_new(task_cache);

    if (t == NULL) {
        return NULL;
    }
    ref_init(&t->ref);
    t->tg = tg_get(tg);
    t->syscall_nr = -1;
    t->start_time = clock_boottime();
    t->timer_slack = 50000;
    t->altstack.ss_flags = SS_DISABLE;
    sigpending_init(&t->pending);
    waitq_init(&t->vfork_wait);
    return t;
}

struct task *task_get(struct task *t)
{
    ref_get(&t->ref);
    return t;
}

void task_put(struct task *t)
{
    if (t == NULL || !ref_put(&t->ref)) {
        return;
    }
    spin_lock(&t->tg->siglock);
    sigpending_flush(t->tg, &t->pending, ~0ULL);
    spin_unlock(&t->tg->siglock);
    cred_put(t->vfs.cred);
    waitq_fini(&t->vfork_wait);
    tg_put(t->tg);
    cache_del(task_cache, t);
}

/*
 * Give t a tid (want_tid: exactly that one) and link it into its group and, if it is the first
 * thread, the group into its parent and process group (already set in tg). -EAGAIN when full.
 */
int task_publish(struct task *t, const s32 *want_tid)
{
    struct thread_group *tg = t->tg;
    int tid;

    if (kernel->nr_tasks >= kernel->max_tasks) {
        return -EAGAIN;
    }
    if (want_tid != NULL) {
        int err = idr_insert(&kernel->pids, t, (u32)*want_tid);

        if (err != 0) {
            return err;
        }
        tid = *want_tid;
    } else {
        tid = idr_alloc_cyclic(&kernel->pids, t, kernel->next_low_pid, PID_LIMIT);
        if (tid < 0) {
            return tid == -ENOSPC ? -EAGAIN : tid;
        }
    }
    task_get(t);
    t->tid = tid;
    spin_lock(&tg->siglock);
    if (TAILQ_EMPTY(&tg->threads)) {
        tg->tgid = tid;
        tg->leader = t;
    }
    TAILQ_INSERT_TAIL(&tg->threads, t, tg_link);
    t->state = TASK_NEW;
    spin_unlock(&tg->siglock);
    tg->nr_threads++;
    tg->nr_live++;
    kernel->nr_tasks++;
    kernel->total_forks++;
    return 0;
}

/* The tid is free again. The table's reference goes with it. */
void task_unpublish(struct task *t)
{
    struct thread_group *tg = t->tg;

    spin_lock(&tg->siglock);
    TAILQ_REMOVE(&tg->threads, t, tg_link);
    t->state = TASK_DEAD;
    spin_unlock(&tg->siglock);
    tg->nr_threads--;
    idr_remove(&kernel->pids, (u32)t->tid);
    kernel->nr_tasks--;
    task_put(t);
}

struct task *task_find_locked(s32 tid)
{
    return tid > 0 ? idr_find(&kernel->pids, (u32)tid) : NULL;
}

struct thread_group *tg_find_locked(s32 tgid)
{
    struct task *t = task_find_locked(tgid);

    return t != NULL && t->tg->tgid == tgid ? t->tg : NULL;
}

struct task *task_find(s32 tid)
{
    struct task *t;

    MUTEX_GUARD(&kernel->tasklist);
    t = task_find_locked(tid);
    return t != NULL ? task_get(t) : NULL;
}

struct thread_group *tg_find(s32 tgid)
{
    struct thread_group *tg;

    MUTEX_GUARD(&kernel->tasklist);
    tg = tg_find_locked(tgid);
    return tg != NULL ? tg_get(tg) : NULL;
}

struct task *task_next(s32 *tid)
{
    u32 id = (u32)*tid;
    struct task *t;

    MUTEX_GUARD(&kernel->tasklist);
    t = idr_next(&kernel->pids, &id);
    *tid = (s32)id;
    return t != NULL ? task_get(t) : NULL;
}

struct mm *task_mm_get(struct task *t)
{
    SPIN_GUARD(&t->mm_lock);
    return t->mm != NULL ? mm_get(t->mm) : NULL;
}

struct fdtable *task_fdtable_get(struct task *t)
{
    SPIN_GUARD(&t->vfs_lock);
    return t->vfs.fdt != NULL ? fdtable_get(t->vfs.fdt) : NULL;
}

struct fs_context *task_fs_get(struct task *t)
{
    SPIN_GUARD(&t->vfs_lock);
    return t->vfs.fs != NULL ? fs_context_get(t->vfs.fs) : NULL;
}

const struct cred *task_cred_get(struct task *t)
{
    SPIN_GUARD(&t->vfs_lock);
    return t->vfs.cred != NULL ? cred_get(t->vfs.cred) : NULL;
}

void task_set_cred(struct task *t, const struct cred *cred)
{
    const struct cred *old;

    spin_lock(&t->vfs_lock);
    old = t->vfs.cred;
    t->vfs.cred = cred;
    spin_unlock(&t->vfs_lock);
    cred_put(old);
}

u64 task_rlimit(struct task *t, int resource)
{
    SPIN_GUARD(&t->tg->rlimit_lock);
    return t->tg->rlimits[resource].rlim_cur;
}

void task_mm_limits(struct task *t, struct mm_limits *out)
{
    SPIN_GUARD(&t->tg->rlimit_lock);
    out->as = t->tg->rlimits[RLIMIT_AS].rlim_cur;
    out->data = t->tg->rlimits[RLIMIT_DATA].rlim_cur;
    out->stack = t->tg->rlimits[RLIMIT_STACK].rlim_cur;
    out->memlock = t->tg->rlimits[RLIMIT_MEMLOCK].rlim_cur;
    out->may_lock = cred_capable(t->vfs.cred, CAP_IPC_LOCK);
}
