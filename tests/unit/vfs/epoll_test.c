/* SPDX-License-Identifier: Apache-2.0 */
/* epoll, poll, eventfd, timerfd. */
#include "vfs/epoll.h"

#include "fibers.h"

#include "base/clock.h"
#include "base/panic.h"
#include "vfs/eventfd.h"
#include "vfs/pipe.h"
#include "vfs/poll.h"
#include "vfs/timerfd.h"

#include <sys/eventfd.h>
#include <sys/timerfd.h>

static struct file *ep, *rd, *wr;
static struct epoll_event got[8];

static int collect(void *arg, u32 index, const struct epoll_event *ev)
{
    got[index] = *ev;
    return 0;
}

static int wait_events(struct file *e, int max, u64 deadline)
{
    return epoll_wait_file(e, max, deadline, collect, NULL);
}

static int ctl(struct file *e, int op, struct file *f, u32 events, u64 data)
{
    struct epoll_event ev = {.events = events, .data.u64 = data};

    return epoll_ctl_file(e, op, f, (int)data, &ev);
}

static struct file *new_epoll(void)
{
    struct file *f = epoll_new(0, fix.ctx.cred);

    assert_false(IS_ERR(f));
    return f;
}

static void start(void)
{
    ep = new_epoll();
    assert_int_equal(pipe_new(fix.ctx.cred, O_NONBLOCK, &rd, &wr), 0);
}

static void stop(void)
{
    file_put(ep);
    file_put(rd);
    file_put(wr);
}

static void level_edge_oneshot(void **state)
{
    char c;

    start();
    assert_int_equal(ctl(ep, EPOLL_CTL_ADD, rd, EPOLLIN, 7), 0);
    assert_int_equal(ctl(ep, EPOLL_CTL_ADD, rd, EPOLLIN, 7), -EEXIST);
    assert_int_equal(wait_events(ep, 8, 0), 0);
    assert_int_equal(write_file(wr, "ab", 2), 2);
    assert_int_equal(wait_events(ep, 8, 0), 1);
    assert_int_equal(got[0].data.u64, 7);
    assert_int_equal(got[0].events, EPOLLIN);
    assert_int_equal(wait_events(ep, 8, 0), 1);
    assert_int_equal(ctl(ep, EPOLL_CTL_MOD, rd, EPOLLIN | EPOLLET, 7), 0);
    assert_int_equal(wait_events(ep, 8, 0), 1);
    assert_int_equal(wait_events(ep, 8, 0), 0);
    assert_int_equal(read_file(rd, &c, 1), 1);
    assert_int_equal(wait_events(ep, 8, 0), 0);
    assert_int_equal(write_file(wr, "c", 1), 1);
    assert_int_equal(wait_events(ep, 8, 0), 1);
    assert_int_equal(ctl(ep, EPOLL_CTL_MOD, rd, EPOLLIN | EPOLLONESHOT, 7), 0);
    assert_int_equal(wait_events(ep, 8, 0), 1);
    assert_int_equal(write_file(wr, "d", 1), 1);
    assert_int_equal(wait_events(ep, 8, 0), 0);
    assert_int_equal(ctl(ep, EPOLL_CTL_MOD, rd, EPOLLIN | EPOLLONESHOT, 7), 0);
    assert_int_equal(wait_events(ep, 8, 0), 1);
    assert_int_equal(ctl(ep, EPOLL_CTL_DEL, rd, 0, 7), 0);
    assert_int_equal(ctl(ep, EPOLL_CTL_DEL, rd, 0, 7), -ENOENT);
    assert_int_equal(ctl(ep, EPOLL_CTL_MOD, rd, 0, 7), -ENOENT);
    stop();
}

static void errors_as_linux(void **state)
{
    struct file *reg;

    start();
    make_file("/f", "x");
    reg = must_open("/f", O_RDONLY, 0);
    assert_int_equal(ctl(ep, EPOLL_CTL_ADD, reg, EPOLLIN, 1), -EPERM);
    assert_int_equal(ctl(ep, EPOLL_CTL_ADD, ep, EPOLLIN, 1), -EINVAL);
    assert_int_equal(ctl(rd, EPOLL_CTL_ADD, wr, EPOLLIN, 1), -EINVAL);
    assert_int_equal(ctl(ep, 99, rd, EPOLLIN, 1), -EINVAL);
    assert_int_equal(ctl(ep, EPOLL_CTL_ADD, rd, EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT, 1),
                     -EINVAL);
    assert_int_equal(ctl(ep, EPOLL_CTL_ADD, rd, EPOLLIN | EPOLLEXCLUSIVE, 1), 0);
    assert_int_equal(ctl(ep, EPOLL_CTL_MOD, rd, EPOLLIN, 1), -EINVAL);
    file_put(reg);
    stop();
}

