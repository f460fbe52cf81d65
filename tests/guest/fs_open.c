/* SPDX-License-Identifier: Apache-2.0 */
/* open(2), openat2(2), creat(2): flags, rights and errors. */
#include "tests/guest/fs.h"

#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static int try_open(const char *name, int flags)
{
    int fd = open(name, flags, 0644);

    if (fd >= 0) {
        EXPECT_EQ(close(fd), 0);
        return 0;
    }
    return errno;
}

TEST(open_creates_with_mode_and_umask)
{
    struct stat st;

    enter_temp_dir();
    umask(027);
    EXPECT_EQ(close(open("f", O_CREAT | O_WRONLY, 0666)), 0);
    EXPECT_EQ(stat("f", &st), 0);
    EXPECT_EQ(st.st_mode, S_IFREG | 0640);
    EXPECT_EQ(st.st_size, 0);
    EXPECT_EQ(close(creat("g", 0777)), 0);
    EXPECT_EQ(stat("g", &st), 0);
    EXPECT_EQ(st.st_mode, S_IFREG | 0750);
}

TEST(open_of_a_new_file_ignores_its_own_mode)
{
    int fd;

    enter_temp_dir();
    fd = open("f", O_CREAT | O_RDWR, 0);
    EXPECT(fd >= 0);
    EXPECT_EQ(write(fd, "x", 1), 1);
}

TEST(open_errors_by_kind)
{
    enter_temp_dir();
    make_file("f", "x");
    EXPECT_EQ(mkdir("d", 0755), 0);
    EXPECT_EQ(symlink("f", "l"), 0);
    EXPECT_EQ(symlink("nowhere", "dangling"), 0);
    EXPECT_EQ(try_open("none", O_RDONLY), ENOENT);
    EXPECT_EQ(try_open("", O_RDONLY), ENOENT);
    EXPECT_EQ(try_open("f/x", O_RDONLY), ENOTDIR);
    EXPECT_EQ(try_open("f/", O_RDONLY), ENOTDIR);
    EXPECT_EQ(try_open("d", O_WRONLY), EISDIR);
    EXPECT_EQ(try_open("d", O_RDWR), EISDIR);
    EXPECT_EQ(try_open("d", O_RDONLY | O_CREAT), EISDIR);
    EXPECT_EQ(try_open("n/", O_RDWR | O_CREAT), EISDIR);
    EXPECT_EQ(try_open("d/none/x", O_RDWR | O_CREAT), ENOENT);
    EXPECT_EQ(try_open("f", O_CREAT | O_EXCL | O_RDWR), EEXIST);
    EXPECT_EQ(try_open("l", O_CREAT | O_EXCL | O_RDWR), EEXIST);
    EXPECT_EQ(try_open("dangling", O_CREAT | O_EXCL | O_RDWR), EEXIST);
    EXPECT_EQ(try_open("dangling", O_RDONLY), ENOENT);
    EXPECT_EQ(try_open("l", O_RDONLY | O_NOFOLLOW), ELOOP);
    EXPECT_EQ(try_open("f", O_RDONLY | O_DIRECTORY), ENOTDIR);
    EXPECT_EQ(try_open("l", O_RDONLY | O_DIRECTORY | O_NOFOLLOW), ENOTDIR);
    EXPECT_EQ(try_open("dangling", O_CREAT | O_RDWR), 0);
    EXPECT_EQ(try_open("nowhere", O_RDONLY), 0);
}

TEST(open_loops_and_long_names)
{
    char name[5000];

    enter_temp_dir();
    EXPECT_EQ(symlink("b", "a"), 0);
    EXPECT_EQ(symlink("a", "b"), 0);
    EXPECT_EQ(try_open("a", O_RDONLY), ELOOP);
    EXPECT_EQ(try_open("a/x", O_RDONLY), ELOOP);
    memset(name, 'n', 256);
    name[256] = '\0';
    EXPECT_EQ(try_open(name, O_RDONLY), ENAMETOOLONG);
    EXPECT_EQ(try_open(name, O_CREAT | O_RDWR), ENAMETOOLONG);
    name[255] = '\0';
    EXPECT_EQ(try_open(name, O_CREAT | O_RDWR), 0);
    memset(name, '/', 4096);
    name[4096] = '\0';
    EXPECT_EQ(try_open(name, O_RDONLY), ENAMETOOLONG);
    name[4095] = '\0';
    EXPECT_EQ(try_open(name, O_RDONLY), 0);
}

