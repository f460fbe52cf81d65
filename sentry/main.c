/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sentry's boot, in order: the boot document, isolation of what needs no rights, the heap, the
 * kernel's parts, the rest of isolation, the first program. Everything up to lockdown_finish is
 * trusted input; everything behind it may come from the guest.
 */
#include "base/heap.h"
#include "base/log.h"
#include "sentry/boot.h"
#include "sentry/launcher.h"
#include "sentry/lockdown.h"
#include "sentry/syscalls/strace.h"

#include <signal.h>
#include <unistd.h>

static void boot_log(const struct boot_config *b)
{
    long classes;

    log_set_fd(b->log_fd);
    if (b->log != NULL && log_parse(b->log) != 0) {
        launcher_fail(125, "--log: '%s' is not CHANNEL:LEVEL,...", b->log);
    }
    if (b->strace == NULL) {
        return;
    }
    classes = strace_parse(b->strace);
    if (classes < 0) {
        launcher_fail(125, "--strace: '%s' names no class of calls", b->strace);
    }
    strace_set((u32)classes, b->log_fd);
}

void sentry_main(int boot_fd)
{
    const struct boot_config *b = boot_decode(boot_fd);

    if (b == NULL) {
        static const char text[] = "pavise: the boot document is damaged\n";

        (void)!write(2, text, sizeof(text) - 1);
        _exit(125);
    }
    launcher_init(b->control_fd);
    signal(SIGPIPE, SIG_IGN); /* a reader that went away is an error code, not our end */
    lockdown_begin(b);
    boot_log(b);
    if (heap_init() != 0) {
        launcher_fail(125, "no memory for the kernel heap");
    }
    lockdown_finish(b);
    launcher_fail(125, "this build has no kernel yet");
}
