/* SPDX-License-Identifier: Apache-2.0 */
/* pty(7), termios(3), ioctl_tty(2), job control. */
#include "tests/guest/guest.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>

static int master, slave;

static void open_pair(void)
{
    int unlock = 0, number;
    char name[32];

    master = open("/dev/ptmx", O_RDWR | O_NOCTTY);
    EXPECT(master >= 0);
    EXPECT_EQ(ioctl(master, TIOCGPTN, &number), 0);
    (void)snprintf(name, sizeof(name), "/dev/pts/%d", number);
    CALL_FAILS(open(name, O_RDWR | O_NOCTTY), EIO);
    EXPECT_EQ(ioctl(master, TIOCSPTLCK, &unlock), 0);
    slave = open(name, O_RDWR | O_NOCTTY);
    EXPECT(slave >= 0);
    EXPECT(strcmp(ttyname(slave), name) == 0);
}

static void expect(int fd, const char *text)
{
    char buf[256];
    size_t got = 0, want = strlen(text);

    while (got < want) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ssize_t n;

        if (poll(&p, 1, 2000) != 1) {
            break;
        }
        n = read(fd, buf + got, sizeof(buf) - 1 - got);
        if (n <= 0) {
            break;
        }
        got += (size_t)n;
    }
    buf[got] = '\0';
    if (strcmp(buf, text) != 0) {
        guest_fail(__FILE__, __LINE__, "read \"%s\", not \"%s\"", buf, text);
    }
}

static void type(const char *text)
{
    EXPECT_EQ(write(master, text, strlen(text)), (ssize_t)strlen(text));
}

static void set_raw(int min, int time)
{
    struct termios t;

    EXPECT_EQ(tcgetattr(slave, &t), 0);
    cfmakeraw(&t);
    t.c_cc[VMIN] = (cc_t)min;
    t.c_cc[VTIME] = (cc_t)time;
    EXPECT_EQ(tcsetattr(slave, TCSANOW, &t), 0);
}

TEST(lines_are_edited)
{
    open_pair();
    type("ab\177c\r");
    expect(master, "ab\b \bc\r\n");
    expect(slave, "ac\n");
    type("one two\027x\n");
    expect(slave, "one x\n");
    type("\004");
    EXPECT_EQ(read(slave, (char[4]){0}, 4), 0);
}

TEST(output_is_processed)
{
    open_pair();
    EXPECT_EQ(write(slave, "a\nb", 3), 3);
    expect(master, "a\r\nb");
}

TEST(raw_reads)
{
    char buf[8];

    open_pair();
    set_raw(1, 0);
    type("\003\r");
    EXPECT_EQ(read(slave, buf, 8), 2);
    EXPECT(buf[0] == 3 && buf[1] == '\r');
    set_raw(0, 0);
    EXPECT_EQ(read(slave, buf, 8), 0);
    set_raw(0, 1);
    EXPECT_EQ(read(slave, buf, 8), 0);
    set_raw(3, 1);
    type("x");
    EXPECT_EQ(read(slave, buf, 8), 1);
}

TEST(window_size)
{
    struct winsize ws = {.ws_row = 24, .ws_col = 80}, got;

    open_pair();
    EXPECT_EQ(ioctl(master, TIOCSWINSZ, &ws), 0);
    EXPECT_EQ(ioctl(slave, TIOCGWINSZ, &got), 0);
    EXPECT(got.ws_row == 24 && got.ws_col == 80);
    CALL_FAILS(ioctl(slave, TIOCGWINSZ, 1), EFAULT);
    CALL_FAILS(ioctl(slave, TIOCGPTN, &got), ENOTTY);
}

