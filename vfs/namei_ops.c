/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations on one name: mkdir, mknod, symlink, bind of a socket, unlink, rmdir, and link.
 *
 * Each walks to the directory, locks it for writing, looks the last component up, checks in Linux's
 * order (what exists, then read-only mounts, then rights), calls the file system and brings the
 * dentry cache up to date before it unlocks.
 */
#include "vfs/fsnotify.h"
#include "vfs/vfs_priv.h"

#include <linux/capability.h>

/* ---- rights ---- */

int may_create(struct inode *dir, const struct cred *cred)
{
    if (dir->dead) {
        return -ENOENT;
    }
    return inode_permission(dir, MAY_WRITE | MAY_EXEC, cred);
}

/* In a sticky directory only the owner of the file or of the directory may take a name away. */
static bool is_sticky_victim(const struct inode *dir, const struct inode *victim,
                             const struct cred *cred)
{
    return (dir->mode & S_ISVTX) != 0 && cred->fsuid != victim->uid && cred->fsuid != dir->uid &&
           !cred_capable(cred, CAP_FOWNER);
}

int may_delete(struct inode *dir, struct dentry *victim, bool is_dir, const struct cred *cred)
{
    struct inode *inode = dentry_inode(victim);
    int err = inode_permission(dir, MAY_WRITE | MAY_EXEC, cred);

    if (err != 0) {
        return err;
    }
    if (is_sticky_victim(dir, inode, cred)) {
        return -EPERM;
    }
    if (is_dir && !S_ISDIR(inode->mode)) {
        return -ENOTDIR;
    }
    if (!is_dir && S_ISDIR(inode->mode)) {
        return -EISDIR;
    }
    return dir->dead ? -ENOENT : 0;
}

/* ---- making a name ---- */

/* Between creation_begin and creation_end: the directory is locked, `d` is negative. */
struct creation {
    struct walk w;
    struct inode *dir;
    struct dentry *d;
};

static int creation_lookup(struct creation *c, bool want_dir)
{
    c->d = lookup_child(c->w.cur.dentry, c->w.last, true);
    if (IS_ERR(c->d)) {
        return (int)PTR_ERR(c->d);
    }
    if (dentry_inode(c->d) != NULL) {
        return -EEXIST;
    }
    if (c->w.last_slash && !want_dir) {
        return -ENOENT;
    }
    return 0;
}

static int creation_begin(struct creation *c, const struct vfs_ctx *ctx, int dirfd,
                          const char *name, bool want_dir)
{
    int err = walk_to_parent(&c->w, ctx, dirfd, name);

    if (err != 0) {
        return err;
    }
    c->d = NULL;
    if (c->w.type != LAST_NORM) {
        walk_end(&c->w);
        return -EEXIST;
    }
    c->dir = dentry_inode(c->w.cur.dentry);
    write_lock(&c->dir->lock);
    err = creation_lookup(c, want_dir);
    if (err == 0) {
        err = mount_get_writer(c->w.cur.mnt);
    }
    if (err != 0) {
        write_unlock(&c->dir->lock);
        if (!IS_ERR_OR_NULL(c->d)) {
            dentry_put(c->d);
        }
        walk_end(&c->w);
    }
    return err;
}

/* `inode`: what was made (taken over), or ERR_PTR. */
static int creation_end(struct creation *c, struct inode *inode, u32 event)
{
    int err = IS_ERR(inode) ? (int)PTR_ERR(inode) : 0;

    if (err == 0) {
        dentry_instantiate(c->d, inode);
        fsnotify_name(c->dir, event, c->w.last, 0);
    }
    mount_put_writer(c->w.cur.mnt);
    write_unlock(&c->dir->lock);
    dentry_put(c->d);
    walk_end(&c->w);
    return err;
}

int vfs_mkdir(const struct vfs_ctx *ctx, int dirfd, const char *name, u32 mode)
{
    struct creation c;
    struct inode *inode;
    int err = creation_begin(&c, ctx, dirfd, name, true);

    if (err != 0) {
        return err;
    }
    mode &= (0777U | S_ISVTX) & ~fs_get_umask(ctx->fs);
    err = may_create(c.dir, ctx->cred);
    inode = err != 0 ? ERR_PTR(err) : dir_mkdir_locked(c.dir, c.w.last, S_IFDIR | mode, ctx->cred);
    return creation_end(&c, inode, IN_CREATE | IN_ISDIR);
}

