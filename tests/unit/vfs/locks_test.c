/* SPDX-License-Identifier: Apache-2.0 */
/* flock, POSIX and OFD locks; inotify; generated trees. */
#include "vfs/locks.h"

#include "fibers.h"

#include "base/panic.h"
#include "vfs/inotify.h"
#include "vfs/pseudo.h"

#include <sys/file.h>
#include <sys/inotify.h>

static struct file *a, *b;
static int owner1, owner2;

static void start(void)
{
    make_file("/f", "0123456789");
    a = must_open("/f", O_RDWR, 0);
    b = must_open("/f", O_RDWR, 0);
}

static void stop(void)
{
    file_put(a);
    file_put(b);
}

static int set(struct file *f, void *owner, short type, off_t from, off_t len)
{
    struct flock fl = {.l_type = type, .l_whence = SEEK_SET, .l_start = from, .l_len = len};

    return posix_lock_set(f, owner, owner == &owner1 ? 1 : 2, &fl, false);
}

static struct flock get(struct file *f, void *owner, short type, off_t from, off_t len)
{
    struct flock fl = {.l_type = type, .l_whence = SEEK_SET, .l_start = from, .l_len = len};

    assert_int_equal(posix_lock_get(f, owner, &fl), 0);
    return fl;
}

static void flock_kinds(void **state)
{
    start();
    assert_int_equal(flock_set(a, LOCK_SH), 0);
    assert_int_equal(flock_set(b, LOCK_SH), 0);
    assert_int_equal(flock_set(a, LOCK_EX | LOCK_NB), -EAGAIN);
    assert_int_equal(flock_set(b, LOCK_EX | LOCK_NB), 0); /* a lost its own in the attempt */
    assert_int_equal(flock_set(a, LOCK_SH | LOCK_NB), -EAGAIN);
    assert_int_equal(flock_set(b, LOCK_UN), 0);
    assert_int_equal(flock_set(a, LOCK_EX | LOCK_NB), 0);
    assert_int_equal(flock_set(a, 77), -EINVAL);
    stop();
}

static void record_locks_split_and_join(void **state)
{
    struct flock fl;

    start();
    assert_int_equal(set(a, &owner1, F_WRLCK, 0, 100), 0);
    assert_int_equal(set(a, &owner1, F_UNLCK, 40, 20), 0);
    assert_int_equal(set(b, &owner2, F_WRLCK, 40, 20), 0);
    assert_int_equal(set(b, &owner2, F_WRLCK, 39, 1), -EAGAIN);
    fl = get(b, &owner2, F_RDLCK, 60, 0);
    assert_int_equal(fl.l_type, F_WRLCK);
    assert_int_equal(fl.l_start, 60);
    assert_int_equal(fl.l_len, 40);
    assert_int_equal(fl.l_pid, 1);
    assert_int_equal(set(b, &owner2, F_UNLCK, 0, 0), 0);
    assert_int_equal(set(a, &owner1, F_WRLCK, 40, 20), 0);
    fl = get(b, &owner2, F_RDLCK, 50, 1);
    assert_int_equal(fl.l_start, 0);
    assert_int_equal(fl.l_len, 100);
    fl = get(b, NULL, F_RDLCK, 0, 0);
    assert_int_equal(fl.l_type, F_WRLCK);
    assert_int_equal(set(b, NULL, F_WRLCK, 200, 10), 0);
    assert_int_equal(set(a, NULL, F_WRLCK, 205, 1), -EAGAIN);
    fl = get(a, &owner1, F_RDLCK, 205, 1);
    assert_int_equal(fl.l_pid, -1);
    locks_remove_posix(a, &owner1);
    assert_int_equal(get(b, &owner2, F_WRLCK, 0, 100).l_type, F_UNLCK);
    assert_int_equal(set(a, &owner1, 9, 0, 1), -EINVAL);
    assert_int_equal(set(a, &owner1, F_RDLCK, -1, 1), -EINVAL);
    stop();
}

static _Atomic int stage;

static void locker1(void)
{
    struct flock fl = {.l_type = F_WRLCK, .l_start = 10, .l_len = 1};

    CHECK(set(a, &owner1, F_WRLCK, 0, 1) == 0, "first");
    stage++;
    while (stage < 2) {
        fiber_yield();
    }
    CHECK(posix_lock_set(a, &owner1, 1, &fl, true) == 0, "granted after the other gave up");
    locks_remove_posix(a, &owner1);
}

