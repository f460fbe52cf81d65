/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The overlay: single behaviours, then random operations on an overlay and on a plain tmpfs that
 * began with the same content: every answer and the trees at the end must be the same.
 */
#include "base/rand.h"
#include "vfs/mappable.h"
#include "vfs/overlay/overlay.h"
#include "vfs_test.h"

#include <dirent.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/mman.h>
#include <unistd.h>

/* Mount `sb` (taken over) on a new directory `at` of the fixture's root. */
static void mount_on(struct super *sb, const char *at)
{
    struct path path;

    assert_false(IS_ERR(sb));
    make_dir(at, 0755);
    assert_int_equal(path_lookup(CTX, AT_FDCWD, at, LOOKUP_FOLLOW, &path), 0);
    assert_int_equal(mount_add(CTX->mnt_ns, sb, &path, MS_RELATIME), 0);
    path_put(&path);
    super_put(sb);
}

static struct super *new_tmpfs(void)
{
    struct super *sb = tmpfs_super_new(&tmpfs_default_options);

    assert_false(IS_ERR(sb));
    return sb;
}

/* A tmpfs mounted on `at`; returned borrowed. */
static struct super *mount_tmpfs(const char *at)
{
    struct super *sb = new_tmpfs();

    mount_on(sb, at);
    return sb;
}

/* An overlay of `lowers` on `at`, with a tmpfs of its own above. */
static void mount_overlay(struct super **lowers, u32 nr, const char *at)
{
    struct overlay_options options = {0};
    struct super *upper = new_tmpfs();

    mount_on(overlay_super_new(upper, lowers, nr, &options), at);
    super_put(upper);
}

static void read_all(const char *name, char *buf, size_t size)
{
    struct file *f = must_open(name, O_RDONLY, 0);
    ssize_t n = file_kernel_read(f, buf, size - 1, 0);

    assert_true(n >= 0);
    buf[n] = '\0';
    file_put(f);
}

static void assert_content(const char *name, const char *want)
{
    char buf[4096];

    read_all(name, buf, sizeof(buf));
    assert_string_equal(buf, want);
}

static ssize_t write_at(struct file *f, const char *text, u64 pos)
{
    struct uio u;

    uio_init_kernel(&u, (void *)(uintptr_t)text, strlen(text));
    return file_pwrite(f, &u, pos, 0, CTX);
}

struct listing {
    struct dir_context ctx;
    char text[8192];
    u32 count, stop_after;
};

static bool list_one(struct dir_context *ctx, struct name name, u64 ino, u32 dt_type, u64 next)
{
    struct listing *l = container_of(ctx, struct listing, ctx);

    if (l->stop_after != 0 && l->count >= l->stop_after) {
        return false;
    }
    (void)snprintf(l->text + strlen(l->text), sizeof(l->text) - strlen(l->text), "%.*s ",
                   (int)name.len, name.str);
    l->count++;
    return true;
}

static u32 count_entries(const char *dir)
{
    static struct listing l;
    struct file *f = must_open(dir, O_RDONLY | O_DIRECTORY, 0);

    l = (struct listing){.ctx = {.emit = list_one}};
    assert_int_equal(file_readdir(f, &l.ctx), 0);
    file_put(f);
    return l.count - 2;
}

/* ---- single behaviours ---- */

static void base_tree(void)
{
    struct super *lower = mount_tmpfs("/low");

    make_dir("/low/d", 0750);
    make_dir("/low/d/sub", 0755);
    make_file("/low/d/f", "hello");
    make_file("/low/d/sub/g", "deep");
    assert_int_equal(vfs_link(CTX, AT_FDCWD, "/low/d/f", AT_FDCWD, "/low/hard", 0), 0);
    assert_int_equal(vfs_symlink(CTX, "d/f", AT_FDCWD, "/low/l"), 0);
    mount_overlay(&lower, 1, "/o");
}

