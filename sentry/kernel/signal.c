/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals: generation, queueing, choice of a thread, and the decision what a pending one does
 * (signal(7), sigaction(2), kernel/signal.c of Linux for the order of things).
 *
 * Life of a signal: signal_send_* puts it into a thread's or a group's pending set (with a siginfo
 * in the queue if there is room) and kicks a thread that may take it; that thread, on its way back
 * to the guest, dequeues it in task_do_signals (sigdeliver.c) and dies, stops, or runs a handler.
 *
 * Locking: everything here is under tg->siglock, a spin lock, because timers send signals from
 * where nothing may park. Telling a parent about stops needs the task list and is therefore left to
 * the stopping or continued thread (tg->cld_notify).
 */
#include "sentry/kernel/kernel_priv.h"

#include "base/heap.h"

#include <linux/capability.h>

DEFINE_CACHE(sigqueue_cache, struct sigqueue);

void sigpending_init(struct sigpending *p)
{
    p->set = 0;
    TAILQ_INIT(&p->queue);
}

static void sigqueue_free(struct thread_group *tg, struct sigqueue *q)
{
    tg->nr_sigqueued--;
    cache_del(sigqueue_cache, q);
}

/* Drop the pending signals in `which`. */
void sigpending_flush(struct thread_group *tg, struct sigpending *p, sigmask_t which)
{
    struct sigqueue *q, *next;

    p->set &= ~which;
    for (q = TAILQ_FIRST(&p->queue); q != NULL; q = next) {
        next = TAILQ_NEXT(q, link);
        if ((which & SIG_BIT(q->info.si_signo)) != 0) {
            TAILQ_REMOVE(&p->queue, q, link);
            sigqueue_free(tg, q);
        }
    }
}

sigmask_t signal_pending_set(const struct task *t)
{
    return t->pending.set | t->tg->shared_pending.set;
}

/* Would the signal be thrown away? A blocked one is kept: the handler may change before it is
 * unblocked. */
bool signal_is_ignored(const struct task *t, int sig)
{
    u64 handler = t->tg->sighand->action[sig - 1].handler;

    return handler == SIG_IGNORE ||
           (handler == SIG_DEFAULT && (SIG_BIT(sig) & SIGMASK_IGNORED) != 0);
}

static bool signal_drop(const struct task *t, int sig)
{
    if (t->tg == kernel->init) {
        return true; /* the sandbox's init takes no signals */
    }
    if ((t->blocked & SIG_BIT(sig)) != 0 || (t->sigwait & SIG_BIT(sig)) != 0 || t->ptrace != NULL) {
        return false;
    }
    return signal_is_ignored(t, sig);
}

void task_kick(struct task *t, bool kill)
{
    atomic_store_explicit(&t->sigpending_hint, true, memory_order_release);
    if (t->fiber != NULL) {
        fiber_interrupt(t->fiber, kill);
        if (t->pctx != NULL && t->fiber != fiber_current()) {
            platform->context_interrupt(t->pctx);
        }
    }
}

void task_recalc_sigpending(struct task *t)
{
    if ((signal_pending_set(t) & ~t->blocked) != 0 || t->stop_wanted || t->tg->group_exit ||
        t->tg->cld_notify != 0) {
        task_kick(t, t->tg->group_exit);
    }
}

/* SIGKILL for everybody in the group: the first fatal signal or exit_group decides the status. */
void signal_begin_group_exit(struct thread_group *tg, int status)
{
    struct task *t;

    if (tg->group_exit) {
        return;
    }
    tg->group_exit = true;
    tg->exit_code = status;
    stop_cancel(tg);
    TAILQ_FOREACH (t, &tg->threads, tg_link) {
        if (t->state == TASK_RUNNING || t->state == TASK_NEW) {
            task_kick(t, true);
        }
    }
    waitq_wake_all(&tg->stop_wait);
}

static bool thread_wants(const struct task *t, int sig)
{
    if (t->state == TASK_ZOMBIE || t->state == TASK_DEAD) {
        return false;
    }
    if ((t->blocked & SIG_BIT(sig)) != 0 && (t->sigwait & SIG_BIT(sig)) == 0) {
        return false;
    }
    return sig == SIGKILL || !t->stopped;
}

