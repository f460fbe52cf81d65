/* SPDX-License-Identifier: Apache-2.0 */
/* Calls without a better home: uname, limits, usage, sysinfo, prctl, getrandom, personality,
 * seccomp's refusal. */
#include "base/clock.h"
#include "base/heap.h"
#include "base/memfile.h"
#include "base/rand.h"
#include "base/uio.h"
#include "base/usermem.h"
#include "sentry/kernel/creds.h"
#include "sentry/kernel/namespace.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/signal.h"
#include "sentry/kernel/timer.h"
#include "sentry/syscalls/rusage.h"
#include "sentry/syscalls/syscalls.h"

#include <linux/capability.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

/* What the guest is told to run on. */
#define KERNEL_RELEASE "6.1.0"
#define KERNEL_VERSION "#1 SMP PREEMPT_DYNAMIC Pavise"

long sys_uname(struct task *t, uaddr ubuf)
{
    struct utsname u = {.sysname = "Linux",
                        .release = KERNEL_RELEASE,
                        .version = KERNEL_VERSION,
                        .machine = "x86_64"};

    spin_lock(&t->uts_ns->lock);
    memcpy(u.nodename, t->uts_ns->nodename, sizeof(u.nodename));
    memcpy(u.domainname, t->uts_ns->domainname, sizeof(u.domainname));
    spin_unlock(&t->uts_ns->lock);
    if ((t->personality & 0xff) == 8 /* PER_LINUX32 */) {
        strcpy(u.machine, "i686");
    }
    return copy_out(ubuf, &u, sizeof(u));
}

static long set_name(struct task *t, char *field, uaddr uname, int len)
{
    char buf[65] = {0};

    if (!cred_capable(t->vfs.cred, CAP_SYS_ADMIN)) {
        return -EPERM;
    }
    if (len < 0 || len > 64) {
        return -EINVAL;
    }
    if (copy_in(buf, uname, (size_t)len) != 0) {
        return -EFAULT;
    }
    spin_lock(&t->uts_ns->lock);
    memcpy(field, buf, sizeof(buf));
    spin_unlock(&t->uts_ns->lock);
    return 0;
}

long sys_sethostname(struct task *t, uaddr name, int len)
{
    return set_name(t, t->uts_ns->nodename, name, len);
}

long sys_setdomainname(struct task *t, uaddr name, int len)
{
    return set_name(t, t->uts_ns->domainname, name, len);
}

/* ---- limits ---- */

static int limit_change(struct task *t, struct task *o, u32 resource, const struct rlimit *new)
{
    struct thread_group *tg = o->tg;
    bool may_raise = cred_capable(t->vfs.cred, CAP_SYS_RESOURCE);

    if (new->rlim_cur > new->rlim_max || (resource == RLIMIT_NOFILE && new->rlim_max > 1048576 &&
                                          new->rlim_max != RLIM_INFINITY && !may_raise)) {
        return -EINVAL;
    }
    if (resource == RLIMIT_NOFILE && new->rlim_max > 1048576) {
        return -EPERM; /* above fs.nr_open */
    }
    spin_lock(&tg->rlimit_lock);
    if (new->rlim_max > tg->rlimits[resource].rlim_max && !may_raise) {
        spin_unlock(&tg->rlimit_lock);
        return -EPERM;
    }
    tg->rlimits[resource] = *new;
    spin_unlock(&tg->rlimit_lock);
    if (resource == RLIMIT_CPU) {
        timers_rlimit_cpu_changed(tg, new->rlim_cur);
    }
    if (resource == RLIMIT_FSIZE) {
        struct task *thread;

        MUTEX_GUARD(&kernel->tasklist);
        TAILQ_FOREACH (thread, &tg->threads, tg_link) {
            thread->vfs.fsize_limit = new->rlim_cur;
        }
    }
    return 0;
}

static int limit_do(struct task *t, struct task *o, u32 resource, uaddr unew, uaddr uold)
{
    struct rlimit new, old;
    int err = 0;

    if (unew != 0 && copy_in(&new, unew, sizeof(new)) != 0) {
        return -EFAULT;
    }
    spin_lock(&o->tg->rlimit_lock);
    old = o->tg->rlimits[resource];
    spin_unlock(&o->tg->rlimit_lock);
    if (unew != 0) {
        err = limit_change(t, o, resource, &new);
    }
    if (err == 0 && uold != 0) {
        err = copy_out(uold, &old, sizeof(old));
    }
    return err;
}

