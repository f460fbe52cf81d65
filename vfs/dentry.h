/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dentry cache: names. A dentry is a (parent, name) with an inode, or negative (inode NULL).
 * Unused ones stay on an LRU list up to a limit, so that a warm path walk makes no file-system
 * call.
 *
 * A hashed dentry (one in its parent's children) is counted once by the cache; unhashing drops
 * that. A count of 1 can therefore only grow under the parent's lock.
 */
#ifndef PAVISE_VFS_DENTRY_H
#define PAVISE_VFS_DENTRY_H

#include "vfs/vfs.h"

#include "base/tree.h"

#define DENTRY_INLINE 40 /* names up to one byte less need no allocation */

struct dentry {
    struct ref ref;
    struct spinlock lock;  /* LOCK_DCACHE level: children, name, inode pointer */
    struct dentry *parent; /* (rename lock + lock) counted; itself for a root */
    char *name;            /* (lock) inline_name or heap, NUL-terminated */
    u32 name_len;
    u32 hash;
    struct inode
        *inode;         /* (lock) NULL: negative; counted; dentry_inode reads it without the lock */
    bool in_tree;       /* (parent->lock) */
    bool unhashed;      /* (lock) deleted or disconnected: "(deleted)" */
    _Atomic u32 mounts; /* (a) mounts on top of it, over all namespaces */
    _Atomic bool referenced;                   /* (a) looked up since the LRU last went by */
    RB_HEAD(dentry_children, dentry) children; /* (lock) uncounted: a child keeps its parent */
    RB_ENTRY(dentry) sibling;
    TAILQ_ENTRY(dentry) lru;
    bool on_lru;
    struct super *sb; /* (c) borrowed: the mount that led here keeps it */
    char inline_name[DENTRY_INLINE];
};

/* Once positive, a dentry stays so for all who hold it. */
static inline struct inode *dentry_inode(const struct dentry *d)
{
    return __atomic_load_n(&d->inode, __ATOMIC_ACQUIRE);
}

struct dentry *dentry_get(struct dentry *d);
void dentry_put(struct dentry *d);
/* The root dentry of a super: made on first use, then always the same. Counted; NULL: no memory. */
must_check struct dentry *super_root_dentry(struct super *sb);
/* A nameless dentry for pipes, sockets, anon inodes: `name` is what /proc/PID/fd shows
 * ("pipe:[123]"). */
must_check struct dentry *dentry_new_anon(struct inode *inode, const char *name);

/* The text of a path as seen from `root` into buf; returns the start inside buf, or
 * ERR_PTR(-ENAMETOOLONG). Unreachable from root: "(unreachable)" prefix; deleted: " (deleted)"
 * suffix. */
char *path_text(const struct path *path, const struct path *root, char *buf, size_t size);

/* Drop unused dentries, for memory pressure and umount. */
void dcache_shrink(struct super *sb);
/* Forget a name from below (the file system noticed a change). */
void dentry_invalidate(struct dentry *parent, struct name name);

must_check struct dentry *dentry_parent(struct dentry *d); /* counted */
/* The child, from the cache or the file system; positive or negative, counted. ERR_PTR.
 * locked: the caller holds dir's lock. */
must_check struct dentry *lookup_child(struct dentry *dir, struct name name, bool locked);

#endif
