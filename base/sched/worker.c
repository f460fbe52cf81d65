/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workers: run queues, stealing, the loop.
 *
 * A woken fiber goes to the queue of the worker that woke it, so that the waker's CPU runs it next:
 * one host switch less than waking another CPU. Another worker is rung only when there is more
 * queued than this one will run at once.
 *
 * No work is missed: an idle worker sets its bit in idle_mask, then looks at all queues once more,
 * then sleeps; a waker queues first and looks at idle_mask afterwards (both with sequentially
 * consistent operations).
 */
#include "base/sched/worker.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/heap.h"
#include "base/panic.h"
#include "base/sched/hostpoll.h"
#include "base/sched/sched_priv.h"

#include <stdlib.h>
#include <urcu-qsbr.h>

struct sched sched;

#define INJECT_EVERY 61 /* look at the outside queue even when the own one never empties */

void runq_init(struct runq *q)
{
    *q = (struct runq){0};
    TAILQ_INIT(&q->list);
}

u32 runq_push(struct runq *q, struct fiber *f)
{
    u32 len;

    raw_spin_lock(&q->lock);
    TAILQ_INSERT_TAIL(&q->list, f, run_link);
    len = atomic_fetch_add(&q->len, 1) + 1;
    raw_spin_unlock(&q->lock);
    return len;
}

/* Under the seeded order any of the queued ones may be next. */
static struct fiber *runq_pick(struct runq *q)
{
    struct fiber *f = TAILQ_FIRST(&q->list);

    if (unlikely(sched.seed != 0)) {
        for (u64 skip = sched_random() % q->len; skip > 0; skip--) {
            f = TAILQ_NEXT(f, run_link);
        }
    }
    return f;
}

struct fiber *runq_pop(struct runq *q)
{
    struct fiber *f = NULL;

    if (atomic_load_explicit(&q->len, memory_order_relaxed) == 0) {
        return NULL;
    }
    raw_spin_lock(&q->lock);
    if (q->len > 0) {
        f = runq_pick(q);
        TAILQ_REMOVE(&q->list, f, run_link);
        atomic_fetch_sub(&q->len, 1);
    }
    raw_spin_unlock(&q->lock);
    return f;
}

void sched_make_runnable_outside(struct fiber *f)
{
    (void)runq_push(&sched.inject, f);
    sched_ring_one();
}

void sched_make_runnable(struct fiber *f)
{
    struct worker *w = thread_current()->worker;

    if (w == NULL) {
        sched_make_runnable_outside(f);
    } else if (runq_push(&w->q, f) > 1) {
        sched_ring_one();
    }
}

bool sched_has_work(void)
{
    if (atomic_load(&sched.inject.len) > 0) {
        return true;
    }
    for (unsigned i = 0; i < sched.nr_workers; i++) {
        if (atomic_load(&sched.workers[i].q.len) > 0) {
            return true;
        }
    }
    return false;
}

bool sched_is_running(const struct fiber *f)
{
    for (unsigned i = 0; i < sched.nr_workers; i++) {
        if (atomic_load_explicit(&sched.workers[i].current, memory_order_relaxed) == f) {
            return true;
        }
    }
    return false;
}

static struct fiber *steal(struct worker *w)
{
    for (unsigned i = 1; i < sched.nr_workers; i++) {
        struct fiber *f = runq_pop(&sched.workers[(w->id + i) % sched.nr_workers].q);

        if (f != NULL) {
            stat_inc(&w->stat_steals);
            return f;
        }
    }
    return NULL;
}

static struct fiber *next_fiber(struct worker *w)
{
    struct fiber *f = NULL;

    if (w->ticks++ % INJECT_EVERY == 0) {
        f = runq_pop(&sched.inject);
    }
    if (f == NULL) {
        f = runq_pop(&w->q);
    }
    if (f == NULL) {
        f = runq_pop(&sched.inject);
    }
    return f != NULL ? f : steal(w);
}

/* What the fiber wanted when it switched out. */
static void after_switch(struct worker *w, struct thread *t, struct fiber *f)
{
    switch (t->op) {
    case SWITCH_PARK:
        stat_inc(&w->stat_parks);
        if (!fiber_commit_park(f)) {
            (void)runq_push(&w->q, f);
        }
        break;
    case SWITCH_YIELD:
        (void)runq_push(&w->q, f);
        break;
    case SWITCH_EXIT:
        fiber_free(f);
        break;
    case SWITCH_HAND:
        spare_run(f);
        break;
    case SWITCH_RETURN:
        BUG("%s leaves a bracket on a worker", f->name);
    }
}

