/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Futexes: sleep if a word has a value, wake who sleeps on it (futex(2)). Waiters hang in a hash
 * table of buckets by key (mm.h: private address or shared object and offset).
 *
 * No wake-up is lost: the waiter reads the word with its bucket locked, and the waker locks the
 * bucket after the guest has changed the word:
 *
 *     waiter                                  waker
 *     lock bucket                             guest: *word = new
 *     value = *word   (a)                     lock bucket            (b)
 *     value != expected -> EAGAIN             wake who is queued
 *     queue; unlock; park                     unlock
 *
 * If (b) comes before the waiter's lock, (a) sees the new value; if after the unlock, the waiter is
 * queued. The read at (a) may fault pages in and so needs the address space's locks, which rank
 * above: it is tried without faulting by mm_load_u32 before the bucket is locked, and again under
 * it; LOCK_MM ranks before LOCK_FUTEX, so under the bucket lock the load goes through
 * mm_load_u32_nofault.
 */
#include "base/hash.h"
#include "base/heap.h"
#include "sentry/kernel/futex_priv.h"

#define NR_BUCKETS 256

struct futex_table {
    struct futex_bucket bucket[NR_BUCKETS];
};
DEFINE_CACHE(futex_table_cache, struct futex_table);

int futex_boot(void)
{
    kernel->futexes = cache_new(futex_table_cache);
    if (kernel->futexes == NULL) {
        return -ENOMEM;
    }
    for (unsigned i = 0; i < NR_BUCKETS; i++) {
        mutex_init(&kernel->futexes->bucket[i].lock, LOCK_FUTEX);
        TAILQ_INIT(&kernel->futexes->bucket[i].waiters);
    }
    return 0;
}

struct futex_bucket *futex_bucket_of(const struct futex_key *key)
{
    u64 h = hash_u64((u64)key->object ^ hash_u64(key->offset));

    return &kernel->futexes->bucket[h % NR_BUCKETS];
}

bool futex_key_same(const struct futex_key *a, const struct futex_key *b)
{
    return a->object == b->object && a->offset == b->offset;
}

bool futex_is_queued(const struct futex_waiter *w)
{
    return __atomic_load_n(&w->bucket, __ATOMIC_ACQUIRE) != NULL;
}

void futex_enqueue(struct futex_bucket *b, struct futex_waiter *w)
{
    TAILQ_INSERT_TAIL(&b->waiters, w, link);
    __atomic_store_n(&w->bucket, b, __ATOMIC_RELEASE);
}

void futex_wake_waiter(struct futex_waiter *w)
{
    struct fiber *fiber = w->task->fiber;

    TAILQ_REMOVE(&w->bucket->waiters, w, link);
    /* From here on w may be gone as soon as its owner looks; the task lives while its fiber has not
     * left. */
    task_get(w->task);
    struct task *task = w->task;
    __atomic_store_n(&w->bucket, NULL, __ATOMIC_RELEASE);
    fiber_wake(fiber);
    task_put(task);
}

/* Lock the bucket w hangs in (requeue may move it); NULL: it was woken. */
static struct futex_bucket *lock_bucket_of(struct futex_waiter *w)
{
    struct futex_bucket *b;

    while ((b = __atomic_load_n(&w->bucket, __ATOMIC_ACQUIRE)) != NULL) {
        mutex_lock(&b->lock);
        if (w->bucket == b) {
            return b;
        }
        mutex_unlock(&b->lock);
    }
    return NULL;
}

bool futex_unqueue(struct futex_waiter *w)
{
    struct futex_bucket *b = lock_bucket_of(w);

    if (b == NULL) {
        return false;
    }
    TAILQ_REMOVE(&b->waiters, w, link);
    w->bucket = NULL;
    mutex_unlock(&b->lock);
    return true;
}

int futex_sleep(struct futex_waiter *w, u64 deadline)
{
    int err = 0;

    while (futex_is_queued(w) && err == 0) {
        err = fiber_park(PARK_INTERRUPTIBLE, deadline);
    }
    if (!futex_unqueue(w)) {
        return 0; /* the wake-up came first: it counts */
    }
    return err;
}

/* Lock the bucket of addr with *word read under the lock. On success the bucket stays locked. */
int futex_lock_and_read(struct task *t, uaddr addr, bool shared, struct futex_key *key,
                        struct futex_bucket **b, u32 *value)
{
    for (;;) {
        int err = mm_futex_key(t->mm, addr, shared, key);

        if (err == 0) {
            err = mm_load_u32(t->mm, addr, value); /* fault it in */
        }
        if (err != 0) {
            return err;
        }
        *b = futex_bucket_of(key);
        mutex_lock(&(*b)->lock);
        if (mm_load_u32_nofault(t->mm, addr, value) == 0) {
            return 0;
        }
        mutex_unlock(&(*b)->lock);
    }
}

