/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wait queues: whom to tell when something changes. A waiter is either a parked fiber or a callback
 * (epoll, poll, the seeded tests). Each wake carries an event mask (POLLIN...), a waiter the mask
 * it is interested in; 0 stands for "any".
 */
#ifndef PAVISE_BASE_SCHED_WAITQ_H
#define PAVISE_BASE_SCHED_WAITQ_H

#include "base/base.h"
#include "base/clock.h"
#include "base/sched/fiber.h"
#include "base/sched/lock.h"

#include <stdatomic.h>
#include <sys/queue.h>

struct waitq {
    struct spinlock lock;             /* leaf; held while callbacks run */
    _Atomic u32 nr;                   /* (a) written under lock: queued waiters */
    TAILQ_HEAD(waiters, waiter) list; /* (lock) non-exclusive first, exclusive behind */
};

struct waiter {
    TAILQ_ENTRY(waiter) link; /* (wq->lock) */
    struct waitq *wq;         /* (wq->lock) NULL when on none */
    struct fiber *fiber;      /* (c) the fiber to wake, or NULL */
    /* (c) called with wq->lock held: must not park, take non-leaf locks or touch this queue.
     * Returns whether it counts as a taken exclusive wake. */
    bool (*wake)(struct waiter *w, u32 events);
    u32 events;     /* (c) while queued: interest mask */
    bool exclusive; /* (c) while queued */
};

void waitq_init(struct waitq *wq);
/* The queue must be empty. */
void waitq_fini(struct waitq *wq);

void waiter_init_current(struct waiter *w); /* the running fiber */
void waiter_init_callback(struct waiter *w, bool (*wake)(struct waiter *w, u32 events));

void waitq_add(struct waitq *wq, struct waiter *w, u32 events);
void waitq_add_exclusive(struct waitq *wq, struct waiter *w, u32 events);
/* Take w off its queue; no-op when it is on none. After it returns no callback of w runs. */
void waitq_remove(struct waiter *w);
bool waitq_is_empty(const struct waitq *wq); /* racy: for fast paths that re-check */

/* Wake all matching non-exclusive waiters and up to nr_exclusive exclusive ones (0: all of them).
 * They stay queued. Returns the number woken. Any lock may be held. */
unsigned waitq_wake(struct waitq *wq, u32 events, unsigned nr_exclusive);

static inline void waitq_wake_all(struct waitq *wq)
{
    (void)waitq_wake(wq, 0, 0);
}

/*
 * Wait until `cond` holds: 0, -ETIMEDOUT or -ERESTARTSYS. `cond` is evaluated without any lock of
 * the queue and may take locks itself (they sleep on a token of their own), but must not wait on
 * another queue: that would swallow this one's token.
 */
#define waitq_wait_event(wq, cond, mode, deadline)                                                 \
    ({                                                                                             \
        struct waiter wwe_w;                                                                       \
        int wwe_ret = 0;                                                                           \
        waiter_init_current(&wwe_w);                                                               \
        waitq_add((wq), &wwe_w, 0);                                                                \
        while (!(cond)) {                                                                          \
            wwe_ret = fiber_park((mode), (deadline));                                              \
            if (wwe_ret != 0) {                                                                    \
                if (cond) {                                                                        \
                    wwe_ret = 0;                                                                   \
                }                                                                                  \
                break;                                                                             \
            }                                                                                      \
        }                                                                                          \
        waitq_remove(&wwe_w);                                                                      \
        wwe_ret;                                                                                   \
    })

#endif
