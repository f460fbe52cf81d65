/* SPDX-License-Identifier: Apache-2.0 */
/* tmpfs: content against a byte model, holes, limits, directories that change while they are read.
 */
#include "vfs/xattr.h"
#include "vfs_test.h"

#include <dirent.h>
#include <linux/falloc.h>
#include <linux/memfd.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/xattr.h>

#include "vfs/mappable.h"

#define MODEL_SIZE (300 * 1024)

static ssize_t do_pwrite(struct file *f, const void *buf, size_t len, u64 pos)
{
    struct uio u;

    uio_init_kernel(&u, (void *)(uintptr_t)buf, len);
    return file_pwrite(f, &u, pos, 0, CTX);
}

static ssize_t do_pread(struct file *f, void *buf, size_t len, u64 pos)
{
    struct uio u;

    uio_init_kernel(&u, buf, len);
    return file_pread(f, &u, pos, 0);
}

/* ---- random operations on a file and on an array ---- */

struct model {
    u8 bytes[MODEL_SIZE], buf[MODEL_SIZE];
    u64 size;
};

static void model_write(struct file *f, struct model *m, u64 pos, u64 len)
{
    for (u64 i = 0; i < len; i++) {
        m->buf[i] = (u8)rand();
    }
    assert_int_equal(do_pwrite(f, m->buf, len, pos), len);
    memcpy(m->bytes + pos, m->buf, len);
    m->size = max(m->size, pos + len);
}

static void model_truncate(struct file *f, struct model *m, u64 size)
{
    assert_int_equal(file_truncate(f, (s64)size, CTX), 0);
    if (size < m->size) {
        memset(m->bytes + size, 0, m->size - size);
    }
    m->size = size;
}

static void model_punch(struct file *f, struct model *m, u64 pos, u64 len)
{
    assert_int_equal(
        file_fallocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (s64)pos, (s64)len, CTX), 0);
    memset(m->bytes + pos, 0, len);
}

static void model_check(struct file *f, struct model *m)
{
    assert_int_equal(f->inode->size, m->size);
    memset(m->buf, 0xee, sizeof(m->buf));
    assert_int_equal(do_pread(f, m->buf, MODEL_SIZE, 0), m->size);
    assert_memory_equal(m->buf, m->bytes, m->size);
}

/* A mapping writes where the page is, as mm does. */
static void model_map_write(struct file *f, struct model *m, u64 pos)
{
    struct mappable *map = file_mmap(f, PROT_READ | PROT_WRITE, MAP_SHARED);
    struct extent e;
    u64 page = ALIGN_DOWN(pos, PAGE_SIZE);
    int err = map->ops->get_extent(map, page, PAGE_SIZE * 4, true, &e);
    u8 *p;

    if (page >= ALIGN_UP(m->size, PAGE_SIZE)) {
        assert_int_equal(err, -ENXIO);
        return;
    }
    assert_int_equal(err, 0);
    assert_true(e.memfile && e.len >= PAGE_SIZE && e.len <= PAGE_SIZE * 4);
    p = memfile_window(memfile, e.off, e.len);
    assert_memory_equal(p, m->bytes + page, min(e.len, m->size - page));
    if (pos < m->size) {
        p[pos - page] = 0x5a;
        m->bytes[pos] = 0x5a;
    }
    memfile_unref(memfile, e.off, e.len);
}

static void content_follows_the_model(void **state)
{
    struct file *f = must_open("/f", O_CREAT | O_RDWR, 0644);
    struct model *m = calloc(1, sizeof(*m));

    srand(1);
    for (int i = 0; i < 3000; i++) {
        u64 pos = (u64)rand() % (MODEL_SIZE - 1), len = (u64)rand() % (MODEL_SIZE - pos);

        if (rand() % 2 == 0) {
            len = min(len, 5000UL);
        }
        switch (rand() % 6) {
        case 0:
        case 1:
            model_write(f, m, pos, len);
            break;
        case 2:
            model_truncate(f, m, pos);
            break;
        case 3:
            model_punch(f, m, pos, len + 1);
            break;
        case 4:
            model_map_write(f, m, pos);
            break;
        default:
            if (pos + len + 1 > m->size) {
                m->size = pos + len + 1;
            }
            assert_int_equal(file_fallocate(f, 0, (s64)pos, (s64)len + 1, CTX), 0);
            break;
        }
        if (i % 10 == 0) {
            model_check(f, m);
        }
    }
    model_check(f, m);
    free(m);
    file_put(f);
}

