/* SPDX-License-Identifier: Apache-2.0 */
/* Workers: stealing, brackets and the monitor, a bound worker 0, stop, host readiness. */
#include "base/sched/hostpoll.h"
#include "tests/unit/base/sched_scene.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/epoll.h>

/* ---- brackets ---- */

static u64 stuck_us;
static _Atomic u64 other_ran_at;

static void stuck_fiber(void *arg)
{
    worker_block_begin();
    usleep((useconds_t)stuck_us);
    worker_block_end();
}

static void other_fiber(void *arg)
{
    atomic_store(&other_ran_at, clock_monotonic());
}

static void relief_main(void *arg)
{
    u64 start = clock_monotonic();

    stuck_us = 400000;
    (void)scene_spawn("stuck", stuck_fiber, NULL);
    (void)scene_spawn("other", other_fiber, NULL);
    scene_join();
    CHECK(atomic_load(&other_ran_at) - start < 300 * NSEC_PER_MSEC, "held up by %lu us",
          (atomic_load(&other_ran_at) - start) / NSEC_PER_USEC);
    CHECK(clock_monotonic() - start >= 400 * NSEC_PER_MSEC, "the call ran");
}

static void a_stuck_worker_is_relieved(void **state)
{
    struct sched_stats stats;

    (void)state;
    scene_run(1, 0, relief_main, NULL);
    sched_get_stats(&stats);
    assert_true(stats.spares >= 1);
    scene_run(2, 0, relief_main, NULL);
}

/* A timer that comes due while the only worker is stuck is fired by a spare. */
static void timer_main(void *arg)
{
    u64 start = clock_monotonic();

    stuck_us = 400000;
    (void)scene_spawn("stuck", stuck_fiber, NULL);
    scene_sleep(20 * NSEC_PER_MSEC);
    CHECK(clock_monotonic() - start < 300 * NSEC_PER_MSEC, "overslept");
}

static void a_timer_fires_while_all_are_stuck(void **state)
{
    (void)state;
    scene_run(1, 0, timer_main, NULL);
    scene_run(2, 0, timer_main, NULL);
}

/* A wake from outside while the only worker is stuck. */
static struct waitq outside_wq;
static _Atomic bool outside_flag;

static void *outside_thread(void *arg)
{
    usleep(20000);
    atomic_store(&outside_flag, true);
    waitq_wake_all(&outside_wq);
    return NULL;
}

static void outside_main(void *arg)
{
    u64 start = clock_monotonic();
    pthread_t tid;

    waitq_init(&outside_wq);
    atomic_store(&outside_flag, false);
    stuck_us = 400000;
    (void)scene_spawn("stuck", stuck_fiber, NULL);
    CHECK(pthread_create(&tid, NULL, outside_thread, NULL) == 0, "no thread");
    CHECK(waitq_wait_event(&outside_wq, atomic_load(&outside_flag), PARK_UNINTERRUPTIBLE,
                           CLOCK_NEVER) == 0,
          "wait");
    CHECK(clock_monotonic() - start < 300 * NSEC_PER_MSEC, "late");
    (void)pthread_join(tid, NULL);
    waitq_fini(&outside_wq);
}

static void a_wake_from_outside_finds_a_spare(void **state)
{
    (void)state;
    scene_run(1, 0, outside_main, NULL);
}

static void bracket_fiber(void *arg)
{
    for (u64 i = 0; i < scene_rounds(3000); i++) {
        worker_block_begin();
        if (scene_random(64) == 0) {
            usleep((useconds_t)scene_random(1500));
        }
        worker_block_end();
        if (scene_random(4) == 0) {
            fiber_yield();
        }
        if (scene_random(16) == 0) {
            scene_sleep(scene_random(50) * NSEC_PER_USEC);
        }
    }
}

static void bracket_main(void *arg)
{
    for (int i = 0; i < 8; i++) {
        (void)scene_spawn("bracket", bracket_fiber, NULL);
    }
}

static void brackets_under_load(void **state)
{
    (void)state;
    scene_run(1, 0, bracket_main, NULL);
    scene_run(2, 0, bracket_main, NULL);
    scene_run(4, 0, bracket_main, NULL);
}