/* prlimit(2) on another: all six ids must match, or CAP_SYS_RESOURCE. */
static bool may_limit(struct task *t, struct task *o)
{
    const struct cred *c = t->vfs.cred, *oc;
    bool ok;

    if (t->tg == o->tg || cred_capable(c, CAP_SYS_RESOURCE)) {
        return true;
    }
    oc = task_cred_get(o);
    if (oc == NULL) {
        return false;
    }
    ok = c->uid == oc->uid && c->uid == oc->euid && c->uid == oc->suid && c->gid == oc->gid &&
         c->gid == oc->egid && c->gid == oc->sgid;
    cred_put(oc);
    return ok;
}

long sys_prlimit64(struct task *t, int pid, unsigned int resource, uaddr unew, uaddr uold)
{
    struct task *o;
    int err;

    if (resource >= RLIM_NLIMITS) {
        return -EINVAL;
    }
    o = pid == 0 ? task_get(t) : task_find(pid);
    if (o == NULL) {
        return -ESRCH;
    }
    err = may_limit(t, o) ? limit_do(t, o, resource, unew, uold) : -EPERM;
    task_put(o);
    return err;
}

long sys_getrlimit(struct task *t, unsigned int resource, uaddr rlim)
{
    if (resource >= RLIM_NLIMITS) {
        return -EINVAL;
    }
    return rlim == 0 ? -EFAULT : limit_do(t, t, resource, 0, rlim);
}

long sys_setrlimit(struct task *t, unsigned int resource, uaddr rlim)
{
    if (resource >= RLIM_NLIMITS) {
        return -EINVAL;
    }
    return rlim == 0 ? -EFAULT : limit_do(t, t, resource, rlim, 0);
}

/* ---- usage ---- */

int rusage_copy_out(uaddr uru, u64 utime, u64 stime, u64 maxrss, const struct rusage_counts *counts)
{
    struct rusage ru = {0};

    ru.ru_utime = ns_timeval(utime);
    ru.ru_stime = ns_timeval(stime);
    ru.ru_maxrss = (long)(maxrss / KiB);
    if (counts != NULL) {
        ru.ru_minflt = (long)counts->minflt;
        ru.ru_majflt = (long)counts->majflt;
        ru.ru_nvcsw = (long)counts->nvcsw;
        ru.ru_nivcsw = (long)counts->nivcsw;
    }
    return copy_out(uru, &ru, sizeof(ru));
}

static void count_thread(const struct task *t, struct rusage_counts *c)
{
    c->minflt += t->minflt;
    c->majflt += t->majflt;
    c->nvcsw += t->nvcsw;
    c->nivcsw += t->nivcsw;
}

long sys_getrusage(struct task *t, int who, uaddr ru)
{
    struct thread_group *tg = t->tg;
    struct rusage_counts counts = {0};
    struct mm_usage usage;
    struct task *o;
    u64 u, s, maxrss;

    mm_get_usage(t->mm, &usage);
    maxrss = max(tg->maxrss, usage.peak_rss);
    switch (who) {
    case RUSAGE_SELF:
        (void)tg_cpu_time(tg, &u, &s);
        spin_lock(&tg->siglock);
        TAILQ_FOREACH (o, &tg->threads, tg_link) {
            count_thread(o, &counts);
        }
        spin_unlock(&tg->siglock);
        break;
    case RUSAGE_THREAD:
        u = t->utime;
        s = t->stime;
        count_thread(t, &counts);
        break;
    case RUSAGE_CHILDREN:
        mutex_lock(&kernel->tasklist);
        u = tg->child_utime;
        s = tg->child_stime;
        maxrss = tg->child_maxrss;
        mutex_unlock(&kernel->tasklist);
        break;
    default:
        return -EINVAL;
    }
    return rusage_copy_out(ru, u, s, maxrss, &counts);
}

long sys_sysinfo(struct task *t, uaddr uinfo)
{
    struct sysinfo si = {.mem_unit = 1};
    u64 used = memfile_committed(memfile);

    (void)t;
    si.uptime = (long)((clock_monotonic() - kernel->boot_time_mono) / NSEC_PER_SEC);
    si.totalram = kernel->total_ram;
    si.freeram = kernel->total_ram > used ? kernel->total_ram - used : 0;
    si.sharedram = memfile_kind_bytes(memfile, MEMFILE_SHMEM);
    si.procs = (unsigned short)min(kernel->nr_tasks, 65535U);
    return copy_out(uinfo, &si, sizeof(si));
}

