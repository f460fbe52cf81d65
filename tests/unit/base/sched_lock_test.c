/* SPDX-License-Identifier: Apache-2.0 */
/* Mutexes, rwlocks and spin locks, in fibers and in host threads; the rank checker. */
#include "tests/unit/base/sched_scene.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/wait.h>

#ifdef PAVISE_DEBUG
enum { ranks_are_checked = 1 };
#else
enum { ranks_are_checked = 0 };
#endif

/* ---- mutex ---- */

static struct mutex mtx;
static u64 guarded;
static _Atomic u32 inside;

static void mutex_section(u64 i)
{
    mutex_lock(&mtx);
    CHECK(atomic_fetch_add(&inside, 1) == 0, "two inside");
    CHECK(mutex_is_held(&mtx), "held");
    guarded++;
    if (i % 256 == 0 && fiber_current() != NULL) {
        fiber_yield();
    }
    atomic_fetch_sub(&inside, 1);
    mutex_unlock(&mtx);
}

static void mutex_fiber(void *arg)
{
    for (u64 i = 0; i < scene_rounds(20000); i++) {
        mutex_section(i);
    }
}

static void *mutex_thread(void *arg)
{
    mutex_fiber(arg);
    return NULL;
}

static void mutex_main(void *arg)
{
    pthread_t tids[2];

    mutex_init(&mtx, LOCK_INODE);
    guarded = 0;
    for (int i = 0; i < 6; i++) {
        (void)scene_spawn("mutex", mutex_fiber, NULL);
    }
    for (int i = 0; i < 2; i++) {
        CHECK(pthread_create(&tids[i], NULL, mutex_thread, NULL) == 0, "no thread");
    }
    scene_join();
    for (int i = 0; i < 2; i++) {
        (void)pthread_join(tids[i], NULL);
    }
    CHECK(guarded == 8 * scene_rounds(20000), "%lu", guarded);
    CHECK(atomic_load(&mtx.word) == 0, "left free");
}

static void mutex_excludes_fibers_and_threads(void **state)
{
    (void)state;
    scene_run(1, 0, mutex_main, NULL);
    scene_run(3, 0, mutex_main, NULL);
}

static void mutex_outside_fibers(void **state)
{
    (void)state;
    mutex_init(&mtx, LOCK_NONE);
    mutex_lock(&mtx);
    assert_true(mutex_is_held(&mtx));
    assert_false(mutex_trylock(&mtx));
    mutex_unlock(&mtx);
    assert_true(mutex_trylock(&mtx));
    mutex_unlock(&mtx);
    assert_false(mutex_is_held(&mtx));
}

/* One that locks and unlocks all the time does not starve one that waits. */
static _Atomic bool greedy_done;

static void greedy(void *arg)
{
    while (!atomic_load(&greedy_done)) {
        mutex_lock(&mtx);
        fiber_yield();
        mutex_unlock(&mtx);
    }
}

static void modest(void *arg)
{
    for (u64 i = 0; i < scene_rounds(3000); i++) {
        mutex_lock(&mtx);
        mutex_unlock(&mtx);
    }
    atomic_store(&greedy_done, true);
}

static void starve_main(void *arg)
{
    mutex_init(&mtx, LOCK_INODE);
    atomic_store(&greedy_done, false);
    (void)scene_spawn("greedy", greedy, NULL);
    (void)scene_spawn("greedy", greedy, NULL);
    (void)scene_spawn("modest", modest, NULL);
}

static void mutex_starves_nobody(void **state)
{
    (void)state;
    scene_run(1, 0, starve_main, NULL);
    scene_run(2, 0, starve_main, NULL);
}

/* ---- killable ---- */

static _Atomic u64 kills_seen;
static _Atomic u64 kill_locks;
static _Atomic u32 kill_live;

