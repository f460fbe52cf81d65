/* SPDX-License-Identifier: Apache-2.0 */
/* mkdir(2), rmdir(2), unlink(2), link(2), symlink(2), readlink(2), rename(2), mknod(2), chdir(2),
 * getcwd(2). */
#include "tests/guest/fs.h"

#include <limits.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

static bool exists(const char *name)
{
    struct stat st;

    return lstat(name, &st) == 0;
}

static nlink_t links_of(const char *name)
{
    struct stat st;

    EXPECT_EQ(lstat(name, &st), 0);
    return st.st_nlink;
}

TEST(mkdir_and_its_errors)
{
    enter_temp_dir();
    make_file("f", "");
    EXPECT_EQ(mkdir("d", 0777), 0);
    EXPECT_EQ(mkdir("d/e/", 0777), 0);
    CALL_FAILS(mkdir("d", 0755), EEXIST);
    CALL_FAILS(mkdir("f", 0755), EEXIST);
    CALL_FAILS(mkdir("/", 0755), EEXIST);
    CALL_FAILS(mkdir(".", 0755), EEXIST);
    CALL_FAILS(mkdir("none/d", 0755), ENOENT);
    CALL_FAILS(mkdir("f/d", 0755), ENOTDIR);
    CALL_FAILS(mkdir("", 0755), ENOENT);
    CALL_FAILS(mkdir(BAD, 0755), EFAULT);
    CALL_FAILS(mkdirat(-1, "x", 0755), EBADF);
}

TEST(rmdir_and_its_errors)
{
    enter_temp_dir();
    make_file("f", "");
    EXPECT_EQ(mkdir("d", 0755), 0);
    EXPECT_EQ(mkdir("d/e", 0755), 0);
    CALL_FAILS(rmdir("d"), ENOTEMPTY);
    CALL_FAILS(rmdir("f"), ENOTDIR);
    CALL_FAILS(rmdir("none"), ENOENT);
    CALL_FAILS(rmdir("d/."), EINVAL);
    CALL_FAILS(rmdir("d/e/.."), ENOTEMPTY);
    CALL_FAILS(rmdir("/"), EBUSY);
    CALL_FAILS(rmdir(BAD), EFAULT);
    EXPECT_EQ(rmdir("d/e/"), 0);
    EXPECT_EQ(rmdir("d"), 0);
}

TEST(unlink_and_its_errors)
{
    enter_temp_dir();
    make_file("f", "");
    EXPECT_EQ(mkdir("d", 0755), 0);
    EXPECT_EQ(symlink("d", "l"), 0);
    CALL_FAILS(unlink("d"), EISDIR);
    CALL_FAILS(unlink("none"), ENOENT);
    CALL_FAILS(unlink("f/x"), ENOTDIR);
    CALL_FAILS(unlink("f/"), ENOTDIR);
    CALL_FAILS(unlink(""), ENOENT);
    CALL_FAILS(unlink(BAD), EFAULT);
    CALL_FAILS(unlinkat(AT_FDCWD, "f", 1), EINVAL);
    CALL_FAILS(unlinkat(-1, "f", 0), EBADF);
    EXPECT_EQ(unlink("l"), 0);
    EXPECT_EQ(unlink("f"), 0);
    EXPECT(!exists("f") && !exists("l") && exists("d"));
    EXPECT_EQ(unlinkat(AT_FDCWD, "d", AT_REMOVEDIR), 0);
}

TEST(an_open_file_lives_without_a_name)
{
    char buf[8];
    int fd;

    enter_temp_dir();
    make_file("f", "content");
    fd = open("f", O_RDWR);
    EXPECT_EQ(unlink("f"), 0);
    EXPECT_EQ(read(fd, buf, 8), 7);
    make_file("f", "x");
    EXPECT_EQ(lseek(fd, 0, SEEK_END), 7);
}

TEST(a_removed_directory_takes_no_names)
{
    char buf[PATH_MAX];

    enter_temp_dir();
    EXPECT_EQ(mkdir("d", 0755), 0);
    EXPECT_EQ(chdir("d"), 0);
    EXPECT_EQ(rmdir("../d"), 0);
    CALL_FAILS(open("f", O_CREAT | O_RDWR, 0644), ENOENT);
    CALL_FAILS(mkdir("e", 0755), ENOENT);
    CALL_FAILS(syscall(SYS_getcwd, buf, sizeof(buf)), ENOENT);
    EXPECT(exists("."));
}

