/* SPDX-License-Identifier: Apache-2.0 */
/* stat(2), statx(2), statfs(2), access(2), chmod(2), chown(2), utimensat(2), xattrs. */
#include "tests/guest/fs.h"

#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <utime.h>

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

static struct stat stat_of(const char *name)
{
    struct stat st;

    EXPECT_EQ(lstat(name, &st), 0);
    return st;
}

TEST(stat_tells_kind_and_size)
{
    struct stat st;

    enter_temp_dir();
    make_file("f", "12345");
    EXPECT_EQ(symlink("f", "l"), 0);
    EXPECT_EQ(stat("l", &st), 0);
    EXPECT(S_ISREG(st.st_mode));
    EXPECT_EQ(st.st_size, 5);
    EXPECT_EQ(st.st_nlink, 1);
    EXPECT_EQ(st.st_uid, geteuid());
    EXPECT_EQ(lstat("l", &st), 0);
    EXPECT(S_ISLNK(st.st_mode));
    EXPECT_EQ(st.st_size, 1);
    EXPECT_EQ(st.st_mode & 0777, 0777);
    CALL_FAILS(stat("none", &st), ENOENT);
    CALL_FAILS(stat("f/x", &st), ENOTDIR);
    CALL_FAILS(stat("", &st), ENOENT);
    CALL_FAILS(stat(BAD, &st), EFAULT);
    CALL_FAILS(stat("f", BAD), EFAULT);
    CALL_FAILS(fstat(-1, &st), EBADF);
    CALL_FAILS(fstatat(AT_FDCWD, "f", &st, 0x40000000), EINVAL);
    CALL_FAILS(fstatat(-1, "f", &st, 0), EBADF);
    EXPECT_EQ(fstatat(open("f", O_RDONLY), "", &st, AT_EMPTY_PATH), 0);
    EXPECT_EQ(st.st_size, 5);
    EXPECT_EQ(fstatat(AT_FDCWD, "", &st, AT_EMPTY_PATH), 0);
    EXPECT(S_ISDIR(st.st_mode));
    EXPECT_EQ(stat("/dev/null", &st), 0);
    EXPECT(S_ISCHR(st.st_mode));
    EXPECT_EQ(st.st_rdev, 0x103);
}

TEST(statx_agrees_with_stat)
{
    struct statx sx;
    struct stat st;

    enter_temp_dir();
    make_file("f", "12345");
    st = stat_of("f");
    EXPECT_EQ(statx(AT_FDCWD, "f", 0, STATX_ALL, &sx), 0);
    EXPECT_EQ(sx.stx_mask & STATX_BASIC_STATS, STATX_BASIC_STATS);
    EXPECT_EQ(sx.stx_ino, st.st_ino);
    EXPECT_EQ(sx.stx_size, 5);
    EXPECT_EQ(sx.stx_mode, st.st_mode);
    EXPECT_EQ(sx.stx_mtime.tv_nsec, st.st_mtim.tv_nsec);
    EXPECT_EQ(statx(open("f", O_RDONLY), "", AT_EMPTY_PATH, STATX_SIZE, &sx), 0);
    EXPECT_EQ(sx.stx_size, 5);
    CALL_FAILS(statx(AT_FDCWD, "f", 0x40000000, STATX_ALL, &sx), EINVAL);
    CALL_FAILS(statx(AT_FDCWD, "f", 0, STATX__RESERVED, &sx), EINVAL);
    CALL_FAILS(statx(AT_FDCWD, "f", AT_STATX_SYNC_TYPE, 0, &sx), EINVAL);
    CALL_FAILS(statx(AT_FDCWD, "none", 0, STATX_ALL, &sx), ENOENT);
    CALL_FAILS(statx(AT_FDCWD, "f", 0, STATX_ALL, BAD), EFAULT);
}

