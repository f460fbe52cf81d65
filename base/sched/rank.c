/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rank checker (debug builds): every fiber, and every thread outside fibers, keeps the list of
 * mutexes and rwlocks it holds. Taking a lock whose rank is not above all of them is a lock
 * inversion somewhere, and ends the sentry naming both, whether or not it would deadlock this time.
 */
#include "base/panic.h"
#include "base/sched/sched_priv.h"

#define RANK_NAME(r) [r] = #r
static const char *const rank_names[LOCK_NR_RANKS] = {
    RANK_NAME(LOCK_NONE),
    RANK_NAME(LOCK_EXEC),
    RANK_NAME(LOCK_MOUNTS),
    RANK_NAME(LOCK_RENAME),
    RANK_NAME(LOCK_OVERLAY_COPYUP),
    RANK_NAME(LOCK_INODE_DIR),
    RANK_NAME(LOCK_FILE_POS),
    RANK_NAME(LOCK_INODE),
    RANK_NAME(LOCK_INODE_REAL),
    RANK_NAME(LOCK_HOSTFS_DIR),
    RANK_NAME(LOCK_SOCKET),
    RANK_NAME(LOCK_SOCKET_GC),
    RANK_NAME(LOCK_SOCKET_BUF),
    RANK_NAME(LOCK_TTY),
    RANK_NAME(LOCK_PIPE),
    RANK_NAME(LOCK_EPOLL_GRAPH),
    RANK_NAME(LOCK_EPOLL),
    RANK_NAME(LOCK_MM),
    RANK_NAME(LOCK_MM_PMA),
    RANK_NAME(LOCK_MAPPING),
    RANK_NAME(LOCK_TMPFS_PAGES),
    RANK_NAME(LOCK_FUTEX),
    RANK_NAME(LOCK_FDTABLE),
    RANK_NAME(LOCK_FS_CONTEXT),
    RANK_NAME(LOCK_IPC),
    RANK_NAME(LOCK_TASKLIST),
    RANK_NAME(LOCK_SIGHAND),
    RANK_NAME(LOCK_TIMERS),
    RANK_NAME(LOCK_CRED),
    RANK_NAME(LOCK_MEMFILE),
    RANK_NAME(LOCK_PLATFORM),
    RANK_NAME(LOCK_DCACHE),
    RANK_NAME(LOCK_LEAF),
};

const char *lock_rank_name(enum lock_rank rank)
{
    if ((unsigned)rank >= LOCK_NR_RANKS || rank_names[rank] == NULL) {
        return "LOCK_?";
    }
    return rank_names[rank];
}

static struct held_locks *held_current(void)
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
    h = held_current();
    for (u32 i = 0; i < h->nr; i++) {
        const struct held_lock *held = &h->held[i];
        bool is_fine = held->rank < rank || (held->rank == rank && mode == RANK_NESTED);

        CHECK(held->lock != lock, "%s %p taken twice", lock_rank_name(rank), lock);
        CHECK(is_fine, "lock order: %s %p wanted while %s %p is held", lock_rank_name(rank), lock,
              lock_rank_name(held->rank), held->lock);
    }
}

void rank_add(const void *lock, u16 rank)
{
    struct held_locks *h;

    if (!sched_debug) {
        return;
    }
    h = held_current();
    CHECK(h->nr < HELD_MAX, "more than %d locks held", (int)HELD_MAX);
    h->held[h->nr++] = (struct held_lock){.lock = lock, .rank = rank};
}

void rank_remove(const void *lock)
{
    struct held_locks *h;

    if (!sched_debug) {
        return;
    }
    h = held_current();
    for (u32 i = h->nr; i-- > 0;) {
        if (h->held[i].lock == lock) {
            h->held[i] = h->held[--h->nr];
            return;
        }
    }
    BUG("lock %p unlocked but not held", lock);
}

void rank_check_none(const struct held_locks *h, const char *who)
{
    if (sched_debug && h->nr != 0) {
        BUG("%s ends with %s %p held", who, lock_rank_name(h->held[0].rank), h->held[0].lock);
    }
}
