/* SPDX-License-Identifier: Apache-2.0 */
/* The memory file against a model: a reference count per page. */
#include "base/err.h"
#include "base/heap.h"
#include "base/memfile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGES 256
#define LIMIT (16 * MiB)

static u64 blocks(void)
{
    struct stat st;

    assert_int_equal(fstat(memfile_fd(memfile), &st), 0);
    return (u64)st.st_blocks;
}

static void memory_is_zeroed_and_given_back(void **state)
{
    u64 off, before = blocks();
    u8 *p;

    (void)state;
    assert_int_equal(memfile_alloc(memfile, MiB, MEMFILE_ANON, &off), 0);
    p = memfile_window(memfile, off, MiB);
    memset(p, 1, MiB);
    assert_int_equal(blocks() - before, MiB / 512);
    memfile_decommit(memfile, off, MiB / 2);
    assert_int_equal(p[0], 0);
    assert_int_equal(p[MiB / 2], 1);
    assert_int_equal(memfile_kind_bytes(memfile, MEMFILE_ANON), MiB);
    memfile_unref(memfile, off, MiB);
    assert_int_equal(memfile_kind_bytes(memfile, MEMFILE_ANON), 0);
    assert_int_equal(blocks(), before);
}

static void counts_agree_with_a_model(void **state)
{
    u64 objects = heap_objects_in_use(), base, run;
    u32 model[PAGES];

    (void)state;
    srand(1);
    assert_int_equal(memfile_alloc(memfile, PAGES * PAGE_SIZE, MEMFILE_SHMEM, &base), 0);
    for (int i = 0; i < PAGES; i++) {
        model[i] = 1;
    }
    for (int round = 0; round < 20000; round++) {
        int first = rand() % PAGES, count = 1 + rand() % (PAGES - first);
        bool up = rand() % 2;

        for (int i = first; i < first + count; i++) {
            if (model[i] == 0 || (!up && model[i] == 1) || model[i] > 5) {
                count = i - first; /* keep every page owned until the end */
            }
        }
        if (count <= 0) {
            continue;
        }
        if (up) {
            assert_int_equal(memfile_ref(memfile, base + first * PAGE_SIZE, count * PAGE_SIZE), 0);
        } else {
            memfile_unref(memfile, base + first * PAGE_SIZE, count * PAGE_SIZE);
        }
        for (int i = first; i < first + count; i++) {
            model[i] += up ? 1 : -1;
        }
        for (int i = 0; i < PAGES; i += (int)(run / PAGE_SIZE)) {
            u32 refs = memfile_refs(memfile, base + i * PAGE_SIZE, (PAGES - i) * PAGE_SIZE, &run);

            for (int k = i; k < i + (int)(run / PAGE_SIZE); k++) {
                assert_int_equal(refs, model[k]);
            }
        }
    }
    for (int i = 0; i < PAGES; i++) {
        while (model[i]-- > 0) {
            memfile_unref(memfile, base + i * PAGE_SIZE, PAGE_SIZE);
        }
    }
    assert_int_equal(heap_objects_in_use(), objects);
}

static void freed_offsets_are_used_again(void **state)
{
    u64 first, off, last = 0;

    (void)state;
    assert_int_equal(memfile_alloc(memfile, GiB, MEMFILE_ANON, &first), 0);
    memfile_unref(memfile, first, GiB);
    for (int i = 0; i < 30000; i++) { /* 30 TiB in all, of a window of 16 */
        assert_int_equal(memfile_alloc(memfile, GiB, MEMFILE_ANON, &off), 0);
        assert_int_equal(off, first);
        if (i % 1000 == 0) { /* a neighbour in the way of merging */
            assert_int_equal(memfile_alloc(memfile, PAGE_SIZE, MEMFILE_ANON, &off), 0);
            if (last != 0) {
                memfile_unref(memfile, last, PAGE_SIZE);
            }
            last = off;
        }
        memfile_unref(memfile, first, GiB);
    }
    memfile_unref(memfile, last, PAGE_SIZE);
}

