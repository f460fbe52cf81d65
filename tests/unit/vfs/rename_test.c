/* SPDX-License-Identifier: Apache-2.0 */
/* rename(2): what may replace what, by kind of source and target, and the flags of renameat2(2). */
#include "vfs_test.h"

enum kind { NONE, FILE_, EMPTY_DIR, FULL_DIR, LINK, KINDS };

static void make(const char *name, enum kind kind)
{
    char inner[64];

    switch (kind) {
    case FILE_:
        make_file(name, "content");
        break;
    case EMPTY_DIR:
        make_dir(name, 0755);
        break;
    case FULL_DIR:
        make_dir(name, 0755);
        (void)snprintf(inner, sizeof(inner), "%s/inner", name);
        make_file(inner, "");
        break;
    case LINK:
        assert_int_equal(vfs_symlink(CTX, "nowhere", AT_FDCWD, name), 0);
        break;
    case NONE:
    case KINDS:
    default:
        break;
    }
}

static void clear(const char *name)
{
    char inner[64];

    (void)snprintf(inner, sizeof(inner), "%s/inner", name);
    (void)!vfs_unlink(CTX, AT_FDCWD, inner, 0);
    (void)!vfs_unlink(CTX, AT_FDCWD, name, 0);
    (void)!vfs_unlink(CTX, AT_FDCWD, name, AT_REMOVEDIR);
    assert_int_equal(stat_error(name), -ENOENT);
}

static bool is_dir(enum kind k)
{
    return k == EMPTY_DIR || k == FULL_DIR;
}

/* What Linux answers. */
static int expected(enum kind from, enum kind to, u32 flags)
{
    if (from == NONE) {
        return -ENOENT;
    }
    if ((flags & RENAME_EXCHANGE) != 0) {
        return to == NONE ? -ENOENT : 0;
    }
    if (to == NONE) {
        return 0;
    }
    if ((flags & RENAME_NOREPLACE) != 0) {
        return -EEXIST;
    }
    if (is_dir(from) && !is_dir(to)) {
        return -ENOTDIR;
    }
    if (!is_dir(from) && is_dir(to)) {
        return -EISDIR;
    }
    return to == FULL_DIR ? -ENOTEMPTY : 0;
}

static void matrix(const char *from, const char *to, u32 flags)
{
    for (enum kind a = NONE; a < KINDS; a++) {
        for (enum kind b = NONE; b < KINDS; b++) {
            struct attr before = {0};
            int err;

            make(from, a);
            make(to, b);
            if (a != NONE) {
                before = stat_of(from, AT_SYMLINK_NOFOLLOW);
            }
            err = vfs_rename(CTX, AT_FDCWD, from, AT_FDCWD, to, flags);
            if (err != expected(a, b, flags)) {
                fail_msg("kind %d to %d, flags %u: %d", a, b, flags, err);
            }
            if (err == 0) {
                assert_int_equal(stat_of(to, AT_SYMLINK_NOFOLLOW).ino, before.ino);
            }
            clear(from);
            clear(to);
        }
    }
}

static void rename_matrix(void **state)
{
    static const u32 flags[] = {0, RENAME_NOREPLACE, RENAME_EXCHANGE};

    make_dir("/d", 0755);
    make_dir("/e", 0755);
    for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
        matrix("/a", "/b", flags[i]);
        matrix("/d/a", "/e/b", flags[i]);
        matrix("/d/a", "/b", flags[i]);
        matrix("/a", "/d/a", flags[i]);
        assert_int_equal(stat_of("/d", 0).nlink, 2);
        assert_int_equal(stat_of("/e", 0).nlink, 2);
        assert_int_equal(stat_of("/", 0).nlink, 4);
    }
}

static int rename_of(const char *from, const char *to)
{
    return vfs_rename(CTX, AT_FDCWD, from, AT_FDCWD, to, 0);
}