static void closed_files_leave(void **state)
{
    start();
    assert_int_equal(ctl(ep, EPOLL_CTL_ADD, rd, EPOLLIN, 1), 0);
    assert_int_equal(ctl(ep, EPOLL_CTL_ADD, rd, EPOLLIN, 2), 0);
    assert_int_equal(ctl(ep, EPOLL_CTL_ADD, wr, EPOLLOUT, 3), 0);
    assert_int_equal(write_file(wr, "x", 1), 1);
    assert_int_equal(wait_events(ep, 8, 0), 3);
    file_put(rd);
    assert_int_equal(wait_events(ep, 8, 0), 1);
    assert_int_equal(got[0].events, EPOLLOUT | EPOLLERR);
    file_put(wr);
    assert_int_equal(wait_events(ep, 8, 0), 0);
    file_put(ep);
}

static void nested_and_loops(void **state)
{
    struct file *chain[8];

    start();
    for (int i = 0; i < 8; i++) {
        chain[i] = new_epoll();
    }
    assert_int_equal(ctl(chain[0], EPOLL_CTL_ADD, rd, EPOLLIN, 1), 0);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(ctl(chain[i + 1], EPOLL_CTL_ADD, chain[i], EPOLLIN, 1), 0);
    }
    assert_int_equal(ctl(chain[6], EPOLL_CTL_ADD, chain[5], EPOLLIN, 1), -ELOOP);
    assert_int_equal(ctl(chain[0], EPOLL_CTL_ADD, chain[5], EPOLLIN, 1), -ELOOP);
    assert_int_equal(ctl(chain[7], EPOLL_CTL_ADD, chain[6], EPOLLIN, 1), 0);
    assert_int_equal(ctl(chain[6], EPOLL_CTL_ADD, chain[7], EPOLLIN, 1), -ELOOP);
    assert_int_equal(wait_events(chain[5], 8, 0), 0);
    assert_int_equal(write_file(wr, "x", 1), 1);
    assert_int_equal(wait_events(chain[5], 8, 0), 1);
    assert_int_equal(file_poll(chain[3], NULL), POLLIN | POLLRDNORM);
    assert_int_equal(wait_events(chain[0], 8, 0), 1);
    for (int i = 0; i < 8; i++) {
        file_put(chain[i]);
    }
    stop();
}

static void emit_error_keeps_the_event(void **state)
{
    start();
    assert_int_equal(ctl(ep, EPOLL_CTL_ADD, wr, EPOLLOUT | EPOLLET, 3), 0);
    assert_int_equal(wait_events(ep, 8, 0), 1);
    assert_int_equal(wait_events(ep, 8, 0), 0);
    stop();
}

/* ---- waiting ---- */

static struct file *ball;

static void waiter_body(void)
{
    for (int i = 0; i < 1000; i++) {
        u64 v;
        int n = wait_events(ep, 8, CLOCK_NEVER);

        CHECK(n == 1 && got[0].data.u64 == 5, "wait: %d", n);
        CHECK(read_file(ball, &v, 8) == 8, "read");
        CHECK(write_file(wr, "x", 1) == 1, "ack");
    }
}

static void waker_body(void)
{
    for (int i = 0; i < 1000; i++) {
        struct poll_entry e = {.file = rd, .events = POLLIN};
        u64 one = 1;
        char c;

        CHECK(write_file(ball, &one, 8) == 8, "write");
        CHECK(poll_files(&e, 1, CLOCK_NEVER) == 1, "poll");
        CHECK(read_file(rd, &c, 1) == 1, "read");
    }
}

static void waiting_loses_no_wakeup(void **state)
{
    start();
    ball = eventfd_new(0, 0, fix.ctx.cred);
    assert_int_equal(ctl(ep, EPOLL_CTL_ADD, ball, EPOLLIN, 5), 0);
    RUN_FIBERS(1, waiter_body, waker_body);
    RUN_FIBERS(2, waiter_body, waker_body);
    file_put(ball);
    stop();
}

