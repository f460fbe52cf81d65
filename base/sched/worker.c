/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workers: run queues, the loop that runs fibers, start and stop.
 *
 * A worker is a run queue and the right to run fibers; a thread is a host thread. The number of
 * workers is fixed; a thread holds at most one worker, and a worker has at most one thread:
 *
 *   thread with a worker     runs thread_loop: quiescent state, timers, platform's doorbell, next
 *                            fiber; sleeps in worker_idle when there is none
 *   thread without           a spare, asleep in thread_wait_spare; or inside a bracket whose worker
 *                            was taken away (block.c)
 *
 * Where a woken fiber goes: into the queue of the worker that wakes it, to be run there when the
 * waker parks (one switch). Only when that leaves two in the queue is an idle worker told, which
 * then steals. From threads without a worker it goes into the inject queue and one is told.
 *
 * Fairness: queues are first in, first out; the inject queue is looked at first every 8th time.
 *
 * Stop: sched_stop sets a flag that threads see between fibers. A thread in a bracket cannot be
 * waited for; it is detached, and ends when its host call does (its `gen` is over).
 */
#include "base/sched/worker.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/heap.h"
#include "base/host.h"
#include "base/panic.h"
#include "base/sched/hostpoll.h"
#include "base/sched/sched_priv.h"

#include <signal.h>
#include <urcu-qsbr.h>

#ifdef PAVISE_TSAN
#define THREAD_STACK_SIZE (2 * MiB)
#else
#define THREAD_STACK_SIZE (512 * KiB)
#endif

static struct worker workers[SCHED_MAX_WORKERS];

struct sched sched = {
    .inject.list = TAILQ_HEAD_INITIALIZER(sched.inject.list),
    .sleep_deadline = CLOCK_NEVER,
    .spares = TAILQ_HEAD_INITIALIZER(sched.spares),
    .threads = TAILQ_HEAD_INITIALIZER(sched.threads),
};

/* Arguments of a new thread, on the stack of the one that starts it and waits for `ready`. */
struct thread_start {
    struct worker *worker;
    struct fiber *handed;
    _Atomic u32 ready;
};

void runq_init(struct runq *q)
{
    memset(q, 0, sizeof(*q));
    TAILQ_INIT(&q->list);
}

/* Returns the new length. */
u32 runq_push(struct runq *q, struct fiber *f)
{
    u32 len;

    raw_spin_lock(&q->lock);
    TAILQ_INSERT_TAIL(&q->list, f, run_link);
    len = atomic_load_explicit(&q->len, memory_order_relaxed) + 1;
    atomic_store_explicit(&q->len, len, memory_order_relaxed);
    raw_spin_unlock(&q->lock);
    return len;
}

/* The first fiber, or in seeded order any; NULL when empty. */
static struct fiber *runq_pop(struct runq *q)
{
    struct fiber *f;
    u32 len;

    if (atomic_load_explicit(&q->len, memory_order_relaxed) == 0) {
        return NULL;
    }
    raw_spin_lock(&q->lock);
    f = TAILQ_FIRST(&q->list);
    len = atomic_load_explicit(&q->len, memory_order_relaxed);
    if (unlikely(sched.seed != 0) && len > 1) {
        for (u64 skip = sched_random() % len; skip > 0; skip--) {
            f = TAILQ_NEXT(f, run_link);
        }
    }
    if (f != NULL) {
        TAILQ_REMOVE(&q->list, f, run_link);
        atomic_store_explicit(&q->len, len - 1, memory_order_relaxed);
    }
    raw_spin_unlock(&q->lock);
    return f;
}

bool sched_has_work(void)
{
    if (atomic_load_explicit(&sched.inject.len, memory_order_relaxed) != 0) {
        return true;
    }
    for (unsigned i = 0; i < sched.nr_workers; i++) {
        if (atomic_load_explicit(&workers[i].q.len, memory_order_relaxed) != 0) {
            return true;
        }
    }
    return false;
}

