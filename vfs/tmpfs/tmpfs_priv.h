/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of tmpfs share. */
#ifndef PAVISE_VFS_TMPFS_PRIV_H
#define PAVISE_VFS_TMPFS_PRIV_H

#include "base/heap.h"
#include "vfs/mappable.h"
#include "vfs/tmpfs/tmpfs.h"
#include "vfs/xattr_list.h"

#include <bsd/sys/tree.h>

struct tmpfs_super {
    struct super sb;
    struct spinlock lock;         /* leaf */
    struct tmpfs_options options; /* (lock) */
    u64 used_pages, used_inodes;  /* (lock) */
    _Atomic u64 next_ino;         /* (a) */
};

/* A name in a directory. */
struct tmpfs_entry {
    RB_ENTRY(tmpfs_entry) by_name, by_cookie;
    u64 cookie;          /* where readdir stands when it is about to give this entry */
    struct inode *inode; /* counted */
    u32 hash, name_len;
    char name[];
};
RB_HEAD(tmpfs_names, tmpfs_entry);
RB_HEAD(tmpfs_cookies, tmpfs_entry);

/* Pages [pgoff, pgoff + count) of a file lie at `off` of the memory file. */
struct tmpfs_run {
    RB_ENTRY(tmpfs_run) link;
    u64 pgoff, count, off;
};
RB_HEAD(tmpfs_runs, tmpfs_run);

/*
 * Key: (i) inode.lock  (p) pages_lock. Pages come under pages_lock alone (a fault), but go only
 * with inode.lock held for writing too: whoever holds inode.lock may use a page without pages_lock.
 */
struct tmpfs_inode {
    struct inode inode;
    struct xattr_list xattrs; /* (i) */
    union {
        struct {                          /* a directory */
            struct tmpfs_names names;     /* (i) */
            struct tmpfs_cookies cookies; /* (i) */
            u64 next_cookie, nr_entries;  /* (i) */
            _Atomic u64 parent_ino;       /* (a) of ".." */
            struct tmpfs_inode *next_dead;
        } dir;
        struct {                                    /* a regular file */
            struct mutex pages_lock;                /* LOCK_TMPFS_PAGES */
            struct tmpfs_runs runs;                 /* (p) */
            u64 nr_pages;                           /* (p) */
            u64 spare_off, spare_pages, spare_next; /* (p) allocated ahead of appends, untouched */
            u32 seals, shmem_flags;                 /* (p) */
            u32 nr_writable_maps;                   /* (p) shared writable mappings */
            struct mappable mappable;
        } file;
        char *target; /* (c) a symbolic link: heap */
    };
};

static inline struct tmpfs_inode *tmpfs_i(struct inode *inode)
{
    return container_of(inode, struct tmpfs_inode, inode);
}
static inline struct tmpfs_super *tmpfs_sb(struct super *sb)
{
    return container_of(sb, struct tmpfs_super, sb);
}

/* ---- super.c ---- */
must_check int tmpfs_charge_pages(struct tmpfs_super *ts, u64 count); /* -ENOSPC */
void tmpfs_uncharge_pages(struct tmpfs_super *ts, u64 count);
must_check int tmpfs_charge_inode(struct tmpfs_super *ts); /* -ENOSPC */
void tmpfs_uncharge_inode(struct tmpfs_super *ts);
extern struct super *shmem_super;

/* ---- inode.c ---- */
struct inode *tmpfs_inode_new(struct tmpfs_super *ts, u32 mode, u64 rdev, u32 uid, u32 gid);
void tmpfs_inode_release(struct inode *inode);
void tmpfs_inode_bury(struct inode *inode, struct tmpfs_inode **dead);
int tmpfs_getattr(struct inode *inode, struct attr *out);
int tmpfs_setattr(struct inode *inode, const struct setattr *set);

/* ---- dir.c ---- */
void tmpfs_dir_init(struct tmpfs_inode *dir);
void tmpfs_dir_fini(struct tmpfs_inode *dir, struct tmpfs_inode **dead);
extern const struct inode_ops tmpfs_inode_ops;
extern const struct file_ops tmpfs_dir_ops;

/* ---- pages.c: inode.lock as said at struct tmpfs_inode ---- */
void tmpfs_pages_init(struct tmpfs_inode *ti);
void tmpfs_pages_fini(struct tmpfs_inode *ti);
/* The run at page pgoff: its place and how many pages go on contiguously (at most `want`). For a
 * hole with alloc false: *off is UINT64_MAX and *count its length. 0, -ENOSPC, -ENOMEM. Takes
 * pages_lock; _locked: held. */
int tmpfs_pages_get(struct tmpfs_inode *ti, u64 pgoff, u64 want, bool alloc, u64 *off, u64 *count);
int tmpfs_pages_get_locked(struct tmpfs_inode *ti, u64 pgoff, u64 want, bool alloc, u64 *off,
                           u64 *count);
/* Free whole pages [first, end). pages_lock held. */
void tmpfs_pages_drop(struct tmpfs_inode *ti, u64 first, u64 end);
/* Zero bytes [from, to) of one page, if it is there. */
void tmpfs_pages_zero(struct tmpfs_inode *ti, u64 from, u64 to);

/* ---- file.c ---- */
extern const struct file_ops tmpfs_file_ops;
extern const struct mappable_ops tmpfs_mappable_ops;
int tmpfs_resize(struct tmpfs_inode *ti, u64 size); /* inode.lock held for writing */

/* ---- xattr.c ---- */
ssize_t tmpfs_getxattr(struct inode *inode, const char *name, void *buf, size_t size);
int tmpfs_setxattr(struct inode *inode, const char *name, const void *value, size_t size,
                   int flags);
ssize_t tmpfs_listxattr(struct inode *inode, char *buf, size_t size);
int tmpfs_removexattr(struct inode *inode, const char *name);

#endif
