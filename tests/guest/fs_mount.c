/* SPDX-License-Identifier: Apache-2.0 */
/* mount(2), umount2(2), pivot_root(2), mount namespaces: in a namespace of the test's own. */
#include "tests/guest/fs.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>

/* Into a private mount namespace, and a directory on a tmpfs of its own. */
static void enter_mounts(void)
{
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
        SKIP("no right to mount");
    }
    enter_temp_dir();
    EXPECT_EQ(mount("none", ".", "tmpfs", 0, NULL), 0);
    EXPECT_EQ(chdir(getcwd((char[4096]){0}, 4096)), 0);
}

static bool exists(const char *name)
{
    struct stat st;

    return lstat(name, &st) == 0;
}

TEST(a_mount_covers)
{
    struct stat a, b;

    enter_mounts();
    EXPECT_EQ(mkdir("m", 0755), 0);
    make_file("m/below", "");
    EXPECT_EQ(mount("none", "m", "tmpfs", MS_NODEV, "size=64k,mode=700"), 0);
    EXPECT(!exists("m/below"));
    EXPECT_EQ(stat("m", &a), 0);
    EXPECT_EQ(stat(".", &b), 0);
    EXPECT(a.st_dev != b.st_dev);
    EXPECT_EQ(a.st_mode & 0777, 0700);
    EXPECT_EQ(stat("m/..", &a), 0);
    EXPECT_EQ(a.st_ino, b.st_ino);
    CALL_FAILS(rmdir("m"), EBUSY);
    CALL_FAILS(rename("m", "n"), EBUSY);
    CALL_FAILS(umount("none"), ENOENT);
    CALL_FAILS(umount2("m", 0x1000), EINVAL);
    EXPECT_EQ(umount("m"), 0);
    EXPECT(exists("m/below"));
    CALL_FAILS(umount("m"), EINVAL);
}

TEST(mount_errors)
{
    enter_mounts();
    EXPECT_EQ(mkdir("m", 0755), 0);
    make_file("f", "");
    CALL_FAILS(mount("none", "none", "tmpfs", 0, NULL), ENOENT);
    CALL_FAILS(mount("none", "f", "tmpfs", 0, NULL), ENOTDIR);
    CALL_FAILS(mount("none", "m", "nonsensefs", 0, NULL), ENODEV);
    CALL_FAILS(mount("none", "m", "tmpfs", 0, "nonsense"), EINVAL);
    CALL_FAILS(mount("none", "m", NULL, 0, NULL), EINVAL);
    CALL_FAILS(mount("none", "m", NULL, MS_BIND, NULL), ENOENT);
    CALL_FAILS(mount("none", "m", NULL, MS_REMOUNT, NULL), EINVAL);
    CALL_FAILS(mount("none", BAD, "tmpfs", 0, NULL), EFAULT);
    CALL_FAILS(mount("m", "m", NULL, MS_MOVE, NULL), EINVAL);
    CALL_FAILS(mount("none", "m", NULL, MS_SHARED | MS_PRIVATE, NULL), EINVAL);
    EXPECT_EQ(chmod(".", 0755), 0);
    become_nobody();
    CALL_FAILS(mount("none", "m", "tmpfs", 0, NULL), EPERM);
    CALL_FAILS(umount("m"), EPERM);
}

TEST(read_only_binds)
{
    int fd;

    enter_mounts();
    EXPECT_EQ(mkdir("a", 0755), 0);
    EXPECT_EQ(mkdir("b", 0755), 0);
    make_file("a/f", "x");
    EXPECT_EQ(mount("a", "b", NULL, MS_BIND, NULL), 0);
    fd = open("b/f", O_RDWR);
    CALL_FAILS(mount(NULL, "b", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), EBUSY);
    EXPECT_EQ(close(fd), 0);
    EXPECT_EQ(mount(NULL, "b", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), 0);
    CALL_FAILS(open("b/f", O_RDWR), EROFS);
    CALL_FAILS(open("b/g", O_RDWR | O_CREAT, 0644), EROFS);
    CALL_FAILS(mkdir("b/d", 0755), EROFS);
    CALL_FAILS(unlink("b/f"), EROFS);
    CALL_FAILS(chmod("b/f", 0600), EROFS);
    CALL_FAILS(access("b/f", W_OK), EROFS);
    CALL_FAILS(rename("b/f", "b/g"), EROFS);
    CALL_FAILS(link("b/f", "b/g"), EROFS);
    CALL_FAILS(truncate("b/f", 0), EROFS);
    EXPECT_EQ(close(open("a/f", O_RDWR)), 0);
}

TEST(mount_flags_forbid)
{
    enter_mounts();
    EXPECT_EQ(mkdir("m", 0755), 0);
    EXPECT_EQ(mount("none", "m", "tmpfs", MS_NODEV | MS_NOEXEC, NULL), 0);
    make_file("m/x", "#!/bin/sh\n");
    EXPECT_EQ(chmod("m/x", 0755), 0);
    CALL_FAILS(execl("m/x", "m/x", NULL), EACCES);
    CALL_FAILS(access("m/x", X_OK), EACCES);
    if (mknod("m/null", S_IFCHR | 0666, 0x103) == 0) {
        CALL_FAILS(open("m/null", O_RDWR), EACCES);
    }
}

