/* SPDX-License-Identifier: Apache-2.0 */
/* read(2), write(2), their positioned and vectored forms, lseek(2), truncate(2), fallocate(2),
 * fsync(2), the hints. */
#include "tests/guest/fs.h"

#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>

static int new_file(void)
{
    int fd;

    enter_temp_dir();
    fd = open("f", O_CREAT | O_RDWR, 0644);
    EXPECT(fd >= 0);
    return fd;
}

TEST(what_was_written_is_read)
{
    char buf[16] = {0};
    int fd = new_file();

    EXPECT_EQ(write(fd, "hello", 5), 5);
    EXPECT_EQ(read(fd, buf, 16), 0);
    EXPECT_EQ(lseek(fd, 1, SEEK_SET), 1);
    EXPECT_EQ(read(fd, buf, 3), 3);
    EXPECT_EQ(memcmp(buf, "ell", 3), 0);
    EXPECT_EQ(read(fd, buf, 16), 1);
    EXPECT_EQ(read(fd, buf, 0), 0);
    EXPECT_EQ(write(fd, buf, 0), 0);
    EXPECT_EQ(pread(fd, buf, 16, 2), 3);
    EXPECT_EQ(pwrite(fd, "J", 1, 0), 1);
    EXPECT_EQ(lseek(fd, 0, SEEK_CUR), 5);
    EXPECT_EQ(pread(fd, buf, 1, 0), 1);
    EXPECT_EQ(buf[0], 'J');
}

TEST(read_and_write_errors)
{
    char c = 0;
    int fd = new_file(), rd = open("f", O_RDONLY), wr = open("f", O_WRONLY), p[2];

    CALL_FAILS(read(-1, &c, 1), EBADF);
    CALL_FAILS(read(wr, &c, 1), EBADF);
    CALL_FAILS(write(rd, &c, 1), EBADF);
    CALL_FAILS(write(fd, BAD, 1), EFAULT);
    EXPECT_EQ(write(fd, "x", 1), 1);
    CALL_FAILS(pread(fd, BAD, 1, 0), EFAULT);
    CALL_FAILS(pread(fd, &c, 1, -1), EINVAL);
    CALL_FAILS(pwrite(fd, &c, 1, -1), EINVAL);
    CALL_FAILS(read(open(".", O_RDONLY), &c, 1), EISDIR);
    EXPECT_EQ(pipe(p), 0);
    CALL_FAILS(pread(p[0], &c, 1, 0), ESPIPE);
    CALL_FAILS(lseek(p[0], 0, SEEK_SET), ESPIPE);
    EXPECT_EQ(lseek(fd, 0, SEEK_END), 1);
}

TEST(a_fault_in_the_middle_gives_what_was_done)
{
    char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int fd = new_file();
    ssize_t n;

    memset(p, 'a', 4096);
    EXPECT_EQ(munmap(p + 4096, 4096), 0);
    n = write(fd, p + 4000, 200);
    EXPECT(n == 96 || (n == -1 && errno == EFAULT));
    EXPECT_EQ(ftruncate(fd, 0), 0);
    EXPECT_EQ(pwrite(fd, p, 4096, 0), 4096);
    n = pread(fd, p + 4000, 200, 0);
    EXPECT(n == 96 || (n == -1 && errno == EFAULT));
}

TEST(vectors)
{
    char a[4] = {0}, b[4] = {0};
    char abc[] = "abc", defg[] = "defg";
    struct iovec in[2] = {{abc, 3}, {defg, 4}}, out[3] = {{a, 2}, {NULL, 0}, {b, 4}};
    struct iovec many[IOV_MAX + 1], bad = {a, (size_t)-1};
    int fd = new_file();

    EXPECT_EQ(writev(fd, in, 2), 7);
    EXPECT_EQ(preadv(fd, out, 3, 1), 6);
    EXPECT_EQ(memcmp(a, "bc", 2), 0);
    EXPECT_EQ(memcmp(b, "defg", 4), 0);
    EXPECT_EQ(pwritev(fd, in, 1, 100), 3);
    EXPECT_EQ(lseek(fd, 0, SEEK_END), 103);
    EXPECT_EQ(readv(fd, out, 0), 0);
    memset(many, 0, sizeof(many));
    CALL_FAILS(readv(fd, many, IOV_MAX + 1), EINVAL);
    CALL_FAILS(readv(fd, &bad, 1), EINVAL);
    CALL_FAILS(readv(fd, BAD, 1), EFAULT);
    CALL_FAILS(preadv(fd, out, 3, -2), EINVAL);
    CALL_FAILS(writev(-1, in, 1), EBADF);
}