static void lower_shows_through(void **state)
{
    struct attr a, b;

    base_tree();
    assert_content("/o/d/f", "hello");
    assert_content("/o/l", "hello");
    a = stat_of("/o/d/f", 0);
    b = stat_of("/o/hard", 0);
    assert_int_equal(a.ino, b.ino);
    assert_int_equal(a.nlink, 2);
    assert_int_equal(stat_of("/o/d", 0).mode, S_IFDIR | 0750);
    assert_int_equal(stat_of("/o/d", 0).nlink, 3);
    assert_int_equal(count_entries("/o"), 3);
    assert_int_equal(stat_error("/o/x"), -ENOENT);
}

static void write_copies_up_and_open_readers_see_it(void **state)
{
    struct file *rd, *wr;
    struct attr before, after;
    char buf[16] = {0};

    base_tree();
    before = stat_of("/o/d/f", 0);
    rd = must_open("/o/d/f", O_RDONLY, 0);
    wr = must_open("/o/hard", O_WRONLY, 0);
    assert_int_equal(stat_of("/o/d/f", 0).ino, before.ino);
    assert_int_equal(write_at(wr, "J", 0), 1);
    assert_int_equal(file_kernel_read(rd, buf, sizeof(buf), 0), 5);
    assert_string_equal(buf, "Jello");
    file_put(rd);
    file_put(wr);
    after = stat_of("/o/d/f", 0);
    assert_int_equal(after.ino, before.ino);
    assert_int_equal(after.dev, before.dev);
    assert_int_equal(after.nlink, 2);
    dcache_shrink(NULL);
    assert_content("/o/hard", "Jello");
    assert_content("/low/d/f", "hello");
}

static void attributes_stay_above(void **state)
{
    struct timespec times[2] = {{5, 6}, {7, 8}};

    base_tree();
    assert_int_equal(vfs_chmod(CTX, AT_FDCWD, "/o/d/f", 0600, 0), 0);
    assert_int_equal(vfs_chown(CTX, AT_FDCWD, "/o/d", 3, 4, 0), 0);
    assert_int_equal(vfs_utimens(CTX, AT_FDCWD, "/o/hard", times, 0), 0);
    dcache_shrink(NULL);
    assert_int_equal(stat_of("/o/hard", 0).mode & 07777, 0600);
    assert_int_equal(stat_of("/o/d", 0).uid, 3);
    assert_int_equal(stat_of("/o/d/f", 0).mtime.tv_sec, 7);
    assert_int_equal(stat_of("/low/d/f", 0).mode & 07777, 0644);
    assert_int_equal(stat_of("/low/d", 0).uid, 0);
    assert_content("/o/d/f", "hello");
}

static void names_go_and_come_back(void **state)
{
    base_tree();
    assert_int_equal(vfs_unlink(CTX, AT_FDCWD, "/o/d/f", 0), 0);
    assert_int_equal(stat_error("/o/d/f"), -ENOENT);
    assert_int_equal(stat_of("/o/hard", 0).nlink, 1);
    dcache_shrink(NULL);
    assert_int_equal(stat_error("/o/d/f"), -ENOENT);
    assert_int_equal(stat_of("/o/hard", 0).nlink, 1);
    make_file("/o/d/f", "new");
    assert_content("/o/d/f", "new");
    assert_content("/o/hard", "hello");
    assert_int_equal(vfs_unlink(CTX, AT_FDCWD, "/o/d", AT_REMOVEDIR), -ENOTEMPTY);
    assert_int_equal(vfs_unlink(CTX, AT_FDCWD, "/o/d/f", 0), 0);
    assert_int_equal(vfs_unlink(CTX, AT_FDCWD, "/o/d/sub/g", 0), 0);
    assert_int_equal(vfs_unlink(CTX, AT_FDCWD, "/o/d/sub", AT_REMOVEDIR), 0);
    assert_int_equal(vfs_unlink(CTX, AT_FDCWD, "/o/d", AT_REMOVEDIR), 0);
    make_dir("/o/d", 0700);
    assert_int_equal(count_entries("/o/d"), 0);
    assert_content("/low/d/sub/g", "deep");
}

