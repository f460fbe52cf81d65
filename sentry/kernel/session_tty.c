/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions and their terminals: the answers to vfs/tty.h.
 *
 * A session that has a controlling terminal counts it (s->tty), the terminal points back without
 * counting (tty->session), and the session counts its foreground group. All three change together
 * under the task list, which ranks behind the terminal's own lock.
 *
 * Not done: TIOCNOTTY by a process that does not lead its session changes nothing for its siblings,
 * as on Linux, but is forgotten over fork.
 */
#include "sentry/kernel/kernel_priv.h"
#include "vfs/tty.h"

/* The terminal that controls tg, borrowed. tasklist held. */
static struct tty *tg_tty(const struct thread_group *tg)
{
    return tg->pgrp != NULL && !tg->no_tty ? tg->pgrp->session->tty : NULL;
}

/* Part a session from its terminal. The caller puts what it returns after the task list. */
static struct tty *session_take_tty(struct session *s)
{
    struct tty *tty = s->tty;
    struct process_group *fg = s->foreground;

    s->foreground = NULL;
    s->tty = NULL;
    if (tty != NULL) {
        tty->session = NULL;
    }
    pgrp_put(fg);
    return tty;
}

static void session_set_tty(struct session *s, struct tty *tty, struct process_group *fg)
{
    struct process_group *old = s->foreground;

    s->tty = tty_get(tty);
    tty->session = s;
    ref_get(&fg->ref);
    s->foreground = fg;
    pgrp_put(old);
}

static bool leads_without_tty(const struct thread_group *tg)
{
    return tg->pgrp != NULL && tg->pgrp->session->leader == tg && tg->pgrp->session->tty == NULL;
}

static int hook_acquire(struct tty *tty, bool steal)
{
    struct thread_group *tg = task_current()->tg;
    struct tty *stolen = NULL;
    int err = 0;

    mutex_lock(&kernel->tasklist);
    if (tg->pgrp != NULL && tg->pgrp->session->leader == tg && tty->session == tg->pgrp->session) {
        err = 0; /* it is ours already */
    } else if (!leads_without_tty(tg) || (tty->session != NULL && !steal)) {
        err = -EPERM;
    } else {
        if (tty->session != NULL) {
            stolen = session_take_tty(tty->session);
        }
        session_set_tty(tg->pgrp->session, tty, tg->pgrp);
    }
    mutex_unlock(&kernel->tasklist);
    tty_put(stolen);
    return err;
}

static void hook_opened(struct tty *tty)
{
    struct thread_group *tg = task_current()->tg;

    MUTEX_GUARD(&kernel->tasklist);
    if (tty->session == NULL && leads_without_tty(tg)) {
        session_set_tty(tg->pgrp->session, tty, tg->pgrp);
    }
}

static void hook_closed(struct tty *tty)
{
    struct tty *old = NULL;

    mutex_lock(&kernel->tasklist);
    if (tty->session != NULL) {
        old = session_take_tty(tty->session);
    }
    mutex_unlock(&kernel->tasklist);
    tty_put(old);
}

static int hook_give_up(struct tty *tty)
{
    struct thread_group *tg = task_current()->tg;
    struct tty *old = NULL;
    struct session *s;

    mutex_lock(&kernel->tasklist);
    if (tg_tty(tg) != tty) {
        mutex_unlock(&kernel->tasklist);
        return -ENOTTY;
    }
    s = tg->pgrp->session;
    if (s->leader == tg) {
        if (s->foreground != NULL) {
            signal_kernel_pgrp(s->foreground, SIGHUP);
            signal_kernel_pgrp(s->foreground, SIGCONT);
        }
        old = session_take_tty(s);
    } else {
        tg->no_tty = true;
    }
    mutex_unlock(&kernel->tasklist);
    tty_put(old);
    return 0;
}

static struct tty *hook_controlling(void)
{
    struct tty *tty;

    MUTEX_GUARD(&kernel->tasklist);
    tty = tg_tty(task_current()->tg);
    return tty != NULL ? tty_get(tty) : NULL;
}

static s32 hook_get_sid(struct tty *tty)
{
    MUTEX_GUARD(&kernel->tasklist);
    return tty->session != NULL ? tty->session->sid : 0;
}

