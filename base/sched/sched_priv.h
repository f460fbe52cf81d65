/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of base/sched share and nobody else may see.
 *
 * Three things to keep apart (README.md): a *fiber* is a stack with a state word; a *worker* is a
 * run queue, the right to run fibers ("a CPU"); a *thread* is a host thread, which runs the fibers
 * of the worker it holds at the moment, or sleeps as a spare.
 *
 * Lock order inside (all raw spin locks, all leaves for the rest of the world):
 *     timers.lock, lot bucket -> runq lock -> sched.lock -> (futex)
 * fibers.lock and the stack pool's lock take nothing further.
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
#else
enum { sched_debug = 0, HELD_MAX = 1 };
#endif

#if defined(PAVISE_DEBUG)
#define FIBER_STACK_SIZE (256 * KiB)
#else
#define FIBER_STACK_SIZE (64 * KiB)
#endif

#define SCHED_MAX_WORKERS 64  /* bits of sched.idle_mask */
#define SCHED_MAX_THREADS 256 /* workers' threads and spares */

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
    void *sp;                    /* (o) its struct switch_frame; NULL while it runs */
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
    SWITCH_PARK,    /* commit the park, or run on if a flag came first */
    SWITCH_YIELD,   /* back of the queue */
    SWITCH_EXIT,    /* free it */
    SWITCH_REQUEUE, /* block_end without a worker: queue it for all */
    SWITCH_HAND,    /* block_begin on a bound worker: go on on a spare thread */
    SWITCH_ABANDON  /* block_end after sched_stop: forget it */
};

struct runq {
    struct spinlock lock;
    struct fiber_list list; /* (lock) */
    _Atomic u32 len;        /* written under lock, read without */
};

/* (c) const while running  (o) the thread that holds it  (s) sched.lock  (a) atomic */
struct worker {
    _Alignas(CACHELINE) struct runq q;
    u32 id;                           /* (c) */
    struct thread *thread;            /* (s) its holder, asleep or not */
    _Atomic(struct fiber *) current;  /* (a) for adaptive spinning; never followed */
    _Atomic(struct thread *) blocked; /* (a) holder inside a bracket: may be taken away */
    _Atomic u32 block_seq;            /* (a) counts brackets */
    u32 seen_seq;                     /* monitor only: block_seq at its last look */
    u32 ticks;                        /* (o) fibers run */
    _Atomic u64 stat_switches;        /* (o) */
    _Atomic u64 stat_steals;          /* (o) */
    _Atomic u64 stat_parks;           /* (o) */
    _Atomic u64 stat_sleeps;          /* (o) */
};

/* Every host thread has one, in TLS. (o) the thread itself  (s) sched.lock  (a) atomic */
struct thread {
    struct worker *worker;          /* (s) while asleep or blocked, else (o) */
    struct fiber *current;          /* (o) the running fiber */
    struct fiber *handed;           /* (s) a fiber in a bracket, to be run without a worker */
    void *sp;                       /* (o) of the loop, while a fiber runs */
    enum switch_op op;              /* (o) */
    u32 spin_depth;                 /* (o) public spin locks held */
    u32 gen;                        /* (o) the sched_run it belongs to */
    bool is_sched;                  /* (o) runs thread_loop */
    bool is_spare;                  /* (s) on sched.spares */
    _Atomic bool in_bracket;        /* (a) written by the thread */
    _Atomic u32 word;               /* (a) futex; 1: rung. Stored under sched.lock */
    pthread_t tid;                  /* (c) */
    TAILQ_ENTRY(thread) spare_link; /* (s) */
    TAILQ_ENTRY(thread) all_link;   /* (s) */
    void *asan_fake_stack;          /* (o) */
    const void *asan_bottom;        /* (o) of the thread's own stack */
    size_t asan_size;               /* (o) */
    void *tsan_fiber;               /* (o) */
    struct held_locks held;         /* (o) */
};
TAILQ_HEAD(thread_list, thread);

struct sched {
    struct spinlock lock;
    unsigned nr_workers;              /* (c) */
    u64 seed;                         /* (c) 0: no seeded order */
    u64 rng;                          /* seeded order: the one worker's */
    const struct sched_idle_ops *ops; /* (c) */
    struct worker *workers;           /* (c) */
    struct runq inject;               /* woken from outside the workers */
    _Atomic u64 idle_mask;            /* (a) written under lock: workers whose thread sleeps */
    struct thread *sleeper;           /* (lock) the one sleeping until sleep_deadline */
    _Atomic u64 sleep_deadline;       /* (a) written under lock */
    struct thread_list spares;        /* (lock) */
    struct thread_list threads;       /* (lock) all that run thread_loop */
    unsigned nr_threads;              /* (lock) */
    _Atomic u32 gen;                  /* (a) */
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
void sched_make_runnable(struct fiber *f);
bool sched_has_work(void);
bool sched_is_running(const struct fiber *f);
must_check int sched_create_thread(pthread_t *tid, void *(*fn)(void *arg), void *arg);
must_check int sched_spawn_thread(struct worker *w, struct fiber *handed);
bool thread_must_stop(const struct thread *t);

/* idle.c */
void worker_idle(struct thread *t);
void thread_wait_spare(struct thread *t);
bool sched_ring_one(void);
void sched_ring_all(void);
void sched_timer_armed(u64 deadline);
bool worker_is_bound(const struct worker *w);
/* Take an idle, unbound worker for `t`; its sleeping thread becomes a spare. */
bool sched_take_idle_worker(struct thread *t);
/* Give a spare thread a fiber to run without a worker; false when there is no spare. */
bool sched_use_spare(struct fiber *handed);
/* Take `w` from `stuck`, if it is still in its bracket, and give it to a spare. */
bool sched_relieve(struct worker *w, struct thread *stuck);
bool sched_has_spare(void);

/* block.c */
void monitor_start(void);
void monitor_stop(void);
void monitor_poke(void);
void monitor_poke_timer(u64 deadline);
bool sched_any_blocked(void);

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

/* rank.c; no-ops unless PAVISE_DEBUG */
enum rank_mode { RANK_STRICT, RANK_NESTED };
void rank_check(const void *lock, u16 rank, enum rank_mode mode);
void rank_add(const void *lock, u16 rank);
void rank_remove(const void *lock);
void rank_check_none(const struct held_locks *h, const char *who);

/* dump.c */
void sched_dump_init(void);

static inline void cpu_pause(void)
{
    __asm__ volatile("pause");
}

/* A full barrier also for the loads behind it; TSan knows no fences but does not reorder either. */
static inline void full_fence(void)
{
    __asm__ volatile("lock orl $0, (%%rsp)" ::: "memory", "cc");
}

static inline void stat_inc(_Atomic u64 *stat)
{
    atomic_store_explicit(stat, atomic_load_explicit(stat, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

#endif
