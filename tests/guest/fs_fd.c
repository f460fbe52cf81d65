/* SPDX-License-Identifier: Apache-2.0 */
/* dup(2), fcntl(2), close_range(2), getdents64(2), ioctl(2) on files, memfd seals. */
#include "tests/guest/fs.h"

#include <dirent.h>
#include <linux/close_range.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

TEST(dup_gives_the_lowest)
{
    int a = open("/", O_RDONLY), b = dup(a), c;

    EXPECT_EQ(b, a + 1);
    EXPECT_EQ(close(a), 0);
    EXPECT_EQ(dup(b), a);
    EXPECT_EQ(dup2(a, 100), 100);
    EXPECT_EQ(dup2(100, 100), 100);
    EXPECT_EQ(fcntl(a, F_DUPFD, 100), 101);
    c = fcntl(a, F_DUPFD_CLOEXEC, 50);
    EXPECT_EQ(c, 50);
    EXPECT_EQ(fcntl(c, F_GETFD), FD_CLOEXEC);
    EXPECT_EQ(dup3(a, 60, O_CLOEXEC), 60);
    EXPECT_EQ(fcntl(60, F_GETFD), FD_CLOEXEC);
    EXPECT_EQ(dup2(60, 61), 61);
    EXPECT_EQ(fcntl(61, F_GETFD), 0);
    CALL_FAILS(dup(-1), EBADF);
    CALL_FAILS(dup2(-1, 5), EBADF);
    CALL_FAILS(dup2(200, 200), EBADF);
    CALL_FAILS(dup2(a, -1), EBADF);
    CALL_FAILS(dup3(a, a, 0), EINVAL);
    CALL_FAILS(dup3(a, 9, O_NONBLOCK), EINVAL);
    CALL_FAILS(close(12345), EBADF);
    CALL_FAILS(fcntl(a, F_DUPFD, -1), EINVAL);
    CALL_FAILS(fcntl(a, F_DUPFD, 1 << 30), EINVAL);
}

TEST(the_descriptor_limit)
{
    struct rlimit r = {10, 10};
    int fd = -1, last;

    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &r), 0);
    do {
        last = fd;
        fd = open("/", O_RDONLY);
    } while (fd >= 0);
    EXPECT_EQ(errno, EMFILE);
    EXPECT_EQ(last, 9);
    CALL_FAILS(dup(0), EMFILE);
    CALL_FAILS(dup2(0, 10), EBADF);
    CALL_FAILS(fcntl(0, F_DUPFD, 10), EINVAL);
}

TEST(fcntl_flags)
{
    int fd;

    enter_temp_dir();
    fd = open("f", O_CREAT | O_WRONLY | O_EXCL | O_NONBLOCK, 0644);
    EXPECT_EQ(fcntl(fd, F_GETFL), O_WRONLY | O_NONBLOCK | 0100000);
    EXPECT_EQ(fcntl(fd, F_SETFL, O_APPEND | O_RDWR | O_CREAT), 0);
    EXPECT_EQ(fcntl(fd, F_GETFL), O_WRONLY | O_APPEND | 0100000);
    EXPECT_EQ(fcntl(fd, F_GETFD), 0);
    EXPECT_EQ(fcntl(fd, F_SETFD, FD_CLOEXEC), 0);
    EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    CALL_FAILS(fcntl(fd, 9999), EINVAL);
    CALL_FAILS(fcntl(-1, F_GETFD), EBADF);
}

TEST(fcntl_owner)
{
    struct f_owner_ex ex = {0};
    int p[2];

    EXPECT_EQ(pipe(p), 0);
    EXPECT_EQ(fcntl(p[0], F_GETOWN), 0);
    EXPECT_EQ(fcntl(p[0], F_SETOWN, getpid()), 0);
    EXPECT_EQ(fcntl(p[0], F_GETOWN), getpid());
    EXPECT_EQ(fcntl(p[0], F_SETSIG, SIGUSR1), 0);
    EXPECT_EQ(fcntl(p[0], F_GETSIG), SIGUSR1);
    CALL_FAILS(fcntl(p[0], F_SETSIG, 99), EINVAL);
    EXPECT_EQ(fcntl(p[0], F_GETOWN_EX, &ex), 0);
    EXPECT_EQ(ex.type, F_OWNER_PID);
    EXPECT_EQ(ex.pid, getpid());
    ex.type = F_OWNER_PGRP;
    ex.pid = getpgrp();
    EXPECT_EQ(fcntl(p[0], F_SETOWN_EX, &ex), 0);
    CALL_FAILS(fcntl(p[0], F_SETOWN, 0x3fffffff), ESRCH);
    ex.type = 77;
    CALL_FAILS(fcntl(p[0], F_SETOWN_EX, &ex), EINVAL);
    CALL_FAILS(fcntl(p[0], F_GETOWN_EX, BAD), EFAULT);
}

