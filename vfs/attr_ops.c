/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations on what a name refers to: stat, access, chmod, chown, utimens, truncate, readlink, and
 * the changes of a task's own root and working directory.
 */
#include "vfs/fdtable.h"
#include "vfs/fsnotify.h"
#include "vfs/vfs_priv.h"

#include <linux/capability.h>

static u32 lookup_flags(u32 at_flags)
{
    u32 lookup = (at_flags & AT_SYMLINK_NOFOLLOW) != 0 ? 0 : LOOKUP_FOLLOW;

    return (at_flags & AT_EMPTY_PATH) != 0 ? lookup | LOOKUP_EMPTY : lookup;
}

/* ---- reading ---- */

int vfs_stat(const struct vfs_ctx *ctx, int dirfd, const char *name, u32 at_flags, struct attr *out,
             u64 *mnt_id)
{
    struct path path;
    int err = path_lookup(ctx, dirfd, name, lookup_flags(at_flags), &path);

    if (err != 0) {
        return err;
    }
    err = path_getattr(&path, out, mnt_id);
    path_put(&path);
    return err;
}

int path_getattr(const struct path *path, struct attr *out, u64 *mnt_id)
{
    if (mnt_id != NULL) {
        *mnt_id = path->mnt != NULL ? path->mnt->id : 0;
    }
    return inode_getattr(dentry_inode(path->dentry), out);
}

ssize_t vfs_readlink(const struct vfs_ctx *ctx, int dirfd, const char *name, char *buf, size_t size)
{
    struct path path;
    struct inode *inode;
    ssize_t len;
    /* An empty name reads the link that an O_PATH descriptor refers to. */
    int err = path_lookup(ctx, dirfd, name, dirfd != AT_FDCWD ? LOOKUP_EMPTY : 0, &path);

    if (err != 0) {
        return err;
    }
    inode = dentry_inode(path.dentry);
    if (!S_ISLNK(inode->mode) && name[0] == '\0') {
        len = -ENOENT;
    } else {
        len = inode_readlink(inode, ctx, buf, size);
    }
    path_put(&path);
    return len;
}

/* access(2) asks for the real ids: a cred of these, with root's capabilities only for root. */
static struct cred *access_cred(const struct cred *cred)
{
    struct cred *c = cred_copy(cred);

    if (c == NULL) {
        return NULL;
    }
    c->fsuid = c->uid;
    c->fsgid = c->gid;
    c->cap_effective = c->uid == 0 ? c->cap_permitted : 0;
    return c;
}

static int access_path(const struct path *path, u32 mask, const struct cred *cred)
{
    struct inode *inode = dentry_inode(path->dentry);
    u32 mode = inode->mode;
    int err;

    if ((mask & MAY_EXEC) != 0 && S_ISREG(mode) && mount_has(path->mnt, MS_NOEXEC)) {
        return -EACCES;
    }
    err = inode_permission(inode, mask, cred);
    if (err == 0 && (mask & MAY_WRITE) != 0 && (S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode))) {
        err = mount_want_write(path->mnt);
    }
    return err;
}

int vfs_access(const struct vfs_ctx *ctx, int dirfd, const char *name, u32 mask, u32 at_flags)
{
    bool is_real =
        (at_flags & AT_EACCESS) == 0 &&
        (ctx->cred->fsuid != ctx->cred->uid || ctx->cred->fsgid != ctx->cred->gid ||
         ctx->cred->cap_effective != (ctx->cred->uid == 0 ? ctx->cred->cap_permitted : 0));
    struct cred *cred = is_real ? access_cred(ctx->cred) : cred_get(ctx->cred);
    struct vfs_ctx as = *ctx;
    struct path path;
    int err;

    if (cred == NULL) {
        return -ENOMEM;
    }
    as.cred = cred;
    err = path_lookup(&as, dirfd, name, lookup_flags(at_flags), &path);
    if (err == 0) {
        err = access_path(&path, mask, cred);
        path_put(&path);
    }
    cred_put(cred);
    return err;
}

/* ---- changing ---- */