static void killable_fiber(void *arg)
{
    for (u64 i = 0; i < scene_rounds(10000); i++) {
        int ret = mutex_lock_killable(&mtx);

        if (ret == 0) {
            CHECK(atomic_fetch_add(&inside, 1) == 0, "two inside");
            if (i % 8 == 0) {
                fiber_yield();
            }
            atomic_fetch_sub(&inside, 1);
            mutex_unlock(&mtx);
            atomic_fetch_add(&kill_locks, 1);
        } else {
            CHECK(ret == -ERESTARTSYS, "killable says %d", ret);
            atomic_fetch_add(&kills_seen, 1);
        }
        fiber_clear_interrupt();
    }
    atomic_fetch_sub(&kill_live, 1);
}

static void kill_main(void *arg)
{
    struct fiber *f[4];

    mutex_init(&mtx, LOCK_INODE);
    atomic_store(&kills_seen, 0);
    atomic_store(&kill_locks, 0);
    atomic_store(&kill_live, ARRAY_SIZE(f));
    for (size_t i = 0; i < ARRAY_SIZE(f); i++) {
        f[i] = scene_spawn("killable", killable_fiber, NULL);
    }
    /* The victims end only after kill_live is 0 for the first: stop touching them at once then. */
    while (atomic_load(&kill_live) == ARRAY_SIZE(f) && atomic_load(&kills_seen) < 500) {
        fiber_interrupt(f[scene_random(ARRAY_SIZE(f))], scene_random(4) != 0);
        fiber_yield();
    }
    scene_join();
    CHECK(atomic_load(&kill_locks) > 0, "locks");
    CHECK(atomic_load(&mtx.word) == 0, "left free: %#lx", atomic_load(&mtx.word));
}

static void killable_lock_gives_up_cleanly(void **state)
{
    (void)state;
    scene_run(1, 0, kill_main, NULL);
    assert_true(atomic_load(&kills_seen) > 0);
}

/* ---- two of a rank ---- */

static struct mutex pair_locks[2];
static u64 pair_counts[2];

static void two_fiber(void *arg)
{
    u64 me = (u64)arg;

    for (u64 i = 0; i < scene_rounds(10000); i++) {
        mutex_lock_two(&pair_locks[me], &pair_locks[1 - me]);
        pair_counts[0]++;
        pair_counts[1]++;
        mutex_unlock_two(&pair_locks[me], &pair_locks[1 - me]);
    }
}

static void two_main(void *arg)
{
    mutex_init(&pair_locks[0], LOCK_PIPE);
    mutex_init(&pair_locks[1], LOCK_PIPE);
    mutex_lock_two(&pair_locks[0], &pair_locks[0]);
    mutex_unlock_two(&pair_locks[0], &pair_locks[0]);
    (void)scene_spawn("two", two_fiber, (void *)0);
    (void)scene_spawn("two", two_fiber, (void *)1);
    scene_join();
    CHECK(pair_counts[0] == pair_counts[1], "%lu %lu", pair_counts[0], pair_counts[1]);
}

static void two_locks_in_either_order(void **state)
{
    (void)state;
    scene_run(2, 0, two_main, NULL);
}

/* ---- rwlock ---- */

static struct rwlock rw;
static u64 rw_pair[2];
static _Atomic u32 rw_readers;
static _Atomic u32 rw_max_readers;

static void rw_read_section(u64 i)
{
    u32 n;

    read_lock(&rw);
    n = atomic_fetch_add(&rw_readers, 1) + 1;
    if (n > atomic_load(&rw_max_readers)) {
        atomic_store(&rw_max_readers, n);
    }
    CHECK(rw_pair[0] == rw_pair[1], "%lu %lu", rw_pair[0], rw_pair[1]);
    CHECK(!rwlock_is_held_write(&rw), "not by us");
    if (i % 64 == 0 && fiber_current() != NULL) {
        fiber_yield();
    }
    atomic_fetch_sub(&rw_readers, 1);
    read_unlock(&rw);
}

static void rw_write_section(u64 i)
{
    write_lock(&rw);
    CHECK(rwlock_is_held_write(&rw), "ours");
    CHECK(atomic_load(&rw_readers) == 0, "readers inside");
    rw_pair[0]++;
    if (i % 64 == 0 && fiber_current() != NULL) {
        fiber_yield();
    }
    rw_pair[1]++;
    write_unlock(&rw);
}

