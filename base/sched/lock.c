/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spin locks and mutexes.
 *
 * Spin lock: 0 free, 1 held, 2 held and somebody may sleep. A holder can lose its CPU to the host,
 * so a spinner goes to sleep on the word after a while.
 *
 * Mutex word: owner (a fiber, or a thread outside fibers) | MUTEX_WAITERS. Rules:
 *   - WAITERS is set and cleared with the lot's bucket locked, so that a waiter either finds the
 *     lock free or is seen by the unlocker:
 *
 *         waiter (bucket locked)                   unlocker
 *         CAS owner -> owner|WAITERS, queue        CAS me -> 0 fails: lock bucket, take a waiter
 *         ... or the CAS fails: look again         CAS me -> 0 succeeds
 *
 *   - an unlock with waiters frees the lock and wakes the first; a running thread may be faster
 *     (cheap: no switch while the lock is free). A waiter that lost so once queues in front and is
 *     handed the lock: nobody starves.
 *   - before parking, a fiber spins shortly if the owner runs on another worker.
 *
 * Locks outside fibers (boot, unit tests, host threads) work alike, sleeping on a futex.
 */
#include "base/sched/lock.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/host.h"
#include "base/panic.h"
#include "base/sched/lot_priv.h"
#include "base/sched/sched_priv.h"

#define SPIN_TRIES    200
#define MUTEX_WAITERS 1UL
#define MUTEX_SPINS   60

