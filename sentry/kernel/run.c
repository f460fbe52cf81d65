/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The task loop: run guest code, serve what it came back with, look at signals, again. One fiber a
 * task.
 */
#include "base/clock.h"
#include "base/log.h"
#include "sentry/kernel/kernel_priv.h"
#include "sentry/kernel/rseq.h"
#include "sentry/kernel/timer.h"

#include <sys/mman.h>

/* Faults the sentry can cure are cured; the others become the signal Linux sends. */
static void serve_fault(struct task *t, const struct pexit *ex)
{
    struct abi_siginfo info = {.si_signo = SIGSEGV, .si_code = SEGV_MAPERR};
    struct mm_limits limits;
    int err;

    task_mm_limits(t, &limits);
    err = mm_fault(t->mm, ex->addr, ex->access, &limits);
    if (err == 0) {
        t->minflt++;
        return;
    }
    if (err == -ENOMEM) {
        log_warn(LOG_KERNEL, "out of memory: killing process %d (%s)", t->tg->tgid, t->comm);
        task_exit_group(t, SIGKILL);
    }
    if (err == -ENXIO || err == -EIO) {
        info.si_signo = SIGBUS;
        info.si_code = BUS_ADRERR;
    } else if (err == -EACCES) {
        info.si_code = SEGV_ACCERR;
    }
    info.u.fault.addr = ex->addr;
    t->fault_addr = ex->addr;
    t->fault_trapno = 14;
    t->fault_err = 4 | ((ex->access & ACCESS_WRITE) != 0 ? 2 : 0) |
                   ((ex->access & ACCESS_EXEC) != 0 ? 16 : 0) | (err == -EACCES ? 1 : 0);
    signal_force(t, &info);
}

static void serve_trap(struct task *t, const struct pexit *ex)
{
    struct abi_siginfo info = {.si_signo = ex->sig, .si_code = ex->code};

    info.u.fault.addr = ex->addr;
    t->fault_addr = ex->addr;
    t->fault_trapno = ex->trapno;
    t->fault_err = ex->err;
    signal_force(t, &info);
}

static void serve_exit(struct task *t, const struct pexit *ex)
{
    switch (ex->kind) {
    case PEXIT_SYSCALL:
        t->syscall_nr = (long)regs_syscall_nr(task_regs(t));
        syscall_dispatch(t);
        break;
    case PEXIT_FAULT:
        serve_fault(t, ex);
        break;
    case PEXIT_TRAP:
        serve_trap(t, ex);
        break;
    case PEXIT_INTERRUPT:
        t->nivcsw++;
        break;
    case PEXIT_DEAD:
        task_exit_group(t, SIGKILL);
    }
}

void task_main(void *arg)
{
    struct task *t = arg;
    u64 before = clock_monotonic(), after;
    struct pexit ex;

    mutex_lock(&kernel->tasklist);
    spin_lock(&t->tg->siglock);
    t->state = TASK_RUNNING;
    spin_unlock(&t->tg->siglock);
    mutex_unlock(&kernel->tasklist);
    task_started(t);
    for (;;) {
        if (task_has_work(t)) {
            task_do_signals(t);
        }
        rseq_before_guest(t);
        after = clock_monotonic();
        t->stime += after - before;
        platform->context_switch(t->pctx, &ex);
        before = clock_monotonic();
        t->utime += before - after;
        timers_cpu_tick(t);
        t->rseq_refresh = true;
        t->syscall_nr = -1;
        serve_exit(t, &ex);
    }
}
