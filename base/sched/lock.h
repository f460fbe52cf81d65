/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks. A spinlock is held for a few instructions and never across a park; a mutex or rwlock is
 * one word, spins shortly and then parks the fiber (outside fibers, at boot and in tests, it spins
 * and sleeps). Every lock has a rank; debug builds check each acquisition against the ranks already
 * held by this fiber and say both names.
 */
#ifndef PAVISE_BASE_SCHED_LOCK_H
#define PAVISE_BASE_SCHED_LOCK_H

#include "base/base.h"

#include <stdatomic.h>

/*
 * The one order: a lock may only be taken while every held lock has a lower value. Two of a rank
 * are taken by address, with mutex_lock_two. One sentence each.
 */
enum lock_rank {
    LOCK_NONE = 0,       /* unranked: unit tests only */
    LOCK_EXEC,           /* thread group: one exec, exit or ptrace attach at a time */
    LOCK_MOUNTS,         /* a mount namespace's tree */
    LOCK_RENAME,         /* a super block's renames between directories */
    LOCK_OVERLAY_COPYUP, /* one copy-up of an overlay inode */
    LOCK_INODE_DIR,      /* a directory's names; parent before child */
    LOCK_FILE_POS,       /* an open file's position */
    LOCK_INODE,          /* a non-directory's content and attributes */
    LOCK_INODE_REAL,     /* the same of an inode below an overlay */
    LOCK_HOSTFS_DIR,     /* the position of a host directory that is being read */
    LOCK_SOCKET,         /* a socket; two by address */
    LOCK_SOCKET_GC,      /* descriptors in flight between unix sockets */
    LOCK_SOCKET_BUF,     /* a socket's receive queue */
    LOCK_TTY,            /* a terminal and its line discipline */
    LOCK_PIPE,           /* a pipe's buffers; two by address */
    LOCK_EPOLL_GRAPH,    /* adding nested epolls */
    LOCK_EPOLL,          /* an epoll's interest list */
    LOCK_MM,             /* an address space's VMAs */
    LOCK_MAPPING,        /* a file's list of mappings; held while it invalidates frames */
    LOCK_MM_PMA,         /* an address space's frames */
    LOCK_TMPFS_PAGES,    /* a tmpfs inode's frames */
    LOCK_FUTEX,          /* a futex hash bucket; two by address */
    LOCK_FDTABLE,        /* a descriptor table's writers */
    LOCK_FS_CONTEXT,     /* root, cwd, umask of a task */
    LOCK_IPC,            /* a System V or mqueue object */
    LOCK_TASKLIST,       /* parents, children, groups, sessions, pids */
    LOCK_SIGHAND,        /* a thread group's signals and handlers */
    LOCK_TIMERS,         /* a thread group's timers */
    LOCK_CRED,           /* credentials' shared parts (user counts) */
    LOCK_MEMFILE,        /* the memory file's ranges */
    LOCK_PLATFORM,       /* platform internals */
    LOCK_DCACHE,         /* the dentry cache's lists */
    LOCK_LEAF,           /* anything that takes nothing further, guest memory included */
    LOCK_NR_RANKS
};

/* "LOCK_MM", for messages. */
const char *lock_rank_name(enum lock_rank rank);

struct spinlock {
    _Atomic u32 word;
};
#define SPINLOCK_INIT                                                                              \
    {                                                                                              \
        0                                                                                          \
    }

void spin_lock(struct spinlock *l);
bool spin_trylock(struct spinlock *l);
void spin_unlock(struct spinlock *l);

struct mutex {
    _Atomic u64 word; /* owner fiber | waiters bit */
    u16 rank;
};
#define MUTEX_INIT(r)                                                                              \
    {                                                                                              \
        .word = 0, .rank = (r)                                                                     \
    }

void mutex_init(struct mutex *m, enum lock_rank rank);
void mutex_lock(struct mutex *m);
must_check bool mutex_trylock(struct mutex *m);
/* While another lock of the same rank is held, where the order of the two is documented. */
void mutex_lock_nested(struct mutex *m);
/* -ERESTARTSYS when interrupted by a fatal signal. */
must_check int mutex_lock_killable(struct mutex *m);
void mutex_unlock(struct mutex *m);
bool mutex_is_held(const struct mutex *m); /* by the running fiber */
/* Two of one rank, by address; the same lock twice is taken once. */
void mutex_lock_two(struct mutex *a, struct mutex *b);
void mutex_unlock_two(struct mutex *a, struct mutex *b);

/* Many readers or one writer; a waiting writer holds new readers off. */
struct rwlock {
    _Atomic u64 word; /* owner or number of readers, and flags: rwlock.c */
    u16 rank;
};
#define RWLOCK_INIT(r)                                                                             \
    {                                                                                              \
        .word = 0, .rank = (r)                                                                     \
    }

void rwlock_init(struct rwlock *l, enum lock_rank rank);
void read_lock(struct rwlock *l);
void read_unlock(struct rwlock *l);
must_check bool read_trylock(struct rwlock *l);
void write_lock(struct rwlock *l);
must_check bool write_trylock(struct rwlock *l);
/* As write_lock, below a lock of the same rank that is held: a child directory under its parent. */
void write_lock_nested(struct rwlock *l);
void write_unlock(struct rwlock *l);
bool rwlock_is_held_write(const struct rwlock *l);

#ifdef PAVISE_DEBUG
#define ASSERT_HELD(m) CHECK(mutex_is_held(m), "lock not held")
#else
#define ASSERT_HELD(m) ((void)(m))
#endif

/* Scope guards: MUTEX_GUARD(&x->lock); is released at the end of the block. */
static inline void mutex_guard_exit(struct mutex **m)
{
    mutex_unlock(*m);
}
static inline void read_guard_exit(struct rwlock **l)
{
    read_unlock(*l);
}
static inline void write_guard_exit(struct rwlock **l)
{
    write_unlock(*l);
}
static inline void spin_guard_exit(struct spinlock **l)
{
    spin_unlock(*l);
}
#define GUARD_NAME2(a, b) a##b
#define GUARD_NAME(a, b)  GUARD_NAME2(a, b)
#define MUTEX_GUARD(m)                                                                             \
    struct mutex *GUARD_NAME(guard_, __LINE__)                                                     \
        __attribute__((cleanup(mutex_guard_exit), unused)) = ({                                    \
            struct mutex *guard_m = (m);                                                           \
            mutex_lock(guard_m);                                                                   \
            guard_m;                                                                               \
        })
#define READ_GUARD(l)                                                                              \
    struct rwlock *GUARD_NAME(guard_, __LINE__)                                                    \
        __attribute__((cleanup(read_guard_exit), unused)) = ({                                     \
            struct rwlock *guard_l = (l);                                                          \
            read_lock(guard_l);                                                                    \
            guard_l;                                                                               \
        })
#define WRITE_GUARD(l)                                                                             \
    struct rwlock *GUARD_NAME(guard_, __LINE__)                                                    \
        __attribute__((cleanup(write_guard_exit), unused)) = ({                                    \
            struct rwlock *guard_l = (l);                                                          \
            write_lock(guard_l);                                                                   \
            guard_l;                                                                               \
        })
#define SPIN_GUARD(l)                                                                              \
    struct spinlock *GUARD_NAME(guard_, __LINE__)                                                  \
        __attribute__((cleanup(spin_guard_exit), unused)) = ({                                     \
            struct spinlock *guard_l = (l);                                                        \
            spin_lock(guard_l);                                                                    \
            guard_l;                                                                               \
        })

#endif
