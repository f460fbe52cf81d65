/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mount namespaces and the root, cwd and umask of tasks.
 *
 * A namespace's base mount is never seen: the root is mounted on it, so that the root has a parent
 * like any other mount and pivot_root(2) needs no exception.
 */
#include "base/heap.h"
#include "vfs/vfs_priv.h"

DEFINE_CACHE(mnt_ns_cache, struct mnt_ns);
DEFINE_CACHE(fs_context_cache, struct fs_context);

/* ---- namespaces ---- */

/* Times of use are kept the relative way unless something else was said. */
static u32 with_relatime(u32 flags)
{
    return (flags & (MS_NOATIME | MS_STRICTATIME)) != 0 ? flags : flags | MS_RELATIME;
}

/* (mounts) held for writing. `base` (its count is taken over) with all that is on it. */
static struct mnt_ns *mnt_ns_make(struct mount *base)
{
    struct mnt_ns *ns = cache_new(mnt_ns_cache);

    if (ns == NULL) {
        return NULL;
    }
    ref_init(&ns->ref);
    waitq_init(&ns->changed);
    ns->ino = vfs_state->next_ns_ino++;
    ns->base = base;
    mount_join_ns(base, ns);
    return ns;
}

struct mnt_ns *mnt_ns_new(struct super *root_sb, u32 mnt_flags)
{
    struct dentry *root = super_root_dentry(root_sb);
    struct mount *base = root != NULL ? mount_new(root_sb, root, 0) : NULL;
    struct mount *m = root != NULL ? mount_new(root_sb, root, with_relatime(mnt_flags)) : NULL;
    struct mnt_ns *ns = NULL;

    if (base != NULL && m != NULL) {
        write_lock(&vfs_state->mounts);
        ns = mnt_ns_make(base);
        if (ns != NULL) {
            CHECK(mount_attach(m, base, root) == 0, "the root could not be mounted");
        }
        write_unlock(&vfs_state->mounts);
    }
    if (ns == NULL) {
        mount_put(base);
        mount_put(m);
    }
    dentry_put(root);
    return ns;
}

void mnt_ns_root(struct mnt_ns *ns, struct path *out)
{
    *out = (struct path){.mnt = mount_get(ns->base), .dentry = dentry_get(ns->base->root)};
    (void)path_follow_mounts(out);
}

/* A path in an old namespace's mount to the same in its copy. (mounts) held. */
static void fs_path_to_copy(struct path *p, struct mount *old_base)
{
    struct mount *m;

    for (m = old_base; m != NULL; m = mount_next(m, old_base)) {
        if (m == p->mnt && m->copy != NULL) {
            struct mount *old = p->mnt;

            p->mnt = mount_get(m->copy);
            CHECK(!ref_put(&old->ref), "a mount of a living namespace had no other count");
            return;
        }
    }
}

struct mnt_ns *mnt_ns_copy(struct mnt_ns *ns, struct fs_context *fs)
{
    struct mount_work gone = TAILQ_HEAD_INITIALIZER(gone);
    struct mount *base;
    struct mnt_ns *copy = NULL;

    write_lock(&vfs_state->mounts);
    base = mount_copy_tree(ns->base, ns->base->root, MOUNT_COPY_UNBINDABLE);
    if (!IS_ERR(base)) {
        copy = mnt_ns_make(base);
        if (copy == NULL) {
            mount_tree_discard(base, &gone);
        }
    }
    if (copy != NULL && fs != NULL) {
        write_lock(&fs->lock);
        fs_path_to_copy(&fs->root, ns->base);
        fs_path_to_copy(&fs->cwd, ns->base);
        write_unlock(&fs->lock);
    }
    write_unlock(&vfs_state->mounts);
    mounts_put_all(&gone);
    return copy != NULL ? copy : ERR_PTR(-ENOMEM);
}

struct mnt_ns *mnt_ns_get(struct mnt_ns *ns)
{
    ref_get(&ns->ref);
    return ns;
}

void mnt_ns_put(struct mnt_ns *ns)
{
    struct mount_work gone = TAILQ_HEAD_INITIALIZER(gone);

    if (ns == NULL || !ref_put(&ns->ref)) {
        return;
    }
    write_lock(&vfs_state->mounts);
    mount_tree_discard(ns->base, &gone);
    write_unlock(&vfs_state->mounts);
    mounts_put_all(&gone);
    user_ns_drop(ns->user_ns);
    waitq_fini(&ns->changed);
    cache_del(mnt_ns_cache, ns);
}

int mount_add(struct mnt_ns *ns, struct super *sb, const struct path *at, u32 mnt_flags)
{
    struct path place = *at;
    struct dentry *root = super_root_dentry(sb);
    struct mount *m = root != NULL ? mount_new(sb, root, with_relatime(mnt_flags)) : NULL;
    int err;

    dentry_put(root);
    if (m == NULL) {
        return -ENOMEM;
    }
    path_get(&place);
    (void)path_follow_mounts(&place);
    write_lock(&vfs_state->mounts);
    err = place.mnt->ns == ns ? mount_attach_propagate(m, place.mnt, place.dentry) : -EINVAL;
    write_unlock(&vfs_state->mounts);
    if (err != 0) {
        mount_put(m);
    }
    path_put(&place);
    return err;
}

/* ---- fs_context ---- */

struct fs_context *fs_context_new(const struct path *root, const struct path *cwd, u32 umask)
{
    struct fs_context *fs = cache_new(fs_context_cache);

    if (fs == NULL) {
        return NULL;
    }
    ref_init(&fs->ref);
    rwlock_init(&fs->lock, LOCK_FS_CONTEXT);
    fs->root = *root;
    fs->cwd = *cwd;
    path_get(&fs->root);
    path_get(&fs->cwd);
    fs->umask = umask & 0777U;
    spin_lock(&vfs_state->lock);
    TAILQ_INSERT_TAIL(&vfs_state->fs_list, fs, link);
    spin_unlock(&vfs_state->lock);
    return fs;
}

struct fs_context *fs_context_copy(struct fs_context *fs)
{
    READ_GUARD(&fs->lock);
    return fs_context_new(&fs->root, &fs->cwd, fs->umask);
}

struct fs_context *fs_context_get(struct fs_context *fs)
{
    ref_get(&fs->ref);
    return fs;
}

void fs_context_paths(struct fs_context *fs, struct path *root, struct path *cwd)
{
    READ_GUARD(&fs->lock);
    if (root != NULL) {
        *root = fs->root;
        path_get(root);
    }
    if (cwd != NULL) {
        *cwd = fs->cwd;
        path_get(cwd);
    }
}

void fs_context_put(struct fs_context *fs)
{
    if (fs == NULL || !ref_put(&fs->ref)) {
        return;
    }
    spin_lock(&vfs_state->lock);
    TAILQ_REMOVE(&vfs_state->fs_list, fs, link);
    spin_unlock(&vfs_state->lock);
    path_put(&fs->root);
    path_put(&fs->cwd);
    cache_del(fs_context_cache, fs);
}
