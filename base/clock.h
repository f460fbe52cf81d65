/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time comes in here, so that tests can inject it. All values are nanoseconds.
 */
#ifndef PAVISE_BASE_CLOCK_H
#define PAVISE_BASE_CLOCK_H

#include "base/base.h"

#include <sys/time.h>
#include <time.h>

#define CLOCK_NEVER UINT64_MAX

u64 clock_monotonic(void);
u64 clock_realtime(void);
u64 clock_boottime(void);

/* ns as the structs of time.h. */
struct timespec ns_timespec(u64 ns);
struct timeval ns_timeval(u64 ns);
/* now + *ts on the monotonic clock, CLOCK_NEVER when that overflows. *ts is valid and not negative.
 */
u64 clock_deadline(const struct timespec *ts);
/* A valid, non-negative time as ns, saturated below CLOCK_NEVER. */
u64 timespec_ns(const struct timespec *ts);
bool timespec_valid(const struct timespec *ts);

/* For tests: replace the monotonic source; NULL puts the host's back. */
void clock_set_source(u64 (*monotonic)(void));

#endif
