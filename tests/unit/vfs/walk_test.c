/* SPDX-License-Identifier: Apache-2.0 */
/* The path walk and the operations on names, by the answers Linux gives. */
#include "vfs_test.h"

#include <linux/openat2.h>

static void walk_finds_and_misses(void **state)
{
    make_dir("/a", 0755);
    make_dir("/a/b", 0755);
    make_file("/a/b/f", "hello");
    assert_int_equal(stat_of("/a/b/f", 0).size, 5);
    assert_int_equal(stat_of("//a/./b/../b//f", 0).size, 5);
    assert_int_equal(stat_error("/a/x/f"), -ENOENT);
    assert_int_equal(stat_error("/a/b/f/x"), -ENOTDIR);
    assert_int_equal(stat_error("/a/b/f/"), -ENOTDIR);
    assert_int_equal(stat_error("/a/b/f/."), -ENOTDIR);
    assert_int_equal(stat_error("/a/b/f/.."), -ENOTDIR);
    assert_int_equal(stat_error(""), -ENOENT);
    assert_int_equal(stat_of("/../../a/", 0).mode & S_IFMT, S_IFDIR);
    assert_int_equal(stat_of("/", 0).ino, stat_of("/..", 0).ino);
}

static void walk_long_names(void **state)
{
    char name[400] = "/";

    memset(name + 1, 'x', 255);
    make_file(name, "");
    assert_int_equal(stat_error(name), 0);
    name[256] = 'x';
    assert_int_equal(stat_error(name), -ENAMETOOLONG);
    assert_int_equal(open_error(name, O_CREAT | O_RDWR), -ENAMETOOLONG);
}

static void links_are_followed(void **state)
{
    char buf[64];

    make_dir("/d", 0755);
    make_file("/d/f", "abc");
    assert_int_equal(vfs_symlink(CTX, "d", AT_FDCWD, "/l"), 0);
    assert_int_equal(vfs_symlink(CTX, "/l/f", AT_FDCWD, "/d/m"), 0);
    assert_int_equal(vfs_symlink(CTX, "../l/./m", AT_FDCWD, "/d/n"), 0);
    assert_int_equal(stat_of("/l/n", 0).size, 3);
    assert_true(S_ISLNK(stat_of("/l/n", AT_SYMLINK_NOFOLLOW).mode));
    assert_true(S_ISDIR(stat_of("/l/", AT_SYMLINK_NOFOLLOW).mode));
    assert_int_equal(stat_error("/l/n/"), -ENOTDIR);
    assert_int_equal(vfs_readlink(CTX, AT_FDCWD, "/d/m", buf, sizeof(buf)), 4);
    assert_memory_equal(buf, "/l/f", 4);
    assert_int_equal(vfs_readlink(CTX, AT_FDCWD, "/d/m", buf, 2), 2);
    assert_int_equal(vfs_readlink(CTX, AT_FDCWD, "/d", buf, 2), -EINVAL);
    assert_int_equal(vfs_symlink(CTX, "", AT_FDCWD, "/e"), -ENOENT);
    assert_int_equal(vfs_symlink(CTX, "x", AT_FDCWD, "/l"), -EEXIST);
    assert_int_equal(vfs_symlink(CTX, "x", AT_FDCWD, "/nu/"), -ENOENT);
}

static void link_loops_end(void **state)
{
    char name[8], target[8];

    assert_int_equal(vfs_symlink(CTX, "self", AT_FDCWD, "/self"), 0);
    assert_int_equal(stat_error("/self"), -ELOOP);
    assert_int_equal(stat_error("/self/x"), -ELOOP);
    make_file("/l0", "end");
    for (int i = 1; i <= 41; i++) {
        (void)snprintf(name, sizeof(name), "/l%d", i);
        (void)snprintf(target, sizeof(target), "l%d", i - 1);
        assert_int_equal(vfs_symlink(CTX, target, AT_FDCWD, name), 0);
    }
    assert_int_equal(stat_error("/l40"), 0);
    assert_int_equal(stat_error("/l41"), -ELOOP);
    assert_int_equal(vfs_symlink(CTX, "/", AT_FDCWD, "/root"), 0);
    assert_int_equal(stat_error("/root/root/l1"), 0);
}