static void lower_directories_move(void **state)
{
    base_tree();
    make_dir("/o/new", 0755);
    assert_int_equal(vfs_rename(CTX, AT_FDCWD, "/o/d", AT_FDCWD, "/o/new/e", 0), 0);
    dcache_shrink(NULL);
    assert_content("/o/new/e/sub/g", "deep");
    assert_int_equal(stat_error("/o/d"), -ENOENT);
    make_file("/o/new/e/sub/h", "more");
    assert_int_equal(
        vfs_rename(CTX, AT_FDCWD, "/o/new/e/sub", AT_FDCWD, "/o/hard", RENAME_EXCHANGE), 0);
    dcache_shrink(NULL);
    assert_content("/o/hard/h", "more");
    assert_content("/o/hard/g", "deep");
    assert_content("/o/new/e/sub", "hello");
    assert_int_equal(stat_of("/o", 0).nlink, 4);
    assert_int_equal(stat_of("/o/new/e", 0).nlink, 2);
    assert_int_equal(stat_of("/o/new/e/sub", 0).ino, stat_of("/o/new/e/f", 0).ino);
}

static void readdir_goes_on_while_names_go(void **state)
{
    static struct listing l;
    char name[32];
    struct file *f;
    u32 seen = 0;
    struct super *lower = mount_tmpfs("/low");

    for (int i = 0; i < 100; i++) {
        (void)snprintf(name, sizeof(name), "/low/f%d", i);
        make_file(name, "");
    }
    mount_overlay(&lower, 1, "/o");
    f = must_open("/o", O_RDONLY | O_DIRECTORY, 0);
    for (;;) {
        char *at;

        l = (struct listing){.ctx = {.emit = list_one}, .stop_after = 7};
        assert_int_equal(file_readdir(f, &l.ctx), 0);
        if (l.count == 0) {
            break;
        }
        for (at = strtok(l.text, " "); at != NULL; at = strtok(NULL, " ")) {
            if (at[0] == 'f') {
                (void)snprintf(name, sizeof(name), "/o/%s", at);
                assert_int_equal(vfs_unlink(CTX, AT_FDCWD, name, 0), 0);
                seen++;
            }
        }
    }
    file_put(f);
    assert_int_equal(seen, 100);
    assert_int_equal(count_entries("/o"), 0);
    assert_int_equal(stat_error("/low/f99"), 0);
}

static void sparse_files_stay_sparse(void **state)
{
    struct super *lower = mount_tmpfs("/low");
    struct file *f = must_open("/low/big", O_CREAT | O_RDWR, 0644);
    struct attr a;
    char c = 0;

    assert_int_equal(write_at(f, "start", 0), 5);
    assert_int_equal(write_at(f, "end", 8 * MiB), 3);
    file_put(f);
    mount_overlay(&lower, 1, "/o");
    f = must_open("/o/big", O_RDWR, 0);
    assert_int_equal(write_at(f, "S", 0), 1);
    a = stat_of("/o/big", 0);
    assert_int_equal(a.size, 8 * MiB + 3);
    assert_true(a.blocks * 512 < MiB);
    assert_int_equal(file_kernel_read(f, &c, 1, 8 * MiB + 2), 1);
    assert_int_equal(c, 'd');
    assert_int_equal(file_truncate(f, 3, CTX), 0);
    file_put(f);
    assert_content("/o/big", "Sta");
    assert_int_equal(stat_of("/low/big", 0).size, 8 * MiB + 3);
}

static void truncating_open_copies_nothing(void **state)
{
    base_tree();
    make_file("/o/d/f", "x");
    assert_content("/o/hard", "x");
    assert_content("/low/d/f", "hello");
}

struct dropped {
    struct mapping_link link; /* first */
    u32 count;
};

static void note_drop(struct mapping_link *l, u64 off, u64 len, bool even_private)
{
    container_of(l, struct dropped, link)->count++;
}

