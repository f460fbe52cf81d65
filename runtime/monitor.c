/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The launcher's loop. It sleeps until one of these happens:
 *
 *   a signal for us          -> it is the guest's: passed on as CONTROL_SIGNAL
 *   a packet from the sentry -> stops and continuations of the guest, the result, why it failed
 *   the sentry's end         -> over; without a result before it something went wrong
 *   the deadline             -> everything is killed
 *
 * The sentry lives in a session of its own, so the keys of the terminal (Ctrl-C, Ctrl-Z, a new
 * size) signal the launcher's process group and reach the guest only from here. Signals that the
 * caller had ignored stay ignored.
 */
#include "runtime/monitor.h"

#include "runtime/console.h"
#include "runtime/error.h"
#include "runtime/report.h"
#include "runtime/sandbox.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const int forwarded[] = {SIGINT,  SIGTERM, SIGHUP,  SIGQUIT, SIGWINCH,
                                SIGTSTP, SIGCONT, SIGUSR1, SIGUSR2};

static int signal_fd;
static u64 inherited_ignored, inherited_blocked;

static u64 now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (u64)ts.tv_sec * NSEC_PER_SEC + (u64)ts.tv_nsec;
}

int monitor_prepare(struct error *err)
{
    sigset_t set, old;
    struct sigaction act;

    sigemptyset(&set);
    sigprocmask(SIG_BLOCK, NULL, &old);
    for (int sig = 1; sig < 65; sig++) {
        if (sigaction(sig, NULL, &act) == 0 && act.sa_handler == SIG_IGN) {
            inherited_ignored |= 1ULL << (sig - 1);
        }
        if (sigismember(&old, sig) == 1) {
            inherited_blocked |= 1ULL << (sig - 1);
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(forwarded); i++) {
        /* A signal that is ignored but blocked would be queued all the same. */
        if ((inherited_ignored >> (forwarded[i] - 1) & 1) == 0) {
            sigaddset(&set, forwarded[i]);
        }
    }
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0 ||
        (signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0) {
        return error_sys(err, "cannot catch signals");
    }
    console_save();
    return 0;
}

void monitor_inherited_signals(u64 *ignored, u64 *blocked)
{
    *ignored = inherited_ignored;
    *blocked = inherited_blocked;
}

static void forward_signals(const struct sandbox *sandbox)
{
    struct signalfd_siginfo info;

    while (read(signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        struct control_msg msg = {
            .kind = CONTROL_SIGNAL,
            .value = (s32)info.ssi_signo,
            /* A shell's fg continues the whole job, as the terminal's keys go to all of it. */
            .from_tty = info.ssi_code == SI_KERNEL || info.ssi_signo == SIGCONT,
        };

        /* A sentry that is gone is noticed by its own event. */
        (void)!send(sandbox->control_fd, &msg, sizeof(msg), MSG_NOSIGNAL | MSG_DONTWAIT);
    }
}

/* One packet. 1: there was one, 0: none now, -1: the command could not be run. */
static int handle_packet(const struct sandbox *sandbox, struct report *report, struct error *err)
{
    struct control_msg msg;
    ssize_t n = recv(sandbox->control_fd, &msg, sizeof(msg), MSG_DONTWAIT);

    if (n != (ssize_t)sizeof(msg)) {
        return 0;
    }
    switch ((enum control_kind)msg.kind) {
    case CONTROL_STOPPED:
        console_stop(msg.value);
        break;
    case CONTROL_FAILED:
        err->status = msg.value;
        return error_set(err, "%.*s", (int)sizeof(msg.text), msg.text);
    case CONTROL_UNSUPPORTED:
        report_add_unsupported(report, &msg);
        break;
    case CONTROL_RESULT:
        report->have_result = true;
        report->wait_status = msg.value;
        report->result = msg.result;
        break;
    case CONTROL_SIGNAL:
    case CONTROL_CONTINUED:
        break;
    }
    return 1;
}

/* All packets that are there. */
static int drain_packets(const struct sandbox *sandbox, struct report *report, struct error *err)
{
    int ret;

    do {
        ret = handle_packet(sandbox, report, err);
    } while (ret > 0);
    return ret;
}

/* Milliseconds for poll until `deadline` (0: none). */
static int poll_timeout(u64 deadline)
{
    u64 now = now_ns();

    if (deadline == 0) {
        return -1;
    }
    return deadline <= now ? 0 : (int)min((deadline - now) / NSEC_PER_MSEC + 1, 1000000UL);
}

/* Until the sentry ended or the deadline passed. 0, or -1 with why nothing was run. */
static int wait_for_end(const struct sandbox *sandbox, u64 deadline, struct report *report,
                        struct error *err)
{
    struct pollfd fds[] = {{.fd = signal_fd, .events = POLLIN},
                           {.fd = sandbox->control_fd, .events = POLLIN},
                           {.fd = sandbox->pidfd, .events = POLLIN}};

    for (;;) {
        int n = poll(fds, ARRAY_SIZE(fds), poll_timeout(deadline));

        if (n < 0 && errno != EINTR) {
            return error_sys(err, "cannot wait for the sandbox");
        }
        if (deadline != 0 && now_ns() >= deadline) {
            report->timed_out = true;
            return 0;
        }
        if (fds[0].revents != 0) {
            forward_signals(sandbox);
        }
        if (drain_packets(sandbox, report, err) < 0) {
            return -1;
        }
        if (fds[2].revents != 0 || report->have_result) {
            return 0;
        }
        if ((fds[1].revents & POLLHUP) != 0) {
            fds[1].fd = -1; /* the end itself follows */
        }
    }
}

static int exit_status(const struct report *r)
{
    if (r->timed_out) {
        return EXIT_TIMEOUT;
    }
    return WIFSIGNALED(r->wait_status) ? 128 + WTERMSIG(r->wait_status)
                                       : WEXITSTATUS(r->wait_status);
}

/* How the sentry ended, when it should not have. */
static int explain_death(int status, struct error *err)
{
    if (WIFSIGNALED(status)) {
        return error_set(err, "the sandbox was killed by signal %d (%s)", WTERMSIG(status),
                         strsignal(WTERMSIG(status)));
    }
    return error_set(err, "the sandbox ended with status %d and no result", WEXITSTATUS(status));
}

int monitor_run(struct sandbox *sandbox, const struct spec *spec, struct error *err)
{
    struct report report = {0};
    u64 start = now_ns();
    u64 deadline = spec->timeout_ns != 0 ? start + spec->timeout_ns : 0;
    int ret = wait_for_end(sandbox, deadline, &report, err);
    int status = 0;

    report.wall_ns = now_ns() - start;
    /* With a result in hand nothing inside has a purpose any more. */
    kill(sandbox->pid, SIGKILL);
    while (waitpid(sandbox->pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (drain_packets(sandbox, &report, err) < 0) {
        ret = -1;
    }
    if (ret == 0 && report.timed_out) {
        error_set(err, "the time is up");
        error_report(err);
    }
    if (!report.have_result) {
        console_restore();
    }
    if (spec->count_unsupported && ret == 0) {
        report_print_unsupported(&report);
    }
    if (spec->json) {
        report_print_json(&report);
    }
    if (ret != 0) {
        return ret;
    }
    return report.have_result || report.timed_out ? exit_status(&report)
                                                  : explain_death(status, err);
}
