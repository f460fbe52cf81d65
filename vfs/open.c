/* SPDX-License-Identifier: Apache-2.0 */
/*
 * open(2), creat(2), openat2(2), and opening for execve: the last component may be made, the rights
 * are checked, then the kind of inode says who makes the file: the file system's open op, a
 * character device's driver, a FIFO.
 *
 * The order of checks is Linux's (do_open, may_open): what exists is found out with the directory
 * locked; a read-only mount refuses creation only if there is something to create.
 */
#include "vfs/fsnotify.h"
#include "vfs/pipe.h"
#include "vfs/vfs_priv.h"

#include <linux/capability.h>

#define OPEN_CREATE_FLAGS (O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC)
#define O_TMPFILE_BIT     (O_TMPFILE & ~O_DIRECTORY)

/* What an open is about: the decoded flags. */
struct open_op {
    const struct vfs_ctx *ctx;
    u32 flags; /* O_* */
    u32 mode;
    u32 lookup; /* LOOKUP_* */
    u32 access; /* MAY_* */
    bool created;
};

static const struct file_ops path_file_ops = {.name = "path", .release = file_release_plain};
HEAP_OPS(path_file_ops);

/* Linux build_open_flags. */
static int open_decode(struct open_op *op, const struct open_how_args *how)
{
    u32 flags = how->flags;

    if ((flags & O_TMPFILE_BIT) != 0) {
        if ((flags & O_TMPFILE) != O_TMPFILE || (flags & O_ACCMODE) == O_RDONLY ||
            (flags & O_CREAT) != 0) {
            return -EINVAL;
        }
    } else if ((flags & (O_CREAT | O_DIRECTORY)) == (O_CREAT | O_DIRECTORY)) {
        return -EINVAL;
    }
    if ((flags & O_PATH) != 0) {
        flags &= O_DIRECTORY | O_NOFOLLOW | O_PATH | O_CLOEXEC;
    }
    op->access = (flags & O_PATH) != 0 ? 0
                                       : (u32[]){MAY_READ, MAY_WRITE, MAY_READ | MAY_WRITE,
                                                 MAY_READ | MAY_WRITE}[flags & O_ACCMODE];
    if ((flags & O_TRUNC) != 0) {
        op->access |= MAY_WRITE;
    }
    op->lookup = how->resolve << LOOKUP_RESOLVE_SHIFT;
    if ((flags & O_DIRECTORY) != 0) {
        op->lookup |= LOOKUP_DIRECTORY;
    }
    if ((flags & O_NOFOLLOW) == 0 && (flags & (O_CREAT | O_EXCL)) != (O_CREAT | O_EXCL)) {
        op->lookup |= LOOKUP_FOLLOW;
    }
    op->flags = flags;
    op->mode = how->mode & 07777U;
    return 0;
}

/* ---- rights ---- */

static int may_open(const struct open_op *op, const struct path *path)
{
    struct inode *inode = dentry_inode(path->dentry);
    int err;

    switch (inode->mode & S_IFMT) {
    case S_IFLNK:
        return -ELOOP;
    case S_IFDIR:
        if ((op->access & MAY_WRITE) != 0) {
            return -EISDIR;
        }
        if ((op->access & MAY_EXEC) != 0) {
            return -EACCES;
        }
        break;
    case S_IFREG:
        if ((op->access & MAY_EXEC) != 0 && mount_has(path->mnt, MS_NOEXEC)) {
            return -EACCES;
        }
        break;
    case S_IFCHR:
    case S_IFBLK:
        if (mount_has(path->mnt, MS_NODEV) || inode->sb->nodev) {
            return -EACCES;
        }
        /* fallthrough */
    default:
        if ((op->access & MAY_EXEC) != 0) {
            return -EACCES;
        }
        break;
    }
    err = inode_permission(inode, op->access, op->ctx->cred);
    if (err == 0 && (op->flags & O_NOATIME) != 0 && !inode_owner_or_capable(inode, op->ctx->cred)) {
        err = -EPERM;
    }
    return err;
}

