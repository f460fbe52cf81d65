/* SPDX-License-Identifier: Apache-2.0 */
/* Tracing of system calls to the log: `[tid] read(3, "abc", 3) = 3`. */
#ifndef PAVISE_SENTRY_SYSCALLS_STRACE_H
#define PAVISE_SENTRY_SYSCALLS_STRACE_H

#include "sentry/syscalls/desc.h"

#include <stdatomic.h>

struct regs;
struct strace_line; /* a line under way: heap object of the call being traced */
struct task;

extern _Atomic u32 strace_classes; /* CLASS_* that are shown; 0: off */

static inline bool strace_wants(const struct syscall_desc *d)
{
    u32 on = atomic_load_explicit(&strace_classes, memory_order_relaxed);

    return unlikely(on != 0) && ((d->classes != 0 ? d->classes : CLASS_OTHER) & on) != 0;
}

/* "file,process", "all": the classes it names (CLASS_* bits), or -EINVAL. A leading "%" and
 * "trace=" are accepted as in strace(1); "" is all. "enter" also writes a line on entry. */
must_check long strace_parse(const char *spec);
/* Show these classes, on descriptor `fd` (borrowed for ever). */
void strace_set(u32 classes, int fd);

/* Before the call; NULL when there is no memory for a line. */
struct strace_line *strace_enter(struct task *t, const struct syscall_desc *d,
                                 const struct regs *r);
/* After it: writes the line and frees it. */
void strace_exit(struct strace_line *line, long ret);

#endif
