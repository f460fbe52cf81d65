/* SPDX-License-Identifier: Apache-2.0 */
/* The mount tree: new, bind, move, remount, propagation, umount, pivot_root, namespaces, its text.
 */
#include "vfs_test.h"

static int mount_tmpfs(const char *at)
{
    return vfs_mount(CTX, "none", at, "tmpfs", 0, NULL);
}

static int mount_flag(const char *from, const char *at, u64 flags)
{
    return vfs_mount(CTX, from, at, NULL, flags, NULL);
}

static bool exists(const char *name)
{
    return stat_error(name) == 0;
}

static char text[8192];

static void collect(void *arg, const char *piece, size_t len)
{
    size_t at = strlen(text);

    assert_true(at + len < sizeof(text));
    memcpy(text + at, piece, len);
    text[at + len] = '\0';
}

static const char *show(bool mountinfo)
{
    struct path root;

    text[0] = '\0';
    fs_get_root(fix.ctx.fs, &root);
    mnt_ns_show(fix.ctx.mnt_ns, &root, mountinfo, collect, NULL);
    path_put(&root);
    return text;
}

static void mount_covers_and_umount_uncovers(void **state)
{
    make_dir("/m", 0755);
    make_file("/m/below", "");
    assert_int_equal(mount_tmpfs("/m"), 0);
    assert_false(exists("/m/below"));
    make_file("/m/above", "");
    assert_int_equal(stat_of("/m/..", 0).ino, stat_of("/", 0).ino);
    assert_int_equal(stat_of("/m/..", 0).dev, stat_of("/", 0).dev);
    assert_int_not_equal(stat_of("/m", 0).dev, stat_of("/", 0).dev);
    assert_int_equal(vfs_rename(CTX, AT_FDCWD, "/m/above", AT_FDCWD, "/x", 0), -EXDEV);
    assert_int_equal(vfs_rename(CTX, AT_FDCWD, "/m", AT_FDCWD, "/n", 0), -EBUSY);
    assert_int_equal(vfs_unlink(CTX, AT_FDCWD, "/m", AT_REMOVEDIR), -EBUSY);
    assert_int_equal(vfs_umount(CTX, "/m/above", 0), -EINVAL);
    assert_int_equal(vfs_umount(CTX, "/m", 0), 0);
    assert_true(exists("/m/below"));
    assert_int_equal(vfs_umount(CTX, "/m", 0), -EINVAL);
    assert_int_equal(vfs_umount(CTX, "/", 0), -EBUSY);
    assert_int_equal(vfs_mount(CTX, "none", "/m", "nofs", 0, NULL), -ENODEV);
    assert_int_equal(vfs_mount(CTX, "none", "/none", "tmpfs", 0, NULL), -ENOENT);
    assert_int_equal(vfs_mount(CTX, "none", "/m/below", "tmpfs", 0, NULL), -ENOTDIR);
}

static void stacked_mounts(void **state)
{
    make_dir("/m", 0755);
    for (int i = 0; i < 3; i++) {
        char name[16];

        assert_int_equal(mount_tmpfs("/m"), 0);
        (void)snprintf(name, sizeof(name), "/m/%d", i);
        make_file(name, "");
    }
    assert_true(exists("/m/2") && !exists("/m/1"));
    assert_int_equal(vfs_umount(CTX, "/m", 0), 0);
    assert_true(exists("/m/1") && !exists("/m/2"));
    assert_int_equal(vfs_umount(CTX, "/m", 0), 0);
    assert_int_equal(vfs_umount(CTX, "/m", 0), 0);
}

static void busy_and_lazy(void **state)
{
    struct file *f;
    struct uio u;

    make_dir("/m", 0755);
    assert_int_equal(mount_tmpfs("/m"), 0);
    f = must_open("/m/f", O_CREAT | O_RDWR, 0644);
    assert_int_equal(vfs_umount(CTX, "/m", 0), -EBUSY);
    assert_int_equal(vfs_umount(CTX, "/m", MNT_EXPIRE), -EBUSY);
    assert_int_equal(vfs_umount(CTX, "/m", MNT_EXPIRE | MNT_DETACH), -EINVAL);
    make_dir("/m/n", 0755);
    assert_int_equal(mount_tmpfs("/m/n"), 0);
    assert_int_equal(vfs_umount(CTX, "/m", MNT_DETACH), 0);
    assert_false(exists("/m/f"));
    uio_init_kernel(&u, (char[]){"late"}, 4);
    assert_int_equal(file_write(f, &u, 0, CTX), 4);
    file_put(f);
    assert_int_equal(mount_tmpfs("/m"), 0);
    assert_int_equal(vfs_umount(CTX, "/m", MNT_EXPIRE), -EAGAIN);
    assert_int_equal(vfs_umount(CTX, "/m", MNT_EXPIRE), 0);
}

