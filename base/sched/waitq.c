/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wait queues. See waitq.h for use and fiber.c for why no wake-up is lost between a check and a
 * park. What is left is the look without the lock, which spares the waker of a lonely object the
 * lock (`nr` counts the queued waiters):
 *
 *   waiter                                waker
 *   [A] nr++, queue                       condition = true
 *   full barrier                          full barrier
 *   [C] reads condition                   [B] reads nr
 *
 *   Wrong would be: C reads false and B reads 0. With a full barrier on both sides either B sees
 *   the waiter and wakes it, or C sees the condition.
 *
 * Locking: wq->lock is a spin lock held while callbacks run, which so must not park.
 */
#include "base/sched/waitq.h"

#include "base/panic.h"
#include "base/sched/sched_priv.h"

void waitq_init(struct waitq *wq)
{
    memset(wq, 0, sizeof(*wq));
    TAILQ_INIT(&wq->list);
}

void waitq_fini(struct waitq *wq)
{
    /* Waits for a waker that still holds the lock, so that the queue may be freed. */
    spin_lock(&wq->lock);
    CHECK(TAILQ_EMPTY(&wq->list), "wait queue %p has waiters", (void *)wq);
    spin_unlock(&wq->lock);
}

void waiter_init_current(struct waiter *w)
{
    memset(w, 0, sizeof(*w));
    w->fiber = fiber_current();
    CHECK(w->fiber != NULL, "only a fiber can wait");
}

void waiter_init_callback(struct waiter *w, bool (*wake)(struct waiter *w, u32 events))
{
    memset(w, 0, sizeof(*w));
    w->wake = wake;
}

static void waitq_insert(struct waitq *wq, struct waiter *w, u32 events, bool exclusive)
{
    spin_lock(&wq->lock);
    CHECK(w->wq == NULL, "waiter is queued already");
    w->wq = wq;
    w->events = events;
    w->exclusive = exclusive;
    if (exclusive) {
        TAILQ_INSERT_TAIL(&wq->list, w, link);
    } else {
        TAILQ_INSERT_HEAD(&wq->list, w, link);
    }
    atomic_fetch_add(&wq->nr, 1);
    spin_unlock(&wq->lock);
    full_fence();
}

void waitq_add(struct waitq *wq, struct waiter *w, u32 events)
{
    waitq_insert(wq, w, events, false);
}

void waitq_add_exclusive(struct waitq *wq, struct waiter *w, u32 events)
{
    waitq_insert(wq, w, events, true);
}

void waitq_remove(struct waiter *w)
{
    struct waitq *wq = w->wq;

    if (wq == NULL) {
        return;
    }
    spin_lock(&wq->lock);
    TAILQ_REMOVE(&wq->list, w, link);
    atomic_fetch_sub(&wq->nr, 1);
    w->wq = NULL;
    spin_unlock(&wq->lock);
}

bool waitq_is_empty(const struct waitq *wq)
{
    full_fence();
    return atomic_load(&wq->nr) == 0;
}

static bool waiter_matches(const struct waiter *w, u32 events)
{
    return w->events == 0 || events == 0 || (w->events & events) != 0;
}

static bool waiter_wake(struct waiter *w, u32 events)
{
    if (w->fiber == NULL) {
        return w->wake(w, events);
    }
    fiber_wake(w->fiber);
    return true;
}

/*
 * A woken exclusive waiter goes to the end: it stays queued until it has run, and a second wake
 * before that is for another one.
 */
unsigned waitq_wake(struct waitq *wq, u32 events, unsigned nr_exclusive)
{
    TAILQ_HEAD(, waiter) taken = TAILQ_HEAD_INITIALIZER(taken);
    struct waiter *next;
    struct waiter *w;
    unsigned woken = 0;
    unsigned left = nr_exclusive;

    if (waitq_is_empty(wq)) {
        return 0;
    }
    spin_lock(&wq->lock);
    for (w = TAILQ_FIRST(&wq->list); w != NULL; w = next) {
        bool exclusive = w->exclusive;

        next = TAILQ_NEXT(w, link);
        if (!waiter_matches(w, events) || !waiter_wake(w, events)) {
            continue;
        }
        woken++;
        if (exclusive && nr_exclusive != 0) {
            TAILQ_REMOVE(&wq->list, w, link);
            TAILQ_INSERT_TAIL(&taken, w, link);
            if (--left == 0) {
                break;
            }
        }
    }
    TAILQ_CONCAT(&wq->list, &taken, link);
    spin_unlock(&wq->lock);
    return woken;
}
