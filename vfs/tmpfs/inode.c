/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tmpfs inodes: life and attributes. A name in a directory counts its inode, so an inode lives
 * while it has a name, an open file or a dentry.
 *
 * When a whole tree goes (umount), directories that lost their last count are put on a list instead
 * of being released inside one another: a guest may have nested them deeper than a stack is.
 */
#include "vfs/tmpfs/tmpfs_priv.h"

DEFINE_CACHE(tmpfs_inode_cache, struct tmpfs_inode);

struct inode *tmpfs_inode_new(struct tmpfs_super *ts, u32 mode, u64 rdev, u32 uid, u32 gid)
{
    struct tmpfs_inode *ti;
    int err = tmpfs_charge_inode(ts);

    if (err != 0) {
        return ERR_PTR(err);
    }
    ti = cache_new(tmpfs_inode_cache);
    if (ti == NULL) {
        tmpfs_uncharge_inode(ts);
        return ERR_PTR(-ENOMEM);
    }
    inode_init(&ti->inode, &ts->sb, &tmpfs_inode_ops, atomic_fetch_add(&ts->next_ino, 1) + 1, mode,
               uid, gid);
    ti->inode.rdev = rdev;
    xattr_list_init(&ti->xattrs);
    if (S_ISDIR(mode)) {
        tmpfs_dir_init(ti);
    } else if (S_ISREG(mode)) {
        tmpfs_pages_init(ti);
    }
    return &ti->inode;
}

static void tmpfs_inode_free(struct tmpfs_inode *ti)
{
    struct tmpfs_super *ts = tmpfs_sb(ti->inode.sb);

    if (S_ISREG(ti->inode.mode)) {
        tmpfs_pages_fini(ti);
    } else if (S_ISLNK(ti->inode.mode)) {
        heap_free(ti->target);
    }
    xattr_list_fini(&ti->xattrs);
    inode_fini(&ti->inode);
    cache_del(tmpfs_inode_cache, ti);
    tmpfs_uncharge_inode(ts);
}

void tmpfs_inode_release(struct inode *inode)
{
    struct tmpfs_inode *dead = NULL, *ti = tmpfs_i(inode);

    for (;;) {
        if (S_ISDIR(ti->inode.mode)) {
            tmpfs_dir_fini(ti, &dead);
        }
        tmpfs_inode_free(ti);
        if (dead == NULL) {
            return;
        }
        ti = dead;
        dead = ti->dir.next_dead;
    }
}

/* A child that lost its last count while its directory is torn down. */
void tmpfs_inode_bury(struct inode *inode, struct tmpfs_inode **dead)
{
    struct tmpfs_inode *ti = tmpfs_i(inode);

    if (S_ISDIR(inode->mode)) {
        ti->dir.next_dead = *dead;
        *dead = ti;
    } else {
        tmpfs_inode_free(ti);
    }
}

int tmpfs_getattr(struct inode *inode, struct attr *out)
{
    struct tmpfs_inode *ti = tmpfs_i(inode);

    if (S_ISREG(inode->mode)) {
        out->blocks = __atomic_load_n(&ti->file.nr_pages, __ATOMIC_RELAXED) * (PAGE_SIZE / 512);
    }
    return 0;
}

int tmpfs_setattr(struct inode *inode, const struct setattr *set)
{
    if ((set->valid & SETATTR_SIZE) != 0) {
        int err = S_ISREG(inode->mode) ? tmpfs_resize(tmpfs_i(inode), set->size) : -EINVAL;

        if (err != 0) {
            return err;
        }
    }
    inode_set_fields(inode, set);
    return 0;
}
