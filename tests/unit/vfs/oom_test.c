/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that runs out at every possible place: each operation is tried with the n-th allocation
 * failing, n = 1, 2, ... until it succeeds. An operation that failed must have done nothing and
 * kept nothing.
 */
#include "vfs/xattr.h"
#include "vfs_test.h"

#define TRIES_MAX 200

/* What is there before each try. */
static void prepare(void)
{
    make_dir("/d", 0755);
    make_dir("/m", 0755);
    make_file("/d/f", "text");
    make_dir("/d/sub", 0755);
    assert_int_equal(vfs_symlink(CTX, "d/f", AT_FDCWD, "/l"), 0);
}

/* Run op with every allocation failing once; undo() reverts a success. */
static void try_all(int (*op)(void), void (*undo)(void))
{
    u64 before;
    int err = -ENOMEM;

    /* Once without failures, so that what is made on first use is there. */
    assert_int_equal(op(), 0);
    undo();
    for (u32 n = 1; err != 0; n++) {
        dcache_shrink(NULL);
        dcache_shrink(NULL);
        defer_flush();
        before = heap_objects_in_use();
        assert_true(n < TRIES_MAX);
        heap_fail_nth(n);
        err = op();
        heap_fail_nth(0);
        if (err == 0) {
            undo();
        } else if (err != -ENOMEM && err != -ENOSPC) {
            fail_msg("try %u: %d", n, err);
        }
        dcache_shrink(NULL);
        dcache_shrink(NULL);
        defer_flush();
        if (heap_objects_in_use() != before) {
            fail_msg("try %u (%d) kept %ld objects", n, err,
                     (long)(heap_objects_in_use() - before));
        }
    }
}

static void nothing(void)
{
}

static int op_stat(void)
{
    struct attr a;

    return vfs_stat(CTX, AT_FDCWD, "/l", 0, &a, NULL);
}

static int op_mkdir(void)
{
    return vfs_mkdir(CTX, AT_FDCWD, "/d/a-directory-with-a-name-that-is-longer-than-the-inline-one",
                     0755);
}

static void undo_mkdir(void)
{
    assert_int_equal(vfs_unlink(CTX, AT_FDCWD,
                                "/d/a-directory-with-a-name-that-is-longer-than-the-inline-one",
                                AT_REMOVEDIR),
                     0);
}

static int op_create(void)
{
    struct file *f = try_open("/d/new", O_CREAT | O_EXCL | O_RDWR, 0644);

    if (IS_ERR(f)) {
        /* The name may be there although the file could not be opened, as on Linux. */
        (void)!vfs_unlink(CTX, AT_FDCWD, "/d/new", 0);
        return (int)PTR_ERR(f);
    }
    file_put(f);
    return 0;
}

static void undo_create(void)
{
    assert_int_equal(vfs_unlink(CTX, AT_FDCWD, "/d/new", 0), 0);
}

static int op_symlink(void)
{
    return vfs_symlink(CTX, "target", AT_FDCWD, "/d/new");
}

static int op_link(void)
{
    return vfs_link(CTX, AT_FDCWD, "/d/f", AT_FDCWD, "/d/new", 0);
}

static int op_tmpfile(void)
{
    struct file *f = try_open("/d", O_TMPFILE | O_RDWR, 0644);

    if (IS_ERR(f)) {
        return (int)PTR_ERR(f);
    }
    file_put(f);
    return 0;
}

static int op_rename(void)
{
    return vfs_rename(CTX, AT_FDCWD, "/d/f", AT_FDCWD, "/d/sub/g", 0);
}

static void undo_rename(void)
{
    assert_int_equal(vfs_rename(CTX, AT_FDCWD, "/d/sub/g", AT_FDCWD, "/d/f", 0), 0);
}

static int op_whiteout(void)
{
    return vfs_rename(CTX, AT_FDCWD, "/d/f", AT_FDCWD, "/d/sub/g", 4 /* RENAME_WHITEOUT */);
}

static int op_unlink(void)
{
    int err = vfs_link(CTX, AT_FDCWD, "/d/f", AT_FDCWD, "/d/new", 0);

    if (err != 0) {
        return err;
    }
    err = vfs_unlink(CTX, AT_FDCWD, "/d/new", 0);
    if (err != 0) {
        assert_int_equal(vfs_unlink(CTX, AT_FDCWD, "/d/new", 0), 0);
    }
    return err;
}

static int op_write(void)
{
    struct file *f = try_open("/d/f", O_RDWR, 0);
    struct uio u;
    ssize_t n;

    if (IS_ERR(f)) {
        return (int)PTR_ERR(f);
    }
    uio_init_kernel(&u, (char[]){"written"}, 7);
    n = file_pwrite(f, &u, 1UL << 30, 0, CTX);
    file_put(f);
    return n == 7 ? 0 : (int)n;
}

