/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptor tables: which number is given, what close, dup2, exec and fork do. */
#include "vfs_test.h"

#define FDT fix.ctx.fdt

static struct file *new_file(void)
{
    return memfd_new("t", 0, fix.ctx.cred);
}

static int install(int low, u64 limit, bool cloexec)
{
    return fd_install(FDT, new_file(), low, limit, cloexec);
}

static void lowest_is_given(void **state)
{
    for (int i = 0; i < 200; i++) {
        assert_int_equal(install(0, 1000, false), i);
    }
    assert_int_equal(fd_close(FDT, 70), 0);
    assert_int_equal(fd_close(FDT, 3), 0);
    assert_int_equal(fd_close(FDT, 3), -EBADF);
    assert_int_equal(install(0, 1000, false), 3);
    assert_int_equal(install(0, 1000, false), 70);
    assert_int_equal(install(0, 1000, false), 200);
    assert_int_equal(install(5000, 10000, false), 5000);
    assert_int_equal(install(5000, 5001, false), -EMFILE);
    assert_int_equal(install(0, 201, false), -EMFILE);
    assert_int_equal(install(0, 1000, false), 201);
    assert_int_equal(fd_next(FDT, 202), 5000);
    assert_int_equal(fd_next(FDT, 5001), -1);
}

static void replace_closes_what_was(void **state)
{
    struct file *f = new_file(), *old;

    assert_int_equal(install(0, 100, false), 0);
    old = fd_get(FDT, 0);
    assert_int_equal(ref_read(&old->ref), 2);
    assert_int_equal(fd_replace(FDT, file_get(f), 0, 100, true), 0);
    assert_int_equal(ref_read(&old->ref), 1);
    assert_int_equal(fd_get_cloexec(FDT, 0), 1);
    assert_int_equal(fd_replace(FDT, file_get(f), 99, 100, false), 99);
    assert_int_equal(fd_replace(FDT, file_get(f), 100, 100, false), -EBADF);
    assert_int_equal(fd_replace(FDT, file_get(f), -1, 100, false), -EBADF);
    assert_int_equal(ref_read(&f->ref), 3);
    file_put(old);
    file_put(f);
}

static void path_files_are_special(void **state)
{
    int fd = fd_install(FDT, must_open("/", O_PATH, 0), 0, 10, false);
    struct file *f;

    assert_null(fd_get(FDT, fd));
    f = fd_get_any(FDT, fd);
    assert_non_null(f);
    file_put(f);
    assert_null(fd_get_any(FDT, -1));
    assert_null(fd_get_any(FDT, 1 << 30));
}

static void copies_and_exec(void **state)
{
    struct fdtable *copy;

    for (int i = 0; i < 100; i++) {
        assert_int_equal(install(0, 100, i % 2 == 1), i);
    }
    copy = fdtable_copy(FDT, 49);
    assert_non_null(copy);
    assert_int_equal(fd_next(copy, 50), -1);
    fdtable_close_on_exec(copy);
    assert_int_equal(fd_next(copy, 1), 2);
    assert_int_equal(fd_get_cloexec(copy, 1), -EBADF);
    assert_int_equal(fd_get_cloexec(copy, 48), 0);
    assert_int_equal(fd_get_cloexec(FDT, 1), 1);
    fdtable_put(copy);
    assert_int_equal(fd_close_range(FDT, 10, 20, true), 0);
    assert_int_equal(fd_get_cloexec(FDT, 10), 1);
    assert_int_equal(fd_close_range(FDT, 10, UINT32_MAX, false), 0);
    assert_int_equal(fd_next(FDT, 10), -1);
    assert_int_equal(fd_close_range(FDT, 2, 1, false), -EINVAL);
}

static void fork_with_one_high_descriptor(void **state)
{
    struct fdtable *copy;

    assert_int_equal(install(4000, 5000, false), 4000);
    copy = fdtable_copy(FDT, UINT32_MAX);
    assert_int_equal(fd_next(copy, 0), 4000);
    fdtable_put(copy);
    copy = fdtable_copy(FDT, 3999);
    assert_int_equal(fd_next(copy, 0), -1);
    fdtable_put(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        vfs_unit_test(lowest_is_given),
        vfs_unit_test(replace_closes_what_was),
        vfs_unit_test(path_files_are_special),
        vfs_unit_test(copies_and_exec),
        vfs_unit_test(fork_with_one_high_descriptor),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
