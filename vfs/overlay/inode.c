/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Overlay inodes: life, the index, attributes that come from elsewhere.
 *
 * Life: made for a lower inode by a look-up, or new by create and its kin -> counted by dentries,
 * open files, entries of merged directories, and once more while pinned -> the last put frees it.
 * A whole tree goes without recursion: directories that lost their last count are put on a list.
 *
 * Numbers: an inode keeps the number of its lower inode for ever, copied up or not; new ones count
 * from NEW_INO, above the numbers that hosts give.
 */
#include "vfs/overlay/overlay_priv.h"

#define NEW_INO (1ULL << 46)

DEFINE_CACHE(overlay_inode_cache, struct overlay_inode);

void overlay_rank_below(struct inode *real)
{
    if (real->lock.rank != LOCK_INODE_REAL) {
        real->lock.rank = LOCK_INODE_REAL;
    }
}

/* ---- life ---- */

static struct overlay_inode *overlay_alloc(struct overlay_super *os, u64 ino, u32 mode, u32 uid,
                                           u32 gid)
{
    struct overlay_inode *oi = cache_new(overlay_inode_cache);

    if (oi == NULL) {
        return NULL;
    }
    inode_init(&oi->inode, &os->sb, &overlay_inode_ops, ino, mode, uid, gid);
    xattr_list_init(&oi->xattrs);
    if (S_ISREG(mode)) {
        mappable_init(&oi->file.map, &overlay_mappable_ops, &oi->inode);
    }
    atomic_fetch_add(&os->nr_inodes, 1);
    return oi;
}

struct inode *overlay_new(struct overlay_super *os, u32 mode, u64 rdev, u32 uid, u32 gid)
{
    u64 max = os->options.max_inodes;
    struct overlay_inode *oi = NULL;

    if (atomic_fetch_add(&os->nr_new, 1) < max || max == 0) {
        oi = overlay_alloc(os, NEW_INO + atomic_fetch_add(&os->next_ino, 1), mode, uid, gid);
        max = 0;
    }
    if (oi == NULL) {
        atomic_fetch_sub(&os->nr_new, 1);
        return ERR_PTR(max != 0 ? -ENOSPC : -ENOMEM);
    }
    oi->inode.rdev = rdev;
    oi->own_xattrs = true;
    if (S_ISDIR(mode)) {
        overlay_dir_init(oi, true);
        oi->inode.nlink = 2;
    }
    return &oi->inode;
}

static void put_lowers(struct inode *lower, struct inode **more, u32 nr_more)
{
    for (u32 i = 0; i < nr_more; i++) {
        inode_put(more[i]);
    }
    heap_free(more);
    inode_put(lower);
}

/* All but the entries of a directory. */
static void overlay_inode_free(struct overlay_inode *oi)
{
    struct overlay_super *os = overlay_sb(oi->inode.sb);
    u32 mode = oi->inode.mode;

    icache_remove(&os->inodes, &oi->link);
    if (S_ISREG(mode)) {
        mappable_fini(&oi->file.map);
        inode_put(atomic_load(&oi->file.upper));
    } else if (S_ISLNK(mode)) {
        heap_free(oi->target);
    }
    xattr_list_fini(&oi->xattrs);
    if (oi->lower == NULL) {
        atomic_fetch_sub(&os->nr_new, 1);
    }
    put_lowers(oi->lower, S_ISDIR(mode) ? oi->dir.more : NULL, S_ISDIR(mode) ? oi->dir.nr_more : 0);
    inode_fini(&oi->inode);
    cache_del(overlay_inode_cache, oi);
    atomic_fetch_sub(&os->nr_inodes, 1);
}

void overlay_inode_release(struct inode *inode)
{
    struct overlay_inode *dead = NULL, *oi = overlay_i(inode);

    for (;;) {
        if (S_ISDIR(oi->inode.mode)) {
            overlay_dir_fini(oi, &dead);
        }
        overlay_inode_free(oi);
        if (dead == NULL) {
            return;
        }
        oi = dead;
        dead = oi->dir.next_dead;
    }
}

void overlay_bury(struct inode *inode, struct overlay_inode **dead)
{
    struct overlay_inode *oi = overlay_i(inode);

    if (S_ISDIR(inode->mode)) {
        oi->dir.next_dead = *dead;
        *dead = oi;
    } else {
        overlay_inode_free(oi);
    }
}

/* ---- the index ---- */

