/* SPDX-License-Identifier: Apache-2.0 */
/* The host's clocks, through its vDSO (no call), or a test's. */
#include "base/clock.h"

#include <time.h>

static u64 (*source)(void);

static u64 read_clock(clockid_t id)
{
    struct timespec ts;

    (void)clock_gettime(id, &ts);
    return (u64)ts.tv_sec * NSEC_PER_SEC + (u64)ts.tv_nsec;
}

u64 clock_monotonic(void)
{
    return source != NULL ? source() : read_clock(CLOCK_MONOTONIC);
}

u64 clock_realtime(void)
{
    return read_clock(CLOCK_REALTIME);
}

u64 clock_boottime(void)
{
    return read_clock(CLOCK_BOOTTIME);
}

void clock_set_source(u64 (*monotonic)(void))
{
    source = monotonic;
}

struct timespec ns_timespec(u64 ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / NSEC_PER_SEC),
                             .tv_nsec = (long)(ns % NSEC_PER_SEC)};
}

struct timeval ns_timeval(u64 ns)
{
    return (struct timeval){.tv_sec = (time_t)(ns / NSEC_PER_SEC),
                            .tv_usec = (suseconds_t)(ns % NSEC_PER_SEC / NSEC_PER_USEC)};
}

bool timespec_valid(const struct timespec *ts)
{
    return ts->tv_sec >= 0 && ts->tv_nsec >= 0 && ts->tv_nsec < (long)NSEC_PER_SEC;
}

u64 timespec_ns(const struct timespec *ts)
{
    if ((u64)ts->tv_sec >= INT64_MAX / NSEC_PER_SEC) {
        return INT64_MAX;
    }
    return (u64)ts->tv_sec * NSEC_PER_SEC + (u64)ts->tv_nsec;
}

u64 clock_deadline(const struct timespec *ts)
{
    u64 ns = timespec_ns(ts), now = clock_monotonic();

    return ns >= INT64_MAX - now ? CLOCK_NEVER : now + ns;
}