/* Pick a thread for a new signal and kick it; a fatal one ends the group at once. */
static void signal_complete(struct task *target, struct thread_group *tg, int sig, bool shared)
{
    struct task *t = NULL;
    const struct abi_sigaction *action = &tg->sighand->action[sig - 1];
    bool fatal;

    if (target != NULL && thread_wants(target, sig)) {
        t = target;
    } else if (shared) {
        TAILQ_FOREACH (t, &tg->threads, tg_link) {
            if (thread_wants(t, sig)) {
                break;
            }
        }
    }
    if (t == NULL) {
        return;
    }
    fatal =
        action->handler == SIG_DEFAULT && (SIG_BIT(sig) & (SIGMASK_IGNORED | SIGMASK_STOP)) == 0;
    if (sig == SIGKILL || (fatal && (t->blocked & SIG_BIT(sig)) == 0 &&
                           (SIG_BIT(sig) & SIGMASK_CORE) == 0 && t->ptrace == NULL)) {
        signal_begin_group_exit(tg, sig);
        return;
    }
    task_kick(t, false);
}

/* SIGCONT and the stop signals cancel each other while still pending. */
static void signal_prepare(struct thread_group *tg, int sig)
{
    struct task *t;
    sigmask_t flush = 0;

    if ((SIG_BIT(sig) & SIGMASK_STOP) != 0) {
        flush = SIG_BIT(SIGCONT);
    } else if (sig == SIGCONT) {
        flush = SIGMASK_STOP;
    }
    if (flush == 0) {
        return;
    }
    sigpending_flush(tg, &tg->shared_pending, flush);
    TAILQ_FOREACH (t, &tg->threads, tg_link) {
        sigpending_flush(tg, &t->pending, flush);
    }
    if (sig == SIGCONT) {
        stop_continue(tg);
    }
}

/* Real-time signals queue every instance; without room only kernel-made and kill(2) ones are kept.
 */
static int signal_queue(struct thread_group *tg, struct sigpending *p,
                        const struct abi_siginfo *info)
{
    int sig = info->si_signo;
    u64 limit = tg->rlimits[RLIMIT_SIGPENDING].rlim_cur;
    bool legacy = sig < 32;
    struct sigqueue *q = NULL;

    if (legacy && (p->set & SIG_BIT(sig)) != 0) {
        return 0;
    }
    if (tg->nr_sigqueued < limit || (legacy && info->si_code >= 0)) {
        q = cache_new(sigqueue_cache);
    }
    if (q == NULL) {
        if (!legacy && info->si_code != SI_USER) {
            return -EAGAIN;
        }
    } else {
        q->info = *info;
        tg->nr_sigqueued++;
        TAILQ_INSERT_TAIL(&p->queue, q, link);
    }
    p->set |= SIG_BIT(sig);
    return 0;
}

static int signal_send_locked(struct thread_group *tg, struct task *t,
                              const struct abi_siginfo *info)
{
    int sig = info->si_signo;
    struct task *first = t != NULL ? t : TAILQ_FIRST(&tg->threads);
    int err;

    if (first == NULL || tg->dead) {
        return 0;
    }
    signal_prepare(tg, sig);
    if (signal_drop(first, sig)) {
        return 0;
    }
    err = signal_queue(tg, t != NULL ? &t->pending : &tg->shared_pending, info);
    if (err == 0) {
        waitq_wake(&tg->signalfd_wait, 0, 0);
        signal_complete(first, tg, sig, t == NULL);
    }
    return err;
}

int signal_send_tg(struct thread_group *tg, const struct abi_siginfo *info)
{
    SPIN_GUARD(&tg->siglock);
    return signal_send_locked(tg, NULL, info);
}

int signal_send_task(struct task *t, const struct abi_siginfo *info)
{
    SPIN_GUARD(&t->tg->siglock);
    if (t->state == TASK_ZOMBIE || t->state == TASK_DEAD) {
        return 0;
    }
    return signal_send_locked(t->tg, t, info);
}

void signal_kernel_tg(struct thread_group *tg, int sig)
{
    struct abi_siginfo info = {.si_signo = sig, .si_code = SI_KERNEL};

    (void)!signal_send_tg(tg, &info);
}

void signal_kernel_pgrp(struct process_group *pg, int sig)
{
    struct thread_group *tg;

    TAILQ_FOREACH (tg, &pg->members, pg_link) {
        signal_kernel_tg(tg, sig);
    }
}

