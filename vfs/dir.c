/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wrappers of the directory operations of struct inode_ops: locks, defaults, directories that
 * are gone. Rights and dentries are the business of namei; overlay and the kernel's own trees call
 * these directly.
 *
 * Lock order among directories: sb->rename, then parents (the ancestor first, as only the holder of
 * sb->rename locks two; a stacked file system has locked its own pair and goes by address), then a
 * directory that goes away (rmdir, the target of rename) below its parent.
 */
#include "vfs/vfs_priv.h"

#include <stdio.h>

static int dir_may_add(const struct inode *dir)
{
    return dir->dead ? -ENOENT : 0;
}

void dir_lock_two(struct inode *first, struct inode *second)
{
    write_lock(&first->lock);
    if (first != second) {
        write_lock_nested(&second->lock);
    }
}

void dir_unlock_two(struct inode *a, struct inode *b)
{
    write_unlock(&a->lock);
    if (a != b) {
        write_unlock(&b->lock);
    }
}

struct inode *dir_lookup_locked(struct inode *dir, struct name name)
{
    if (name.len > NAME_LEN_MAX) {
        return ERR_PTR(-ENAMETOOLONG);
    }
    if (dir->dead) {
        return ERR_PTR(-ENOENT);
    }
    return dir->ops->lookup != NULL ? dir->ops->lookup(dir, name) : ERR_PTR(-ENOTDIR);
}

struct inode *dir_create_locked(struct inode *dir, struct name name, u32 mode,
                                const struct cred *cred)
{
    int err = dir_may_add(dir);

    if (err != 0) {
        return ERR_PTR(err);
    }
    return dir->ops->create != NULL ? dir->ops->create(dir, name, mode, cred) : ERR_PTR(-EACCES);
}

struct inode *dir_mkdir_locked(struct inode *dir, struct name name, u32 mode,
                               const struct cred *cred)
{
    int err = dir_may_add(dir);

    if (err != 0) {
        return ERR_PTR(err);
    }
    return dir->ops->mkdir != NULL ? dir->ops->mkdir(dir, name, mode, cred) : ERR_PTR(-EPERM);
}

struct inode *dir_mknod_locked(struct inode *dir, struct name name, u32 mode, u64 rdev,
                               const struct cred *cred)
{
    int err = dir_may_add(dir);

    if (err != 0) {
        return ERR_PTR(err);
    }
    return dir->ops->mknod != NULL ? dir->ops->mknod(dir, name, mode, rdev, cred) : ERR_PTR(-EPERM);
}

struct inode *dir_symlink_locked(struct inode *dir, struct name name, const char *target,
                                 const struct cred *cred)
{
    int err = dir_may_add(dir);

    if (err != 0) {
        return ERR_PTR(err);
    }
    return dir->ops->symlink != NULL ? dir->ops->symlink(dir, name, target, cred) : ERR_PTR(-EPERM);
}

int dir_link_locked(struct inode *dir, struct name name, struct inode *inode)
{
    int err = dir_may_add(dir);

    if (err != 0) {
        return err;
    }
    if (dir->ops->link == NULL || S_ISDIR(inode->mode)) {
        return -EPERM;
    }
    if (inode->nlink == 0 && !inode->linkable) {
        return -ENOENT;
    }
    err = dir->ops->link(dir, name, inode);
    if (err == 0) {
        inode->linkable = false;
    }
    return err;
}

int dir_unlink_locked(struct inode *dir, struct name name, struct inode *inode)
{
    return dir->ops->unlink != NULL ? dir->ops->unlink(dir, name, inode) : -EPERM;
}

int dir_rmdir_locked(struct inode *dir, struct name name, struct inode *inode)
{
    int err;

    if (dir->ops->rmdir == NULL) {
        return -EPERM;
    }
    write_lock_nested(&inode->lock);
    err = dir->ops->rmdir(dir, name, inode);
    if (err == 0) {
        inode->dead = true;
    }
    write_unlock(&inode->lock);
    return err;
}

int dir_rename_locked(struct inode *old_dir, struct name old_name, struct inode *inode,
                      struct inode *new_dir, struct name new_name, struct inode *target, u32 flags)
{
    bool ends_dir = target != NULL && S_ISDIR(target->mode) && (flags & RENAME_EXCHANGE) == 0;
    int err = dir_may_add(new_dir);

    if (err != 0) {
        return err;
    }
    if (old_dir->ops->rename == NULL) {
        return -EPERM;
    }
    if (ends_dir) {
        write_lock_nested(&target->lock);
    }
    err = old_dir->ops->rename(old_dir, old_name, inode, new_dir, new_name, target, flags);
    if (ends_dir) {
        target->dead = target->dead || err == 0;
        write_unlock(&target->lock);
    }
    return err;
}

/* ---- the same with the locks ---- */

struct inode *dir_lookup(struct inode *dir, struct name name)
{
    READ_GUARD(&dir->lock);
    return dir_lookup_locked(dir, name);
}

struct inode *dir_create(struct inode *dir, struct name name, u32 mode, const struct cred *cred)
{
    WRITE_GUARD(&dir->lock);
    return dir_create_locked(dir, name, mode, cred);
}

struct inode *dir_mkdir(struct inode *dir, struct name name, u32 mode, const struct cred *cred)
{
    WRITE_GUARD(&dir->lock);
    return dir_mkdir_locked(dir, name, mode, cred);
}

struct inode *dir_mknod(struct inode *dir, struct name name, u32 mode, u64 rdev,
                        const struct cred *cred)
{
    WRITE_GUARD(&dir->lock);
    return dir_mknod_locked(dir, name, mode, rdev, cred);
}

struct inode *dir_symlink(struct inode *dir, struct name name, const char *target,
                          const struct cred *cred)
{
    WRITE_GUARD(&dir->lock);
    return dir_symlink_locked(dir, name, target, cred);
}

struct inode *dir_tmpfile(struct inode *dir, u32 mode, const struct cred *cred)
{
    WRITE_GUARD(&dir->lock);
    if (dir->dead) {
        return ERR_PTR(-ENOENT);
    }
    return dir->ops->tmpfile != NULL ? dir->ops->tmpfile(dir, mode, cred) : ERR_PTR(-EOPNOTSUPP);
}

int dir_link(struct inode *dir, struct name name, struct inode *inode)
{
    WRITE_GUARD(&dir->lock);
    return dir_link_locked(dir, name, inode);
}

int dir_unlink(struct inode *dir, struct name name, struct inode *inode)
{
    WRITE_GUARD(&dir->lock);
    return dir_unlink_locked(dir, name, inode);
}

int dir_rmdir(struct inode *dir, struct name name, struct inode *inode)
{
    WRITE_GUARD(&dir->lock);
    return dir_rmdir_locked(dir, name, inode);
}

int dir_rename(struct inode *old_dir, struct name old_name, struct inode *inode,
               struct inode *new_dir, struct name new_name, struct inode *target, u32 flags)
{
    int err;

    if (old_dir < new_dir) {
        dir_lock_two(old_dir, new_dir);
    } else {
        dir_lock_two(new_dir, old_dir);
    }
    err = dir_rename_locked(old_dir, old_name, inode, new_dir, new_name, target, flags);
    dir_unlock_two(old_dir, new_dir);
    return err;
}
