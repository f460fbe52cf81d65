/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reader-writer locks: first come, first served, handed over.
 *
 * Word: write-held  owner | RW_WRITER | RW_WAITERS?
 *       read-held   count << RW_SHIFT | RW_WAITERS?
 *       free        0 (never with RW_WAITERS: an unlock with waiters hands the lock over)
 *
 * RW_WAITERS is set and cleared with the lot's bucket locked. While it is set nobody may come in by
 * the fast path, so a waiting writer holds new readers off and the word can only change by
 * read_unlock's decrement. The last one out takes the first waiter, and with a reader all readers
 * up to the next writer, and stores the new word on their behalf. A second read_lock by the same
 * fiber would deadlock behind a waiting writer: debug builds refuse it (same rank).
 */
#include "base/panic.h"
#include "base/sched/lot_priv.h"
#include "base/sched/sched_priv.h"

#define RW_WRITER  1UL
#define RW_WAITERS 2UL
#define RW_FLAGS   3UL
#define RW_SHIFT   4
#define RW_READER  (1UL << RW_SHIFT)
#define RW_SPINS   60

void rwlock_init(struct rwlock *l, enum lock_rank rank)
{
    atomic_store_explicit(&l->word, 0, memory_order_relaxed);
    l->rank = (u16)rank;
}

/* The word after one more holder, or 0 when `old` lets none in. */
static u64 rw_entered(u64 old, bool write, u64 self)
{
    if (write) {
        return old == 0 ? self | RW_WRITER : 0;
    }
    return (old & RW_FLAGS) == 0 ? old + RW_READER : 0;
}

static bool rw_try(struct rwlock *l, bool write, u64 self)
{
    u64 old = atomic_load_explicit(&l->word, memory_order_relaxed);
    u64 new;

    do {
        new = rw_entered(old, write, self);
        if (new == 0) {
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&l->word, &old, new, memory_order_acquire,
                                                    memory_order_relaxed));
    return true;
}

/* Spin while a writer that runs elsewhere holds it and nobody waits. */
static bool rw_spin(struct rwlock *l, bool write, u64 self)
{
    for (int i = 0; i < RW_SPINS; i++) {
        u64 word = atomic_load_explicit(&l->word, memory_order_relaxed);

        if ((word & RW_WAITERS) != 0) {
            return false;
        }
        if (rw_try(l, write, self)) {
            return true;
        }
        if ((word & RW_WRITER) == 0 || !lock_owner_is_running(word & ~RW_FLAGS)) {
            return false;
        }
        cpu_pause();
    }
    return false;
}

static noinline_fn void rw_lock_slow(struct rwlock *l, bool write, u64 self)
{
    struct lot_waiter w;
    struct lot_bucket *b;
    u64 old;
    u64 new;

    CHECK(thread_current()->spin_depth == 0, "rwlock %p (%s) wanted with a spin lock held",
          (void *)l, lock_rank_name(l->rank));
    if (rw_spin(l, write, self)) {
        return;
    }
    lot_waiter_init(&w, l);
    w.is_writer = write;
    b = lot_lock(l);
    old = atomic_load_explicit(&l->word, memory_order_relaxed);
    do {
        new = rw_entered(old, write, self);
    } while (!atomic_compare_exchange_weak_explicit(&l->word, &old,
                                                    new != 0 ? new : old | RW_WAITERS,
                                                    memory_order_acquire, memory_order_relaxed));
    if (new != 0) {
        lot_unlock(b);
        return;
    }
    lot_add(b, &w);
    lot_unlock(b);
    (void)!lot_wait(&w, false);
}

/* The lock has no holder and the bucket is locked: hand it over. */
static void rw_hand_over(struct rwlock *l, struct lot_bucket *b)
{
    struct lot_waiter_list granted = TAILQ_HEAD_INITIALIZER(granted);
    struct lot_waiter *w = lot_first(b, l);
    u64 word = 0;

    while (w != NULL) {
        struct lot_waiter *next = lot_next(w);

        if (w->is_writer && word != 0) {
            break;
        }
        lot_remove(b, w);
        TAILQ_INSERT_TAIL(&granted, w, link);
        if (w->is_writer) {
            word = w->self | RW_WRITER;
            w = next;
            break;
        }
        word += RW_READER;
        w = next;
    }
    if (w != NULL) {
        word |= RW_WAITERS;
    }
    atomic_store_explicit(&l->word, word, memory_order_release);
    lot_unlock(b);
    while ((w = TAILQ_FIRST(&granted)) != NULL) {
        TAILQ_REMOVE(&granted, w, link);
        lot_wake(w);
    }
}

static void rw_lock(struct rwlock *l, bool write, enum rank_mode mode)
{
    u64 self = lock_self();

    sched_preempt_point();
    rank_check(l, l->rank, mode);
    if (!rw_try(l, write, self)) {
        rw_lock_slow(l, write, self);
    }
    rank_add(l, l->rank);
}

void read_lock(struct rwlock *l)
{
    rw_lock(l, false, RANK_STRICT);
}

void write_lock(struct rwlock *l)
{
    rw_lock(l, true, RANK_STRICT);
}

void write_lock_nested(struct rwlock *l)
{
    rw_lock(l, true, RANK_NESTED);
}

static bool rw_trylock(struct rwlock *l, bool write)
{
    sched_preempt_point();
    if (!rw_try(l, write, lock_self())) {
        return false;
    }
    rank_add(l, l->rank);
    return true;
}

bool read_trylock(struct rwlock *l)
{
    return rw_trylock(l, false);
}

bool write_trylock(struct rwlock *l)
{
    return rw_trylock(l, true);
}

/* The last reader out meets waiters: decide with the bucket locked. */
static noinline_fn void read_unlock_slow(struct rwlock *l)
{
    struct lot_bucket *b = lot_lock(l);

    /* With waiters no reader comes in, and this one is the last: the word is stable. */
    CHECK(atomic_load_explicit(&l->word, memory_order_acquire) == (RW_READER | RW_WAITERS),
          "rwlock %p changed under its last reader", (void *)l);
    rw_hand_over(l, b);
}

void read_unlock(struct rwlock *l)
{
    u64 old = atomic_load_explicit(&l->word, memory_order_relaxed);

    rank_remove(l);
    do {
        CHECK((old & RW_WRITER) == 0 && old >= RW_READER, "rwlock %p (%s) is not read-held",
              (void *)l, lock_rank_name(l->rank));
        if (old == (RW_READER | RW_WAITERS)) {
            read_unlock_slow(l);
            break;
        }
    } while (!atomic_compare_exchange_weak_explicit(&l->word, &old, old - RW_READER,
                                                    memory_order_release, memory_order_relaxed));
    sched_preempt_point();
}

void write_unlock(struct rwlock *l)
{
    u64 self = lock_self();
    u64 expected = self | RW_WRITER;

    rank_remove(l);
    if (!atomic_compare_exchange_strong_explicit(&l->word, &expected, 0, memory_order_release,
                                                 memory_order_relaxed)) {
        CHECK((expected & ~RW_FLAGS) == self, "rwlock %p (%s) unlocked by a stranger", (void *)l,
              lock_rank_name(l->rank));
        rw_hand_over(l, lot_lock(l));
    }
    sched_preempt_point();
}

bool rwlock_is_held_write(const struct rwlock *l)
{
    u64 word = atomic_load_explicit(&l->word, memory_order_relaxed);

    return (word & RW_WRITER) != 0 && (word & ~RW_FLAGS) == lock_self();
}