TEST(statfs_tells_the_file_system)
{
    struct statfs s;

    EXPECT_EQ(statfs("/proc", &s), 0);
    EXPECT_EQ(s.f_type, 0x9fa0);
    enter_temp_dir();
    EXPECT_EQ(fstatfs(open(".", O_RDONLY), &s), 0);
    EXPECT_EQ(s.f_namelen, 255);
    CALL_FAILS(statfs("none", &s), ENOENT);
    CALL_FAILS(statfs(".", BAD), EFAULT);
    CALL_FAILS(fstatfs(-1, &s), EBADF);
}

TEST(access_asks_for_the_real_user)
{
    enter_temp_dir();
    EXPECT_EQ(chmod(".", 0755), 0);
    make_file("f", "");
    EXPECT_EQ(access("f", F_OK), 0);
    EXPECT_EQ(access("f", R_OK | W_OK), 0);
    CALL_FAILS(access("f", X_OK), EACCES);
    CALL_FAILS(access("f", 8), EINVAL);
    CALL_FAILS(access("none", F_OK), ENOENT);
    CALL_FAILS(access(BAD, F_OK), EFAULT);
    CALL_FAILS(syscall(SYS_faccessat2, AT_FDCWD, "f", R_OK, 0x40000000), EINVAL);
    if (getuid() != 0) {
        SKIP("needs root");
    }
    EXPECT_EQ(chmod("f", 0600), 0);
    EXPECT_EQ(setresuid(65534, 0, 0), 0);
    CALL_FAILS(access("f", R_OK), EACCES);
    EXPECT_EQ(syscall(SYS_faccessat2, AT_FDCWD, "f", R_OK, AT_EACCESS), 0);
    EXPECT_EQ(close(open("f", O_RDONLY)), 0);
}

TEST(chmod_and_its_errors)
{
    int fd;

    enter_temp_dir();
    EXPECT_EQ(chmod(".", 0755), 0);
    make_file("f", "");
    EXPECT_EQ(symlink("f", "l"), 0);
    EXPECT_EQ(chmod("l", 0600), 0);
    EXPECT_EQ(stat_of("f").st_mode, S_IFREG | 0600);
    EXPECT_EQ(fchmod(open("f", O_RDONLY), 04755), 0);
    EXPECT_EQ(stat_of("f").st_mode, S_IFREG | 04755);
    CALL_FAILS(chmod("none", 0600), ENOENT);
    CALL_FAILS(chmod(BAD, 0600), EFAULT);
    CALL_FAILS(fchmod(-1, 0600), EBADF);
    if (syscall(SYS_fchmodat2, AT_FDCWD, "l", 0600, AT_SYMLINK_NOFOLLOW) != 0 && errno != ENOSYS) {
        EXPECT_EQ(errno, EOPNOTSUPP);
    }
    fd = open("f", O_RDONLY);
    become_nobody();
    CALL_FAILS(chmod("f", 0777), EPERM);
    CALL_FAILS(fchmod(fd, 0777), EPERM);
}

TEST(chown_clears_suid_and_its_errors)
{
    enter_temp_dir();
    EXPECT_EQ(chmod(".", 0755), 0);
    make_file("f", "");
    EXPECT_EQ(symlink("f", "l"), 0);
    if (getuid() != 0) {
        SKIP("needs root");
    }
    EXPECT_EQ(chmod("f", 06755), 0);
    EXPECT_EQ(chown("f", 1000, 1001), 0);
    EXPECT_EQ(stat_of("f").st_uid, 1000);
    EXPECT_EQ(stat_of("f").st_gid, 1001);
    EXPECT_EQ(stat_of("f").st_mode & 07777, 0755);
    EXPECT_EQ(chown("f", -1, 7), 0);
    EXPECT_EQ(stat_of("f").st_uid, 1000);
    EXPECT_EQ(lchown("l", 5, 5), 0);
    EXPECT_EQ(stat_of("l").st_uid, 5);
    EXPECT_EQ(stat_of("f").st_uid, 1000);
    EXPECT_EQ(fchown(open("f", O_RDONLY), 0, 0), 0);
    CALL_FAILS(fchownat(AT_FDCWD, "f", 0, 0, 1), EINVAL);
    CALL_FAILS(chown("none", 0, 0), ENOENT);
    CALL_FAILS(chown(BAD, 0, 0), EFAULT);
    become_nobody();
    CALL_FAILS(chown("f", 65534, -1), EPERM);
    CALL_FAILS(lchown("l", 65534, -1), EPERM);
}

