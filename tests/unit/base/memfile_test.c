/* SPDX-License-Identifier: Apache-2.0 */
/* The memory file against a model: a reference count per page. */
#include "base/err.h"
#include "base/heap.h"
#include "base/memfile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

#define PAGES 256

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
    /* One free run may stay behind. */
    assert_true(heap_objects_in_use() <= objects + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_zeroed_and_given_back),
        cmocka_unit_test(counts_agree_with_a_model),
    };

    if (heap_init() != 0 || IS_ERR(memfile_new(0))) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
