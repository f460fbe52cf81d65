/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies of mount trees, and propagation (mount_namespaces(7), "SHARED SUBTREES").
 *
 * Mounts that share events have the same peer_group; a slave's master_group is the peer_group whose
 * events it receives. Groups are numbers only: who is in one is found by going over all attached
 * mounts, which is cheap enough for what happens seldom and leaves no lists to keep right.
 *
 * (mounts) is held for writing in all of this file.
 */
#include "vfs/vfs_priv.h"

static u32 new_group(void)
{
    return ++vfs_state->next_peer_group;
}

/* ---- groups ---- */

static bool group_has_other(u32 group, const struct mount *m)
{
    const struct mount *o;

    TAILQ_FOREACH (o, &vfs_state->mount_list, all) {
        if (o != m && o->peer_group == group) {
            return true;
        }
    }
    return false;
}

/* m is about to leave its peers: if it was the last, its slaves go to its own master. */
static void leave_peers(struct mount *m)
{
    struct mount *o;

    if (m->peer_group == 0) {
        return;
    }
    if (!group_has_other(m->peer_group, m)) {
        TAILQ_FOREACH (o, &vfs_state->mount_list, all) {
            if (o->master_group == m->peer_group) {
                o->master_group = m->master_group;
            }
        }
    }
    m->peer_group = 0;
}

void mount_leave_groups(struct mount *m)
{
    leave_peers(m);
    m->master_group = 0;
}

void mount_set_propagation(struct mount *m, u32 ms_type)
{
    u32 group = m->peer_group;

    switch (ms_type) {
    case MS_SHARED:
        if (group == 0) {
            m->peer_group = new_group();
        }
        m->unbindable = false;
        return;
    case MS_SLAVE:
        if (group != 0 && group_has_other(group, m)) {
            m->master_group = group;
            m->peer_group = 0;
        } else {
            leave_peers(m);
        }
        return;
    default:
        mount_leave_groups(m);
        m->unbindable = ms_type == MS_UNBINDABLE;
        return;
    }
}

/* ---- copies ---- */

static struct mount *mount_copy_one(const struct mount *m, struct dentry *root, u32 how)
{
    struct mount *c = mount_new(m->sb, root, m->flags);

    if (c == NULL || (how & MOUNT_COPY_PRIVATE) != 0) {
        return c;
    }
    c->unbindable = m->unbindable && (how & MOUNT_COPY_UNBINDABLE) != 0;
    if ((how & MOUNT_COPY_SLAVE) != 0) {
        c->master_group = m->peer_group != 0 ? m->peer_group : m->master_group;
        c->peer_group = (how & MOUNT_COPY_SHARED) != 0 ? new_group() : 0;
    } else {
        c->master_group = m->master_group;
        c->peer_group = m->peer_group;
    }
    return c;
}

/* Detach and list m and everything below it. */
void mount_tree_discard(struct mount *m, struct mount_work *gone)
{
    for (;;) {
        struct mount *leaf = m, *next;

        while ((next = RB_ROOT(&leaf->children)) != NULL) {
            leaf = next;
        }
        mount_detach(leaf, gone);
        if (leaf == m) {
            return;
        }
    }
}

static bool copy_skips(const struct mount *m, u32 how)
{
    return m->unbindable && (how & MOUNT_COPY_UNBINDABLE) == 0;
}

struct mount *mount_copy_tree(struct mount *m, struct dentry *root, u32 how)
{
    struct mount_work gone = TAILQ_HEAD_INITIALIZER(gone);
    struct mount *top = mount_copy_one(m, root, how), *o;

    if (top == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    m->copy = top;
    if ((how & MOUNT_COPY_ONE) != 0) {
        return top;
    }
    for (o = mount_next(m, m); o != NULL; o = mount_next(o, m)) {
        struct mount *c;

        o->copy = NULL;
        /* Left out: what hangs on something left out, or outside the part that is copied. */
        if (o->parent->copy == NULL || copy_skips(o, how) ||
            (o->parent == m && !dentry_is_below(o->mountpoint, root))) {
            continue;
        }
        c = mount_copy_one(o, o->root, how);
        if (c == NULL) {
            mount_tree_discard(top, &gone);
            mounts_put_all(&gone);
            return ERR_PTR(-ENOMEM);
        }
        o->copy = c;
        mount_hook(c, o->parent->copy, o->mountpoint);
    }
    return top;
}

/* ---- where events go ---- */

/* List, behind x, all that receive x's events and were not listed yet. */
static void propagation_from(struct mount *x, struct mount_work *out)
{
    struct mount *y;

    if (x->peer_group == 0) {
        return;
    }
    TAILQ_FOREACH (y, &vfs_state->mount_list, all) {
        if (y->visit == vfs_state->visit) {
            continue;
        }
        if (y->peer_group == x->peer_group || y->master_group == x->peer_group) {
            y->visit = vfs_state->visit;
            y->copy = x; /* whom it has the event from */
            TAILQ_INSERT_TAIL(out, y, work);
        }
    }
}

void mount_propagation_of(struct mount *m, struct mount_work *out)
{
    struct mount *x;

    TAILQ_INIT(out);
    vfs_state->visit++;
    m->visit = vfs_state->visit;
    propagation_from(m, out);
    TAILQ_FOREACH (x, out, work) {
        if (x->peer_group != x->copy->peer_group) { /* a slave with peers of its own */
            propagation_from(x, out);
        }
    }
}

/* ---- attaching ---- */

static void share_tree(struct mount *m)
{
    for (struct mount *c = m; c != NULL; c = mount_next(c, m)) {
        if (c->peer_group == 0) {
            c->peer_group = new_group();
        }
    }
}

/* One copy for the receiver y, which has the event from y->copy (a receiver too, or the origin). On
 * return y->copy is the new tree: what y's own receivers copy. */
static int propagate_one(struct mount *y, struct mount *source, struct dentry *at)
{
    struct mount *from = y->copy;
    struct mount *model = from->copy_tree != NULL ? from->copy_tree : source;
    bool is_peer = y->peer_group == from->peer_group;
    u32 how = is_peer ? 0 : MOUNT_COPY_SLAVE | (y->peer_group != 0 ? MOUNT_COPY_SHARED : 0);
    struct mount *c;

    y->copy_tree = NULL;
    if (!dentry_is_below(at, y->root)) {
        y->copy_tree = NULL;
        return 0;
    }
    c = mount_copy_tree(model, model->root, how);
    if (IS_ERR(c)) {
        return (int)PTR_ERR(c);
    }
    y->copy_tree = c;
    return 0;
}

int mount_attach_propagate(struct mount *m, struct mount *parent, struct dentry *at)
{
    struct mount_work targets, gone = TAILQ_HEAD_INITIALIZER(gone);
    struct mount *y;
    int err = 0;

    if (parent->peer_group == 0) {
        return mount_attach(m, parent, at);
    }
    share_tree(m);
    mount_propagation_of(parent, &targets);
    parent->copy_tree = NULL;
    TAILQ_FOREACH (y, &targets, work) {
        y->copy_tree = NULL;
    }
    TAILQ_FOREACH (y, &targets, work) {
        err = err == 0 ? propagate_one(y, m, at) : err;
    }
    if (err == 0) {
        err = mount_attach(m, parent, at);
    }
    TAILQ_FOREACH (y, &targets, work) {
        struct mount *c = y->copy_tree;

        y->copy_tree = NULL;
        if (c != NULL && (err != 0 || mount_attach(c, y, at) != 0)) {
            mount_tree_discard(c, &gone);
        }
    }
    mounts_put_all(&gone);
    return err;
}
