/* SPDX-License-Identifier: Apache-2.0 */
/* poll(2), select(2), epoll(7), eventfd(2), timerfd_create(2), inotify(7), flock(2), record locks.
 */
#include "tests/guest/guest.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>

static void *volatile bad = (void *)1; /* no guest address: the compiler must not know */

static double now(void)
{
    struct timespec ts;

    EXPECT_EQ(clock_gettime(CLOCK_MONOTONIC, &ts), 0);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void on_signal(int sig)
{
    (void)sig;
}

/* ---- poll and select ---- */

TEST(poll_reports_and_times_out)
{
    struct pollfd p[3] = {{-5, POLLIN, 7}, {1000, POLLIN, 0}, {0, POLLIN, 0}};
    double before = now();
    int fds[2];

    EXPECT_EQ(pipe(fds), 0);
    p[2].fd = fds[0];
    EXPECT_EQ(poll(p, 3, 1000), 1);
    EXPECT_EQ(p[0].revents, 0);
    EXPECT_EQ(p[1].revents, POLLNVAL);
    EXPECT_EQ(p[2].revents, 0);
    EXPECT_EQ(poll(p + 2, 1, 30), 0);
    EXPECT(now() - before >= 0.03);
    CALL_FAILS(poll(bad, 1, 0), EFAULT);
    EXPECT_EQ(poll(NULL, 0, 1), 0);
}

TEST(ppoll_mask_lets_the_signal_in)
{
    struct sigaction sa = {.sa_handler = on_signal};
    struct timespec ts = {5, 0};
    sigset_t block, none;

    EXPECT_EQ(sigaction(SIGUSR1, &sa, NULL), 0);
    EXPECT_EQ(sigemptyset(&none), 0);
    EXPECT_EQ(sigemptyset(&block), 0);
    EXPECT_EQ(sigaddset(&block, SIGUSR1), 0);
    EXPECT_EQ(sigprocmask(SIG_BLOCK, &block, NULL), 0);
    EXPECT_EQ(raise(SIGUSR1), 0);
    CALL_FAILS(ppoll(NULL, 0, &ts, &none), EINTR);
    EXPECT_EQ(sigprocmask(SIG_BLOCK, NULL, &none), 0);
    EXPECT_EQ(sigismember(&none, SIGUSR1), 1);
    ts.tv_nsec = -1;
    CALL_FAILS(ppoll(NULL, 0, &ts, NULL), EINVAL);
}

TEST(select_sets)
{
    struct timeval tv = {0, 10000};
    fd_set rd, wr;
    int fds[2];

    EXPECT_EQ(pipe(fds), 0);
    FD_ZERO(&rd);
    FD_ZERO(&wr);
    FD_SET(fds[0], &rd);
    FD_SET(fds[1], &wr);
    EXPECT_EQ(select(fds[1] + 1, &rd, &wr, NULL, &tv), 1);
    EXPECT(!FD_ISSET(fds[0], &rd) && FD_ISSET(fds[1], &wr));
    EXPECT_EQ(write(fds[1], "x", 1), 1);
    FD_SET(fds[0], &rd);
    EXPECT_EQ(select(fds[1] + 1, &rd, &wr, NULL, NULL), 2);
    EXPECT_EQ(select(0, NULL, NULL, NULL, &tv), 0);
    EXPECT_EQ(tv.tv_usec, 0);
    EXPECT_EQ(close(fds[0]), 0);
    FD_SET(fds[0], &rd);
    CALL_FAILS(select(fds[0] + 1, &rd, NULL, NULL, &tv), EBADF);
    CALL_FAILS(select(-1, NULL, NULL, NULL, &tv), EINVAL);
}

/* ---- epoll ---- */

static void add(int ep, int op, int fd, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.fd = fd};

    EXPECT_EQ(epoll_ctl(ep, op, fd, &ev), 0);
}

static uint32_t wait_one(int ep)
{
    struct epoll_event ev[4];
    int n = epoll_wait(ep, ev, 4, 0);

    EXPECT(n == 0 || n == 1);
    return n == 1 ? ev[0].events : 0;
}

