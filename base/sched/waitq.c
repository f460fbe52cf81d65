/* SPDX-License-Identifier: Apache-2.0 */
/* Wait queues: see the header. The queue's spin lock is held while waiters are told, so a removed
 * waiter is never told late. */
#include "base/sched/waitq.h"

#include "base/panic.h"
#include "base/sched/sched_priv.h"

void waitq_init(struct waitq *wq)
{
    wq->lock = (struct spinlock){0};
    TAILQ_INIT(&wq->list);
}

void waitq_fini(struct waitq *wq)
{
    CHECK(TAILQ_EMPTY(&wq->list), "wait queue %p dies with waiters", (void *)wq);
}

void waiter_init_current(struct waiter *w)
{
    *w = (struct waiter){.fiber = fiber_current()};
}

void waiter_init_callback(struct waiter *w, bool (*wake)(struct waiter *w, u32 events))
{
    *w = (struct waiter){.wake = wake};
}

static void add(struct waitq *wq, struct waiter *w, u32 events, bool exclusive)
{
    w->events = events;
    w->exclusive = exclusive;
    spin_lock(&wq->lock);
    CHECK(w->wq == NULL, "waiter %p is queued twice", (void *)w);
    w->wq = wq;
    if (exclusive) {
        TAILQ_INSERT_TAIL(&wq->list, w, link);
    } else {
        TAILQ_INSERT_HEAD(&wq->list, w, link);
    }
    spin_unlock(&wq->lock);
}

void waitq_add(struct waitq *wq, struct waiter *w, u32 events)
{
    add(wq, w, events, false);
}

void waitq_add_exclusive(struct waitq *wq, struct waiter *w, u32 events)
{
    add(wq, w, events, true);
}

void waitq_remove(struct waiter *w)
{
    struct waitq *wq = __atomic_load_n(&w->wq, __ATOMIC_ACQUIRE);

    if (wq == NULL) {
        return;
    }
    spin_lock(&wq->lock);
    if (w->wq == wq) {
        TAILQ_REMOVE(&wq->list, w, link);
        w->wq = NULL;
    }
    spin_unlock(&wq->lock);
}

bool waitq_is_empty(const struct waitq *wq)
{
    return __atomic_load_n(&wq->list.tqh_first, __ATOMIC_RELAXED) == NULL;
}

unsigned waitq_wake(struct waitq *wq, u32 events, unsigned nr_exclusive)
{
    struct waiter *w, *next;
    unsigned woken = 0, exclusive = 0;

    atomic_thread_fence(memory_order_seq_cst); /* the condition before the look at the list */
    if (waitq_is_empty(wq)) {
        return 0;
    }
    spin_lock(&wq->lock);
    for (w = TAILQ_FIRST(&wq->list); w != NULL; w = next) {
        bool taken = true;

        next = TAILQ_NEXT(w, link);
        if (events != 0 && w->events != 0 && (events & w->events) == 0) {
            continue;
        }
        if (w->exclusive && nr_exclusive != 0 && exclusive >= nr_exclusive) {
            break;
        }
        if (w->fiber != NULL) {
            fiber_post(w->fiber, FIBER_TOKEN);
        } else {
            taken = w->wake(w, events);
        }
        woken++;
        exclusive += w->exclusive && taken;
    }
    spin_unlock(&wq->lock);
    return woken;
}
