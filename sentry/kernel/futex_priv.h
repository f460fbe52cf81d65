/* SPDX-License-Identifier: Apache-2.0 */
/* Between futex.c (hash, wait, wake), futex_requeue.c, futex_pi.c and futex_robust.c. */
#ifndef PAVISE_SENTRY_KERNEL_FUTEX_PRIV_H
#define PAVISE_SENTRY_KERNEL_FUTEX_PRIV_H

#include "sentry/kernel/futex.h"

#include <linux/futex.h>

struct pi_state;

/* One sleeping wait; on the waiter's fiber stack while it is queued. */
struct futex_waiter {
    TAILQ_ENTRY(futex_waiter) link; /* (bucket) */
    struct futex_bucket *bucket;    /* (a) NULL: not queued any more, i.e. woken */
    struct futex_key key;           /* (bucket) */
    struct task *task;              /* (c) borrowed: it is asleep here */
    u32 bitset;                     /* (c) */
    struct pi_state *pi;            /* (bucket) waiting for a PI futex, or to be requeued to one */
    bool requeue_pi;                /* (c) FUTEX_WAIT_REQUEUE_PI: only a PI requeue may move it */
    struct futex_key pi_key;        /* (c) the PI futex it may be requeued to */
    bool got_lock;                  /* (bucket) the unlocker handed the PI futex over */
};

struct futex_bucket {
    struct mutex lock; /* LOCK_FUTEX; two by address */
    TAILQ_HEAD(futex_waiters, futex_waiter) waiters;
};

struct futex_bucket *futex_bucket_of(const struct futex_key *key);
bool futex_key_same(const struct futex_key *a, const struct futex_key *b);
void futex_enqueue(struct futex_bucket *b, struct futex_waiter *w); /* bucket locked */
/* Unlink and wake; bucket locked. */
void futex_wake_waiter(struct futex_waiter *w);
bool futex_is_queued(const struct futex_waiter *w);
/* Sleep until woken, time-out or interrupt, then be off every queue: 0, -ETIMEDOUT, -ERESTARTSYS.
 */
must_check int futex_sleep(struct futex_waiter *w, u64 deadline);
/* Unlink if still queued: true if it was. */
bool futex_unqueue(struct futex_waiter *w);

/* Lock the bucket of addr with *word read under the lock; the bucket stays locked on success. */
must_check int futex_lock_and_read(struct task *t, uaddr addr, bool shared, struct futex_key *key,
                                   struct futex_bucket **b, u32 *value);
/* Two futexes with their buckets locked. */
struct futex_pair {
    struct futex_key key, key2;
    struct futex_bucket *b, *b2;
};
/* -EAGAIN: *expected is given and not what addr holds. Locked on success. */
must_check int futex_lock_pair(struct task *t, uaddr addr, uaddr addr2, bool shared,
                               const u32 *expected, struct futex_pair *p);
void futex_unlock_pair(struct futex_pair *p);
/* Hand a dead owner's PI futex to a waiter. */
void futex_pi_owner_died(struct task *t, uaddr addr);

/* An exiting thread's held word: set FUTEX_OWNER_DIED, wake or hand over. */
int futex_handle_death(struct task *t, uaddr addr, bool pi, bool pending);

#endif