TEST(epoll_level_edge_oneshot)
{
    int ep = epoll_create1(EPOLL_CLOEXEC), fds[2];
    char c;

    EXPECT_EQ(pipe(fds), 0);
    add(ep, EPOLL_CTL_ADD, fds[0], EPOLLIN);
    EXPECT_EQ(wait_one(ep), 0);
    EXPECT_EQ(write(fds[1], "ab", 2), 2);
    EXPECT_EQ(wait_one(ep), EPOLLIN);
    EXPECT_EQ(wait_one(ep), EPOLLIN);
    add(ep, EPOLL_CTL_MOD, fds[0], EPOLLIN | EPOLLET);
    EXPECT_EQ(wait_one(ep), EPOLLIN);
    EXPECT_EQ(wait_one(ep), 0);
    EXPECT_EQ(read(fds[0], &c, 1), 1);
    EXPECT_EQ(wait_one(ep), 0);
    EXPECT_EQ(write(fds[1], "c", 1), 1);
    EXPECT_EQ(wait_one(ep), EPOLLIN);
    add(ep, EPOLL_CTL_MOD, fds[0], EPOLLIN | EPOLLONESHOT);
    EXPECT_EQ(wait_one(ep), EPOLLIN);
    EXPECT_EQ(write(fds[1], "d", 1), 1);
    EXPECT_EQ(wait_one(ep), 0);
    EXPECT_EQ(close(fds[1]), 0);
    EXPECT_EQ(wait_one(ep), 0);
    add(ep, EPOLL_CTL_MOD, fds[0], 0);
    EXPECT_EQ(wait_one(ep), EPOLLHUP);
}

TEST(epoll_errors)
{
    int ep = epoll_create1(0), file = guest_temp_file(), fds[2];
    struct epoll_event ev = {.events = EPOLLIN};

    EXPECT_EQ(pipe(fds), 0);
    CALL_FAILS(epoll_create(0), EINVAL);
    CALL_FAILS(epoll_create1(77), EINVAL);
    CALL_FAILS(epoll_ctl(ep, EPOLL_CTL_ADD, file, &ev), EPERM);
    CALL_FAILS(epoll_ctl(ep, EPOLL_CTL_ADD, ep, &ev), EINVAL);
    CALL_FAILS(epoll_ctl(fds[0], EPOLL_CTL_ADD, fds[1], &ev), EINVAL);
    CALL_FAILS(epoll_ctl(ep, EPOLL_CTL_ADD, 1000, &ev), EBADF);
    CALL_FAILS(epoll_ctl(1000, EPOLL_CTL_ADD, fds[0], &ev), EBADF);
    CALL_FAILS(epoll_ctl(ep, EPOLL_CTL_DEL, fds[0], &ev), ENOENT);
    CALL_FAILS(epoll_ctl(ep, EPOLL_CTL_MOD, fds[0], &ev), ENOENT);
    CALL_FAILS(epoll_ctl(ep, EPOLL_CTL_ADD, fds[0], NULL), EFAULT);
    EXPECT_EQ(epoll_ctl(ep, EPOLL_CTL_ADD, fds[0], &ev), 0);
    CALL_FAILS(epoll_ctl(ep, EPOLL_CTL_ADD, fds[0], &ev), EEXIST);
    CALL_FAILS(epoll_wait(ep, &ev, 0, 0), EINVAL);
    CALL_FAILS(epoll_wait(fds[0], &ev, 1, 0), EINVAL);
    EXPECT_EQ(write(fds[1], "x", 1), 1);
    CALL_FAILS(epoll_wait(ep, bad, 1, 0), EFAULT);
}

TEST(epoll_nests_five_deep)
{
    struct epoll_event ev = {.events = EPOLLIN};
    int fds[2], ep[7], ok = 0;

    EXPECT_EQ(pipe(fds), 0);
    for (int i = 0; i < 7; i++) {
        ep[i] = epoll_create1(0);
    }
    EXPECT_EQ(epoll_ctl(ep[0], EPOLL_CTL_ADD, fds[0], &ev), 0);
    for (int i = 0; i < 6; i++) {
        if (epoll_ctl(ep[i + 1], EPOLL_CTL_ADD, ep[i], &ev) != 0) {
            EXPECT(errno == ELOOP || errno == EINVAL);
            break;
        }
        ok++;
    }
    EXPECT(ok >= 4 && ok < 6);
    CALL_FAILS(epoll_ctl(ep[0], EPOLL_CTL_ADD, ep[2], &ev), ELOOP);
    EXPECT_EQ(write(fds[1], "x", 1), 1);
    EXPECT_EQ(epoll_wait(ep[ok], &ev, 1, 1000), 1);
}

