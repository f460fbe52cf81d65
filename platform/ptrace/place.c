/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Placement: which CPU guest threads and the tracer run on.
 *
 * A system call under ptrace is two host switches, guest thread to tracer and back, and only one of
 * them runs at a time. The host's scheduler spreads such a pair over two CPUs, each of which falls
 * asleep while the other works and must be woken: 26 us a call in a two-CPU nested VM, against 17
 * on one CPU. So a guest thread that keeps calling is bound to the tracer's CPU, and the tracer to
 * its own, under these rules:
 *
 *  - bound after BIND_STREAK runs in a row shorter than SHORT_RUN_NS. Two that talk to each other
 * are both bound; two that compute get in each other's way, so their runs become long;
 *  - set free when its streak is used up by longer runs, by one of LONG_RUN_NS, or when it still
 *    runs while the tracer has others to resume;
 *  - the tracer's own binding is dropped every REBIND_NS for one sleep, so that the host can move a
 *    sandbox off a CPU that others want; the bound threads follow at their next resume.
 *
 * All of it is on the tracer; failures (a CPU went away) only cost speed.
 */
#include "platform/ptrace/ptrace_priv.h"

#include "base/clock.h"
#include "base/host_trace.h"

#include <sched.h>

#define SHORT_RUN_NS (100 * NSEC_PER_USEC)
#define LONG_RUN_NS  (2 * NSEC_PER_MSEC)
#define BIND_STREAK  8
#define MAX_STREAK   16
#define REBIND_NS    (50 * NSEC_PER_MSEC)

static struct {
    cpu_set_t all;         /* (c) the CPUs the sandbox may use */
    bool enabled;          /* (c) more than one */
    struct tracee *active; /* (t) the last bound one that was resumed, if it runs */
    int cpu;               /* (t) the tracer's, -1: free */
    u64 since;             /* (t) when it was bound */
} place = {.cpu = -1};

int place_boot(void)
{
    CPU_ZERO(&place.all);
    place.enabled =
        host_sched_getaffinity(0, sizeof(place.all), &place.all) > 0 && CPU_COUNT(&place.all) > 1;
    return 0;
}

static void bind_to(pid_t tid, int cpu)
{
    cpu_set_t one;

    CPU_ZERO(&one);
    CPU_SET((unsigned)cpu, &one);
    (void)!host_sched_setaffinity(tid, sizeof(one), &one);
}

static void set_free(pid_t tid)
{
    (void)!host_sched_setaffinity(tid, sizeof(place.all), &place.all);
}

static void unbind(struct tracee *t)
{
    t->streak = 0;
    if (t->cpu >= 0) {
        t->cpu = -1;
        set_free(t->kid.pid);
    }
    if (place.active == t) {
        place.active = NULL;
    }
}

/* Keep t, which is about to run, and the tracer on one CPU. */
static void bind_both(struct tracee *t, u64 now)
{
    if (place.cpu >= 0 && now - place.since > REBIND_NS) {
        place.cpu = -1;
        set_free(0);
        return; /* bound again at the next resume, wherever the tracer wakes */
    }
    if (place.cpu < 0) {
        place.cpu = sched_getcpu();
        place.since = now;
        if (place.cpu < 0) {
            return;
        }
        bind_to(0, place.cpu);
    }
    if (t->cpu != place.cpu) {
        t->cpu = place.cpu;
        bind_to(t->kid.pid, place.cpu);
    }
}

/* t is about to run. */
void place_resume(struct tracee *t)
{
    u64 now;

    if (!place.enabled) {
        return;
    }
    now = clock_monotonic();
    t->resumed = now;
    if (place.active != NULL && now - place.active->resumed > SHORT_RUN_NS) {
        unbind(place.active); /* it computes, and would hold up the tracer */
    }
    if (t->streak >= BIND_STREAK) {
        bind_both(t, now);
    }
    if (t->cpu >= 0) {
        place.active = t;
    }
}

/* t has stopped, or died in the guest. */
void place_stop(struct tracee *t)
{
    u64 ran;

    if (!place.enabled) {
        return;
    }
    if (place.active == t) {
        place.active = NULL;
    }
    ran = clock_monotonic() - t->resumed;
    if (ran <= SHORT_RUN_NS) {
        t->streak += t->streak < MAX_STREAK;
    } else if (ran > LONG_RUN_NS || t->streak < 2) {
        unbind(t);
    } else {
        t->streak -= 2;
    }
}
