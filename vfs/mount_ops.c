/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mount(2): a new file system, bind, move, remount, and changes of the propagation type. What the
 * flags ask for is decided in Linux's order (remount, bind, propagation, move, new).
 */
#include "vfs/fsnotify.h"
#include "vfs/vfs_priv.h"

#define MNT_FLAGS                                                                                  \
    (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOSYMFOLLOW | MS_NOATIME | MS_NODIRATIME |  \
     MS_RELATIME | MS_STRICTATIME)
#define ATIME_FLAGS       (MS_NOATIME | MS_NODIRATIME | MS_RELATIME | MS_STRICTATIME)
#define PROPAGATION_FLAGS (MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE)

/* The flags of a mount from those of the call: relatime unless told otherwise. */
static u32 mount_flags(u64 flags)
{
    u32 f = (u32)flags & MNT_FLAGS;

    if ((f & MS_STRICTATIME) != 0) {
        return f & ~(u32)(MS_RELATIME | MS_NOATIME);
    }
    return (f & MS_NOATIME) != 0 ? f & ~(u32)MS_RELATIME : f | MS_RELATIME;
}

static bool path_is_mount_root(const struct path *p)
{
    return p->mnt != NULL && p->dentry == p->mnt->root;
}

/* (mounts) held. Is the mount one of the caller's namespace? */
static bool is_ours(const struct vfs_ctx *ctx, const struct mount *m)
{
    return m != NULL && m->ns == ctx->mnt_ns;
}

/* Graft m onto target; (mounts) held for writing. Takes over m's count on success. */
static int graft(const struct vfs_ctx *ctx, struct mount *m, struct path *target)
{
    if (!is_ours(ctx, target->mnt)) {
        return -EINVAL;
    }
    if (dentry_is_dir(m->root) != dentry_is_dir(target->dentry)) {
        return -ENOTDIR;
    }
    return mount_attach_propagate(m, target->mnt, target->dentry);
}

/* ---- a new file system ---- */

static int do_new(const struct vfs_ctx *ctx, const char *source, struct path *target,
                  const char *type, u64 flags, const char *data)
{
    struct fs_type *t = type != NULL ? fs_type_find(type) : NULL;
    struct dentry *root;
    struct super *sb;
    struct mount *m;
    int err;

    if (type == NULL) {
        return -EINVAL;
    }
    if (t == NULL) {
        return -ENODEV;
    }
    sb = t->mount(t, source, (u32)flags, data, ctx);
    if (IS_ERR(sb)) {
        return (int)PTR_ERR(sb);
    }
    root = super_root_dentry(sb);
    m = root != NULL ? mount_new(sb, root, mount_flags(flags)) : NULL;
    dentry_put(root);
    super_put(sb);
    if (m == NULL) {
        return -ENOMEM;
    }
    write_lock(&vfs_state->mounts);
    (void)path_follow_mounts(target);
    err = graft(ctx, m, target);
    write_unlock(&vfs_state->mounts);
    if (err != 0) {
        mount_put(m);
    }
    return err;
}

/* ---- bind ---- */

static int bind_locked(const struct vfs_ctx *ctx, const struct path *from, struct path *target,
                       bool recursive, struct mount_work *gone)
{
    struct mount *m;
    int err;

    if (from->mnt == NULL || from->mnt->unbindable || !is_ours(ctx, from->mnt) ||
        !is_ours(ctx, target->mnt)) {
        return -EINVAL;
    }
    m = mount_copy_tree(from->mnt, from->dentry, recursive ? 0 : MOUNT_COPY_ONE);
    if (IS_ERR(m)) {
        return (int)PTR_ERR(m);
    }
    err = graft(ctx, m, target);
    if (err != 0) {
        mount_tree_discard(m, gone);
    }
    return err;
}

static int do_bind(const struct vfs_ctx *ctx, const char *source, struct path *target,
                   bool recursive)
{
    struct mount_work gone = TAILQ_HEAD_INITIALIZER(gone);
    struct path from;
    int err;

    if (source == NULL || *source == '\0') {
        return -EINVAL;
    }
    err = path_lookup(ctx, AT_FDCWD, source, LOOKUP_FOLLOW, &from);
    if (err != 0) {
        return err;
    }
    write_lock(&vfs_state->mounts);
    (void)path_follow_mounts(target);
    err = bind_locked(ctx, &from, target, recursive, &gone);
    write_unlock(&vfs_state->mounts);
    mounts_put_all(&gone);
    path_put(&from);
    return err;
}

/* ---- move ---- */

static bool tree_has_unbindable(struct mount *top)
{
    for (struct mount *m = top; m != NULL; m = mount_next(m, top)) {
        if (m->unbindable) {
            return true;
        }
    }
    return false;
}

static int move_check(const struct vfs_ctx *ctx, const struct path *from, const struct path *to)
{
    struct mount *m = from->mnt, *up;

    if (!path_is_mount_root(from) || !is_ours(ctx, m) || !is_ours(ctx, to->mnt) || m->parent == m ||
        m->parent == m->ns->base || m->parent->peer_group != 0) {
        return -EINVAL;
    }
    if (dentry_is_dir(from->dentry) != dentry_is_dir(to->dentry)) {
        return -EINVAL;
    }
    if (to->mnt->peer_group != 0 && tree_has_unbindable(m)) {
        return -EINVAL;
    }
    for (up = to->mnt; up != up->parent; up = up->parent) {
        if (up == m) {
            return -ELOOP;
        }
    }
    return 0;
}

