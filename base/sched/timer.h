/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timers on CLOCK_MONOTONIC. A callback runs on a worker between fibers, with no lock held: it may
 * wake fibers, take leaf and mutex-free paths and re-arm itself, but must not park.
 */
#ifndef PAVISE_BASE_SCHED_TIMER_H
#define PAVISE_BASE_SCHED_TIMER_H

#include "base/base.h"

#include "base/tree.h"

struct ktimer {
    RB_ENTRY(ktimer) link;          /* (timers) */
    u64 deadline;                   /* (timers) monotonic ns */
    void (*fire)(struct ktimer *t); /* (c) */
    bool armed;                     /* (timers) */
};

void ktimer_init(struct ktimer *t, void (*fire)(struct ktimer *t));
/* Arm or re-arm. */
void ktimer_arm(struct ktimer *t, u64 deadline);
/* Disarm; true if it was armed. Does not wait for a running callback. */
bool ktimer_cancel(struct ktimer *t);
/* Disarm and wait until its callback is not running; the timer may then be freed. Not from the
 * callback. */
void ktimer_cancel_sync(struct ktimer *t);

/* For workers: fire what is due; returns the next deadline, CLOCK_NEVER for none. */
u64 timers_run(u64 now);
u64 timers_next(void);

#endif
