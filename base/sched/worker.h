/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workers: host threads that run fibers, one a CPU the sandbox may use. Each has a run queue and
 * steals from the others when idle. Between fibers a worker is in a liburcu QSBR quiescent state,
 * fires due timers and, when a platform asked for it, polls the platform's doorbell.
 *
 * Worker 0 is the thread that called sched_run; a platform may own how it idles (ptrace: it is the
 * tracer and idles in wait4). A host call that may sleep is bracketed with worker_block_begin/end:
 * on worker 0 with a platform idle hook the fiber first moves to a spare thread (two host switches:
 * try RWF_NOWAIT first); elsewhere it costs two atomic writes, and a spare thread takes over the
 * worker when it is stuck.
 *
 * Seeded order (--sched=seed:N): one worker, the next fiber picked by a seeded generator, and
 * preemption points (lock, unlock, wake, park) that yield by the same generator: any interleaving
 * repeats.
 */
#ifndef PAVISE_BASE_SCHED_WORKER_H
#define PAVISE_BASE_SCHED_WORKER_H

#include "base/base.h"

struct sched_config {
    unsigned workers; /* at least 1; with a seed always 1 */
    u64 seed;         /* 0: no seeded order */
};

/*
 * How worker 0 waits when it has nothing to run. All on worker 0's thread but ring.
 */
struct sched_idle_ops {
    /* Look for work without sleeping; called between any two fibers, so it must be cheap (or limit
     * itself). May wake fibers. May be NULL. */
    void (*poll)(void);
    /* Sleep until there is work (may wake fibers), ring(), or `deadline` (monotonic ns or
     * CLOCK_NEVER). */
    void (*wait)(u64 deadline);
    /* From any thread: make wait return soon, or return at once if it is about to begin. */
    void (*ring)(void);
};

/* Before sched_run. */
must_check int sched_init(const struct sched_config *config);
void sched_set_idle_ops(const struct sched_idle_ops *ops);

/* Start the other workers and run fibers on this thread until sched_stop. */
void sched_run(void);

/* Make sched_run return once the workers are between fibers. Live fibers are abandoned. */
void sched_stop(void);

unsigned sched_nr_workers(void);

/* Bracket a host call that may sleep: nothing but that call may stand in between (no park, no lock,
 * no RCU). No lock of any kind may be held but mutexes. Nests not. No-ops outside fibers. */
void worker_block_begin(void);
void worker_block_end(void);

/* Run fn(arg) soon on some worker, in a fiber of its own (may park). -ENOMEM. */
must_check int sched_defer(void (*fn)(void *arg), void *arg);

struct sched_stats {
    u64 switches;
    u64 steals;
    u64 parks;
    u64 idle_sleeps;
    u64 spares;
};
void sched_get_stats(struct sched_stats *out);

#endif