TEST(open_truncates)
{
    struct stat st;

    enter_temp_dir();
    make_file("f", "text");
    EXPECT_EQ(try_open("f", O_RDONLY), 0);
    EXPECT_EQ(stat("f", &st), 0);
    EXPECT_EQ(st.st_size, 4);
    EXPECT_EQ(try_open("f", O_WRONLY | O_TRUNC), 0);
    EXPECT_EQ(stat("f", &st), 0);
    EXPECT_EQ(st.st_size, 0);
}

TEST(open_bad_address)
{
    CALL_FAILS(open(BAD, O_RDONLY), EFAULT);
    CALL_FAILS(openat(-1, "x", O_RDONLY), EBADF);
    EXPECT_EQ(close(openat(-1, "/", O_RDONLY)), 0);
    CALL_FAILS(openat(0, (const char *)-4096L, O_RDONLY), EFAULT);
}

TEST(openat_is_relative_to_a_directory)
{
    int dir, fd;

    enter_temp_dir();
    EXPECT_EQ(mkdir("d", 0755), 0);
    make_file("d/f", "in d");
    dir = open("d", O_RDONLY | O_DIRECTORY);
    fd = openat(dir, "f", O_RDONLY);
    EXPECT(fd >= 0);
    CALL_FAILS(openat(fd, "f", O_RDONLY), ENOTDIR);
    CALL_FAILS(openat(dir, "none", O_RDONLY), ENOENT);
    EXPECT_EQ(rename("d", "e"), 0);
    EXPECT_EQ(close(openat(dir, "f", O_RDONLY)), 0);
}

TEST(open_rights)
{
    enter_temp_dir();
    make_file("none", "");
    make_file("ro", "");
    EXPECT_EQ(chmod("none", 0), 0);
    EXPECT_EQ(chmod("ro", 0444), 0);
    EXPECT_EQ(mkdir("closed", 0700), 0);
    make_file("closed/f", "");
    EXPECT_EQ(chmod(".", 0755), 0);
    become_nobody();
    EXPECT_EQ(try_open("none", O_RDONLY), EACCES);
    EXPECT_EQ(try_open("ro", O_RDONLY), 0);
    EXPECT_EQ(try_open("ro", O_RDWR), EACCES);
    EXPECT_EQ(try_open("ro", O_RDONLY | O_TRUNC), EACCES);
    EXPECT_EQ(try_open("new", O_RDWR | O_CREAT), EACCES);
    EXPECT_EQ(try_open("closed/f", O_RDONLY), EACCES);
    EXPECT_EQ(try_open("closed/none", O_RDONLY), EACCES);
    EXPECT_EQ(try_open("ro", O_RDONLY | O_NOATIME), EPERM);
}

TEST(path_descriptors_do_little)
{
    struct stat st;
    char c;
    int fd;

    enter_temp_dir();
    make_file("f", "abc");
    EXPECT_EQ(symlink("f", "l"), 0);
    fd = open("f", O_PATH);
    CALL_FAILS(read(fd, &c, 1), EBADF);
    CALL_FAILS(write(fd, &c, 1), EBADF);
    CALL_FAILS(lseek(fd, 0, SEEK_SET), EBADF);
    CALL_FAILS(fchmod(fd, 0600), EBADF);
    CALL_FAILS(ftruncate(fd, 0), EBADF);
    CALL_FAILS(fcntl(fd, F_SETFL, O_APPEND), EBADF);
    EXPECT_EQ(fcntl(fd, F_GETFL), O_PATH);
    EXPECT_EQ(fstat(fd, &st), 0);
    EXPECT_EQ(st.st_size, 3);
    fd = open("l", O_PATH | O_NOFOLLOW);
    EXPECT_EQ(fstat(fd, &st), 0);
    EXPECT(S_ISLNK(st.st_mode));
    EXPECT_EQ(readlinkat(fd, "", &c, 1), 1);
    EXPECT_EQ(c, 'f');
}

TEST(tmpfile_has_no_name_until_linked)
{
    char proc[64];
    struct stat st;
    int fd;

    enter_temp_dir();
    fd = open(".", O_TMPFILE | O_RDWR, 0600);
    if (fd < 0 && errno == EOPNOTSUPP) {
        SKIP("no O_TMPFILE here");
    }
    EXPECT(fd >= 0);
    EXPECT_EQ(fstat(fd, &st), 0);
    EXPECT_EQ(st.st_nlink, 0);
    CALL_FAILS(open(".", O_TMPFILE | O_RDONLY, 0600), EINVAL);
    CALL_FAILS(open("none", O_TMPFILE | O_RDWR, 0600), ENOENT);
    (void)snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
    EXPECT_EQ(linkat(AT_FDCWD, proc, AT_FDCWD, "named", AT_SYMLINK_FOLLOW), 0);
    EXPECT_EQ(stat("named", &st), 0);
    EXPECT_EQ(st.st_nlink, 1);
    fd = open(".", O_TMPFILE | O_RDWR | O_EXCL, 0600);
    (void)snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
    CALL_FAILS(linkat(AT_FDCWD, proc, AT_FDCWD, "other", AT_SYMLINK_FOLLOW), ENOENT);
}