static void rw_fiber(void *arg)
{
    u64 me = (u64)arg;

    for (u64 i = 0; i < scene_rounds(10000); i++) {
        if (me % 4 == 0) {
            rw_write_section(i);
        } else {
            rw_read_section(i);
        }
    }
}

static void *rw_thread(void *arg)
{
    rw_fiber(arg);
    return NULL;
}

static void rw_main(void *arg)
{
    pthread_t tids[2];

    rwlock_init(&rw, LOCK_MM);
    memset(rw_pair, 0, sizeof(rw_pair));
    for (u64 i = 0; i < 8; i++) {
        (void)scene_spawn("rw", rw_fiber, (void *)i);
    }
    for (u64 i = 0; i < 2; i++) {
        CHECK(pthread_create(&tids[i], NULL, rw_thread, (void *)i) == 0, "no thread");
    }
    scene_join();
    for (int i = 0; i < 2; i++) {
        (void)pthread_join(tids[i], NULL);
    }
    CHECK(rw_pair[0] == 3 * scene_rounds(10000), "%lu", rw_pair[0]);
    CHECK(atomic_load(&rw.word) == 0, "left free");
}

static void rwlock_excludes_and_shares(void **state)
{
    (void)state;
    scene_run(1, 0, rw_main, NULL);
    scene_run(3, 0, rw_main, NULL);
    assert_true(atomic_load(&rw_max_readers) > 1);
}

static _Atomic u32 rw_order;

static void late_writer(void *arg)
{
    write_lock(&rw);
    CHECK(atomic_fetch_add(&rw_order, 1) == 0, "the writer is first");
    write_unlock(&rw);
}

static void late_reader(void *arg)
{
    read_lock(&rw);
    CHECK(atomic_fetch_add(&rw_order, 1) >= 1, "readers behind the writer");
    read_unlock(&rw);
}

static void rw_order_main(void *arg)
{
    rwlock_init(&rw, LOCK_MM);
    atomic_store(&rw_order, 0);
    read_lock(&rw);
    (void)scene_spawn("writer", late_writer, NULL);
    fiber_yield();
    (void)scene_spawn("reader", late_reader, NULL);
    (void)scene_spawn("reader", late_reader, NULL);
    fiber_yield();
    CHECK(!read_trylock(&rw) && !write_trylock(&rw), "a waiting writer holds others off");
    read_unlock(&rw);
    scene_join();
    CHECK(write_trylock(&rw), "free");
    CHECK(!read_trylock(&rw), "taken");
    write_unlock(&rw);
    CHECK(read_trylock(&rw), "free");
    read_unlock(&rw);
}

static void waiting_writer_holds_readers_off(void **state)
{
    (void)state;
    scene_run(1, 0, rw_order_main, NULL);
}

/* ---- spin locks ---- */

static struct spinlock spin;
static u64 spin_count;

static void spin_fiber(void *arg)
{
    for (u64 i = 0; i < scene_rounds(50000); i++) {
        SPIN_GUARD(&spin);
        spin_count++;
    }
}

static void *spin_thread(void *arg)
{
    spin_fiber(arg);
    return NULL;
}

static void spin_main(void *arg)
{
    pthread_t tids[3];

    spin_count = 0;
    (void)scene_spawn("spin", spin_fiber, NULL);
    for (int i = 0; i < 3; i++) {
        CHECK(pthread_create(&tids[i], NULL, spin_thread, NULL) == 0, "no thread");
    }
    scene_join();
    for (int i = 0; i < 3; i++) {
        (void)pthread_join(tids[i], NULL);
    }
    CHECK(spin_count == 4 * scene_rounds(50000), "%lu", spin_count);
    CHECK(spin_trylock(&spin), "free");
    CHECK(!spin_trylock(&spin), "taken");
    spin_unlock(&spin);
}

static void spin_lock_excludes(void **state)
{
    (void)state;
    scene_run(2, 0, spin_main, NULL);
}

/* ---- what must panic ---- */