TEST(a_write_clears_suid)
{
    int fd;

    enter_temp_dir();
    EXPECT_EQ(chmod(".", 0777), 0);
    become_nobody();
    make_file("f", "x");
    EXPECT_EQ(chmod("f", 06775), 0);
    fd = open("f", O_RDWR);
    EXPECT_EQ(stat_of("f").st_mode & 07777, 06775);
    EXPECT_EQ(write(fd, "y", 1), 1);
    EXPECT_EQ(stat_of("f").st_mode & 07777, 0775);
    EXPECT_EQ(chmod("f", 04755), 0);
    EXPECT_EQ(ftruncate(fd, 0), 0);
    EXPECT_EQ(stat_of("f").st_mode & 07777, 0755);
}

TEST(setgid_directories)
{
    enter_temp_dir();
    if (getuid() != 0) {
        SKIP("needs root");
    }
    EXPECT_EQ(mkdir("d", 0777), 0);
    EXPECT_EQ(chown("d", 0, 50), 0);
    EXPECT_EQ(chmod("d", 02777), 0);
    EXPECT_EQ(mkdir("d/e", 0755), 0);
    make_file("d/f", "");
    EXPECT_EQ(stat_of("d/e").st_gid, 50);
    EXPECT_EQ(stat_of("d/e").st_mode & 07777, 02755);
    EXPECT_EQ(stat_of("d/f").st_gid, 50);
    EXPECT_EQ(stat_of("d/f").st_mode & 07777, 0644);
}

TEST(utimensat_sets_times)
{
    struct timespec ts[2] = {{1000, 5}, {2000, 6}};
    struct stat st;

    enter_temp_dir();
    EXPECT_EQ(chmod(".", 0755), 0);
    make_file("f", "");
    EXPECT_EQ(symlink("f", "l"), 0);
    EXPECT_EQ(utimensat(AT_FDCWD, "f", ts, 0), 0);
    st = stat_of("f");
    EXPECT_EQ(st.st_atim.tv_sec, 1000);
    EXPECT_EQ(st.st_mtim.tv_nsec, 6);
    EXPECT(st.st_ctim.tv_sec > 2000);
    ts[0].tv_nsec = UTIME_OMIT;
    ts[1].tv_nsec = UTIME_NOW;
    EXPECT_EQ(futimens(open("f", O_RDONLY), ts), 0);
    st = stat_of("f");
    EXPECT_EQ(st.st_atim.tv_sec, 1000);
    EXPECT(st.st_mtim.tv_sec > 2000);
    ts[1].tv_nsec = UTIME_OMIT;
    EXPECT_EQ(utimensat(AT_FDCWD, "none", ts, 0), 0);
    ts[1].tv_nsec = 1000000000;
    CALL_FAILS(utimensat(AT_FDCWD, "f", ts, 0), EINVAL);
    CALL_FAILS(utimensat(AT_FDCWD, "none", NULL, 0), ENOENT);
    CALL_FAILS(utimensat(AT_FDCWD, "f", BAD, 0), EFAULT);
    CALL_FAILS(utimensat(AT_FDCWD, "f", NULL, 1), EINVAL);
    EXPECT_EQ(utimensat(AT_FDCWD, "l", (struct timespec[2]){{7, 0}, {7, 0}}, AT_SYMLINK_NOFOLLOW),
              0);
    EXPECT_EQ(stat_of("l").st_mtim.tv_sec, 7);
    EXPECT_EQ(utime("f", &(struct utimbuf){11, 12}), 0);
    EXPECT_EQ(stat_of("f").st_mtim.tv_sec, 12);
    EXPECT_EQ(utimes("f", (struct timeval[2]){{1, 2}, {3, 4}}), 0);
    EXPECT_EQ(stat_of("f").st_mtim.tv_nsec, 4000);
    CALL_FAILS(utimes("f", (struct timeval[2]){{1, 1000000}, {3, 4}}), EINVAL);
    become_nobody();
    CALL_FAILS(utimensat(AT_FDCWD, "f", NULL, 0), EACCES);
    CALL_FAILS(utime("f", &(struct utimbuf){11, 12}), EPERM);
}

