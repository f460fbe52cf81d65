/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of platform/ptrace only: the objects and who may touch what. */
#ifndef PAVISE_PLATFORM_PTRACE_PTRACE_PRIV_H
#define PAVISE_PLATFORM_PTRACE_PTRACE_PRIV_H

#include "base/base.h"
#include "base/sched/fiber.h"
#include "base/sched/worker.h"
#include "platform/platform.h"
#include "platform/stubproc/stubproc.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/queue.h>

/* Rings the tracer, ends its deadline, interrupts a guest thread. Ignored by default. */
#define PTRACE_BELL SIGURG

/*
 * Keys: (c) const after creation  (a) atomic  (t) the tracer thread only  (k) kids_lock
 *       (o) the owning fiber outside of switch, the tracer inside
 */

/* What wait4 can report: a stub's leader or a tracee. */
struct kid {
    LIST_ENTRY(kid) hash; /* (k) */
    pid_t pid;            /* (c) */
    bool is_stub;         /* (c) */
};

struct aspace {
    struct kid kid;           /* leader; hashed from birth until reaped */
    struct stub stub;         /* */
    LIST_HEAD(, tracee) idle; /* (k) threads without a context */
    LIST_ENTRY(aspace) pool;  /* (k) while empty and waiting for reuse */
    u32 threads;              /* (k) born and not known dead */
    bool pooled;              /* (k) */
    bool freed;               /* (k) aspace_free was called: the reaper frees it */
    bool reaped;              /* (k) */
};

/*
 * A guest thread of a stub process as the tracer sees it.
 *
 * UNBORN    sleeping in stub_unborn or on its way there, not traced      -> ATTACHING
 * ATTACHING seized; the tracer waits for it to stop in stub_unborn       -> STOPPED
 * STOPPED   in a ptrace stop; registers may be read and written          -> RUNNING
 * RUNNING   executing guest code                                         -> STOPPED
 * DEAD      gone, from any state. Freed by whoever finds it without a context.
 */
enum tracee_state { TRACEE_UNBORN, TRACEE_ATTACHING, TRACEE_STOPPED, TRACEE_RUNNING, TRACEE_DEAD };

struct tracee {
    struct kid kid;
    LIST_ENTRY(tracee) idle;  /* (k) while context == NULL */
    struct aspace *as;        /* (c) */
    struct pcontext *context; /* (k) */
    _Atomic u32 state;        /* (a) enum tracee_state; changed by (t), or (k) without a context */
    struct regs regs;         /* (t) what the thread has; valid when STOPPED */
    int cpu;                  /* (t) the CPU it is bound to, -1: none */
    u8 streak;                /* (t) short runs in a row */
    u64 resumed;              /* (t) when, monotonic ns */
};

/*
 * OUT     not in switch: registers belong to the owner
 * QUEUED  in switch, the tracer has not taken it up
 * GUEST   the tracer has taken it up: the thread runs or is being attached
 * ENDING  the tracer is waking the fiber; next is OUT, its last access
 */
enum context_state { CONTEXT_OUT, CONTEXT_QUEUED, CONTEXT_GUEST, CONTEXT_ENDING };

/* A request to the tracer; on the caller's stack or in the context. */
struct request {
    STAILQ_ENTRY(request) link; /* (request lock) */
    void (*run)(struct request *r);
    struct fiber *fiber; /* (c) to wake when done, NULL: nobody sleeps */
};

struct pcontext {
    struct regs regs;      /* (o) */
    struct aspace *as;     /* (o) */
    struct tracee *tracee; /* (o) */
    struct request resume; /* (o) */
    struct pexit *out;     /* (o) */
    _Atomic u32 state;     /* (a) enum context_state; OUT is stored last, with release */
    _Atomic u32 interrupt; /* (a) the next switch returns PEXIT_INTERRUPT */
    _Atomic u64 target;    /* (a) tgid << 32 | tid while GUEST, for interrupts */
    bool step;             /* (o) */
    bool fp_initial;       /* (o) the guest is to see the initial FP state */
    bool fp_pending;       /* (o) fp is to be loaded before the next resume */
    void *fp;              /* (o) fp_image_size bytes, or NULL */
};

/* tracer.c: all on the tracer thread unless said otherwise. */
must_check int tracer_boot(void);
extern const struct sched_idle_ops tracer_idle_ops; /* for tests that start the scheduler anew */
bool tracer_is_current(void);                       /* any thread */
void tracer_call(struct request *r);                /* any fiber: run r on the tracer, parking */
void tracer_switch(struct pcontext *c);             /* any fiber */
void tracer_stalled(struct stub *s);                /* any thread: look for deaths */
/* kids.c: who is whose; any thread. */
void kids_add(struct kid *k);
void kids_begin_birth(void);
bool kids_end_birth(struct kid *k); /* add k; false: it is dead already */
void kids_unknown_death(pid_t pid);
struct kid *kids_find(pid_t pid);
void kids_remove_locked(struct kid *k);
extern struct spinlock kids_lock;
/* aspace.c */
struct aspace *ptrace_aspace_new(void);
void ptrace_aspace_free(struct aspace *as);
int ptrace_aspace_apply(struct aspace *as, const struct map_op *ops, size_t count);
struct tracee *aspace_take_thread(struct aspace *as, struct pcontext *c); /* ERR_PTR */
void aspace_give_thread(struct tracee *t);
void aspace_reaped(struct aspace *as);
void aspace_look_ahead(void);
void aspace_kill(struct aspace *as);
/* Its context if that is in switch; t itself may be gone. */
must_check struct pcontext *tracee_died(struct tracee *t);
/* exit.c: why the thread stopped; false: nothing the sentry cares for, run on. */
must_check bool exit_classify(struct tracee *t, struct pcontext *c, int status);
void exit_boot(void);
void exit_trap(struct pexit *out, int sig, int code, u64 trapno);
/* fp.c */
must_check int fp_boot(void);
size_t ptrace_fp_size(void);
int ptrace_fp_get(struct pcontext *c, void *buf, size_t size);
int ptrace_fp_set(struct pcontext *c, const void *buf, size_t size);
void fp_reset(struct pcontext *c);
/* Load pending FP state into the stopped thread; on the tracer. */
must_check int fp_load(struct pcontext *c);
/* place.c: which CPU guest threads run on. */
must_check int place_boot(void);
void place_resume(struct tracee *t);
void place_stop(struct tracee *t);

#endif