static void locker2(void)
{
    struct flock fl = {.l_type = F_WRLCK, .l_start = 0, .l_len = 1};
    int err;

    CHECK(set(b, &owner2, F_WRLCK, 10, 1) == 0, "second");
    stage++;
    while (get(b, &owner2, F_WRLCK, 0, 1).l_type == F_UNLCK || stage < 2) {
        fiber_yield();
    }
    for (int i = 0; i < 50; i++) {
        fiber_yield(); /* let the other block */
    }
    err = posix_lock_set(b, &owner2, 2, &fl, true);
    CHECK(err == -EDEADLK, "got %d", err);
    locks_remove_posix(b, &owner2);
}

static void deadlock_is_found(void **state)
{
    start();
    stage = 0;
    RUN_FIBERS(1, locker1, locker2);
    stop();
}

/* ---- inotify ---- */

static u32 next_mask(struct file *f, char *name)
{
    char buf[sizeof(struct inotify_event) + 256];
    struct inotify_event *ev = (struct inotify_event *)buf;
    ssize_t n = read_file(f, buf, sizeof(struct inotify_event)); /* one without a name */

    if (n == -EINVAL) {
        n = read_file(f, buf, sizeof(struct inotify_event) + 16);
    }
    if (n < 0) {
        return 0;
    }
    (void)strcpy(name, ev->len > 0 ? ev->name : "");
    return ev->mask;
}

static void inotify_reports_names(void **state)
{
    struct file *in = inotify_new(IN_NONBLOCK, fix.ctx.cred);
    struct path dir;
    char name[256];
    int wd;

    make_dir("/d", 0755);
    assert_int_equal(path_lookup(CTX, AT_FDCWD, "/d", 0, &dir), 0);
    wd =
        inotify_add(in, dentry_inode(dir.dentry), IN_CREATE | IN_DELETE | IN_MOVE | IN_CLOSE_WRITE);
    assert_true(wd > 0);
    make_file("/d/x", "1");
    assert_int_equal(next_mask(in, name), IN_CREATE);
    assert_string_equal(name, "x");
    assert_int_equal(next_mask(in, name), IN_CLOSE_WRITE);
    assert_int_equal(vfs_rename(CTX, AT_FDCWD, "/d/x", AT_FDCWD, "/d/y", 0), 0);
    assert_int_equal(next_mask(in, name), IN_MOVED_FROM);
    assert_int_equal(next_mask(in, name), IN_MOVED_TO);
    assert_string_equal(name, "y");
    assert_int_equal(vfs_unlink(CTX, AT_FDCWD, "/d/y", 0), 0);
    assert_int_equal(next_mask(in, name), IN_DELETE);
    assert_int_equal(next_mask(in, name), 0);
    assert_int_equal(inotify_remove(in, wd), 0);
    assert_int_equal(next_mask(in, name), IN_IGNORED);
    assert_int_equal(inotify_remove(in, wd), -EINVAL);
    path_put(&dir);
    file_put(in);
}

static void inotify_watches_end_with_their_inode(void **state)
{
    struct file *in = inotify_new(IN_NONBLOCK, fix.ctx.cred);
    struct path p;
    char name[256];

    make_file("/x", "1");
    assert_int_equal(path_lookup(CTX, AT_FDCWD, "/x", 0, &p), 0);
    assert_true(inotify_add(in, dentry_inode(p.dentry), IN_DELETE_SELF) > 0);
    path_put(&p);
    assert_int_equal(vfs_unlink(CTX, AT_FDCWD, "/x", 0), 0);
    assert_int_equal(next_mask(in, name), IN_DELETE_SELF);
    assert_int_equal(next_mask(in, name), IN_IGNORED);
    make_file("/y", "1");
    assert_int_equal(path_lookup(CTX, AT_FDCWD, "/y", 0, &p), 0);
    assert_true(inotify_add(in, dentry_inode(p.dentry), IN_ALL_EVENTS) > 0);
    path_put(&p);
    file_put(in);
}

/* ---- generated trees ---- */

static int shows;

static int show_count(struct pseudo_node *n, struct seqbuf *s)
{
    shows++;
    for (int i = 0; i < 2000; i++) {
        (void)seq_printf(s, "line %d of %d\n", i, shows);
    }
    return 0;
}