/* Live ranges never overlap, large ones are aligned, and all offsets come back. */
static void random_ranges_do_not_overlap(void **state)
{
    static struct {
        u64 off, len;
    } live[200];
    u64 objects = heap_objects_in_use();

    (void)state;
    srand(4);
    for (int round = 0; round < 20000; round++) {
        int i = rand() % (int)ARRAY_SIZE(live);

        if (live[i].len != 0) {
            assert_int_equal(*(u64 *)memfile_window(memfile, live[i].off, 8), i + 1);
            memfile_unref(memfile, live[i].off, live[i].len);
            live[i].len = 0;
            continue;
        }
        live[i].len = (1 + (u64)rand() % (rand() % 4 == 0 ? 2000 : 8)) * PAGE_SIZE;
        assert_int_equal(memfile_alloc(memfile, live[i].len, MEMFILE_ANON, &live[i].off), 0);
        assert_true(live[i].len < 2 * MiB || IS_ALIGNED(live[i].off, 2 * MiB));
        assert_int_equal(*(u64 *)memfile_window(memfile, live[i].off, 8), 0);
        *(u64 *)memfile_window(memfile, live[i].off, 8) = (u64)i + 1;
        for (int k = 0; k < (int)ARRAY_SIZE(live); k++) {
            assert_true(k == i || live[k].len == 0 || live[k].off + live[k].len <= live[i].off ||
                        live[i].off + live[i].len <= live[k].off);
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(live); i++) {
        if (live[i].len != 0) {
            memfile_unref(memfile, live[i].off, live[i].len);
        }
    }
    assert_int_equal(memfile_kind_bytes(memfile, MEMFILE_ANON), 0);
    assert_int_equal(heap_objects_in_use(), objects); /* no free run is left: all is the end */
}

static void too_much_is_refused(void **state)
{
    u64 off;

    (void)state;
    assert_int_equal(memfile_alloc(memfile, 1UL << 60, MEMFILE_ANON, &off), -ENOMEM);
    assert_int_equal(memfile_alloc(memfile, 0, MEMFILE_ANON, &off), -ENOMEM);
}

#ifdef PAVISE_DEBUG
/* The reserve makes giving up a reference work without memory. */
static void unref_works_when_the_heap_is_full(void **state)
{
    u64 off, run;

    (void)state;
    assert_int_equal(memfile_alloc(memfile, 64 * PAGE_SIZE, MEMFILE_ANON, &off), 0);
    heap_fail_nth(1);
    assert_int_equal(memfile_ref(memfile, off + PAGE_SIZE, PAGE_SIZE), -ENOMEM);
    heap_fail_nth(2);
    assert_int_equal(memfile_ref(memfile, off + PAGE_SIZE, PAGE_SIZE), -ENOMEM);
    assert_int_equal(memfile_refs(memfile, off, 64 * PAGE_SIZE, &run), 1);
    assert_int_equal(run, 64 * PAGE_SIZE);
    for (u64 i = 0; i < 64; i += 2) {
        heap_fail_nth(1);
        memfile_unref(memfile, off + i * PAGE_SIZE, PAGE_SIZE);
        heap_fail_nth(0);
    }
    assert_int_equal(memfile_kind_bytes(memfile, MEMFILE_ANON), 32 * PAGE_SIZE);
    for (u64 i = 1; i < 64; i += 2) {
        memfile_unref(memfile, off + i * PAGE_SIZE, PAGE_SIZE);
    }
    assert_int_equal(memfile_kind_bytes(memfile, MEMFILE_ANON), 0);
}
#endif

static void limit_counts_what_is_touched(void **state)
{
    u64 off;

    (void)state;
    assert_int_equal(memfile_charge_check(memfile, LIMIT), 0);
    assert_int_equal(memfile_charge_check(memfile, LIMIT + 1), -ENOMEM);
    assert_int_equal(memfile_alloc(memfile, 2 * LIMIT, MEMFILE_ANON, &off), 0);
    usleep(20000); /* the age of the count */
    assert_int_equal(memfile_charge_check(memfile, LIMIT / 2), 0);
    memset(memfile_window(memfile, off, 2 * LIMIT), 1, LIMIT - LIMIT / 4);
    usleep(20000);
    assert_int_equal(memfile_charge_check(memfile, LIMIT / 4), 0);
    assert_int_equal(memfile_charge_check(memfile, LIMIT / 2), -ENOMEM);
    memfile_unref(memfile, off, 2 * LIMIT);
    assert_int_equal(memfile_charge_check(memfile, LIMIT / 2), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_zeroed_and_given_back),
        cmocka_unit_test(counts_agree_with_a_model),
        cmocka_unit_test(freed_offsets_are_used_again),
        cmocka_unit_test(random_ranges_do_not_overlap),
        cmocka_unit_test(too_much_is_refused),
        cmocka_unit_test(limit_counts_what_is_touched),
#ifdef PAVISE_DEBUG
        cmocka_unit_test(unref_works_when_the_heap_is_full),
#endif
    };

    if (heap_init() != 0 || IS_ERR(memfile_new(LIMIT))) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