TEST(busy_lazy_expire)
{
    int fd;

    enter_mounts();
    EXPECT_EQ(mkdir("m", 0755), 0);
    EXPECT_EQ(mount("none", "m", "tmpfs", 0, NULL), 0);
    fd = open("m/f", O_CREAT | O_RDWR, 0644);
    CALL_FAILS(umount("m"), EBUSY);
    CALL_FAILS(umount2("m", MNT_EXPIRE | MNT_FORCE), EINVAL);
    EXPECT_EQ(umount2("m", MNT_DETACH), 0);
    EXPECT(!exists("m/f"));
    EXPECT_EQ(write(fd, "x", 1), 1);
    EXPECT_EQ(close(fd), 0);
    EXPECT_EQ(mount("none", "m", "tmpfs", 0, NULL), 0);
    CALL_FAILS(umount2("m", MNT_EXPIRE), EAGAIN);
    EXPECT_EQ(umount2("m", MNT_EXPIRE), 0);
    EXPECT_EQ(symlink("m", "l"), 0);
    EXPECT_EQ(mount("none", "m", "tmpfs", 0, NULL), 0);
    CALL_FAILS(umount2("l", UMOUNT_NOFOLLOW), EINVAL);
    EXPECT_EQ(umount("l"), 0);
}

TEST(rbind_and_move)
{
    enter_mounts();
    EXPECT_EQ(mkdir("a", 0755), 0);
    EXPECT_EQ(mkdir("b", 0755), 0);
    EXPECT_EQ(mkdir("c", 0755), 0);
    EXPECT_EQ(mount("none", "a", "tmpfs", 0, NULL), 0);
    EXPECT_EQ(mkdir("a/s", 0755), 0);
    EXPECT_EQ(mount("none", "a/s", "tmpfs", 0, NULL), 0);
    make_file("a/s/f", "");
    EXPECT_EQ(mount("a", "b", NULL, MS_BIND | MS_REC, NULL), 0);
    EXPECT(exists("b/s/f"));
    EXPECT_EQ(mount("a", "c", NULL, MS_MOVE, NULL), 0);
    EXPECT(exists("c/s/f") && !exists("a/s"));
    CALL_FAILS(mount("c", "c/s", NULL, MS_MOVE, NULL), ELOOP);
}

TEST(propagation)
{
    enter_mounts();
    EXPECT_EQ(mkdir("a", 0755), 0);
    EXPECT_EQ(mkdir("b", 0755), 0);
    EXPECT_EQ(mkdir("c", 0755), 0);
    EXPECT_EQ(mount("none", "a", "tmpfs", 0, NULL), 0);
    EXPECT_EQ(mkdir("a/x", 0755), 0);
    EXPECT_EQ(mount(NULL, "a", NULL, MS_SHARED, NULL), 0);
    EXPECT_EQ(mount("a", "b", NULL, MS_BIND, NULL), 0);
    EXPECT_EQ(mount("a", "c", NULL, MS_BIND, NULL), 0);
    EXPECT_EQ(mount(NULL, "c", NULL, MS_SLAVE, NULL), 0);
    EXPECT_EQ(mount("none", "b/x", "tmpfs", 0, NULL), 0);
    make_file("b/x/f", "");
    EXPECT(exists("a/x/f") && exists("c/x/f"));
    EXPECT_EQ(umount("a/x"), 0);
    EXPECT(!exists("b/x/f") && !exists("c/x/f"));
    EXPECT_EQ(mount("none", "c/x", "tmpfs", 0, NULL), 0);
    make_file("c/x/g", "");
    EXPECT(!exists("a/x/g"));
    EXPECT_EQ(mount(NULL, "a", NULL, MS_UNBINDABLE, NULL), 0);
    CALL_FAILS(mount("a", "b", NULL, MS_BIND, NULL), EINVAL);
}

static void umount_in_copy(void *arg)
{
    EXPECT_EQ(unshare(CLONE_NEWNS), 0);
    EXPECT_EQ(umount("m"), 0);
    EXPECT(!exists("m/f"));
    exit(7);
}

TEST(namespaces_are_copies)
{
    enter_mounts();
    EXPECT_EQ(mkdir("m", 0755), 0);
    EXPECT_EQ(mount("none", "m", "tmpfs", 0, NULL), 0);
    make_file("m/f", "");
    EXPECT_EQ(guest_in_child(umount_in_copy, NULL), 7 << 8);
    EXPECT(exists("m/f"));
}

TEST(pivot_root_onto_itself)
{
    enter_mounts();
    EXPECT_EQ(mkdir("new", 0755), 0);
    CALL_FAILS(syscall(SYS_pivot_root, "none", "none"), ENOENT);
    EXPECT_EQ(mount("none", "new", "tmpfs", 0, NULL), 0);
    make_file("new/f", "");
    EXPECT_EQ(chdir("new"), 0);
    EXPECT_EQ(syscall(SYS_pivot_root, ".", "."), 0);
    EXPECT_EQ(umount2(".", MNT_DETACH), 0);
    EXPECT(exists("/f") && !exists("/proc"));
}
