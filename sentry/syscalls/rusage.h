/* SPDX-License-Identifier: Apache-2.0 */
/* struct rusage of getrusage(2), wait4(2), waitid(2). */
#ifndef PAVISE_SENTRY_SYSCALLS_RUSAGE_H
#define PAVISE_SENTRY_SYSCALLS_RUSAGE_H

#include "base/base.h"

struct rusage_counts {
    u64 minflt, majflt, nvcsw, nivcsw;
};
/* Times in ns, maxrss in bytes; counts may be NULL. 0 or -EFAULT. */
must_check int rusage_copy_out(uaddr ru, u64 utime, u64 stime, u64 maxrss,
                               const struct rusage_counts *counts);

#endif