static void mappings_move_with_copy_up(void **state)
{
    struct dropped d = {.link = {.invalidate = note_drop}};
    struct mappable *m;
    struct extent x, y;
    struct file *rd, *wr;

    base_tree();
    rd = must_open("/o/d/f", O_RDONLY, 0);
    m = file_mmap(rd, PROT_READ, MAP_SHARED);
    assert_false(IS_ERR(m));
    mappable_link(m, &d.link);
    assert_int_equal(m->ops->get_extent(m, 0, PAGE_SIZE, false, &x), 0);
    assert_false(x.writable);
    assert_int_equal(m->ops->get_extent(m, PAGE_SIZE, PAGE_SIZE, false, &y), -ENXIO);
    wr = must_open("/o/d/f", O_RDWR, 0);
    assert_int_equal(d.count, 0);
    assert_ptr_equal(file_mmap(wr, PROT_READ | PROT_WRITE, MAP_SHARED), m);
    assert_int_equal(d.count, 1);
    assert_int_equal(m->ops->get_extent(m, 0, PAGE_SIZE, true, &y), 0);
    assert_true(y.writable && (y.off != x.off || y.fd != x.fd));
    assert_memory_equal(memfile_window(memfile, y.off, 5), "hello", 5);
    memfile_unref(memfile, x.off, x.len);
    memfile_unref(memfile, y.off, y.len);
    assert_int_equal(file_truncate(wr, 0, CTX), 0);
    assert_int_equal(d.count, 2);
    mappable_unlink(m, &d.link);
    file_put(rd);
    file_put(wr);
}

static void layers_are_merged(void **state)
{
    struct super *lowers[2] = {mount_tmpfs("/top"), mount_tmpfs("/bottom")};

    make_dir("/top/d", 0700);
    make_dir("/bottom/d", 0755);
    make_file("/top/d/a", "top");
    make_file("/bottom/d/a", "bottom");
    make_file("/bottom/d/b", "bottom");
    make_file("/bottom/d/gone", "bottom");
    assert_int_equal(vfs_mknod(CTX, AT_FDCWD, "/top/d/gone", S_IFCHR, 0), 0);
    mount_overlay(lowers, 2, "/o");
    assert_int_equal(stat_error("/o/d/gone"), -ENOENT);
    assert_content("/o/d/a", "top");
    assert_content("/o/d/b", "bottom");
    assert_int_equal(count_entries("/o/d"), 2);
    assert_int_equal(stat_of("/o/d", 0).mode & 0777, 0700);
    make_file("/o/d/gone", "back");
    assert_content("/o/d/gone", "back");
    assert_int_equal(count_entries("/o/d"), 3);
}

static void unnamed_files_can_be_linked(void **state)
{
    struct file *f;
    int fd;

    base_tree();
    f = must_open("/o/d", O_TMPFILE | O_RDWR, 0644);
    assert_int_equal(write_at(f, "tmp", 0), 3);
    assert_int_equal(f->inode->nlink, 0);
    fd = fd_install(CTX->fdt, file_get(f), 0, 100, false);
    assert_int_equal(vfs_link(CTX, fd, "", AT_FDCWD, "/o/d/t", AT_EMPTY_PATH), 0);
    assert_int_equal(fd_close(CTX->fdt, fd), 0);
    file_put(f);
    assert_content("/o/d/t", "tmp");
}

static void new_inodes_are_bounded(void **state)
{
    struct overlay_options options = {.max_inodes = 2};
    struct super *lower = mount_tmpfs("/low"), *upper = new_tmpfs();

    mount_on(overlay_super_new(upper, &lower, 1, &options), "/o");
    super_put(upper);
    make_dir("/o/a", 0755);
    make_file("/o/a/b", "");
    assert_int_equal(vfs_mkdir(CTX, AT_FDCWD, "/o/c", 0755), -ENOSPC);
    assert_int_equal(vfs_unlink(CTX, AT_FDCWD, "/o/a/b", 0), 0);
    make_dir("/o/c", 0755);
}

