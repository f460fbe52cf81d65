/* SPDX-License-Identifier: Apache-2.0 */
/* Fibers and workers: park and wake races, time-outs, interrupts, locks, brackets, the seeded
 * order. */
#include "base/clock.h"
#include "base/err.h"
#include "base/heap.h"
#include "base/panic.h"
#include "base/sched/fiber.h"
#include "base/sched/lock.h"
#include "base/sched/waitq.h"
#include "base/sched/worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static _Atomic int done_count;

static u64 rounds(u64 normal)
{
    return getenv("PAVISE_LONG") != NULL ? normal * 20 : normal;
}

/* Run `count` fibers of fn(arg + i) to their end on `workers` workers. */
static void run_fibers(unsigned workers, u64 seed, fiber_fn fn, int count)
{
    struct sched_config config = {.workers = workers, .seed = seed};
    u64 before;

    before = fiber_count();
    done_count = 0;
    assert_int_equal(sched_init(&config), 0);
    for (long i = 0; i < count; i++) {
        struct fiber *f = fiber_new("test", fn, (void *)i);

        assert_non_null(f);
        fiber_start(f);
    }
    sched_run();
    assert_int_equal(fiber_count(), before);
}

static int expected;

static void finish(void)
{
    if (++done_count == expected) {
        sched_stop();
    }
}

/* ---- ping-pong over a wait queue ---- */

static struct waitq ball_wq;
static _Atomic u64 ball, ball_goal;

static void pingpong(void *arg)
{
    u64 me = (u64)arg;

    while (ball < ball_goal) {
        int err = waitq_wait_event(&ball_wq, ball % 2 == me || ball >= ball_goal,
                                   PARK_UNINTERRUPTIBLE, CLOCK_NEVER);

        assert_int_equal(err, 0);
        if (ball < ball_goal) {
            ball++;
        }
        waitq_wake_all(&ball_wq);
    }
    finish();
}

static void pingpong_loses_no_wakeup(void **state)
{
    (void)state;
    for (unsigned workers = 1; workers <= 3; workers++) {
        waitq_init(&ball_wq);
        ball = 0;
        ball_goal = rounds(50000);
        expected = 2;
        run_fibers(workers, 0, pingpong, 2);
        waitq_fini(&ball_wq);
    }
}

static void pingpong_seeded(void **state)
{
    (void)state;
    for (u64 seed = 1; seed <= rounds(100); seed++) {
        waitq_init(&ball_wq);
        ball = 0;
        ball_goal = 200;
        expected = 2;
        run_fibers(1, seed, pingpong, 2);
    }
}

/* ---- mutex: a counter that is not atomic ---- */

static struct mutex mtx;
static u64 counter;

static void count_up(void *arg)
{
    (void)arg;
    for (u64 i = 0; i < rounds(20000); i++) {
        mutex_lock(&mtx);
        counter++;
        if (i % 1000 == 0) {
            fiber_yield();
        }
        mutex_unlock(&mtx);
    }
    finish();
}

static void mutex_excludes(void **state)
{
    (void)state;
    mutex_init(&mtx, LOCK_INODE);
    counter = 0;
    expected = 16;
    run_fibers(3, 0, count_up, 16);
    assert_int_equal(counter, 16 * rounds(20000));
}

/* ---- rwlock: readers see pairs that agree ---- */

static struct rwlock rw;
static u64 pair[2];

static void read_or_write(void *arg)
{
    u64 me = (u64)arg;

    for (u64 i = 0; i < rounds(10000); i++) {
        if (me % 4 == 0) {
            write_lock(&rw);
            pair[0]++;
            if (i % 100 == 0) {
                fiber_yield();
            }
            pair[1]++;
            write_unlock(&rw);
        } else {
            read_lock(&rw);
            assert_int_equal(pair[0], pair[1]);
            read_unlock(&rw);
        }
    }
    finish();
}

static void rwlock_excludes(void **state)
{
    (void)state;
    rwlock_init(&rw, LOCK_INODE);
    expected = 12;
    run_fibers(3, 0, read_or_write, 12);
    assert_int_equal(pair[0], 3 * rounds(10000));
}

/* ---- time-outs and interrupts ---- */

static struct fiber *sleeper;

static void sleeps(void *arg)
{
    u64 start = clock_monotonic();
    int err;

    (void)arg;
    do {
        err = fiber_park(PARK_UNINTERRUPTIBLE, start + 5 * NSEC_PER_MSEC);
    } while (err == 0);
    assert_int_equal(err, -ETIMEDOUT);
    assert_true(clock_monotonic() >= start + 5 * NSEC_PER_MSEC);
    finish();
}

static void timeouts_fire(void **state)
{
    (void)state;
    expected = 200;
    run_fibers(2, 0, sleeps, 200);
}

static _Atomic u64 interrupts_seen;

static void interrupter_or_sleeper(void *arg)
{
    if (arg == NULL) {
        sleeper = fiber_current();
        for (u64 i = 0; i < rounds(5000); i++) {
            int err = fiber_park(PARK_INTERRUPTIBLE, clock_monotonic() + NSEC_PER_SEC * 10);

            assert_true(err == -ERESTARTSYS || err == 0);
            if (err != 0) {
                fiber_clear_interrupt();
                interrupts_seen++;
            }
        }
        __atomic_store_n(&sleeper, NULL, __ATOMIC_SEQ_CST);
        finish();
        return;
    }
    while (interrupts_seen == 0 || __atomic_load_n(&sleeper, __ATOMIC_SEQ_CST) != NULL) {
        struct fiber *f = __atomic_load_n(&sleeper, __ATOMIC_SEQ_CST);

        if (f != NULL) {
            fiber_interrupt(f, false);
        }
        fiber_yield();
    }
    finish();
}

static void interrupts_end_parks(void **state)
{
    (void)state;
    expected = 2;
    run_fibers(1, 0, interrupter_or_sleeper, 2);
    assert_true(interrupts_seen > 0);
}

/* ---- brackets ---- */

static void blocks(void *arg)
{
    (void)arg;
    for (int i = 0; i < 10; i++) {
        worker_block_begin();
        usleep(10000);
        worker_block_end();
    }
    finish();
}

static void brackets_do_not_hold_up_workers(void **state)
{
    u64 start = clock_monotonic();

    (void)state;
    expected = 16;
    run_fibers(1, 0, blocks, 16);
    /* One after the other they would need 1600 ms. */
    assert_true(clock_monotonic() - start < 800 * NSEC_PER_MSEC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pingpong_loses_no_wakeup),
        cmocka_unit_test(pingpong_seeded),
        cmocka_unit_test(mutex_excludes),
        cmocka_unit_test(rwlock_excludes),
        cmocka_unit_test(timeouts_fire),
        cmocka_unit_test(interrupts_end_parks),
        cmocka_unit_test(brackets_do_not_hold_up_workers),
    };

    if (heap_init() != 0) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
