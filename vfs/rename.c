/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rename(2), renameat2(2).
 *
 * Locks: sb->rename when the directories differ (nothing else changes who is whose ancestor), then
 * both directories, the ancestor first, then, in dir_rename_locked, a directory that is replaced.
 * A directory is never moved below itself: the ancestor test is stable under sb->rename.
 */
#include "vfs/fsnotify.h"
#include "vfs/vfs_priv.h"

#include <linux/fs.h>

struct renaming {
    const struct vfs_ctx *ctx;
    u32 flags;
    struct walk from, to;
    struct inode *old_dir, *new_dir;
    struct dentry *old, *new;
    struct dentry *above_old; /* borrowed: the child of new_dir that old_dir is (in), or NULL */
    struct dentry *above_new; /* the child of old_dir that new_dir is (in), or NULL */
};

/* The child of `top` on the way to `d`, counted; NULL: d is not below top, or is top. */
static struct dentry *child_towards(struct dentry *top, struct dentry *d)
{
    struct dentry *cur = dentry_get(d);

    for (;;) {
        struct dentry *up = dentry_parent(cur);

        if (cur == top || up == cur) {
            dentry_put(up);
            dentry_put(cur);
            return NULL;
        }
        if (up == top) {
            dentry_put(up);
            return cur;
        }
        dentry_put(cur);
        cur = up;
    }
}

static void rename_lock(struct renaming *r)
{
    struct dentry *old_parent = r->from.cur.dentry, *new_parent = r->to.cur.dentry;

    if (old_parent == new_parent) {
        write_lock(&r->old_dir->lock);
        return;
    }
    mutex_lock(&old_parent->sb->rename);
    r->above_old = child_towards(new_parent, old_parent);
    r->above_new = child_towards(old_parent, new_parent);
    if (r->above_old != NULL) {
        dir_lock_two(r->new_dir, r->old_dir);
    } else {
        dir_lock_two(r->old_dir, r->new_dir);
    }
}

static void rename_unlock(struct renaming *r)
{
    write_unlock(&r->old_dir->lock);
    if (r->old_dir != r->new_dir) {
        write_unlock(&r->new_dir->lock);
        mutex_unlock(&r->from.cur.dentry->sb->rename);
    }
    dentry_put(r->above_old);
    dentry_put(r->above_new);
}

/* What exists and what the names say (do_renameat2). */
static int rename_check_names(const struct renaming *r)
{
    const struct inode *old = dentry_inode(r->old), *new = dentry_inode(r->new);
    bool exchange = (r->flags & RENAME_EXCHANGE) != 0;

    if (old == NULL) {
        return -ENOENT;
    }
    if ((r->flags & RENAME_NOREPLACE) != 0 && new != NULL) {
        return -EEXIST;
    }
    if (exchange) {
        if (new == NULL) {
            return -ENOENT;
        }
        if (!S_ISDIR(new->mode) && r->to.last_slash) {
            return -ENOTDIR;
        }
    }
    if (!S_ISDIR(old->mode) && (r->from.last_slash || (!exchange && r->to.last_slash))) {
        return -ENOTDIR;
    }
    if (r->old == r->above_new) {
        return -EINVAL;
    }
    if (r->new == r->above_old) {
        return exchange ? -EINVAL : -ENOTEMPTY;
    }
    return 0;
}

/* A directory that gets another parent has its ".." written. */
static int rename_check_moved_dir(const struct renaming *r, struct inode *inode)
{
    if (r->old_dir == r->new_dir || !S_ISDIR(inode->mode)) {
        return 0;
    }
    return inode_permission(inode, MAY_WRITE, r->ctx->cred);
}

static int rename_check_rights(const struct renaming *r)
{
    struct inode *old = dentry_inode(r->old), *new = dentry_inode(r->new);
    bool exchange = (r->flags & RENAME_EXCHANGE) != 0;
    bool is_dir = S_ISDIR(old->mode);
    int err = may_delete(r->old_dir, r->old, is_dir, r->ctx->cred);

    if (err == 0 && new == NULL) {
        err = may_create(r->new_dir, r->ctx->cred);
    } else if (err == 0) {
        err = may_delete(r->new_dir, r->new, exchange ? S_ISDIR(new->mode) : is_dir, r->ctx->cred);
    }
    if (err == 0) {
        err = rename_check_moved_dir(r, old);
    }
    if (err == 0 && exchange) {
        err = rename_check_moved_dir(r, new);
    }
    if (err == 0 && (mount_is_local(r->ctx, r->old) || mount_is_local(r->ctx, r->new))) {
        err = -EBUSY;
    }
    return err;
}