static void bind_and_rbind(void **state)
{
    make_dir("/a", 0755);
    make_dir("/a/s", 0755);
    make_dir("/b", 0755);
    make_dir("/c", 0755);
    make_file("/f", "file");
    make_file("/g", "");
    assert_int_equal(mount_tmpfs("/a/s"), 0);
    make_file("/a/s/in", "");
    assert_int_equal(mount_flag("/a", "/b", MS_BIND), 0);
    assert_false(exists("/b/s/in"));
    assert_int_equal(mount_flag("/a", "/c", MS_BIND | MS_REC), 0);
    assert_true(exists("/c/s/in"));
    assert_int_equal(stat_of("/b", 0).ino, stat_of("/a", 0).ino);
    make_file("/b/new", "");
    assert_true(exists("/a/new"));
    assert_int_equal(vfs_rename(CTX, AT_FDCWD, "/b/new", AT_FDCWD, "/a/x", 0), -EXDEV);
    assert_int_equal(mount_flag("/f", "/g", MS_BIND), 0);
    assert_int_equal(stat_of("/g", 0).size, 4);
    assert_int_equal(mount_flag("/f", "/a", MS_BIND), -ENOTDIR);
    assert_int_equal(vfs_umount(CTX, "/g", 0), 0);
    assert_int_equal(vfs_umount(CTX, "/c", 0), -EBUSY);
    assert_int_equal(vfs_umount(CTX, "/c", MNT_DETACH), 0);
    assert_true(exists("/a/s/in"));
    assert_int_equal(mount_flag("", "/a", MS_BIND), -EINVAL);
}

static void read_only_binds(void **state)
{
    struct file *f;

    make_dir("/a", 0755);
    make_dir("/b", 0755);
    make_file("/a/f", "");
    assert_int_equal(mount_flag("/a", "/b", MS_BIND), 0);
    f = must_open("/b/f", O_RDWR, 0);
    assert_int_equal(mount_flag(NULL, "/b", MS_REMOUNT | MS_BIND | MS_RDONLY), -EBUSY);
    file_put(f);
    assert_int_equal(mount_flag(NULL, "/b", MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOEXEC), 0);
    assert_int_equal(open_error("/b/f", O_RDWR), -EROFS);
    assert_int_equal(open_error("/b/f", O_RDONLY | O_TRUNC), -EROFS);
    assert_int_equal(open_error("/b/new", O_RDWR | O_CREAT), -EROFS);
    assert_int_equal(open_error("/b/f", O_RDONLY | O_CREAT), 0);
    assert_int_equal(vfs_mkdir(CTX, AT_FDCWD, "/b/d", 0755), -EROFS);
    assert_int_equal(vfs_mkdir(CTX, AT_FDCWD, "/b/f", 0755), -EEXIST);
    assert_int_equal(vfs_unlink(CTX, AT_FDCWD, "/b/none", 0), -EROFS);
    assert_int_equal(vfs_chmod(CTX, AT_FDCWD, "/b/f", 0600, 0), -EROFS);
    assert_int_equal(vfs_access(CTX, AT_FDCWD, "/b/f", MAY_WRITE, 0), -EROFS);
    assert_int_equal(open_error("/a/f", O_RDWR), 0);
    assert_non_null(strstr(show(false), "none /b tmpfs ro,noexec,relatime 0 0\n"));
}

static void the_super_can_be_read_only(void **state)
{
    make_dir("/m", 0755);
    assert_int_equal(mount_tmpfs("/m"), 0);
    assert_int_equal(mount_flag(NULL, "/m", MS_REMOUNT | MS_RDONLY), 0);
    assert_int_equal(open_error("/m/f", O_RDWR | O_CREAT), -EROFS);
    assert_int_equal(mount_flag(NULL, "/m", MS_REMOUNT), 0);
    assert_int_equal(open_error("/m/f", O_RDWR | O_CREAT), 0);
    make_dir("/m/d", 0755);
    assert_int_equal(mount_flag(NULL, "/m/d", MS_REMOUNT), -EINVAL);
}