bool sched_is_running(const struct fiber *f)
{
    for (unsigned i = 0; i < sched.nr_workers; i++) {
        if (atomic_load_explicit(&workers[i].current, memory_order_relaxed) == f) {
            return atomic_load_explicit(&workers[i].blocked, memory_order_relaxed) == NULL;
        }
    }
    return false;
}

bool thread_must_stop(const struct thread *t)
{
    return atomic_load_explicit(&sched.stopping, memory_order_acquire) ||
           t->gen != atomic_load_explicit(&sched.gen, memory_order_relaxed);
}

/* Tell an idle worker about a queued fiber; if all are busy, see that a stuck one is relieved. */
static void sched_call_help(void)
{
    if (!sched_ring_one() && sched_any_blocked()) {
        monitor_poke();
    }
}

/* The caller owns f: it unparked it, or it is new. */
void sched_make_runnable(struct fiber *f)
{
    struct thread *t = thread_current();

    if (t->worker != NULL && !atomic_load_explicit(&t->in_bracket, memory_order_relaxed)) {
        if (runq_push(&t->worker->q, f) > 1) {
            sched_call_help();
        }
        return;
    }
    (void)runq_push(&sched.inject, f);
    sched_call_help();
}

static struct fiber *worker_steal(struct worker *w)
{
    for (unsigned i = 1; i < sched.nr_workers; i++) {
        struct fiber *f = runq_pop(&workers[(w->id + i) % sched.nr_workers].q);

        if (f != NULL) {
            stat_inc(&w->stat_steals);
            return f;
        }
    }
    return NULL;
}

/* Seeded order: everything runnable is in the one queue the generator picks from. */
static struct fiber *worker_pick_seeded(struct worker *w)
{
    struct fiber *f;

    while ((f = runq_pop(&sched.inject)) != NULL) {
        (void)runq_push(&w->q, f);
    }
    return runq_pop(&w->q);
}

static struct fiber *worker_pick(struct worker *w)
{
    struct fiber *f = NULL;

    if (unlikely(sched.seed != 0)) {
        return worker_pick_seeded(w);
    }
    if (w->ticks % 8 == 0) {
        f = runq_pop(&sched.inject);
    }
    if (f == NULL) {
        f = runq_pop(&w->q);
    }
    if (f == NULL) {
        f = runq_pop(&sched.inject);
    }
    return f != NULL ? f : worker_steal(w);
}

/* What is due between fibers. */
static void worker_between(struct worker *w)
{
    urcu_qsbr_quiescent_state();
    if (timers_next() != CLOCK_NEVER) {
        (void)timers_run(clock_monotonic());
    }
    if (worker_is_bound(w) && sched.ops->poll != NULL) {
        sched.ops->poll();
    }
}

/* f, on behalf of SWITCH_HAND, to a thread without a worker: false when there can be none. */
static bool thread_hand(struct fiber *f)
{
    return sched_use_spare(f) || sched_spawn_thread(NULL, f) == 0;
}

/* f switched to the loop: do what it asked for. True: run it again at once. */
static bool thread_finish_switch(struct thread *t, struct fiber *f)
{
    switch (t->op) {
    case SWITCH_PARK:
        if (!fiber_commit_park(f)) {
            return true;
        }
        if (t->worker != NULL) {
            stat_inc(&t->worker->stat_parks);
        }
        return false;
    case SWITCH_YIELD:
        (void)runq_push(t->worker != NULL ? &t->worker->q : &sched.inject, f);
        return false;
    case SWITCH_EXIT:
        fiber_free(f);
        return false;
    case SWITCH_REQUEUE:
        (void)runq_push(&sched.inject, f);
        sched_call_help();
        return false;
    case SWITCH_HAND:
        return !thread_hand(f);
    case SWITCH_ABANDON:
        return false;
    }
    return false;
}