static struct overlay_inode *overlay_from_lower(struct overlay_super *os, struct inode *lower,
                                                struct inode **more, u32 nr_more)
{
    struct overlay_inode *oi;
    struct attr a;

    if (inode_getattr(lower, &a) != 0) {
        return NULL;
    }
    oi = overlay_alloc(os, lower->ino, a.mode, a.uid, a.gid);
    if (oi == NULL) {
        return NULL;
    }
    overlay_rank_below(lower);
    oi->inode.nlink = a.nlink;
    oi->inode.rdev = a.rdev;
    oi->inode.size = a.size;
    oi->inode.atime = a.atime;
    oi->inode.mtime = a.mtime;
    oi->inode.ctime = a.ctime;
    oi->inode.btime = a.btime;
    oi->lower = lower;
    if (S_ISDIR(a.mode)) {
        overlay_dir_init(oi, false);
        oi->dir.more = more;
        oi->dir.nr_more = nr_more;
        oi->inode.nlink = nr_more != 0 ? 1 : a.nlink; /* 1: how many sub-directories is not known */
        for (u32 i = 0; i < nr_more; i++) {
            overlay_rank_below(more[i]);
        }
    }
    return oi;
}

struct inode *overlay_iget(struct overlay_super *os, struct inode *lower, struct inode **more,
                           u32 nr_more)
{
    u64 key = (u64)(uintptr_t)lower;
    struct inode *there = icache_find(&os->inodes, key, 0);
    struct overlay_inode *oi;

    if (there != NULL) {
        put_lowers(lower, more, nr_more);
        return there;
    }
    oi = overlay_from_lower(os, lower, more, nr_more);
    if (oi == NULL) {
        put_lowers(lower, more, nr_more);
        return ERR_PTR(-ENOMEM);
    }
    there = icache_insert(&os->inodes, &oi->link, &oi->inode, key, 0);
    if (there != NULL) { /* another look-up was faster */
        inode_put(&oi->inode);
        return there;
    }
    return &oi->inode;
}

void overlay_pin(struct overlay_inode *oi)
{
    if (oi->lower != NULL && oi->inode.nlink != 0 && !oi->pinned) {
        oi->pinned = true;
        (void)inode_get(&oi->inode);
    }
}

void overlay_unpin(struct overlay_inode *oi)
{
    if (oi->lower != NULL) {
        icache_remove(&overlay_sb(oi->inode.sb)->inodes, &oi->link);
    }
    if (oi->pinned) {
        oi->pinned = false;
        inode_put(&oi->inode); /* never the last: the caller has one */
    }
}

/* ---- attributes ---- */

static int overlay_getattr(struct inode *inode, struct attr *out)
{
    struct overlay_inode *oi = overlay_i(inode);
    struct inode *upper = S_ISREG(inode->mode) ? overlay_upper(oi) : NULL;
    struct inode *real = upper != NULL ? upper : oi->lower;
    struct attr a;
    int err;

    if (real == NULL) {
        return 0;
    }
    err = inode_getattr(real, &a);
    if (err == 0) {
        out->blocks = a.blocks;
        out->blksize = a.blksize;
        if (upper != NULL) {
            out->size = a.size;
        }
    }
    return err;
}

static ssize_t overlay_readlink(struct inode *inode, const struct vfs_ctx *ctx, char *buf,
                                size_t size)
{
    struct overlay_inode *oi = overlay_i(inode);
    size_t n;

    if (oi->target == NULL) {
        return inode_readlink(oi->lower, ctx, buf, size);
    }
    n = min(size, (size_t)inode->size);
    memcpy(buf, oi->target, n);
    return (ssize_t)n;
}

const struct inode_ops overlay_inode_ops = {
    .name = "overlay",
    .lookup = overlay_lookup,
    .create = overlay_create,
    .mkdir = overlay_create,
    .mknod = overlay_mknod,
    .symlink = overlay_symlink,
    .link = overlay_link,
    .unlink = overlay_unlink,
    .rmdir = overlay_rmdir,
    .rename = overlay_rename,
    .tmpfile = overlay_tmpfile,
    .readlink = overlay_readlink,
    .getattr = overlay_getattr,
    .setattr = overlay_setattr,
    .open = overlay_open,
    .getxattr = overlay_getxattr,
    .setxattr = overlay_setxattr,
    .listxattr = overlay_listxattr,
    .removexattr = overlay_removexattr,
    .release = overlay_inode_release,
};
HEAP_OPS(overlay_inode_ops);