TEST(close_range_closes)
{
    for (int i = 10; i < 20; i++) {
        EXPECT_EQ(dup2(0, i), i);
    }
    EXPECT_EQ(syscall(SYS_close_range, 12, 14, 0), 0);
    EXPECT(is_open(11) && !is_open(12) && !is_open(14) && is_open(15));
    EXPECT_EQ(syscall(SYS_close_range, 16, 17, CLOSE_RANGE_CLOEXEC), 0);
    EXPECT_EQ(fcntl(16, F_GETFD), FD_CLOEXEC);
    EXPECT_EQ(fcntl(15, F_GETFD), 0);
    EXPECT_EQ(syscall(SYS_close_range, 15, ~0U, CLOSE_RANGE_UNSHARE), 0);
    EXPECT(is_open(11) && !is_open(15) && !is_open(19));
    CALL_FAILS(syscall(SYS_close_range, 5, 4, 0), EINVAL);
    CALL_FAILS(syscall(SYS_close_range, 3, 4, 0x80), EINVAL);
}

/* The names of a directory through a small buffer. */
static int count_entries(int fd, size_t size, const char *wanted)
{
    char buf[4096] __attribute__((aligned(8)));
    int found = 0;
    long n;

    while ((n = syscall(SYS_getdents64, fd, buf, size)) > 0) {
        for (long at = 0; at < n;) {
            struct dirent64 *d = (struct dirent64 *)(buf + at);

            found += wanted == NULL || strcmp(d->d_name, wanted) == 0;
            at += d->d_reclen;
        }
    }
    EXPECT_EQ(n, 0);
    return found;
}

TEST(getdents_gives_each_once)
{
    char name[32];
    int fd, f;

    enter_temp_dir();
    for (int i = 0; i < 300; i++) {
        (void)snprintf(name, sizeof(name), "file-%d", i);
        make_file(name, "");
    }
    EXPECT_EQ(mkdir("dir", 0755), 0);
    fd = open(".", O_RDONLY | O_DIRECTORY);
    EXPECT_EQ(count_entries(fd, 128, NULL), 303);
    EXPECT_EQ(lseek(fd, 0, SEEK_SET), 0);
    EXPECT_EQ(count_entries(fd, 4096, "file-77"), 1);
    EXPECT_EQ(lseek(fd, 0, SEEK_SET), 0);
    EXPECT_EQ(count_entries(fd, 4096, ".."), 1);
    EXPECT_EQ(lseek(fd, 0, SEEK_SET), 0);
    CALL_FAILS(syscall(SYS_getdents64, fd, name, 8), EINVAL);
    CALL_FAILS(syscall(SYS_getdents64, fd, 1L, 4096), EFAULT);
    f = open("file-1", O_RDONLY);
    CALL_FAILS(syscall(SYS_getdents64, f, name, 32), ENOTDIR);
    CALL_FAILS(syscall(SYS_getdents64, -1, name, 32), EBADF);
}

TEST(readdir_types_and_seekdir)
{
    struct dirent *d;
    DIR *dir;
    long at = -1;
    char after[256] = "";

    enter_temp_dir();
    make_file("f", "");
    EXPECT_EQ(mkdir("d", 0755), 0);
    EXPECT_EQ(symlink("f", "l"), 0);
    dir = opendir(".");
    while ((d = readdir(dir)) != NULL) {
        if (strcmp(d->d_name, "f") == 0) {
            EXPECT(d->d_type == DT_REG || d->d_type == DT_UNKNOWN);
            at = telldir(dir);
            d = readdir(dir);
            (void)snprintf(after, sizeof(after), "%s", d != NULL ? d->d_name : "");
        }
        if (d == NULL) {
            break;
        }
    }
    EXPECT(at >= 0);
    seekdir(dir, at);
    d = readdir(dir);
    EXPECT_EQ(strcmp(d != NULL ? d->d_name : "", after), 0);
    rewinddir(dir);
    EXPECT(readdir(dir) != NULL);
}

