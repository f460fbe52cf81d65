/* SPDX-License-Identifier: Apache-2.0 */
/*
 * icache: a hash table of inodes by a two-word key, for file systems whose inodes stand for
 * something outside (a host file by device and number, an inode of a lower layer). It counts no
 * references: the file system's release op removes the inode, and a look-up that meets a dying one
 * sees nothing.
 *
 * Locking: one spin lock (leaf). Nothing here parks.
 */
#ifndef PAVISE_VFS_ICACHE_H
#define PAVISE_VFS_ICACHE_H

#include "base/base.h"
#include "base/sched/lock.h"

#include <sys/queue.h>

struct inode;

struct icache_link {
    LIST_ENTRY(icache_link) link; /* (icache) */
    u64 key[2];                   /* (c) */
    struct inode *inode;          /* (c) its owner */
    bool linked;                  /* (icache) */
};
LIST_HEAD(icache_bucket, icache_link);

struct icache {
    struct spinlock lock;
    struct icache_bucket *buckets; /* (lock) heap */
    u32 nr_buckets;                /* (lock) power of two */
    u32 count;                     /* (lock) */
};

must_check int icache_init(struct icache *c); /* -ENOMEM */
void icache_fini(struct icache *c);           /* must be empty */

/* The inode with that key, counted, or NULL. */
must_check struct inode *icache_find(struct icache *c, u64 key0, u64 key1);
/*
 * Enter `inode` under the key, unless a living one is there: returns NULL when it was entered, else
 * the one that is there, counted.
 */
must_check struct inode *icache_insert(struct icache *c, struct icache_link *l, struct inode *inode,
                                       u64 key0, u64 key1);
/* No-op when it is not in the table (any more). */
void icache_remove(struct icache *c, struct icache_link *l);
/* Take one (any) inode with a living reference out of the table, or NULL when there is none. */
must_check struct inode *icache_pop(struct icache *c);

#endif
