/* SPDX-License-Identifier: Apache-2.0 */
/* unix(7): streams, datagrams, names, ancillary data, options. */
#include "tests/guest/guest.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

static void *volatile bad = (void *)1; /* no guest address: the compiler must not know */

static void pair(int type, int fds[2])
{
    EXPECT_EQ(socketpair(AF_UNIX, type, 0, fds), 0);
}

static socklen_t make_addr(struct sockaddr_un *sun, const char *name, size_t len)
{
    *sun = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(sun->sun_path, name, len);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

TEST(socket_errors)
{
    int fds[2];

    CALL_FAILS(socket(AF_UNIX, SOCK_RDM, 0), ESOCKTNOSUPPORT);
    CALL_FAILS(socket(AF_UNIX, SOCK_STREAM, 9), EPROTONOSUPPORT);
    CALL_FAILS(socket(AF_UNIX, 0x100, 0), EINVAL);
    CALL_FAILS(socket(1000, SOCK_STREAM, 0), EAFNOSUPPORT);
    CALL_FAILS(socketpair(AF_UNIX, SOCK_STREAM, 0, bad), EFAULT);
    CALL_FAILS(bind(0, NULL, 0), ENOTSOCK);
    CALL_FAILS(listen(1000, 1), EBADF);
    pair(SOCK_STREAM, fds);
    CALL_FAILS(listen(fds[0], 1), EINVAL);
    CALL_FAILS(accept(fds[0], NULL, NULL), EINVAL);
    CALL_FAILS(shutdown(fds[0], 5), EINVAL);
    CALL_FAILS(lseek(fds[0], 0, SEEK_SET), ESPIPE);
}

TEST(stream_server_and_client)
{
    char dir[] = "/tmp/un-XXXXXX", buf[16];
    struct sockaddr_un sun, got;
    socklen_t len, got_len = sizeof(got);
    int l = socket(AF_UNIX, SOCK_STREAM, 0), c, s, status;
    struct stat st;
    pid_t pid;

    EXPECT(mkdtemp(dir) != NULL);
    EXPECT_EQ(chdir(dir), 0);
    len = make_addr(&sun, "sock", 5);
    EXPECT_EQ(bind(l, (struct sockaddr *)&sun, len), 0);
    EXPECT_EQ(stat("sock", &st), 0);
    EXPECT(S_ISSOCK(st.st_mode));
    CALL_FAILS(open("sock", O_RDWR), ENXIO);
    EXPECT_EQ(listen(l, 5), 0);
    pid = fork();
    if (pid == 0) {
        c = socket(AF_UNIX, SOCK_STREAM, 0);
        EXPECT_EQ(connect(c, (struct sockaddr *)&sun, len), 0);
        EXPECT_EQ(write(c, "hello", 5), 5);
        EXPECT_EQ(read(c, buf, 16), 3);
        _exit(0);
    }
    s = accept4(l, (struct sockaddr *)&got, &got_len, SOCK_CLOEXEC);
    EXPECT(s >= 0);
    EXPECT_EQ(got_len, sizeof(sa_family_t));
    EXPECT_EQ(read(s, buf, 16), 5);
    EXPECT_EQ(write(s, "bye", 3), 3);
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
    EXPECT_EQ(read(s, buf, 16), 0);
    got_len = sizeof(got);
    EXPECT_EQ(getsockname(s, (struct sockaddr *)&got, &got_len), 0);
    EXPECT_EQ(got_len, len);
    EXPECT(strcmp(got.sun_path, "sock") == 0);
    EXPECT_EQ(unlink("sock"), 0);
    CALL_FAILS(connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&sun, len), ENOENT);
    EXPECT_EQ(rmdir(dir), 0);
}

