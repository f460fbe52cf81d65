/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spin locks, mutexes, rwlocks.
 *
 * mutex.word:  0 free, else the owner's id, bit 0: somebody waits in the lot.
 * rwlock.word: bit 0: somebody waits, bit 1: a writer holds it, above: the number of readers.
 *
 * A waiter sets the waiters bit with its bucket locked and queues itself in the same section; an
 * unlocker that sees the bit locks the bucket before it decides whom to hand the lock to. So a
 * waiter is never missed.
 */
#include "base/sched/lock.h"

#include "base/err.h"
#include "base/panic.h"
#include "base/sched/sched_priv.h"

#include <sched.h>

#define WAITERS    1UL
#define WRITER     2UL
#define READER     4UL
#define SPIN_LIMIT 200

/* ---- spin locks ---- */

void raw_spin_lock(struct spinlock *l)
{
    unsigned spins = 0;

    while (atomic_exchange_explicit(&l->word, 1, memory_order_acquire) != 0) {
        while (atomic_load_explicit(&l->word, memory_order_relaxed) != 0) {
            if (++spins > SPIN_LIMIT) {
                spins = 0;
                sched_yield(); /* the holder's CPU was taken away */
            }
            cpu_pause();
        }
    }
}

void raw_spin_unlock(struct spinlock *l)
{
    atomic_store_explicit(&l->word, 0, memory_order_release);
}

void spin_lock(struct spinlock *l)
{
    sched_preempt_point();
    raw_spin_lock(l);
    thread_current()->spin_depth++;
}

bool spin_trylock(struct spinlock *l)
{
    if (atomic_exchange_explicit(&l->word, 1, memory_order_acquire) != 0) {
        return false;
    }
    thread_current()->spin_depth++;
    return true;
}

void spin_unlock(struct spinlock *l)
{
    thread_current()->spin_depth--;
    raw_spin_unlock(l);
    sched_preempt_point();
}

/* ---- mutexes ---- */

void mutex_init(struct mutex *m, enum lock_rank rank)
{
    *m = (struct mutex){.rank = (u16)rank};
}

static bool mutex_take(struct mutex *m, u64 id)
{
    u64 expected = 0;

    return atomic_compare_exchange_strong_explicit(&m->word, &expected, id, memory_order_acquire,
                                                   memory_order_relaxed);
}

/* Spin while the owner runs on another worker: it will be done soon. */
static bool mutex_spin(struct mutex *m, u64 id)
{
    for (unsigned i = 0; i < SPIN_LIMIT && sched.nr_workers > 1; i++) {
        u64 word = atomic_load_explicit(&m->word, memory_order_relaxed);

        if (word == 0 && mutex_take(m, id)) {
            return true;
        }
        if ((word & WAITERS) != 0 || !sched_is_running((const struct fiber *)(word & ~WAITERS))) {
            return false;
        }
        cpu_pause();
    }
    return false;
}

static int mutex_lock_slow(struct mutex *m, u64 id, bool killable)
{
    struct lot_waiter w;
    struct lot_bucket *b;
    u64 word;

    if (mutex_spin(m, id)) {
        return 0;
    }
    lot_waiter_init(&w, m);
    b = lot_lock(m);
    word = atomic_load_explicit(&m->word, memory_order_relaxed);
    for (;;) {
        u64 want = word == 0 ? id : word | WAITERS;

        CHECK((word & ~WAITERS) != id, "mutex %p taken twice (rank %u)", (void *)m, m->rank);
        if (atomic_compare_exchange_weak_explicit(&m->word, &word, want, memory_order_acquire,
                                                  memory_order_relaxed)) {
            break;
        }
    }
    if (word == 0) {
        lot_unlock(b);
        return 0;
    }
    TAILQ_INSERT_TAIL(&b->waiters, &w, link);
    lot_unlock(b);
    return lot_wait(&w, killable);
}

static int mutex_lock_mode(struct mutex *m, bool killable, enum rank_mode mode)
{
    u64 id = lot_owner_id();
    int err = 0;

    sched_preempt_point();
    rank_check(m, m->rank, mode);
    if (!mutex_take(m, id)) {
        err = mutex_lock_slow(m, id, killable);
    }
    if (err == 0) {
        rank_add(m, m->rank);
    }
    return err;
}

void mutex_lock(struct mutex *m)
{
    (void)mutex_lock_mode(m, false, RANK_STRICT);
}

int mutex_lock_killable(struct mutex *m)
{
    return mutex_lock_mode(m, true, RANK_STRICT);
}

bool mutex_trylock(struct mutex *m)
{
    if (!mutex_take(m, lot_owner_id())) {
        return false;
    }
    rank_add(m, m->rank);
    return true;
}

static void mutex_unlock_slow(struct mutex *m)
{
    struct lot_bucket *b = lot_lock(m);
    struct lot_waiter *w = lot_next(b, m, NULL);
    bool more = w != NULL && lot_next(b, m, w) != NULL;

    /* A killed waiter may have left: then there is nobody. */
    atomic_store_explicit(&m->word, w != NULL ? w->id | (more ? WAITERS : 0) : 0,
                          memory_order_release);
    if (w != NULL) {
        lot_grant(b, w);
    }
    lot_unlock(b);
}

