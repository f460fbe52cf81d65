/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of platform/stubproc only. */
#ifndef PAVISE_PLATFORM_STUBPROC_STUBPROC_PRIV_H
#define PAVISE_PLATFORM_STUBPROC_STUBPROC_PRIV_H

#include "base/base.h"
#include "platform/shared.h"

#include <sched.h>
#include <signal.h>

#define STUB_THREAD_FLAGS                                                                          \
    (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM)

#define STUB_PROCESS_FLAGS (CLONE_FILES | CLONE_PARENT | SIGCHLD)

/* The two filters, as they are mapped at STUB_FILTERS. */
void stub_build_filters(struct stub_filters *f, int ctl_fd);

/* What the zygote's child side needs; lives in the sentry's memory, of which it has a copy. */
struct zygote_args {
    int blob_fd;
    int ctl_fd;
    u64 ctl_off;          /* of its control page */
    struct stub_ctl *ctl; /* the sentry's view of it */
    u64 vdso_start;       /* the host's vvar and vdso; start == end: none */
    u64 vdso_end;
    pid_t sentry;
};

/* The zygote: turn this copy of the sentry into an empty process. */
int zygote_main(void *args);

#endif