TEST(abstract_names)
{
    struct sockaddr_un sun, got;
    socklen_t len = make_addr(&sun, "\0pavise-test", 12), got_len = sizeof(got);
    int a = socket(AF_UNIX, SOCK_DGRAM, 0), b = socket(AF_UNIX, SOCK_DGRAM, 0);
    char buf[8];

    EXPECT_EQ(bind(a, (struct sockaddr *)&sun, len), 0);
    CALL_FAILS(bind(b, (struct sockaddr *)&sun, len), EADDRINUSE);
    EXPECT_EQ(bind(b, (struct sockaddr *)&sun, sizeof(sa_family_t)), 0); /* autobind */
    EXPECT_EQ(sendto(b, "hi", 2, 0, (struct sockaddr *)&sun, len), 2);
    EXPECT_EQ(recvfrom(a, buf, 8, 0, (struct sockaddr *)&got, &got_len), 2);
    EXPECT_EQ(got_len, sizeof(sa_family_t) + 6);
    EXPECT_EQ(sendto(a, "yo!", 3, 0, (struct sockaddr *)&got, got_len), 3);
    EXPECT_EQ(recv(b, buf, 8, 0), 3);
    CALL_FAILS(send(a, "x", 1, 0), ENOTCONN);
    EXPECT_EQ(close(b), 0);
    CALL_FAILS(sendto(a, "x", 1, 0, (struct sockaddr *)&got, got_len), ECONNREFUSED);
}

TEST(datagrams_and_packets)
{
    int d[2], p[2];
    char buf[8];

    pair(SOCK_DGRAM, d);
    EXPECT_EQ(send(d[0], "abcdef", 6, 0), 6);
    EXPECT_EQ(send(d[0], "", 0, 0), 0);
    EXPECT_EQ(recv(d[1], buf, 2, MSG_PEEK), 2);
    EXPECT_EQ(recv(d[1], buf, 2, MSG_TRUNC), 6);
    EXPECT_EQ(recv(d[1], buf, 2, 0), 0);
    CALL_FAILS(recv(d[1], buf, 2, MSG_DONTWAIT), EAGAIN);
    pair(SOCK_SEQPACKET, p);
    EXPECT_EQ(send(p[0], "abc", 3, 0), 3);
    EXPECT_EQ(send(p[0], "de", 2, 0), 2);
    EXPECT_EQ(recv(p[1], buf, 8, 0), 3);
    EXPECT_EQ(close(p[0]), 0);
    EXPECT_EQ(recv(p[1], buf, 8, 0), 2);
    EXPECT_EQ(recv(p[1], buf, 8, 0), 0);
    CALL_FAILS(send(p[1], "x", 1, MSG_NOSIGNAL), EPIPE);
}

static void send_to_nobody(void *arg)
{
    int fds[2];

    (void)arg;
    pair(SOCK_STREAM, fds);
    EXPECT_EQ(close(fds[1]), 0);
    (void)!send(fds[0], "x", 1, 0);
}

TEST(shutdown_hangup_and_sigpipe)
{
    struct pollfd p = {.events = POLLIN | POLLOUT | POLLRDHUP};
    int fds[2];
    char c;

    EXPECT_EQ(guest_signal_of(send_to_nobody, NULL), SIGPIPE);
    pair(SOCK_STREAM, fds);
    p.fd = fds[0];
    EXPECT_EQ(shutdown(fds[1], SHUT_WR), 0);
    EXPECT_EQ(poll(&p, 1, 0), 1);
    EXPECT_EQ(p.revents, POLLIN | POLLOUT | POLLRDHUP);
    EXPECT_EQ(read(fds[0], &c, 1), 0);
    EXPECT_EQ(send(fds[0], "x", 1, 0), 1);
    EXPECT_EQ(close(fds[1]), 0);
    EXPECT_EQ(poll(&p, 1, 0), 1);
    EXPECT_EQ(p.revents, POLLIN | POLLOUT | POLLRDHUP | POLLHUP | POLLERR);
    CALL_FAILS(read(fds[0], &c, 1), ECONNRESET);
    CALL_FAILS(send(fds[0], "x", 1, MSG_NOSIGNAL), EPIPE);
}

