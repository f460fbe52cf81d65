/* SPDX-License-Identifier: Apache-2.0 */
/* Processes: clone, fork, execve, exit, wait4, pidfds, unshare, rseq. Decode and check; the acts
 * are in sentry/kernel. */
#include "sentry/kernel/process.h"
#include "base/heap.h"
#include "base/usermem.h"
#include "sentry/kernel/namespace.h"
#include "sentry/kernel/pidfd.h"
#include "sentry/kernel/task.h"
#include "sentry/kernel/wait.h"
#include "sentry/syscalls/rusage.h"
#include "sentry/syscalls/syscalls.h"
#include "vfs/fdtable.h"
#include "vfs/namei.h"

#include <asm/prctl.h>
#include <linux/rseq.h>
#include <linux/sched.h>
#include <linux/wait.h>

/* ---- new tasks ---- */

long sys_clone(struct task *t, unsigned long flags, uaddr stack, uaddr parent_tid, uaddr child_tid,
               uaddr tls)
{
    struct clone_args_k args = {
        .flags = flags & 0xffffff00U,
        .exit_signal = (s32)(flags & CSIGNAL),
        .stack = stack,
        .tls = tls,
        .parent_tid = parent_tid,
        .child_tid = child_tid,
        .pidfd = parent_tid,
    };

    if ((args.flags & CLONE_PIDFD) != 0 && (args.flags & CLONE_PARENT_SETTID) != 0) {
        return -EINVAL;
    }
    return task_clone(t, &args);
}

long sys_fork(struct task *t)
{
    struct clone_args_k args = {.exit_signal = SIGCHLD};

    return task_clone(t, &args);
}

long sys_vfork(struct task *t)
{
    struct clone_args_k args = {.flags = CLONE_VM | CLONE_VFORK, .exit_signal = SIGCHLD};

    return task_clone(t, &args);
}

/* A struct of the guest that may be longer than ours: what is behind must be zero (-E2BIG). */
static int copy_in_sized(void *dst, size_t known, uaddr src, size_t size)
{
    u8 extra[64];

    if (copy_in(dst, src, min(size, known)) != 0) {
        return -EFAULT;
    }
    for (size_t at = known; at < size;) {
        size_t n = min(size - at, sizeof(extra));

        if (copy_in(extra, src + at, n) != 0) {
            return -EFAULT;
        }
        for (size_t i = 0; i < n; i++) {
            if (extra[i] != 0) {
                return -E2BIG;
            }
        }
        at += n;
    }
    return 0;
}

long sys_clone3(struct task *t, uaddr uargs, size_t size)
{
    struct clone_args a = {0};
    struct clone_args_k args;
    int err;

    if (size > PAGE_SIZE) {
        return -E2BIG;
    }
    if (size < CLONE_ARGS_SIZE_VER0) {
        return -EINVAL;
    }
    err = copy_in_sized(&a, sizeof(a), uargs, size);
    if (err != 0) {
        return err;
    }
    if ((a.flags & (CLONE_DETACHED | CSIGNAL)) != 0 || a.exit_signal > ABI_NSIG ||
        (a.flags & ~(0xffffff00UL | CLONE_CLEAR_SIGHAND | CLONE_INTO_CGROUP | CLONE_NEWTIME)) !=
            0) {
        return -EINVAL;
    }
    if ((a.stack == 0) != (a.stack_size == 0) || (a.flags & CLONE_INTO_CGROUP) != 0 ||
        ((a.flags & (CLONE_THREAD | CLONE_PARENT)) != 0 && a.exit_signal != 0)) {
        return -EINVAL;
    }
    if (a.set_tid_size > 32 || (a.set_tid == 0) != (a.set_tid_size == 0)) {
        return -EINVAL;
    }
    args = (struct clone_args_k){
        .flags = a.flags,
        .exit_signal = (s32)a.exit_signal,
        .stack = a.stack + a.stack_size,
        .tls = a.tls,
        .parent_tid = a.parent_tid,
        .child_tid = a.child_tid,
        .pidfd = a.pidfd,
        .set_tid = a.set_tid,
        .set_tid_size = (u32)a.set_tid_size,
    };
    return task_clone(t, &args);
}

/* ---- exec, exit ---- */

