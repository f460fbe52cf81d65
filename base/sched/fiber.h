/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fibers: the kernel half of a task (DESIGN 2). A fiber has a small guarded stack and is switched
 * in user space; workers (worker.h) run it. A fiber may move to another host thread whenever it
 * parks, so nothing may keep a thread-local address across a park: fiber_current() is an
 * out-of-line call.
 *
 * Parking uses a sticky token. fiber_wake() stores the token; fiber_park() consumes it or sleeps.
 * A wake between the check of a condition and the park is therefore never lost:
 *
 *     waiter: waitq_add            waker: change the condition
 *             check the condition         waitq_wake -> fiber_wake (stores token)
 *             fiber_park (sees token, returns at once)
 *
 * Wake-ups may be spurious: always re-check in a loop (waitq_wait_event does).
 */
#ifndef PAVISE_BASE_SCHED_FIBER_H
#define PAVISE_BASE_SCHED_FIBER_H

#include "base/base.h"

struct fiber;
typedef void (*fiber_fn)(void *arg);

/* A new fiber that will run fn(arg) once started; NULL when out of memory. It frees itself when fn
 * returns or it calls fiber_exit. */
must_check struct fiber *fiber_new(const char *name, fiber_fn fn, void *arg);

/* Make a new fiber runnable. Once. */
void fiber_start(struct fiber *f);

/* Free a fiber that was never started. */
void fiber_discard(struct fiber *f);

/* The fiber that is running, or NULL on a thread that runs none. */
struct fiber *fiber_current(void);

/* A pointer of the owner's (the task). Set before start; read by anyone who holds the fiber alive.
 */
void fiber_set_local(struct fiber *f, void *local);
void *fiber_local(const struct fiber *f);
/* The local of the running fiber, NULL outside fibers. */
void *fiber_current_local(void);

noreturn_fn void fiber_exit(void);

/* Let other runnable fibers go first. */
void fiber_yield(void);

/* How a park may be cut short. */
enum park_mode {
    PARK_UNINTERRUPTIBLE, /* only a wake or the deadline */
    PARK_KILLABLE,        /* also fiber_interrupt with kill */
    PARK_INTERRUPTIBLE    /* also any fiber_interrupt */
};

/*
 * Sleep until fiber_wake, an interrupt the mode allows, or `deadline` (CLOCK_MONOTONIC ns;
 * CLOCK_NEVER for none). 0 woken (perhaps spuriously), -ETIMEDOUT, -ERESTARTSYS interrupted. No
 * spin lock may be held. An interrupt that is pending on entry returns at once.
 */
must_check int fiber_park(enum park_mode mode, u64 deadline);

/* Wake `f`, or make its next park return at once. The caller keeps f alive (it is on a wait queue
 * whose lock is held, or the task is referenced). From any thread, also with spin locks held. */
void fiber_wake(struct fiber *f);

/* Set the interrupt flag (like TIF_SIGPENDING; with `kill` also fatal) and end a park that allows
 * it. The flag stays until fiber_clear_interrupt. */
void fiber_interrupt(struct fiber *f, bool kill);
/* By the fiber itself, before it looks at its signals. */
void fiber_clear_interrupt(void);
bool fiber_is_interrupted(void); /* of the running fiber */

/* For dumps: call fn for every live fiber. Not synchronised: a panic path. */
void fiber_for_each(void (*fn)(struct fiber *f, void *arg), void *arg);
const char *fiber_name(const struct fiber *f);
u64 fiber_count(void);

#endif