/* ---- ancillary data ---- */

union control {
    char buf[256];
    struct cmsghdr align;
};

static ssize_t send_fd(int sock, int fd, size_t copies)
{
    struct iovec iov = {(char *)"f", 1};
    union control c = {0};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = c.buf};
    struct cmsghdr *h;

    m.msg_controllen = CMSG_SPACE(copies * sizeof(int));
    h = CMSG_FIRSTHDR(&m);
    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(copies * sizeof(int));
    for (size_t i = 0; i < copies; i++) {
        ((int *)(void *)CMSG_DATA(h))[i] = fd;
    }
    return sendmsg(sock, &m, 0);
}

TEST(descriptors_are_passed)
{
    struct iovec iov;
    union control c;
    char buf[8];
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = c.buf};
    struct cmsghdr *h;
    int fds[2], p[2], got[2];

    pair(SOCK_STREAM, fds);
    EXPECT_EQ(pipe(p), 0);
    CALL_FAILS(send_fd(fds[0], 1000, 1), EBADF);
    EXPECT_EQ(send_fd(fds[0], p[1], 2), 1);
    iov = (struct iovec){buf, sizeof(buf)};
    m.msg_controllen = sizeof(c.buf);
    EXPECT_EQ(recvmsg(fds[1], &m, MSG_CMSG_CLOEXEC), 1);
    EXPECT_EQ(m.msg_flags & ~MSG_CMSG_CLOEXEC, 0);
    h = CMSG_FIRSTHDR(&m);
    EXPECT(h != NULL && h->cmsg_type == SCM_RIGHTS && h->cmsg_len == CMSG_LEN(8));
    memcpy(got, CMSG_DATA(h), sizeof(got));
    EXPECT_EQ(fcntl(got[1], F_GETFD), FD_CLOEXEC);
    EXPECT_EQ(write(got[0], "through", 7), 7);
    EXPECT_EQ(read(p[0], buf, 8), 7);
    /* Too little room: what fits arrives, the rest is closed. */
    EXPECT_EQ(send_fd(fds[0], p[1], 3), 1);
    m.msg_controllen = CMSG_LEN(sizeof(int));
    EXPECT_EQ(recvmsg(fds[1], &m, 0), 1);
    EXPECT_EQ(m.msg_flags, MSG_CTRUNC);
    h = CMSG_FIRSTHDR(&m);
    EXPECT(h != NULL && h->cmsg_len == CMSG_LEN(sizeof(int)));
}

TEST(credentials_are_passed)
{
    struct ucred cred;
    socklen_t len = sizeof(cred);
    struct iovec iov;
    union control c;
    char buf[8];
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = c.buf};
    struct cmsghdr *h;
    int fds[2], on = 1;

    pair(SOCK_DGRAM, fds);
    EXPECT_EQ(getsockopt(fds[0], SOL_SOCKET, SO_PEERCRED, &cred, &len), 0);
    EXPECT_EQ(cred.pid, getpid());
    EXPECT_EQ(setsockopt(fds[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)), 0);
    EXPECT_EQ(send(fds[0], "x", 1, 0), 1);
    iov = (struct iovec){buf, sizeof(buf)};
    m.msg_controllen = sizeof(c.buf);
    EXPECT_EQ(recvmsg(fds[1], &m, 0), 1);
    h = CMSG_FIRSTHDR(&m);
    EXPECT(h != NULL && h->cmsg_type == SCM_CREDENTIALS);
    memcpy(&cred, CMSG_DATA(h), sizeof(cred));
    EXPECT_EQ(cred.pid, getpid());
    EXPECT_EQ(cred.uid, getuid());
}