static void timeout_body(void)
{
    u64 before = clock_monotonic();
    struct poll_entry e = {.file = rd, .events = POLLIN};

    CHECK(wait_events(ep, 8, before + 5 * NSEC_PER_MSEC) == 0, "epoll");
    CHECK(clock_monotonic() >= before + 5 * NSEC_PER_MSEC, "too early");
    CHECK(poll_files(&e, 1, before + 10 * NSEC_PER_MSEC) == 0, "poll");
    CHECK(clock_monotonic() >= before + 10 * NSEC_PER_MSEC, "too early");
}

static void timeouts_end(void **state)
{
    start();
    RUN_FIBERS(1, timeout_body);
    stop();
}

/* ---- eventfd ---- */

static void eventfd_counts(void **state)
{
    struct file *f = eventfd_new(3, EFD_NONBLOCK, fix.ctx.cred);
    u64 v = 0, big = UINT64_MAX - 1;

    assert_int_equal(read_file(f, &v, 8), 8);
    assert_int_equal(v, 3);
    assert_int_equal(read_file(f, &v, 8), -EAGAIN);
    assert_int_equal(read_file(f, &v, 4), -EINVAL);
    assert_int_equal(write_file(f, &big, 8), 8);
    assert_int_equal(file_poll(f, NULL), POLLIN);
    v = 1;
    assert_int_equal(write_file(f, &v, 8), -EAGAIN);
    big = UINT64_MAX;
    assert_int_equal(write_file(f, &big, 8), -EINVAL);
    file_put(f);
    f = eventfd_new(2, EFD_NONBLOCK | EFD_SEMAPHORE, fix.ctx.cred);
    assert_int_equal(read_file(f, &v, 8), 8);
    assert_int_equal(v, 1);
    assert_int_equal(read_file(f, &v, 8), 8);
    assert_int_equal(read_file(f, &v, 8), -EAGAIN);
    file_put(f);
    assert_int_equal(PTR_ERR(eventfd_new(0, 0x10, fix.ctx.cred)), -EINVAL);
}

/* ---- timerfd ---- */

static struct file *timer;

static void timer_body(void)
{
    struct itimerspec set = {.it_value = {.tv_nsec = 2000000}, .it_interval = {.tv_nsec = 1000000}};
    struct itimerspec cur;
    u64 ticks = 0, sum = 0;

    CHECK(timerfd_set(timer, 0, &set, NULL) == 0, "set");
    CHECK(timerfd_get(timer, &cur) == 0 && cur.it_value.tv_nsec > 0, "get");
    for (int i = 0; i < 3; i++) {
        CHECK(read_file(timer, &ticks, 8) == 8 && ticks >= 1, "read");
        sum += ticks;
    }
    CHECK(sum >= 3, "ticks");
    set = (struct itimerspec){0};
    CHECK(timerfd_set(timer, 0, &set, &cur) == 0 && cur.it_interval.tv_nsec == 1000000, "clear");
    set.it_value.tv_nsec = 1; /* long ago */
    CHECK(timerfd_set(timer, TFD_TIMER_ABSTIME, &set, NULL) == 0, "past");
    CHECK(read_file(timer, &ticks, 8) == 8 && ticks == 1, "one");
}

static void timerfd_ticks(void **state)
{
    struct itimerspec bad = {.it_value = {.tv_nsec = 1000000000}};
    u64 ticks;

    assert_int_equal(PTR_ERR(timerfd_new(77, 0, fix.ctx.cred)), -EINVAL);
    timer = timerfd_new(CLOCK_MONOTONIC, 0, fix.ctx.cred);
    assert_int_equal(timerfd_set(timer, 0, &bad, NULL), -EINVAL);
    RUN_FIBERS(1, timer_body);
    set_nonblock(timer);
    assert_int_equal(read_file(timer, &ticks, 8), -EAGAIN);
    assert_int_equal(file_poll(timer, NULL), 0);
    file_put(timer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        vfs_unit_test(level_edge_oneshot),
        vfs_unit_test(errors_as_linux),
        vfs_unit_test(closed_files_leave),
        vfs_unit_test(nested_and_loops),
        vfs_unit_test(emit_error_keeps_the_event),
        vfs_unit_test(waiting_loses_no_wakeup),
        vfs_unit_test(timeouts_end),
        vfs_unit_test(eventfd_counts),
        vfs_unit_test(timerfd_ticks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