/* A fault's signal: if the guest blocks or ignores it, the default action strikes. */
void signal_force(struct task *t, const struct abi_siginfo *info)
{
    struct thread_group *tg = t->tg;
    int sig = info->si_signo;
    struct abi_sigaction *action;

    SPIN_GUARD(&tg->siglock);
    action = &tg->sighand->action[sig - 1];
    if (action->handler == SIG_IGNORE || (t->blocked & SIG_BIT(sig)) != 0) {
        action->handler = SIG_DEFAULT;
        t->blocked &= ~SIG_BIT(sig);
    }
    sigpending_flush(tg, &t->pending, SIG_BIT(sig));
    (void)!signal_queue(tg, &t->pending, info);
    t->pending.set |= SIG_BIT(sig);
    task_kick(t, false);
}

/* Take the info of `sig` out of p; the set bit goes with the last instance. */
static void sigpending_take(struct thread_group *tg, struct sigpending *p, int sig,
                            struct abi_siginfo *info)
{
    struct sigqueue *q, *found = NULL;
    bool more = false;

    TAILQ_FOREACH (q, &p->queue, link) {
        if (q->info.si_signo == sig) {
            if (found != NULL) {
                more = true;
                break;
            }
            found = q;
        }
    }
    memset(info, 0, sizeof(*info));
    if (found != NULL) {
        *info = found->info;
        TAILQ_REMOVE(&p->queue, found, link);
        sigqueue_free(tg, found);
    } else {
        info->si_signo = sig;
        info->si_code = SI_USER;
    }
    if (!more) {
        p->set &= ~SIG_BIT(sig);
    }
}

/* Synchronous faults first, then the lowest number (signal(7)). */
static int sigmask_first(sigmask_t set)
{
    if ((set & SIGMASK_SYNCHRONOUS) != 0) {
        set &= SIGMASK_SYNCHRONOUS;
    }
    return __builtin_ctzll(set) + 1;
}

/* The next pending signal out of `which`: its number, 0 for none. */
int signal_dequeue(struct task *t, sigmask_t which, struct abi_siginfo *info)
{
    struct sigpending *p = &t->pending;
    int sig;

    if ((p->set & which) == 0) {
        p = &t->tg->shared_pending;
        if ((p->set & which) == 0) {
            return 0;
        }
    }
    sig = sigmask_first(p->set & which);
    sigpending_take(t->tg, p, sig, info);
    return sig;
}

/* `t` will not take `which` any more: let another thread have what is pending for the group. */
void signal_retarget_shared(struct task *t, sigmask_t which)
{
    struct thread_group *tg = t->tg;
    sigmask_t left = tg->shared_pending.set & which;
    struct task *other;

    if (left == 0) {
        return;
    }
    TAILQ_FOREACH (other, &tg->threads, tg_link) {
        if (other != t && other->state == TASK_RUNNING && (left & ~other->blocked) != 0) {
            task_kick(other, false);
            left &= other->blocked;
        }
    }
}

void task_set_blocked(struct task *t, sigmask_t set)
{
    sigmask_t newly;

    set &= ~SIGMASK_KILL_STOP;
    SPIN_GUARD(&t->tg->siglock);
    newly = set & ~t->blocked;
    t->blocked = set;
    if (newly != 0) {
        signal_retarget_shared(t, newly);
    }
    task_recalc_sigpending(t);
}

void task_set_temp_mask(struct task *t, sigmask_t set)
{
    t->saved_blocked = t->blocked;
    t->restore_blocked = true;
    task_set_blocked(t, set);
}

/* kill(2): same user, CAP_KILL, or SIGCONT within the session. */
int signal_may_send(struct task *sender, struct task *target, int sig)
{
    const struct cred *c = sender->vfs.cred;
    const struct cred *o;
    int ret = -EPERM;

    if (sender->tg == target->tg) {
        return 0;
    }
    o = task_cred_get(target);
    if (o == NULL) {
        return 0; /* a zombie: nothing happens */
    }
    if (c->euid == o->suid || c->euid == o->uid || c->uid == o->suid || c->uid == o->uid ||
        cred_capable(c, CAP_KILL)) {
        ret = 0;
    } else if (sig == SIGCONT && sender->tg->pgrp->session == target->tg->pgrp->session) {
        ret = 0;
    }
    cred_put(o);
    return ret;
}
