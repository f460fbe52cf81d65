/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of base/sched share and nobody else may see.
 *
 * Three things to keep apart: a *fiber* is a stack with a state word; a *worker* is a run queue and
 * the right to run fibers
 * ("a CPU"); a *thread* is a host thread, which holds a worker, or is a spare that runs one fiber
 * through a blocking host call.
 *
 * Lock order inside (all raw spin locks, all leaves for the rest of the world):
 *     lot bucket, timers.lock -> runq lock -> sched.lock
 */
#ifndef PAVISE_BASE_SCHED_SCHED_PRIV_H
#define PAVISE_BASE_SCHED_SCHED_PRIV_H

#include "base/base.h"
#include "base/sched/fiber.h"
#include "base/sched/lock.h"
#include "base/sched/timer.h"
#include "base/sched/worker.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#ifdef PAVISE_DEBUG
enum { sched_debug = 1, HELD_MAX = 32 };
#define FIBER_STACK_SIZE (256 * KiB)
#else
enum { sched_debug = 0, HELD_MAX = 1 };
#define FIBER_STACK_SIZE (64 * KiB)
#endif

#define SCHED_MAX_WORKERS 64 /* bits of sched.idle_mask */

/* The locks a fiber, or a thread outside fibers, holds (rank.c; debug builds). */
struct held_lock {
    const void *lock;
    u16 rank;
};
struct held_locks {
    u32 nr;
    struct held_lock held[HELD_MAX];
};

/* What fiber_switch leaves at the saved stack pointer. */
struct switch_frame {
    u32 mxcsr;
    u32 fpu_cw;
    u64 r15, r14, r13, r12, rbx, rbp;
    u64 rip;
};

/*
 * fiber.state: the low half are posted flags, the high half says which of them end the park the
 * fiber is in (0: not parked). Whoever posts a flag that ends it takes the high half away and thus
 * owns the fiber until it has queued it.
 */
#define FIBER_TOKEN      0x01U /* fiber_wake */
#define FIBER_LOCK_TOKEN 0x02U /* a lock was passed on (lot.c) */
#define FIBER_TIMEOUT    0x04U /* the park's deadline passed */
#define FIBER_INTR       0x08U /* fiber_interrupt */
#define FIBER_KILL       0x10U /* fiber_interrupt with kill */
#define FIBER_FLAGS      0xffffU
#define FIBER_ENDS_SHIFT 16

/*
 * (c) const after fiber_new  (o) the fiber itself, or the thread switching it  (a) atomic
 * (q) the lock of the run queue it is on  (f) fibers.lock
 */
struct fiber {
    void *sp;                    /* (o) while switched out: its struct switch_frame */
    _Atomic u32 state;           /* (a) see above */
    u32 slot;                    /* (c) of the stack pool */
    char *stack;                 /* (c) lowest usable byte */
    fiber_fn fn;                 /* (c) */
    void *arg;                   /* (c) */
    void *local;                 /* (o) */
    u32 park_ends;               /* (o) flags that end the park being entered */
    struct ktimer timer;         /* (o) the park's deadline */
    TAILQ_ENTRY(fiber) run_link; /* (q) */
    TAILQ_ENTRY(fiber) all_link; /* (f) */
    void *asan_fake_stack;       /* (o) */
    void *tsan_fiber;            /* (c) */
    char name[24];               /* (c) */
    struct held_locks held;      /* (o) */
};
TAILQ_HEAD(fiber_list, fiber);

/* Why a fiber switched to its thread's loop. */
enum switch_op {
    SWITCH_PARK,  /* commit the park, or run on if a flag came first */
    SWITCH_YIELD, /* back of the queue */
    SWITCH_EXIT,  /* free it */
    SWITCH_HAND,  /* worker_block_begin: go on on a spare thread */
    SWITCH_RETURN /* worker_block_end: back to the workers */
};

struct runq {
    struct spinlock lock;
    struct fiber_list list; /* (lock) */
    _Atomic u32 len;        /* written under lock, read without */
};

/* (c) const while running  (o) the thread that holds it  (a) atomic */
struct worker {
    _Alignas(CACHELINE) struct runq q;
    u32 id;                          /* (c) */
    struct thread *thread;           /* (c) its holder */
    _Atomic(struct fiber *) current; /* (a) for adaptive spinning; never followed */
    u32 ticks;                       /* (o) fibers run */
    _Atomic u64 stat_switches, stat_steals, stat_parks, stat_sleeps; /* written by (o) */
};

/* Every host thread has one, in TLS. (o) the thread itself  (s) sched.lock  (a) atomic */
struct thread {
    struct worker *worker;          /* (o) NULL: spare, or not of ours */
    struct fiber *current;          /* (o) the running fiber */
    struct fiber *handed;           /* (s) a spare's next fiber */
    void *sp;                       /* (o) of the loop, while a fiber runs */
    enum switch_op op;              /* (o) */
    u32 spin_depth;                 /* (o) public spin locks held */
    bool is_spare;                  /* (c) */
    _Atomic u32 word;               /* (a) futex; 1: rung */
    pthread_t tid;                  /* (c) */
    TAILQ_ENTRY(thread) spare_link; /* (s) on sched.spares while it waits for a fiber */
    LIST_ENTRY(thread) all_link;    /* (s) every spare */
    void *asan_fake_stack;          /* (o) */
    const void *asan_bottom;        /* (o) of the thread's own stack */
    size_t asan_size;               /* (o) */
    void *tsan_fiber;               /* (o) */
    struct held_locks held;         /* (o) */
};

