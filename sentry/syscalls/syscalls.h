/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The face of the system call layer: what its handlers include, and the few functions that boot and
 * the control socket call. Handlers decode and check; they hold no state.
 */
#ifndef PAVISE_SENTRY_SYSCALLS_SYSCALLS_H
#define PAVISE_SENTRY_SYSCALLS_SYSCALLS_H

#include "base/base.h"
#include "base/err.h"
#include "sentry/syscalls_gen.h" /* the prototypes of all handlers */

struct task;

/* Make the counters. Once, at boot, after heap_init. -ENOMEM. */
must_check int syscalls_boot(void);

/* How often each call was made. */
struct syscall_count {
    int nr;
    const char *name; /* "unknown" for all numbers that Linux does not have either */
    bool supported;
    u64 count;
};
/* Call fn for every call that was made at least once. */
void syscall_for_each_count(void (*fn)(const struct syscall_count *c, void *arg), void *arg);

#endif