int path_setattr(const struct path *path, struct setattr *set, const struct cred *cred)
{
    int err = mount_get_writer(path->mnt);

    if (err != 0) {
        return err;
    }
    err = inode_setattr(dentry_inode(path->dentry), set, cred);
    mount_put_writer(path->mnt);
    if (err == 0) {
        fsnotify_dentry(path->dentry, (set->valid & SETATTR_SIZE) != 0 ? IN_MODIFY : IN_ATTRIB);
    }
    return err;
}

static int setattr_at(const struct vfs_ctx *ctx, int dirfd, const char *name, u32 at_flags,
                      struct setattr *set)
{
    struct path path;
    int err = path_lookup(ctx, dirfd, name, lookup_flags(at_flags), &path);

    if (err != 0) {
        return err;
    }
    /* fchmodat2(2): links have no mode of their own. */
    err = set->valid == SETATTR_MODE && S_ISLNK(dentry_inode(path.dentry)->mode)
              ? -EOPNOTSUPP
              : path_setattr(&path, set, ctx->cred);
    path_put(&path);
    return err;
}

int vfs_chmod(const struct vfs_ctx *ctx, int dirfd, const char *name, u32 mode, u32 at_flags)
{
    struct setattr set = {.valid = SETATTR_MODE, .mode = mode & 07777U};

    return setattr_at(ctx, dirfd, name, at_flags, &set);
}

/* -1 leaves an id as it is. */
static struct setattr chown_setattr(u32 uid, u32 gid)
{
    struct setattr set = {.uid = uid, .gid = gid};

    set.valid = SETATTR_CTIME;
    set.valid |= uid != (u32)-1 ? SETATTR_UID : 0;
    set.valid |= gid != (u32)-1 ? SETATTR_GID : 0;
    set.ctime = inode_now();
    return set;
}

int path_chown(const struct path *path, u32 uid, u32 gid, const struct cred *cred)
{
    struct setattr set = chown_setattr(uid, gid);

    return path_setattr(path, &set, cred);
}

int vfs_chown(const struct vfs_ctx *ctx, int dirfd, const char *name, u32 uid, u32 gid,
              u32 at_flags)
{
    struct setattr set = chown_setattr(uid, gid);

    return setattr_at(ctx, dirfd, name, at_flags, &set);
}

static bool time_is_valid(const struct timespec *t)
{
    return t->tv_nsec == UTIME_NOW || t->tv_nsec == UTIME_OMIT ||
           (t->tv_nsec >= 0 && t->tv_nsec < (long)NSEC_PER_SEC);
}

/* utimensat(2) to what inode_setattr wants; 1: nothing to do. */
static int utimens_setattr(const struct timespec times[2], struct setattr *set)
{
    struct timespec now = inode_now();

    *set = (struct setattr){.valid = SETATTR_ATIME | SETATTR_MTIME | SETATTR_CTIME,
                            .atime = now,
                            .mtime = now,
                            .ctime = now};
    if (times == NULL) {
        set->valid |= SETATTR_TOUCH;
        return 0;
    }
    if (!time_is_valid(&times[0]) || !time_is_valid(&times[1])) {
        return -EINVAL;
    }
    if (times[0].tv_nsec == UTIME_OMIT && times[1].tv_nsec == UTIME_OMIT) {
        return 1;
    }
    if (times[0].tv_nsec == UTIME_NOW && times[1].tv_nsec == UTIME_NOW) {
        set->valid |= SETATTR_TOUCH;
        return 0;
    }
    if (times[0].tv_nsec == UTIME_OMIT) {
        set->valid &= ~SETATTR_ATIME;
    } else if (times[0].tv_nsec != UTIME_NOW) {
        set->atime = times[0];
    }
    if (times[1].tv_nsec == UTIME_OMIT) {
        set->valid &= ~SETATTR_MTIME;
    } else if (times[1].tv_nsec != UTIME_NOW) {
        set->mtime = times[1];
    }
    return 0;
}

int path_utimens(const struct path *path, const struct timespec times[2], const struct cred *cred)
{
    struct setattr set;
    int err = utimens_setattr(times, &set);

    return err != 0 ? min(err, 0) : path_setattr(path, &set, cred);
}