TEST(link_and_its_errors)
{
    enter_temp_dir();
    make_file("f", "");
    EXPECT_EQ(mkdir("d", 0755), 0);
    EXPECT_EQ(symlink("f", "l"), 0);
    EXPECT_EQ(link("f", "g"), 0);
    EXPECT_EQ(links_of("f"), 2);
    EXPECT_EQ(link("l", "m"), 0);
    EXPECT_EQ(links_of("l"), 2);
    EXPECT_EQ(linkat(AT_FDCWD, "l", AT_FDCWD, "h", AT_SYMLINK_FOLLOW), 0);
    EXPECT_EQ(links_of("f"), 3);
    CALL_FAILS(link("f", "g"), EEXIST);
    CALL_FAILS(link("none", "x"), ENOENT);
    CALL_FAILS(link("d", "x"), EPERM);
    CALL_FAILS(link("f", "x/"), ENOENT);
    CALL_FAILS(link("f", "none/x"), ENOENT);
    CALL_FAILS(link("f", "/dev/shm/x"), EXDEV);
    CALL_FAILS(link(BAD, "x"), EFAULT);
    CALL_FAILS(linkat(AT_FDCWD, "f", AT_FDCWD, "x", 1), EINVAL);
    EXPECT_EQ(unlink("g"), 0);
    EXPECT_EQ(links_of("f"), 2);
}

TEST(symlink_and_readlink)
{
    char buf[64];

    enter_temp_dir();
    make_file("f", "");
    EXPECT_EQ(symlink("target", "l"), 0);
    CALL_FAILS(symlink("x", "l"), EEXIST);
    CALL_FAILS(symlink("", "e"), ENOENT);
    CALL_FAILS(symlink("x", "none/l"), ENOENT);
    CALL_FAILS(symlink(BAD, "m"), EFAULT);
    EXPECT_EQ(readlink("l", buf, sizeof(buf)), 6);
    EXPECT_EQ(memcmp(buf, "target", 6), 0);
    EXPECT_EQ(readlink("l", buf, 3), 3);
    CALL_FAILS(readlink("f", buf, sizeof(buf)), EINVAL);
    CALL_FAILS(readlink("none", buf, sizeof(buf)), ENOENT);
    CALL_FAILS(readlink("l", buf, 0), EINVAL);
    CALL_FAILS(readlink("l", BAD, 6), EFAULT);
    CALL_FAILS(readlink("f/l", buf, 6), ENOTDIR);
}

TEST(rename_replaces_and_its_errors)
{
    enter_temp_dir();
    make_file("f", "f");
    make_file("g", "g");
    EXPECT_EQ(mkdir("d", 0755), 0);
    EXPECT_EQ(mkdir("e", 0755), 0);
    make_file("e/x", "");
    EXPECT_EQ(rename("f", "g"), 0);
    EXPECT(!exists("f") && exists("g"));
    CALL_FAILS(rename("none", "x"), ENOENT);
    CALL_FAILS(rename("g", "d"), EISDIR);
    CALL_FAILS(rename("d", "g"), ENOTDIR);
    CALL_FAILS(rename("d", "e"), ENOTEMPTY);
    CALL_FAILS(rename("e", "e/x/y"), ENOTDIR);
    CALL_FAILS(rename("d", "d/x"), EINVAL);
    CALL_FAILS(rename("g", "g/x"), ENOTDIR);
    CALL_FAILS(rename("g/", "h"), ENOTDIR);
    CALL_FAILS(rename("g", "h/"), ENOTDIR);
    CALL_FAILS(rename("d", "."), EBUSY);
    CALL_FAILS(rename("g", "/proc/g"), EXDEV);
    CALL_FAILS(rename(BAD, "x"), EFAULT);
    EXPECT_EQ(rename("e", "d"), 0);
    EXPECT(exists("d/x"));
    EXPECT_EQ(rename("d", "d"), 0);
}

TEST(renameat2_flags)
{
    struct stat a, b;

    enter_temp_dir();
    make_file("f", "f");
    EXPECT_EQ(mkdir("d", 0755), 0);
    EXPECT_EQ(stat("f", &a), 0);
    CALL_FAILS(renameat2(AT_FDCWD, "f", AT_FDCWD, "d", RENAME_NOREPLACE), EEXIST);
    CALL_FAILS(renameat2(AT_FDCWD, "f", AT_FDCWD, "x", RENAME_EXCHANGE), ENOENT);
    CALL_FAILS(renameat2(AT_FDCWD, "f", AT_FDCWD, "x", 0x100), EINVAL);
    CALL_FAILS(renameat2(AT_FDCWD, "f", AT_FDCWD, "x", RENAME_EXCHANGE | RENAME_NOREPLACE), EINVAL);
    EXPECT_EQ(renameat2(AT_FDCWD, "f", AT_FDCWD, "d", RENAME_EXCHANGE), 0);
    EXPECT_EQ(stat("d", &b), 0);
    EXPECT_EQ(a.st_ino, b.st_ino);
    EXPECT_EQ(stat("f", &b), 0);
    EXPECT(S_ISDIR(b.st_mode));
    EXPECT_EQ(renameat2(AT_FDCWD, "d", AT_FDCWD, "g", RENAME_NOREPLACE), 0);
}