static void open_flags_as_linux(void **state)
{
    make_dir("/d", 0755);
    make_file("/f", "x");
    assert_int_equal(vfs_symlink(CTX, "f", AT_FDCWD, "/l"), 0);
    assert_int_equal(vfs_symlink(CTX, "new", AT_FDCWD, "/dangling"), 0);
    assert_int_equal(open_error("/f", O_CREAT | O_EXCL), -EEXIST);
    assert_int_equal(open_error("/l", O_CREAT | O_EXCL), -EEXIST);
    assert_int_equal(open_error("/dangling", O_CREAT | O_EXCL), -EEXIST);
    assert_int_equal(open_error("/l", O_NOFOLLOW), -ELOOP);
    assert_int_equal(open_error("/l", O_NOFOLLOW | O_PATH), 0);
    assert_int_equal(open_error("/l", O_NOFOLLOW | O_DIRECTORY), -ENOTDIR);
    assert_int_equal(open_error("/f", O_DIRECTORY), -ENOTDIR);
    assert_int_equal(open_error("/d", O_WRONLY), -EISDIR);
    assert_int_equal(open_error("/d", O_RDONLY | O_CREAT), -EISDIR);
    assert_int_equal(open_error("/d", O_RDONLY | O_TRUNC), -EISDIR);
    assert_int_equal(open_error("/d/", O_RDONLY), 0);
    assert_int_equal(open_error("/n/", O_RDWR | O_CREAT), -EISDIR);
    assert_int_equal(open_error("/d/.", O_RDWR | O_CREAT), -EISDIR);
    assert_int_equal(open_error("/f/", O_RDONLY), -ENOTDIR);
    assert_int_equal(open_error("/", O_RDWR | O_CREAT), -EISDIR);
    assert_int_equal(open_error("/none", O_RDONLY), -ENOENT);
    assert_int_equal(open_error("/d", O_CREAT | O_DIRECTORY), -EINVAL);
    assert_int_equal(open_error("/dangling", O_CREAT | O_RDWR), 0);
    assert_int_equal(stat_error("/new"), 0);
    assert_int_equal(open_error("/f", O_TRUNC | O_RDWR), 0);
    assert_int_equal(stat_of("/f", 0).size, 0);
}

static void open_modes_and_umask(void **state)
{
    file_put(must_open("/f", O_CREAT | O_RDWR, 0666));
    assert_int_equal(stat_of("/f", 0).mode, S_IFREG | 0644);
    make_dir("/d", 0777);
    assert_int_equal(stat_of("/d", 0).mode, S_IFDIR | 0755);
    assert_int_equal(stat_of("/d", 0).nlink, 2);
    make_dir("/d/e", 0777);
    assert_int_equal(stat_of("/d", 0).nlink, 3);
}

static void tmpfile_can_be_linked(void **state)
{
    struct file *f = must_open("/", O_TMPFILE | O_RDWR, 0600);
    int fd = fd_install(fix.ctx.fdt, f, 0, 100, false);

    assert_int_equal(fd, 0);
    assert_int_equal(open_error("/", O_TMPFILE | O_RDONLY), -EINVAL);
    assert_int_equal(vfs_link(CTX, fd, "", AT_FDCWD, "/named", AT_EMPTY_PATH), 0);
    assert_int_equal(stat_of("/named", 0).nlink, 1);
    f = must_open("/", O_TMPFILE | O_RDWR | O_EXCL, 0600);
    fd = fd_install(fix.ctx.fdt, f, 0, 100, false);
    assert_int_equal(vfs_link(CTX, fd, "", AT_FDCWD, "/other", AT_EMPTY_PATH), -ENOENT);
}

