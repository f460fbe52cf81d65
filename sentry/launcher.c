/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Talking to the launcher. Packets to it are small and few; the socket's buffer holds hundreds, and
 * it does not block: a launcher that is stopped just misses what no longer fits. Listening is in
 * launcher_watch.c.
 */
#include "sentry/launcher.h"

#include "base/host.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>

static int control_fd = -1;

void launcher_init(int fd)
{
    control_fd = fd;
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
}

int launcher_fd(void)
{
    return control_fd;
}

static void send_packet(const struct control_msg *msg)
{
    ssize_t n = host_write(control_fd, msg, sizeof(*msg));

    (void)n; /* without a launcher there is nobody to tell; launcher_watch ends the sentry */
}

void launcher_fail(int status, const char *fmt, ...)
{
    struct control_msg msg = {.kind = CONTROL_FAILED, .value = status};
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(msg.text, sizeof(msg.text), fmt, ap);
    va_end(ap);
    send_packet(&msg);
    host_exit_group(status);
}

void launcher_stopped(int sig)
{
    struct control_msg msg = {.kind = CONTROL_STOPPED, .value = sig};

    send_packet(&msg);
}

void launcher_continued(void)
{
    struct control_msg msg = {.kind = CONTROL_CONTINUED};

    send_packet(&msg);
}

void launcher_unsupported(int nr, const char *name, u64 count)
{
    struct control_msg msg = {.kind = CONTROL_UNSUPPORTED, .value = nr, .count = count};

    snprintf(msg.text, sizeof(msg.text), "%s", name);
    send_packet(&msg);
}

void launcher_result(int wait_status, const struct control_result *result)
{
    struct control_msg msg = {.kind = CONTROL_RESULT, .value = wait_status, .result = *result};

    send_packet(&msg);
    host_exit_group(0);
}