long sys_getrandom(struct task *t, uaddr buf, size_t count, unsigned int flags)
{
    u8 chunk[512];
    size_t done = 0;

    (void)t;
    if ((flags & ~(u32)(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE)) != 0 ||
        (flags & (GRND_RANDOM | GRND_INSECURE)) == (GRND_RANDOM | GRND_INSECURE)) {
        return -EINVAL;
    }
    count = min(count, (size_t)INT32_MAX);
    while (done < count) {
        size_t part = min(count - done, sizeof(chunk));
        ssize_t n;

        rand_bytes(chunk, part);
        n = copy_out_some(buf + done, chunk, part);
        if (n <= 0) {
            break;
        }
        done += (size_t)n;
        if (fiber_is_interrupted() && done >= 256) {
            break;
        }
    }
    return done == 0 && count > 0 ? -EFAULT : (long)done;
}

long sys_personality(struct task *t, unsigned long persona)
{
    u32 old = t->personality;

    if ((u32)persona != 0xffffffffU) {
        t->personality = (u32)persona;
    }
    return old;
}

/* ---- prctl ---- */

static long set_comm(struct task *t, uaddr uname)
{
    char name[TASK_COMM_LEN] = {0};
    ssize_t n = copy_in_str(name, uname, sizeof(name));

    if (n < 0 && n != -ENAMETOOLONG) {
        return n;
    }
    if (n == -ENAMETOOLONG && copy_in(name, uname, sizeof(name) - 1) != 0) {
        return -EFAULT;
    }
    spin_lock(&t->vfs_lock);
    memcpy(t->comm, name, sizeof(name));
    spin_unlock(&t->vfs_lock);
    return 0;
}

static long change_cred(struct task *t, void (*change)(struct cred *c, u64 arg), u64 arg)
{
    struct cred *c = cred_copy(t->vfs.cred);

    if (c == NULL) {
        return -ENOMEM;
    }
    change(c, arg);
    task_set_cred(t, c);
    return 0;
}

static void drop_bounding(struct cred *c, u64 cap)
{
    c->cap_bounding &= ~(1ULL << cap);
}

static void set_securebits(struct cred *c, u64 bits)
{
    c->securebits = (u32)bits;
}

static void set_nnp(struct cred *c, u64 unused)
{
    (void)unused;
    c->no_new_privs = true;
}

static void set_ambient(struct cred *c, u64 caps)
{
    c->cap_ambient = caps;
}

static long prctl_securebits(struct task *t, unsigned long bits)
{
    u32 old = t->vfs.cred->securebits;

    if (((old & SECURE_ALL_LOCKS) & (old ^ bits)) != 0 || (old & SECURE_ALL_LOCKS & ~bits) != 0 ||
        (bits & ~(SECURE_ALL_LOCKS | SECURE_ALL_BITS)) != 0 ||
        !cred_capable(t->vfs.cred, CAP_SETPCAP)) {
        return -EPERM;
    }
    return change_cred(t, set_securebits, bits);
}

static long prctl_ambient(struct task *t, unsigned long op, unsigned long cap)
{
    const struct cred *c = t->vfs.cred;
    u64 bit = cap < 64 ? 1ULL << cap : 0;

    if (op == PR_CAP_AMBIENT_CLEAR_ALL) {
        return change_cred(t, set_ambient, 0);
    }
    if ((bit & CAP_ALL) == 0) {
        return -EINVAL;
    }
    switch (op) {
    case PR_CAP_AMBIENT_IS_SET:
        return (c->cap_ambient & bit) != 0;
    case PR_CAP_AMBIENT_LOWER:
        return change_cred(t, set_ambient, c->cap_ambient & ~bit);
    case PR_CAP_AMBIENT_RAISE:
        if ((c->cap_permitted & c->cap_inheritable & bit) == 0 ||
            (c->securebits & SECBIT_NO_CAP_AMBIENT_RAISE) != 0) {
            return -EPERM;
        }
        return change_cred(t, set_ambient, c->cap_ambient | bit);
    default:
        return -EINVAL;
    }
}