static s32 hook_get_pgrp(struct tty *tty)
{
    MUTEX_GUARD(&kernel->tasklist);
    return tty->session != NULL && tty->session->foreground != NULL ? tty->session->foreground->pgid
                                                                    : 0;
}

static int hook_set_pgrp(struct tty *tty, s32 pgid)
{
    struct thread_group *tg = task_current()->tg;
    struct process_group *pg, *old;

    MUTEX_GUARD(&kernel->tasklist);
    if (tg_tty(tg) != tty || tty->session != tg->pgrp->session) {
        return -ENOTTY;
    }
    pg = pgrp_find(pgid);
    if (pg == NULL) {
        return -ESRCH;
    }
    if (pg->session != tty->session) {
        return -EPERM;
    }
    old = pg->session->foreground;
    ref_get(&pg->ref);
    pg->session->foreground = pg;
    pgrp_put(old);
    return 0;
}

/* Blocked or ignored by the calling task. */
static bool is_deaf_to(struct task *t, int sig)
{
    SPIN_GUARD(&t->tg->siglock);
    return (t->blocked & SIG_BIT(sig)) != 0 ||
           t->tg->sighand->action[sig - 1].handler == (u64)(uintptr_t)SIG_IGN;
}

/* __tty_check_change of Linux: background jobs are stopped, unless they could not be. */
static int hook_check_change(struct tty *tty, int sig)
{
    struct task *t = task_current();
    struct process_group *pg;

    MUTEX_GUARD(&kernel->tasklist);
    pg = t->tg->pgrp;
    if (tg_tty(t->tg) != tty || pg->session->foreground == NULL || pg->session->foreground == pg) {
        return 0;
    }
    if (is_deaf_to(t, sig)) {
        return sig == SIGTTIN ? -EIO : 0;
    }
    if (pgrp_is_orphaned(pg, NULL)) {
        return -EIO;
    }
    signal_kernel_pgrp(pg, sig);
    return -ERESTARTSYS;
}

static void hook_signal_foreground(struct tty *tty, int sig)
{
    MUTEX_GUARD(&kernel->tasklist);
    if (tty->session != NULL && tty->session->foreground != NULL) {
        signal_kernel_pgrp(tty->session->foreground, sig);
    }
}

static void hook_hangup(struct tty *tty)
{
    struct tty *old = NULL;

    mutex_lock(&kernel->tasklist);
    if (tty->session != NULL) {
        struct thread_group *leader = tty->session->leader;

        if (leader != NULL) {
            signal_kernel_tg(leader, SIGHUP);
            signal_kernel_tg(leader, SIGCONT);
        }
        old = session_take_tty(tty->session);
    }
    mutex_unlock(&kernel->tasklist);
    tty_put(old);
}

/*
 * The leader of a session with a terminal is gone: its foreground jobs are hung up
 * (credentials(7)). tasklist held. A session's reference is never a terminal's last: it is
 * dropped when the last file on the terminal is closed.
 */
void session_disassociate_tty(struct session *s)
{
    struct process_group *fg = s->foreground;

    if (s->tty == NULL) {
        s->foreground = NULL; /* a terminal of the host: only its foreground group is known */
        if (fg != NULL) {
            signal_kernel_pgrp(fg, SIGHUP);
            signal_kernel_pgrp(fg, SIGCONT);
        }
        pgrp_put(fg);
        return;
    }
    if (fg != NULL) {
        signal_kernel_pgrp(fg, SIGHUP);
        signal_kernel_pgrp(fg, SIGCONT);
    }
    tty_put(session_take_tty(s));
}

/* At boot: the caller's terminal controls the first session. tasklist held. */
void session_adopt_tty(struct session *s, struct tty *tty)
{
    s->tty = tty_get(tty);
    tty->session = s;
}

static const struct tty_hooks hooks = {
    .acquire = hook_acquire,
    .opened = hook_opened,
    .closed = hook_closed,
    .give_up = hook_give_up,
    .controlling = hook_controlling,
    .get_sid = hook_get_sid,
    .get_pgrp = hook_get_pgrp,
    .set_pgrp = hook_set_pgrp,
    .check_change = hook_check_change,
    .signal_foreground = hook_signal_foreground,
    .hangup = hook_hangup,
};

void session_tty_boot(void)
{
    tty_set_hooks(&hooks);
}