TEST(an_executed_file_is_busy)
{
    enter_temp_dir();
    CALL_FAILS(open("/proc/self/exe", O_WRONLY), ETXTBSY);
}

static long openat2_of(int dir, const char *name, uint64_t flags, uint64_t mode, uint64_t resolve)
{
    struct open_how how = {.flags = flags, .mode = mode, .resolve = resolve};

    return syscall(SYS_openat2, dir, name, &how, sizeof(how));
}

TEST(openat2_confines)
{
    int dir;

    enter_temp_dir();
    EXPECT_EQ(mkdir("jail", 0755), 0);
    EXPECT_EQ(mkdir("jail/d", 0755), 0);
    make_file("jail/f", "");
    make_file("out", "");
    EXPECT_EQ(symlink("/f", "jail/abs"), 0);
    EXPECT_EQ(symlink("../f", "jail/d/up"), 0);
    EXPECT_EQ(symlink("../out", "jail/esc"), 0);
    dir = open("jail", O_PATH | O_DIRECTORY);
    EXPECT(openat2_of(dir, "f", O_RDONLY, 0, RESOLVE_BENEATH) >= 0);
    EXPECT(openat2_of(dir, "d/up", O_RDONLY, 0, RESOLVE_BENEATH) >= 0);
    CALL_FAILS(openat2_of(dir, "../out", O_RDONLY, 0, RESOLVE_BENEATH), EXDEV);
    CALL_FAILS(openat2_of(dir, "esc", O_RDONLY, 0, RESOLVE_BENEATH), EXDEV);
    CALL_FAILS(openat2_of(dir, "abs", O_RDONLY, 0, RESOLVE_BENEATH), EXDEV);
    CALL_FAILS(openat2_of(dir, "/f", O_RDONLY, 0, RESOLVE_BENEATH), EXDEV);
    EXPECT(openat2_of(dir, "abs", O_RDONLY, 0, RESOLVE_IN_ROOT) >= 0);
    EXPECT(openat2_of(dir, "/../../f", O_RDONLY, 0, RESOLVE_IN_ROOT) >= 0);
    CALL_FAILS(openat2_of(dir, "esc", O_RDONLY, 0, RESOLVE_IN_ROOT), ENOENT);
    CALL_FAILS(openat2_of(dir, "d/up", O_RDONLY, 0, RESOLVE_NO_SYMLINKS), ELOOP);
    CALL_FAILS(openat2_of(AT_FDCWD, "/proc/self/exe", O_RDONLY, 0, RESOLVE_NO_MAGICLINKS), ELOOP);
    CALL_FAILS(openat2_of(AT_FDCWD, "/proc/self", O_PATH, 0, RESOLVE_NO_XDEV), EXDEV);
}

TEST(openat2_is_strict)
{
    struct {
        struct open_how how;
        uint64_t more;
    } big = {.how.flags = O_PATH, .more = 0};

    CALL_FAILS(openat2_of(AT_FDCWD, "/", O_RDONLY | (1ULL << 40), 0, 0), EINVAL);
    CALL_FAILS(openat2_of(AT_FDCWD, "/", O_RDONLY, 0644, 0), EINVAL);
    CALL_FAILS(openat2_of(AT_FDCWD, "/", O_RDONLY, 0, 1ULL << 40), EINVAL);
    CALL_FAILS(openat2_of(AT_FDCWD, "/", O_PATH | O_RDWR, 0, 0), EINVAL);
    CALL_FAILS(openat2_of(AT_FDCWD, "/", O_RDONLY, 0, RESOLVE_BENEATH | RESOLVE_IN_ROOT), EINVAL);
    CALL_FAILS(syscall(SYS_openat2, AT_FDCWD, "/", &big, 8UL), EINVAL);
    EXPECT(syscall(SYS_openat2, AT_FDCWD, "/", &big, sizeof(big)) >= 0);
    big.more = 1;
    CALL_FAILS(syscall(SYS_openat2, AT_FDCWD, "/", &big, sizeof(big)), E2BIG);
    CALL_FAILS(syscall(SYS_openat2, AT_FDCWD, "/", NULL, sizeof(big)), EFAULT);
}
