/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of overlay share.
 *
 * An overlay inode is the truth about its object: mode, owner, times, nlink and rdev live in struct
 * inode, copied from the lower inode once and changed here alone. What is kept elsewhere:
 *   - content of a regular file: `upper` if there is one, else `lower`;
 *   - names of a directory: in the trees below once it is `merged`, else in the lower directories;
 *   - extended attributes: in `xattrs` once `own_xattrs`, else in the lower inode;
 *   - a symbolic link's target: `target`, else the lower inode.
 *
 * An inode that differs from what lies below must not be forgotten while some name leads to its
 * lower inode: it is `pinned`, counted once more until its last name goes or the overlay does. New
 * and renamed things are counted by the entries of their directories, which are merged.
 */
#ifndef PAVISE_VFS_OVERLAY_PRIV_H
#define PAVISE_VFS_OVERLAY_PRIV_H

#include "base/heap.h"
#include "base/tree.h"
#include "vfs/icache.h"
#include "vfs/mappable.h"
#include "vfs/overlay/overlay.h"
#include "vfs/xattr_list.h"

#define OVERLAY_MAX_OFF ((u64)INT64_MAX & PAGE_MASK)

struct overlay_super {
    struct super sb;
    struct overlay_options options; /* (c) */
    struct super *upper;            /* (c) counted */
    struct super **lowers;          /* (c) heap array of counted ones */
    u32 nr_lowers;                  /* (c) */
    struct cred *cred;              /* (c) who opens files of the layers */
    struct icache inodes;           /* by address of the topmost lower inode */
    _Atomic u64 next_ino;           /* (a) */
    _Atomic u64 nr_new;             /* (a) inodes without a lower */
    _Atomic u64 nr_inodes;          /* (a) all */
};

/* A name in a merged directory. */
struct overlay_entry {
    RB_ENTRY(overlay_entry) by_name, by_cookie;
    u64 cookie;
    u64 ino;             /* what readdir shows while inode is NULL */
    struct inode *inode; /* counted; NULL: the lower one of that name */
    u32 hash;
    u8 type;          /* DT_*, while inode is NULL */
    bool is_whiteout; /* only while layers are merged */
    u8 name_len;
    char name[];
};
RB_HEAD(overlay_names, overlay_entry);
RB_HEAD(overlay_cookies, overlay_entry);

/* Key: (i) inode.lock  (f) fill_lock, then inode.lock  (u) upper_lock */
struct overlay_inode {
    struct inode inode;
    struct icache_link link;
    struct inode *lower;      /* (c) counted; NULL: new. The topmost of a directory's */
    bool pinned;              /* (i) */
    bool own_xattrs;          /* (i) */
    struct xattr_list xattrs; /* (i) */
    union {
        struct {                            /* a directory */
            struct inode **more;            /* (c) heap: further lower directories, counted */
            u32 nr_more;                    /* (c) */
            _Atomic bool merged;            /* (a) set once, under fill_lock */
            struct mutex fill_lock;         /* rank LOCK_INODE */
            struct overlay_names names;     /* (f) until merged, then (i) */
            struct overlay_cookies cookies; /* likewise */
            u64 next_cookie, nr_entries;    /* likewise */
            _Atomic u64 parent_ino;         /* (a) of ".." */
            struct overlay_inode *next_dead;
        } dir;
        struct {                           /* a regular file */
            _Atomic(struct inode *) upper; /* (a) counted; set once, under (i) */
            /* (a) of upper and lower; live as long as these. Set before they are used. */
            _Atomic(struct mappable *) upper_map, lower_map;
            struct spinlock upper_lock; /* leaf: inode.size follows upper's */
            struct mappable map;
        } file;
        char *target; /* (c) a symbolic link made here: heap */
    };
};

static inline struct overlay_inode *overlay_i(const struct inode *inode)
{
    return container_of(inode, struct overlay_inode, inode);
}
static inline struct overlay_super *overlay_sb(const struct super *sb)
{
    return container_of(sb, struct overlay_super, sb);
}
static inline struct inode *overlay_upper(struct overlay_inode *oi)
{
    return atomic_load_explicit(&oi->file.upper, memory_order_acquire);
}

