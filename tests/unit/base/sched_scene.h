/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the tests of base/sched: run a function in a fiber on a scheduler of its own, with helpers to
 * start more fibers and wait for their end. Inside fibers use CHECK, never cmocka's assertions:
 * they would jump from one stack to another.
 */
#ifndef PAVISE_TESTS_UNIT_BASE_SCHED_SCENE_H
#define PAVISE_TESTS_UNIT_BASE_SCHED_SCENE_H

#include "base/clock.h"
#include "base/err.h"
#include "base/heap.h"
#include "base/host.h"
#include "base/panic.h"
#include "base/sched/fiber.h"
#include "base/sched/lock.h"
#include "base/sched/timer.h"
#include "base/sched/waitq.h"
#include "base/sched/worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static struct waitq scene_wq;
static _Atomic u32 scene_live;
static _Atomic u64 scene_rng;
static fiber_fn scene_fn;
static u64 scene_fibers; /* live before the scene */

/* Rounds of a test: bounded to seconds, also under TSan; PAVISE_LONG=1 for millions. */
unused_arg static u64 scene_rounds(u64 normal)
{
#if defined(PAVISE_TSAN)
    normal = max(normal / 10, (u64)1);
#elif defined(PAVISE_ASAN)
    normal = max(normal / 3, (u64)1);
#endif
    return getenv("PAVISE_LONG") != NULL ? normal * 20 : normal;
}

unused_arg static u64 scene_random(u64 bound)
{
    u64 z = atomic_fetch_add_explicit(&scene_rng, 0x9e3779b97f4a7c15UL, memory_order_relaxed);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9UL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebUL;
    return (z ^ (z >> 31)) % bound;
}

struct scene_actor {
    fiber_fn fn;
    void *arg;
};

static void scene_actor_run(void *arg)
{
    struct scene_actor *a = arg;

    a->fn(a->arg);
    free(a);
    atomic_fetch_sub(&scene_live, 1);
    waitq_wake_all(&scene_wq);
}

/* A fiber that scene_join waits for. */
unused_arg static struct fiber *scene_spawn(const char *name, fiber_fn fn, void *arg)
{
    struct scene_actor *a = malloc(sizeof(*a));
    struct fiber *f;

    CHECK(a != NULL, "no memory");
    *a = (struct scene_actor){fn, arg};
    f = fiber_new(name, scene_actor_run, a);
    CHECK(f != NULL, "no fiber");
    atomic_fetch_add(&scene_live, 1);
    fiber_start(f);
    return f;
}

unused_arg static void scene_join(void)
{
    CHECK(waitq_wait_event(&scene_wq, atomic_load(&scene_live) == 0, PARK_UNINTERRUPTIBLE,
                           CLOCK_NEVER) == 0,
          "join failed");
}

static void scene_main(void *arg)
{
    scene_fn(arg);
    scene_join();
    while (fiber_count() > scene_fibers + 1) {
        fiber_yield(); /* the last ones are on their way out */
    }
    sched_stop();
}

/* Run fn(arg) in a fiber, wait for it and all it spawned, and prove that nothing is left. */
static void scene_run_ops(unsigned workers, u64 seed, const struct sched_idle_ops *ops, fiber_fn fn,
                          void *arg)
{
    struct sched_config config = {.workers = workers, .seed = seed};
    u64 objects = heap_objects_in_use();
    struct fiber *f;

    assert_int_equal(sched_init(&config), 0);
    sched_set_idle_ops(ops);
    waitq_init(&scene_wq);
    atomic_store(&scene_rng, seed);
    scene_fn = fn;
    scene_fibers = fiber_count();
    f = fiber_new("main", scene_main, arg);
    assert_non_null(f);
    fiber_start(f);
    sched_run();
    assert_int_equal(fiber_count(), scene_fibers);
    assert_int_equal(heap_objects_in_use(), objects);
    assert_int_equal(timers_next(), CLOCK_NEVER);
}

unused_arg static void scene_run(unsigned workers, u64 seed, fiber_fn fn, void *arg)
{
    scene_run_ops(workers, seed, NULL, fn, arg);
}

/* Spend about `us` microseconds without parking. */
unused_arg static void scene_burn(u64 us)
{
    u64 end = clock_monotonic() + us * NSEC_PER_USEC;

    while (clock_monotonic() < end) {
    }
}

unused_arg static void scene_sleep(u64 ns)
{
    u64 end = clock_monotonic() + ns;

    while (fiber_park(PARK_UNINTERRUPTIBLE, end) != -ETIMEDOUT) {
    }
}

#endif