TEST(times_follow_what_is_done)
{
    struct timespec old[2] = {{1000, 0}, {1000, 0}};
    int fd;

    enter_temp_dir();
    EXPECT_EQ(mkdir("d", 0755), 0);
    EXPECT_EQ(utimensat(AT_FDCWD, "d", old, 0), 0);
    make_file("d/f", "text");
    EXPECT(stat_of("d").st_mtim.tv_sec > 1000);
    fd = open("d/f", O_RDWR);
    EXPECT_EQ(futimens(fd, old), 0);
    EXPECT_EQ(write(fd, "x", 1), 1);
    EXPECT(stat_of("d/f").st_mtim.tv_sec > 1000);
    EXPECT_EQ(utimensat(AT_FDCWD, "d", old, 0), 0);
    EXPECT_EQ(unlink("d/f"), 0);
    EXPECT(stat_of("d").st_mtim.tv_sec > 1000);
}

TEST(xattrs)
{
    char buf[64];
    int fd;

    enter_temp_dir();
    make_file("f", "");
    EXPECT_EQ(symlink("f", "l"), 0);
    if (setxattr("f", "user.a", "123", 3, 0) != 0 && errno == EOPNOTSUPP) {
        SKIP("no user attributes here");
    }
    fd = open("f", O_RDWR);
    EXPECT_EQ(getxattr("l", "user.a", buf, sizeof(buf)), 3);
    EXPECT_EQ(fgetxattr(fd, "user.a", NULL, 0), 3);
    CALL_FAILS(getxattr("f", "user.a", buf, 2), ERANGE);
    CALL_FAILS(getxattr("f", "user.b", buf, 2), ENODATA);
    CALL_FAILS(lgetxattr("l", "user.a", buf, 3), ENODATA);
    CALL_FAILS(setxattr("f", "user.a", "1", 1, XATTR_CREATE), EEXIST);
    CALL_FAILS(setxattr("f", "user.b", "1", 1, XATTR_REPLACE), ENODATA);
    CALL_FAILS(setxattr("f", "user.a", "1", 1, 4), EINVAL);
    CALL_FAILS(setxattr("f", "user.a", BAD, 65537, 0), E2BIG);
    CALL_FAILS(setxattr("f", "user.a", BAD, 1, 0), EFAULT);
    CALL_FAILS(setxattr("f", "", "1", 1, 0), ERANGE);
    CALL_FAILS(setxattr("f", "nonsense.a", "1", 1, 0), EOPNOTSUPP);
    CALL_FAILS(lsetxattr("l", "user.a", "1", 1, 0), EPERM);
    EXPECT_EQ(fsetxattr(fd, "user.b", "", 0, 0), 0);
    EXPECT_EQ(listxattr("f", NULL, 0), 14);
    EXPECT_EQ(flistxattr(fd, buf, sizeof(buf)), 14);
    CALL_FAILS(listxattr("f", buf, 3), ERANGE);
    EXPECT_EQ(removexattr("f", "user.a"), 0);
    CALL_FAILS(fremovexattr(fd, "user.a"), ENODATA);
    CALL_FAILS(lremovexattr("l", "user.a"), EPERM);
    EXPECT_EQ(listxattr("f", buf, sizeof(buf)), 7);
    CALL_FAILS(getxattr("none", "user.a", buf, 2), ENOENT);
    CALL_FAILS(fgetxattr(-1, "user.a", buf, 2), EBADF);
}