TEST(preadv2_flags)
{
    char c;
    struct iovec v = {&c, 1};
    int fd = new_file();

    EXPECT_EQ(pwritev2(fd, &v, 1, -1, RWF_DSYNC), 1);
    EXPECT_EQ(lseek(fd, 0, SEEK_CUR), 1);
    EXPECT_EQ(pwritev2(fd, &v, 1, 0, RWF_APPEND), 1);
    EXPECT_EQ(lseek(fd, 0, SEEK_END), 2);
    EXPECT_EQ(preadv2(fd, &v, 1, 0, 0), 1);
    CALL_FAILS(preadv2(fd, &v, 1, 0, 0x8000), EOPNOTSUPP);
}

TEST(append_goes_to_the_end)
{
    int fd = new_file(), ap = open("f", O_WRONLY | O_APPEND);

    EXPECT_EQ(write(fd, "12345", 5), 5);
    EXPECT_EQ(write(ap, "6", 1), 1);
    EXPECT_EQ(lseek(ap, 0, SEEK_CUR), 6);
    EXPECT_EQ(lseek(ap, 0, SEEK_SET), 0);
    EXPECT_EQ(write(ap, "7", 1), 1);
    EXPECT_EQ(lseek(fd, 0, SEEK_END), 7);
    EXPECT_EQ(fcntl(fd, F_SETFL, O_APPEND), 0);
    EXPECT_EQ(lseek(fd, 0, SEEK_SET), 0);
    EXPECT_EQ(write(fd, "8", 1), 1);
    EXPECT_EQ(lseek(fd, 0, SEEK_END), 8);
}

TEST(duplicates_share_the_position)
{
    char c;
    int fd = new_file(), d = dup(fd);

    EXPECT_EQ(write(fd, "abc", 3), 3);
    EXPECT_EQ(lseek(d, 0, SEEK_CUR), 3);
    EXPECT_EQ(lseek(d, 1, SEEK_SET), 1);
    EXPECT_EQ(read(fd, &c, 1), 1);
    EXPECT_EQ(c, 'b');
}

TEST(seek_and_holes)
{
    struct stat st;
    char buf[16];
    int fd = new_file();

    EXPECT_EQ(lseek(fd, 1 << 20, SEEK_SET), 1 << 20);
    EXPECT_EQ(fstat(fd, &st), 0);
    EXPECT_EQ(st.st_size, 0);
    EXPECT_EQ(write(fd, "x", 1), 1);
    EXPECT_EQ(pread(fd, buf, 16, 100), 16);
    for (int i = 0; i < 16; i++) {
        EXPECT_EQ(buf[i], 0);
    }
    EXPECT_EQ(lseek(fd, -1, SEEK_END), 1 << 20);
    CALL_FAILS(lseek(fd, -1, SEEK_SET), EINVAL);
    CALL_FAILS(lseek(fd, 0, 77), EINVAL);
    CALL_FAILS(lseek(fd, (1 << 20) + 1, SEEK_DATA), ENXIO);
    EXPECT(lseek(fd, 0, SEEK_DATA) >= 0);
    EXPECT(lseek(fd, 1 << 20, SEEK_HOLE) == (1 << 20) + 1);
    CALL_FAILS(lseek(-1, 0, SEEK_SET), EBADF);
}