static ssize_t write_any(struct pseudo_node *n, struct file *f, const char *text, size_t len)
{
    return strcmp(text, "ok") == 0 ? (ssize_t)len : -EINVAL;
}

static const struct pseudo_entry number = {.mode = S_IFREG | 0444, .show = show_count};

static int dyn_lookup(struct pseudo_node *dir, struct name name, struct pseudo_child *out)
{
    if (name.len != 1 || name.str[0] < '1' || name.str[0] > '5') {
        return -ENOENT;
    }
    *out = (struct pseudo_child){.entry = &number, .num = (u64)(name.str[0] - '0')};
    return 0;
}

static int dyn_readdir(struct pseudo_node *dir, u64 pos, struct pseudo_emit *e)
{
    for (; pos < 5; pos++) {
        char name[2] = {(char)('1' + pos), 0};

        if (!pseudo_emit(e, name, &number, pos + 1)) {
            break;
        }
    }
    return 0;
}

static const struct pseudo_dir_ops dyn_ops = {.lookup = dyn_lookup, .readdir = dyn_readdir};
static const struct pseudo_entry sub[] = {PSEUDO_RW("rw", 0644, show_count, write_any), PSEUDO_END};
static const struct pseudo_entry root_entries[] = {
    PSEUDO_FILE("count", 0444, show_count),
    PSEUDO_DIR("sub", 0555, sub),
    PSEUDO_LINK("link", "sub/rw"),
    PSEUDO_END,
};
static const struct pseudo_entry root_entry = {
    .name = "", .mode = S_IFDIR | 0555, .children = root_entries, .dir = &dyn_ops};

static char names[256];

static bool add_name(struct dir_context *ctx, struct name name, u64 ino, u32 type, u64 next)
{
    (void)strncat(names, name.str, name.len);
    (void)strcat(names, " ");
    return true;
}

static void pseudo_tree(void **state)
{
    struct super *sb = pseudo_super_new("test", 0x1234, &root_entry, NULL);
    struct dir_context ctx = {.emit = add_name};
    struct path at;
    struct file *f;
    char buf[64], first[64];
    size_t total = 0;
    ssize_t n;

    assert_false(IS_ERR(sb));
    make_dir("/p", 0755);
    assert_int_equal(path_lookup(CTX, AT_FDCWD, "/p", 0, &at), 0);
    assert_int_equal(mount_add(fix.ctx.mnt_ns, sb, &at, 0), 0);
    path_put(&at);
    super_put(sb);
    shows = 0;
    f = must_open("/p/count", O_RDONLY, 0);
    assert_int_equal(read_file(f, first, sizeof(first)), sizeof(first));
    total = sizeof(first);
    while ((n = read_file(f, buf, sizeof(buf))) > 0) {
        total += (size_t)n;
    }
    assert_int_equal(n, 0);
    assert_int_equal(shows, 1);
    assert_true(total > 20000);
    assert_int_equal(file_seek(f, 0, SEEK_SET), 0);
    assert_int_equal(read_file(f, buf, 11), 11);
    assert_int_equal(shows, 2);
    assert_int_equal(file_seek(f, 0, SEEK_END), -EINVAL);
    file_put(f);
    f = must_open("/p/link", O_RDWR, 0);
    assert_int_equal(write_file(f, "ok", 2), 2);
    assert_int_equal(write_file(f, "no", 2), -EINVAL);
    file_put(f);
    assert_int_equal(open_error("/p/3", O_RDONLY), 0);
    assert_int_equal(open_error("/p/6", O_RDONLY), -ENOENT);
    assert_int_equal(stat_of("/p/3", 0).ino, stat_of("/p/3", 0).ino);
    f = must_open("/p", O_RDONLY | O_DIRECTORY, 0);
    assert_int_equal(file_readdir(f, &ctx), 0);
    assert_string_equal(names, ". .. count sub link 1 2 3 4 5 ");
    file_put(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        vfs_unit_test(flock_kinds),
        vfs_unit_test(record_locks_split_and_join),
        vfs_unit_test(deadlock_is_found),
        vfs_unit_test(inotify_reports_names),
        vfs_unit_test(inotify_watches_end_with_their_inode),
        vfs_unit_test(pseudo_tree),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