static void unlink_and_rmdir(void **state)
{
    struct file *f;

    make_dir("/d", 0755);
    make_file("/d/f", "text");
    assert_int_equal(vfs_unlink(CTX, AT_FDCWD, "/d", 0), -EISDIR);
    assert_int_equal(vfs_unlink(CTX, AT_FDCWD, "/d/f", AT_REMOVEDIR), -ENOTDIR);
    assert_int_equal(vfs_unlink(CTX, AT_FDCWD, "/d", AT_REMOVEDIR), -ENOTEMPTY);
    assert_int_equal(vfs_unlink(CTX, AT_FDCWD, "/d/.", AT_REMOVEDIR), -EINVAL);
    assert_int_equal(vfs_unlink(CTX, AT_FDCWD, "/d/..", AT_REMOVEDIR), -ENOTEMPTY);
    assert_int_equal(vfs_unlink(CTX, AT_FDCWD, "/", AT_REMOVEDIR), -EBUSY);
    assert_int_equal(vfs_unlink(CTX, AT_FDCWD, "/d/f/", 0), -ENOTDIR);
    assert_int_equal(vfs_unlink(CTX, AT_FDCWD, "/d/x", 0), -ENOENT);
    f = must_open("/d/f", O_RDONLY, 0);
    assert_int_equal(vfs_unlink(CTX, AT_FDCWD, "/d/f", 0), 0);
    assert_int_equal(stat_error("/d/f"), -ENOENT);
    assert_int_equal(f->inode->nlink, 0);
    file_put(f);
    make_file("/d/f", "again");
    assert_int_equal(stat_of("/d/f", 0).size, 5);
    assert_int_equal(vfs_unlink(CTX, AT_FDCWD, "/d/f", 0), 0);
    assert_int_equal(vfs_chdir(CTX, "/d"), 0);
    assert_int_equal(vfs_unlink(CTX, AT_FDCWD, "../d/", AT_REMOVEDIR), 0);
    assert_int_equal(open_error("x", O_CREAT | O_RDWR), -ENOENT);
    assert_int_equal(vfs_mkdir(CTX, AT_FDCWD, "x", 0755), -ENOENT);
    assert_int_equal(stat_error("."), 0);
    assert_int_equal(stat_of("..", 0).ino, stat_of("/", 0).ino);
    assert_int_equal(vfs_chdir(CTX, "/"), 0);
}

static void creation_errors(void **state)
{
    make_file("/f", "");
    assert_int_equal(vfs_mkdir(CTX, AT_FDCWD, "/f", 0755), -EEXIST);
    assert_int_equal(vfs_mkdir(CTX, AT_FDCWD, "/", 0755), -EEXIST);
    assert_int_equal(vfs_mkdir(CTX, AT_FDCWD, "/x/..", 0755), -ENOENT);
    assert_int_equal(vfs_mkdir(CTX, AT_FDCWD, "/f/x", 0755), -ENOTDIR);
    assert_int_equal(vfs_mkdir(CTX, AT_FDCWD, "/new/", 0755), 0);
    assert_int_equal(vfs_mknod(CTX, AT_FDCWD, "/m", S_IFDIR | 0644, 0), -EPERM);
    assert_int_equal(vfs_mknod(CTX, AT_FDCWD, "/m", S_IFLNK | 0644, 0), -EINVAL);
    assert_int_equal(vfs_mknod(CTX, AT_FDCWD, "/m", 0644, 0), 0);
    assert_true(S_ISREG(stat_of("/m", 0).mode));
    assert_int_equal(vfs_mknod(CTX, AT_FDCWD, "/c", S_IFCHR | 0666, 0x501), 0);
    assert_int_equal(stat_of("/c", 0).rdev, 0x501);
    assert_int_equal(open_error("/c", O_RDWR), -ENXIO);
    assert_int_equal(vfs_link(CTX, AT_FDCWD, "/new", AT_FDCWD, "/n2", 0), -EPERM);
    assert_int_equal(vfs_link(CTX, AT_FDCWD, "/f", AT_FDCWD, "/m", 0), -EEXIST);
    assert_int_equal(vfs_link(CTX, AT_FDCWD, "/f", AT_FDCWD, "/f2", 0), 0);
    assert_int_equal(stat_of("/f", 0).nlink, 2);
    assert_int_equal(stat_of("/f", 0).ino, stat_of("/f2", 0).ino);
}