static void thread_run_fiber(struct thread *t, struct fiber *f)
{
    do {
        if (t->worker != NULL) {
            t->worker->ticks++;
            stat_inc(&t->worker->stat_switches);
        }
        fiber_run(t, f);
    } while (thread_finish_switch(t, f));
}

static void thread_loop(struct thread *t)
{
    struct fiber *f;

    while (!thread_must_stop(t)) {
        if (t->worker == NULL && t->handed == NULL) {
            thread_wait_spare(t);
            continue;
        }
        if (t->worker == NULL) {
            f = t->handed;
            t->handed = NULL;
        } else {
            worker_between(t->worker);
            f = worker_pick(t->worker);
        }
        if (f == NULL) {
            worker_idle(t);
        } else {
            thread_run_fiber(t, f);
        }
    }
}

static void thread_enter(struct thread *t, struct worker *w, struct fiber *handed)
{
    t->is_sched = true;
    t->handed = handed;
    t->tid = pthread_self();
    atomic_store_explicit(&t->in_bracket, false, memory_order_relaxed);
    urcu_qsbr_register_thread();
    raw_spin_lock(&sched.lock);
    t->gen = atomic_load_explicit(&sched.gen, memory_order_relaxed);
    t->worker = w;
    if (w != NULL) {
        w->thread = t;
    }
    TAILQ_INSERT_TAIL(&sched.threads, t, all_link);
    raw_spin_unlock(&sched.lock);
}

static void thread_leave(struct thread *t)
{
    urcu_qsbr_unregister_thread();
    t->is_sched = false;
    t->worker = NULL;
}

static void *thread_main(void *arg)
{
    struct thread_start *start = arg;
    struct thread *t = thread_current();

    thread_enter(t, start->worker, start->handed);
    atomic_store_explicit(&start->ready, 1, memory_order_release);
    /* `start` may be gone now; the wake is by address only. */
    host_futex_wake(&start->ready, 1);
    thread_loop(t);
    thread_leave(t);
    return NULL;
}