static void move_takes_what_is_below(void **state)
{
    make_dir("/a", 0755);
    make_dir("/b", 0755);
    assert_int_equal(mount_tmpfs("/a"), 0);
    make_dir("/a/s", 0755);
    assert_int_equal(mount_tmpfs("/a/s"), 0);
    make_file("/a/s/f", "");
    assert_int_equal(mount_flag("/a", "/a/s", MS_MOVE), -ELOOP);
    assert_int_equal(mount_flag("/a", "/b", MS_MOVE), 0);
    assert_true(exists("/b/s/f") && !exists("/a/s"));
    assert_int_equal(mount_flag("/a", "/b", MS_MOVE), -EINVAL);
    assert_int_equal(vfs_umount(CTX, "/b/s", 0), 0);
    assert_int_equal(vfs_umount(CTX, "/b", 0), 0);
}

static void shared_mounts_see_each_other(void **state)
{
    make_dir("/a", 0755);
    make_dir("/b", 0755);
    make_dir("/c", 0755);
    assert_int_equal(mount_tmpfs("/a"), 0);
    make_dir("/a/x", 0755);
    assert_int_equal(mount_flag(NULL, "/a", MS_SHARED), 0);
    assert_int_equal(mount_flag("/a", "/b", MS_BIND), 0);
    assert_int_equal(mount_flag("/a", "/c", MS_BIND), 0);
    assert_int_equal(mount_flag(NULL, "/c", MS_SLAVE), 0);
    assert_int_equal(mount_tmpfs("/b/x"), 0);
    make_file("/b/x/f", "");
    assert_true(exists("/a/x/f") && exists("/c/x/f"));
    assert_non_null(strstr(show(true), " shared:"));
    assert_non_null(strstr(show(true), " master:"));
    assert_int_equal(vfs_umount(CTX, "/a/x", 0), 0);
    assert_true(!exists("/b/x/f") && !exists("/c/x/f"));
    assert_int_equal(mount_tmpfs("/c/x"), 0);
    make_file("/c/x/g", "");
    assert_true(!exists("/a/x/g") && !exists("/b/x/g"));
    assert_int_equal(mount_flag(NULL, "/b", MS_PRIVATE), 0);
    make_dir("/a/y", 0755);
    assert_int_equal(mount_tmpfs("/a/y"), 0);
    make_file("/a/y/h", "");
    assert_true(!exists("/b/y/h") && exists("/c/y/h"));
    assert_int_equal(mount_flag(NULL, "/a", MS_UNBINDABLE), 0);
    assert_int_equal(mount_flag("/a", "/b", MS_BIND), -EINVAL);
    assert_int_equal(mount_flag(NULL, "/a", MS_SHARED | MS_SLAVE), -EINVAL);
    assert_int_equal(mount_flag(NULL, "/a/x", MS_SHARED), -EINVAL);
}

static void namespaces_are_copies(void **state)
{
    struct mnt_ns *old = fix.ctx.mnt_ns, *copy;
    struct fs_context *old_fs = fix.ctx.fs, *fs = fs_context_copy(old_fs);

    make_dir("/m", 0755);
    make_dir("/n", 0755);
    assert_int_equal(mount_tmpfs("/m"), 0);
    make_file("/m/f", "");
    copy = mnt_ns_copy(old, fs);
    assert_false(IS_ERR(copy));
    fix.ctx.mnt_ns = copy;
    fix.ctx.fs = fs;
    assert_true(exists("/m/f"));
    assert_int_equal(vfs_umount(CTX, "/m", 0), 0);
    assert_int_equal(mount_tmpfs("/n"), 0);
    make_file("/n/g", "");
    fix.ctx.mnt_ns = old;
    fix.ctx.fs = old_fs;
    assert_true(exists("/m/f") && !exists("/n/g"));
    assert_int_equal(vfs_unlink(CTX, AT_FDCWD, "/n", AT_REMOVEDIR), 0);
    fs_context_put(fs);
    mnt_ns_put(copy);
}

