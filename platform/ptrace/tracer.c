/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tracer: the one thread that may make ptrace calls (worker 0's). It resumes guest threads,
 * takes their stops from wait4, and wakes the fibers that wait for them. A fiber that runs on the
 * tracer's own thread does its resume directly; others queue a request and ring.
 *
 * Sleeping. Worker 0 idles in wait4, which no futex can end; the bell is a signal, sent only
 * while the tracer says that it sleeps:
 *
 *     tracer                                   ringer
 *     [a] sleeping = 1                         queue work
 *     [b] look at rung (restartable window)    [c] rung = 1
 *     wait4                                    [d] if (sleeping) tgkill(bell)
 *     sleeping = 0, rung = 0                   (only the first to set rung rings)
 *     worker looks at its queues
 *
 * [a] before [b] and [c] before [d], all seq_cst: either [b] sees rung or [d] sees sleeping. A bell
 * that comes between [b] and the system call finds the instruction pointer in the window, and the
 * handler moves it past the call (host_wait4_fixup). The deadline is a timer that rings the same
 * bell; its handler also sets rung, as nobody else has.
 *
 * Interrupts. context_interrupt sets the context's flag and signals the thread if it is in the
 * guest:
 *
 *     tracer                                   interrupter
 *     [a] state = GUEST                        [c] interrupt = 1
 *     [b] if (interrupt) give it back          [d] if (state == GUEST) tgkill(thread, bell)
 *     resume
 *
 * A signal that comes too early (before the resume) or too late (the thread has stopped for another
 * reason) stays pending and makes one stop more, which exit_classify ignores; the resume then looks
 * at the flag again. One that hits a thread not yet traced is ignored by the host, but [b] comes
 * later.
 *
 * Registers are written only when they differ from what the thread has. orig_rax is always written
 * as -1, or the host would restart "its" call when rax looks like -ERESTARTSYS.
 *
 * A ptrace call may fail with ESRCH at any time, when something kills the stub. That is ignored:
 * the death is reported by wait4, and ends the switch with PEXIT_DEAD.
 */
#include "platform/ptrace/ptrace_priv.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/host.h"
#include "base/host_trace.h"
#include "base/log.h"
#include "base/panic.h"
#include "base/sched/lock.h"
#include "base/sched/worker.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>

#ifndef PTRACE_SYSEMU
#define PTRACE_SYSEMU 31
#endif
#ifndef PTRACE_SYSEMU_SINGLESTEP
#define PTRACE_SYSEMU_SINGLESTEP 32
#endif

#define POLL_NS 20000U /* the least time between two looks at wait4 while fibers run */

static struct {
    pid_t pid, tid;       /* (c) */
    _Atomic u32 sleeping; /* (a) */
    _Atomic u32 rung;     /* (a) */
    struct spinlock lock; /* guards queue */
    STAILQ_HEAD(, request) queue;
    _Atomic u32 queued; /* (a) length of queue */
    u32 running;        /* (t) threads in the guest or attaching */
    u64 polled;         /* (t) when wait4 was last asked */
    int timer;          /* (c) */
    u64 armed;          /* (t) its deadline, CLOCK_NEVER: idle */
} tracer = {.lock = SPINLOCK_INIT, .armed = CLOCK_NEVER};

static _Thread_local bool is_tracer;

noinline_fn bool tracer_is_current(void)
{
    return is_tracer;
}

static void tracer_ring(void)
{
    if (atomic_exchange(&tracer.rung, 1) == 0 && atomic_load(&tracer.sleeping) != 0) {
        (void)!host_tgkill(tracer.pid, tracer.tid, PTRACE_BELL);
    }
}

static void on_bell(int sig, siginfo_t *si, void *context)
{
    ucontext_t *uc = context;

    atomic_store(&tracer.rung, 1);
    uc->uc_mcontext.gregs[REG_RIP] = (greg_t)host_wait4_fixup((u64)uc->uc_mcontext.gregs[REG_RIP]);
}

/* Queue r and ring. */
static void queue_request(struct request *r)
{
    spin_lock(&tracer.lock);
    STAILQ_INSERT_TAIL(&tracer.queue, r, link);
    atomic_fetch_add(&tracer.queued, 1);
    spin_unlock(&tracer.lock);
    tracer_ring();
}

static void run_requests(void)
{
    while (atomic_load(&tracer.queued) != 0) {
        struct request *r;

        spin_lock(&tracer.lock);
        r = STAILQ_FIRST(&tracer.queue);
        STAILQ_REMOVE_HEAD(&tracer.queue, link);
        atomic_fetch_sub(&tracer.queued, 1);
        spin_unlock(&tracer.lock);
        r->run(r); /* r may be gone */
    }
}

enum { CALL_WAITING, CALL_ENDING, CALL_DONE };

struct call_request {
    struct request r;
    struct request *inner;
    _Atomic u32 state;
};

/*
 * Park until *state is `done`. The waker stores `ending`, wakes, and stores `done` as its last
 * access: a fiber that some other wake has set going does not run off (and perhaps end) under its
 * waker.
 */
static void park_until(const _Atomic u32 *state, u32 ending, u32 done)
{
    u32 now;

    while ((now = atomic_load(state)) != done) {
        if (now == ending) {
            host_sched_yield(); /* the tracer may be waiting for this very CPU */
        } else {
            (void)!fiber_park(PARK_UNINTERRUPTIBLE, CLOCK_NEVER);
        }
    }
}

static void run_call(struct request *r)
{
    struct call_request *call = container_of(r, struct call_request, r);

    call->inner->run(call->inner);
    atomic_store(&call->state, CALL_ENDING);
    fiber_wake(r->fiber);
    atomic_store(&call->state, CALL_DONE); /* the fiber may be gone now */
}

void tracer_call(struct request *r)
{
    struct call_request call = {.r = {.run = run_call, .fiber = fiber_current()}, .inner = r};

    if (tracer_is_current()) {
        r->run(r);
        return;
    }
    queue_request(&call.r);
    park_until(&call.state, CALL_ENDING, CALL_DONE);
}

/* The switch is over; c->out is filled in. c may be gone when this returns. */
static void finish(struct pcontext *c)
{
    if (c->resume.fiber != NULL) {
        atomic_store(&c->state, CONTEXT_ENDING);
        fiber_wake(c->resume.fiber);
    }
    atomic_store(&c->state, CONTEXT_OUT);
}

static void finish_as(struct pcontext *c, enum pexit_kind kind)
{
    memset(c->out, 0, sizeof(*c->out));
    c->out->kind = kind;
    finish(c);
}

/* Give the thread c's registers. -EIO: they are such that the host does not take them. */
static long load_regs(struct pcontext *c)
{
    struct tracee *t = c->tracee;
    struct regs regs = c->regs;
    long ret;

    regs.orig_rax = (u64)-1;
    regs.cs = regs.cs == 0 ? REGS_USER_CS : regs.cs;
    regs.ss = regs.ss == 0 ? REGS_USER_SS : regs.ss;
    if (memcmp(&regs, &t->regs, sizeof(regs)) == 0) {
        return 0;
    }
    ret = host_ptrace(PTRACE_SETREGS, t->kid.pid, NULL, &regs);
    if (ret == 0) {
        t->regs = regs;
    } else {
        t->regs.cs = 0; /* perhaps some were taken: never equal */
    }
    return ret;
}

/* The thread is stopped: let it run guest code, unless c has been interrupted. */
static void run_guest(struct pcontext *c)
{
    struct tracee *t = c->tracee;

    if (atomic_load(&c->interrupt) != 0 && atomic_exchange(&c->interrupt, 0) != 0) {
        finish_as(c, PEXIT_INTERRUPT);
        return;
    }
    if (fp_load(c) == -EINVAL || load_regs(c) == -EIO) {
        memset(c->out, 0, sizeof(*c->out));
        exit_trap(c->out, SIGSEGV, SI_KERNEL, 0);
        finish(c);
        return;
    }
    place_resume(t);
    atomic_store(&t->state, TRACEE_RUNNING);
    tracer.running++;
    (void)!host_ptrace(c->step ? PTRACE_SYSEMU_SINGLESTEP : PTRACE_SYSEMU, t->kid.pid, NULL, NULL);
}

/* wait4 reported t's end, or it ended before it was traced. */
static void finish_dead(struct tracee *t)
{
    u32 state = atomic_load(&t->state);
    struct pcontext *c;

    if (state == TRACEE_RUNNING || state == TRACEE_ATTACHING) {
        tracer.running--;
    }
    if (state == TRACEE_RUNNING) {
        place_stop(t);
    }
    c = tracee_died(t); /* t may be gone */
    if (c != NULL) {
        finish_as(c, PEXIT_DEAD);
    }
}

static void attach(struct pcontext *c)
{
    struct tracee *t = c->tracee;
    long ret;

    kids_add(&t->kid);
    atomic_store(&t->state, TRACEE_ATTACHING);
    tracer.running++;
    if (atomic_load(&t->as->stub.dead)) {
        finish_dead(t);
        return;
    }
    ret = host_ptrace(PTRACE_SEIZE, t->kid.pid, NULL,
                      (void *)(PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD));
    if (ret == 0) {
        /* Had the stub died, the id might be another thread's by now. A seized one cannot go. */
        ret = host_tgkill(t->as->stub.pid, t->kid.pid, 0);
        if (ret < 0) {
            (void)!host_ptrace(PTRACE_DETACH, t->kid.pid, NULL, NULL);
        }
    }
    if (ret == 0) {
        ret = host_ptrace(PTRACE_INTERRUPT, t->kid.pid, NULL, NULL);
    }
    if (ret < 0) { /* killed before we had it: there will be no report */
        log_debug(LOG_PLATFORM, "cannot attach to thread %d: error %ld", t->kid.pid, -ret);
        aspace_kill(t->as);
        finish_dead(t);
    }
}

/* On the tracer: start c's switch. */
static void take_up(struct request *r)
{
    struct pcontext *c = container_of(r, struct pcontext, resume);
    struct tracee *t = c->tracee;

    atomic_store(&c->target, (u64)(u32)t->as->stub.pid << 32 | (u32)t->kid.pid);
    atomic_store(&c->state, CONTEXT_GUEST);
    switch ((enum tracee_state)atomic_load(&t->state)) {
    case TRACEE_UNBORN:
        attach(c);
        break;
    case TRACEE_STOPPED:
        run_guest(c);
        break;
    case TRACEE_DEAD:
        finish_as(c, PEXIT_DEAD);
        break;
    case TRACEE_ATTACHING:
    case TRACEE_RUNNING:
    default:
        BUG("thread %d taken up while running", t->kid.pid);
    }
}

void tracer_switch(struct pcontext *c)
{
    c->resume.run = take_up;
    if (tracer_is_current()) {
        /* Nobody to wake if the switch ends at once; stops are only seen once we park. */
        c->resume.fiber = NULL;
        take_up(&c->resume);
        c->resume.fiber = fiber_current();
    } else {
        c->resume.fiber = fiber_current();
        atomic_store(&c->state, CONTEXT_QUEUED);
        queue_request(&c->resume);
    }
    park_until(&c->state, CONTEXT_ENDING, CONTEXT_OUT);
}

/* Is the newborn where it has locked itself in? If not, send it there. */
static bool attach_done(struct tracee *t)
{
    if (t->regs.rip >= stub_place(stub_unborn) && t->regs.rip <= stub_place(stub_unborn_end)) {
        t->regs.cs = 0; /* not the guest's: never equal */
        return true;
    }
    t->regs.r12 = 1;
    (void)!host_ptrace(PTRACE_SETREGS, t->kid.pid, NULL, &t->regs);
    (void)!host_ptrace(PTRACE_CONT, t->kid.pid, NULL, NULL);
    return false;
}

static void handle_stop(struct tracee *t, int status)
{
    struct pcontext *c = t->context;
    bool attaching = atomic_load(&t->state) == TRACEE_ATTACHING;

    if (host_ptrace(PTRACE_GETREGS, t->kid.pid, NULL, &t->regs) < 0) {
        return; /* killed in the stop */
    }
    if (attaching && !attach_done(t)) {
        return;
    }
    CHECK(c != NULL && tracer.running > 0, "thread %d stops without a context", t->kid.pid);
    tracer.running--;
    atomic_store(&t->state, TRACEE_STOPPED);
    if (attaching) {
        run_guest(c);
        return;
    }
    place_stop(t);
    c->regs = t->regs;
    if (exit_classify(t, c, status)) {
        finish(c);
    } else {
        run_guest(c);
    }
}

/* What wait4 has to say about `pid`. */
static void handle_event(pid_t pid, int status)
{
    struct kid *k = kids_find(pid);
    bool dead = WIFEXITED(status) || WIFSIGNALED(status);

    if (k == NULL) {
        if (dead) {
            kids_unknown_death(pid);
        }
        if (pid == stub_zygote_pid()) {
            log_error(LOG_PLATFORM, "the zygote died (status %#x): no new processes", status);
            stub_zygote_died();
        }
        return;
    }
    if (k->is_stub) {
        if (dead) {
            aspace_reaped(container_of(k, struct aspace, kid));
        }
    } else if (dead) {
        finish_dead(container_of(k, struct tracee, kid));
    } else {
        handle_stop(container_of(k, struct tracee, kid), status);
    }
}

/* All that has happened, without sleeping. */
static void drain(void)
{
    int status;
    long pid;

    while ((pid = host_wait4(-1, &status, (int)(__WALL | WNOHANG))) > 0) {
        handle_event((pid_t)pid, status);
    }
    tracer.polled = clock_monotonic();
}

void tracer_stalled(struct stub *s)
{
    if (tracer_is_current()) {
        drain();
    }
}

static void tracer_poll(void)
{
    run_requests();
    if (tracer.running != 0 && clock_monotonic() - tracer.polled >= POLL_NS) {
        drain();
    }
}

/* Ring at `deadline`. A timer that is armed too early is left alone: it rings once for nothing. */
static void arm(u64 deadline)
{
    struct itimerspec at = {.it_value = {.tv_sec = (time_t)(deadline / NSEC_PER_SEC),
                                         .tv_nsec = (long)(deadline % NSEC_PER_SEC)}};

    if (deadline == CLOCK_NEVER || (deadline >= tracer.armed && tracer.armed > clock_monotonic())) {
        return;
    }
    if (host_timer_settime(tracer.timer, TIMER_ABSTIME, &at) == 0) {
        tracer.armed = deadline;
    }
}

/* No child left to wait for (the zygote was killed): sleep on the bell. */
static void wait_for_bell(u64 deadline)
{
    u64 slice = clock_monotonic() + NSEC_PER_SEC;

    (void)!host_futex_wait(&tracer.rung, 0, min(deadline, slice));
}

static void tracer_wait(u64 deadline)
{
    int status;
    long pid;

    if (atomic_load(&tracer.rung) == 0 && deadline > clock_monotonic()) {
        arm(deadline);
        atomic_store(&tracer.sleeping, 1);
        pid = host_wait4_unless(&status, &tracer.rung);
        if (pid == -ECHILD) {
            wait_for_bell(deadline);
        }
        atomic_store(&tracer.sleeping, 0);
        tracer.polled = clock_monotonic(); /* nothing was left over, or hardly anything */
        if (pid > 0) {
            handle_event((pid_t)pid, status);
        }
    }
    atomic_store(&tracer.rung, 0);
    run_requests();
}

const struct sched_idle_ops tracer_idle_ops = {
    .poll = tracer_poll, .wait = tracer_wait, .ring = tracer_ring};

int tracer_boot(void)
{
    struct sigaction bell = {.sa_sigaction = on_bell, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    struct sigaction child = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDSTOP};
    struct sigevent ev = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = PTRACE_BELL};
    sigset_t set;

    tracer.pid = host_getpid();
    tracer.tid = host_gettid();
    is_tracer = true;
    STAILQ_INIT(&tracer.queue);
    ev._sigev_un._tid = tracer.tid;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, PTRACE_BELL);
    if (sigaction(PTRACE_BELL, &bell, NULL) < 0 || sigaction(SIGCHLD, &child, NULL) < 0 ||
        sigprocmask(SIG_UNBLOCK, &set, NULL) < 0) {
        return -errno;
    }
    sched_set_idle_ops(&tracer_idle_ops);
    return (int)host_timer_create(CLOCK_MONOTONIC, &ev, &tracer.timer);
}