TEST(a_cycle_of_sockets_does_no_harm)
{
    for (int i = 0; i < 50; i++) {
        int fds[2];

        pair(SOCK_STREAM, fds);
        EXPECT_EQ(send_fd(fds[0], fds[0], 2), 1);
        EXPECT_EQ(send_fd(fds[1], fds[1], 2), 1);
        EXPECT_EQ(close(fds[0]), 0);
        EXPECT_EQ(close(fds[1]), 0);
    }
}

/* ---- options and many messages ---- */

TEST(options)
{
    int fds[2], v = 10000;
    socklen_t len = sizeof(v);

    pair(SOCK_STREAM, fds);
    EXPECT_EQ(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &v, sizeof(v)), 0);
    EXPECT_EQ(getsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &v, &len), 0);
    EXPECT_EQ(v, 20000);
    EXPECT_EQ(getsockopt(fds[0], SOL_SOCKET, SO_TYPE, &v, &len), 0);
    EXPECT_EQ(v, SOCK_STREAM);
    EXPECT_EQ(getsockopt(fds[0], SOL_SOCKET, SO_DOMAIN, &v, &len), 0);
    EXPECT_EQ(v, AF_UNIX);
    EXPECT_EQ(getsockopt(fds[0], SOL_SOCKET, SO_ERROR, &v, &len), 0);
    EXPECT_EQ(v, 0);
    CALL_FAILS(setsockopt(fds[0], SOL_SOCKET, SO_TYPE, &v, sizeof(v)), ENOPROTOOPT);
    CALL_FAILS(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &v, 1), EINVAL);
    CALL_FAILS(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, bad, 4), EFAULT);
    CALL_FAILS(getsockopt(fds[0], SOL_SOCKET, 9999, &v, &len), ENOPROTOOPT);
    CALL_FAILS(getsockopt(fds[0], SOL_SOCKET, SO_TYPE, &v, bad), EFAULT);
    EXPECT_EQ(send(fds[0], "12345", 5, 0), 5);
    EXPECT_EQ(ioctl(fds[1], FIONREAD, &v), 0);
    EXPECT_EQ(v, 5);
}

TEST(receive_timeout)
{
    struct timeval tv = {0, 20000};
    int fds[2];
    char c;

    pair(SOCK_STREAM, fds);
    EXPECT_EQ(setsockopt(fds[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)), 0);
    CALL_FAILS(recv(fds[0], &c, 1, 0), EAGAIN);
}

TEST(many_messages_at_once)
{
    char buf[3][8];
    struct iovec iov[3] = {{buf[0], 1}, {buf[1], 2}, {buf[2], 3}};
    struct mmsghdr m[3] = {0};
    int fds[2];

    pair(SOCK_DGRAM, fds);
    memset(buf, 'x', sizeof(buf));
    for (int i = 0; i < 3; i++) {
        m[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1};
    }
    EXPECT_EQ(sendmmsg(fds[0], m, 3, 0), 3);
    EXPECT_EQ(m[2].msg_len, 3);
    for (int i = 0; i < 3; i++) {
        iov[i].iov_len = 8;
    }
    EXPECT_EQ(recvmmsg(fds[1], m, 3, MSG_WAITFORONE, NULL), 3);
    EXPECT_EQ(m[1].msg_len, 2);
}

TEST(waitall_and_peek)
{
    char buf[16];
    int fds[2], status;
    pid_t pid;

    pair(SOCK_STREAM, fds);
    pid = fork();
    if (pid == 0) {
        EXPECT_EQ(send(fds[1], "abc", 3, 0), 3);
        (void)usleep(20000);
        EXPECT_EQ(send(fds[1], "def", 3, 0), 3);
        _exit(0);
    }
    EXPECT_EQ(recv(fds[0], buf, 6, MSG_WAITALL), 6);
    EXPECT(memcmp(buf, "abcdef", 6) == 0);
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(send(fds[1], "peek", 4, 0), 4);
    EXPECT_EQ(recv(fds[0], buf, 16, MSG_PEEK), 4);
    EXPECT_EQ(recv(fds[0], buf, 16, 0), 4);
}