/* fs.protected_fifos and fs.protected_regular: no O_CREAT open of somebody else's file in a sticky
 * directory that others may write to. */
static int may_create_in_sticky(const struct walk *w, const struct inode *inode)
{
    int level = S_ISFIFO(inode->mode)  ? PROTECTED_FIFOS
                : S_ISREG(inode->mode) ? PROTECTED_REGULAR
                                       : 0;

    if (level == 0 || (w->dir_mode & S_ISVTX) == 0 || inode->uid == w->dir_uid ||
        inode->uid == w->ctx->cred->fsuid) {
        return 0;
    }
    return (w->dir_mode & S_IWOTH) != 0 || ((w->dir_mode & S_IWGRP) != 0 && level >= 2) ? -EACCES
                                                                                        : 0;
}

/* ---- making the file ---- */

static struct file *open_by_kind(const struct open_op *op, struct inode *inode,
                                 const struct path *path)
{
    const struct cred *cred = op->ctx->cred;
    u32 flags = op->flags & ~(u32)(OPEN_CREATE_FLAGS & ~O_NOCTTY);
    device_open_fn open_dev;

    if (inode->sb->opens_itself) {
        return inode->ops->open(inode, path, flags, cred);
    }
    switch (inode->mode & S_IFMT) {
    case S_IFCHR:
        open_dev = chrdev_find(inode->rdev);
        return open_dev != NULL ? open_dev(inode, path, flags, cred, op->ctx) : ERR_PTR(-ENXIO);
    case S_IFBLK:
    case S_IFSOCK:
        return ERR_PTR(-ENXIO);
    case S_IFIFO:
        return fifo_open(inode, path, flags, cred);
    default:
        return inode->ops->open != NULL ? inode->ops->open(inode, path, flags, cred)
                                        : ERR_PTR(-ENXIO);
    }
}

/* Writers of regular files and directories are counted by mount and inode before the file exists.
 */
static int open_count_writer(struct inode *inode, struct mount *mnt)
{
    int err = mount_get_writer(mnt);

    if (err == 0) {
        err = inode_get_write(inode);
        if (err != 0) {
            mount_put_writer(mnt);
        }
    }
    return err;
}

static struct file *open_inode(const struct open_op *op, const struct path *path)
{
    struct inode *inode = dentry_inode(path->dentry);
    bool counted = (op->flags & O_ACCMODE) != O_RDONLY && S_ISREG(inode->mode);
    struct file *f;
    int err = 0;

    if ((op->flags & O_PATH) != 0) {
        return file_new_plain(&path_file_ops, inode, path, op->flags & ~(u32)O_CLOEXEC,
                              op->ctx->cred);
    }
    if (counted) {
        err = open_count_writer(inode, path->mnt);
    } else if ((op->access & MAY_EXEC) != 0) {
        err = inode_deny_write(inode);
    }
    if (err != 0) {
        return ERR_PTR(err);
    }
    f = open_by_kind(op, inode, path);
    if (!IS_ERR(f)) {
        f->mode |= counted ? FMODE_WRITER : 0;
        f->mode |= (op->access & MAY_EXEC) != 0 ? FMODE_EXEC : 0;
        return f;
    }
    if (counted) {
        inode_put_write(inode);
        mount_put_writer(path->mnt);
    } else if ((op->access & MAY_EXEC) != 0) {
        inode_allow_write(inode);
    }
    return f;
}

static int open_truncate(const struct open_op *op, const struct path *path)
{
    struct inode *inode = dentry_inode(path->dentry);
    struct timespec now = inode_now();
    struct setattr set = {
        .valid = SETATTR_SIZE | SETATTR_MTIME | SETATTR_CTIME, .mtime = now, .ctime = now};
    int err = inode_get_write(inode);

    if (err != 0) {
        return err;
    }
    err = inode_setattr(inode, &set, op->ctx->cred);
    inode_put_write(inode);
    if (err == 0) {
        fsnotify_dentry(path->dentry, IN_MODIFY);
    }
    return err;
}

