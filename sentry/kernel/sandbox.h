/* SPDX-License-Identifier: Apache-2.0 */
/* The sandbox as a whole: the kernel's root object, its first process, how it ends. */
#ifndef PAVISE_SENTRY_KERNEL_SANDBOX_H
#define PAVISE_SENTRY_KERNEL_SANDBOX_H

#include "sentry/kernel/task.h"

struct kernel_config {
    const char *hostname;
    u32 nr_cpus;   /* told to the guest; at least 1 */
    u32 max_tasks; /* 0: PID_LIMIT */
    u64 total_ram; /* told to the guest, bytes */
};

/* Make the root object, init and the tables. After heap_init, memfile_new, sched_init, platform
 * boot. */
must_check int kernel_boot(const struct kernel_config *config);

struct first_config {
    char *const *argv, *const *envp; /* NULL-terminated; argv[0] is looked up in envp's PATH;
                                        borrowed until it runs */
    const struct cred *cred;         /* taken over */
    struct mnt_ns *mnt_ns;           /* taken over */
    struct fs_context *fs;           /* taken over */
    struct fdtable *fdt;             /* taken over */
    struct rlimit rlimits[RLIM_NLIMITS];
    sigmask_t ignored, blocked; /* dispositions and mask it starts with */
    struct tty *tty;            /* its controlling terminal, or NULL; the tty layer's rule */
};

/* Create the first process and make it runnable; it runs once sched_run does. Takes over what is
 * marked so, also on error. */
must_check int sandbox_run_first(const struct first_config *config);

/* How it ended. Called once each, from a fiber; set before sched_run. */
struct sandbox_hooks {
    void (*failed)(int exit_status, const char *why); /* nothing ran: 126, 127, 125 */
    void (*stopped)(int sig);                         /* the first process stopped by job control */
    void (*continued)(void);
    void (*ended)(int wait_status); /* the first process is gone; the sandbox ends */
};
void sandbox_set_hooks(const struct sandbox_hooks *hooks);

/* A signal from outside: to the first process, or to the foreground group of its terminal. */
void sandbox_signal(int sig, bool from_tty);

#endif
