/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scheduling (sched(7)): affinity is kept and obeyed in what the guest is told (getcpu, /proc);
 * policies and priorities are checked, kept and reported as Linux does, but do not reach the host's
 * scheduler.
 */
#include "base/sched/fiber.h"
#include "base/usermem.h"
#include "sentry/kernel/signal.h"
#include "sentry/syscalls/syscalls.h"

#include <linux/capability.h>
#include <linux/ioprio.h>
#include <linux/membarrier.h>
#include <linux/sched.h>
#include <linux/sched/types.h>
#include <sys/resource.h>
#include <time.h>

#define POLICY_OTHER    0
#define POLICY_FIFO     1
#define POLICY_RR       2
#define POLICY_BATCH    3
#define POLICY_IDLE     5
#define POLICY_DEADLINE 6
#define RESET_ON_FORK   0x40000000

struct sched_param_abi {
    s32 priority;
};

static bool is_realtime(int policy)
{
    return policy == POLICY_FIFO || policy == POLICY_RR;
}

static bool policy_known(int policy)
{
    return policy == POLICY_OTHER || is_realtime(policy) || policy == POLICY_BATCH ||
           policy == POLICY_IDLE;
}

/* The thread `pid` (0: t), counted, or NULL with *err. */
static struct task *target_of(struct task *t, int pid, long *err)
{
    struct task *other;

    if (pid < 0) {
        *err = -EINVAL;
        return NULL;
    }
    other = pid == 0 ? task_get(t) : task_find(pid);
    *err = other == NULL ? -ESRCH : 0;
    return other;
}

/* May t change o's scheduling? Same effective user, or CAP_SYS_NICE. */
static bool may_change(struct task *t, struct task *o)
{
    const struct cred *c = t->vfs.cred, *oc = task_cred_get(o);
    bool ok =
        oc == NULL || c->euid == oc->euid || c->euid == oc->uid || cred_capable(c, CAP_SYS_NICE);

    if (oc != NULL) {
        cred_put(oc);
    }
    return ok;
}

long sys_sched_yield(struct task *t)
{
    (void)t;
    fiber_yield();
    return 0;
}

long sys_sched_get_priority_max(struct task *t, int policy)
{
    (void)t;
    return is_realtime(policy)                                 ? 99
           : policy_known(policy) || policy == POLICY_DEADLINE ? 0
                                                               : -EINVAL;
}

long sys_sched_get_priority_min(struct task *t, int policy)
{
    (void)t;
    return is_realtime(policy)                                 ? 1
           : policy_known(policy) || policy == POLICY_DEADLINE ? 0
                                                               : -EINVAL;
}

static long set_policy(struct task *t, int pid, int policy, int priority, int nice)
{
    bool reset = (policy & RESET_ON_FORK) != 0;
    struct task *o;
    long err;

    policy &= ~RESET_ON_FORK;
    if (!policy_known(policy) ||
        (is_realtime(policy) ? priority < 1 || priority > 99 : priority != 0)) {
        return -EINVAL;
    }
    o = target_of(t, pid, &err);
    if (o == NULL) {
        return err;
    }
    if (!may_change(t, o)) {
        err = -EPERM;
    } else if (is_realtime(policy) && !cred_capable(t->vfs.cred, CAP_SYS_NICE) &&
               task_rlimit(t, RLIMIT_RTPRIO) < (u64)priority) {
        err = -EPERM;
    } else {
        spin_lock(&o->vfs_lock);
        o->sched_policy = policy | (reset ? RESET_ON_FORK : 0);
        o->sched_priority = priority;
        if (nice != INT32_MAX) {
            o->nice = nice;
        }
        spin_unlock(&o->vfs_lock);
    }
    task_put(o);
    return err;
}

long sys_sched_setscheduler(struct task *t, int pid, int policy, uaddr uparam)
{
    struct sched_param_abi p;

    if (uparam == 0 || pid < 0 || policy < 0) {
        return -EINVAL;
    }
    if (copy_in(&p, uparam, sizeof(p)) != 0) {
        return -EFAULT;
    }
    return set_policy(t, pid, policy, p.priority, INT32_MAX);
}

