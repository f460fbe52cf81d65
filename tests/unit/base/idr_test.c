/* SPDX-License-Identifier: Apache-2.0 */
/* The id allocator against a plain array. */
#include "base/err.h"
#include "base/heap.h"
#include "base/idr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define IDS 5000

static int things[IDS];

static void lowest_id_first(void **state)
{
    struct idr idr;

    (void)state;
    idr_init(&idr);
    for (int i = 0; i < 300; i++) {
        assert_int_equal(idr_alloc(&idr, &things[i], 1, 301), i + 1);
    }
    assert_int_equal(idr_alloc(&idr, &things[0], 1, 301), -ENOSPC);
    assert_ptr_equal(idr_remove(&idr, 70), &things[69]);
    assert_ptr_equal(idr_remove(&idr, 200), &things[199]);
    assert_null(idr_remove(&idr, 200));
    assert_null(idr_find(&idr, 70));
    assert_int_equal(idr_alloc(&idr, &things[1], 100, 301), 200);
    assert_int_equal(idr_alloc(&idr, &things[2], 1, 301), 70);
    for (u32 id = 1; id <= 300; id++) {
        assert_non_null(idr_remove(&idr, id));
    }
    assert_int_equal(idr.count, 0);
    idr_fini(&idr);
}

static void cyclic_ids_do_not_come_back_at_once(void **state)
{
    struct idr idr;

    (void)state;
    idr_init(&idr);
    for (int round = 0; round < 3; round++) {
        for (int id = 2; id < 10; id++) {
            assert_int_equal(idr_alloc_cyclic(&idr, &things[0], 2, 10), id);
            assert_non_null(idr_remove(&idr, (u32)id));
        }
    }
    for (int i = 0; i < 8; i++) {
        assert_true(idr_alloc_cyclic(&idr, &things[i], 2, 10) > 0);
    }
    assert_int_equal(idr_alloc_cyclic(&idr, &things[0], 2, 10), -ENOSPC);
    for (u32 id = 2; id < 10; id++) {
        assert_non_null(idr_remove(&idr, id));
    }
    idr_fini(&idr);
}

static void exact_and_huge_ids(void **state)
{
    struct idr idr;
    u32 id = 0;

    (void)state;
    idr_init(&idr);
    assert_int_equal(idr_insert(&idr, &things[0], UINT32_MAX), 0);
    assert_int_equal(idr_insert(&idr, &things[1], 0), 0);
    assert_int_equal(idr_insert(&idr, &things[2], 0), -EEXIST);
    assert_ptr_equal(idr_replace(&idr, &things[3], 0), &things[1]);
    assert_ptr_equal(idr_next(&idr, &id), &things[3]);
    id = 1;
    assert_ptr_equal(idr_next(&idr, &id), &things[0]);
    assert_int_equal(id, UINT32_MAX);
    assert_ptr_equal(idr_find(&idr, UINT32_MAX), &things[0]);
    assert_non_null(idr_remove(&idr, UINT32_MAX));
    assert_non_null(idr_remove(&idr, 0));
    idr_fini(&idr);
}

static u32 model_lowest(void *const *model, u32 from)
{
    while (from < IDS && model[from] != NULL) {
        from++;
    }
    return from;
}

static void random_operations_agree_with_a_model(void **state)
{
    static void *model[IDS];
    struct idr idr;
    u32 id;

    (void)state;
    srand(2);
    idr_init(&idr);
    for (int round = 0; round < 100000; round++) {
        u32 at = (u32)rand() % IDS;

        if (rand() % 2 != 0) {
            u32 want = model_lowest(model, at);
            int got = idr_alloc(&idr, &things[at], at, IDS);

            assert_int_equal(got, want < IDS ? (int)want : -ENOSPC);
            if (got >= 0) {
                model[got] = &things[at];
            }
        } else {
            assert_ptr_equal(idr_remove(&idr, at), model[at]);
            model[at] = NULL;
        }
    }
    id = 0;
    for (u32 i = 0; i < IDS; i++) {
        assert_ptr_equal(idr_find(&idr, i), model[i]);
        if (model[i] != NULL) {
            assert_ptr_equal(idr_next(&idr, &id), model[i]);
            assert_int_equal(id++, i);
            assert_non_null(idr_remove(&idr, i));
            model[i] = NULL;
        }
    }
    assert_null(idr_next(&idr, &id));
    idr_fini(&idr);
}

#ifdef PAVISE_DEBUG
static void failed_insertion_leaves_nothing_behind(void **state)
{
    struct idr idr;
    u64 before;
    int err = -ENOMEM;

    (void)state;
    idr_init(&idr);
    assert_int_equal(idr_insert(&idr, &things[0], 1 << 20), 0);
    before = heap_objects_in_use();
    for (u64 n = 1; err != 0; n++) {
        u32 id = 0;

        heap_fail_nth(n);
        err = idr_insert(&idr, &things[1], 77);
        heap_fail_nth(0);
        if (err != 0) {
            assert_int_equal(err, -ENOMEM);
            assert_int_equal(heap_objects_in_use(), before);
            assert_ptr_equal(idr_next(&idr, &id), &things[0]);
        }
    }
    assert_non_null(idr_remove(&idr, 77));
    assert_int_equal(heap_objects_in_use(), before);
    assert_non_null(idr_remove(&idr, 1 << 20));
    idr_fini(&idr);
}
#endif

static int nothing_is_left(void **state)
{
    (void)state;
    return heap_objects_in_use() == *(u64 *)*state ? 0 : -1;
}

static int count_objects(void **state)
{
    static u64 before;

    before = heap_objects_in_use();
    *state = &before;
    return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, count_objects, nothing_is_left)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lowest_id_first),
        TEST(cyclic_ids_do_not_come_back_at_once),
        TEST(exact_and_huge_ids),
        TEST(random_operations_agree_with_a_model),
#ifdef PAVISE_DEBUG
        TEST(failed_insertion_leaves_nothing_behind),
#endif
    };

    if (heap_init() != 0) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
