/* SPDX-License-Identifier: Apache-2.0 */
/* Signals: sigaction, masks, kill and kin, sigtimedwait, sigaltstack, sigreturn (signal(7)). */
#include "sentry/kernel/signal.h"
#include "base/clock.h"
#include "base/usermem.h"
#include "sentry/kernel/pidfd.h"
#include "sentry/kernel/process.h"
#include "sentry/kernel/signalfd.h"
#include "sentry/kernel/timer.h"
#include "sentry/syscalls/syscalls.h"
#include "vfs/fdtable.h"

#define SA_KNOWN                                                                                   \
    (SA_NOCLDSTOP | SA_NOCLDWAIT | SA_SIGINFO | SA_ONSTACK | SA_RESTART | SA_NODEFER |             \
     SA_RESETHAND | 0x04000000UL)

static bool sig_valid(int sig)
{
    return sig >= 1 && sig <= ABI_NSIG;
}

static int mask_in(sigmask_t *out, uaddr set, size_t size)
{
    if (size != sizeof(*out)) {
        return -EINVAL;
    }
    return copy_in(out, set, sizeof(*out));
}

long sys_rt_sigaction(struct task *t, int sig, uaddr uact, uaddr uold, size_t size)
{
    struct thread_group *tg = t->tg;
    struct abi_sigaction act, old;

    if (size != sizeof(sigmask_t) || !sig_valid(sig)) {
        return -EINVAL;
    }
    if (uact != 0 && copy_in(&act, uact, sizeof(act)) != 0) {
        return -EFAULT;
    }
    if (uact != 0 && (sig == SIGKILL || sig == SIGSTOP)) {
        return -EINVAL;
    }
    spin_lock(&tg->siglock);
    old = tg->sighand->action[sig - 1];
    if (uact != 0) {
        act.mask &= ~SIGMASK_KILL_STOP;
        act.flags &= SA_KNOWN | 0x400; /* SA_UNSUPPORTED and unknown bits read back as clear */
        act.flags &= ~0x400UL;
        tg->sighand->action[sig - 1] = act;
        if (signal_is_ignored(t, sig)) { /* POSIX: pending instances are discarded */
            struct task *other;

            sigpending_flush(tg, &tg->shared_pending, SIG_BIT(sig));
            TAILQ_FOREACH (other, &tg->threads, tg_link) {
                sigpending_flush(tg, &other->pending, SIG_BIT(sig));
            }
        }
    }
    spin_unlock(&tg->siglock);
    return uold != 0 ? copy_out(uold, &old, sizeof(old)) : 0;
}

long sys_rt_sigprocmask(struct task *t, int how, uaddr uset, uaddr uold, size_t size)
{
    sigmask_t old = t->blocked, set;

    if (size != sizeof(set)) {
        return -EINVAL;
    }
    if (uset != 0) {
        if (copy_in(&set, uset, sizeof(set)) != 0) {
            return -EFAULT;
        }
        switch (how) {
        case SIG_BLOCK:
            set |= old;
            break;
        case SIG_UNBLOCK:
            set = old & ~set;
            break;
        case SIG_SETMASK:
            break;
        default:
            return -EINVAL;
        }
        if (set != old) {
            task_set_blocked(t, set);
        }
    }
    return uold != 0 ? copy_out(uold, &old, sizeof(old)) : 0;
}

long sys_rt_sigpending(struct task *t, uaddr set, size_t size)
{
    sigmask_t pending;

    if (size > sizeof(pending)) {
        return -EINVAL;
    }
    spin_lock(&t->tg->siglock);
    pending = signal_pending_set(t) & t->blocked;
    spin_unlock(&t->tg->siglock);
    return copy_out(set, &pending, size);
}

static long wait_for_signal(void)
{
    while (fiber_park(PARK_INTERRUPTIBLE, CLOCK_NEVER) == 0) {
    }
    return -ERESTARTNOHAND;
}

long sys_rt_sigsuspend(struct task *t, uaddr umask, size_t size)
{
    sigmask_t mask;
    int err = mask_in(&mask, umask, size);

    if (err != 0) {
        return err;
    }
    task_set_temp_mask(t, mask);
    return wait_for_signal();
}

long sys_pause(struct task *t)
{
    (void)t;
    return wait_for_signal();
}

long sys_rt_sigreturn(struct task *t)
{
    struct abi_siginfo info = {.si_signo = SIGSEGV, .si_code = SI_KERNEL};

    if (sigframe_pop(t) != 0) {
        signal_force(t, &info);
    }
    t->syscall_nr = -1; /* not a call to restart */
    return (long)task_regs(t)->rax;
}