static int mknod_check_mode(u32 mode, u64 rdev, const struct cred *cred)
{
    switch (mode & S_IFMT) {
    case 0:
    case S_IFREG:
    case S_IFIFO:
    case S_IFSOCK:
        return 0;
    case S_IFCHR:
        return rdev == 0 || cred_capable(cred, CAP_MKNOD) ? 0 : -EPERM; /* 0: an overlay whiteout */
    case S_IFBLK:
        return cred_capable(cred, CAP_MKNOD) ? 0 : -EPERM;
    case S_IFDIR:
        return -EPERM;
    default:
        return -EINVAL;
    }
}

static struct inode *mknod_make(struct creation *c, u32 mode, u64 rdev, const struct cred *cred)
{
    int err = may_create(c->dir, cred);

    if (err == 0) {
        err = mknod_check_mode(mode, rdev, cred);
    }
    if (err != 0) {
        return ERR_PTR(err);
    }
    if ((mode & S_IFMT) == 0 || S_ISREG(mode)) {
        return dir_create_locked(c->dir, c->w.last, S_IFREG | (mode & 07777U), cred);
    }
    return dir_mknod_locked(c->dir, c->w.last, mode, rdev, cred);
}

int vfs_mknod(const struct vfs_ctx *ctx, int dirfd, const char *name, u32 mode, u64 rdev)
{
    struct creation c;
    int err = mknod_check_mode(mode, 0, ctx->cred);

    if (err == -EINVAL || (err != 0 && S_ISDIR(mode))) {
        return err;
    }
    err = creation_begin(&c, ctx, dirfd, name, false);
    if (err != 0) {
        return err;
    }
    mode &= ~fs_get_umask(ctx->fs);
    return creation_end(&c, mknod_make(&c, mode, rdev, ctx->cred), IN_CREATE);
}

int vfs_bind_socket(const struct vfs_ctx *ctx, const char *name, u32 mode, void *special,
                    struct path *out)
{
    struct creation c;
    struct inode *inode;
    int err = creation_begin(&c, ctx, AT_FDCWD, name, false);

    if (err != 0) {
        return err == -EEXIST ? -EADDRINUSE : err;
    }
    mode = S_IFSOCK | (mode & 0777U & ~fs_get_umask(ctx->fs));
    inode = mknod_make(&c, mode, 0, ctx->cred);
    if (!IS_ERR(inode)) {
        write_lock(&inode->lock);
        inode->special = special;
        write_unlock(&inode->lock);
        *out = (struct path){.mnt = c.w.cur.mnt, .dentry = c.d};
        path_get(out);
    }
    return creation_end(&c, inode, IN_CREATE);
}

int vfs_symlink(const struct vfs_ctx *ctx, const char *target, int dirfd, const char *name)
{
    struct creation c;
    struct inode *inode;
    int err;

    if (target[0] == '\0') {
        return -ENOENT;
    }
    err = creation_begin(&c, ctx, dirfd, name, false);
    if (err != 0) {
        return err;
    }
    err = may_create(c.dir, ctx->cred);
    inode = err != 0 ? ERR_PTR(err) : dir_symlink_locked(c.dir, c.w.last, target, ctx->cred);
    return creation_end(&c, inode, IN_CREATE);
}

/* ---- link ---- */

/* fs.protected_hardlinks: others' files only if they could be copied just as well. */
static int may_link(struct inode *inode, const struct cred *cred)
{
    if (PROTECTED_HARDLINKS == 0 || inode_owner_or_capable(inode, cred)) {
        return 0;
    }
    if (!S_ISREG(inode->mode) || (inode->mode & S_ISUID) != 0 ||
        (inode->mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) ||
        inode_permission(inode, MAY_READ | MAY_WRITE, cred) != 0) {
        return -EPERM;
    }
    return 0;
}

static struct inode *link_make(struct creation *c, const struct path *old, const struct cred *cred)
{
    struct inode *inode = dentry_inode(old->dentry);
    int err = old->mnt != c->w.cur.mnt ? -EXDEV : may_link(inode, cred);

    if (err == 0) {
        err = may_create(c->dir, cred);
    }
    if (err == 0) {
        err = S_ISDIR(inode->mode) ? -EPERM : dir_link_locked(c->dir, c->w.last, inode);
    }
    return err != 0 ? ERR_PTR(err) : inode_get(inode);
}