static long prctl_caps(struct task *t, int option, unsigned long arg2, unsigned long arg3)
{
    const struct cred *c = t->vfs.cred;

    switch (option) {
    case PR_CAPBSET_READ:
        return arg2 > CAP_LAST_CAP ? -EINVAL : (long)((c->cap_bounding >> arg2) & 1);
    case PR_CAPBSET_DROP:
        if (!cred_capable(c, CAP_SETPCAP)) {
            return -EPERM;
        }
        return arg2 > CAP_LAST_CAP ? -EINVAL : change_cred(t, drop_bounding, arg2);
    case PR_GET_SECUREBITS:
        return c->securebits;
    case PR_SET_SECUREBITS:
        return prctl_securebits(t, arg2);
    case PR_GET_KEEPCAPS:
        return (c->securebits & SECBIT_KEEP_CAPS) != 0;
    case PR_SET_KEEPCAPS:
        if (arg2 > 1) {
            return -EINVAL;
        }
        if ((c->securebits & SECBIT_KEEP_CAPS_LOCKED) != 0) {
            return -EPERM;
        }
        return change_cred(t, set_securebits,
                           arg2 != 0 ? c->securebits | (u32)SECBIT_KEEP_CAPS
                                     : c->securebits & ~(u32)SECBIT_KEEP_CAPS);
    default:
        return prctl_ambient(t, arg2, arg3);
    }
}

static long int_out(uaddr at, int value)
{
    return copy_out(at, &value, sizeof(value));
}

static long prctl_process(struct task *t, int option, unsigned long arg2)
{
    struct thread_group *tg = t->tg;

    switch (option) {
    case PR_SET_PDEATHSIG:
        if (arg2 > ABI_NSIG) {
            return -EINVAL;
        }
        t->pdeath_signal = (int)arg2;
        return 0;
    case PR_GET_PDEATHSIG:
        return int_out(arg2, t->pdeath_signal);
    case PR_GET_DUMPABLE:
        return tg->dumpable;
    case PR_SET_DUMPABLE:
        if (arg2 > 1) {
            return -EINVAL;
        }
        tg->dumpable = (u32)arg2;
        return 0;
    case PR_SET_CHILD_SUBREAPER:
        tg->is_child_subreaper = arg2 != 0;
        return 0;
    case PR_GET_CHILD_SUBREAPER:
        return int_out(arg2, tg->is_child_subreaper);
    case PR_SET_TIMERSLACK:
        t->timer_slack = (s64)arg2 <= 0 ? 50000 : arg2;
        return 0;
    default:
        return (long)t->timer_slack;
    }
}

long sys_prctl(struct task *t, int option, unsigned long arg2, unsigned long arg3,
               unsigned long arg4, unsigned long arg5)
{
    switch (option) {
    case PR_SET_PDEATHSIG:
    case PR_GET_PDEATHSIG:
    case PR_GET_DUMPABLE:
    case PR_SET_DUMPABLE:
    case PR_SET_CHILD_SUBREAPER:
    case PR_GET_CHILD_SUBREAPER:
    case PR_SET_TIMERSLACK:
    case PR_GET_TIMERSLACK:
        return prctl_process(t, option, arg2);
    case PR_SET_NAME:
        return set_comm(t, arg2);
    case PR_GET_NAME:
        return copy_out(arg2, t->comm, sizeof(t->comm));
    case PR_SET_NO_NEW_PRIVS:
        return arg2 != 1 || arg3 != 0 || arg4 != 0 || arg5 != 0 ? -EINVAL
                                                                : change_cred(t, set_nnp, 0);
    case PR_GET_NO_NEW_PRIVS:
        return arg2 != 0 || arg3 != 0 || arg4 != 0 || arg5 != 0 ? -EINVAL
                                                                : t->vfs.cred->no_new_privs;
    case PR_CAPBSET_READ:
    case PR_CAPBSET_DROP:
    case PR_GET_SECUREBITS:
    case PR_SET_SECUREBITS:
    case PR_GET_KEEPCAPS:
    case PR_SET_KEEPCAPS:
    case PR_CAP_AMBIENT:
        return prctl_caps(t, option, arg2, arg3);
    case PR_GET_TIMING:
        return PR_TIMING_STATISTICAL;
    case PR_SET_TIMING:
        return arg2 == PR_TIMING_STATISTICAL ? 0 : -EINVAL;
    case PR_GET_TID_ADDRESS:
        return copy_out(arg2, &t->clear_child_tid, sizeof(t->clear_child_tid));
    default:
        return -EINVAL; /* as a kernel without the feature */
    }
}