static void holes_are_found(void **state)
{
    struct file *f = must_open("/f", O_CREAT | O_RDWR, 0644);

    assert_int_equal(do_pwrite(f, "x", 1, 1UL << 40), 1);
    assert_int_equal(file_seek(f, 0, SEEK_DATA), 1L << 40);
    assert_int_equal(file_seek(f, 0, SEEK_HOLE), 0);
    assert_int_equal(file_seek(f, 1L << 40, SEEK_HOLE), (1L << 40) + 1);
    assert_int_equal(file_seek(f, (1L << 40) + 1, SEEK_DATA), -ENXIO);
    assert_int_equal(file_seek(f, -1, SEEK_DATA), -ENXIO);
    assert_int_equal(file_seek(f, -1, SEEK_SET), -EINVAL);
    assert_int_equal(stat_of("/f", 0).blocks, 8);
    assert_int_equal(file_fallocate(f, FALLOC_FL_COLLAPSE_RANGE, 0, 4096, CTX), -EOPNOTSUPP);
    assert_int_equal(file_fallocate(f, FALLOC_FL_ZERO_RANGE, 0, 4096, CTX), -EOPNOTSUPP);
    assert_int_equal(file_fallocate(f, FALLOC_FL_KEEP_SIZE, 0, 65536, CTX), 0);
    assert_int_equal(stat_of("/f", 0).blocks, 8 + 128);
    assert_int_equal(file_fallocate(f, 0, 0, 0, CTX), -EINVAL);
    file_put(f);
}

static void append_and_limits(void **state)
{
    struct file *f = must_open("/f", O_CREAT | O_WRONLY | O_APPEND, 0644);
    struct uio u;

    assert_int_equal(do_pwrite(f, "abc", 3, 100), 3);
    assert_int_equal(do_pwrite(f, "def", 3, 0), 3);
    assert_int_equal(stat_of("/f", 0).size, 6);
    fix.ctx.fsize_limit = 8;
    uio_init_kernel(&u, (char[]){"ghijk"}, 5);
    assert_int_equal(file_write(f, &u, 0, CTX), 2);
    uio_init_kernel(&u, (char[]){"l"}, 1);
    assert_int_equal(file_write(f, &u, 0, CTX), -EFBIG);
    assert_int_equal(file_truncate(f, 9, CTX), -EFBIG);
    assert_int_equal(file_truncate(f, 7, CTX), 0);
    file_put(f);
}

static void the_size_option_holds(void **state)
{
    struct file *f;
    char *buf = calloc(1, 65536);

    make_dir("/m", 0755);
    assert_int_equal(vfs_mount(CTX, "none", "/m", "tmpfs", 0, "size=64k,nr_inodes=3"), 0);
    f = must_open("/m/f", O_CREAT | O_RDWR, 0644);
    assert_int_equal(do_pwrite(f, buf, 65536, 4096), 61440 + 4096);
    assert_int_equal(do_pwrite(f, buf, 1, 0), -ENOSPC);
    assert_int_equal(file_truncate(f, 8192, CTX), 0);
    assert_int_equal(do_pwrite(f, buf, 1, 0), 1);
    file_put(f);
    make_file("/m/g", "");
    assert_int_equal(open_error("/m/h", O_CREAT | O_RDWR), -ENOSPC);
    assert_int_equal(vfs_unlink(CTX, AT_FDCWD, "/m/g", 0), 0);
    dcache_shrink(NULL);
    make_file("/m/h", "");
    assert_int_equal(vfs_mount(CTX, "none", "/m", "tmpfs", MS_REMOUNT, "size=4k"), -EINVAL);
    assert_int_equal(vfs_mount(CTX, "none", "/m", "tmpfs", MS_REMOUNT, "size=1m"), 0);
    assert_int_equal(vfs_mount(CTX, "none", "/m", "tmpfs", 0, "size=x"), -EINVAL);
    assert_int_equal(vfs_mount(CTX, "none", "/m", "tmpfs", 0, "nonsense=1"), -EINVAL);
    assert_int_equal(vfs_umount(CTX, "/m", 0), 0);
    free(buf);
}

