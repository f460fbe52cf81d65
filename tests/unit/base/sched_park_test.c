/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Park against wake, time-out and interrupt, from fibers and from host threads: no wake is lost, no
 * result is wrong. A lost wake-up shows as a hang (the suite's time-out).
 */
#include "tests/unit/base/sched_scene.h"

#include <pthread.h>

/* ---- tokens: a counter of permits, taken one a wake, with short time-outs in between ---- */

static struct waitq permits_wq;
static _Atomic u64 permits;
static _Atomic u64 permits_taken;
static _Atomic u64 permits_goal;

static bool take_permit(void)
{
    u64 n = atomic_load(&permits);

    while (n > 0) {
        if (atomic_compare_exchange_weak(&permits, &n, n - 1)) {
            return true;
        }
    }
    return false;
}

static void consumer(void *arg)
{
    (void)arg;
    while (atomic_load(&permits_taken) < permits_goal) {
        u64 deadline = CLOCK_NEVER;
        int ret;

        if (scene_random(4) == 0) {
            deadline = clock_monotonic() + scene_random(20) * NSEC_PER_USEC;
        }
        ret = waitq_wait_event(&permits_wq,
                               take_permit() || atomic_load(&permits_taken) >= permits_goal,
                               PARK_UNINTERRUPTIBLE, deadline);
        CHECK(ret == 0 || (ret == -ETIMEDOUT && clock_monotonic() >= deadline), "wait says %d",
              ret);
        if (ret == 0 && atomic_load(&permits_taken) < permits_goal) {
            if (atomic_fetch_add(&permits_taken, 1) + 1 >= permits_goal) {
                waitq_wake_all(&permits_wq);
            }
        }
    }
}

static void producer(void *arg)
{
    u64 n = (u64)arg;

    for (u64 i = 0; i < n; i++) {
        atomic_fetch_add(&permits, 1);
        (void)waitq_wake(&permits_wq, 0, 1);
        if (scene_random(8) == 0) {
            fiber_yield();
        }
    }
}

static void *producer_thread(void *arg)
{
    producer(arg);
    return NULL;
}

static void permits_start(u64 total)
{
    waitq_init(&permits_wq);
    atomic_store(&permits, 0);
    atomic_store(&permits_taken, 0);
    atomic_store(&permits_goal, total);
}

static void permits_from_fibers(void *arg)
{
    u64 each = scene_rounds(30000);

    permits_start(4 * each);
    for (int i = 0; i < 4; i++) {
        (void)scene_spawn("consumer", consumer, NULL);
        (void)scene_spawn("producer", producer, (void *)each);
    }
    scene_join();
    CHECK(atomic_load(&permits_taken) == 4 * each, "%lu taken", atomic_load(&permits_taken));
    waitq_fini(&permits_wq);
}

static void wakes_from_fibers_are_not_lost(void **state)
{
    (void)state;
    for (unsigned workers = 1; workers <= 3; workers++) {
        scene_run(workers, 0, permits_from_fibers, NULL);
    }
}

static void permits_from_threads(void *arg)
{
    u64 each = scene_rounds(30000);
    pthread_t tids[2];

    permits_start(2 * each);
    for (int i = 0; i < 3; i++) {
        (void)scene_spawn("consumer", consumer, NULL);
    }
    for (int i = 0; i < 2; i++) {
        CHECK(pthread_create(&tids[i], NULL, producer_thread, (void *)each) == 0, "no thread");
    }
    scene_join();
    for (int i = 0; i < 2; i++) {
        (void)pthread_join(tids[i], NULL);
    }
    waitq_fini(&permits_wq);
}

static void wakes_from_threads_are_not_lost(void **state)
{
    (void)state;
    scene_run(1, 0, permits_from_threads, NULL);
    scene_run(2, 0, permits_from_threads, NULL);
}

/* ---- park results under a storm of everything ---- */

#define STORM_FIBERS 8

static struct fiber *_Atomic storm[STORM_FIBERS];
static struct spinlock storm_lock; /* keeps a storm fiber alive while it is touched */
static _Atomic u32 storm_left;

static void storm_park(u64 me, u64 *results)
{
    static const enum park_mode modes[] = {PARK_UNINTERRUPTIBLE, PARK_KILLABLE, PARK_INTERRUPTIBLE};
    enum park_mode mode = modes[scene_random(3)];
    u64 deadline = clock_monotonic() + scene_random(40) * NSEC_PER_USEC;
    int ret = fiber_park(mode, deadline);

    switch (ret) {
    case 0:
        results[0]++;
        break;
    case -ETIMEDOUT:
        CHECK(clock_monotonic() >= deadline, "too early");
        results[1]++;
        break;
    case -ERESTARTSYS:
        CHECK(mode != PARK_UNINTERRUPTIBLE && fiber_is_interrupted(), "no interrupt");
        results[2]++;
        break;
    default:
        BUG("fiber %lu: park says %d", me, ret);
    }
    if (scene_random(2) == 0) {
        fiber_clear_interrupt();
    }
}

static void storm_fiber(void *arg)
{
    u64 me = (u64)arg;
    u64 results[3] = {0};

    atomic_store(&storm[me], fiber_current());
    for (u64 i = 0; i < scene_rounds(15000); i++) {
        storm_park(me, results);
    }
    CHECK(results[0] != 0 && results[1] != 0 && results[2] != 0, "%lu %lu %lu", results[0],
          results[1], results[2]);
    spin_lock(&storm_lock);
    atomic_store(&storm[me], NULL);
    spin_unlock(&storm_lock);
    atomic_fetch_sub(&storm_left, 1);
}

static void storm_touch(u64 who, u64 how)
{
    struct fiber *f;

    spin_lock(&storm_lock);
    f = atomic_load(&storm[who]);
    if (f != NULL && how % 4 == 0) {
        fiber_interrupt(f, how % 8 == 0);
    } else if (f != NULL) {
        fiber_wake(f);
    }
    spin_unlock(&storm_lock);
}

static void *storm_thread(void *arg)
{
    while (atomic_load(&storm_left) != 0) {
        storm_touch(scene_random(STORM_FIBERS), scene_random(16));
        if (scene_random(4) == 0) {
            usleep(1);
        }
    }
    return NULL;
}

static void storm_main(void *arg)
{
    pthread_t tid;

    atomic_store(&storm_left, STORM_FIBERS);
    for (u64 i = 0; i < STORM_FIBERS; i++) {
        (void)scene_spawn("storm", storm_fiber, (void *)i);
    }
    CHECK(pthread_create(&tid, NULL, storm_thread, NULL) == 0, "no thread");
    while (atomic_load(&storm_left) != 0) {
        storm_touch(scene_random(STORM_FIBERS), scene_random(16));
        if (scene_random(8) == 0) {
            scene_sleep(20 * NSEC_PER_USEC);
        } else {
            fiber_yield();
        }
    }
    (void)pthread_join(tid, NULL);
}

static void parks_say_the_truth_under_storm(void **state)
{
    (void)state;
    scene_run(1, 0, storm_main, NULL);
    scene_run(3, 0, storm_main, NULL);
}

/* ---- rules ---- */

static void rules_main(void *arg)
{
    struct fiber *self = fiber_current();
    u64 now = clock_monotonic();

    CHECK(fiber_park(PARK_UNINTERRUPTIBLE, now) == -ETIMEDOUT, "a past deadline");
    fiber_wake(self);
    fiber_wake(self);
    CHECK(fiber_park(PARK_UNINTERRUPTIBLE, CLOCK_NEVER) == 0, "the token stays");
    CHECK(fiber_park(PARK_UNINTERRUPTIBLE, now) == -ETIMEDOUT, "and is one");
    fiber_interrupt(self, false);
    CHECK(fiber_is_interrupted(), "flag");
    CHECK(fiber_park(PARK_UNINTERRUPTIBLE, now) == -ETIMEDOUT, "uninterruptible");
    CHECK(fiber_park(PARK_KILLABLE, now) == -ETIMEDOUT, "not fatal");
    CHECK(fiber_park(PARK_INTERRUPTIBLE, CLOCK_NEVER) == -ERESTARTSYS, "pending on entry");
    CHECK(fiber_park(PARK_INTERRUPTIBLE, CLOCK_NEVER) == -ERESTARTSYS, "and stays");
    fiber_clear_interrupt();
    CHECK(!fiber_is_interrupted(), "cleared");
    fiber_interrupt(self, true);
    CHECK(fiber_park(PARK_KILLABLE, CLOCK_NEVER) == -ERESTARTSYS, "fatal");
    fiber_clear_interrupt();
    fiber_set_local(self, &now);
    CHECK(fiber_current_local() == &now && fiber_local(self) == &now, "local");
    CHECK(strcmp(fiber_name(self), "main") == 0, "name");
}

static void park_follows_its_rules(void **state)
{
    (void)state;
    assert_null(fiber_current());
    assert_null(fiber_current_local());
    assert_false(fiber_is_interrupted());
    scene_run(1, 0, rules_main, NULL);
}

/* A fiber that sleeps for a mutex while it checks its condition must not swallow the wake-up. */
static struct mutex cond_lock;
static _Atomic bool cond_flag;
static _Atomic u32 cond_round;

static bool cond_check(void)
{
    bool flag = atomic_load(&cond_flag);

    mutex_lock(&cond_lock);
    mutex_unlock(&cond_lock);
    return flag;
}

static void cond_waiter(void *arg)
{
    struct waitq *wq = arg;

    for (u64 i = 0; i < scene_rounds(20000); i++) {
        CHECK(waitq_wait_event(wq, cond_check(), PARK_UNINTERRUPTIBLE, CLOCK_NEVER) == 0, "wait");
        atomic_store(&cond_flag, false);
        atomic_fetch_add(&cond_round, 1);
    }
}

static void cond_main(void *arg)
{
    struct waitq wq;

    waitq_init(&wq);
    atomic_store(&cond_round, 0);
    atomic_store(&cond_flag, false);
    (void)scene_spawn("waiter", cond_waiter, &wq);
    for (u32 i = 0; i < scene_rounds(20000); i++) {
        mutex_lock(&cond_lock);
        atomic_store(&cond_flag, true);
        waitq_wake_all(&wq);
        fiber_yield();
        mutex_unlock(&cond_lock);
        while (atomic_load(&cond_round) == i) {
            fiber_yield();
        }
    }
    scene_join();
    waitq_fini(&wq);
}

static void locks_in_a_condition_keep_its_token(void **state)
{
    (void)state;
    scene_run(1, 0, cond_main, NULL);
    scene_run(2, 0, cond_main, NULL);
}

/* ---- wait queues ---- */

static _Atomic u32 woken_exclusive;

static void exclusive_waiter(void *arg)
{
    struct waitq *wq = arg;
    struct waiter w;

    waiter_init_current(&w);
    waitq_add_exclusive(wq, &w, 1);
    while (fiber_park(PARK_UNINTERRUPTIBLE, CLOCK_NEVER) != 0) {
    }
    atomic_fetch_add(&woken_exclusive, 1);
    waitq_remove(&w);
}

static void exclusive_main(void *arg)
{
    struct waitq wq;

    waitq_init(&wq);
    atomic_store(&woken_exclusive, 0);
    for (int i = 0; i < 5; i++) {
        (void)scene_spawn("exclusive", exclusive_waiter, &wq);
    }
    fiber_yield();
    CHECK(waitq_wake(&wq, 2, 1) == 0, "other events");
    /* Two wakes before anybody runs are for two. */
    CHECK(waitq_wake(&wq, 1, 1) == 1 && waitq_wake(&wq, 1, 1) == 1, "one each");
    fiber_yield();
    fiber_yield();
    CHECK(atomic_load(&woken_exclusive) == 2, "%u woken", atomic_load(&woken_exclusive));
    CHECK(waitq_wake(&wq, 0, 0) == 3, "the rest");
    scene_join();
    CHECK(waitq_is_empty(&wq), "empty");
    waitq_fini(&wq);
}

static void exclusive_wakes_go_to_different_waiters(void **state)
{
    (void)state;
    scene_run(1, 0, exclusive_main, NULL);
}

static u32 callback_events;

static bool note_events(struct waiter *w, u32 events)
{
    callback_events |= events;
    return false;
}

static void callbacks_see_matching_events(void **state)
{
    struct waitq wq;
    struct waiter w;

    (void)state;
    waitq_init(&wq);
    waiter_init_callback(&w, note_events);
    waitq_add(&wq, &w, 4);
    (void)waitq_wake(&wq, 2, 0);
    assert_int_equal(callback_events, 0);
    (void)waitq_wake(&wq, 6, 0);
    assert_int_equal(callback_events, 6);
    waitq_remove(&w);
    waitq_remove(&w);
    assert_int_equal(waitq_wake(&wq, 6, 0), 0);
    waitq_fini(&wq);
}

/* ---- stacks ---- */

static void deep(void *arg)
{
    volatile char buf[48 * 1024];

    for (size_t i = 0; i < sizeof(buf); i += 512) {
        buf[i] = (char)i;
    }
    fiber_yield();
    CHECK(buf[512 * 3] == (char)(512 * 3), "the stack kept its bytes");
}

static void many_main(void *arg)
{
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 300; i++) {
            (void)scene_spawn("deep", deep, NULL);
        }
        scene_join();
    }
}

static void stacks_are_reused(void **state)
{
    (void)state;
    scene_run(2, 0, many_main, NULL);
}

static void an_unstarted_fiber_is_discarded(void **state)
{
    u64 before = heap_objects_in_use();
    struct fiber *f = fiber_new("never", deep, NULL);

    (void)state;
    assert_non_null(f);
    fiber_discard(f);
    assert_int_equal(heap_objects_in_use(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(park_follows_its_rules),
        cmocka_unit_test(wakes_from_fibers_are_not_lost),
        cmocka_unit_test(wakes_from_threads_are_not_lost),
        cmocka_unit_test(parks_say_the_truth_under_storm),
        cmocka_unit_test(locks_in_a_condition_keep_its_token),
        cmocka_unit_test(exclusive_wakes_go_to_different_waiters),
        cmocka_unit_test(callbacks_see_matching_events),
        cmocka_unit_test(stacks_are_reused),
        cmocka_unit_test(an_unstarted_fiber_is_discarded),
    };

    if (heap_init() != 0) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