/* Start a host thread with all signals blocked but those that our own faults raise. */
int sched_create_thread(pthread_t *tid, void *(*fn)(void *arg), void *arg)
{
    static const int ours[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
    pthread_attr_t attr;
    sigset_t mask;
    int err;

    (void)sigfillset(&mask);
    for (size_t i = 0; i < ARRAY_SIZE(ours); i++) {
        (void)sigdelset(&mask, ours[i]);
    }
    if (pthread_attr_init(&attr) != 0) {
        return -ENOMEM;
    }
    err = pthread_attr_setstacksize(&attr, THREAD_STACK_SIZE);
    if (err == 0) {
        err = pthread_attr_setsigmask_np(&attr, &mask);
    }
    if (err == 0) {
        err = pthread_create(tid, &attr, fn, arg);
    }
    (void)pthread_attr_destroy(&attr);
    return -err;
}

/* A thread that begins with `w`, or with `handed`, or as a spare. Returns when it is registered. */
int sched_spawn_thread(struct worker *w, struct fiber *handed)
{
    struct thread_start start = {.worker = w, .handed = handed};
    pthread_t tid;
    bool is_full;
    int ret;

    raw_spin_lock(&sched.lock);
    is_full = sched.nr_threads >= SCHED_MAX_THREADS;
    if (!is_full) {
        sched.nr_threads++;
    }
    raw_spin_unlock(&sched.lock);
    if (is_full) {
        return -EAGAIN;
    }
    ret = sched_create_thread(&tid, thread_main, &start);
    if (ret != 0) {
        raw_spin_lock(&sched.lock);
        sched.nr_threads--;
        raw_spin_unlock(&sched.lock);
        return ret;
    }
    while (atomic_load_explicit(&start.ready, memory_order_acquire) == 0) {
        (void)!host_futex_wait(&start.ready, 0, CLOCK_NEVER);
    }
    return 0;
}

int sched_init(const struct sched_config *config)
{
    if (config->workers < 1 || config->workers > SCHED_MAX_WORKERS) {
        return -EINVAL;
    }
    sched.seed = config->seed;
    sched.rng = config->seed;
    sched.nr_workers = config->seed != 0 ? 1 : config->workers;
    sched.workers = workers;
    sched.ops = NULL;
    runq_init(&sched.inject);
    for (unsigned i = 0; i < sched.nr_workers; i++) {
        memset(&workers[i], 0, sizeof(workers[i]));
        runq_init(&workers[i].q);
        workers[i].id = i;
    }
    atomic_store(&sched.stopping, false);
    sched_dump_init();
    return 0;
}

void sched_set_idle_ops(const struct sched_idle_ops *ops)
{
    sched.ops = ops;
}

unsigned sched_nr_workers(void)
{
    return sched.nr_workers;
}

static void sched_start_threads(void)
{
    for (unsigned i = 1; i < sched.nr_workers; i++) {
        CHECK(sched_spawn_thread(&workers[i], NULL) == 0, "no thread for worker %u", i);
    }
    if (sched.seed == 0) {
        monitor_start();
    }
    if (worker_is_bound(&workers[0]) && sched.seed == 0) {
        /* Its brackets need one at once (block.c). */
        CHECK(sched_spawn_thread(NULL, NULL) == 0, "no spare thread");
    }
}

/* Wait for every thread but this one and those stuck in a host call. */
static void sched_join_threads(struct thread *self)
{
    struct thread *t;

    raw_spin_lock(&sched.lock);
    while ((t = TAILQ_FIRST(&sched.threads)) != NULL) {
        pthread_t tid = t->tid;
        bool is_stuck = atomic_load_explicit(&t->in_bracket, memory_order_relaxed);

        TAILQ_REMOVE(&sched.threads, t, all_link);
        if (t == self) {
            continue;
        }
        sched.nr_threads--;
        raw_spin_unlock(&sched.lock);
        if (is_stuck) {
            (void)pthread_detach(tid);
        } else {
            (void)pthread_join(tid, NULL);
        }
        raw_spin_lock(&sched.lock);
    }
    TAILQ_INIT(&sched.spares);
    raw_spin_unlock(&sched.lock);
}

void sched_run(void)
{
    struct thread *t = thread_current();

    CHECK(sched.nr_workers > 0, "sched_run before sched_init");
    CHECK(!t->is_sched && t->current == NULL, "sched_run inside sched_run");
    thread_enter(t, &workers[0], NULL);
    hostpoll_allow();
    sched_start_threads();
    thread_loop(t);
    monitor_stop();
    sched_ring_all();
    sched_join_threads(t);
    thread_leave(t);
    t->is_spare = false;
    t->handed = NULL;
    atomic_store(&sched.idle_mask, 0);
    sched.sleeper = NULL;
    atomic_store(&sched.sleep_deadline, CLOCK_NEVER);
    atomic_fetch_add(&sched.gen, 1);
}

void sched_stop(void)
{
    atomic_store(&sched.stopping, true);
    sched_ring_all();
}

int sched_defer(void (*fn)(void *arg), void *arg)
{
    struct fiber *f = fiber_new("defer", fn, arg);

    if (f == NULL) {
        return -ENOMEM;
    }
    fiber_start(f);
    return 0;
}

void sched_get_stats(struct sched_stats *out)
{
    memset(out, 0, sizeof(*out));
    for (unsigned i = 0; i < sched.nr_workers; i++) {
        out->switches += atomic_load_explicit(&workers[i].stat_switches, memory_order_relaxed);
        out->steals += atomic_load_explicit(&workers[i].stat_steals, memory_order_relaxed);
        out->parks += atomic_load_explicit(&workers[i].stat_parks, memory_order_relaxed);
        out->idle_sleeps += atomic_load_explicit(&workers[i].stat_sleeps, memory_order_relaxed);
    }
    out->spares = atomic_load_explicit(&sched.stat_spares, memory_order_relaxed);
}