long futex_wait(struct task *t, uaddr addr, bool shared, u32 value, u32 bitset, u64 deadline)
{
    struct futex_waiter w = {.task = t, .bitset = bitset};
    struct futex_bucket *b;
    u32 now;
    int err;

    if (bitset == 0) {
        return -EINVAL;
    }
    err = futex_lock_and_read(t, addr, shared, &w.key, &b, &now);
    if (err != 0) {
        return err;
    }
    if (now != value) {
        mutex_unlock(&b->lock);
        return -EAGAIN;
    }
    futex_enqueue(b, &w);
    mutex_unlock(&b->lock);
    return futex_sleep(&w, deadline);
}

static u32 wake_key(struct futex_bucket *b, const struct futex_key *key, u32 count, u32 bitset,
                    int *err)
{
    struct futex_waiter *w, *next;
    u32 woken = 0;

    for (w = TAILQ_FIRST(&b->waiters); w != NULL && woken < count; w = next) {
        next = TAILQ_NEXT(w, link);
        if (!futex_key_same(&w->key, key)) {
            continue;
        }
        if (w->pi != NULL || w->requeue_pi) {
            *err = -EINVAL;
            break;
        }
        if ((w->bitset & bitset) != 0) {
            futex_wake_waiter(w);
            woken++;
        }
    }
    return woken;
}

long futex_wake(struct task *t, uaddr addr, bool shared, u32 count, u32 bitset)
{
    struct futex_key key;
    struct futex_bucket *b;
    u32 woken;
    int err;

    if (bitset == 0) {
        return -EINVAL;
    }
    err = mm_futex_key(t->mm, addr, shared, &key);
    if (err != 0) {
        return err;
    }
    b = futex_bucket_of(&key);
    mutex_lock(&b->lock);
    woken = wake_key(b, &key, count == 0 ? 1 : count, bitset, &err);
    mutex_unlock(&b->lock);
    return err != 0 ? err : (long)woken;
}

void futex_wake_addr(struct task *t, uaddr addr, u32 count)
{
    (void)!futex_wake(t, addr, true, count, FUTEX_BITSET_MATCH_ANY);
    (void)!futex_wake(t, addr, false, count, FUTEX_BITSET_MATCH_ANY);
}

/* ---- requeue ---- */

static u32 requeue_key(struct futex_bucket *from, const struct futex_key *key,
                       struct futex_bucket *to, const struct futex_key *key2, u32 count)
{
    struct futex_waiter *w, *next;
    u32 moved = 0;

    for (w = TAILQ_FIRST(&from->waiters); w != NULL && moved < count; w = next) {
        next = TAILQ_NEXT(w, link);
        if (!futex_key_same(&w->key, key)) {
            continue;
        }
        if (from != to) {
            TAILQ_REMOVE(&from->waiters, w, link);
            TAILQ_INSERT_TAIL(&to->waiters, w, link);
            __atomic_store_n(&w->bucket, to, __ATOMIC_RELEASE);
        }
        w->key = *key2;
        moved++;
    }
    return moved;
}

int futex_lock_pair(struct task *t, uaddr addr, uaddr addr2, bool shared, const u32 *expected,
                    struct futex_pair *p)
{
    u32 now = 0;

    for (;;) {
        int err = mm_futex_key(t->mm, addr, shared, &p->key);

        if (err == 0) {
            err = mm_futex_key(t->mm, addr2, shared, &p->key2);
        }
        if (err == 0 && expected != NULL) {
            err = mm_load_u32(t->mm, addr, &now); /* fault it in */
        }
        if (err != 0) {
            return err;
        }
        p->b = futex_bucket_of(&p->key);
        p->b2 = futex_bucket_of(&p->key2);
        mutex_lock_two(&p->b->lock, &p->b2->lock);
        if (expected == NULL || mm_load_u32_nofault(t->mm, addr, &now) == 0) {
            break;
        }
        futex_unlock_pair(p);
    }
    if (expected != NULL && now != *expected) {
        futex_unlock_pair(p);
        return -EAGAIN;
    }
    return 0;
}

void futex_unlock_pair(struct futex_pair *p)
{
    mutex_unlock_two(&p->b->lock, &p->b2->lock);
}

long futex_requeue(struct task *t, uaddr addr, uaddr addr2, bool shared, u32 wake, u32 requeue,
                   const u32 *expected)
{
    struct futex_pair p;
    long moved = 0;
    u32 woken;
    int err;

    if ((s32)wake < 0 || (s32)requeue < 0) {
        return -EINVAL;
    }
    err = futex_lock_pair(t, addr, addr2, shared, expected, &p);
    if (err != 0) {
        return err;
    }
    woken = wake_key(p.b, &p.key, wake, FUTEX_BITSET_MATCH_ANY, &err);
    if (err == 0 && !futex_key_same(&p.key, &p.key2)) {
        moved = requeue_key(p.b, &p.key, p.b2, &p.key2, requeue);
    }
    futex_unlock_pair(&p);
    return err != 0 ? err : (long)woken + moved;
}

