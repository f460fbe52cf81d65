/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening to the launcher. The control socket is watched by hostpoll, whose callback may only
 * wake; a fiber reads packets until there are none and parks. End of file means that the launcher
 * is gone: then nobody wants the sandbox any more.
 *
 * The launcher is trusted; its packets are checked for size only.
 */
#include "base/err.h"
#include "base/host.h"
#include "base/sched/fiber.h"
#include "base/sched/hostpoll.h"
#include "base/sched/waitq.h"
#include "sentry/launcher.h"

#include <stdatomic.h>
#include <sys/epoll.h>

/* Host resources of this run, not state of the guest: a restored sandbox has another launcher. */
static struct {
    struct hostpoll poll;
    struct waitq wait;
    _Atomic bool ready; /* (a) there may be packets */
    void (*on_signal)(int sig, bool from_tty);
} watch;

static void control_is_ready(struct hostpoll *p, u32 events)
{
    atomic_store_explicit(&watch.ready, true, memory_order_release);
    waitq_wake_all(&watch.wait);
}

static void read_packets(void)
{
    struct control_msg msg;
    ssize_t n;

    while ((n = host_read(launcher_fd(), &msg, sizeof(msg))) == (ssize_t)sizeof(msg)) {
        if (msg.kind == CONTROL_SIGNAL) {
            watch.on_signal(msg.value, msg.from_tty != 0);
        }
    }
    if (n != -EAGAIN && n != -EINTR) {
        host_exit_group(0);
    }
}

static bool take_ready(void)
{
    return atomic_exchange_explicit(&watch.ready, false, memory_order_acquire);
}

static void watch_main(void *arg)
{
    for (;;) {
        if (waitq_wait_event(&watch.wait, take_ready(), PARK_UNINTERRUPTIBLE, CLOCK_NEVER) == 0) {
            read_packets();
        }
    }
}

int launcher_watch(void (*on_signal)(int sig, bool from_tty))
{
    struct fiber *f = fiber_new("launcher", watch_main, NULL);
    int err;

    if (f == NULL) {
        return -ENOMEM;
    }
    watch.on_signal = on_signal;
    watch.poll = (struct hostpoll){.fd = launcher_fd(), .ready = control_is_ready};
    waitq_init(&watch.wait);
    err = hostpoll_add(&watch.poll, EPOLLIN);
    if (err != 0) {
        fiber_discard(f);
        return err;
    }
    atomic_store_explicit(&watch.ready, true, memory_order_release); /* look once in any case */
    fiber_start(f);
    return 0;
}
