/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Delivery: what a task does about its signals before it goes back to the guest (signal(7); the
 * order of get_signal and handle_signal in Linux), and the fate of an interrupted system call.
 *
 * Restart rules (signal(7) "Interruption of system calls"):
 *
 *   result                  no handler runs       handler without SA_RESTART   with SA_RESTART
 *   ERESTARTSYS             restart               EINTR                        restart
 *   ERESTARTNOINTR          restart               restart                      restart
 *   ERESTARTNOHAND          restart               EINTR                        EINTR
 *   ERESTART_RESTARTBLOCK   restart_syscall(2)    EINTR                        EINTR
 *
 * To restart is to move rip back over the two-byte instruction and put the call number back into
 * rax.
 */
#include "sentry/kernel/kernel_priv.h"
#include "sentry/kernel/timer.h"

#include <sys/syscall.h>

static bool is_restart_code(s64 ret)
{
    return ret == -ERESTARTSYS || ret == -ERESTARTNOINTR || ret == -ERESTARTNOHAND ||
           ret == -ERESTART_RESTARTBLOCK;
}

static bool restart_pending(struct task *t)
{
    return t->syscall_nr >= 0 && is_restart_code((s64)task_regs(t)->rax);
}

bool task_has_work(struct task *t)
{
    return atomic_load_explicit(&t->sigpending_hint, memory_order_acquire) || t->restore_blocked ||
           restart_pending(t);
}

static void restart_rewind(struct task *t, u64 nr)
{
    struct regs *r = task_regs(t);

    r->rax = nr;
    r->rip -= 2;
    t->syscall_nr = -1;
}

static void restart_without_handler(struct task *t)
{
    if (!restart_pending(t)) {
        return;
    }
    if ((s64)task_regs(t)->rax == -ERESTART_RESTARTBLOCK) {
        restart_rewind(t, SYS_restart_syscall);
    } else {
        restart_rewind(t, (u64)t->syscall_nr);
    }
}

static void restart_with_handler(struct task *t, const struct abi_sigaction *action)
{
    s64 ret;

    if (!restart_pending(t)) {
        return;
    }
    ret = (s64)task_regs(t)->rax;
    if (ret == -ERESTARTNOINTR || (ret == -ERESTARTSYS && (action->flags & SA_RESTART) != 0)) {
        restart_rewind(t, (u64)t->syscall_nr);
    } else {
        task_regs(t)->rax = (u64)-EINTR;
        t->syscall_nr = -1;
    }
}

/* Run the guest's handler: the frame, the mask during it, SA_RESETHAND. */
static void deliver_to_handler(struct task *t, const struct abi_siginfo *info,
                               const struct abi_sigaction *action)
{
    sigmask_t saved = t->restore_blocked ? t->saved_blocked : t->blocked;
    sigmask_t mask = t->blocked | action->mask;

    restart_with_handler(t, action);
    if (sigframe_push(t, info, action, saved) != 0) {
        struct abi_siginfo segv = {.si_signo = SIGSEGV, .si_code = SI_KERNEL};

        if (info->si_signo == SIGSEGV) {
            spin_lock(&t->tg->siglock);
            t->tg->sighand->action[SIGSEGV - 1].handler = SIG_DEFAULT;
            spin_unlock(&t->tg->siglock);
        }
        signal_force(t, &segv);
        return;
    }
    t->restore_blocked = false;
    if ((action->flags & SA_NODEFER) == 0) {
        mask |= SIG_BIT(info->si_signo);
    }
    task_set_blocked(t, mask);
}

enum verdict { VERDICT_NONE, VERDICT_AGAIN, VERDICT_STOP, VERDICT_HANDLER, VERDICT_EXIT };

/* Dequeue one signal and say what it means. siglock held. */
static enum verdict signal_next(struct task *t, struct abi_siginfo *info,
                                struct abi_sigaction *action)
{
    struct thread_group *tg = t->tg;
    int sig = signal_dequeue(t, ~t->blocked, info);
    struct abi_sigaction *a;

    if (sig == 0) {
        atomic_store_explicit(&t->sigpending_hint, false, memory_order_release);
        return VERDICT_NONE;
    }
    a = &tg->sighand->action[sig - 1];
    *action = *a;
    if (sig != SIGKILL && sig != SIGSTOP) {
        if (a->handler == SIG_IGNORE) {
            return VERDICT_AGAIN;
        }
        if (a->handler != SIG_DEFAULT) {
            if ((a->flags & SA_RESETHAND) != 0) {
                a->handler = SIG_DEFAULT;
            }
            return VERDICT_HANDLER;
        }
        if ((SIG_BIT(sig) & SIGMASK_IGNORED) != 0) {
            return VERDICT_AGAIN;
        }
    }
    if ((SIG_BIT(sig) & SIGMASK_STOP) != 0) {
        return VERDICT_STOP;
    }
    signal_begin_group_exit(tg, sig);
    return VERDICT_EXIT;
}

/* What concerns the whole group and comes before any signal. Returns after dropping siglock. */
static void group_work(struct task *t)
{
    struct thread_group *tg = t->tg;

    for (;;) {
        int why;

        spin_lock(&tg->siglock);
        if (tg->group_exit || (tg->exec_task != NULL && tg->exec_task != t)) {
            int status = tg->group_exit ? tg->exit_code : 0;

            spin_unlock(&tg->siglock);
            task_exit(t, status);
        }
        why = tg->cld_notify;
        tg->cld_notify = 0;
        if (why == 0 && !t->stop_wanted) {
            return;
        }
        spin_unlock(&tg->siglock);
        if (why != 0) {
            stop_notify_parent(tg, why);
            sandbox_stop_changed(tg, false);
        } else {
            stop_join(t);
        }
    }
}

void task_do_signals(struct task *t)
{
    struct thread_group *tg = t->tg;
    struct abi_sigaction action;
    struct abi_siginfo info;
    enum verdict v;

    for (;;) {
        fiber_clear_interrupt();
        group_work(t); /* comes back with siglock held */
        v = signal_next(t, &info, &action);
        spin_unlock(&tg->siglock);
        switch (v) {
        case VERDICT_NONE:
            restart_without_handler(t);
            if (t->restore_blocked) {
                t->restore_blocked = false;
                task_set_blocked(t, t->saved_blocked);
                if (atomic_load_explicit(&t->sigpending_hint, memory_order_acquire)) {
                    continue;
                }
            }
            return;
        case VERDICT_AGAIN:
            continue;
        case VERDICT_STOP:
            stop_begin(t, info.si_signo);
            continue;
        case VERDICT_HANDLER:
            if (info.si_code == SI_TIMER) {
                info.u.timer.overrun = posix_timer_delivered(tg, info.u.timer.tid);
            }
            deliver_to_handler(t, &info, &action);
            continue;
        case VERDICT_EXIT:
            task_exit(t, info.si_signo);
        }
    }
}