/* All that follows once the path is found (do_open). */
static struct file *open_found(struct open_op *op, const struct path *path)
{
    struct inode *inode = dentry_inode(path->dentry);
    bool truncate = !op->created && (op->flags & O_TRUNC) != 0 && S_ISREG(inode->mode);
    struct file *f;
    int err = 0;

    if ((op->flags & O_PATH) != 0) {
        return open_inode(op, path);
    }
    if (op->created) {
        op->access &= MAY_EXEC;
    }
    if (truncate) {
        err = mount_get_writer(path->mnt);
        if (err != 0) {
            return ERR_PTR(err);
        }
    }
    err = may_open(op, path);
    f = err != 0 ? ERR_PTR(err) : open_inode(op, path);
    if (!IS_ERR(f) && truncate) {
        err = open_truncate(op, path);
        if (err != 0) {
            file_put(f);
            f = ERR_PTR(err);
        }
    }
    if (truncate) {
        mount_put_writer(path->mnt);
    }
    if (!IS_ERR(f)) {
        fsnotify_file(f, IN_OPEN);
    }
    return f;
}

/* ---- the last component ---- */

/* The child of w->cur, made if need be; the directory is locked for writing. */
static struct dentry *lookup_or_create(struct walk *w, struct open_op *op)
{
    struct inode *dir = dentry_inode(w->cur.dentry), *inode;
    struct dentry *d = lookup_child(w->cur.dentry, w->last, true);
    u32 mode;
    int err;

    if (IS_ERR(d) || dentry_inode(d) != NULL) {
        return d;
    }
    err = mount_get_writer(w->cur.mnt);
    if (err == 0) {
        err = may_create(dir, w->ctx->cred);
        if (err == 0) {
            mode = S_IFREG | (op->mode & ~fs_get_umask(w->ctx->fs));
            inode = dir_create_locked(dir, w->last, mode, w->ctx->cred);
            if (IS_ERR(inode)) {
                err = (int)PTR_ERR(inode);
            } else {
                dentry_instantiate(d, inode);
                fsnotify_name(dir, IN_CREATE, w->last, 0);
                op->created = true;
            }
        }
        mount_put_writer(w->cur.mnt);
    }
    if (err != 0) {
        dentry_put(d);
        return ERR_PTR(err);
    }
    return d;
}

/* Step onto the last component with O_CREAT. */
static int open_last_create(struct walk *w, struct open_op *op, const char **body)
{
    struct inode *dir = dentry_inode(w->cur.dentry);
    struct dentry *d;

    *body = NULL;
    if (w->type != LAST_NORM) {
        return walk_last(w, body);
    }
    if (w->last_slash) {
        return -EISDIR;
    }
    d = dentry_lookup_cached(w->cur.dentry, w->last); /* warm and there: no lock */
    if (d == NULL || dentry_inode(d) == NULL || dir->ops->revalidate != NULL) {
        dentry_put(d);
        write_lock(&dir->lock);
        d = lookup_or_create(w, op);
        write_unlock(&dir->lock);
    }
    if (IS_ERR(d)) {
        return (int)PTR_ERR(d);
    }
    if ((op->flags & O_EXCL) != 0 && !op->created) {
        dentry_put(d);
        return -EEXIST;
    }
    return walk_step_last(w, d, body);
}

static struct file *open_checked(struct walk *w, struct open_op *op)
{
    struct inode *inode = dentry_inode(w->cur.dentry);
    int err = walk_check_done(w);

    if (err == 0 && (op->flags & O_CREAT) != 0 && !op->created) {
        if ((op->flags & O_EXCL) != 0) {
            err = -EEXIST;
        } else if (S_ISDIR(inode->mode)) {
            err = -EISDIR;
        } else {
            err = may_create_in_sticky(w, inode);
        }
    }
    return err != 0 ? ERR_PTR(err) : open_found(op, &w->cur);
}

