/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tmpfs root, a root user and a descriptor table for tests of the vfs: fixture_start makes them,
 * fixture_stop takes all down and proves that neither the heap nor the memory file kept anything.
 */
#ifndef PAVISE_TESTS_VFS_TEST_H
#define PAVISE_TESTS_VFS_TEST_H

#include "base/heap.h"
#include "base/memfile.h"
#include "vfs/dentry.h"
#include "vfs/fdtable.h"
#include "vfs/mount.h"
#include "vfs/namei.h"
#include "vfs/tmpfs/tmpfs.h"
#include "vfs/vfs_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

struct fixture {
    struct vfs_ctx ctx;
    u64 heap_before, memory_before;
};
static struct fixture fix;
#define CTX (&fix.ctx)

static inline int fixture_start(void **state)
{
    static bool booted;
    struct super *sb;
    struct path root;

    if (!booted) {
        assert_int_equal(heap_init(), 0);
        assert_non_null(memfile_new(0));
        booted = true;
    }
    fix.heap_before = heap_objects_in_use();
    fix.memory_before = memfile_kind_bytes(memfile, MEMFILE_SHMEM);
    assert_int_equal(vfs_boot(), 0);
    assert_int_equal(tmpfs_boot(), 0);
    sb = tmpfs_super_new(&tmpfs_default_options);
    assert_false(IS_ERR(sb));
    fix.ctx.mnt_ns = mnt_ns_new(sb, MS_RELATIME);
    assert_non_null(fix.ctx.mnt_ns);
    super_put(sb);
    mnt_ns_root(fix.ctx.mnt_ns, &root);
    fix.ctx.fs = fs_context_new(&root, &root, 022);
    path_put(&root);
    fix.ctx.fdt = fdtable_new();
    fix.ctx.cred = cred_new_root();
    fix.ctx.fsize_limit = UINT64_MAX;
    return 0;
}

static inline int fixture_stop(void **state)
{
    fdtable_put(fix.ctx.fdt);
    fs_context_put(fix.ctx.fs);
    mnt_ns_put(fix.ctx.mnt_ns);
    cred_put(fix.ctx.cred);
    defer_flush();
    tmpfs_shutdown();
    vfs_shutdown();
    assert_int_equal(heap_objects_in_use(), fix.heap_before);
    assert_int_equal(memfile_kind_bytes(memfile, MEMFILE_SHMEM), fix.memory_before);
    return 0;
}

#define vfs_unit_test(fn) cmocka_unit_test_setup_teardown(fn, fixture_start, fixture_stop)

/* Become another user without capabilities, or root again. */
static inline void become(u32 uid, u32 gid)
{
    struct cred *c = cred_copy(fix.ctx.cred);

    assert_non_null(c);
    c->uid = c->euid = c->suid = c->fsuid = uid;
    c->gid = c->egid = c->sgid = c->fsgid = gid;
    c->cap_effective = c->cap_permitted = uid == 0 ? ~0ULL >> 23 : 0;
    cred_put(fix.ctx.cred);
    fix.ctx.cred = c;
}

static inline struct file *try_open(const char *name, u32 flags, u32 mode)
{
    const struct open_how_args how = {.flags = flags, .mode = mode};

    return vfs_open(CTX, AT_FDCWD, name, &how);
}

/* The error of an open, 0 if it works. */
static inline int open_error(const char *name, u32 flags)
{
    struct file *f = try_open(name, flags, 0644);

    if (IS_ERR(f)) {
        return (int)PTR_ERR(f);
    }
    file_put(f);
    return 0;
}

static inline struct file *must_open(const char *name, u32 flags, u32 mode)
{
    struct file *f = try_open(name, flags, mode);

    if (IS_ERR(f)) {
        fail_msg("open %s: %ld", name, PTR_ERR(f));
    }
    return f;
}

static inline void make_file(const char *name, const char *text)
{
    struct file *f = must_open(name, O_CREAT | O_WRONLY | O_TRUNC, 0644);
    struct uio u;

    uio_init_kernel(&u, (void *)(uintptr_t)text, strlen(text));
    assert_int_equal(file_write(f, &u, 0, CTX), strlen(text));
    file_put(f);
}

static inline struct attr stat_of(const char *name, u32 at_flags)
{
    struct attr a = {0};
    int err = vfs_stat(CTX, AT_FDCWD, name, at_flags, &a, NULL);

    if (err != 0) {
        fail_msg("stat %s: %d", name, err);
    }
    return a;
}

static inline int stat_error(const char *name)
{
    struct attr a;

    return vfs_stat(CTX, AT_FDCWD, name, 0, &a, NULL);
}

static inline void make_dir(const char *name, u32 mode)
{
    int err = vfs_mkdir(CTX, AT_FDCWD, name, mode);

    if (err != 0) {
        fail_msg("mkdir %s: %d", name, err);
    }
}

#endif
