/* SPDX-License-Identifier: Apache-2.0 */
/* signalfd: reading takes the reader's own pending signals; readiness is the poller's. */
#include "sentry/kernel/signalfd.h"

#include "base/heap.h"
#include "sentry/kernel/kernel_priv.h"
#include "sentry/kernel/timer.h"

#include <stdio.h>
#include <sys/signalfd.h>

struct signalfd_file {
    struct file f;
    _Atomic sigmask_t mask;
};
DEFINE_CACHE(signalfd_cache, struct signalfd_file);

static struct signalfd_file *to_signalfd(struct file *f)
{
    return container_of(f, struct signalfd_file, f);
}

static void to_record(const struct abi_siginfo *info, struct signalfd_siginfo *out)
{
    memset(out, 0, sizeof(*out));
    out->ssi_signo = (u32)info->si_signo;
    out->ssi_errno = info->si_errno;
    out->ssi_code = info->si_code;
    switch (info->si_code) {
    case SI_TIMER:
        out->ssi_tid = (u32)info->u.timer.tid;
        out->ssi_overrun = (u32)info->u.timer.overrun;
        out->ssi_ptr = info->u.timer.value;
        out->ssi_int = (s32)info->u.timer.value;
        return;
    case SI_QUEUE:
    case SI_MESGQ:
        out->ssi_ptr = info->u.rt.value;
        out->ssi_int = (s32)info->u.rt.value;
        break;
    default:
        break;
    }
    out->ssi_pid = (u32)info->u.kill.pid;
    out->ssi_uid = info->u.kill.uid;
    if (info->si_signo == SIGCHLD) {
        out->ssi_status = info->u.chld.status;
        out->ssi_utime = (u64)info->u.chld.utime;
        out->ssi_stime = (u64)info->u.chld.stime;
    } else if ((SIG_BIT(info->si_signo) & SIGMASK_SYNCHRONOUS) != 0 && info->si_code > 0) {
        out->ssi_addr = info->u.fault.addr;
    } else if (info->si_signo == SIGIO) {
        out->ssi_band = (u32)info->u.poll.band;
        out->ssi_fd = info->u.poll.fd;
    }
}

static int take(struct task *t, sigmask_t mask, struct abi_siginfo *info)
{
    int sig;

    spin_lock(&t->tg->siglock);
    sig = signal_dequeue(t, mask, info);
    spin_unlock(&t->tg->siglock);
    if (sig != 0 && info->si_code == SI_TIMER) {
        info->u.timer.overrun = posix_timer_delivered(t->tg, info->u.timer.tid);
    }
    return sig;
}

static ssize_t signalfd_read(struct file *f, struct uio *u, u64 *pos, u32 rwf)
{
    struct signalfd_file *s = to_signalfd(f);
    struct task *t = task_current();
    struct signalfd_siginfo record;
    struct abi_siginfo info;
    ssize_t done = 0;
    int sig = 0, err;

    (void)pos;
    if (uio_left(u) < sizeof(record)) {
        return -EINVAL;
    }
    if (file_nonblock(f) || (rwf & RWF_NOWAIT) != 0) {
        sig = take(t, s->mask, &info);
        if (sig == 0) {
            return -EAGAIN;
        }
    } else {
        err = waitq_wait_event(&t->tg->signalfd_wait, (sig = take(t, s->mask, &info)) != 0,
                               PARK_INTERRUPTIBLE, CLOCK_NEVER);
        if (err != 0) {
            return err;
        }
    }
    while (sig != 0) {
        ssize_t n;

        to_record(&info, &record);
        n = uio_put(u, &record, sizeof(record));
        if (n != sizeof(record)) {
            return done > 0 ? done : -EFAULT;
        }
        done += n;
        sig = uio_left(u) >= sizeof(record) ? take(t, s->mask, &info) : 0;
    }
    return done;
}

static u32 signalfd_poll(struct file *f, struct poller *p)
{
    struct task *t = task_current();
    sigmask_t pending;

    if (t == NULL) {
        return 0;
    }
    poller_add(p, &t->tg->signalfd_wait);
    spin_lock(&t->tg->siglock);
    pending = signal_pending_set(t);
    spin_unlock(&t->tg->siglock);
    return (pending & to_signalfd(f)->mask) != 0 ? POLLIN | POLLRDNORM : 0;
}

static void signalfd_fdinfo(struct file *f, char *buf, size_t size)
{
    snprintf(buf, size, "sigmask:\t%016lx\n", (unsigned long)to_signalfd(f)->mask);
}

static void signalfd_release(struct file *f)
{
    file_fini(f);
    cache_del(signalfd_cache, to_signalfd(f));
}

static const struct file_ops signalfd_ops = {
    .name = "signalfd",
    .read = signalfd_read,
    .poll = signalfd_poll,
    .show_fdinfo = signalfd_fdinfo,
    .release = signalfd_release,
};
HEAP_OPS(signalfd_ops);

struct file *signalfd_new(sigmask_t mask, u32 flags, const struct cred *cred)
{
    struct signalfd_file *s = cache_new(signalfd_cache);
    int err;

    if (s == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    err = file_init_anon(&s->f, &signalfd_ops, "[signalfd]", O_RDWR | flags, cred);
    if (err != 0) {
        cache_del(signalfd_cache, s);
        return ERR_PTR(err);
    }
    s->mask = mask;
    return &s->f;
}

int signalfd_set_mask(struct file *f, sigmask_t mask)
{
    if (f->ops != &signalfd_ops) {
        return -EINVAL;
    }
    to_signalfd(f)->mask = mask;
    waitq_wake_all(&task_current()->tg->signalfd_wait);
    return 0;
}