static void bad_order(void)
{
    struct mutex a = MUTEX_INIT(LOCK_PIPE);
    struct mutex b = MUTEX_INIT(LOCK_INODE);

    mutex_lock(&a);
    mutex_lock(&b);
}

static void bad_same_rank(void)
{
    struct mutex a = MUTEX_INIT(LOCK_PIPE);
    struct mutex b = MUTEX_INIT(LOCK_PIPE);

    mutex_lock(&a);
    mutex_lock(&b);
}

static void bad_twice(void)
{
    struct mutex a = MUTEX_INIT(LOCK_NONE);

    mutex_lock(&a);
    mutex_lock(&a);
}

static void bad_unlock(void)
{
    struct mutex a = MUTEX_INIT(LOCK_PIPE);

    mutex_unlock(&a);
}

static void bad_nested_reader(void)
{
    struct rwlock l = RWLOCK_INIT(LOCK_MM);

    read_lock(&l);
    read_lock(&l);
}

/* Run fn in a child: its standard error, and that it was killed by SIGABRT. */
static void expect_panic(void (*fn)(void), const char *words)
{
    char text[16384];
    size_t len = 0;
    int fds[2];
    int status;
    ssize_t n;
    pid_t pid;

    assert_int_equal(pipe(fds), 0);
    pid = fork();
    if (pid == 0) {
        (void)dup2(fds[1], STDERR_FILENO);
        (void)close(fds[0]);
        (void)signal(SIGABRT, SIG_DFL);
        fn();
        _exit(0);
    }
    (void)close(fds[1]);
    while (len < sizeof(text) - 1 && (n = read(fds[0], text + len, sizeof(text) - 1 - len)) > 0) {
        len += (size_t)n;
    }
    (void)close(fds[0]);
    text[len] = '\0';
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    if (strstr(text, words) == NULL) {
        fail_msg("no \"%s\" in: %s", words, text);
    }
}

static void rank_checker_names_both_locks(void **state)
{
    (void)state;
    if (!ranks_are_checked) {
        skip();
    }
    expect_panic(bad_order, "LOCK_INODE");
    expect_panic(bad_order, "LOCK_PIPE");
    expect_panic(bad_same_rank, "lock order");
    expect_panic(bad_twice, "taken twice");
    expect_panic(bad_unlock, "not held");
    expect_panic(bad_nested_reader, "taken twice");
}

static void park_with_spin(void *arg)
{
    spin_lock(&spin);
    (void)!fiber_park(PARK_UNINTERRUPTIBLE, CLOCK_NEVER);
}

static void exit_with_mutex(void *arg)
{
    mutex_init(&mtx, LOCK_TTY);
    mutex_lock(&mtx);
}

static void bad_park(void)
{
    scene_run(1, 0, park_with_spin, NULL);
}

static void exits_holding(void *arg)
{
    (void)scene_spawn("holder", exit_with_mutex, NULL);
}

static void bad_exit(void)
{
    scene_run(1, 0, exits_holding, NULL);
}

static void panics_name_the_fiber(void **state)
{
    (void)state;
    if (!ranks_are_checked) {
        skip();
    }
    expect_panic(bad_park, "main parks with 1 spin locks held");
    expect_panic(bad_exit, "holder ends with LOCK_TTY");
    /* The dumper walks the fibers that are switched out. */
    expect_panic(bad_exit, "fiber main");
    expect_panic(bad_exit, "scene_join");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mutex_outside_fibers),
        cmocka_unit_test(mutex_excludes_fibers_and_threads),
        cmocka_unit_test(mutex_starves_nobody),
        cmocka_unit_test(killable_lock_gives_up_cleanly),
        cmocka_unit_test(two_locks_in_either_order),
        cmocka_unit_test(rwlock_excludes_and_shares),
        cmocka_unit_test(waiting_writer_holds_readers_off),
        cmocka_unit_test(spin_lock_excludes),
        cmocka_unit_test(rank_checker_names_both_locks),
        cmocka_unit_test(panics_name_the_fiber),
    };

    if (heap_init() != 0) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
