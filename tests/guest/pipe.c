/* SPDX-License-Identifier: Apache-2.0 */
/* pipe(7), fifo(7), splice(2), tee(2), vmsplice(2), sendfile(2). */
#include "tests/guest/guest.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>

static void *volatile bad = (void *)1; /* no guest address: the compiler must not know */

static short ready(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};

    EXPECT(poll(&p, 1, 0) >= 0);
    return p.revents;
}

TEST(pipe_errors)
{
    int fds[2];

    CALL_FAILS(pipe(bad), EFAULT);
    CALL_FAILS(pipe2(fds, O_APPEND), EINVAL);
    EXPECT_EQ(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
    EXPECT_EQ(fcntl(fds[0], F_GETFD), FD_CLOEXEC);
    EXPECT_EQ(fcntl(fds[0], F_GETFL), O_RDONLY | O_NONBLOCK);
    EXPECT_EQ(fcntl(fds[1], F_GETFL), O_WRONLY | O_NONBLOCK);
    CALL_FAILS(read(fds[1], fds, 1), EBADF);
    CALL_FAILS(write(fds[0], fds, 1), EBADF);
    CALL_FAILS(read(fds[0], fds, 1), EAGAIN);
    CALL_FAILS(lseek(fds[0], 0, SEEK_SET), ESPIPE);
    CALL_FAILS(pread(fds[0], fds, 1, 0), ESPIPE);
    CALL_FAILS(write(fds[1], bad, 5), EFAULT);
}

TEST(pipe_is_a_fifo_with_a_name)
{
    char name[64], want[64], link[64];
    struct stat st;
    int fds[2];
    ssize_t n;

    EXPECT_EQ(pipe(fds), 0);
    EXPECT_EQ(fstat(fds[0], &st), 0);
    EXPECT(S_ISFIFO(st.st_mode));
    (void)snprintf(name, sizeof(name), "/proc/self/fd/%d", fds[0]);
    (void)snprintf(want, sizeof(want), "pipe:[%lu]", (unsigned long)st.st_ino);
    n = readlink(name, link, sizeof(link));
    EXPECT_EQ(n, (ssize_t)strlen(want));
    EXPECT(memcmp(link, want, (size_t)n) == 0);
}

TEST(pipe_can_be_opened_again_through_proc)
{
    char name[64], c;
    int fds[2], again;

    EXPECT_EQ(pipe(fds), 0);
    (void)snprintf(name, sizeof(name), "/proc/self/fd/%d", fds[1]);
    again = open(name, O_WRONLY);
    EXPECT(again >= 0);
    EXPECT_EQ(write(again, "x", 1), 1);
    EXPECT_EQ(close(fds[1]), 0);
    EXPECT_EQ(read(fds[0], &c, 1), 1);
    EXPECT_EQ(close(again), 0);
    EXPECT_EQ(read(fds[0], &c, 1), 0);
}

static void write_to_nobody(void *arg)
{
    int fds[2];

    (void)arg;
    EXPECT_EQ(pipe(fds), 0);
    EXPECT_EQ(close(fds[0]), 0);
    (void)!write(fds[1], "x", 1);
}

TEST(sigpipe_and_epipe)
{
    int fds[2];

    EXPECT_EQ(guest_signal_of(write_to_nobody, NULL), SIGPIPE);
    EXPECT(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    EXPECT_EQ(pipe(fds), 0);
    EXPECT_EQ(close(fds[0]), 0);
    CALL_FAILS(write(fds[1], "x", 1), EPIPE);
    EXPECT_EQ(ready(fds[1], POLLOUT), POLLOUT | POLLERR);
}

TEST(pipe_poll_and_fionread)
{
    int fds[2], n = -1;
    char buf[8];

    EXPECT_EQ(pipe(fds), 0);
    EXPECT_EQ(ready(fds[0], POLLIN), 0);
    EXPECT_EQ(ready(fds[1], POLLOUT), POLLOUT);
    EXPECT_EQ(write(fds[1], "abc", 3), 3);
    EXPECT_EQ(ioctl(fds[0], FIONREAD, &n), 0);
    EXPECT_EQ(n, 3);
    EXPECT_EQ(ready(fds[0], POLLIN), POLLIN);
    EXPECT_EQ(close(fds[1]), 0);
    EXPECT_EQ(ready(fds[0], POLLIN), POLLIN | POLLHUP);
    EXPECT_EQ(read(fds[0], buf, 8), 3);
    EXPECT_EQ(ready(fds[0], POLLIN), POLLHUP);
}

TEST(pipe_size)
{
    static char page[4096];
    int fds[2];

    EXPECT_EQ(pipe2(fds, O_NONBLOCK), 0);
    EXPECT_EQ(fcntl(fds[0], F_GETPIPE_SZ), 65536);
    EXPECT_EQ(fcntl(fds[0], F_SETPIPE_SZ, 5000), 8192);
    EXPECT_EQ(write(fds[1], page, 4096), 4096);
    EXPECT_EQ(write(fds[1], page, 4096), 4096);
    CALL_FAILS(write(fds[1], page, 1), EAGAIN);
    EXPECT_EQ(ready(fds[1], POLLOUT), 0);
    CALL_FAILS(fcntl(fds[0], F_SETPIPE_SZ, 4096), EBUSY);
    CALL_FAILS(fcntl(0x7fff, F_GETPIPE_SZ), EBADF);
}

TEST(packet_mode)
{
    char buf[16];
    int fds[2];

    EXPECT_EQ(pipe2(fds, O_DIRECT | O_NONBLOCK), 0);
    EXPECT_EQ(write(fds[1], "abc", 3), 3);
    EXPECT_EQ(write(fds[1], "de", 2), 2);
    EXPECT_EQ(read(fds[0], buf, 2), 2);
    EXPECT_EQ(read(fds[0], buf, 16), 2);
    CALL_FAILS(read(fds[0], buf, 16), EAGAIN);
}

static void on_alarm(int sig)
{
    (void)sig;
}

TEST(blocked_read_is_interrupted)
{
    struct sigaction sa = {.sa_handler = on_alarm};
    int fds[2];
    char c;

    EXPECT_EQ(pipe(fds), 0);
    EXPECT_EQ(sigaction(SIGALRM, &sa, NULL), 0);
    (void)ualarm(20000, 0);
    CALL_FAILS(read(fds[0], &c, 1), EINTR);
}

TEST(fifo_ends_meet)
{
    char name[] = "/tmp/fifo-XXXXXX", buf[8];
    int fd, status;
    pid_t pid;

    EXPECT(mkdtemp(name) != NULL);
    EXPECT_EQ(chdir(name), 0);
    EXPECT_EQ(mkfifo("f", 0600), 0);
    CALL_FAILS(mkfifo("f", 0600), EEXIST);
    CALL_FAILS(open("f", O_WRONLY | O_NONBLOCK), ENXIO);
    pid = fork();
    if (pid == 0) {
        fd = open("f", O_WRONLY);
        _exit(write(fd, "hello", 5) == 5 ? 0 : 1);
    }
    fd = open("f", O_RDONLY);
    EXPECT(fd >= 0);
    EXPECT_EQ(read(fd, buf, 8), 5);
    EXPECT_EQ(read(fd, buf, 8), 0);
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
    EXPECT_EQ(unlink("f"), 0);
    EXPECT_EQ(rmdir(name), 0);
}

TEST(splice_moves_between_file_and_pipe)
{
    int fds[2], file = guest_temp_file();
    char buf[16];
    off_t off = 2;

    EXPECT_EQ(pipe2(fds, O_NONBLOCK), 0);
    EXPECT_EQ(write(file, "0123456789", 10), 10);
    EXPECT_EQ(splice(file, &off, fds[1], NULL, 5, 0), 5);
    EXPECT_EQ(off, 7);
    EXPECT_EQ(read(fds[0], buf, 16), 5);
    EXPECT(memcmp(buf, "23456", 5) == 0);
    EXPECT_EQ(write(fds[1], "abc", 3), 3);
    off = 8;
    EXPECT_EQ(splice(fds[0], NULL, file, &off, 100, SPLICE_F_NONBLOCK), 3);
    EXPECT_EQ(pread(file, buf, 16, 0), 11);
    EXPECT(memcmp(buf, "01234567abc", 11) == 0);
    CALL_FAILS(splice(fds[0], &off, file, NULL, 1, 0), ESPIPE);
    CALL_FAILS(splice(file, NULL, file, NULL, 1, 0), EINVAL);
    CALL_FAILS(splice(file, NULL, fds[1], NULL, 1, 0xff00), EINVAL);
    CALL_FAILS(splice(fds[0], NULL, fds[1], NULL, 1, 0), EINVAL);
    CALL_FAILS(splice(fds[0], NULL, file, NULL, 1, SPLICE_F_NONBLOCK), EAGAIN);
    CALL_FAILS(splice(file, bad, fds[1], NULL, 1, 0), EFAULT);
}

TEST(tee_copies)
{
    int a[2], b[2];
    char buf[8];

    EXPECT_EQ(pipe2(a, O_NONBLOCK), 0);
    EXPECT_EQ(pipe2(b, O_NONBLOCK), 0);
    CALL_FAILS(tee(a[0], b[1], 8, SPLICE_F_NONBLOCK), EAGAIN);
    EXPECT_EQ(write(a[1], "abcd", 4), 4);
    EXPECT_EQ(tee(a[0], b[1], 3, 0), 3);
    EXPECT_EQ(write(b[1], "Z", 1), 1);
    EXPECT_EQ(read(b[0], buf, 8), 4);
    EXPECT(memcmp(buf, "abcZ", 4) == 0);
    EXPECT_EQ(read(a[0], buf, 8), 4);
    EXPECT(memcmp(buf, "abcd", 4) == 0);
    CALL_FAILS(tee(a[0], 1000, 3, 0), EBADF);
}

TEST(vmsplice_both_ways)
{
    char out[] = "gathered", in[16] = {0};
    struct iovec iov[2] = {{out, 3}, {out + 3, 5}}, back = {in, sizeof(in)};
    int fds[2];

    EXPECT_EQ(pipe2(fds, O_NONBLOCK), 0);
    EXPECT_EQ(vmsplice(fds[1], iov, 2, 0), 8);
    EXPECT_EQ(vmsplice(fds[0], &back, 1, 0), 8);
    EXPECT(strcmp(in, "gathered") == 0);
    CALL_FAILS(vmsplice(0x7ff, iov, 1, 0), EBADF);
}

TEST(sendfile_copies)
{
    int in = guest_temp_file(), out = guest_temp_file(), fds[2];
    static char big[300000], back[300000];
    off_t off = 1000;

    memset(big, 'x', sizeof(big));
    big[299999] = 'y';
    EXPECT_EQ(write(in, big, sizeof(big)), (ssize_t)sizeof(big));
    EXPECT_EQ(sendfile(out, in, &off, 1 << 20), 299000);
    EXPECT_EQ(off, 300000);
    EXPECT_EQ(pread(out, back, sizeof(back), 0), 299000);
    EXPECT_EQ(back[298999], 'y');
    EXPECT_EQ(pipe(fds), 0);
    CALL_FAILS(sendfile(out, fds[0], NULL, 10), EINVAL);
    CALL_FAILS(sendfile(out, 1000, NULL, 10), EBADF);
}

TEST(copy_file_range_copies)
{
    int in = guest_temp_file(), out = guest_temp_file();
    char buf[16];
    off_t from = 2, to = 1;

    EXPECT_EQ(write(in, "0123456789", 10), 10);
    EXPECT_EQ(copy_file_range(in, &from, out, &to, 4, 0), 4);
    EXPECT_EQ(from, 6);
    EXPECT_EQ(to, 5);
    EXPECT_EQ(pread(out, buf, 16, 0), 5);
    EXPECT(memcmp(buf, "\0002345", 5) == 0);
    CALL_FAILS(copy_file_range(in, NULL, out, NULL, 4, 1), EINVAL);
}