/* ---- FUTEX_WAKE_OP ---- */

static int op_compute(u32 op, u32 old, u32 *new, bool *match)
{
    u32 what = (op >> 28) & 7, cmp = (op >> 24) & 15;
    s32 oparg = (s32)(op << 8) >> 20, cmparg = (s32)(op << 20) >> 20, value = (s32)old;

    if ((op & (FUTEX_OP_OPARG_SHIFT << 28)) != 0) {
        oparg = (s32)(1U << (oparg & 31));
    }
    switch (what) {
    case FUTEX_OP_SET:
        *new = (u32)oparg;
        break;
    case FUTEX_OP_ADD:
        *new = old + (u32)oparg;
        break;
    case FUTEX_OP_OR:
        *new = old | (u32)oparg;
        break;
    case FUTEX_OP_ANDN:
        *new = old & ~(u32)oparg;
        break;
    case FUTEX_OP_XOR:
        *new = old ^ (u32)oparg;
        break;
    default:
        return -ENOSYS;
    }
    switch (cmp) {
    case FUTEX_OP_CMP_EQ:
        *match = value == cmparg;
        break;
    case FUTEX_OP_CMP_NE:
        *match = value != cmparg;
        break;
    case FUTEX_OP_CMP_LT:
        *match = value < cmparg;
        break;
    case FUTEX_OP_CMP_GE:
        *match = value >= cmparg;
        break;
    case FUTEX_OP_CMP_LE:
        *match = value <= cmparg;
        break;
    case FUTEX_OP_CMP_GT:
        *match = value > cmparg;
        break;
    default:
        return -ENOSYS;
    }
    return 0;
}

static int op_apply(struct task *t, uaddr addr, u32 op, bool *match)
{
    u32 old, new;
    int err = mm_load_u32(t->mm, addr, &old);

    while (err == 0) {
        u32 seen = old;

        err = op_compute(op, old, &new, match);
        if (err == 0) {
            err = mm_cmpxchg_u32(t->mm, addr, &seen, new);
        }
        if (err == 0 && seen == old) {
            return 0;
        }
        old = seen;
    }
    return err;
}

long futex_wake_op(struct task *t, uaddr addr, uaddr addr2, bool shared, u32 wake, u32 wake2,
                   u32 op)
{
    struct futex_key key, key2;
    struct futex_bucket *b, *b2;
    bool match = false;
    u32 woken;
    int err = mm_futex_key(t->mm, addr, shared, &key);

    if (err == 0) {
        err = mm_futex_key(t->mm, addr2, shared, &key2);
    }
    /* The change comes before the locks are taken: sleepers on addr2 re-read under their bucket's
     * lock. */
    if (err == 0) {
        err = op_apply(t, addr2, op, &match);
    }
    if (err != 0) {
        return err;
    }
    b = futex_bucket_of(&key);
    b2 = futex_bucket_of(&key2);
    mutex_lock_two(&b->lock, &b2->lock);
    woken = wake_key(b, &key, wake, FUTEX_BITSET_MATCH_ANY, &err);
    if (match && err == 0) {
        woken += wake_key(b2, &key2, wake2, FUTEX_BITSET_MATCH_ANY, &err);
    }
    mutex_unlock_two(&b->lock, &b2->lock);
    return err != 0 ? err : (long)woken;
}

/* ---- futex_waitv ---- */

long futex_waitv(struct task *t, const struct futex_wait_entry *entries, u32 count, u64 deadline)
{
    struct futex_waiter *w = heap_alloc(count * sizeof(*w));
    u32 queued = 0;
    long ret = 0;
    int err = 0;

    if (w == NULL) {
        return -ENOMEM;
    }
    for (; queued < count; queued++) {
        struct futex_bucket *b;
        u32 now;

        w[queued].task = t;
        w[queued].bitset = FUTEX_BITSET_MATCH_ANY;
        err = futex_lock_and_read(t, entries[queued].addr, entries[queued].shared, &w[queued].key,
                                  &b, &now);
        if (err != 0) {
            break;
        }
        if (now != entries[queued].value) {
            mutex_unlock(&b->lock);
            err = -EAGAIN;
            break;
        }
        futex_enqueue(b, &w[queued]);
        mutex_unlock(&b->lock);
    }
    while (err == 0) {
        bool woken = false;

        for (u32 i = 0; i < count; i++) {
            woken = woken || !futex_is_queued(&w[i]);
        }
        if (woken) {
            break;
        }
        err = fiber_park(PARK_INTERRUPTIBLE, deadline);
    }
    ret = err;
    for (u32 i = queued; i-- > 0;) {
        if (!futex_unqueue(&w[i])) {
            ret = (long)i;
        }
    }
    heap_free(w);
    return ret;
}