static void rename_notify(const struct renaming *r, struct inode *inode, struct inode *target)
{
    fsnotify_rename(r->old_dir, r->from.last, r->new_dir, r->to.last, inode);
    if (target == NULL) {
        return;
    }
    if ((r->flags & RENAME_EXCHANGE) != 0) {
        fsnotify_rename(r->new_dir, r->to.last, r->old_dir, r->from.last, target);
    } else {
        fsnotify_self(target, IN_ATTRIB);
    }
}

/* Both looked up and the directories locked. */
static int rename_locked(struct renaming *r)
{
    struct inode *inode, *target;
    int err = rename_check_names(r);

    if (err != 0) {
        return err;
    }
    inode = dentry_inode(r->old);
    target = dentry_inode(r->new);
    if (inode == target) {
        return 0; /* two names of one file: nothing happens */
    }
    err = rename_check_rights(r);
    if (err == 0) {
        err = dir_rename_locked(r->old_dir, r->from.last, inode, r->new_dir, r->to.last, target,
                                r->flags);
    }
    if (err != 0) {
        return err;
    }
    if ((r->flags & RENAME_EXCHANGE) != 0) {
        dentry_exchange(r->old, r->new);
    } else {
        dentry_move(r->old, r->to.cur.dentry, r->new);
    }
    rename_notify(r, inode, target);
    return 0;
}

static int rename_look_up(struct renaming *r)
{
    int err;

    r->old = lookup_child(r->from.cur.dentry, r->from.last, true);
    if (IS_ERR(r->old)) {
        return (int)PTR_ERR(r->old);
    }
    r->new = lookup_child(r->to.cur.dentry, r->to.last, true);
    if (IS_ERR(r->new)) {
        err = (int)PTR_ERR(r->new);
        dentry_put(r->old);
        r->old = ERR_PTR(err);
        return err;
    }
    return 0;
}

static int rename_walked(struct renaming *r)
{
    struct inode *kept = NULL;
    int err;

    if (r->from.cur.mnt != r->to.cur.mnt) {
        return -EXDEV;
    }
    if (r->from.type != LAST_NORM) {
        return -EBUSY;
    }
    if (r->to.type != LAST_NORM) {
        return (r->flags & RENAME_NOREPLACE) != 0 ? -EEXIST : -EBUSY;
    }
    err = mount_get_writer(r->from.cur.mnt);
    if (err != 0) {
        return err;
    }
    r->old_dir = dentry_inode(r->from.cur.dentry);
    r->new_dir = dentry_inode(r->to.cur.dentry);
    rename_lock(r);
    err = rename_look_up(r);
    if (err == 0) {
        kept = dentry_inode(r->new);
        if (kept != NULL) {
            (void)inode_get(kept); /* freed once nothing is locked */
        }
        err = rename_locked(r);
    }
    rename_unlock(r);
    if (!IS_ERR(r->old) && !IS_ERR(r->new)) {
        if (err == 0 && (r->flags & RENAME_EXCHANGE) == 0) {
            mounts_detach_all_on(r->new);
        }
        dentry_put(r->old);
        dentry_put(r->new);
    }
    inode_put(kept);
    mount_put_writer(r->from.cur.mnt);
    return err;
}

int vfs_rename(const struct vfs_ctx *ctx, int olddirfd, const char *old, int newdirfd,
               const char *new, u32 flags)
{
    struct renaming r = {.ctx = ctx, .flags = flags};
    int err;

    if ((flags & ~(u32)(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)) != 0 ||
        ((flags & (RENAME_NOREPLACE | RENAME_WHITEOUT)) != 0 && (flags & RENAME_EXCHANGE) != 0)) {
        return -EINVAL;
    }
    err = walk_to_parent(&r.from, ctx, olddirfd, old);
    if (err != 0) {
        return err;
    }
    err = walk_to_parent(&r.to, ctx, newdirfd, new);
    if (err == 0) {
        err = rename_walked(&r);
        walk_end(&r.to);
    }
    walk_end(&r.from);
    return err;
}