/* ---- directories ---- */

struct lister {
    struct dir_context ctx;
    int count, room;
    char last[64];
    u64 seen[60000 / 64];
};

static bool list_emit(struct dir_context *ctx, struct name name, u64 ino, u32 dt_type, u64 next)
{
    struct lister *l = container_of(ctx, struct lister, ctx);
    int n;

    if (l->room == 0) {
        return false;
    }
    l->room--;
    l->count++;
    (void)snprintf(l->last, sizeof(l->last), "%.*s", (int)name.len, name.str);
    if (sscanf(l->last, "f%d", &n) == 1) {
        assert_true((l->seen[n / 64] >> (n % 64) & 1) == 0);
        l->seen[n / 64] |= 1UL << (n % 64);
    }
    return true;
}

static void fifty_thousand_names(void **state)
{
    struct lister *l = calloc(1, sizeof(*l));
    struct file *dir;
    char name[80];

    make_dir("/d", 0755);
    dir = must_open("/d", O_RDONLY | O_DIRECTORY, 0);
    for (int i = 0; i < 50000; i++) {
        (void)snprintf(name, sizeof(name), "/d/f%d", i);
        file_put(must_open(name, O_CREAT | O_RDWR, 0644));
    }
    l->ctx.emit = list_emit;
    for (;;) {
        int before = l->count;

        l->room = 1000;
        assert_int_equal(file_readdir(dir, &l->ctx), 0);
        if (l->count < before + 1000) {
            break;
        }
        /* Names that come and go meanwhile do not make others be missed or given twice. */
        (void)snprintf(name, sizeof(name), "/d/%s", l->last);
        assert_int_equal(vfs_unlink(CTX, AT_FDCWD, name, 0), 0);
        (void)snprintf(name, sizeof(name), "/d/x%d", before);
        make_file(name, "");
    }
    for (int i = 0; i < 50000; i++) {
        assert_true((l->seen[i / 64] >> (i % 64) & 1) == 1);
    }
    file_put(dir);
    free(l);
}

static void readdir_of_a_removed_directory(void **state)
{
    struct lister l = {.ctx.emit = list_emit, .room = 10};
    struct file *dir;

    make_dir("/d", 0755);
    dir = must_open("/d", O_RDONLY | O_DIRECTORY, 0);
    assert_int_equal(file_readdir(dir, &l.ctx), 0);
    assert_int_equal(l.count, 2);
    assert_int_equal(file_seek(dir, 0, SEEK_SET), 0);
    assert_int_equal(vfs_unlink(CTX, AT_FDCWD, "/d", AT_REMOVEDIR), 0);
    assert_int_equal(file_readdir(dir, &l.ctx), -ENOENT);
    file_put(dir);
}

static void a_deep_tree_is_released(void **state)
{
    make_dir("/m", 0755);
    assert_int_equal(vfs_mount(CTX, "none", "/m", "tmpfs", 0, NULL), 0);
    assert_int_equal(vfs_chdir(CTX, "/m"), 0);
    for (int i = 0; i < 30000; i++) {
        make_dir("d", 0755);
        make_file("f", "");
        assert_int_equal(vfs_chdir(CTX, "d"), 0);
    }
    assert_int_equal(vfs_umount(CTX, "/m", 0), -EBUSY);
    assert_int_equal(vfs_chdir(CTX, "/"), 0);
    assert_int_equal(vfs_umount(CTX, "/m", 0), 0);
}

/* ---- xattrs ---- */

