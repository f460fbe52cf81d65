/* SPDX-License-Identifier: Apache-2.0 */
/* Timers: order, re-arming, cancelling against a running callback, who wakes up for them. */
#include "tests/unit/base/sched_scene.h"

#include <pthread.h>
#include <sys/resource.h>

#define NR_TIMERS 64

struct test_timer {
    struct ktimer t;
    _Atomic u64 fired;
    _Atomic bool is_firing;
};

static void count_fire(struct ktimer *t)
{
    struct test_timer *tt = container_of(t, struct test_timer, t);

    CHECK(clock_monotonic() >= t->deadline, "too early");
    CHECK(!atomic_exchange(&tt->is_firing, true), "a callback runs once at a time");
    atomic_fetch_add(&tt->fired, 1);
    atomic_store(&tt->is_firing, false);
}

static void each_main(void *arg)
{
    struct test_timer timers[NR_TIMERS];
    u64 start = clock_monotonic();

    memset(timers, 0, sizeof(timers));
    for (size_t i = 0; i < NR_TIMERS; i++) {
        ktimer_init(&timers[i].t, count_fire);
        ktimer_arm(&timers[i].t, start + scene_random(20) * NSEC_PER_MSEC / 4);
        if (i % 4 == 0) {
            /* Re-arming moves it. */
            ktimer_arm(&timers[i].t, start + NSEC_PER_MSEC);
        }
    }
    CHECK(ktimer_cancel(&timers[1].t), "was armed");
    CHECK(!ktimer_cancel(&timers[1].t), "was not");
    scene_sleep(8 * NSEC_PER_MSEC);
    fiber_yield(); /* on a busy machine the sleep may have been over before it began */
    scene_sleep(NSEC_PER_MSEC);
    for (size_t i = 0; i < NR_TIMERS; i++) {
        CHECK(atomic_load(&timers[i].fired) == (i == 1 ? 0 : 1), "timer %zu fired %lu", i,
              atomic_load(&timers[i].fired));
        ktimer_cancel_sync(&timers[i].t);
    }
}

static void each_timer_fires_once(void **state)
{
    (void)state;
    scene_run(1, 0, each_main, NULL);
    scene_run(2, 0, each_main, NULL);
}

/* ---- re-arming itself ---- */

static void rearm_fire(struct ktimer *t)
{
    struct test_timer *tt = container_of(t, struct test_timer, t);

    count_fire(t);
    if (atomic_load(&tt->fired) < 20) {
        ktimer_arm(t, clock_monotonic() + 100 * NSEC_PER_USEC);
    }
}

static void rearm_main(void *arg)
{
    struct test_timer tt;

    memset(&tt, 0, sizeof(tt));
    ktimer_init(&tt.t, rearm_fire);
    ktimer_arm(&tt.t, 0);
    while (atomic_load(&tt.fired) < 20) {
        scene_sleep(NSEC_PER_MSEC);
    }
    ktimer_cancel_sync(&tt.t);
}

static void a_callback_may_rearm(void **state)
{
    (void)state;
    scene_run(2, 0, rearm_main, NULL);
}

/* ---- cancel_sync: after it returns the memory may go ---- */

static void slow_fire(struct ktimer *t)
{
    struct test_timer *tt = container_of(t, struct test_timer, t);

    atomic_store(&tt->is_firing, true);
    for (int i = 0; i < 20; i++) {
        __asm__ volatile("pause");
    }
    atomic_store(&tt->is_firing, false);
}

static void cancel_fiber(void *arg)
{
    for (u64 i = 0; i < scene_rounds(20000); i++) {
        struct test_timer tt;

        memset(&tt, 0, sizeof(tt));
        ktimer_init(&tt.t, slow_fire);
        ktimer_arm(&tt.t, clock_monotonic() + scene_random(3) * NSEC_PER_USEC);
        if (scene_random(2) == 0) {
            fiber_yield();
        }
        ktimer_cancel_sync(&tt.t);
        CHECK(!atomic_load(&tt.is_firing) && !tt.t.armed, "still at work");
    }
}

static void cancel_main(void *arg)
{
    for (int i = 0; i < 4; i++) {
        (void)scene_spawn("cancel", cancel_fiber, NULL);
    }
}

static void cancel_sync_waits_for_the_callback(void **state)
{
    (void)state;
    scene_run(1, 0, cancel_main, NULL);
    scene_run(3, 0, cancel_main, NULL);
}

/* ---- armed by a thread that is no worker, while everybody sleeps ---- */

static struct test_timer outside;
static struct waitq outside_wq;

static void outside_fire(struct ktimer *t)
{
    count_fire(t);
    waitq_wake_all(&outside_wq);
}

static void *outside_thread(void *arg)
{
    usleep(2000);
    ktimer_arm(&outside.t, clock_monotonic() + 2 * NSEC_PER_MSEC);
    return NULL;
}

static void outside_main(void *arg)
{
    pthread_t tid;
    u64 start = clock_monotonic();

    waitq_init(&outside_wq);
    memset(&outside, 0, sizeof(outside));
    ktimer_init(&outside.t, outside_fire);
    CHECK(pthread_create(&tid, NULL, outside_thread, NULL) == 0, "no thread");
    CHECK(waitq_wait_event(&outside_wq, atomic_load(&outside.fired) != 0, PARK_UNINTERRUPTIBLE,
                           start + 5 * NSEC_PER_SEC) == 0,
          "overslept");
    (void)pthread_join(tid, NULL);
    waitq_fini(&outside_wq);
}

static void a_timer_of_another_thread_is_not_overslept(void **state)
{
    (void)state;
    scene_run(1, 0, outside_main, NULL);
    scene_run(2, 0, outside_main, NULL);
}

/* ---- wake-ups ---- */

unused_arg static u64 context_switches(void)
{
    struct rusage ru;

    (void)getrusage(RUSAGE_SELF, &ru);
    return (u64)(ru.ru_nvcsw + ru.ru_nivcsw);
}

/* Wake-ups and host switches in 200 ms without work are few: one quiet window of five will do. */
unused_arg static bool idle_window_is_quiet(void)
{
    struct sched_stats before;
    struct sched_stats after;
    u64 switches = context_switches();

    sched_get_stats(&before);
    scene_sleep(200 * NSEC_PER_MSEC);
    sched_get_stats(&after);
    return context_switches() - switches <= 4 && after.idle_sleeps - before.idle_sleeps <= 2;
}

unused_arg static void idle_main(void *arg)
{
    bool is_quiet = false;

    scene_sleep(20 * NSEC_PER_MSEC); /* the monitor settles */
    for (int i = 0; i < 5 && !is_quiet; i++) {
        is_quiet = idle_window_is_quiet();
    }
    CHECK(is_quiet, "an idle process wakes up");
}

unused_arg static void an_idle_process_sleeps(void **state)
{
    (void)state;
    scene_run(4, 0, idle_main, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_timer_fires_once),
        cmocka_unit_test(a_callback_may_rearm),
        cmocka_unit_test(cancel_sync_waits_for_the_callback),
        cmocka_unit_test(a_timer_of_another_thread_is_not_overslept),
#ifndef PAVISE_TSAN /* its background thread wakes up */
        cmocka_unit_test(an_idle_process_sleeps),
#endif
    };

    if (heap_init() != 0) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