TEST(removing_while_reading)
{
    char name[32];
    struct dirent *d;
    DIR *dir;
    int n = 0;

    enter_temp_dir();
    for (int i = 0; i < 500; i++) {
        (void)snprintf(name, sizeof(name), "f%d", i);
        make_file(name, "");
    }
    dir = opendir(".");
    while ((d = readdir(dir)) != NULL) {
        if (d->d_name[0] == 'f') {
            EXPECT_EQ(unlink(d->d_name), 0);
            n++;
        }
    }
    EXPECT_EQ(n, 500);
}

TEST(ioctls_of_files)
{
    int fd, n = 1;

    enter_temp_dir();
    make_file("f", "12345");
    fd = open("f", O_RDONLY);
    EXPECT_EQ(ioctl(fd, FIOCLEX), 0);
    EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    EXPECT_EQ(ioctl(fd, FIONCLEX), 0);
    EXPECT_EQ(fcntl(fd, F_GETFD), 0);
    EXPECT_EQ(ioctl(fd, FIONBIO, &n), 0);
    EXPECT((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    EXPECT_EQ(ioctl(fd, FIONREAD, &n), 0);
    EXPECT_EQ(n, 5);
    CALL_FAILS(ioctl(fd, TCGETS, &n), ENOTTY);
    CALL_FAILS(ioctl(fd, FIONBIO, BAD), EFAULT);
    CALL_FAILS(ioctl(-1, FIONBIO, &n), EBADF);
}

static volatile sig_atomic_t notified;

static void on_notify(int sig)
{
    notified++;
}

TEST(directories_notify)
{
    int dir;

    enter_temp_dir();
    signal(SIGIO, on_notify);
    dir = open(".", O_RDONLY | O_DIRECTORY);
    EXPECT_EQ(fcntl(dir, F_NOTIFY, DN_CREATE), 0);
    make_file("a", "");
    EXPECT_EQ(notified, 1);
    make_file("b", "");
    EXPECT_EQ(notified, 1);
    EXPECT_EQ(fcntl(dir, F_NOTIFY, DN_DELETE | DN_MULTISHOT), 0);
    EXPECT_EQ(unlink("a"), 0);
    EXPECT_EQ(unlink("b"), 0);
    EXPECT_EQ(notified, 3);
    EXPECT_EQ(close(dir), 0);
    make_file("c", "");
    EXPECT_EQ(unlink("c"), 0);
    EXPECT_EQ(notified, 3);
    CALL_FAILS(fcntl(open("/dev/null", O_RDONLY), F_NOTIFY, DN_CREATE), ENOTDIR);
}

TEST(memfd_seals)
{
    int fd = memfd_create("m", MFD_ALLOW_SEALING), plain = memfd_create("n", 0);
    char *p;

    EXPECT_EQ(write(fd, "hello", 5), 5);
    EXPECT_EQ(fcntl(fd, F_GET_SEALS), 0);
    p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    EXPECT(p != MAP_FAILED);
    CALL_FAILS(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EBUSY);
    EXPECT_EQ(munmap(p, 4096), 0);
    EXPECT_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    CALL_FAILS(ftruncate(fd, 1), EPERM);
    CALL_FAILS(ftruncate(fd, 10), EPERM);
    EXPECT_EQ(pwrite(fd, "J", 1, 0), 1);
    EXPECT_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL), 0);
    CALL_FAILS(pwrite(fd, "K", 1, 0), EPERM);
    CALL_FAILS(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), EPERM);
    p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    EXPECT(p != MAP_FAILED);
    EXPECT_EQ(p[0], 'J');
    CALL_FAILS(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EPERM);
    EXPECT_EQ(fcntl(plain, F_GET_SEALS), F_SEAL_SEAL);
    CALL_FAILS(fcntl(plain, F_ADD_SEALS, F_SEAL_WRITE), EPERM);
    CALL_FAILS(fcntl(open("/", O_RDONLY), F_GET_SEALS), EINVAL);
}
