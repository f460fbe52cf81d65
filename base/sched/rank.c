/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rank checker of debug builds: what this fiber holds, and whether the next lock may be taken
 * (enum lock_rank). A try cannot deadlock and is only noted.
 */
#include "base/panic.h"
#include "base/sched/sched_priv.h"

static struct held_locks *my_locks(void)
{
    struct thread *t = thread_current();

    return t->current != NULL ? &t->current->held : &t->held;
}

void rank_check(const void *lock, u16 rank, enum rank_mode mode)
{
    const struct held_locks *h;

    if (!sched_debug || rank == LOCK_NONE) {
        return;
    }
    h = my_locks();
    for (u32 i = 0; i < h->nr; i++) {
        CHECK(h->held[i].rank < rank || (mode == RANK_NESTED && h->held[i].rank == rank) ||
                  h->held[i].rank == LOCK_NONE,
              "lock %p of rank %u wanted while %p of rank %u is held", lock, rank, h->held[i].lock,
              h->held[i].rank);
    }
}

void rank_add(const void *lock, u16 rank)
{
    struct held_locks *h;

    if (!sched_debug) {
        return;
    }
    h = my_locks();
    CHECK(h->nr < HELD_MAX, "%u locks held", h->nr);
    h->held[h->nr++] = (struct held_lock){lock, rank};
}

void rank_remove(const void *lock)
{
    struct held_locks *h;

    if (!sched_debug) {
        return;
    }
    h = my_locks();
    for (u32 i = h->nr; i-- > 0;) {
        if (h->held[i].lock == lock) {
            h->held[i] = h->held[--h->nr];
            return;
        }
    }
    BUG("unlock of %p, which is not held", lock);
}

bool rank_holds(const void *lock)
{
    const struct held_locks *h = my_locks();

    for (u32 i = 0; i < h->nr; i++) {
        if (h->held[i].lock == lock) {
            return true;
        }
    }
    return false;
}

void rank_check_none(const struct held_locks *h, const char *who)
{
    CHECK(!sched_debug || h->nr == 0, "%s ends with lock %p of rank %u held", who, h->held[0].lock,
          h->held[0].rank);
}