TEST(truncate_both_ways)
{
    struct stat st;
    char buf[8];
    int fd = new_file(), rd = open("f", O_RDONLY);

    EXPECT_EQ(write(fd, "abcdefgh", 8), 8);
    EXPECT_EQ(ftruncate(fd, 4), 0);
    EXPECT_EQ(ftruncate(fd, 8), 0);
    EXPECT_EQ(pread(fd, buf, 8, 0), 8);
    EXPECT_EQ(memcmp(buf, "abcd\0\0\0\0", 8), 0);
    EXPECT_EQ(truncate("f", 100000), 0);
    EXPECT_EQ(fstat(fd, &st), 0);
    EXPECT_EQ(st.st_size, 100000);
    CALL_FAILS(ftruncate(fd, -1), EINVAL);
    CALL_FAILS(ftruncate(rd, 1), EINVAL);
    CALL_FAILS(ftruncate(-1, 1), EBADF);
    CALL_FAILS(truncate(".", 1), EISDIR);
    CALL_FAILS(truncate("none", 1), ENOENT);
    CALL_FAILS(truncate("f", -1), EINVAL);
    CALL_FAILS(truncate(BAD, 1), EFAULT);
}

TEST(a_mapping_sees_writes_and_truncation)
{
    int fd = new_file();
    char *p, buf[4];

    EXPECT_EQ(ftruncate(fd, 8192), 0);
    p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    EXPECT(p != MAP_FAILED);
    EXPECT_EQ(pwrite(fd, "abc", 3, 4096), 3);
    EXPECT_EQ(memcmp(p + 4096, "abc", 3), 0);
    p[1] = 'z';
    EXPECT_EQ(pread(fd, buf, 2, 0), 2);
    EXPECT_EQ(buf[1], 'z');
    EXPECT_EQ(ftruncate(fd, 1), 0);
    EXPECT_EQ(ftruncate(fd, 8192), 0);
    EXPECT_EQ(p[1], 0);
    EXPECT_EQ(p[4096], 0);
    p[4096] = 'y';
    EXPECT_EQ(pread(fd, buf, 1, 4096), 1);
    EXPECT_EQ(buf[0], 'y');
}

TEST(write_from_a_mapping_of_the_same_file)
{
    int fd = new_file();
    char *p, c;

    EXPECT_EQ(ftruncate(fd, 16384), 0);
    p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    EXPECT(p != MAP_FAILED);
    p[0] = 'q';
    EXPECT_EQ(pwrite(fd, p, 8192, 8192), 8192);
    EXPECT_EQ(pread(fd, &c, 1, 8192), 1);
    EXPECT_EQ(c, 'q');
    EXPECT_EQ(pread(fd, p + 4096, 4096, 8192), 4096);
    EXPECT_EQ(p[4096], 'q');
}

TEST(fallocate_modes)
{
    struct stat st;
    char c;
    int fd = new_file(), rd = open("f", O_RDONLY), p[2];

    if (fallocate(fd, 0, 0, 65536) != 0 && errno == EOPNOTSUPP) {
        SKIP("no fallocate here");
    }
    EXPECT_EQ(fstat(fd, &st), 0);
    EXPECT_EQ(st.st_size, 65536);
    EXPECT_EQ(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 131072), 0);
    EXPECT_EQ(fstat(fd, &st), 0);
    EXPECT_EQ(st.st_size, 65536);
    EXPECT_EQ(pwrite(fd, "abc", 3, 8191), 3);
    EXPECT_EQ(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 4096), 0);
    EXPECT_EQ(pread(fd, &c, 1, 8191), 1);
    EXPECT_EQ(c, 0);
    EXPECT_EQ(pread(fd, &c, 1, 8192), 1);
    EXPECT_EQ(c, 'b');
    CALL_FAILS(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 4096), EOPNOTSUPP);
    CALL_FAILS(fallocate(fd, 0, 0, 0), EINVAL);
    CALL_FAILS(fallocate(fd, 0, -1, 1), EINVAL);
    CALL_FAILS(fallocate(rd, 0, 0, 1), EBADF);
    CALL_FAILS(fallocate(-1, 0, 0, 1), EBADF);
    EXPECT_EQ(pipe(p), 0);
    CALL_FAILS(fallocate(p[1], 0, 0, 1), ESPIPE);
}