long sys_sched_setparam(struct task *t, int pid, uaddr uparam)
{
    struct sched_param_abi p;
    struct task *o;
    int policy;
    long err;

    if (uparam == 0 || pid < 0) {
        return -EINVAL;
    }
    if (copy_in(&p, uparam, sizeof(p)) != 0) {
        return -EFAULT;
    }
    o = target_of(t, pid, &err);
    if (o == NULL) {
        return err;
    }
    policy = o->sched_policy;
    task_put(o);
    return set_policy(t, pid, policy, p.priority, INT32_MAX);
}

long sys_sched_getscheduler(struct task *t, int pid)
{
    long err;
    struct task *o = target_of(t, pid, &err);

    if (o == NULL) {
        return err;
    }
    err = o->sched_policy;
    task_put(o);
    return err;
}

long sys_sched_getparam(struct task *t, int pid, uaddr uparam)
{
    struct sched_param_abi p;
    struct task *o;
    long err;

    if (uparam == 0) {
        return -EINVAL;
    }
    o = target_of(t, pid, &err);
    if (o == NULL) {
        return err;
    }
    p.priority = is_realtime(o->sched_policy & ~RESET_ON_FORK) ? o->sched_priority : 0;
    task_put(o);
    return copy_out(uparam, &p, sizeof(p));
}

long sys_sched_rr_get_interval(struct task *t, int pid, uaddr uts)
{
    struct timespec ts = {0, 0};
    long err;
    struct task *o = target_of(t, pid, &err);

    if (o == NULL) {
        return err;
    }
    if ((o->sched_policy & ~RESET_ON_FORK) == POLICY_RR) {
        ts.tv_nsec = 100000000;
    } else if (!is_realtime(o->sched_policy & ~RESET_ON_FORK)) {
        ts.tv_nsec = 3000000;
    }
    task_put(o);
    return copy_out(uts, &ts, sizeof(ts));
}

long sys_sched_setattr(struct task *t, int pid, uaddr uattr, unsigned int flags)
{
    struct sched_attr a = {0};
    u32 size;
    int policy;

    if (uattr == 0 || pid < 0 || flags != 0) {
        return -EINVAL;
    }
    if (copy_in(&size, uattr, sizeof(size)) != 0) {
        return -EFAULT;
    }
    size = size == 0 ? SCHED_ATTR_SIZE_VER0 : size;
    if (size < SCHED_ATTR_SIZE_VER0 || size > PAGE_SIZE) {
        return -E2BIG;
    }
    if (copy_in(&a, uattr, min((size_t)size, sizeof(a))) != 0) {
        return -EFAULT;
    }
    policy = (int)a.sched_policy;
    if (policy < 0 || policy == POLICY_DEADLINE) {
        return policy == POLICY_DEADLINE ? -EPERM : -EINVAL;
    }
    if ((a.sched_flags & SCHED_FLAG_RESET_ON_FORK) != 0) {
        policy |= RESET_ON_FORK;
    }
    return set_policy(t, pid, policy, (int)a.sched_priority,
                      is_realtime((int)a.sched_policy) ? INT32_MAX
                                                       : max(-20, min(19, (int)a.sched_nice)));
}

long sys_sched_getattr(struct task *t, int pid, uaddr uattr, unsigned int size, unsigned int flags)
{
    struct sched_attr a = {.size = SCHED_ATTR_SIZE_VER1};
    struct task *o;
    long err;

    if (uattr == 0 || pid < 0 || size < SCHED_ATTR_SIZE_VER0 || size > PAGE_SIZE || flags != 0) {
        return -EINVAL;
    }
    o = target_of(t, pid, &err);
    if (o == NULL) {
        return err;
    }
    a.sched_policy = (u32)o->sched_policy & ~(u32)RESET_ON_FORK;
    a.sched_flags = (o->sched_policy & RESET_ON_FORK) != 0 ? SCHED_FLAG_RESET_ON_FORK : 0;
    a.sched_priority = is_realtime((int)a.sched_policy) ? (u32)o->sched_priority : 0;
    a.sched_nice = is_realtime((int)a.sched_policy) ? 0 : o->nice;
    a.sched_util_max = 1024;
    task_put(o);
    a.size = min(size, a.size);
    return copy_out(uattr, &a, a.size);
}

/* ---- affinity ---- */

