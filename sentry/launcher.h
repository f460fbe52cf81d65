/* SPDX-License-Identifier: Apache-2.0 */
/* The sentry's end of the control socket (sentry/boot.h): the only one who speaks to the launcher.
 */
#ifndef PAVISE_SENTRY_LAUNCHER_H
#define PAVISE_SENTRY_LAUNCHER_H

#include "base/base.h"
#include "sentry/boot.h"

/* At boot: `fd` is the socket, ours for ever. */
void launcher_init(int fd);
int launcher_fd(void);

/* The guest's command could not be run: exit status 125, 126 or 127, and why. Ends the sentry. */
noreturn_fn void launcher_fail(int status, const char *fmt, ...) printf_like(2, 3);

/* Start the fiber that waits for the launcher's packets. on_signal runs in it and may park. When
 * the launcher is gone the sentry ends. Needs a running scheduler. */
must_check int launcher_watch(void (*on_signal)(int sig, bool from_tty));

/* The guest's first process stopped, or goes on. */
void launcher_stopped(int sig);
void launcher_continued(void);

/* A call that was refused `count` times because we do not support it. */
void launcher_unsupported(int nr, const char *name, u64 count);

/* The guest's first process ended. Ends the sentry. */
noreturn_fn void launcher_result(int wait_status, const struct control_result *result);

#endif