long sys_sigaltstack(struct task *t, uaddr uss, uaddr uold)
{
    struct abi_stack ss, old = t->altstack;
    u64 sp = task_regs(t)->rsp;
    bool on = old.ss_size != 0 && sp > old.ss_sp && sp - old.ss_sp <= old.ss_size &&
              ((u32)old.ss_flags & SS_AUTODISARM_FLAG) == 0;

    if (uss != 0 && copy_in(&ss, uss, sizeof(ss)) != 0) {
        return -EFAULT;
    }
    if (uss != 0) {
        u32 mode = (u32)ss.ss_flags & ~SS_AUTODISARM_FLAG;

        if (on) {
            return -EPERM;
        }
        if (mode != SS_DISABLE && mode != SS_ONSTACK && mode != 0) {
            return -EINVAL;
        }
        if (mode == SS_DISABLE) {
            ss.ss_sp = 0;
            ss.ss_size = 0;
        } else if (ss.ss_size < 2048) {
            return -ENOMEM;
        }
        t->altstack = ss;
    }
    old.ss_flags = (s32)(((u32)old.ss_flags & SS_AUTODISARM_FLAG) | (old.ss_size == 0 ? SS_DISABLE
                                                                     : on             ? SS_ONSTACK
                                                                                      : 0));
    old.pad = 0;
    return uold != 0 ? copy_out(uold, &old, sizeof(old)) : 0;
}

/* ---- sending ---- */

static void info_from_user(struct task *t, struct abi_siginfo *info, int sig, int code)
{
    memset(info, 0, sizeof(*info));
    info->si_signo = sig;
    info->si_code = code;
    info->u.kill.pid = t->tg->tgid;
    info->u.kill.uid = t->vfs.cred->uid;
}

long sys_kill(struct task *t, int pid, int sig)
{
    struct abi_siginfo info;

    if (sig < 0 || sig > ABI_NSIG) {
        return -EINVAL;
    }
    info_from_user(t, &info, sig, SI_USER);
    return process_kill(t, pid, &info);
}

/* To one thread; tgid 0: whatever group it is in. */
static long send_to_thread(struct task *t, int tgid, int tid, const struct abi_siginfo *info)
{
    struct task *target;
    long err = -ESRCH;

    if (tid <= 0 || tgid < 0) {
        return -EINVAL;
    }
    if (info->si_signo < 0 || info->si_signo > ABI_NSIG) {
        return -EINVAL;
    }
    target = task_find(tid);
    if (target != NULL && (tgid == 0 || target->tg->tgid == tgid)) {
        err = signal_may_send(t, target, info->si_signo);
        if (err == 0 && info->si_signo != 0) {
            err = signal_send_task(target, info);
        }
    }
    task_put(target);
    return err;
}

long sys_tkill(struct task *t, int tid, int sig)
{
    struct abi_siginfo info;

    info_from_user(t, &info, sig, SI_TKILL);
    return send_to_thread(t, 0, tid, &info);
}

long sys_tgkill(struct task *t, int tgid, int tid, int sig)
{
    struct abi_siginfo info;

    if (tgid <= 0) {
        return -EINVAL;
    }
    info_from_user(t, &info, sig, SI_TKILL);
    return send_to_thread(t, tgid, tid, &info);
}

/* Only the kernel and kill(2) may say they are the kernel or kill(2), except to oneself. */
static int queueinfo_in(struct task *t, int to, int sig, uaddr uinfo, struct abi_siginfo *info)
{
    if (copy_in(info, uinfo, sizeof(*info)) != 0) {
        return -EFAULT;
    }
    info->si_signo = sig;
    if ((info->si_code >= 0 || info->si_code == SI_TKILL) && to != t->tg->tgid) {
        return -EPERM;
    }
    return 0;
}

long sys_rt_sigqueueinfo(struct task *t, int pid, int sig, uaddr uinfo)
{
    struct abi_siginfo info;
    int err = queueinfo_in(t, pid, sig, uinfo, &info);

    if (err != 0) {
        return err;
    }
    if (sig < 0 || sig > ABI_NSIG) {
        return -EINVAL;
    }
    if (pid <= 0) {
        return -ESRCH;
    }
    return process_kill(t, pid, &info);
}

long sys_rt_tgsigqueueinfo(struct task *t, int tgid, int tid, int sig, uaddr uinfo)
{
    struct abi_siginfo info;
    int err = queueinfo_in(t, tgid, sig, uinfo, &info);

    if (err != 0) {
        return err;
    }
    return tgid <= 0 ? -EINVAL : send_to_thread(t, tgid, tid, &info);
}

