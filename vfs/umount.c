/* SPDX-License-Identifier: Apache-2.0 */
/*
 * umount2(2) and pivot_root(2).
 *
 * A mount is busy when something but its tree and this call counts it (open files, working
 * directories, a walk under way) or when something is mounted on it. MNT_DETACH takes the whole
 * tree away at once; each part lives on, alone, until its users are gone.
 */
#include "vfs/vfs_priv.h"

#define UMOUNT_FLAGS (MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW)

/* ---- umount ---- */

/* The mount that m's removal removes at a receiver of its parent's events, or NULL. */
static struct mount *propagated_child(const struct mount *receiver, const struct mount *m)
{
    struct mount *c = mount_child_at((struct mount *)(uintptr_t)receiver, m->mountpoint);

    return c != NULL && c->root == m->root ? c : NULL;
}

static bool is_busy(const struct mount *m, u32 own_refs)
{
    return !RB_EMPTY(&m->children) || ref_read(&m->ref) > own_refs;
}

/* (mounts) held. */
static int check_busy(struct mount *m)
{
    struct mount_work receivers;
    struct mount *r;

    if (is_busy(m, 2)) {
        return -EBUSY;
    }
    mount_propagation_of(m->parent, &receivers);
    TAILQ_FOREACH (r, &receivers, work) {
        struct mount *c = propagated_child(r, m);

        if (c != NULL && RB_EMPTY(&c->children) && ref_read(&c->ref) > 1) {
            return -EBUSY;
        }
    }
    return 0;
}

/* Remove m's counterparts at the receivers of its parent's events. */
static void umount_propagate(struct mount *m, bool lazy, struct mount_work *gone)
{
    struct mount_work receivers;
    struct mount *r, *next, *c;

    mount_propagation_of(m->parent, &receivers);
    for (r = TAILQ_FIRST(&receivers); r != NULL; r = next) {
        next = TAILQ_NEXT(r, work);
        c = propagated_child(r, m);
        if (c == NULL) {
            continue;
        }
        if (RB_EMPTY(&c->children)) {
            mount_detach(c, gone);
        } else if (lazy) {
            mount_tree_discard(c, gone);
            return; /* a receiver may have been in that tree: those left keep theirs */
        }
    }
}

static int umount_locked(const struct vfs_ctx *ctx, struct path *at, u32 flags,
                         struct mount_work *gone)
{
    struct mount *m = at->mnt;
    bool lazy = (flags & MNT_DETACH) != 0;
    int err = 0;

    if (m == NULL || at->dentry != m->root || m->ns != ctx->mnt_ns || m->parent == m) {
        return -EINVAL;
    }
    if ((flags & MNT_EXPIRE) != 0) {
        if (is_busy(m, 2)) {
            return -EBUSY;
        }
        if (!m->expiring) {
            m->expiring = true;
            return -EAGAIN;
        }
    }
    if (m->parent == m->ns->base) { /* the root is in use by definition */
        return lazy ? -EINVAL : -EBUSY;
    }
    err = lazy ? 0 : check_busy(m);
    if (err != 0) {
        return err;
    }
    umount_propagate(m, lazy, gone);
    mount_tree_discard(m, gone);
    return 0;
}

int vfs_umount(const struct vfs_ctx *ctx, const char *target, u32 flags)
{
    struct mount_work gone = TAILQ_HEAD_INITIALIZER(gone);
    struct path at;
    int err;

    if ((flags & ~(u32)UMOUNT_FLAGS) != 0 ||
        ((flags & MNT_EXPIRE) != 0 && (flags & (MNT_FORCE | MNT_DETACH)) != 0)) {
        return -EINVAL;
    }
    err =
        path_lookup(ctx, AT_FDCWD, target, (flags & UMOUNT_NOFOLLOW) != 0 ? 0 : LOOKUP_FOLLOW, &at);
    if (err != 0) {
        return err;
    }
    if (!mount_may(ctx)) {
        path_put(&at);
        return -EPERM;
    }
    (void)path_follow_mounts(&at); /* "." may have been covered: pivot_root(".", ".") */
    write_lock(&vfs_state->mounts);
    err = umount_locked(ctx, &at, flags, &gone);
    write_unlock(&vfs_state->mounts);
    path_put(&at);
    mounts_put_all(&gone);
    return err;
}

/* ---- pivot_root ---- */