static void pivot_changes_the_root(void **state)
{
    make_file("/old-root", "");
    make_dir("/new", 0755);
    assert_int_equal(vfs_pivot_root(CTX, "/new", "/new"), -EBUSY);
    assert_int_equal(mount_tmpfs("/new"), 0);
    make_dir("/new/put", 0755);
    make_file("/new/new-root", "");
    assert_int_equal(vfs_pivot_root(CTX, "/", "/new/put"), -EBUSY);
    assert_int_equal(vfs_pivot_root(CTX, "/new", "/"), -EBUSY);
    assert_int_equal(vfs_pivot_root(CTX, "/new", "/new/put"), 0);
    assert_true(exists("/new-root") && exists("/put/old-root") && !exists("/old-root"));
    assert_int_equal(vfs_umount(CTX, "/put", MNT_DETACH), 0);
    assert_false(exists("/put/old-root"));
    assert_int_equal(stat_of("/..", 0).ino, stat_of("/", 0).ino);
}

static void pivot_onto_itself(void **state)
{
    make_dir("/new", 0755);
    assert_int_equal(mount_tmpfs("/new"), 0);
    make_file("/new/f", "");
    assert_int_equal(vfs_chdir(CTX, "/new"), 0);
    assert_int_equal(vfs_pivot_root(CTX, ".", "."), 0);
    assert_int_equal(vfs_umount(CTX, ".", MNT_DETACH), 0);
    assert_true(exists("/f"));
}

static void rights_over_mounts(void **state)
{
    make_dir("/m", 0777);
    become(1000, 1000);
    assert_int_equal(mount_tmpfs("/m"), -EPERM);
    assert_int_equal(vfs_umount(CTX, "/m", 0), -EPERM);
    assert_int_equal(vfs_pivot_root(CTX, "/m", "/m"), -EPERM);
    become(0, 0);
}

static void dotdot_leaves_a_bind_as_it_came(void **state)
{
    make_dir("/a", 0755);
    make_dir("/a/b", 0755);
    make_dir("/x", 0755);
    make_dir("/x/y", 0755);
    make_file("/x/here", "");
    assert_int_equal(mount_flag("/a/b", "/x/y", MS_BIND), 0);
    assert_true(exists("/x/y/../here"));
    assert_int_equal(vfs_chdir(CTX, "/x/y"), 0);
    assert_true(exists("../here"));
    assert_int_equal(vfs_chdir(CTX, "/"), 0);
}

static void mountinfo_has_the_fields(void **state)
{
    struct path root;

    make_dir("/a b", 0755);
    assert_int_equal(
        vfs_mount(CTX, "src", "/a b", "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=700"), 0);
    make_dir("/a b/d", 0755);
    make_dir("/d", 0755);
    assert_int_equal(mount_flag("/a b/d", "/d", MS_BIND), 0);
    (void)show(true);
    assert_non_null(strstr(text, " / /a\\040b rw,nosuid,nodev,relatime - tmpfs src rw,"
                                 "size=1024k,mode=700\n"));
    assert_non_null(strstr(text, " /d /d rw,nosuid,nodev,relatime - tmpfs src rw"));
    assert_int_equal(vfs_chroot(CTX, "/a b"), 0);
    (void)show(true);
    assert_null(strstr(text, "/d /d"));
    assert_non_null(strstr(text, " / / rw"));
    mnt_ns_root(fix.ctx.mnt_ns, &root);
    path_put(&root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        vfs_unit_test(mount_covers_and_umount_uncovers),
        vfs_unit_test(stacked_mounts),
        vfs_unit_test(busy_and_lazy),
        vfs_unit_test(bind_and_rbind),
        vfs_unit_test(read_only_binds),
        vfs_unit_test(the_super_can_be_read_only),
        vfs_unit_test(move_takes_what_is_below),
        vfs_unit_test(shared_mounts_see_each_other),
        vfs_unit_test(namespaces_are_copies),
        vfs_unit_test(pivot_changes_the_root),
        vfs_unit_test(pivot_onto_itself),
        vfs_unit_test(rights_over_mounts),
        vfs_unit_test(dotdot_leaves_a_bind_as_it_came),
        vfs_unit_test(mountinfo_has_the_fields),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