/* ---- a platform's worker 0 ---- */

static pthread_t bound_thread;
static _Atomic u32 bound_word;
static _Atomic u64 bound_waits;
static _Atomic u64 bound_polls;

static void bound_poll(void)
{
    CHECK(pthread_equal(pthread_self(), bound_thread), "not worker 0's thread");
    atomic_fetch_add(&bound_polls, 1);
}

static void bound_wait(u64 deadline)
{
    CHECK(pthread_equal(pthread_self(), bound_thread), "not worker 0's thread");
    atomic_fetch_add(&bound_waits, 1);
    while (atomic_exchange(&bound_word, 0) == 0) {
        if (host_futex_wait(&bound_word, 0, deadline) == -ETIMEDOUT) {
            break;
        }
    }
}

static void bound_ring(void)
{
    atomic_store(&bound_word, 1);
    host_futex_wake(&bound_word, 1);
}

static const struct sched_idle_ops bound_ops = {
    .poll = bound_poll, .wait = bound_wait, .ring = bound_ring};

static void bound_bracket_main(void *arg)
{
    for (int i = 0; i < 50; i++) {
        worker_block_begin();
        CHECK(!pthread_equal(pthread_self(), bound_thread), "worker 0's thread must not block");
        worker_block_end();
        fiber_yield();
    }
}

static void bound_main(void *arg)
{
    u64 start = clock_monotonic();

    if (sched_nr_workers() == 1) {
        bound_bracket_main(NULL);
    }
    stuck_us = 300000;
    (void)scene_spawn("stuck", stuck_fiber, NULL);
    (void)scene_spawn("other", other_fiber, NULL);
    scene_sleep(10 * NSEC_PER_MSEC);
    CHECK(atomic_load(&other_ran_at) - start < 250 * NSEC_PER_MSEC, "held up");
    scene_join();
    bracket_main(NULL);
}

static void a_bound_worker_keeps_its_thread(void **state)
{
    (void)state;
    bound_thread = pthread_self();
    scene_run_ops(1, 0, &bound_ops, bound_main, NULL);
    scene_run_ops(3, 0, &bound_ops, bound_main, NULL);
    assert_true(atomic_load(&bound_waits) > 0);
    assert_true(atomic_load(&bound_polls) > 0);
}

/* ---- stealing ---- */

static void burner(void *arg)
{
    scene_burn(3000);
}

static void steal_main(void *arg)
{
    for (int i = 0; i < 12; i++) {
        (void)scene_spawn("burner", burner, NULL);
    }
    scene_join();
}

static void idle_workers_steal(void **state)
{
    struct sched_stats stats;

    (void)state;
    scene_run(2, 0, steal_main, NULL);
    sched_get_stats(&stats);
    assert_true(stats.steals > 0);
    assert_true(stats.switches >= 12);
}

/* ---- defer, stop ---- */

static _Atomic u32 deferred;

static void count_deferred(void *arg)
{
    atomic_fetch_add(&deferred, 1);
    fiber_yield();
}

static void defer_main(void *arg)
{
    for (u32 i = 0; i < 10; i++) {
        CHECK(sched_defer(count_deferred, NULL) == 0, "defer");
    }
    while (fiber_count() > 1) {
        fiber_yield();
    }
    CHECK(atomic_load(&deferred) == 10, "%u", atomic_load(&deferred));
}

static void deferred_calls_run(void **state)
{
    (void)state;
    scene_run(1, 0, defer_main, NULL);
}

static void config_is_checked(void **state)
{
    struct sched_config config = {.workers = 0};

    (void)state;
    assert_int_equal(sched_init(&config), -EINVAL);
    config.workers = 65;
    assert_int_equal(sched_init(&config), -EINVAL);
}

static void stop_fiber(void *arg)
{
    scene_sleep(5 * NSEC_PER_MSEC);
    sched_stop();
}