/* super.c, inode.c */
extern const struct inode_ops overlay_inode_ops;
/* The layers' locks are taken inside ours. */
void overlay_rank_below(struct inode *real);
/* The inode for what lies at one name of the layers: `lower` (taken over, also on error) and
 * further directories (likewise). ERR_PTR. */
must_check struct inode *overlay_iget(struct overlay_super *os, struct inode *lower,
                                      struct inode **more, u32 nr_more);
/* Something new: count 1, no name yet, nlink 1 (a directory: 2). ERR_PTR(-ENOMEM, -ENOSPC). */
must_check struct inode *overlay_new(struct overlay_super *os, u32 mode, u64 rdev, u32 uid,
                                     u32 gid);
void overlay_inode_release(struct inode *inode);
/* A child that lost its last count while its directory is torn down. */
void overlay_bury(struct inode *inode, struct overlay_inode **dead);
/* inode.lock held for writing: it differs from its lower now. */
void overlay_pin(struct overlay_inode *oi);
/* inode.lock held for writing: the last name is gone. */
void overlay_unpin(struct overlay_inode *oi);

/* dir.c: dir's lock is held (reading is enough) */
void overlay_dir_init(struct overlay_inode *dir, bool merged);
void overlay_dir_fini(struct overlay_inode *dir, struct overlay_inode **dead);
must_check struct inode *overlay_lookup(struct inode *dir, struct name name);
must_check int overlay_fill(struct overlay_inode *dir);
extern const struct file_ops overlay_dir_ops;
/* dir is merged and locked for writing */
struct overlay_entry *overlay_entry_find(struct overlay_inode *dir, struct name name);
must_check struct overlay_entry *overlay_entry_new(struct name name);
/* Takes e over; counts inode. */
void overlay_entry_add(struct overlay_inode *dir, struct overlay_entry *e, struct inode *inode);
void overlay_entry_remove(struct overlay_inode *dir, struct overlay_entry *e);
/* A sub-directory more or less. */
void overlay_dir_nlink(struct overlay_inode *dir, int step);
void overlay_dir_touched(struct overlay_inode *dir);

/* names.c */
must_check struct inode *overlay_create(struct inode *dir, struct name name, u32 mode,
                                        const struct cred *cred);
must_check struct inode *overlay_mknod(struct inode *dir, struct name name, u32 mode, u64 rdev,
                                       const struct cred *cred);
must_check struct inode *overlay_symlink(struct inode *dir, struct name name, const char *target,
                                         const struct cred *cred);
must_check struct inode *overlay_tmpfile(struct inode *dir, u32 mode, const struct cred *cred);
must_check int overlay_link(struct inode *dir, struct name name, struct inode *inode);
must_check int overlay_unlink(struct inode *dir, struct name name, struct inode *inode);
must_check int overlay_rmdir(struct inode *dir, struct name name, struct inode *inode);
must_check int overlay_rename(struct inode *old_dir, struct name old_name, struct inode *inode,
                              struct inode *new_dir, struct name new_name, struct inode *target,
                              u32 flags);

/* copyup.c: inode.lock held for writing */
must_check int overlay_copy_up(struct overlay_inode *oi, u64 max_size);
must_check struct inode *overlay_upper_new(struct overlay_super *os);
must_check int overlay_setattr(struct inode *inode, const struct setattr *set);

/* file.c */
must_check struct file *overlay_open(struct inode *inode, const struct path *path, u32 flags,
                                     const struct cred *cred);
/* Open a layer's inode for our own use: not through the wrappers of vfs/file.c. ERR_PTR. */
must_check struct file *overlay_open_real(struct overlay_super *os, struct inode *real, u32 flags);
/* After the upper file changed: size, and with `touch` mtime and ctime. */
void overlay_size_changed(struct overlay_inode *oi, bool touch);
extern const struct mappable_ops overlay_mappable_ops;

/* xattr.c: inode.lock held */
must_check ssize_t overlay_getxattr(struct inode *inode, const char *name, void *buf, size_t size);
must_check int overlay_setxattr(struct inode *inode, const char *name, const void *value,
                                size_t size, int flags);
must_check ssize_t overlay_listxattr(struct inode *inode, char *buf, size_t size);
must_check int overlay_removexattr(struct inode *inode, const char *name);

#endif