static noinline_fn void spin_lock_slow(struct spinlock *l)
{
    u32 expected;

    for (int i = 0; i < SPIN_TRIES; i++) {
        cpu_pause();
        expected = 0;
        if (atomic_load_explicit(&l->word, memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong_explicit(&l->word, &expected, 1, memory_order_acquire,
                                                    memory_order_relaxed)) {
            return;
        }
    }
    while (atomic_exchange_explicit(&l->word, 2, memory_order_acquire) != 0) {
        (void)!host_futex_wait(&l->word, 2, CLOCK_NEVER);
    }
}

void raw_spin_lock(struct spinlock *l)
{
    u32 expected = 0;

    if (unlikely(!atomic_compare_exchange_strong_explicit(
            &l->word, &expected, 1, memory_order_acquire, memory_order_relaxed))) {
        spin_lock_slow(l);
    }
}

void raw_spin_unlock(struct spinlock *l)
{
    if (unlikely(atomic_exchange_explicit(&l->word, 0, memory_order_release) == 2)) {
        host_futex_wake(&l->word, 1);
    }
}

void spin_lock(struct spinlock *l)
{
    sched_preempt_point();
    raw_spin_lock(l);
    thread_current()->spin_depth++;
}

bool spin_trylock(struct spinlock *l)
{
    u32 expected = 0;

    if (!atomic_compare_exchange_strong_explicit(&l->word, &expected, 1, memory_order_acquire,
                                                 memory_order_relaxed)) {
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

void mutex_init(struct mutex *m, enum lock_rank rank)
{
    atomic_store_explicit(&m->word, 0, memory_order_relaxed);
    m->rank = (u16)rank;
}

/* One try; keeps the waiters bit. */
static bool mutex_try(struct mutex *m, u64 self)
{
    u64 old = atomic_load_explicit(&m->word, memory_order_relaxed);

    while ((old & ~MUTEX_WAITERS) == 0) {
        if (atomic_compare_exchange_weak_explicit(&m->word, &old, old | self, memory_order_acquire,
                                                  memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

/* Spin while the owner runs elsewhere: true when the lock was taken. */
static bool mutex_spin(struct mutex *m, u64 self)
{
    for (int i = 0; i < MUTEX_SPINS; i++) {
        u64 owner = atomic_load_explicit(&m->word, memory_order_relaxed) & ~MUTEX_WAITERS;

        if (owner == 0 && mutex_try(m, self)) {
            return true;
        }
        if (owner != 0 && !lock_owner_is_running(owner)) {
            return false;
        }
        cpu_pause();
    }
    return false;
}

/* Put w in the queue; false when the lock became free instead. */
static bool mutex_enqueue(struct mutex *m, struct lot_waiter *w)
{
    struct lot_bucket *b = lot_lock(m);
    u64 old = atomic_load_explicit(&m->word, memory_order_relaxed);

    do {
        if ((old & ~MUTEX_WAITERS) == 0) {
            lot_unlock(b);
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&m->word, &old, old | MUTEX_WAITERS,
                                                    memory_order_relaxed, memory_order_relaxed));
    lot_add(b, w);
    lot_unlock(b);
    return true;
}

/* Killed while queued: true when w was taken off, false when its wake is on the way. */
static bool mutex_dequeue(struct mutex *m, struct lot_waiter *w)
{
    struct lot_bucket *b = lot_lock(m);
    bool was_queued = w->is_queued;

    if (was_queued) {
        lot_remove(b, w);
    }
    lot_unlock(b);
    return was_queued;
}

static noinline_fn int mutex_lock_slow(struct mutex *m, u64 self, bool killable)
{
    struct lot_waiter w;

    lot_waiter_init(&w, m);
    while (!mutex_try(m, self) && !mutex_spin(m, self)) {
        if (!mutex_enqueue(m, &w)) {
            continue;
        }
        if (lot_wait(&w, killable) != 0) {
            if (mutex_dequeue(m, &w)) {
                return -ERESTARTSYS;
            }
            /* Chosen before the kill: take the wake, it must not be lost to the others. */
            (void)!lot_wait(&w, false);
        }
        if (w.is_granted) {
            return 0;
        }
        w.is_fair = true;
    }
    return 0;
}

static int mutex_lock_mode(struct mutex *m, bool killable, enum rank_mode mode)
{
    u64 self = lock_self();
    u64 expected = 0;
    int ret = 0;

    sched_preempt_point();
    rank_check(m, m->rank, mode);
    if (unlikely(!atomic_compare_exchange_strong_explicit(
            &m->word, &expected, self, memory_order_acquire, memory_order_relaxed))) {
        CHECK((expected & ~MUTEX_WAITERS) != self, "mutex %p (%s) taken twice", (void *)m,
              lock_rank_name(m->rank));
        CHECK(thread_current()->spin_depth == 0, "mutex %p (%s) wanted with a spin lock held",
              (void *)m, lock_rank_name(m->rank));
        ret = mutex_lock_slow(m, self, killable);
    }
    if (ret == 0) {
        rank_add(m, m->rank);
    }
    return ret;
}

void mutex_lock(struct mutex *m)
{
    (void)!mutex_lock_mode(m, false, RANK_STRICT);
}

void mutex_lock_nested(struct mutex *m)
{
    (void)!mutex_lock_mode(m, false, RANK_NESTED);
}

int mutex_lock_killable(struct mutex *m)
{
    return mutex_lock_mode(m, true, RANK_STRICT);
}

/* Cannot deadlock, so its rank is not checked. */
bool mutex_trylock(struct mutex *m)
{
    sched_preempt_point();
    if (!mutex_try(m, lock_self())) {
        return false;
    }
    rank_add(m, m->rank);
    return true;
}

static noinline_fn void mutex_unlock_slow(struct mutex *m, u64 self)
{
    struct lot_bucket *b = lot_lock(m);
    u64 old = atomic_load_explicit(&m->word, memory_order_relaxed);
    struct lot_waiter *w = lot_first(b, m);
    u64 waiters;
    u64 owner = 0;

    CHECK((old & ~MUTEX_WAITERS) == self, "mutex %p (%s) unlocked by a stranger", (void *)m,
          lock_rank_name(m->rank));
    if (w == NULL) {
        atomic_store_explicit(&m->word, 0, memory_order_release);
        lot_unlock(b);
        return;
    }
    waiters = lot_next(w) != NULL ? MUTEX_WAITERS : 0;
    lot_remove(b, w);
    if (w->is_fair) {
        w->is_granted = true;
        owner = w->self;
    }
    atomic_store_explicit(&m->word, owner | waiters, memory_order_release);
    lot_unlock(b);
    lot_wake(w);
}

void mutex_unlock(struct mutex *m)
{
    u64 self = lock_self();
    u64 expected = self;

    rank_remove(m);
    if (unlikely(!atomic_compare_exchange_strong_explicit(
            &m->word, &expected, 0, memory_order_release, memory_order_relaxed))) {
        mutex_unlock_slow(m, self);
    }
    sched_preempt_point();
}

bool mutex_is_held(const struct mutex *m)
{
    return (atomic_load_explicit(&m->word, memory_order_relaxed) & ~MUTEX_WAITERS) == lock_self();
}

void mutex_lock_two(struct mutex *a, struct mutex *b)
{
    if (a == b) {
        mutex_lock(a);
        return;
    }
    if ((uintptr_t)a > (uintptr_t)b) {
        struct mutex *swap = a;

        a = b;
        b = swap;
    }
    mutex_lock(a);
    mutex_lock_nested(b);
}

void mutex_unlock_two(struct mutex *a, struct mutex *b)
{
    mutex_unlock(a);
    if (a != b) {
        mutex_unlock(b);
    }
}