TEST(epoll_forgets_closed_files)
{
    int ep = epoll_create1(0), fds[2], copy;

    EXPECT_EQ(pipe(fds), 0);
    add(ep, EPOLL_CTL_ADD, fds[0], EPOLLIN);
    copy = dup(fds[0]);
    EXPECT_EQ(write(fds[1], "x", 1), 1);
    EXPECT_EQ(close(fds[0]), 0);
    EXPECT_EQ(wait_one(ep), EPOLLIN);
    EXPECT_EQ(close(copy), 0);
    EXPECT_EQ(wait_one(ep), 0);
}

TEST(epoll_wait_sees_a_childs_write)
{
    int ep = epoll_create1(0), fds[2], status;
    struct epoll_event ev;
    pid_t pid;

    EXPECT_EQ(pipe(fds), 0);
    add(ep, EPOLL_CTL_ADD, fds[0], EPOLLIN);
    pid = fork();
    if (pid == 0) {
        (void)usleep(20000);
        _exit(write(fds[1], "x", 1) == 1 ? 0 : 1);
    }
    EXPECT_EQ(epoll_wait(ep, &ev, 1, 10000), 1);
    EXPECT_EQ(ev.data.fd, fds[0]);
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
}

TEST(epoll_wait_is_never_restarted)
{
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    int ep = epoll_create1(0);
    struct epoll_event ev;

    EXPECT_EQ(sigaction(SIGALRM, &sa, NULL), 0);
    (void)ualarm(20000, 0);
    CALL_FAILS(epoll_wait(ep, &ev, 1, 5000), EINTR);
}

/* ---- eventfd, timerfd ---- */

TEST(eventfd_counts)
{
    int fd = eventfd(3, EFD_NONBLOCK);
    uint64_t v;

    EXPECT_EQ(read(fd, &v, 8), 8);
    EXPECT_EQ(v, 3);
    CALL_FAILS(read(fd, &v, 8), EAGAIN);
    CALL_FAILS(read(fd, &v, 4), EINVAL);
    v = UINT64_MAX;
    CALL_FAILS(write(fd, &v, 8), EINVAL);
    v = UINT64_MAX - 1;
    EXPECT_EQ(write(fd, &v, 8), 8);
    v = 1;
    CALL_FAILS(write(fd, &v, 8), EAGAIN);
    CALL_FAILS(eventfd(0, 0x4), EINVAL);
    fd = eventfd(2, EFD_SEMAPHORE);
    EXPECT_EQ(read(fd, &v, 8), 8);
    EXPECT_EQ(v, 1);
}

TEST(timerfd_fires)
{
    struct itimerspec set = {.it_value = {0, 10000000}, .it_interval = {0, 5000000}}, cur;
    int fd = timerfd_create(CLOCK_MONOTONIC, 0);
    double before = now();
    uint64_t ticks;

    EXPECT_EQ(timerfd_settime(fd, 0, &set, NULL), 0);
    EXPECT_EQ(timerfd_gettime(fd, &cur), 0);
    EXPECT(cur.it_value.tv_nsec > 0 && cur.it_interval.tv_nsec == 5000000);
    EXPECT_EQ(read(fd, &ticks, 8), 8);
    EXPECT(ticks >= 1 && now() - before >= 0.01);
    EXPECT_EQ(read(fd, &ticks, 8), 8);
    CALL_FAILS(timerfd_settime(fd, 8, &set, NULL), EINVAL);
    CALL_FAILS(timerfd_settime(0, 0, &set, NULL), EINVAL);
    CALL_FAILS(timerfd_create(55, 0), EINVAL);
    set.it_value.tv_nsec = 1000000000;
    CALL_FAILS(timerfd_settime(fd, 0, &set, NULL), EINVAL);
    CALL_FAILS(timerfd_settime(fd, 0, bad, NULL), EFAULT);
}

/* ---- inotify ---- */

static uint32_t next_event(int fd, char *name)
{
    char buf[4096] __attribute__((aligned(8)));
    struct inotify_event *ev = (struct inotify_event *)buf;
    ssize_t n = read(fd, buf, sizeof(*ev));

    if (n < 0 && errno == EINVAL) {
        n = read(fd, buf, sizeof(*ev) + 16);
    }
    if (n < 0) {
        EXPECT_EQ(errno, EAGAIN);
        return 0;
    }
    (void)strcpy(name, ev->len > 0 ? ev->name : "");
    return ev->mask;
}

