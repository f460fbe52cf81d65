/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parking lot: who waits for a mutex or rwlock, in a hash table by the lock's address, so that
 * a lock is one word. Locks are handed over: the unlocker makes the first waiter the owner before
 * it wakes it, so there is no race for the lock and no starvation.
 */
#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/host.h"
#include "base/sched/sched_priv.h"

#define NR_BUCKETS 64

static struct lot_bucket buckets[NR_BUCKETS];

struct lot_bucket *lot_lock(const void *lock)
{
    struct lot_bucket *b = &buckets[hash_mix((u64)lock) % NR_BUCKETS];

    raw_spin_lock(&b->lock);
    if (b->waiters.tqh_last == NULL) {
        TAILQ_INIT(&b->waiters);
    }
    return b;
}

void lot_unlock(struct lot_bucket *b)
{
    raw_spin_unlock(&b->lock);
}

/* A fiber, or a plain host thread. Aligned, so the low bits are free for flags. */
u64 lot_owner_id(void)
{
    struct thread *t = thread_current();

    return t->current != NULL ? (u64)t->current : (u64)t;
}

void lot_waiter_init(struct lot_waiter *w, const void *lock)
{
    *w =
        (struct lot_waiter){.lock = lock, .fiber = thread_current()->current, .id = lot_owner_id()};
}

void lot_grant(struct lot_bucket *b, struct lot_waiter *w)
{
    struct fiber *f = w->fiber;

    TAILQ_REMOVE(&b->waiters, w, link);
    w->granted = true;
    if (f != NULL) {
        fiber_post(f, FIBER_LOCK_TOKEN);
    } else {
        atomic_store(&w->word, 1);
        (void)host_futex_wake(&w->word, 1);
    }
}

struct lot_waiter *lot_next(struct lot_bucket *b, const void *lock, struct lot_waiter *after)
{
    struct lot_waiter *w = after != NULL ? TAILQ_NEXT(after, link) : TAILQ_FIRST(&b->waiters);

    while (w != NULL && w->lock != lock) {
        w = TAILQ_NEXT(w, link);
    }
    return w;
}

int lot_wait(struct lot_waiter *w, bool killable)
{
    struct lot_bucket *b;
    int err = 0;

    if (w->fiber == NULL) {
        while (atomic_load(&w->word) == 0) {
            (void)!host_futex_wait(&w->word, 0, CLOCK_NEVER);
        }
    } else {
        err = fiber_park_lock(killable);
    }
    /* Under the bucket's lock, also to be sure that the granter is done with w. */
    b = lot_lock(w->lock);
    if (err != 0 && w->granted) {
        err = fiber_park_lock(false); /* the token is there: take it */
    } else if (err != 0) {
        TAILQ_REMOVE(&b->waiters, w, link);
    }
    lot_unlock(b);
    return err;
}
