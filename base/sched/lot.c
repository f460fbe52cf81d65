/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parking lot (lot_priv.h). Buckets are static: they describe sleeping threads of this
 * process, which no snapshot contains.
 */
#include "base/sched/lot_priv.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/host.h"

#define LOT_BUCKETS 256U

static struct lot_bucket buckets[LOT_BUCKETS];

static void __attribute__((constructor)) lot_init(void)
{
    for (unsigned i = 0; i < LOT_BUCKETS; i++) {
        TAILQ_INIT(&buckets[i].list);
    }
}

u64 lock_self(void)
{
    struct thread *t = thread_current();

    return t->current != NULL ? (u64)t->current : (u64)t;
}

bool lock_owner_is_running(u64 owner)
{
    return sched_is_running((const struct fiber *)owner);
}

void lot_waiter_init(struct lot_waiter *w, const void *addr)
{
    memset(w, 0, sizeof(*w));
    w->addr = addr;
    w->fiber = thread_current()->current;
    w->self = lock_self();
}

struct lot_bucket *lot_lock(const void *addr)
{
    struct lot_bucket *b = &buckets[hash_mix((u64)addr) % LOT_BUCKETS];

    raw_spin_lock(&b->lock);
    return b;
}

void lot_unlock(struct lot_bucket *b)
{
    raw_spin_unlock(&b->lock);
}

void lot_add(struct lot_bucket *b, struct lot_waiter *w)
{
    w->is_queued = true;
    w->is_granted = false;
    atomic_store_explicit(&w->word, 0, memory_order_relaxed);
    if (w->is_fair) {
        TAILQ_INSERT_HEAD(&b->list, w, link);
    } else {
        TAILQ_INSERT_TAIL(&b->list, w, link);
    }
}

void lot_remove(struct lot_bucket *b, struct lot_waiter *w)
{
    TAILQ_REMOVE(&b->list, w, link);
    w->is_queued = false;
}

static struct lot_waiter *lot_find(struct lot_waiter *w, const void *addr)
{
    while (w != NULL && w->addr != addr) {
        w = TAILQ_NEXT(w, link);
    }
    return w;
}

struct lot_waiter *lot_first(struct lot_bucket *b, const void *addr)
{
    return lot_find(TAILQ_FIRST(&b->list), addr);
}

struct lot_waiter *lot_next(struct lot_waiter *w)
{
    return lot_find(TAILQ_NEXT(w, link), w->addr);
}

int lot_wait(struct lot_waiter *w, bool killable)
{
    if (w->fiber != NULL) {
        return fiber_park_lock(killable);
    }
    while (atomic_load_explicit(&w->word, memory_order_acquire) == 0) {
        (void)!host_futex_wait(&w->word, 0, CLOCK_NEVER);
    }
    return 0;
}

void lot_wake(struct lot_waiter *w)
{
    if (w->fiber != NULL) {
        fiber_post(w->fiber, FIBER_LOCK_TOKEN);
        return;
    }
    atomic_store_explicit(&w->word, 1, memory_order_release);
    /* The waiter may be gone by now: the kernel gets an address, nothing is read. */
    host_futex_wake(&w->word, 1);
}