static void a_directory_stays_out_of_itself(void **state)
{
    make_dir("/a", 0755);
    make_dir("/a/b", 0755);
    make_dir("/a/b/c", 0755);
    assert_int_equal(rename_of("/a", "/a/b/c/d"), -EINVAL);
    assert_int_equal(rename_of("/a", "/a/x"), -EINVAL);
    assert_int_equal(rename_of("/a/b/c", "/a"), -ENOTEMPTY);
    assert_int_equal(rename_of("/a/b", "/a"), -ENOTEMPTY);
    assert_int_equal(rename_of("/a", "/a"), 0);
    assert_int_equal(rename_of("/a/.", "/x"), -EBUSY);
    assert_int_equal(rename_of("/a", "/.."), -EBUSY);
    assert_int_equal(vfs_rename(CTX, AT_FDCWD, "/a", AT_FDCWD, "/a/b", RENAME_EXCHANGE), -EINVAL);
    assert_int_equal(rename_of("/a/b/c", "/c"), 0);
    assert_int_equal(stat_of("/c/..", 0).ino, stat_of("/", 0).ino);
    assert_int_equal(stat_of("/a/b", 0).nlink, 2);
}

static void trailing_slashes(void **state)
{
    make_file("/f", "");
    make_dir("/d", 0755);
    assert_int_equal(rename_of("/f/", "/g"), -ENOTDIR);
    assert_int_equal(rename_of("/f", "/g/"), -ENOTDIR);
    assert_int_equal(rename_of("/d/", "/e/"), 0);
    assert_int_equal(stat_error("/e"), 0);
}

static void two_names_of_one_file(void **state)
{
    make_file("/f", "");
    assert_int_equal(vfs_link(CTX, AT_FDCWD, "/f", AT_FDCWD, "/g", 0), 0);
    assert_int_equal(rename_of("/f", "/g"), 0);
    assert_int_equal(stat_error("/f"), 0);
    assert_int_equal(stat_of("/g", 0).nlink, 2);
}

static void whiteout_is_left(void **state)
{
    struct attr a;

    make_file("/f", "");
    assert_int_equal(vfs_rename(CTX, AT_FDCWD, "/f", AT_FDCWD, "/g", RENAME_WHITEOUT), 0);
    a = stat_of("/f", 0);
    assert_true(S_ISCHR(a.mode));
    assert_int_equal(a.rdev, 0);
    assert_int_equal(vfs_rename(CTX, AT_FDCWD, "/f", AT_FDCWD, "/g", 16), -EINVAL);
    assert_int_equal(
        vfs_rename(CTX, AT_FDCWD, "/f", AT_FDCWD, "/g", RENAME_WHITEOUT | RENAME_EXCHANGE),
        -EINVAL);
}

static void open_files_survive_replacement(void **state)
{
    char longname[120], buf[PATH_LEN_MAX];
    struct path root;
    struct file *f;

    memset(longname, 'l', sizeof(longname));
    longname[0] = '/';
    longname[100] = '\0';
    make_file(longname, "old");
    make_file("/new", "newer");
    f = must_open(longname, O_RDONLY, 0);
    assert_int_equal(rename_of("/new", longname), 0);
    assert_int_equal(stat_of(longname, 0).size, 5);
    assert_int_equal(f->inode->size, 3);
    assert_int_equal(f->inode->nlink, 0);
    fs_get_root(fix.ctx.fs, &root);
    assert_memory_equal(path_text(&f->path, &root, buf, sizeof(buf)), longname, 100);
    path_put(&root);
    file_put(f);
    assert_int_equal(rename_of(longname, "/short"), 0);
    assert_int_equal(stat_error(longname), -ENOENT);
    assert_int_equal(stat_of("/short", 0).size, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        vfs_unit_test(rename_matrix),    vfs_unit_test(a_directory_stays_out_of_itself),
        vfs_unit_test(trailing_slashes), vfs_unit_test(two_names_of_one_file),
        vfs_unit_test(whiteout_is_left), vfs_unit_test(open_files_survive_replacement),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