static void rights_are_checked(void **state)
{
    make_dir("/priv", 0700);
    make_file("/priv/f", "");
    make_dir("/pub", 0777);
    make_dir("/ro", 0755);
    assert_int_equal(vfs_chmod(CTX, AT_FDCWD, "/pub", 01777, 0), 0);
    make_file("/pub/f", "");
    become(1000, 1000);
    assert_int_equal(stat_error("/priv/f"), -EACCES);
    assert_int_equal(stat_error("/priv/none"), -EACCES);
    assert_int_equal(open_error("/pub/f", O_RDWR), -EACCES);
    assert_int_equal(open_error("/pub/f", O_RDONLY), 0);
    assert_int_equal(open_error("/pub/f", O_RDONLY | O_TRUNC), -EACCES);
    assert_int_equal(open_error("/pub/f", O_RDONLY | O_NOATIME), -EPERM);
    assert_int_equal(vfs_unlink(CTX, AT_FDCWD, "/pub/f", 0), -EPERM);
    assert_int_equal(vfs_rename(CTX, AT_FDCWD, "/pub/f", AT_FDCWD, "/pub/g", 0), -EPERM);
    assert_int_equal(vfs_link(CTX, AT_FDCWD, "/pub/f", AT_FDCWD, "/pub/h", 0), -EPERM);
    assert_int_equal(vfs_mkdir(CTX, AT_FDCWD, "/ro/x", 0755), -EACCES);
    assert_int_equal(vfs_chown(CTX, AT_FDCWD, "/pub/f", 1000, -1, 0), -EPERM);
    assert_int_equal(vfs_chmod(CTX, AT_FDCWD, "/pub/f", 0777, 0), -EPERM);
    assert_int_equal(vfs_utimens(CTX, AT_FDCWD, "/pub/f", NULL, 0), -EACCES);
    make_file("/pub/mine", "");
    assert_int_equal(vfs_chmod(CTX, AT_FDCWD, "/pub/mine", 06755, 0), 0);
    assert_int_equal(stat_of("/pub/mine", 0).mode, S_IFREG | 06755);
    make_file("/pub/mine", "written");
    assert_int_equal(stat_of("/pub/mine", 0).mode, S_IFREG | 0755);
    assert_int_equal(vfs_access(CTX, AT_FDCWD, "/pub/f", MAY_WRITE, 0), -EACCES);
    assert_int_equal(vfs_access(CTX, AT_FDCWD, "/pub/f", MAY_READ, 0), 0);
    become(0, 0);
    assert_int_equal(vfs_access(CTX, AT_FDCWD, "/pub/f", MAY_EXEC, 0), -EACCES);
}

static void setgid_directory_is_inherited(void **state)
{
    make_dir("/g", 0777);
    assert_int_equal(vfs_chown(CTX, AT_FDCWD, "/g", -1, 50, 0), 0);
    assert_int_equal(vfs_chmod(CTX, AT_FDCWD, "/g", 02777, 0), 0);
    become(1000, 1000);
    make_dir("/g/d", 0755);
    make_file("/g/f", "");
    assert_int_equal(stat_of("/g/d", 0).gid, 50);
    assert_int_equal(stat_of("/g/d", 0).mode, S_IFDIR | 02755);
    assert_int_equal(stat_of("/g/f", 0).gid, 50);
    file_put(must_open("/g/s", O_CREAT | O_RDWR, 02755));
    assert_int_equal(stat_of("/g/s", 0).mode, S_IFREG | 0755);
    become(0, 0);
}

static void sticky_links_are_not_followed(void **state)
{
    make_dir("/tmp", 0777);
    assert_int_equal(vfs_chmod(CTX, AT_FDCWD, "/tmp", 01777, 0), 0);
    make_file("/f", "");
    become(1000, 1000);
    assert_int_equal(vfs_symlink(CTX, "/f", AT_FDCWD, "/tmp/l"), 0);
    become(2000, 2000);
    assert_int_equal(stat_error("/tmp/l"), -EACCES);
    become(1000, 1000);
    assert_int_equal(stat_error("/tmp/l"), 0);
    become(0, 0);
}

static int open2(const char *name, u64 resolve)
{
    const struct open_how_args how = {.flags = O_RDONLY, .resolve = (u32)resolve};
    struct file *dir = must_open("/jail", O_RDONLY | O_DIRECTORY, 0), *f;
    int fd = fd_install(fix.ctx.fdt, dir, 0, 100, false);

    assert_true(fd >= 0);
    f = vfs_open(CTX, fd, name, &how);
    assert_int_equal(fd_close(fix.ctx.fdt, fd), 0);
    if (IS_ERR(f)) {
        return (int)PTR_ERR(f);
    }
    file_put(f);
    return 0;
}