TEST(either_end_closes)
{
    struct pollfd p = {.events = POLLIN};
    char c;

    open_pair();
    EXPECT_EQ(write(slave, "bye", 3), 3);
    EXPECT_EQ(close(slave), 0);
    expect(master, "bye");
    CALL_FAILS(read(master, &c, 1), EIO);
    open_pair();
    EXPECT_EQ(close(master), 0);
    EXPECT_EQ(read(slave, &c, 1), 0);
    CALL_FAILS(write(slave, "x", 1), EIO);
    p.fd = slave;
    EXPECT_EQ(poll(&p, 1, 0), 1);
    EXPECT((p.revents & POLLHUP) != 0);
}

TEST(queues_and_flushing)
{
    struct pollfd p = {.events = POLLIN};
    int n;

    open_pair();
    type("line\n");
    p.fd = slave;
    EXPECT_EQ(poll(&p, 1, 2000), 1);
    EXPECT_EQ(ioctl(slave, FIONREAD, &n), 0);
    EXPECT_EQ(n, 5);
    EXPECT_EQ(tcflush(slave, TCIFLUSH), 0);
    EXPECT_EQ(ioctl(slave, FIONREAD, &n), 0);
    EXPECT_EQ(n, 0);
    CALL_FAILS(tcflush(slave, 77), EINVAL);
    EXPECT_EQ(isatty(slave), 1);
}

/* ---- sessions ---- */

static void on_signal(int sig)
{
    (void)sig;
}

/* In a child: a session of its own with the slave as controlling terminal. */
static void lead(void)
{
    EXPECT(setsid() > 0);
    EXPECT_EQ(ioctl(slave, TIOCSCTTY, 0), 0);
}

static void keys_make_signals(void *arg)
{
    struct sigaction sa = {.sa_handler = on_signal};
    char c;

    (void)arg;
    lead();
    EXPECT_EQ(tcgetpgrp(slave), getpgrp());
    EXPECT_EQ(tcgetsid(slave), getpid());
    EXPECT_EQ(sigaction(SIGINT, &sa, NULL), 0);
    EXPECT_EQ(write(slave, "R", 1), 1);
    CALL_FAILS(read(slave, &c, 1), EINTR);
}

TEST(interrupt_key)
{
    int status;
    pid_t pid;

    open_pair();
    pid = fork();
    if (pid == 0) {
        keys_make_signals(NULL);
        _exit(0);
    }
    expect(master, "R");
    (void)usleep(50000);
    type("\003");
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
}

static void die_of_hangup(void *arg)
{
    (void)arg;
    lead();
    EXPECT_EQ(close(master), 0);
    EXPECT_EQ(write(slave, "R", 1), 1);
    for (;;) {
        (void)pause();
    }
}

TEST(hangup_kills_the_leader)
{
    int status;
    pid_t pid;

    open_pair();
    pid = fork();
    if (pid == 0) {
        die_of_hangup(NULL);
    }
    expect(master, "R");
    EXPECT_EQ(close(master), 0);
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGHUP);
}

static void background_read(void *arg)
{
    int status;
    pid_t pid;
    char c;

    (void)arg;
    lead();
    pid = fork();
    if (pid == 0) {
        EXPECT_EQ(setpgid(0, 0), 0);
        (void)!read(slave, &c, 1);
        _exit(9);
    }
    EXPECT_EQ(waitpid(pid, &status, WUNTRACED), pid);
    EXPECT(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTTIN);
    EXPECT_EQ(tcsetpgrp(slave, pid), 0);
    EXPECT_EQ(kill(pid, SIGCONT), 0);
    EXPECT_EQ(write(slave, "R", 1), 1);
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 9);
}

TEST(background_reader_is_stopped)
{
    int status;
    pid_t pid;

    open_pair();
    pid = fork();
    if (pid == 0) {
        background_read(NULL);
        _exit(0);
    }
    expect(master, "R");
    type("x\n");
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
}

TEST(no_controlling_terminal)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        EXPECT(setsid() > 0);
        CALL_FAILS(open("/dev/tty", O_RDWR), ENXIO);
        _exit(0);
    }
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
}
