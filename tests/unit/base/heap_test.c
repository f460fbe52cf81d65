/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel heap: typed reuse, zeroed objects, and the misuse it must catch. */
#include "base/heap.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct thing {
    u64 a[5];
};
struct other {
    char c[200];
};
#define CHUNK (64 * KiB)
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

static void typed_object_as_bytes(void)
{
    heap_free(cache_new(thing_cache));
}

static void bytes_as_typed_object(void)
{
    cache_free(&thing_cache, heap_alloc(sizeof(struct thing)));
}

static void double_free_of_bytes(void)
{
    char *volatile p = heap_alloc(100);

    heap_free(p);
    heap_free(p);
}

static void double_free_of_a_big_buffer(void)
{
    char *volatile p = heap_alloc(200000);

    heap_free(p);
    heap_free(p);
}

static void inside_a_big_buffer(void)
{
    char *volatile p = heap_alloc(200000);

    heap_free(p + CHUNK);
}

static void not_in_the_heap(void)
{
    int on_stack;

    heap_free(&on_stack);
}

static void misuse_is_caught(void **state)
{
    (void)state;
    assert_panics(double_free);
    assert_panics(wrong_cache);
    assert_panics(inner_pointer);
    assert_panics(typed_object_as_bytes);
    assert_panics(bytes_as_typed_object);
    assert_panics(double_free_of_bytes);
    assert_panics(double_free_of_a_big_buffer);
    assert_panics(inside_a_big_buffer);
    assert_panics(not_in_the_heap);
}

#if defined(PAVISE_DEBUG) && !defined(PAVISE_ASAN)
static void overflow(void)
{
    struct thing *t = cache_new(thing_cache);

    ((volatile char *)t)[sizeof(*t)] = 1;
    cache_del(thing_cache, t);
}

