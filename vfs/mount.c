/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mounts: life, the links of the tree, and what the path walk and writers need of them.
 *
 * Life: mount_new (detached, counted by the caller) -> mount_attach (that count is the tree's) ->
 * mount_detach puts it on a list of the gone -> mounts_put_all, when no lock is held. Paths count
 * mounts, so a lazily unmounted one lives while somebody is in it.
 *
 * Locking: all changes hold vfs_state->mounts for writing (LOCK_MOUNTS is the outermost of the vfs
 * ranks), and vfs_state->mount_lock around the change of links, which is all that a walk takes. One
 * lock for all namespaces: propagation crosses them, and mounts are changed seldom.
 */
#include "base/heap.h"
#include "base/tree.h"
#include "vfs/vfs_priv.h"

#include <linux/capability.h>
#include <sys/statvfs.h>

#define NS_MAX_MOUNTS 100000U /* fs.mount-max of Linux */

DEFINE_CACHE(mount_cache, struct mount);

static int mount_compare(const struct mount *a, const struct mount *b)
{
    return a->mountpoint == b->mountpoint ? 0 : a->mountpoint < b->mountpoint ? -1 : 1;
}

RB_GENERATE_STATIC(mount_children, mount, sibling, mount_compare)

/* ---- life ---- */

struct mount *mount_new(struct super *sb, struct dentry *root, u32 flags)
{
    struct mount *m = cache_new(mount_cache);

    if (m == NULL) {
        return NULL;
    }
    ref_init(&m->ref);
    m->parent = m;
    m->root = dentry_get(root);
    m->sb = super_get(sb);
    m->flags = flags;
    m->id = atomic_fetch_add(&vfs_state->next_mount_id, 1);
    RB_INIT(&m->children);
    return m;
}

struct mount *mount_get(struct mount *m)
{
    ref_get(&m->ref);
    return m;
}

void mount_put(struct mount *m)
{
    if (m == NULL || !ref_put(&m->ref)) {
        return;
    }
    CHECK(m->ns == NULL && RB_EMPTY(&m->children), "an attached mount lost its count");
    dentry_put(m->root);
    super_put(m->sb);
    cache_del(mount_cache, m);
}

void mounts_put_all(struct mount_work *gone)
{
    struct mount *m;

    while ((m = TAILQ_FIRST(gone)) != NULL) {
        TAILQ_REMOVE(gone, m, work);
        mount_put(m);
    }
}

void mount_ns_changed(struct mnt_ns *ns)
{
    atomic_fetch_add(&ns->seq, 1);
    waitq_wake_all(&ns->changed);
}

/* ---- the links ---- */

struct mount *mount_child_at(struct mount *parent, const struct dentry *at)
{
    struct mount key;

    key.mountpoint = (struct dentry *)(uintptr_t)at;
    return RB_FIND(mount_children, &parent->children, &key);
}

struct mount *mount_next(struct mount *m, struct mount *top)
{
    struct mount *next = RB_MIN(mount_children, &m->children);

    while (next == NULL && m != top) {
        next = RB_NEXT(mount_children, &m->parent->children, m);
        m = m->parent;
    }
    return next;
}

/* Hook m under parent, below any mount that is there already (which then sits on m's root). */
void mount_hook(struct mount *m, struct mount *parent, struct dentry *at)
{
    struct mount *old;

    m->mountpoint = dentry_get(at);
    m->parent = mount_get(parent);
    atomic_fetch_add(&at->mounts, 1);
    spin_lock(&vfs_state->mount_lock);
    old = RB_INSERT(mount_children, &parent->children, m);
    spin_unlock(&vfs_state->mount_lock);
    CHECK(old == NULL, "two mounts on one place");
}

void mount_unhook(struct mount *m)
{
    struct mount *parent = m->parent;
    struct dentry *at = m->mountpoint;

    if (parent == m) {
        return;
    }
    spin_lock(&vfs_state->mount_lock);
    RB_REMOVE(mount_children, &parent->children, m);
    m->parent = m;
    m->mountpoint = NULL;
    spin_unlock(&vfs_state->mount_lock);
    atomic_fetch_sub(&at->mounts, 1);
    dentry_put(at);
    CHECK(!ref_put(&parent->ref), "a parent in use had no other count");
}

/* Put the mount that sits at (parent, at) onto m instead: m slips in beneath it. */
static void mount_tuck(struct mount *m, struct mount *parent, struct dentry *at)
{
    struct mount *top = mount_child_at(parent, at);

    if (top != NULL) {
        mount_unhook(top);
        mount_hook(m, parent, at);
        mount_hook(top, m, m->root);
    } else {
        mount_hook(m, parent, at);
    }
}

void mount_join_ns(struct mount *m, struct mnt_ns *ns)
{
    struct mount *c;

    for (c = m; c != NULL; c = mount_next(c, m)) {
        if (c->ns == ns) {
            continue; /* it was there, and is now on top of m */
        }
        spin_lock(&vfs_state->mount_lock);
        c->ns = ns;
        TAILQ_INSERT_TAIL(&vfs_state->mount_list, c, all);
        spin_unlock(&vfs_state->mount_lock);
        ns->nr_mounts++;
    }
}

static u32 mount_count(struct mount *m)
{
    u32 n = 0;

    for (struct mount *c = m; c != NULL; c = mount_next(c, m)) {
        n += c->ns == NULL ? 1 : 0;
    }
    return n;
}

int mount_attach(struct mount *m, struct mount *parent, struct dentry *at)
{
    struct mnt_ns *ns = parent->ns;

    if (ns == NULL) {
        return -EINVAL;
    }
    if (ns->nr_mounts + mount_count(m) > NS_MAX_MOUNTS) {
        return -ENOSPC;
    }
    /* Count first, then look: a remover marks first, then looks at the count. */
    atomic_fetch_add(&at->mounts, 1);
    if (__atomic_load_n(&at->unhashed, __ATOMIC_SEQ_CST) && at->parent != at) {
        atomic_fetch_sub(&at->mounts, 1);
        return -ENOENT;
    }
    mount_tuck(m, parent, at);
    atomic_fetch_sub(&at->mounts, 1);
    mount_join_ns(m, ns);
    atomic_fetch_add(&vfs_state->tree_seq, 1);
    mount_ns_changed(ns);
    return 0;
}

void mount_detach(struct mount *m, struct mount_work *gone)
{
    struct mnt_ns *ns = m->ns;

    mount_leave_groups(m);
    mount_unhook(m);
    if (ns != NULL) {
        spin_lock(&vfs_state->mount_lock);
        TAILQ_REMOVE(&vfs_state->mount_list, m, all);
        m->ns = NULL;
        spin_unlock(&vfs_state->mount_lock);
        ns->nr_mounts--;
        mount_ns_changed(ns);
    }
    TAILQ_INSERT_TAIL(gone, m, work);
}

/* ---- for the walk ---- */

bool path_follow_mounts(struct path *path)
{
    bool moved = false;

    while (path->mnt != NULL) {
        struct mount *m;

        spin_lock(&vfs_state->mount_lock);
        m = mount_child_at(path->mnt, path->dentry);
        if (m != NULL) {
            (void)mount_get(m);
        }
        spin_unlock(&vfs_state->mount_lock);
        if (m == NULL) {
            break;
        }
        path_put(path);
        *path = (struct path){.mnt = m, .dentry = dentry_get(m->root)};
        moved = true;
    }
    return moved;
}

bool path_follow_up(struct path *path)
{
    struct path up = {0};

    spin_lock(&vfs_state->mount_lock);
    if (path->mnt->parent != path->mnt) {
        up.mnt = mount_get(path->mnt->parent);
        up.dentry = dentry_get(path->mnt->mountpoint);
    }
    spin_unlock(&vfs_state->mount_lock);
    if (up.mnt == NULL) {
        return false;
    }
    path_put(path);
    *path = up;
    return true;
}

bool mount_is_local(const struct vfs_ctx *ctx, const struct dentry *d)
{
    struct mount *m = NULL;

    if (atomic_load_explicit(&d->mounts, memory_order_relaxed) == 0) {
        return false;
    }
    SPIN_GUARD(&vfs_state->mount_lock);
    TAILQ_FOREACH (m, &vfs_state->mount_list, all) {
        if (m->mountpoint == d && m->ns == ctx->mnt_ns) {
            break;
        }
    }
    return m != NULL;
}

/* ---- writers ---- */

static bool mount_is_read_only(const struct mount *mnt)
{
    return (__atomic_load_n(&mnt->flags, __ATOMIC_SEQ_CST) & MS_RDONLY) != 0 ||
           atomic_load(&mnt->sb->read_only);
}

int mount_want_write(struct mount *mnt)
{
    return mnt != NULL && mount_is_read_only(mnt) ? -EROFS : 0;
}

/* A remount to read-only sets the flag and then looks at the count; here it is the other way. */
int mount_get_writer(struct mount *mnt)
{
    if (mnt == NULL) {
        return 0;
    }
    atomic_fetch_add(&mnt->writers, 1);
    if (mount_is_read_only(mnt)) {
        atomic_fetch_sub(&mnt->writers, 1);
        return -EROFS;
    }
    return 0;
}

void mount_put_writer(struct mount *mnt)
{
    if (mnt != NULL) {
        atomic_fetch_sub(&mnt->writers, 1);
    }
}

int path_statfs(const struct path *path, struct statfs_info *out)
{
    struct super *sb = dentry_inode(path->dentry)->sb;
    u32 flags = path->mnt != NULL ? path->mnt->flags : 0;
    int err = super_statfs(sb, out);

    /* ST_* below 0x1000 are the MS_* of the same names. */
    out->flags |=
        0x20U |
        (flags & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME));
    if (atomic_load(&sb->read_only)) {
        out->flags |= ST_RDONLY;
    }
    if ((flags & MS_RELATIME) != 0) {
        out->flags |= ST_RELATIME;
    }
    return err;
}

bool mount_may(const struct vfs_ctx *ctx)
{
    const struct cred *c = ctx->cred;

    return (c->cap_effective & (1ULL << CAP_SYS_ADMIN)) != 0 &&
           (c->user_ns == NULL || c->user_ns == ctx->mnt_ns->user_ns);
}

void mounts_detach_all_on(struct dentry *d)
{
    struct mount_work gone = TAILQ_HEAD_INITIALIZER(gone);
    struct mount *m, *next;

    if (atomic_load(&d->mounts) == 0) {
        return;
    }
    write_lock(&vfs_state->mounts);
    for (m = TAILQ_FIRST(&vfs_state->mount_list); m != NULL; m = next) {
        next = TAILQ_NEXT(m, all);
        if (m->mountpoint == d) {
            mount_tree_discard(m, &gone);
            next = TAILQ_FIRST(&vfs_state->mount_list); /* what followed may be gone too */
        }
    }
    write_unlock(&vfs_state->mounts);
    mounts_put_all(&gone);
}