static void undo_write(void)
{
    assert_int_equal(vfs_truncate(CTX, "/d/f", 4), 0);
}

static int op_setxattr(void)
{
    struct path p;
    int err = path_lookup(CTX, AT_FDCWD, "/d/f", 0, &p);

    if (err == 0) {
        err = path_setxattr(&p, "user.x", "value", 5, 0, fix.ctx.cred);
        path_put(&p);
    }
    return err;
}

static void undo_setxattr(void)
{
    struct path p;

    assert_int_equal(path_lookup(CTX, AT_FDCWD, "/d/f", 0, &p), 0);
    assert_int_equal(path_removexattr(&p, "user.x", fix.ctx.cred), 0);
    path_put(&p);
}

static int op_mount(void)
{
    return vfs_mount(CTX, "none", "/m", "tmpfs", 0, "size=1m");
}

static void undo_mount(void)
{
    assert_int_equal(vfs_umount(CTX, "/m", MNT_DETACH), 0);
}

static int op_rbind(void)
{
    return vfs_mount(CTX, "/d", "/m", NULL, MS_BIND | MS_REC, NULL);
}

/* Onto a shared mount that has a peer and a slave. */
static int op_mount_shared(void)
{
    return vfs_mount(CTX, "none", "/d/sub", "tmpfs", 0, NULL);
}

static void undo_mount_shared(void)
{
    assert_int_equal(vfs_umount(CTX, "/d/sub", 0), 0);
}

static int op_ns_copy(void)
{
    struct fs_context *fs = fs_context_copy(fix.ctx.fs);
    struct mnt_ns *ns;

    if (fs == NULL) {
        return -ENOMEM;
    }
    ns = mnt_ns_copy(fix.ctx.mnt_ns, fs);
    fs_context_put(fs);
    if (IS_ERR(ns)) {
        return (int)PTR_ERR(ns);
    }
    mnt_ns_put(ns);
    return 0;
}

static int op_fdtable(void)
{
    struct fdtable *fdt = fdtable_new(), *copy;
    int fd = -ENOMEM;

    if (fdt == NULL) {
        return -ENOMEM;
    }
    for (int low = 0; low < 3; low++) {
        struct file *f = memfd_new("x", 0, fix.ctx.cred);

        fd = IS_ERR(f) ? (int)PTR_ERR(f) : fd_install(fdt, f, low * 500, 10000, false);
        if (fd < 0) {
            break;
        }
    }
    copy = fd >= 0 ? fdtable_copy(fdt, UINT32_MAX) : NULL;
    fd = fd >= 0 && copy == NULL ? -ENOMEM : fd;
    fdtable_put(copy);
    fdtable_put(fdt);
    return min(fd, 0);
}

static void names_and_content(void **state)
{
    prepare();
    try_all(op_stat, nothing);
    try_all(op_mkdir, undo_mkdir);
    try_all(op_create, undo_create);
    try_all(op_symlink, undo_create);
    try_all(op_link, undo_create);
    try_all(op_tmpfile, nothing);
    try_all(op_unlink, nothing);
    try_all(op_rename, undo_rename);
    try_all(op_whiteout, undo_rename);
    try_all(op_write, undo_write);
    try_all(op_setxattr, undo_setxattr);
}

static void mounts_and_tables(void **state)
{
    prepare();
    try_all(op_mount, undo_mount);
    assert_int_equal(vfs_mount(CTX, "none", "/d/sub", "tmpfs", 0, NULL), 0);
    try_all(op_rbind, undo_mount);
    assert_int_equal(vfs_umount(CTX, "/d/sub", 0), 0);
    try_all(op_ns_copy, nothing);
    try_all(op_fdtable, nothing);
}

static void propagation(void **state)
{
    prepare();
    make_dir("/p", 0755);
    make_dir("/s", 0755);
    assert_int_equal(vfs_mount(CTX, "/d", "/d", NULL, MS_BIND, NULL), 0);
    assert_int_equal(vfs_mount(CTX, NULL, "/d", NULL, MS_SHARED, NULL), 0);
    assert_int_equal(vfs_mount(CTX, "/d", "/p", NULL, MS_BIND, NULL), 0);
    assert_int_equal(vfs_mount(CTX, "/d", "/s", NULL, MS_BIND, NULL), 0);
    assert_int_equal(vfs_mount(CTX, NULL, "/s", NULL, MS_SLAVE, NULL), 0);
    try_all(op_mount_shared, undo_mount_shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        vfs_unit_test(names_and_content),
        vfs_unit_test(mounts_and_tables),
        vfs_unit_test(propagation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