int vfs_link(const struct vfs_ctx *ctx, int olddirfd, const char *old, int newdirfd,
             const char *new, u32 at_flags)
{
    struct creation c;
    struct path from;
    u32 lookup = (at_flags & AT_SYMLINK_FOLLOW) != 0 ? LOOKUP_FOLLOW : 0;
    int err;

    if ((at_flags & ~(u32)(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH)) != 0) {
        return -EINVAL;
    }
    if ((at_flags & AT_EMPTY_PATH) != 0) {
        if (!cred_capable(ctx->cred, CAP_DAC_READ_SEARCH) && old[0] == '\0') {
            return -ENOENT;
        }
        lookup |= LOOKUP_EMPTY;
    }
    err = path_lookup(ctx, olddirfd, old, lookup, &from);
    if (err != 0) {
        return err;
    }
    err = creation_begin(&c, ctx, newdirfd, new, false);
    if (err == 0) {
        err = creation_end(&c, link_make(&c, &from, ctx->cred), IN_CREATE);
    }
    if (err == 0) {
        fsnotify_self(dentry_inode(from.dentry), IN_ATTRIB);
    }
    path_put(&from);
    return err;
}

/* ---- taking a name away ---- */

static int removal_check_last(const struct walk *w, bool is_dir)
{
    switch (w->type) {
    case LAST_NORM:
        return 0;
    case LAST_DOT:
        return is_dir ? -EINVAL : -EISDIR;
    case LAST_DOTDOT:
        return is_dir ? -ENOTEMPTY : -EISDIR;
    case LAST_ROOT:
    default:
        return is_dir ? -EBUSY : -EISDIR;
    }
}

static int removal_slashes(const struct dentry *d)
{
    return dentry_is_dir(d) ? -EISDIR : -ENOTDIR;
}

/* The directory is locked for writing and its mount may be written to. */
static int remove_locked(struct walk *w, struct dentry *d, bool is_dir)
{
    struct inode *dir = dentry_inode(w->cur.dentry), *inode = dentry_inode(d);
    int err;

    if (inode == NULL) {
        return -ENOENT;
    }
    if (w->last_slash && !is_dir) {
        return removal_slashes(d);
    }
    err = may_delete(dir, d, is_dir, w->ctx->cred);
    if (err == 0 && mount_is_local(w->ctx, d)) {
        err = -EBUSY;
    }
    if (err == 0) {
        err =
            is_dir ? dir_rmdir_locked(dir, w->last, inode) : dir_unlink_locked(dir, w->last, inode);
    }
    if (err != 0) {
        return err;
    }
    fsnotify_name(dir, IN_DELETE | (is_dir ? IN_ISDIR : 0U), w->last, 0);
    if (!is_dir) {
        fsnotify_self(inode, IN_ATTRIB);
    }
    dentry_delete(d);
    return 0;
}

int vfs_unlink(const struct vfs_ctx *ctx, int dirfd, const char *name, u32 at_flags)
{
    bool is_dir = (at_flags & AT_REMOVEDIR) != 0;
    struct walk w;
    struct inode *dir, *kept = NULL;
    struct dentry *d;
    int err = walk_to_parent(&w, ctx, dirfd, name);

    if (err != 0) {
        return err;
    }
    err = removal_check_last(&w, is_dir);
    if (err == 0) {
        err = mount_get_writer(w.cur.mnt);
    }
    if (err != 0) {
        walk_end(&w);
        return err;
    }
    dir = dentry_inode(w.cur.dentry);
    write_lock(&dir->lock);
    d = lookup_child(w.cur.dentry, w.last, true);
    if (IS_ERR(d)) {
        err = (int)PTR_ERR(d);
    } else {
        kept = dentry_inode(d);
        if (kept != NULL) {
            (void)inode_get(kept); /* its content is freed with no directory locked */
        }
        err = remove_locked(&w, d, is_dir);
    }
    write_unlock(&dir->lock);
    if (!IS_ERR(d)) {
        if (err == 0) {
            mounts_detach_all_on(d);
        }
        dentry_put(d);
    }
    mount_put_writer(w.cur.mnt);
    inode_put(kept);
    walk_end(&w);
    return err;
}