TEST(link_counts_of_directories)
{
    enter_temp_dir();
    EXPECT_EQ(mkdir("a", 0755), 0);
    EXPECT_EQ(mkdir("b", 0755), 0);
    EXPECT_EQ(links_of("a"), 2);
    EXPECT_EQ(mkdir("a/d", 0755), 0);
    EXPECT_EQ(links_of("a"), 3);
    EXPECT_EQ(rename("a/d", "b/d"), 0);
    EXPECT_EQ(links_of("a"), 2);
    EXPECT_EQ(links_of("b"), 3);
    EXPECT_EQ(rmdir("b/d"), 0);
    EXPECT_EQ(links_of("b"), 2);
}

TEST(sticky_directories_protect)
{
    enter_temp_dir();
    EXPECT_EQ(chmod(".", 01777), 0);
    make_file("f", "");
    become_nobody();
    CALL_FAILS(unlink("f"), EPERM);
    CALL_FAILS(rename("f", "g"), EPERM);
    make_file("mine", "");
    CALL_FAILS(rename("mine", "f"), EPERM);
    EXPECT_EQ(rename("mine", "other"), 0);
    EXPECT_EQ(unlink("other"), 0);
}

TEST(others_may_not_change_a_directory)
{
    enter_temp_dir();
    EXPECT_EQ(chmod(".", 0755), 0);
    make_file("f", "");
    EXPECT_EQ(mkdir("d", 0755), 0);
    become_nobody();
    CALL_FAILS(unlink("f"), EACCES);
    CALL_FAILS(rmdir("d"), EACCES);
    CALL_FAILS(mkdir("e", 0755), EACCES);
    CALL_FAILS(symlink("x", "l"), EACCES);
    CALL_FAILS(rename("f", "g"), EACCES);
    CALL_FAILS(mkfifo("p", 0644), EACCES);
}

TEST(mknod_makes_nodes)
{
    struct stat st;

    enter_temp_dir();
    EXPECT_EQ(mkfifo("p", 0666), 0);
    EXPECT_EQ(stat("p", &st), 0);
    EXPECT_EQ(st.st_mode, S_IFIFO | 0644);
    EXPECT_EQ(mknod("r", S_IFREG | 0600, 0), 0);
    EXPECT_EQ(mknod("s", S_IFSOCK | 0600, 0), 0);
    CALL_FAILS(open("s", O_RDWR), ENXIO);
    CALL_FAILS(mknod("p", S_IFIFO | 0600, 0), EEXIST);
    CALL_FAILS(mknod("x", S_IFDIR | 0600, 0), EPERM);
    CALL_FAILS(mknod("x", S_IFLNK | 0600, 0), EINVAL);
    become_nobody();
    CALL_FAILS(mknod("/tmp/guest-fs-node", S_IFCHR | 0600, makedev(1, 3)), EPERM);
}

TEST(chdir_and_getcwd)
{
    char buf[PATH_MAX], want[PATH_MAX];
    int fd;

    enter_temp_dir();
    make_file("f", "");
    EXPECT(getcwd(want, sizeof(want)) != NULL);
    EXPECT_EQ(mkdir("d", 0755), 0);
    EXPECT_EQ(symlink("d", "l"), 0);
    EXPECT_EQ(chdir("l"), 0);
    EXPECT(getcwd(buf, sizeof(buf)) != NULL);
    EXPECT_EQ(strcmp(buf + strlen(want), "/d"), 0);
    CALL_FAILS(chdir("../f"), ENOTDIR);
    CALL_FAILS(chdir("none"), ENOENT);
    CALL_FAILS(chdir(BAD), EFAULT);
    CALL_FAILS(syscall(SYS_getcwd, buf, 3UL), ERANGE);
    CALL_FAILS(syscall(SYS_getcwd, 1UL, 4096UL), EFAULT);
    fd = open("..", O_RDONLY);
    EXPECT_EQ(fchdir(fd), 0);
    EXPECT(getcwd(buf, sizeof(buf)) != NULL);
    EXPECT_EQ(strcmp(buf, want), 0);
    CALL_FAILS(fchdir(open("f", O_RDONLY)), ENOTDIR);
    CALL_FAILS(fchdir(-1), EBADF);
}

TEST(chroot_confines)
{
    enter_temp_dir();
    EXPECT_EQ(mkdir("r", 0755), 0);
    EXPECT_EQ(mkdir("r/d", 0755), 0);
    make_file("f", "");
    if (chroot("r") != 0 && errno == EPERM) {
        SKIP("no right to chroot");
    }
    EXPECT_EQ(chdir("/"), 0);
    EXPECT(exists("/d") && exists("/../../d"));
    EXPECT(!exists("/../f"));
    CALL_FAILS(chroot("/none"), ENOENT);
}

TEST(umask_is_kept)
{
    (void)umask(022);
    EXPECT_EQ(umask(07027), 022);
    EXPECT_EQ(umask(022), 027);
}