/* Every allocation of a round of changes fails once; fixture_stop then counts what is left. */
static void failed_allocations_leave_nothing(void **state)
{
    u64 n;
    bool failed;

    base_tree();
    for (n = 1, failed = true; failed && n < 2000; n++) {
        int errors = 0;

        heap_fail_nth(n);
        errors |= open_error("/o/d/f", O_RDONLY);
        errors |= vfs_truncate(CTX, "/o/d/f", 3);
        errors |= vfs_mkdir(CTX, AT_FDCWD, "/o/m", 0755);
        errors |= open_error("/o/m/x", O_CREAT | O_RDWR);
        errors |= vfs_symlink(CTX, "x", AT_FDCWD, "/o/m/s");
        errors |= vfs_rename(CTX, AT_FDCWD, "/o/d", AT_FDCWD, "/o/m/d", 0);
        errors |= vfs_rename(CTX, AT_FDCWD, "/o/m/d/sub", AT_FDCWD, "/o/hard", RENAME_EXCHANGE);
        errors |= vfs_link(CTX, AT_FDCWD, "/o/m/x", AT_FDCWD, "/o/y", 0);
        heap_fail_nth(0);
        failed = errors != 0;
        (void)!vfs_unlink(CTX, AT_FDCWD, "/o/y", 0);
        (void)!vfs_rename(CTX, AT_FDCWD, "/o/hard", AT_FDCWD, "/o/m/d/sub", RENAME_EXCHANGE);
        (void)!vfs_rename(CTX, AT_FDCWD, "/o/m/d", AT_FDCWD, "/o/d", 0);
        (void)!vfs_unlink(CTX, AT_FDCWD, "/o/m/s", 0);
        (void)!vfs_unlink(CTX, AT_FDCWD, "/o/m/x", 0);
        (void)!vfs_unlink(CTX, AT_FDCWD, "/o/m", AT_REMOVEDIR);
        dcache_shrink(NULL);
    }
    assert_true(n > 10 && n < 2000);
    assert_content("/o/d/sub/g", "deep");
    assert_content("/o/hard", "hel");
}

/* ---- against a model ---- */

#define NAMES 6U

/* A random path of up to three components below `root`. */
static void random_path(char *buf, size_t size, const char *root, u64 seed)
{
    int len = snprintf(buf, size, "%s", root);

    for (u32 i = 0, n = 1 + (u32)(seed % 3); i < n; i++) {
        seed /= 7;
        len += snprintf(buf + len, size - (size_t)len, "/%c", 'a' + (int)(seed % NAMES));
    }
}

static int op_write(const char *name, u64 r, u32 flags)
{
    char text[64];
    struct file *f = try_open(name, flags, 0640);
    ssize_t n;

    if (IS_ERR(f)) {
        return (int)PTR_ERR(f);
    }
    (void)snprintf(text, sizeof(text), "data %lu", (unsigned long)(r % 1000));
    n = write_at(f, text, r % 9000);
    file_put(f);
    return (int)n;
}

static int random_op(const char *root, u64 kind, u64 r1, u64 r2, u64 r3)
{
    char a[64], b[64];
    struct timespec times[2] = {{(time_t)(r3 % 1000), 0}, {(time_t)(r3 % 777), 0}};

    random_path(a, sizeof(a), root, r1);
    random_path(b, sizeof(b), root, r2);
    switch (kind) {
    case 0:
    case 1:
        return op_write(a, r3, O_RDWR | O_CREAT);
    case 2:
        return op_write(a, r3, O_WRONLY | O_APPEND);
    case 3:
        return op_write(a, r3, O_WRONLY | O_CREAT | O_EXCL);
    case 4:
        return vfs_mkdir(CTX, AT_FDCWD, a, 0755);
    case 5:
        return vfs_unlink(CTX, AT_FDCWD, a, 0);
    case 6:
        return vfs_unlink(CTX, AT_FDCWD, a, AT_REMOVEDIR);
    case 7:
    case 8:
        return vfs_rename(CTX, AT_FDCWD, a, AT_FDCWD, b, 0);
    case 9:
        return vfs_rename(CTX, AT_FDCWD, a, AT_FDCWD, b,
                          r3 % 2 == 0 ? RENAME_EXCHANGE : RENAME_NOREPLACE);
    case 10:
        return vfs_link(CTX, AT_FDCWD, a, AT_FDCWD, b, 0);
    case 11:
        return vfs_chmod(CTX, AT_FDCWD, a, (u32)(r3 % 01000), 0);
    case 12:
        return vfs_chown(CTX, AT_FDCWD, a, (u32)(r3 % 9), (u32)(r3 % 5), AT_SYMLINK_NOFOLLOW);
    case 13:
        return vfs_utimens(CTX, AT_FDCWD, a, times, 0);
    case 14:
        return vfs_truncate(CTX, a, (s64)(r3 % 10000));
    case 15:
        return vfs_symlink(CTX, "target", AT_FDCWD, a);
    case 16:
        return vfs_rename(CTX, AT_FDCWD, a, AT_FDCWD, b, RENAME_WHITEOUT);
    default:
        dcache_shrink(NULL);
        return 0;
    }
}