static void xattrs_by_prefix(void **state)
{
    struct path p;
    char buf[64];

    make_file("/f", "");
    assert_int_equal(path_lookup(CTX, AT_FDCWD, "/f", 0, &p), 0);
    assert_int_equal(path_setxattr(&p, "user.a", "12", 2, 0, fix.ctx.cred), 0);
    assert_int_equal(path_setxattr(&p, "user.a", "345", 3, XATTR_CREATE, fix.ctx.cred), -EEXIST);
    assert_int_equal(path_setxattr(&p, "user.b", "3", 1, XATTR_REPLACE, fix.ctx.cred), -ENODATA);
    assert_int_equal(path_setxattr(&p, "user.a", "345", 3, XATTR_REPLACE, fix.ctx.cred), 0);
    assert_int_equal(path_setxattr(&p, "trusted.t", "", 0, 0, fix.ctx.cred), 0);
    assert_int_equal(path_setxattr(&p, "other.t", "", 0, 0, fix.ctx.cred), -EOPNOTSUPP);
    assert_int_equal(path_getxattr(&p, "user.a", buf, 0, fix.ctx.cred), 3);
    assert_int_equal(path_getxattr(&p, "user.a", buf, 2, fix.ctx.cred), -ERANGE);
    assert_int_equal(path_getxattr(&p, "user.a", buf, 64, fix.ctx.cred), 3);
    assert_memory_equal(buf, "345", 3);
    assert_int_equal(path_listxattr(&p, buf, 64, fix.ctx.cred), 7 + 10);
    become(1000, 1000);
    assert_int_equal(path_listxattr(&p, buf, 64, fix.ctx.cred), 7);
    assert_int_equal(path_getxattr(&p, "trusted.t", buf, 64, fix.ctx.cred), -ENODATA);
    assert_int_equal(path_setxattr(&p, "user.a", "", 0, 0, fix.ctx.cred), -EACCES);
    become(0, 0);
    assert_int_equal(path_removexattr(&p, "user.a", fix.ctx.cred), 0);
    assert_int_equal(path_removexattr(&p, "user.a", fix.ctx.cred), -ENODATA);
    path_put(&p);
}

/* ---- memfd ---- */

static void seals_hold(void **state)
{
    struct file *f = memfd_new("x", MFD_ALLOW_SEALING, fix.ctx.cred);
    struct mappable *m;

    assert_false(IS_ERR(f));
    assert_int_equal(do_pwrite(f, "hello", 5, 0), 5);
    assert_int_equal(shmem_get_seals(f), 0);
    m = file_mmap(f, PROT_WRITE, MAP_SHARED);
    assert_int_equal(m->ops->mapping_added(m, true), 0);
    assert_int_equal(shmem_add_seals(f, F_SEAL_WRITE), -EBUSY);
    m->ops->mapping_removed(m, true);
    assert_int_equal(shmem_add_seals(f, F_SEAL_GROW | F_SEAL_SHRINK), 0);
    assert_int_equal(file_truncate(f, 4, CTX), -EPERM);
    assert_int_equal(file_truncate(f, 6, CTX), -EPERM);
    assert_int_equal(do_pwrite(f, "world!", 6, 0), 5);
    assert_int_equal(do_pwrite(f, "!", 1, 5), -EPERM);
    assert_int_equal(shmem_add_seals(f, F_SEAL_WRITE | F_SEAL_SEAL), 0);
    assert_int_equal(do_pwrite(f, "a", 1, 0), -EPERM);
    assert_int_equal(m->ops->mapping_added(m, true), -EPERM);
    assert_int_equal(shmem_add_seals(f, F_SEAL_WRITE), -EPERM);
    file_put(f);
    f = memfd_new("y", 0, fix.ctx.cred);
    assert_int_equal(shmem_get_seals(f), F_SEAL_SEAL);
    file_put(f);
    assert_int_equal(PTR_ERR(memfd_new("z", 0x8000, fix.ctx.cred)), -EINVAL);
}

static void shared_memory_is_one_run(void **state)
{
    struct file *f = shmem_file_new("/dev/zero (deleted)", 64 * MiB, SHMEM_EAGER, fix.ctx.cred);
    struct mappable *m = file_mmap(f, PROT_READ | PROT_WRITE, MAP_SHARED);
    struct extent e;

    assert_int_equal(m->ops->get_extent(m, 0, 64 * MiB, true, &e), 0);
    assert_int_equal(e.len, 64 * MiB);
    memfile_unref(memfile, e.off, e.len);
    assert_int_equal(m->ops->get_extent(m, 64 * MiB, PAGE_SIZE, true, &e), -ENXIO);
    file_put(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        vfs_unit_test(content_follows_the_model),
        vfs_unit_test(holes_are_found),
        vfs_unit_test(append_and_limits),
        vfs_unit_test(the_size_option_holds),
        vfs_unit_test(fifty_thousand_names),
        vfs_unit_test(readdir_of_a_removed_directory),
        vfs_unit_test(a_deep_tree_is_released),
        vfs_unit_test(xattrs_by_prefix),
        vfs_unit_test(seals_hold),
        vfs_unit_test(shared_memory_is_one_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