void mutex_unlock(struct mutex *m)
{
    u64 expected = lot_owner_id();

    rank_remove(m);
    CHECK((atomic_load_explicit(&m->word, memory_order_relaxed) & ~WAITERS) == expected,
          "mutex %p (rank %u) is not ours", (void *)m, m->rank);
    if (!atomic_compare_exchange_strong_explicit(&m->word, &expected, 0, memory_order_release,
                                                 memory_order_relaxed)) {
        mutex_unlock_slow(m);
    }
    sched_preempt_point();
}

bool mutex_is_held(const struct mutex *m)
{
    return (atomic_load_explicit(&m->word, memory_order_relaxed) & ~WAITERS) == lot_owner_id();
}

void mutex_lock_two(struct mutex *a, struct mutex *b)
{
    if (a > b) {
        struct mutex *c = a;

        a = b;
        b = c;
    }
    mutex_lock(a);
    if (a != b) {
        (void)mutex_lock_mode(b, false, RANK_NESTED);
    }
}

void mutex_unlock_two(struct mutex *a, struct mutex *b)
{
    mutex_unlock(a);
    if (a != b) {
        mutex_unlock(b);
    }
}

/* ---- rwlocks ---- */

void rwlock_init(struct rwlock *l, enum lock_rank rank)
{
    *l = (struct rwlock){.rank = (u16)rank};
}

static bool rwlock_try(struct rwlock *l, bool writer)
{
    u64 word = atomic_load_explicit(&l->word, memory_order_relaxed);

    for (;;) {
        if (writer ? word != 0 : (word & (WAITERS | WRITER)) != 0) {
            return false;
        }
        if (atomic_compare_exchange_weak_explicit(&l->word, &word,
                                                  word + (writer ? WRITER : READER),
                                                  memory_order_acquire, memory_order_relaxed)) {
            return true;
        }
    }
}

static void rwlock_lock_slow(struct rwlock *l, bool writer)
{
    struct lot_waiter w;
    struct lot_bucket *b;
    u64 word;

    lot_waiter_init(&w, l);
    w.writer = writer;
    b = lot_lock(l);
    word = atomic_load_explicit(&l->word, memory_order_relaxed);
    for (;;) {
        bool is_free = writer ? word == 0 : (word & (WAITERS | WRITER)) == 0;
        u64 want = is_free ? word + (writer ? WRITER : READER) : word | WAITERS;

        if (atomic_compare_exchange_weak_explicit(&l->word, &word, want, memory_order_acquire,
                                                  memory_order_relaxed)) {
            if (is_free) {
                lot_unlock(b);
                return;
            }
            break;
        }
    }
    TAILQ_INSERT_TAIL(&b->waiters, &w, link);
    lot_unlock(b);
    (void)!lot_wait(&w, false);
}

static void rwlock_lock(struct rwlock *l, bool writer, enum rank_mode mode)
{
    sched_preempt_point();
    rank_check(l, l->rank, mode);
    if (!rwlock_try(l, writer)) {
        rwlock_lock_slow(l, writer);
    }
    rank_add(l, l->rank);
}

/* The lock is free but for waiters: hand it to the first writer, or to all readers in front of it.
 * Bucket locked. */
static void rwlock_hand_over(struct rwlock *l, struct lot_bucket *b)
{
    struct lot_waiter *w = lot_next(b, l, NULL), *next;
    u64 word = 0;

    if (w != NULL && w->writer) {
        word = WRITER | (lot_next(b, l, w) != NULL ? WAITERS : 0);
        atomic_store_explicit(&l->word, word, memory_order_release);
        lot_grant(b, w);
        return;
    }
    for (next = w; next != NULL && !next->writer; next = lot_next(b, l, next)) {
        word += READER;
    }
    atomic_store_explicit(&l->word, word | (next != NULL ? WAITERS : 0), memory_order_release);
    while (w != NULL && w != next) {
        struct lot_waiter *after = lot_next(b, l, w);

        lot_grant(b, w);
        w = after;
    }
}

static void rwlock_unlock(struct rwlock *l, u64 mine)
{
    u64 word = atomic_load_explicit(&l->word, memory_order_relaxed);
    struct lot_bucket *b;

    rank_remove(l);
    while ((word & WAITERS) == 0) {
        if (atomic_compare_exchange_weak_explicit(&l->word, &word, word - mine,
                                                  memory_order_release, memory_order_relaxed)) {
            sched_preempt_point();
            return;
        }
    }
    b = lot_lock(l);
    word = atomic_fetch_sub_explicit(&l->word, mine, memory_order_acq_rel) - mine;
    if ((word & ~WAITERS) == 0) {
        rwlock_hand_over(l, b);
    }
    lot_unlock(b);
    sched_preempt_point();
}

void read_lock(struct rwlock *l)
{
    rwlock_lock(l, false, RANK_STRICT);
}

void read_unlock(struct rwlock *l)
{
    rwlock_unlock(l, READER);
}

void write_lock(struct rwlock *l)
{
    rwlock_lock(l, true, RANK_STRICT);
}

void write_lock_nested(struct rwlock *l)
{
    rwlock_lock(l, true, RANK_NESTED);
}

void write_unlock(struct rwlock *l)
{
    rwlock_unlock(l, WRITER);
}

bool rwlock_is_held_write(const struct rwlock *l)
{
    return (atomic_load_explicit(&l->word, memory_order_relaxed) & WRITER) != 0 &&
           (sched_debug == 0 || rank_holds(l));
}