long sys_pidfd_send_signal(struct task *t, int pidfd, int sig, uaddr uinfo, unsigned int flags)
{
    AUTOPUT_FILE f = fd_get(t->vfs.fdt, pidfd);
    struct thread_group *tg = f != NULL ? pidfd_tg(f) : NULL;
    struct abi_siginfo info;
    long err = 0;

    if (flags != 0) {
        err = -EINVAL;
    } else if (tg == NULL) {
        err = -EBADF;
    } else if (uinfo != 0) {
        err = queueinfo_in(t, tg->tgid, sig, uinfo, &info);
        if (err == 0 && copy_in(&info, uinfo, sizeof(info)) == 0 && info.si_signo != sig) {
            err = -EINVAL;
        }
    } else {
        info_from_user(t, &info, sig, SI_USER);
    }
    if (err == 0 && (sig < 0 || sig > ABI_NSIG)) {
        err = -EINVAL;
    }
    if (err == 0) {
        err = tg->dead ? -ESRCH : process_kill(t, tg->tgid, &info);
    }
    tg_put(tg);
    return err;
}

/* ---- sigtimedwait ---- */

static int dequeue_wanted(struct task *t, sigmask_t want, struct abi_siginfo *info)
{
    SPIN_GUARD(&t->tg->siglock);
    return signal_dequeue(t, want, info);
}

static int take_or_wait(struct task *t, sigmask_t want, u64 deadline, struct abi_siginfo *info)
{
    int sig = dequeue_wanted(t, want, info), err = 0;

    if (sig != 0 || deadline == 0) {
        return sig != 0 ? sig : -EAGAIN;
    }
    spin_lock(&t->tg->siglock);
    t->sigwait = want;
    spin_unlock(&t->tg->siglock);
    do {
        sig = dequeue_wanted(t, want, info);
        if (sig == 0) {
            err = fiber_park(PARK_INTERRUPTIBLE, deadline);
            sig = dequeue_wanted(t, want, info);
        }
    } while (sig == 0 && err == 0);
    spin_lock(&t->tg->siglock);
    t->sigwait = 0;
    fiber_clear_interrupt();
    task_recalc_sigpending(t);
    spin_unlock(&t->tg->siglock);
    if (sig != 0) {
        return sig;
    }
    return err == -ETIMEDOUT ? -EAGAIN : -EINTR;
}

long sys_rt_sigtimedwait(struct task *t, uaddr uset, uaddr uinfo, uaddr utimeout, size_t size)
{
    struct abi_siginfo info;
    struct timespec ts;
    sigmask_t want;
    u64 deadline = CLOCK_NEVER;
    int err = mask_in(&want, uset, size), sig;

    if (err != 0) {
        return err;
    }
    if (utimeout != 0) {
        if (copy_in(&ts, utimeout, sizeof(ts)) != 0) {
            return -EFAULT;
        }
        if (ts.tv_sec < 0 || ts.tv_nsec < 0 || ts.tv_nsec >= (long)NSEC_PER_SEC) {
            return -EINVAL;
        }
        deadline = ts.tv_sec == 0 && ts.tv_nsec == 0 ? 0 : clock_deadline(&ts);
    }
    want &= ~SIGMASK_KILL_STOP;
    sig = take_or_wait(t, want, deadline, &info);
    if (sig > 0) {
        if (info.si_code == SI_TIMER) {
            info.u.timer.overrun = posix_timer_delivered(t->tg, info.u.timer.tid);
        }
        if (uinfo != 0 && copy_out(uinfo, &info, sizeof(info)) != 0) {
            return -EFAULT;
        }
    }
    return sig;
}

long sys_restart_syscall(struct task *t)
{
    long (*fn)(struct task *) = t->restart.fn;

    t->restart.fn = NULL;
    return fn != NULL ? fn(t) : -EINTR;
}

/* ---- signalfd ---- */

static long signalfd_do(struct task *t, int fd, uaddr umask, size_t size, u32 flags)
{
    sigmask_t mask;
    struct file *f;
    int err = mask_in(&mask, umask, size);

    if (err == 0 && (flags & ~(u32)(O_CLOEXEC | O_NONBLOCK)) != 0) {
        err = -EINVAL;
    }
    if (err != 0) {
        return err;
    }
    mask &= ~SIGMASK_KILL_STOP;
    if (fd == -1) {
        f = signalfd_new(mask, flags & O_NONBLOCK, t->vfs.cred);
        if (IS_ERR(f)) {
            return PTR_ERR(f);
        }
        return fd_install(t->vfs.fdt, f, 0, task_rlimit(t, RLIMIT_NOFILE),
                          (flags & O_CLOEXEC) != 0);
    }
    f = fd_get(t->vfs.fdt, fd);
    if (f == NULL) {
        return -EBADF;
    }
    err = signalfd_set_mask(f, mask);
    file_put(f);
    return err != 0 ? err : fd;
}

long sys_signalfd(struct task *t, int fd, uaddr mask, size_t size)
{
    return signalfd_do(t, fd, mask, size, 0);
}

long sys_signalfd4(struct task *t, int fd, uaddr mask, size_t size, int flags)
{
    return signalfd_do(t, fd, mask, size, (u32)flags);
}