int vfs_utimens(const struct vfs_ctx *ctx, int dirfd, const char *name,
                const struct timespec times[2], u32 at_flags)
{
    struct path path;
    struct setattr set;
    int err = utimens_setattr(times, &set);

    if (err != 0) {
        return min(err, 0); /* both omitted: not even the path is looked at */
    }
    err = path_lookup(ctx, dirfd, name, lookup_flags(at_flags), &path);
    if (err == 0) {
        err = path_setattr(&path, &set, ctx->cred);
        path_put(&path);
    }
    return err;
}

static int truncate_path(const struct vfs_ctx *ctx, const struct path *path, s64 len)
{
    struct inode *inode = dentry_inode(path->dentry);
    struct timespec now = inode_now();
    struct setattr set = {.valid = SETATTR_SIZE | SETATTR_MTIME | SETATTR_CTIME,
                          .size = (u64)len,
                          .mtime = now,
                          .ctime = now};
    int err;

    if (S_ISDIR(inode->mode)) {
        return -EISDIR;
    }
    if (!S_ISREG(inode->mode)) {
        return -EINVAL;
    }
    err = mount_get_writer(path->mnt);
    if (err != 0) {
        return err;
    }
    err = inode_permission(inode, MAY_WRITE, ctx->cred);
    if (err == 0) {
        err = inode_get_write(inode);
    }
    if (err == 0) {
        err = (u64)len > ctx->fsize_limit && (u64)len > inode->size
                  ? -EFBIG
                  : path_setattr(path, &set, ctx->cred);
        inode_put_write(inode);
    }
    mount_put_writer(path->mnt);
    return err;
}

int vfs_truncate(const struct vfs_ctx *ctx, const char *name, s64 len)
{
    struct path path;
    int err;

    if (len < 0) {
        return -EINVAL;
    }
    err = path_lookup(ctx, AT_FDCWD, name, LOOKUP_FOLLOW, &path);
    if (err == 0) {
        err = truncate_path(ctx, &path, len);
        path_put(&path);
    }
    return err;
}

/* ---- where a task stands ---- */

static void fs_set_path(struct fs_context *fs, struct path *slot, const struct path *path)
{
    struct path old;

    path_get(path);
    write_lock(&fs->lock);
    old = *slot;
    *slot = *path;
    write_unlock(&fs->lock);
    path_put(&old);
}

int vfs_chdir(const struct vfs_ctx *ctx, const char *name)
{
    struct path path;
    int err = path_lookup(ctx, AT_FDCWD, name, LOOKUP_FOLLOW | LOOKUP_DIRECTORY, &path);

    if (err != 0) {
        return err;
    }
    err = inode_permission(dentry_inode(path.dentry), MAY_EXEC, ctx->cred);
    if (err == 0) {
        fs_set_path(ctx->fs, &ctx->fs->cwd, &path);
    }
    path_put(&path);
    return err;
}

int vfs_fchdir(const struct vfs_ctx *ctx, int fd)
{
    struct file *f = fd_get_any(ctx->fdt, fd);
    int err;

    if (f == NULL) {
        return -EBADF;
    }
    err = !S_ISDIR(f->inode->mode) ? -ENOTDIR : inode_permission(f->inode, MAY_EXEC, ctx->cred);
    if (err == 0) {
        fs_set_path(ctx->fs, &ctx->fs->cwd, &f->path);
    }
    file_put(f);
    return err;
}

int vfs_chroot(const struct vfs_ctx *ctx, const char *name)
{
    struct path path;
    int err = path_lookup(ctx, AT_FDCWD, name, LOOKUP_FOLLOW | LOOKUP_DIRECTORY, &path);

    if (err != 0) {
        return err;
    }
    err = inode_permission(dentry_inode(path.dentry), MAY_EXEC, ctx->cred);
    if (err == 0 && !cred_capable(ctx->cred, CAP_SYS_CHROOT)) {
        err = -EPERM;
    }
    if (err == 0) {
        fs_set_path(ctx->fs, &ctx->fs->root, &path);
    }
    path_put(&path);
    return err;
}