static int move_locked(const struct vfs_ctx *ctx, const struct path *from, const struct path *to)
{
    struct mount *m = from->mnt, *old_parent;
    struct dentry *old_place;
    int err = move_check(ctx, from, to);

    if (err != 0) {
        return err;
    }
    old_parent = mount_get(m->parent);
    old_place = dentry_get(m->mountpoint);
    mount_unhook(m);
    err = mount_attach_propagate(m, to->mnt, to->dentry);
    if (err != 0) {
        mount_hook(m, old_parent, old_place);
    }
    mount_put(old_parent);
    dentry_put(old_place);
    return err;
}

static int do_move(const struct vfs_ctx *ctx, const char *source, struct path *target)
{
    struct path from;
    int err;

    if (source == NULL || *source == '\0') {
        return -EINVAL;
    }
    err = path_lookup(ctx, AT_FDCWD, source, LOOKUP_FOLLOW, &from);
    if (err != 0) {
        return err;
    }
    write_lock(&vfs_state->mounts);
    (void)path_follow_mounts(target);
    err = move_locked(ctx, &from, target);
    write_unlock(&vfs_state->mounts);
    path_put(&from);
    return err;
}

/* ---- remount, propagation ---- */

/* (mounts) held. No file may be open for writing on what becomes read-only: flag first, then look.
 */
static int set_flags_locked(struct mount *m, u32 flags)
{
    u32 old = m->flags;

    __atomic_store_n(&m->flags, flags, __ATOMIC_SEQ_CST);
    if ((flags & MS_RDONLY) != 0 && (old & MS_RDONLY) == 0 && atomic_load(&m->writers) != 0) {
        __atomic_store_n(&m->flags, old, __ATOMIC_SEQ_CST);
        return -EBUSY;
    }
    mount_ns_changed(m->ns);
    return 0;
}

static bool super_has_writers(const struct super *sb)
{
    struct mount *m;

    TAILQ_FOREACH (m, &vfs_state->mount_list, all) {
        if (m->sb == sb && atomic_load(&m->writers) != 0) {
            return true;
        }
    }
    return false;
}

static int remount_super(struct super *sb, bool read_only, const char *data)
{
    bool was = atomic_exchange(&sb->read_only, read_only);
    int err = 0;

    if (read_only && !was && super_has_writers(sb)) {
        err = -EBUSY;
    }
    if (err == 0 && sb->ops->remount != NULL) {
        err = sb->ops->remount(sb, data);
    }
    if (err != 0) {
        atomic_store(&sb->read_only, was);
    }
    return err;
}

static int do_remount(const struct vfs_ctx *ctx, struct path *target, u64 flags, const char *data)
{
    u32 mnt_flags = mount_flags(flags);
    int err = 0;

    if (!path_is_mount_root(target)) {
        return -EINVAL;
    }
    WRITE_GUARD(&vfs_state->mounts);
    if (!is_ours(ctx, target->mnt)) {
        return -EINVAL;
    }
    if ((flags & ATIME_FLAGS) == 0) { /* what was is kept unless something is said */
        mnt_flags = (mnt_flags & ~(u32)ATIME_FLAGS) | (target->mnt->flags & ATIME_FLAGS);
    }
    if ((flags & MS_BIND) == 0) {
        err = remount_super(target->mnt->sb, (flags & MS_RDONLY) != 0, data);
    }
    return err != 0 ? err : set_flags_locked(target->mnt, mnt_flags);
}

static int do_propagation(const struct vfs_ctx *ctx, struct path *target, u64 flags)
{
    u32 type = (u32)flags & PROPAGATION_FLAGS;
    struct mount *m;

    if ((flags & ~(u64)(PROPAGATION_FLAGS | MS_REC | MS_SILENT)) != 0 || (type & (type - 1)) != 0 ||
        !path_is_mount_root(target)) {
        return -EINVAL;
    }
    WRITE_GUARD(&vfs_state->mounts);
    if (!is_ours(ctx, target->mnt)) {
        return -EINVAL;
    }
    for (m = target->mnt; m != NULL; m = mount_next(m, target->mnt)) {
        mount_set_propagation(m, type);
        if ((flags & MS_REC) == 0) {
            break;
        }
    }
    mount_ns_changed(ctx->mnt_ns);
    return 0;
}

int vfs_mount(const struct vfs_ctx *ctx, const char *source, const char *target, const char *type,
              u64 flags, const char *data)
{
    struct path at;
    int err;

    if ((flags & MS_MGC_MSK) == MS_MGC_VAL) {
        flags &= ~(u64)MS_MGC_MSK;
    }
    if ((flags & MS_NOUSER) != 0) {
        return -EINVAL;
    }
    err = path_lookup(ctx, AT_FDCWD, target, LOOKUP_FOLLOW, &at);
    if (err != 0) {
        return err;
    }
    if (!mount_may(ctx)) {
        err = -EPERM;
    } else if ((flags & MS_REMOUNT) != 0) {
        err = do_remount(ctx, &at, flags, data);
    } else if ((flags & MS_BIND) != 0) {
        err = do_bind(ctx, source, &at, (flags & MS_REC) != 0);
    } else if ((flags & PROPAGATION_FLAGS) != 0) {
        err = do_propagation(ctx, &at, flags);
    } else if ((flags & MS_MOVE) != 0) {
        err = do_move(ctx, source, &at);
    } else {
        err = do_new(ctx, source, &at, type, flags, data);
    }
    path_put(&at);
    return err;
}
