/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The caller's terminal is the guest's: the sentry reads, writes and sets its modes directly. The
 * launcher keeps what only it can do: it is the process that the caller's shell knows, so it is
 * the one that stops when the guest stops, and the one that puts the modes back when the guest
 * was killed half-way.
 */
#include "runtime/console.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <termios.h>
#include <unistd.h>

static struct termios saved;
static int saved_fd = -1;

void console_save(void)
{
    for (int fd = 0; fd < 3; fd++) {
        if (tcgetattr(fd, &saved) == 0) {
            saved_fd = fd;
            return;
        }
    }
}

void console_restore(void)
{
    sigset_t set, old;

    if (saved_fd < 0) {
        return;
    }
    sigemptyset(&set);
    sigaddset(&set, SIGTTOU); /* from the background it would stop us */
    sigprocmask(SIG_BLOCK, &set, &old);
    tcsetattr(saved_fd, TCSADRAIN, &saved);
    sigprocmask(SIG_SETMASK, &old, NULL);
}

void console_stop(int sig)
{
    sigset_t set, old;

    if (sig != SIGTSTP && sig != SIGTTIN && sig != SIGTTOU) {
        sig = SIGSTOP;
    }
    sigemptyset(&set);
    sigaddset(&set, sig);
    sigprocmask(SIG_UNBLOCK, &set, &old);
    raise(sig);
    sigprocmask(SIG_SETMASK, &old, NULL);
}