static struct file *open_tmpfile(struct open_op *op, int dirfd, const char *name)
{
    const struct vfs_ctx *ctx = op->ctx;
    struct path dir, path = {0};
    struct inode *dir_inode, *inode = NULL;
    struct file *f;
    int err = path_lookup(ctx, dirfd, name, op->lookup | LOOKUP_DIRECTORY, &dir);

    if (err != 0) {
        return ERR_PTR(err);
    }
    dir_inode = dentry_inode(dir.dentry);
    err = mount_want_write(dir.mnt);
    if (err == 0) {
        err = inode_permission(dir_inode, MAY_WRITE | MAY_EXEC, ctx->cred);
    }
    if (err == 0) {
        inode = dir_tmpfile(dir_inode, S_IFREG | (op->mode & ~fs_get_umask(ctx->fs)), ctx->cred);
        err = IS_ERR(inode) ? (int)PTR_ERR(inode) : 0;
    }
    if (err != 0) {
        path_put(&dir);
        return ERR_PTR(err);
    }
    inode->linkable = (op->flags & O_EXCL) == 0;
    path.dentry = dentry_new_unlinked(dir.dentry, inode);
    if (path.dentry == NULL) {
        path_put(&dir);
        return ERR_PTR(-ENOMEM);
    }
    path.mnt = mount_get(dir.mnt);
    op->created = true;
    op->access = 0;
    f = open_found(op, &path);
    path_put(&path);
    path_put(&dir);
    return f;
}

struct file *vfs_open(const struct vfs_ctx *ctx, int dirfd, const char *name,
                      const struct open_how_args *how)
{
    struct open_op op = {.ctx = ctx};
    struct walk w;
    const char *body = name;
    struct file *f;
    int err = open_decode(&op, how);

    if (err != 0) {
        return ERR_PTR(err);
    }
    if ((op.flags & O_TMPFILE_BIT) != 0) {
        return open_tmpfile(&op, dirfd, name);
    }
    err = walk_start(&w, ctx, dirfd, name, op.lookup);
    if (err != 0) {
        return ERR_PTR(err);
    }
    while (err == 0 && body != NULL) {
        err = walk_parent(&w, body);
        if (err == 0) {
            err =
                (op.flags & O_CREAT) != 0 ? open_last_create(&w, &op, &body) : walk_last(&w, &body);
        }
    }
    f = err != 0 ? ERR_PTR(err) : open_checked(&w, &op);
    walk_end(&w);
    return f;
}

struct file *vfs_open_path(const struct vfs_ctx *ctx, const struct path *path, u32 flags)
{
    const struct open_how_args how = {.flags = flags & ~(u32)(O_CREAT | O_EXCL)};
    struct open_op op = {.ctx = ctx};
    int err = open_decode(&op, &how);

    if (err == 0 && (op.lookup & LOOKUP_DIRECTORY) != 0 && !dentry_is_dir(path->dentry)) {
        err = -ENOTDIR;
    }
    return err != 0 ? ERR_PTR(err) : open_found(&op, path);
}

struct file *vfs_open_exec(const struct vfs_ctx *ctx, int dirfd, const char *name, u32 at_flags)
{
    struct open_op op = {.ctx = ctx, .flags = O_RDONLY, .access = MAY_EXEC};
    u32 lookup = (at_flags & AT_SYMLINK_NOFOLLOW) != 0 ? 0 : LOOKUP_FOLLOW;
    struct path path;
    struct file *f;
    int err;

    if ((at_flags & AT_EMPTY_PATH) != 0) {
        lookup |= LOOKUP_EMPTY;
    }
    err = path_lookup(ctx, dirfd, name, lookup, &path);
    if (err != 0) {
        return ERR_PTR(err);
    }
    f = open_found(&op, &path);
    if (!IS_ERR(f) && !S_ISREG(f->inode->mode)) {
        file_put(f);
        f = ERR_PTR(-EACCES);
    }
    path_put(&path);
    return f;
}