static void limit_file_size(rlim_t size)
{
    struct rlimit r = {size, size};

    EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &r), 0);
}

TEST(the_size_limit)
{
    int fd = new_file();

    signal(SIGXFSZ, SIG_IGN);
    limit_file_size(10);
    EXPECT_EQ(write(fd, "0123456789abc", 13), 10);
    CALL_FAILS(write(fd, "x", 1), EFBIG);
    CALL_FAILS(pwrite(fd, "x", 1, 20), EFBIG);
    CALL_FAILS(ftruncate(fd, 11), EFBIG);
    EXPECT_EQ(ftruncate(fd, 5), 0);
    EXPECT_EQ(pwrite(fd, "x", 1, 9), 1);
}

static void write_past_limit(void *arg)
{
    (void)!write(*(int *)arg, "x", 1);
}

TEST(the_size_limit_signals)
{
    int fd = new_file();

    limit_file_size(0);
    EXPECT_EQ(guest_signal_of(write_past_limit, &fd), SIGXFSZ);
}

TEST(sync_calls)
{
    int fd = new_file(), p[2];

    EXPECT_EQ(fsync(fd), 0);
    EXPECT_EQ(fdatasync(fd), 0);
    EXPECT_EQ(syncfs(fd), 0);
    EXPECT_EQ(fsync(open(".", O_RDONLY)), 0);
    EXPECT_EQ(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE), 0);
    sync();
    EXPECT_EQ(pipe(p), 0);
    CALL_FAILS(fsync(p[0]), EINVAL);
    CALL_FAILS(fsync(-1), EBADF);
    CALL_FAILS(fdatasync(-1), EBADF);
    CALL_FAILS(syncfs(-1), EBADF);
    CALL_FAILS(sync_file_range(fd, -1, 0, 0), EINVAL);
    CALL_FAILS(sync_file_range(fd, 0, 0, 0x100), EINVAL);
    CALL_FAILS(sync_file_range(p[0], 0, 0, 0), ESPIPE);
}

TEST(hints_are_checked)
{
    int fd = new_file(), p[2];

    EXPECT_EQ(pipe(p), 0);
    EXPECT_EQ(posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED), 0);
    EXPECT_EQ(posix_fadvise(fd, 0, 0, 77), EINVAL);
    EXPECT_EQ(posix_fadvise(p[0], 0, 0, POSIX_FADV_NORMAL), ESPIPE);
    EXPECT_EQ(posix_fadvise(-1, 0, 0, POSIX_FADV_NORMAL), EBADF);
    EXPECT_EQ(readahead(fd, 0, 4096), 0);
    CALL_FAILS(readahead(p[0], 0, 4096), EINVAL);
    CALL_FAILS(readahead(open("f", O_WRONLY), 0, 4096), EBADF);
}

TEST(the_memory_devices)
{
    char buf[100];
    int fd = open("/dev/zero", O_RDWR);

    memset(buf, 1, sizeof(buf));
    EXPECT_EQ(read(fd, buf, 100), 100);
    EXPECT_EQ(buf[99], 0);
    EXPECT_EQ(write(fd, buf, 100), 100);
    CALL_FAILS(read(fd, BAD, 10), EFAULT);
    fd = open("/dev/null", O_RDWR);
    EXPECT_EQ(read(fd, buf, 100), 0);
    EXPECT_EQ(write(fd, buf, 100), 100);
    fd = open("/dev/full", O_RDWR);
    EXPECT_EQ(read(fd, buf, 100), 100);
    CALL_FAILS(write(fd, buf, 100), ENOSPC);
    fd = open("/dev/urandom", O_RDONLY);
    EXPECT_EQ(read(fd, buf, 100), 100);
    CALL_FAILS(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, open("/dev/null", O_RDONLY), 0), ENODEV);
}