/* One is stuck in the host for long: sched_run returns all the same, and a new one can start. */
static void stop_does_not_wait_for_the_host(void **state)
{
    struct sched_config config = {.workers = 2};
    u64 start = clock_monotonic();
    struct fiber *f[2];

    (void)state;
    assert_int_equal(sched_init(&config), 0);
    bound_thread = pthread_self();
    sched_set_idle_ops(&bound_ops); /* else this very thread may be the stuck one */
    stuck_us = 700000;
    f[0] = fiber_new("stuck", stuck_fiber, NULL);
    f[1] = fiber_new("stop", stop_fiber, NULL);
    assert_true(f[0] != NULL && f[1] != NULL);
    fiber_start(f[0]);
    fiber_start(f[1]);
    sched_run();
    assert_true(clock_monotonic() - start < 600 * NSEC_PER_MSEC);
    scene_run(2, 0, steal_main, NULL);
    usleep(800000); /* it comes back, and is not let in */
    scene_run(2, 0, steal_main, NULL);
}

/* ---- host readiness ---- */

struct watch {
    struct hostpoll p;
    struct waitq wq;
    _Atomic u32 events;
    _Atomic u32 calls;
};

static void watch_ready(struct hostpoll *p, u32 events)
{
    struct watch *w = container_of(p, struct watch, p);

    atomic_fetch_or(&w->events, events);
    atomic_fetch_add(&w->calls, 1);
    waitq_wake_all(&w->wq);
}

static void watch_init(struct watch *w, int fd)
{
    memset(w, 0, sizeof(*w));
    w->p.fd = fd;
    w->p.ready = watch_ready;
    waitq_init(&w->wq);
}

static void *writer_thread(void *arg)
{
    usleep(3000);
    CHECK(write(*(int *)arg, "x", 1) == 1, "write");
    return NULL;
}

static void hostpoll_main(void *arg)
{
    int fds[2];
    struct watch w;
    pthread_t tid;
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

    CHECK(pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0 && file >= 0, "fds");
    watch_init(&w, file);
    CHECK(hostpoll_add(&w.p, EPOLLIN) == -EPERM, "a regular file is always ready");
    watch_init(&w, fds[0]);
    CHECK(hostpoll_add(&w.p, EPOLLIN) == 0, "add");
    CHECK(pthread_create(&tid, NULL, writer_thread, &fds[1]) == 0, "no thread");
    CHECK(waitq_wait_event(&w.wq, (atomic_load(&w.events) & EPOLLIN) != 0, PARK_UNINTERRUPTIBLE,
                           CLOCK_NEVER) == 0,
          "wait");
    (void)pthread_join(tid, NULL);
    for (u64 i = 0; i < scene_rounds(2000); i++) {
        u32 calls;

        CHECK(write(fds[1], "x", 1) == 1, "write");
        hostpoll_remove(&w.p);
        calls = atomic_load(&w.calls);
        fiber_yield();
        CHECK(atomic_load(&w.calls) == calls, "called after remove");
        CHECK(hostpoll_add(&w.p, EPOLLIN) == 0, "add again");
    }
    hostpoll_remove(&w.p);
    hostpoll_remove(&w.p);
    waitq_fini(&w.wq);
    (void)close(file);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

/* Not through scene_run's accounting: the first watch makes tables that stay. */
static void host_readiness_wakes_fibers(void **state)
{
    struct hostpoll warm = {.fd = -1, .ready = watch_ready};

    (void)state;
    assert_int_equal(hostpoll_add(&warm, EPOLLIN), -EBADF);
    scene_run(2, 0, hostpoll_main, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(config_is_checked),
        cmocka_unit_test(a_stuck_worker_is_relieved),
        cmocka_unit_test(a_timer_fires_while_all_are_stuck),
        cmocka_unit_test(a_wake_from_outside_finds_a_spare),
        cmocka_unit_test(brackets_under_load),
        cmocka_unit_test(a_bound_worker_keeps_its_thread),
        cmocka_unit_test(idle_workers_steal),
        cmocka_unit_test(deferred_calls_run),
        cmocka_unit_test(host_readiness_wakes_fibers),
        cmocka_unit_test(stop_does_not_wait_for_the_host),
    };

    if (heap_init() != 0) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