static void overflow_of_bytes(void)
{
    volatile char *p = heap_alloc(33); /* of a class of 48 */

    p[33] = 1;
    heap_free((char *)p);
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
    assert_panics(overflow_of_bytes);
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

static void realloc_within_a_class_stays(void **state)
{
    char *p = heap_alloc(33), *q;

    (void)state;
    memset(p, 'x', 33);
    q = heap_realloc(p, 33, 48);
    assert_ptr_equal(p, q);
    assert_int_equal(q[32], 'x');
    assert_int_equal(q[33], 0);
    memset(q, 'x', 48);
    q = heap_realloc(q, 48, 40);
    q = heap_realloc(q, 40, 44);
    assert_int_equal(q[39], 'x');
    assert_int_equal(q[40], 0);
    q = heap_realloc(q, 44, 100000);
    assert_int_equal(q[39], 'x');
    assert_int_equal(q[99999], 0);
    q = heap_realloc(q, 100000, 10);
    assert_int_equal(q[9], 'x');
    heap_free(q);
    heap_free(heap_realloc(NULL, 0, 10));
}

static void an_address_tells_its_type(void **state)
{
    struct thing *t = cache_new(thing_cache);
    char *big = heap_alloc(3 * CHUNK);

    (void)state;
    assert_string_equal(heap_type_of(&t->a[4]), "struct thing");
    cache_del(thing_cache, t);
    assert_null(heap_type_of(t));
    assert_string_equal(heap_type_of(big + 2 * CHUNK + 5), "bytes-big");
    heap_free(big);
    assert_null(heap_type_of(big));
    assert_null(heap_type_of(NULL));
    assert_null(heap_type_of(&state));
    assert_null(heap_type_of((void *)0x200fffffffffUL));
}

static void sum_pages(const struct cache_stats *st, void *arg)
{
    *(u64 *)arg += st->pages;
}

static u64 heap_pages(void)
{
    u64 pages = 0;

    heap_for_each_cache(sum_pages, &pages);
    return pages;
}

/* Chunks with memory behind them. */
static u64 resident(const void *p, size_t len)
{
    static unsigned char vec[4096];
    u64 sum = 0;

    assert_int_equal(mincore((void *)p, len, vec), 0);
    for (size_t i = 0; i < len / PAGE_SIZE; i++) {
        sum += vec[i] & 1;
    }
    return sum;
}

static void a_burst_does_not_stay_resident(void **state)
{
    static struct other *burst[40000];
    char *big = heap_alloc(4 * MiB);
    u64 before;

    (void)state;
    heap_trim();
    before = heap_pages();
    for (size_t i = 0; i < ARRAY_SIZE(burst); i++) {
        burst[i] = cache_new(other_cache);
        assert_non_null(burst[i]);
    }
    assert_true(heap_pages() >= before + sizeof(burst[0]->c) * ARRAY_SIZE(burst) / PAGE_SIZE);
    for (size_t i = 0; i < ARRAY_SIZE(burst); i++) {
        cache_del(other_cache, burst[i]);
    }
    assert_true(heap_pages() <= before + MiB / PAGE_SIZE + 16);
    heap_trim();
    assert_int_equal(heap_pages(), before);
    memset(big, 1, 4 * MiB);
    assert_int_equal(resident(big, 4 * MiB), 4 * MiB / PAGE_SIZE);
    heap_free(big);
    assert_int_equal(resident(big, 4 * MiB), 0);
}

/* Big buffers of all lengths come and go: free runs merge, nothing overlaps, all reads as zero. */
static void big_buffers_reuse_the_region(void **state)
{
    static struct {
        char *p;
        size_t len;
    } live[64];
    char *bottom = (char *)UINTPTR_MAX, *top = NULL, *end;

    (void)state;
    srand(1);
    for (int round = 0; round < 3000; round++) {
        size_t i = (size_t)rand() % ARRAY_SIZE(live);

        if (live[i].p != NULL) {
            assert_int_equal(live[i].p[0], (char)(i + 1));
            assert_int_equal(live[i].p[live[i].len - 1], (char)(i + 1));
            heap_free(live[i].p);
            live[i].p = NULL;
            continue;
        }
        live[i].len = 33000 + (size_t)rand() % (rand() % 8 == 0 ? 4 * MiB : 200 * KiB);
        live[i].p = heap_alloc(live[i].len);
        assert_non_null(live[i].p);
        assert_int_equal(live[i].p[0] | live[i].p[live[i].len - 1], 0);
        live[i].p[0] = live[i].p[live[i].len - 1] = (char)(i + 1);
        end = live[i].p + live[i].len;
        top = max(top, end);
        bottom = min(bottom, live[i].p);
    }
    for (size_t i = 0; i < ARRAY_SIZE(live); i++) {
        heap_free(live[i].p);
    }
    assert_true(top - bottom < (ptrdiff_t)(128 * MiB));
    /* What was freed has become few runs again: a large part of it fits below the top. */
    end = heap_alloc((size_t)(top - bottom) / 2);
    assert_true(end < top);
    heap_free(end);
}

static void *churn(void *arg)
{
    struct thing *mine[64] = {NULL};
    u64 me = (u64)arg;

    for (u64 n = 0; n < 60000; n++) {
        size_t i = (size_t)(n * 2654435761U) % ARRAY_SIZE(mine);

        if (mine[i] != NULL) {
            if (mine[i]->a[0] != me || mine[i]->a[4] != ~mine[i]->a[1]) {
                abort();
            }
            cache_del(thing_cache, mine[i]);
        }
        mine[i] = cache_new(thing_cache);
        if (mine[i]->a[0] != 0) {
            abort();
        }
        mine[i]->a[0] = me;
        mine[i]->a[1] = n;
        mine[i]->a[4] = ~n;
        if (n % 100 == 0) {
            heap_free(heap_alloc(40000));
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(mine); i++) {
        cache_del(thing_cache, mine[i]);
    }
    return NULL;
}

static void threads_do_not_share_objects(void **state)
{
    pthread_t t[4];
    u64 before = heap_objects_in_use();

    (void)state;
    for (u64 i = 0; i < ARRAY_SIZE(t); i++) {
        assert_int_equal(pthread_create(&t[i], NULL, churn, (void *)(i + 1)), 0);
    }
    for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
        assert_int_equal(pthread_join(t[i], NULL), 0);
    }
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
        cmocka_unit_test(realloc_within_a_class_stays),
        cmocka_unit_test(an_address_tells_its_type),
        cmocka_unit_test(a_burst_does_not_stay_resident),
        cmocka_unit_test(big_buffers_reuse_the_region),
        cmocka_unit_test(threads_do_not_share_objects),
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