static void openat2_resolve(void **state)
{
    make_dir("/jail", 0755);
    make_dir("/jail/d", 0755);
    make_file("/jail/f", "");
    make_file("/out", "");
    assert_int_equal(vfs_symlink(CTX, "/f", AT_FDCWD, "/jail/abs"), 0);
    assert_int_equal(vfs_symlink(CTX, "../f", AT_FDCWD, "/jail/d/up"), 0);
    assert_int_equal(vfs_symlink(CTX, "../out", AT_FDCWD, "/jail/out"), 0);
    assert_int_equal(open2("f", RESOLVE_BENEATH), 0);
    assert_int_equal(open2("d/up", RESOLVE_BENEATH), 0);
    assert_int_equal(open2("d/../f", RESOLVE_BENEATH), 0);
    assert_int_equal(open2("../out", RESOLVE_BENEATH), -EXDEV);
    assert_int_equal(open2("out", RESOLVE_BENEATH), -EXDEV);
    assert_int_equal(open2("abs", RESOLVE_BENEATH), -EXDEV);
    assert_int_equal(open2("/f", RESOLVE_BENEATH), -EXDEV);
    assert_int_equal(open2("/f", RESOLVE_IN_ROOT), 0);
    assert_int_equal(open2("abs", RESOLVE_IN_ROOT), 0);
    assert_int_equal(open2("../../f", RESOLVE_IN_ROOT), 0);
    assert_int_equal(open2("out", RESOLVE_IN_ROOT), -ELOOP);
    assert_int_equal(open2("d/up", RESOLVE_NO_SYMLINKS), -ELOOP);
    assert_int_equal(open2("f", RESOLVE_NO_SYMLINKS), 0);
}

static void chroot_confines(void **state)
{
    make_dir("/r", 0755);
    make_dir("/r/d", 0755);
    make_file("/out", "");
    assert_int_equal(vfs_chroot(CTX, "/r"), 0);
    assert_int_equal(vfs_chdir(CTX, "/"), 0);
    assert_int_equal(stat_error("/d"), 0);
    assert_int_equal(stat_error("/../out"), -ENOENT);
    assert_int_equal(stat_error("../../out"), -ENOENT);
}

static void paths_have_text(void **state)
{
    char buf[PATH_LEN_MAX];
    struct path p, root;

    make_dir("/a", 0755);
    make_dir("/a/b", 0755);
    assert_int_equal(path_lookup(CTX, AT_FDCWD, "/a/b", 0, &p), 0);
    fs_get_root(fix.ctx.fs, &root);
    assert_string_equal(path_text(&p, &root, buf, sizeof(buf)), "/a/b");
    assert_string_equal(path_text(&root, &root, buf, sizeof(buf)), "/");
    assert_int_equal(PTR_ERR(path_text(&p, &root, buf, 4)), -ENAMETOOLONG);
    assert_string_equal(path_text(&root, &p, buf, sizeof(buf)), "(unreachable)/");
    assert_int_equal(vfs_rename(CTX, AT_FDCWD, "/a/b", AT_FDCWD, "/c", 0), 0);
    assert_string_equal(path_text(&p, &root, buf, sizeof(buf)), "/c");
    assert_int_equal(vfs_unlink(CTX, AT_FDCWD, "/c", AT_REMOVEDIR), 0);
    assert_string_equal(path_text(&p, &root, buf, sizeof(buf)), "/c (deleted)");
    path_put(&p);
    path_put(&root);
}

static void dentries_are_trimmed(void **state)
{
    char name[32];

    vfs_state->max_lru = 100;
    make_dir("/d", 0755);
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(name, sizeof(name), "/d/%d", i);
        make_file(name, "");
    }
    assert_true(vfs_state->nr_lru < 300);
    assert_int_equal(stat_error("/d/17"), 0);
    dcache_shrink(NULL);
    dcache_shrink(NULL);
    assert_true(vfs_state->nr_lru < 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        vfs_unit_test(walk_finds_and_misses),
        vfs_unit_test(walk_long_names),
        vfs_unit_test(links_are_followed),
        vfs_unit_test(link_loops_end),
        vfs_unit_test(open_flags_as_linux),
        vfs_unit_test(open_modes_and_umask),
        vfs_unit_test(tmpfile_can_be_linked),
        vfs_unit_test(unlink_and_rmdir),
        vfs_unit_test(creation_errors),
        vfs_unit_test(rights_are_checked),
        vfs_unit_test(setgid_directory_is_inherited),
        vfs_unit_test(sticky_links_are_not_followed),
        vfs_unit_test(openat2_resolve),
        vfs_unit_test(chroot_confines),
        vfs_unit_test(paths_have_text),
        vfs_unit_test(dentries_are_trimmed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