long sys_sched_setaffinity(struct task *t, int pid, unsigned int len, uaddr umask)
{
    u64 mask[ARRAY_SIZE(t->cpu_affinity)] = {0};
    struct task *o;
    bool any = false;
    long err;

    if (copy_in(mask, umask, min((size_t)len, sizeof(mask))) != 0) {
        return -EFAULT;
    }
    for (u32 i = 0; i < ARRAY_SIZE(mask); i++) {
        u32 first = i * 64;
        u64 valid = kernel->nr_cpus >= first + 64 ? ~0ULL
                    : kernel->nr_cpus > first     ? (1ULL << (kernel->nr_cpus - first)) - 1
                                                  : 0;

        mask[i] &= valid;
        any = any || mask[i] != 0;
    }
    o = target_of(t, pid, &err);
    if (o == NULL) {
        return err;
    }
    if (!may_change(t, o)) {
        err = -EPERM;
    } else if (!any) {
        err = -EINVAL;
    } else {
        spin_lock(&o->vfs_lock);
        memcpy(o->cpu_affinity, mask, sizeof(mask));
        spin_unlock(&o->vfs_lock);
        o->rseq_refresh = true;
    }
    task_put(o);
    return err;
}

long sys_sched_getaffinity(struct task *t, int pid, unsigned int len, uaddr umask)
{
    u64 mask[ARRAY_SIZE(t->cpu_affinity)];
    size_t size = ALIGN_UP((kernel->nr_cpus + 7) / 8, 8U);
    struct task *o;
    long err;

    if ((len & 7) != 0 || len * 8UL < kernel->nr_cpus) {
        return -EINVAL;
    }
    if (pid < 0) {
        return -ESRCH;
    }
    o = target_of(t, pid, &err);
    if (o == NULL) {
        return err;
    }
    spin_lock(&o->vfs_lock);
    memcpy(mask, o->cpu_affinity, sizeof(mask));
    spin_unlock(&o->vfs_lock);
    task_put(o);
    size = min(size, (size_t)len);
    return copy_out(umask, mask, size) != 0 ? -EFAULT : (long)size;
}

long sys_getcpu(struct task *t, uaddr ucpu, uaddr unode, uaddr unused)
{
    u32 cpu = task_cpu(t), node = 0;

    (void)unused;
    if ((ucpu != 0 && copy_out(ucpu, &cpu, sizeof(cpu)) != 0) ||
        (unode != 0 && copy_out(unode, &node, sizeof(node)) != 0)) {
        return -EFAULT;
    }
    return 0;
}

/* ---- nice ---- */

typedef long (*visit_fn)(struct task *t, struct task *o, int arg, long ret);

/* Call fn for every thread that (which, who) names; the last result, -ESRCH for none. */
static long for_each_target(struct task *t, int which, int who, visit_fn fn, int arg)
{
    long ret = -ESRCH;
    struct task *o;
    u32 id = 1;

    MUTEX_GUARD(&kernel->tasklist);
    for (; (o = idr_next(&kernel->pids, &id)) != NULL; id++) {
        bool match = false;

        if (o->tg == kernel->init) {
            continue;
        }
        switch (which) {
        case PRIO_PROCESS:
            match = who == 0 ? o == t : o->tid == who;
            break;
        case PRIO_PGRP:
            match =
                o->tg->pgrp != NULL && o->tg->pgrp->pgid == (who == 0 ? t->tg->pgrp->pgid : who);
            break;
        default:
            match =
                o->vfs.cred != NULL && o->vfs.cred->uid == (who == 0 ? t->vfs.cred->uid : (u32)who);
        }
        if (match) {
            ret = fn(t, o, arg, ret);
        }
    }
    return ret;
}

static long best_nice(struct task *t, struct task *o, int arg, long ret)
{
    long value = 20 - o->nice;

    (void)t;
    (void)arg;
    return value > ret ? value : ret;
}

long sys_getpriority(struct task *t, int which, int who)
{
    return which < PRIO_PROCESS || which > PRIO_USER ? -EINVAL
                                                     : for_each_target(t, which, who, best_nice, 0);
}

