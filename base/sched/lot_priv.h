/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parking lot: where fibers and threads sleep for a lock, so that a lock itself is one word.
 * A hash table of buckets by the lock's address; each bucket is a list of waiters under a spin
 * lock. Whoever takes a waiter off the list owes it exactly one lot_wake, and the waiter does not
 * go on without it: so the waiter may live on its own stack.
 */
#ifndef PAVISE_BASE_SCHED_LOT_PRIV_H
#define PAVISE_BASE_SCHED_LOT_PRIV_H

#include "base/sched/sched_priv.h"

/* (b) bucket lock  (c) const while queued  (a) atomic */
struct lot_waiter {
    TAILQ_ENTRY(lot_waiter) link; /* (b) */
    const void *addr;             /* (c) the lock */
    u64 self;                     /* (c) lock_self() of the waiter */
    struct fiber *fiber;          /* (c) NULL: a thread, asleep on word */
    _Atomic u32 word;             /* (a) */
    bool is_queued;               /* (b) */
    bool is_writer;               /* (c) rwlock only */
    bool is_fair;                 /* (c) it lost a race once: hand the lock over */
    bool is_granted;              /* (b) it was handed the lock */
};
TAILQ_HEAD(lot_waiter_list, lot_waiter);

struct lot_bucket {
    _Alignas(CACHELINE) struct spinlock lock;
    struct lot_waiter_list list; /* (lock) */
};

/* The owner's name in a lock word: the fiber, or the thread outside fibers. 16-byte aligned. */
u64 lock_self(void);
/* Is the owner on a CPU now, so that spinning for it makes sense? */
bool lock_owner_is_running(u64 owner);

void lot_waiter_init(struct lot_waiter *w, const void *addr);
struct lot_bucket *lot_lock(const void *addr);
void lot_unlock(struct lot_bucket *b);
/* All with the bucket locked. */
void lot_add(struct lot_bucket *b, struct lot_waiter *w);
void lot_remove(struct lot_bucket *b, struct lot_waiter *w);
struct lot_waiter *lot_first(struct lot_bucket *b, const void *addr);
struct lot_waiter *lot_next(struct lot_waiter *w);

/* Sleep until lot_wake: 0, or -ERESTARTSYS when killed first (and then still queued or owed a
 * wake). Bucket not locked. */
must_check int lot_wait(struct lot_waiter *w, bool killable);
/* `w` was removed by the caller. It may be gone when this returns. */
void lot_wake(struct lot_waiter *w);

#endif