static long exec_at(struct task *t, int dirfd, uaddr upath, uaddr argv, uaddr envp, u32 flags)
{
    char *path = heap_alloc(PATH_LEN_MAX);
    long ret;

    if (path == NULL) {
        return -ENOMEM;
    }
    ret = copy_in_str(path, upath, PATH_LEN_MAX);
    if (ret >= 0) {
        ret = task_execve(t, dirfd, path, argv, envp, flags);
    }
    heap_free(path);
    return ret;
}

long sys_execve(struct task *t, uaddr name, uaddr argv, uaddr envp)
{
    return exec_at(t, AT_FDCWD, name, argv, envp, 0);
}

long sys_execveat(struct task *t, int dirfd, uaddr name, uaddr argv, uaddr envp, int flags)
{
    if ((flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)) != 0) {
        return -EINVAL;
    }
    return exec_at(t, dirfd, name, argv, envp, (u32)flags);
}

long sys_exit(struct task *t, int status)
{
    task_exit(t, (status & 0xff) << 8);
}

long sys_exit_group(struct task *t, int status)
{
    task_exit_group(t, (status & 0xff) << 8);
}

long sys_set_tid_address(struct task *t, uaddr tidptr)
{
    t->clear_child_tid = tidptr;
    return t->tid;
}

/* ---- waiting ---- */

long sys_wait4(struct task *t, int pid, uaddr status, int options, uaddr ru)
{
    struct wait_request req = {.options = (u32)options | WEXITED};
    struct wait_result res;
    int err;

    if ((options & ~(WNOHANG | WUNTRACED | WCONTINUED | (int)__WNOTHREAD | (int)__WCLONE |
                     (int)__WALL)) != 0) {
        return -EINVAL;
    }
    if (pid == INT32_MIN) {
        return -ESRCH;
    }
    if (pid == -1) {
        req.which = WAIT_ALL;
    } else if (pid > 0) {
        req.which = WAIT_PID;
        req.id = pid;
    } else {
        req.which = WAIT_PGRP;
        req.id = pid == 0 ? task_pgid(t) : -pid;
    }
    err = task_wait(t, &req, &res);
    if (err != 0) {
        return err;
    }
    if (res.pid != 0 && status != 0 && copy_out(status, &res.status, sizeof(res.status)) != 0) {
        return -EFAULT;
    }
    if (res.pid != 0 && ru != 0 &&
        rusage_copy_out(ru, res.utime, res.stime, res.maxrss, NULL) != 0) {
        return -EFAULT;
    }
    return res.pid;
}

static int decode_id(struct task *t, int type, int id, struct wait_request *req)
{
    struct thread_group *tg;
    struct file *f;

    switch (type) {
    case P_ALL:
        req->which = WAIT_ALL;
        return 0;
    case P_PID:
        req->which = WAIT_PID;
        req->id = id;
        return id > 0 ? 0 : -EINVAL;
    case P_PGID:
        req->which = WAIT_PGRP;
        req->id = id == 0 ? task_pgid(t) : id;
        return id >= 0 ? 0 : -EINVAL;
    case P_PIDFD:
        if (id < 0) {
            return -EINVAL;
        }
        f = fd_get(t->vfs.fdt, id);
        tg = f != NULL ? pidfd_tg(f) : NULL;
        file_put(f);
        if (tg == NULL) {
            return -EBADF;
        }
        req->which = WAIT_PID;
        req->id = tg->tgid;
        tg_put(tg);
        return 0;
    default:
        return -EINVAL;
    }
}

long sys_waitid(struct task *t, int type, int id, uaddr uinfo, int options, uaddr ru)
{
    struct wait_request req = {.options = (u32)options};
    struct abi_siginfo info = {0};
    struct wait_result res;
    int err;

    if ((options & ~(WNOHANG | WNOWAIT | WEXITED | WSTOPPED | WCONTINUED | (int)__WNOTHREAD |
                     (int)__WCLONE | (int)__WALL)) != 0 ||
        (options & (WEXITED | WSTOPPED | WCONTINUED)) == 0) {
        return -EINVAL;
    }
    err = decode_id(t, type, id, &req);
    if (err == 0) {
        err = task_wait(t, &req, &res);
    }
    if (err != 0) {
        return err;
    }
    if (res.pid != 0) {
        info.si_signo = SIGCHLD;
        info.si_code = res.code;
        info.u.chld.pid = res.pid;
        info.u.chld.uid = res.uid;
        info.u.chld.status = res.code == CLD_EXITED      ? (res.status >> 8) & 0xff
                             : res.code == CLD_STOPPED   ? (res.status >> 8) & 0xff
                             : res.code == CLD_CONTINUED ? SIGCONT
                                                         : res.status & 0x7f;
    }
    if (res.pid != 0 && ru != 0 &&
        rusage_copy_out(ru, res.utime, res.stime, res.maxrss, NULL) != 0) {
        return -EFAULT;
    }
    /* Linux writes only the first fields, up to and including si_status. */
    if (uinfo != 0 && copy_out(uinfo, &info, offsetof(struct abi_siginfo, u) + 12) != 0) {
        return -EFAULT;
    }
    return 0;
}