static long set_nice(struct task *t, struct task *o, int nice, long ret)
{
    if (!may_change(t, o)) {
        return -EPERM;
    }
    if (nice < o->nice && !cred_capable(t->vfs.cred, CAP_SYS_NICE) &&
        20 - nice > (int)min(task_rlimit(t, RLIMIT_NICE), 40UL)) {
        return -EACCES;
    }
    o->nice = nice;
    return ret == -ESRCH ? 0 : ret;
}

long sys_setpriority(struct task *t, int which, int who, int prio)
{
    if (which < PRIO_PROCESS || which > PRIO_USER) {
        return -EINVAL;
    }
    return for_each_target(t, which, who, set_nice, max(-20, min(19, prio)));
}

/* ---- membarrier ---- */

/*
 * A barrier on every running thread of the process: each is made to come back to its kernel, which
 * is a full barrier on its CPU (membarrier(2)). Registration is remembered because the commands
 * fail without it.
 */
#define MEMBARRIER_KNOWN                                                                           \
    (MEMBARRIER_CMD_GLOBAL | MEMBARRIER_CMD_PRIVATE_EXPEDITED |                                    \
     MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED | MEMBARRIER_CMD_GLOBAL_EXPEDITED |                 \
     MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED | MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE |       \
     MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE)

static void interrupt_group(struct thread_group *tg)
{
    struct task *o;

    SPIN_GUARD(&tg->siglock);
    TAILQ_FOREACH (o, &tg->threads, tg_link) {
        if (o->state == TASK_RUNNING && o->pctx != NULL) {
            platform->context_interrupt(o->pctx);
        }
    }
}

static void interrupt_everybody(void)
{
    struct task *o;
    u32 id = 1;

    MUTEX_GUARD(&kernel->tasklist);
    for (; (o = idr_next(&kernel->pids, &id)) != NULL; id++) {
        if (o == o->tg->leader && o->tg != kernel->init) {
            interrupt_group(o->tg);
        }
    }
}

long sys_membarrier(struct task *t, int cmd, unsigned int flags, int cpu)
{
    (void)cpu;
    if (flags != 0) {
        return -EINVAL;
    }
    switch (cmd) {
    case MEMBARRIER_CMD_QUERY:
        return MEMBARRIER_KNOWN;
    case MEMBARRIER_CMD_GLOBAL:
    case MEMBARRIER_CMD_GLOBAL_EXPEDITED:
        interrupt_everybody();
        return 0;
    case MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED:
    case MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED:
    case MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE:
        t->tg->membarrier_registered |= (u32)cmd;
        return 0;
    case MEMBARRIER_CMD_PRIVATE_EXPEDITED:
    case MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE:
        if ((t->tg->membarrier_registered & ((u32)cmd << 1)) == 0) {
            return -EPERM;
        }
        interrupt_group(t->tg);
        return 0;
    default:
        return -EINVAL;
    }
}

/* ---- I/O priority ---- */

long sys_ioprio_get(struct task *t, int which, int who)
{
    struct task *o;

    if (which < IOPRIO_WHO_PROCESS || which > IOPRIO_WHO_USER) {
        return -EINVAL;
    }
    if (which != IOPRIO_WHO_PROCESS) {
        return t->ioprio;
    }
    o = who == 0 ? task_get(t) : task_find(who);
    if (o == NULL) {
        return -ESRCH;
    }
    who = o->ioprio;
    task_put(o);
    return who;
}

long sys_ioprio_set(struct task *t, int which, int who, int ioprio)
{
    int class = IOPRIO_PRIO_CLASS(ioprio), data = IOPRIO_PRIO_DATA(ioprio);
    struct task *o;

    if (which < IOPRIO_WHO_PROCESS || which > IOPRIO_WHO_USER || class > IOPRIO_CLASS_IDLE ||
        data >= 8 || (class == IOPRIO_CLASS_NONE && data != 0)) {
        return -EINVAL;
    }
    if (class == IOPRIO_CLASS_RT && !cred_capable(t->vfs.cred, CAP_SYS_ADMIN)) {
        return -EPERM;
    }
    o = which != IOPRIO_WHO_PROCESS || who == 0 ? task_get(t) : task_find(who);
    if (o == NULL) {
        return -ESRCH;
    }
    o->ioprio = ioprio;
    task_put(o);
    return 0;
}