/* (mounts) held: is `p` at or below `top`? */
static bool is_reachable(const struct path *p, const struct path *top)
{
    struct mount *m = p->mnt;
    struct dentry *d = p->dentry;

    while (m != top->mnt && m->parent != m) {
        d = m->mountpoint;
        m = m->parent;
    }
    return m == top->mnt && dentry_is_below(d, top->dentry);
}

static int pivot_check(const struct vfs_ctx *ctx, const struct path *new, const struct path *old,
                       const struct path *root)
{
    if (new->mnt == NULL || old->mnt == NULL) {
        return -EINVAL;
    }
    if (new->mnt->ns != ctx->mnt_ns || root->mnt->ns != ctx->mnt_ns || old->mnt->peer_group != 0 ||
        new->mnt->parent->peer_group != 0 || root->mnt->parent->peer_group != 0) {
        return -EINVAL;
    }
    if (new->dentry->unhashed) {
        return -ENOENT;
    }
    if (new->mnt == root->mnt || old->mnt == root->mnt) {
        return -EBUSY;
    }
    if (root->dentry != root->mnt->root || root->mnt->parent == root->mnt ||
        new->dentry != new->mnt->root || new->mnt->parent == new->mnt || !is_reachable(old, new) ||
        !is_reachable(new, root)) {
        return -EINVAL;
    }
    return 0;
}

static int pivot_locked(const struct vfs_ctx *ctx, const struct path *new, const struct path *old,
                        const struct path *root)
{
    struct mount *root_parent;
    struct dentry *root_place;
    int err = pivot_check(ctx, new, old, root);

    if (err != 0) {
        return err;
    }
    root_parent = mount_get(root->mnt->parent);
    root_place = dentry_get(root->mnt->mountpoint);
    mount_unhook(new->mnt);
    mount_unhook(root->mnt);
    mount_hook(root->mnt, old->mnt, old->dentry);
    mount_hook(new->mnt, root_parent, root_place);
    mount_put(root_parent);
    dentry_put(root_place);
    atomic_fetch_add(&vfs_state->tree_seq, 1);
    mount_ns_changed(ctx->mnt_ns);
    return 0;
}

static bool replace_path(struct path *slot, const struct path *from, const struct path *to)
{
    if (!path_equal(slot, from)) {
        return false;
    }
    path_get(to);
    *slot = *to;
    return true;
}

/* The next live context after fs (NULL: the first), counted; the count of fs is dropped. */
static struct fs_context *next_context(struct fs_context *fs)
{
    struct fs_context *next;

    spin_lock(&vfs_state->lock);
    next = fs != NULL ? TAILQ_NEXT(fs, link) : TAILQ_FIRST(&vfs_state->fs_list);
    while (next != NULL && !ref_get_unless_zero(&next->ref)) {
        next = TAILQ_NEXT(next, link);
    }
    spin_unlock(&vfs_state->lock);
    fs_context_put(fs);
    return next;
}

/* Every task whose root or working directory was the old root goes to the new one. */
static void move_tasks(const struct path *from, const struct path *to)
{
    struct fs_context *fs;

    for (fs = next_context(NULL); fs != NULL; fs = next_context(fs)) {
        bool root_moved, cwd_moved;
        struct path p = *from;

        write_lock(&fs->lock);
        root_moved = replace_path(&fs->root, from, to);
        cwd_moved = replace_path(&fs->cwd, from, to);
        write_unlock(&fs->lock);
        if (root_moved) {
            path_put(&p);
        }
        p = *from;
        if (cwd_moved) {
            path_put(&p);
        }
    }
}

int vfs_pivot_root(const struct vfs_ctx *ctx, const char *new_root, const char *put_old)
{
    struct path new, old, root;
    int err;

    if (!mount_may(ctx)) {
        return -EPERM;
    }
    err = path_lookup(ctx, AT_FDCWD, new_root, LOOKUP_FOLLOW | LOOKUP_DIRECTORY, &new);
    if (err != 0) {
        return err;
    }
    err = path_lookup(ctx, AT_FDCWD, put_old, LOOKUP_FOLLOW | LOOKUP_DIRECTORY, &old);
    if (err != 0) {
        path_put(&new);
        return err;
    }
    fs_get_root(ctx->fs, &root);
    write_lock(&vfs_state->mounts);
    err = pivot_locked(ctx, &new, &old, &root);
    if (err == 0) {
        move_tasks(&root, &new);
    }
    write_unlock(&vfs_state->mounts);
    path_put(&root);
    path_put(&old);
    path_put(&new);
    return err;
}