TEST(inotify_tells_names)
{
    char dir[] = "/tmp/in-XXXXXX", name[256];
    int fd = inotify_init1(IN_NONBLOCK), wd, f;

    EXPECT(mkdtemp(dir) != NULL);
    EXPECT_EQ(chdir(dir), 0);
    wd = inotify_add_watch(fd, ".", IN_CREATE | IN_DELETE | IN_MOVE | IN_CLOSE_WRITE | IN_MODIFY);
    EXPECT(wd > 0);
    f = open("a", O_CREAT | O_WRONLY, 0600);
    EXPECT_EQ(write(f, "x", 1), 1);
    EXPECT_EQ(close(f), 0);
    EXPECT_EQ(next_event(fd, name), IN_CREATE);
    EXPECT(strcmp(name, "a") == 0);
    EXPECT_EQ(next_event(fd, name), IN_MODIFY);
    EXPECT_EQ(next_event(fd, name), IN_CLOSE_WRITE);
    EXPECT_EQ(rename("a", "b"), 0);
    EXPECT_EQ(next_event(fd, name), IN_MOVED_FROM);
    EXPECT_EQ(next_event(fd, name), IN_MOVED_TO);
    EXPECT(strcmp(name, "b") == 0);
    EXPECT_EQ(mkdir("d", 0700), 0);
    EXPECT_EQ(next_event(fd, name), IN_CREATE | IN_ISDIR);
    EXPECT_EQ(rmdir("d"), 0);
    EXPECT_EQ(next_event(fd, name), IN_DELETE | IN_ISDIR);
    EXPECT_EQ(unlink("b"), 0);
    EXPECT_EQ(next_event(fd, name), IN_DELETE);
    EXPECT_EQ(inotify_rm_watch(fd, wd), 0);
    EXPECT_EQ(next_event(fd, name), IN_IGNORED);
    CALL_FAILS(inotify_rm_watch(fd, wd), EINVAL);
    CALL_FAILS(inotify_add_watch(fd, "none", IN_CREATE), ENOENT);
    CALL_FAILS(inotify_add_watch(fd, ".", 0), EINVAL);
    CALL_FAILS(inotify_add_watch(0, ".", IN_CREATE), EINVAL);
    EXPECT_EQ(rmdir(dir), 0);
}

/* ---- locks ---- */

static void child_cannot_lock(void *arg)
{
    struct flock fl = {.l_type = F_WRLCK, .l_start = 5, .l_len = 1};

    CALL_FAILS(fcntl(*(int *)arg, F_SETLK, &fl), EAGAIN);
    EXPECT_EQ(fcntl(*(int *)arg, F_GETLK, &fl), 0);
    EXPECT_EQ(fl.l_type, F_WRLCK);
    EXPECT_EQ(fl.l_pid, getppid());
    EXPECT_EQ(fl.l_start, 0);
    EXPECT_EQ(fl.l_len, 10);
}

TEST(record_locks_are_a_processs)
{
    struct flock fl = {.l_type = F_WRLCK, .l_start = 0, .l_len = 10};
    int fd = guest_temp_file();

    EXPECT_EQ(fcntl(fd, F_SETLK, &fl), 0);
    EXPECT_EQ(guest_in_child(child_cannot_lock, &fd), 0);
    EXPECT_EQ(close(dup(fd)), 0); /* any close drops them */
    EXPECT_EQ(fcntl(fd, F_GETLK, &fl), 0);
    EXPECT_EQ(fl.l_type, F_UNLCK);
    fl = (struct flock){.l_type = F_WRLCK, .l_len = 1};
    EXPECT_EQ(fcntl(fd, F_OFD_SETLK, &fl), 0);
    fl.l_pid = 1;
    CALL_FAILS(fcntl(fd, F_OFD_SETLK, &fl), EINVAL);
}

TEST(flock_is_an_open_files)
{
    char name[64];
    int fd = guest_temp_file(), other;

    (void)snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    other = open(name, O_RDWR);
    EXPECT(other >= 0);
    EXPECT_EQ(flock(fd, LOCK_EX), 0);
    CALL_FAILS(flock(other, LOCK_SH | LOCK_NB), EWOULDBLOCK);
    EXPECT_EQ(flock(fd, LOCK_UN), 0);
    EXPECT_EQ(flock(other, LOCK_SH | LOCK_NB), 0);
    EXPECT_EQ(flock(fd, LOCK_SH | LOCK_NB), 0);
    CALL_FAILS(flock(fd, LOCK_SH | LOCK_EX), EINVAL);
    CALL_FAILS(flock(1000, LOCK_SH), EBADF);
}