static void run_timers(void)
{
    u64 next = timers_next();

    if (next != CLOCK_NEVER && next <= clock_monotonic()) {
        (void)timers_run(clock_monotonic());
    }
}

static void worker_loop(struct thread *t)
{
    struct worker *w = t->worker;

    while (!atomic_load(&sched.stopping)) {
        struct fiber *f;

        rcu_quiescent_state();
        run_timers();
        if (worker_is_bound(w)) {
            sched.ops->poll();
        }
        f = next_fiber(w);
        if (f == NULL) {
            worker_idle(t);
            continue;
        }
        stat_inc(&w->stat_switches);
        fiber_run(t, f);
        after_switch(w, t, f);
    }
}

static void *worker_thread(void *arg)
{
    struct thread *t = thread_current();

    t->worker = arg;
    t->worker->thread = t;
    rcu_register_thread();
    worker_loop(t);
    t->worker = NULL;
    rcu_unregister_thread();
    return NULL;
}

int sched_init(const struct sched_config *config)
{
    unsigned n = config->seed != 0 ? 1 : config->workers;

    if (n < 1 || n > SCHED_MAX_WORKERS) {
        return -EINVAL;
    }
    free(sched.workers);
    sched = (struct sched){.nr_workers = n, .seed = config->seed, .rng = config->seed};
    sched.workers = aligned_alloc(CACHELINE, n * sizeof(struct worker));
    if (sched.workers == NULL) {
        return -ENOMEM;
    }
    for (unsigned i = 0; i < n; i++) {
        sched.workers[i] = (struct worker){.id = i};
        runq_init(&sched.workers[i].q);
    }
    runq_init(&sched.inject);
    TAILQ_INIT(&sched.spares);
    LIST_INIT(&sched.all_spares);
    sched.sleep_deadline = CLOCK_NEVER;
    sched_dump_init();
    return 0;
}

void sched_set_idle_ops(const struct sched_idle_ops *ops)
{
    sched.ops = ops;
}

void sched_run(void)
{
    pthread_t tids[SCHED_MAX_WORKERS];
    struct thread *t = thread_current();

    t->worker = &sched.workers[0];
    t->worker->thread = t;
    rcu_register_thread();
    hostpoll_allow();
    for (unsigned i = 1; i < sched.nr_workers; i++) {
        int err = pthread_create(&tids[i], NULL, worker_thread, &sched.workers[i]);

        CHECK(err == 0, "cannot start worker %u: %d", i, err);
    }
    worker_loop(t);
    rcu_thread_offline();
    for (unsigned i = 1; i < sched.nr_workers; i++) {
        (void)pthread_join(tids[i], NULL);
    }
    spares_stop();
    rcu_thread_online();
    rcu_unregister_thread();
    t->worker = NULL;
}

void sched_stop(void)
{
    atomic_store(&sched.stopping, true);
    sched_ring_all();
}

unsigned sched_nr_workers(void)
{
    return sched.nr_workers;
}

struct deferred {
    void (*fn)(void *arg);
    void *arg;
};
DEFINE_CACHE(deferred_cache, struct deferred);

static void run_deferred(void *arg)
{
    struct deferred d = *(struct deferred *)arg;

    cache_del(deferred_cache, arg);
    d.fn(d.arg);
}

int sched_defer(void (*fn)(void *arg), void *arg)
{
    struct deferred *d = cache_new(deferred_cache);
    struct fiber *f = d != NULL ? fiber_new("deferred", run_deferred, d) : NULL;

    if (f == NULL) {
        cache_del(deferred_cache, d);
        return -ENOMEM;
    }
    *d = (struct deferred){fn, arg};
    fiber_start(f);
    return 0;
}

void sched_get_stats(struct sched_stats *out)
{
    *out = (struct sched_stats){.spares = sched.stat_spares};
    for (unsigned i = 0; i < sched.nr_workers; i++) {
        const struct worker *w = &sched.workers[i];

        out->switches += w->stat_switches;
        out->steals += w->stat_steals;
        out->parks += w->stat_parks;
        out->idle_sleeps += w->stat_sleeps;
    }
}