static void populate(const char *root, u64 seed)
{
    for (u64 i = 0; i < 120; i++) {
        u64 r = (seed + i) * 0x9e3779b97f4a7c15ULL;

        (void)random_op(root, i % 3 == 0 ? 4 : i % 3 == 1 ? 0 : 10, r >> 20, r >> 30, r >> 7);
    }
}

static void compare_files(const char *a, const char *b)
{
    static char buf_a[32 * KiB], buf_b[32 * KiB];
    struct attr x = stat_of(a, AT_SYMLINK_NOFOLLOW), y = stat_of(b, AT_SYMLINK_NOFOLLOW);

    assert_int_equal(x.mode, y.mode);
    assert_int_equal(x.uid, y.uid);
    assert_int_equal(x.gid, y.gid);
    assert_int_equal(x.nlink, y.nlink);
    if (S_ISREG(x.mode)) {
        assert_int_equal(x.size, y.size);
        read_all(a, buf_a, sizeof(buf_a));
        read_all(b, buf_b, sizeof(buf_b));
        assert_memory_equal(buf_a, buf_b, x.size);
    }
}

static void compare_trees(const char *a, const char *b, int depth)
{
    u32 names = 0;

    compare_files(a, b);
    if (!S_ISDIR(stat_of(a, AT_SYMLINK_NOFOLLOW).mode)) {
        return;
    }
    for (u32 i = 0; i < NAMES && depth < 8; i++) {
        char x[96], y[96];
        int err;

        (void)snprintf(x, sizeof(x), "%s/%c", a, 'a' + (int)i);
        (void)snprintf(y, sizeof(y), "%s/%c", b, 'a' + (int)i);
        err = stat_error(x);
        assert_int_equal(err, stat_error(y));
        if (err == 0) {
            compare_trees(x, y, depth + 1);
        }
        names += err == 0 || err == -ENOENT ? (err == 0 ? 1 : 0) : 1;
    }
    assert_int_equal(count_entries(a), count_entries(b));
    assert_true(depth >= 8 || count_entries(a) >= names);
}

static void model_run(u64 seed, u32 steps)
{
    struct super *lower = mount_tmpfs("/low");

    populate("/low", seed);
    (void)mount_tmpfs("/model");
    populate("/model", seed);
    mount_overlay(&lower, 1, "/o");
    compare_trees("/o", "/model", 0);
    for (u32 i = 0; i < steps; i++) {
        u64 kind = rand_below(18), r1 = rand_u64() >> 8, r2 = rand_u64() >> 8, r3 = rand_u64() >> 8;
        int x = random_op("/o", kind, r1, r2, r3), y = random_op("/model", kind, r1, r2, r3);

        if (x != y) {
            fail_msg("seed %lu step %u op %lu: %d, model %d", (unsigned long)seed, i,
                     (unsigned long)kind, x, y);
        }
    }
    compare_trees("/o", "/model", 0);
    dcache_shrink(NULL);
    compare_trees("/o", "/model", 0);
}

static void random_operations_match_the_model(void **state)
{
    for (u64 seed = 1; seed <= 40; seed++) {
        rand_seed(seed);
        model_run(seed, 400);
        if (seed < 40) {
            (void)fixture_stop(state);
            (void)fixture_start(state);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        vfs_unit_test(lower_shows_through),
        vfs_unit_test(write_copies_up_and_open_readers_see_it),
        vfs_unit_test(attributes_stay_above),
        vfs_unit_test(names_go_and_come_back),
        vfs_unit_test(lower_directories_move),
        vfs_unit_test(readdir_goes_on_while_names_go),
        vfs_unit_test(sparse_files_stay_sparse),
        vfs_unit_test(truncating_open_copies_nothing),
        vfs_unit_test(mappings_move_with_copy_up),
        vfs_unit_test(layers_are_merged),
        vfs_unit_test(unnamed_files_can_be_linked),
        vfs_unit_test(new_inodes_are_bounded),
        vfs_unit_test(failed_allocations_leave_nothing),
        vfs_unit_test(random_operations_match_the_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
