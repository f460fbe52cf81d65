/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel heap: typed reuse, zeroed objects, and the misuse it must catch. */
#include "base/heap.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct thing {
    u64 a[5];
};
struct other {
    char c[200];
};
DEFINE_CACHE(thing_cache, struct thing);
DEFINE_CACHE(other_cache, struct other);

/* Run fn in a child; it must end by SIGABRT (a panic). */
static void assert_panics(void (*fn)(void))
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        close(2);
        fn();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void double_free(void)
{
    struct thing *t = cache_new(thing_cache);

    cache_del(thing_cache, t);
    cache_del(thing_cache, t);
}

static void wrong_cache(void)
{
    void *t = cache_new(thing_cache);

    cache_del(other_cache, t);
}

static void inner_pointer(void)
{
    char *t = (char *)cache_new(thing_cache);

    cache_del(thing_cache, t + 8);
}

static void misuse_is_caught(void **state)
{
    (void)state;
    assert_panics(double_free);
    assert_panics(wrong_cache);
    assert_panics(inner_pointer);
}

#if defined(PAVISE_DEBUG) && !defined(PAVISE_ASAN)
static void overflow(void)
{
    struct thing *t = cache_new(thing_cache);

    ((volatile char *)t)[sizeof(*t)] = 1;
    cache_del(thing_cache, t);
}

static void use_after_free(void)
{
    struct thing *t = cache_new(thing_cache);
    volatile u64 *p = &t->a[3];

    cache_del(thing_cache, t);
    *p = 1;
    t = cache_new(thing_cache);
    (void)t;
}

static void overflow_and_use_after_free_are_caught(void **state)
{
    (void)state;
    assert_panics(overflow);
    assert_panics(use_after_free);
}
#endif

static void objects_are_zeroed_and_typed(void **state)
{
    u64 before = heap_objects_in_use();
    struct thing *t[3000];

    (void)state;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 3000; i++) {
            t[i] = cache_new(thing_cache);
            assert_non_null(t[i]);
            for (int k = 0; k < 5; k++) {
                assert_int_equal(t[i]->a[k], 0);
            }
            memset(t[i], 0xff, sizeof(*t[i]));
            assert_string_equal(heap_type_of(t[i]), "struct thing");
        }
        for (int i = 0; i < 3000; i++) {
            cache_del(thing_cache, t[(i * 7) % 3000]);
        }
    }
    assert_int_equal(heap_objects_in_use(), before);
}

static void byte_buffers_of_all_sizes(void **state)
{
    u64 before = heap_objects_in_use();
    size_t sizes[] = {1, 31, 32, 33, 4096, 32768, 32769, 70000, 1 << 20};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        u8 *p = heap_alloc(sizes[i]);

        assert_non_null(p);
        for (size_t k = 0; k < sizes[i]; k++) {
            assert_int_equal(p[k], 0);
        }
        memset(p, 0xaa, sizes[i]);
        p = heap_realloc(p, sizes[i], sizes[i] * 2);
        assert_int_equal(p[sizes[i] - 1], 0xaa);
        assert_int_equal(p[sizes[i] * 2 - 1], 0);
        heap_free(p);
    }
    assert_null(heap_alloc(1UL << 60));
    assert_int_equal(heap_objects_in_use(), before);
}

#ifdef PAVISE_DEBUG
static void injected_failure(void **state)
{
    void *p;

    (void)state;
    heap_fail_nth(2);
    p = cache_new(thing_cache);
    assert_non_null(p);
    assert_null(cache_new(thing_cache));
    cache_del(thing_cache, p);
    heap_fail_nth(0);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(misuse_is_caught),
        cmocka_unit_test(objects_are_zeroed_and_typed),
        cmocka_unit_test(byte_buffers_of_all_sizes),
#if defined(PAVISE_DEBUG) && !defined(PAVISE_ASAN)
        cmocka_unit_test(overflow_and_use_after_free_are_caught),
#endif
#ifdef PAVISE_DEBUG
        cmocka_unit_test(injected_failure),
#endif
    };

    if (heap_init() != 0) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
