/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the scheduler's steps cost, in nanoseconds of CPU time (the wall clock of a busy machine
 * says little): one line a measure.
 */
#include "base/clock.h"
#include "base/heap.h"
#include "base/panic.h"
#include "base/sched/fiber.h"
#include "base/sched/lock.h"
#include "base/sched/timer.h"
#include "base/sched/waitq.h"
#include "base/sched/worker.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static u64 rounds;
static _Atomic u32 live;
static struct waitq done_wq;

static u64 cpu_time(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (u64)ts.tv_sec * NSEC_PER_SEC + (u64)ts.tv_nsec;
}

static void report(const char *what, u64 start, u64 count)
{
    printf("%-44s %8.1f ns\n", what, (double)(cpu_time() - start) / (double)count);
}

static void leave(void)
{
    atomic_fetch_sub(&live, 1);
    waitq_wake_all(&done_wq);
}

static void spawn(fiber_fn fn, void *arg)
{
    struct fiber *f = fiber_new("bench", fn, arg);

    CHECK(f != NULL, "no fiber");
    atomic_fetch_add(&live, 1);
    fiber_start(f);
}

static void join(void)
{
    CHECK(waitq_wait_event(&done_wq, atomic_load(&live) == 0, PARK_UNINTERRUPTIBLE, CLOCK_NEVER) ==
              0,
          "wait");
}

static void yielder(void *arg)
{
    for (u64 i = 0; i < rounds; i++) {
        fiber_yield();
    }
    leave();
}

/* Two yielding to each other: a yield is one switch out and one in. */
static void bench_yield(void)
{
    u64 start = cpu_time();

    spawn(yielder, NULL);
    spawn(yielder, NULL);
    join();
    report("yield to another fiber", start, 2 * rounds);
}

static struct waitq ping_wq[2];
static _Atomic u32 ping_turn;
static u64 ping_timeout;

static void pinger(void *arg)
{
    u32 me = (u32)(u64)arg;

    for (u64 i = 0; i < rounds; i++) {
        u64 deadline = ping_timeout != 0 ? clock_monotonic() + ping_timeout : CLOCK_NEVER;

        CHECK(waitq_wait_event(&ping_wq[me], atomic_load(&ping_turn) == me, PARK_INTERRUPTIBLE,
                               deadline) == 0,
              "wait");
        atomic_store(&ping_turn, 1 - me);
        waitq_wake_all(&ping_wq[1 - me]);
    }
    leave();
}

static void bench_ping(const char *what, u64 timeout)
{
    u64 start = cpu_time();

    ping_timeout = timeout;
    atomic_store(&ping_turn, 0);
    spawn(pinger, (void *)0);
    spawn(pinger, (void *)1);
    join();
    report(what, start, 2 * rounds);
}

static void nothing(void *arg)
{
    leave();
}

static void bench_spawn(void)
{
    u64 start = cpu_time();

    for (u64 i = 0; i < rounds / 8; i++) {
        spawn(nothing, NULL);
        fiber_yield();
    }
    join();
    report("new fiber, run, end", start, rounds / 8);
}

static void bench_locks(void)
{
    static struct mutex m = MUTEX_INIT(LOCK_INODE);
    static struct rwlock rw = RWLOCK_INIT(LOCK_MM);
    static struct spinlock s;
    u64 start = cpu_time();

    for (u64 i = 0; i < rounds; i++) {
        mutex_lock(&m);
        mutex_unlock(&m);
    }
    report("mutex lock + unlock", start, rounds);
    start = cpu_time();
    for (u64 i = 0; i < rounds; i++) {
        read_lock(&rw);
        read_unlock(&rw);
    }
    report("read lock + unlock", start, rounds);
    start = cpu_time();
    for (u64 i = 0; i < rounds; i++) {
        spin_lock(&s);
        spin_unlock(&s);
    }
    report("spin lock + unlock", start, rounds);
}

static void never(struct ktimer *t)
{
}

static void bench_small(void)
{
    struct ktimer t;
    struct waitq wq;
    u64 start = cpu_time();

    for (u64 i = 0; i < rounds; i++) {
        worker_block_begin();
        worker_block_end();
    }
    report("block_begin + block_end", start, rounds);
    ktimer_init(&t, never);
    start = cpu_time();
    for (u64 i = 0; i < rounds; i++) {
        ktimer_arm(&t, clock_monotonic() + 3600 * NSEC_PER_SEC);
        (void)ktimer_cancel(&t);
    }
    report("timer arm + cancel", start, rounds);
    waitq_init(&wq);
    start = cpu_time();
    for (u64 i = 0; i < rounds; i++) {
        waitq_wake_all(&wq);
    }
    report("wake an empty queue", start, rounds);
    start = cpu_time();
    for (u64 i = 0; i < rounds; i++) {
        (void)clock_monotonic();
    }
    report("clock_monotonic", start, rounds);
}

static void bench_main(void *arg)
{
    waitq_init(&done_wq);
    waitq_init(&ping_wq[0]);
    waitq_init(&ping_wq[1]);
    bench_yield();
    bench_ping("park + wake another fiber", 0);
    bench_ping("the same with a time-out", NSEC_PER_SEC);
    bench_spawn();
    bench_locks();
    bench_small();
    sched_stop();
}

static void run(unsigned workers)
{
    struct sched_config config = {.workers = workers};
    struct sched_stats stats;
    struct fiber *f;

    printf("-- %u worker%s\n", workers, workers == 1 ? "" : "s");
    CHECK(sched_init(&config) == 0, "sched_init");
    f = fiber_new("main", bench_main, NULL);
    CHECK(f != NULL, "no fiber");
    fiber_start(f);
    sched_run();
    sched_get_stats(&stats);
    printf("   %lu switches, %lu parks, %lu steals, %lu sleeps\n", stats.switches, stats.parks,
           stats.steals, stats.idle_sleeps);
}

int main(int argc, char **argv)
{
    rounds = argc > 1 ? strtoul(argv[1], NULL, 10) : 200000;
    if (heap_init() != 0) {
        return 1;
    }
    run(1);
    run(2);
    return 0;
}