struct sched {
    struct spinlock lock;
    unsigned nr_workers;              /* (c) */
    u64 seed;                         /* (c) 0: no seeded order */
    u64 rng;                          /* seeded order: the one worker's */
    const struct sched_idle_ops *ops; /* (c) */
    struct worker *workers;           /* (c) */
    struct runq inject;               /* woken from outside the workers */
    _Atomic u64 idle_mask;            /* (a) written under lock: workers whose thread sleeps */
    _Atomic u64 sleep_deadline;       /* (a) the earliest that an idle worker sleeps until */
    TAILQ_HEAD(, thread) spares;      /* (lock) waiting for a fiber */
    LIST_HEAD(, thread) all_spares;   /* (lock) */
    _Atomic bool stopping;            /* (a) */
    _Atomic u64 stat_spares;          /* (a) */
};
extern struct sched sched;

/* fiber_x86_64.S */
void fiber_switch(void **save_sp, void *load_sp);
void fiber_boot(void);
noreturn_fn void fiber_main(struct fiber *f);

/* thread.c: out of line on purpose, a fiber may have moved since the last call. */
struct thread *thread_current(void);

/* stack.c */
must_check int stack_get(u32 *slot, char **base);
void stack_put(u32 slot);

/* fiber.c */
void fiber_post(struct fiber *f, u32 flags);
/* Wait for FIBER_LOCK_TOKEN; -ERESTARTSYS when killable and killed. */
must_check int fiber_park_lock(bool killable);
/* On the thread's loop: run f until it switches back; what it wants is in t->op. */
void fiber_run(struct thread *t, struct fiber *f);
void fiber_switch_out(struct thread *t, enum switch_op op);
/* On the loop, after SWITCH_PARK: true parked, false run it again. */
bool fiber_commit_park(struct fiber *f);
void fiber_free(struct fiber *f);

/* worker.c */
void runq_init(struct runq *q);
u32 runq_push(struct runq *q, struct fiber *f);
struct fiber *runq_pop(struct runq *q);
void sched_make_runnable(struct fiber *f);
void sched_make_runnable_outside(struct fiber *f);
bool sched_has_work(void);
bool sched_is_running(const struct fiber *f);

/* idle.c */
void worker_idle(struct thread *t);
void sched_ring_one(void);
void sched_ring_all(void);
void sched_timer_armed(u64 deadline);
bool worker_is_bound(const struct worker *w);

/* spare.c */
void spare_run(struct fiber *f); /* on a worker's loop, after SWITCH_HAND */
void spares_stop(void);

/* seed.c */
u64 sched_random(void);
void sched_preempt_slow(void);
/* A preemption point of the seeded order. */
static inline void sched_preempt_point(void)
{
    if (unlikely(sched.seed != 0)) {
        sched_preempt_slow();
    }
}

/* lock.c: no depth count, no preemption point */
void raw_spin_lock(struct spinlock *l);
void raw_spin_unlock(struct spinlock *l);

/* lot.c: who waits for mutexes and rwlocks */
struct lot_waiter {
    TAILQ_ENTRY(lot_waiter) link; /* (bucket) */
    const void *lock;             /* (c) */
    struct fiber *fiber;          /* (c) NULL: a plain thread, on word */
    _Atomic u32 word;
    u64 id;       /* (c) what the mutex word holds for this owner */
    bool writer;  /* (c) rwlock */
    bool granted; /* (bucket) */
};
struct lot_bucket {
    struct spinlock lock;
    TAILQ_HEAD(, lot_waiter) waiters; /* (lock) */
};
struct lot_bucket *lot_lock(const void *lock);
void lot_unlock(struct lot_bucket *b);
void lot_waiter_init(struct lot_waiter *w, const void *lock);
void lot_grant(struct lot_bucket *b, struct lot_waiter *w); /* bucket locked: unlink and wake */
struct lot_waiter *lot_next(struct lot_bucket *b, const void *lock,
                            struct lot_waiter *after); /* NULL: from the start */
/* Sleep until granted: 0, or -ERESTARTSYS (killable), then w is off the list. */
must_check int lot_wait(struct lot_waiter *w, bool killable);
u64 lot_owner_id(void);

/* rank.c; no-ops unless PAVISE_DEBUG */
enum rank_mode { RANK_STRICT, RANK_NESTED };
void rank_check(const void *lock, u16 rank, enum rank_mode mode);
void rank_add(const void *lock, u16 rank);
void rank_remove(const void *lock);
bool rank_holds(const void *lock);
void rank_check_none(const struct held_locks *h, const char *who);

/* dump.c */
void sched_dump_init(void);

static inline void cpu_pause(void)
{
    __asm__ volatile("pause");
}

static inline void stat_inc(_Atomic u64 *stat)
{
    atomic_store_explicit(stat, atomic_load_explicit(stat, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

#endif