/* ---- pidfds ---- */

long sys_pidfd_open(struct task *t, int pid, unsigned int flags)
{
    struct thread_group *tg;
    struct task *other;
    struct file *f;

    if ((flags & ~(u32)O_NONBLOCK) != 0 || pid <= 0) {
        return -EINVAL;
    }
    tg = tg_find(pid);
    if (tg == NULL) {
        other = task_find(pid);
        if (other == NULL) {
            return -ESRCH;
        }
        task_put(other);
        return -EINVAL; /* a thread that leads no group */
    }
    f = pidfd_new(tg, flags, t->vfs.cred);
    tg_put(tg);
    if (IS_ERR(f)) {
        return PTR_ERR(f);
    }
    return fd_install(t->vfs.fdt, f, 0, task_rlimit(t, RLIMIT_NOFILE), true);
}

long sys_pidfd_getfd(struct task *t, int pidfd, int targetfd, unsigned int flags)
{
    AUTOPUT_FILE pf = fd_get(t->vfs.fdt, pidfd);
    struct thread_group *tg;
    struct task *other;
    struct fdtable *fdt;
    struct file *f;
    int err;

    if (flags != 0) {
        return -EINVAL;
    }
    tg = pf != NULL ? pidfd_tg(pf) : NULL;
    if (tg == NULL) {
        return -EBADF;
    }
    other = task_find(tg->tgid);
    tg_put(tg);
    if (other == NULL) {
        return -ESRCH;
    }
    err = task_may_inspect(t, other);
    fdt = err == 0 ? task_fdtable_get(other) : NULL;
    task_put(other);
    if (fdt == NULL) {
        return err != 0 ? err : -ESRCH;
    }
    f = fd_get_any(fdt, targetfd);
    fdtable_put(fdt);
    if (f == NULL) {
        return -EBADF;
    }
    return fd_install(t->vfs.fdt, f, 0, task_rlimit(t, RLIMIT_NOFILE), true);
}

/* ---- the thread itself ---- */

long sys_arch_prctl(struct task *t, int code, unsigned long addr)
{
    struct regs *r = task_regs(t);

    switch (code) {
    case ARCH_SET_FS:
        if (addr >= platform_caps.task_size) {
            return -EPERM;
        }
        r->fs_base = addr;
        return 0;
    case ARCH_SET_GS:
        if (addr >= platform_caps.task_size) {
            return -EPERM;
        }
        r->gs_base = addr;
        return 0;
    case ARCH_GET_FS:
        return copy_out(addr, &r->fs_base, 8);
    case ARCH_GET_GS:
        return copy_out(addr, &r->gs_base, 8);
    default:
        return -EINVAL;
    }
}

long sys_rseq(struct task *t, uaddr rseq, unsigned int len, int flags, unsigned int sig)
{
    if ((flags & RSEQ_FLAG_UNREGISTER) != 0) {
        if ((flags & ~RSEQ_FLAG_UNREGISTER) != 0 || t->rseq != rseq || t->rseq == 0 ||
            len != t->rseq_len) {
            return -EINVAL;
        }
        if (sig != t->rseq_sig) {
            return -EPERM;
        }
        t->rseq = 0;
        return 0;
    }
    if (flags != 0) {
        return -EINVAL;
    }
    if (t->rseq != 0) {
        if (t->rseq != rseq || len != t->rseq_len) {
            return -EINVAL;
        }
        return sig != t->rseq_sig ? -EPERM : -EBUSY;
    }
    if (len < 32 || (rseq & 31) != 0) {
        return -EINVAL;
    }
    if (!range_ok(rseq, len, platform_caps.task_size)) {
        return -EFAULT;
    }
    t->rseq = rseq;
    t->rseq_len = len;
    t->rseq_sig = sig;
    t->rseq_refresh = true;
    return 0;
}

long sys_unshare(struct task *t, unsigned long flags)
{
    return task_unshare(t, flags);
}
