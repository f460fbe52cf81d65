/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PI futexes (futex(2) FUTEX_LOCK_PI and kin): the word holds the owner's tid; the kernel hands the
 * lock over to the waiter that has waited longest. Guest priorities are only reported (sched(7)
 * classes do not reach the host), so there is no priority to inherit: what programs see is mutual
 * exclusion, hand-over, EDEADLK, ESRCH and owner death.
 *
 * The word and the queue change together under the bucket's lock: unlock_pi writes the new owner's
 * tid into the word before it wakes it, so a waiter that wakes with got_lock owns the futex.
 */
#include "sentry/kernel/futex_priv.h"

static struct futex_waiter *first_waiter(struct futex_bucket *b, const struct futex_key *key,
                                         bool *more)
{
    struct futex_waiter *w, *found = NULL;

    *more = false;
    TAILQ_FOREACH (w, &b->waiters, link) {
        if (w->pi != NULL && futex_key_same(&w->key, key)) {
            if (found != NULL) {
                *more = true;
                break;
            }
            found = w;
        }
    }
    return found;
}

/* Any non-NULL value marks a PI waiter. */
#define PI_WAITER ((struct pi_state *)1)

/* A thread with this tid that can own a futex? Dead owners give ESRCH. */
static int owner_alive(u32 tid)
{
    struct task *owner = task_find((s32)tid);
    int err = owner == NULL || owner->state == TASK_ZOMBIE ? -ESRCH : 0;

    task_put(owner);
    return err;
}

/* Try to take the word; 1: ours, 0: must wait (WAITERS set), -errno. */
static int take_word(struct task *t, uaddr addr, bool try_only, bool have_waiters)
{
    u32 value, new, seen;
    int err = mm_load_u32(t->mm, addr, &value);

    for (; err == 0; value = seen) {
        u32 owner = value & FUTEX_TID_MASK;

        if (owner == (u32)t->tid) {
            return -EDEADLK;
        }
        if (owner == 0) {
            new = (u32)t->tid | (value & FUTEX_OWNER_DIED) | (have_waiters ? FUTEX_WAITERS : 0);
        } else if (try_only) {
            return -EWOULDBLOCK;
        } else {
            err = owner_alive(owner);
            if (err != 0) {
                return err;
            }
            new = value | FUTEX_WAITERS;
        }
        seen = value;
        err = mm_cmpxchg_u32(t->mm, addr, &seen, new);
        if (err == 0 && seen == value) {
            return owner == 0 ? 1 : 0;
        }
    }
    return err;
}

/* Queue first, then try the word: an unlock that comes between finds us in the queue and hands the
 * lock over. */
long futex_lock_pi(struct task *t, uaddr addr, bool shared, u64 deadline, bool try_only)
{
    struct futex_waiter w = {.task = t, .bitset = FUTEX_BITSET_MATCH_ANY, .pi = PI_WAITER};
    struct futex_bucket *b;
    int err = mm_futex_key(t->mm, addr, shared, &w.key);

    if (err != 0) {
        return err;
    }
    b = futex_bucket_of(&w.key);
    for (;;) {
        bool more, others;

        mutex_lock(&b->lock);
        others = first_waiter(b, &w.key, &more) != NULL;
        futex_enqueue(b, &w);
        mutex_unlock(&b->lock);
        err = take_word(t, addr, try_only, others);
        if (err != 0) {
            if (futex_unqueue(&w) || err < 0) {
                return err == 1 ? 0 : (w.got_lock ? 0 : err);
            }
            return 0; /* taken and handed over at once: it is ours either way */
        }
        err = futex_sleep(&w, deadline);
        if (w.got_lock) {
            return 0;
        }
        if (err != 0) {
            return err == -ERESTARTSYS ? -ERESTARTNOINTR : err;
        }
    }
}

/* Give the futex at addr to its first waiter, or free it. */
static int hand_over(struct task *t, uaddr addr, const struct futex_key *key, u32 keep)
{
    struct futex_bucket *b = futex_bucket_of(key);
    struct futex_waiter *w;
    bool more;
    u32 value, new;
    int err;

    for (;;) {
        err = mm_load_u32(t->mm, addr, &value);
        if (err != 0) {
            return err;
        }
        mutex_lock(&b->lock);
        w = first_waiter(b, key, &more);
        new = keep &FUTEX_OWNER_DIED;
        if (w != NULL) {
            new |= (u32)w->task->tid | (more ? FUTEX_WAITERS : 0);
        }
        u32 seen = value;
        err = mm_cmpxchg_u32_nofault(t->mm, addr, &seen, new);
        if (err == 0 && seen == value && w != NULL) {
            w->got_lock = true;
            futex_wake_waiter(w);
        }
        mutex_unlock(&b->lock);
        if (err == 0 && seen == value) {
            return 0;
        }
    }
}

long futex_unlock_pi(struct task *t, uaddr addr, bool shared)
{
    struct futex_key key;
    u32 value;
    int err = mm_load_u32(t->mm, addr, &value);

    if (err == 0 && (value & FUTEX_TID_MASK) != (u32)t->tid) {
        err = -EPERM;
    }
    if (err == 0) {
        err = mm_futex_key(t->mm, addr, shared, &key);
    }
    return err != 0 ? err : hand_over(t, addr, &key, 0);
}

void futex_pi_owner_died(struct task *t, uaddr addr)
{
    struct futex_key key;

    for (int shared = 0; shared < 2; shared++) {
        if (mm_futex_key(t->mm, addr, shared != 0, &key) == 0) {
            struct futex_bucket *b = futex_bucket_of(&key);
            bool more, waits;

            mutex_lock(&b->lock);
            waits = first_waiter(b, &key, &more) != NULL;
            mutex_unlock(&b->lock);
            if (waits) {
                (void)hand_over(t, addr, &key, FUTEX_OWNER_DIED);
            }
        }
    }
}

/* ---- requeue to a PI futex: pthread_cond with PTHREAD_PRIO_INHERIT ---- */

/* By key, not by address: two mappings of one word are one futex, which cannot be its own target.
 */
static int check_distinct(struct task *t, uaddr addr, uaddr addr2, bool shared)
{
    struct futex_key key, key2;
    int err = mm_futex_key(t->mm, addr, shared, &key);

    if (err == 0) {
        err = mm_futex_key(t->mm, addr2, shared, &key2);
    }
    return err == 0 && futex_key_same(&key, &key2) ? -EINVAL : err;
}

long futex_wait_requeue_pi(struct task *t, uaddr addr, bool shared, u32 value, u64 deadline,
                           uaddr addr2)
{
    struct futex_waiter w = {.task = t, .bitset = FUTEX_BITSET_MATCH_ANY, .requeue_pi = true};
    struct futex_bucket *b;
    u32 now;
    int err;

    err = check_distinct(t, addr, addr2, shared);
    if (err == 0) {
        err = mm_futex_key(t->mm, addr2, shared, &w.pi_key);
    }
    if (err == 0) {
        err = futex_lock_and_read(t, addr, shared, &w.key, &b, &now);
    }
    if (err != 0) {
        return err;
    }
    if (now != value) {
        mutex_unlock(&b->lock);
        return -EAGAIN;
    }
    futex_enqueue(b, &w);
    mutex_unlock(&b->lock);
    err = futex_sleep(&w, deadline);
    if (w.got_lock) {
        return 0;
    }
    if (err == 0) {
        return futex_lock_pi(t, addr2, shared, deadline, false);
    }
    return err == -ERESTARTSYS ? -EWOULDBLOCK : err;
}

/* Every waiter agrees on the target? Nothing may move otherwise. Locked. */
static bool all_want(const struct futex_pair *p)
{
    const struct futex_waiter *w;

    TAILQ_FOREACH (w, &p->b->waiters, link) {
        if (futex_key_same(&w->key, &p->key) &&
            (!w->requeue_pi || !futex_key_same(&w->pi_key, &p->key2))) {
            return false;
        }
    }
    return true;
}

static u32 move_to_pi(struct futex_pair *p, u32 limit)
{
    struct futex_waiter *w, *next;
    u32 moved = 0;

    for (w = TAILQ_FIRST(&p->b->waiters); w != NULL && moved < limit; w = next) {
        next = TAILQ_NEXT(w, link);
        if (futex_key_same(&w->key, &p->key)) {
            TAILQ_REMOVE(&p->b->waiters, w, link);
            w->key = p->key2;
            w->pi = PI_WAITER;
            TAILQ_INSERT_TAIL(&p->b2->waiters, w, link);
            __atomic_store_n(&w->bucket, p->b2, __ATOMIC_RELEASE);
            moved++;
        }
    }
    return moved;
}

long futex_cmp_requeue_pi(struct task *t, uaddr addr, uaddr addr2, bool shared, u32 requeue,
                          u32 expected)
{
    struct futex_pair p;
    u32 moved = 0;
    int err;

    if ((s32)requeue < 0) {
        return -EINVAL;
    }
    err = check_distinct(t, addr, addr2, shared);
    if (err == 0) {
        err = futex_lock_pair(t, addr, addr2, shared, &expected, &p);
    }
    if (err != 0) {
        return err;
    }
    if (!futex_key_same(&p.key, &p.key2) &&
        all_want(&p)) { /* a remap since would requeue for ever */
        moved = move_to_pi(&p, requeue + 1);
    } else {
        err = -EINVAL;
    }
    futex_unlock_pair(&p);
    if (moved > 0) {
        u32 value;

        /* Free: the first one gets it now. Owned: mark that there are waiters. */
        while ((err = mm_load_u32(t->mm, addr2, &value)) == 0) {
            u32 seen = value;

            if ((value & FUTEX_TID_MASK) == 0) {
                err = hand_over(t, addr2, &p.key2, value);
                break;
            }
            err = mm_cmpxchg_u32(t->mm, addr2, &seen, value | FUTEX_WAITERS);
            if (err != 0 || seen == value) {
                break;
            }
        }
    }
    return err != 0 ? err : (long)moved;
}
