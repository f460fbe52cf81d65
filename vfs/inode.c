/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inodes: life, attributes, permission checks, and who may write what is executed.
 *
 * An inode is embedded in its file system's own struct; the file system decides how long unused
 * ones live (it may hold a reference), the core counts: dentries, open files, and a file system's
 * own tables. The last put calls ops->release.
 *
 * Locking: inode->lock for changes. Mode, owner, size and times are read without it, each value
 * whole; a reader may see a new mode with an old ctime, as on Linux.
 */
#include "base/clock.h"
#include "vfs/vfs_priv.h"

#include <linux/capability.h>

struct timespec inode_now(void)
{
    return ns_timespec(clock_realtime());
}

void inode_init(struct inode *inode, struct super *sb, const struct inode_ops *ops, u64 ino,
                u32 mode, u32 uid, u32 gid)
{
    ref_init(&inode->ref);
    inode->ops = ops;
    inode->sb = sb;
    inode->ino = ino;
    inode->mode = mode;
    inode->uid = uid;
    inode->gid = gid;
    inode->nlink = 1;
    rwlock_init(&inode->lock, S_ISDIR(mode) ? LOCK_INODE_DIR : LOCK_INODE);
    inode->atime = inode->mtime = inode->ctime = inode->btime = inode_now();
}

void inode_fini(struct inode *inode)
{
    inode_hooks_fini(inode);
    CHECK(atomic_load(&inode->writers) == 0, "a freed inode is open for writing");
}

struct inode *inode_get(struct inode *inode)
{
    ref_get(&inode->ref);
    return inode;
}

void inode_put(struct inode *inode)
{
    if (inode != NULL && ref_put(&inode->ref)) {
        inode->ops->release(inode);
    }
}

void inode_init_owner(const struct inode *dir, const struct cred *cred, u32 *mode, u32 *uid,
                      u32 *gid)
{
    *uid = cred->fsuid;
    *gid = cred->fsgid;
    if ((dir->mode & S_ISGID) == 0) {
        return;
    }
    *gid = dir->gid;
    if (S_ISDIR(*mode)) {
        *mode |= S_ISGID;
    } else if ((*mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && !cred_in_group(cred, *gid) &&
               !cred_capable(cred, CAP_FSETID)) {
        *mode &= ~(u32)S_ISGID;
    }
}

int inode_getattr(struct inode *inode, struct attr *out)
{
    *out = (struct attr){
        .dev = inode->sb->dev,
        .ino = inode->ino,
        .rdev = inode->rdev,
        .mode = inode->mode,
        .nlink = inode->nlink,
        .uid = inode->uid,
        .gid = inode->gid,
        .size = __atomic_load_n(&inode->size, __ATOMIC_RELAXED),
        .blksize = PAGE_SIZE,
        .atime = inode->atime,
        .mtime = inode->mtime,
        .ctime = inode->ctime,
        .btime = inode->btime,
    };
    return inode->ops->getattr != NULL ? inode->ops->getattr(inode, out) : 0;
}

/* ---- rights ---- */

bool inode_owner_or_capable(const struct inode *inode, const struct cred *cred)
{
    return cred->fsuid == inode->uid || cred_capable(cred, CAP_FOWNER);
}

/* path_resolution(7), "Permissions" and "Bypassing permission checks". */
int inode_generic_permission(struct inode *inode, u32 mask, const struct cred *cred)
{
    u32 mode = inode->mode;
    u32 bits = mode;

    if (cred->fsuid == inode->uid) {
        bits >>= 6;
    } else if (cred_in_group(cred, inode->gid)) {
        bits >>= 3;
    }
    mask &= MAY_READ | MAY_WRITE | MAY_EXEC;
    if ((mask & ~bits & 7U) == 0) {
        return 0;
    }
    if (S_ISDIR(mode)) {
        if ((mask & MAY_WRITE) == 0 && cred_capable(cred, CAP_DAC_READ_SEARCH)) {
            return 0;
        }
        return cred_capable(cred, CAP_DAC_OVERRIDE) ? 0 : -EACCES;
    }
    if (mask == MAY_READ && cred_capable(cred, CAP_DAC_READ_SEARCH)) {
        return 0;
    }
    if ((mask & MAY_EXEC) == 0 || (mode & (S_IXUSR | S_IXGRP | S_IXOTH)) != 0) {
        return cred_capable(cred, CAP_DAC_OVERRIDE) ? 0 : -EACCES;
    }
    return -EACCES;
}

int inode_permission(struct inode *inode, u32 mask, const struct cred *cred)
{
    u32 mode = inode->mode;

    if ((mask & MAY_WRITE) != 0 && (S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode)) &&
        atomic_load_explicit(&inode->sb->read_only, memory_order_relaxed)) {
        return -EROFS;
    }
    if (inode->ops->permission != NULL) {
        return inode->ops->permission(inode, mask, cred);
    }
    return inode_generic_permission(inode, mask, cred);
}

/* ---- changing attributes ---- */

void inode_set_fields(struct inode *inode, const struct setattr *set)
{
    if ((set->valid & SETATTR_MODE) != 0) {
        __atomic_store_n(&inode->mode, (inode->mode & S_IFMT) | (set->mode & 07777U),
                         __ATOMIC_RELAXED);
    }
    if ((set->valid & SETATTR_UID) != 0) {
        inode->uid = set->uid;
    }
    if ((set->valid & SETATTR_GID) != 0) {
        inode->gid = set->gid;
    }
    if ((set->valid & SETATTR_ATIME) != 0) {
        inode->atime = set->atime;
    }
    if ((set->valid & SETATTR_MTIME) != 0) {
        inode->mtime = set->mtime;
    }
    if ((set->valid & SETATTR_CTIME) != 0) {
        inode->ctime = set->ctime;
    }
}

static int setattr_check_owner(const struct inode *inode, const struct setattr *set,
                               const struct cred *cred)
{
    bool is_owner = cred->fsuid == inode->uid;

    if ((set->valid & SETATTR_UID) != 0 && !(is_owner && set->uid == inode->uid) &&
        !cred_capable(cred, CAP_CHOWN)) {
        return -EPERM;
    }
    if ((set->valid & SETATTR_GID) != 0 &&
        !(is_owner && (set->gid == inode->gid || cred_in_group(cred, set->gid))) &&
        !cred_capable(cred, CAP_CHOWN)) {
        return -EPERM;
    }
    return 0;
}

/* Linux setattr_prepare. Lock held. */
static int setattr_check(struct inode *inode, const struct setattr *set, const struct cred *cred)
{
    int err = setattr_check_owner(inode, set, cred);

    if (err != 0) {
        return err;
    }
    if ((set->valid & SETATTR_MODE) != 0 && !inode_owner_or_capable(inode, cred)) {
        return -EPERM;
    }
    if ((set->valid & (SETATTR_ATIME | SETATTR_MTIME)) != 0 &&
        !inode_owner_or_capable(inode, cred)) {
        if ((set->valid & SETATTR_TOUCH) == 0) {
            return (set->valid & (SETATTR_SIZE | SETATTR_KILL_PRIV)) != 0 ? 0 : -EPERM;
        }
        return inode_permission(inode, MAY_WRITE, cred);
    }
    return 0;
}

/* SGID goes with a write or chown where the group may execute, or the caller is not of the group.
 */
static u32 privileged_bits(const struct inode *inode, const struct cred *cred, u32 gid)
{
    u32 bits = inode->mode & S_ISUID;

    if ((inode->mode & S_ISGID) != 0 &&
        ((inode->mode & S_IXGRP) != 0 ||
         (!cred_in_group(cred, gid) && !cred_capable(cred, CAP_FSETID)))) {
        bits |= S_ISGID;
    }
    return bits;
}

static void setattr_strip_mode(const struct inode *inode, struct setattr *set,
                               const struct cred *cred)
{
    u32 drop = 0;

    if ((set->valid & SETATTR_MODE) != 0) {
        u32 gid = (set->valid & SETATTR_GID) != 0 ? set->gid : inode->gid;

        if (!cred_in_group(cred, gid) && !cred_capable(cred, CAP_FSETID)) {
            set->mode &= ~(u32)S_ISGID;
        }
        return;
    }
    if (S_ISDIR(inode->mode)) {
        return;
    }
    if ((set->valid & (SETATTR_UID | SETATTR_GID)) != 0) {
        drop = privileged_bits(inode, cred, inode->gid); /* chown(2): whoever asks */
    } else if ((set->valid & (SETATTR_SIZE | SETATTR_KILL_PRIV)) != 0 && S_ISREG(inode->mode) &&
               !cred_capable(cred, CAP_FSETID)) {
        drop = privileged_bits(inode, cred, inode->gid);
    }
    if (drop != 0) {
        set->valid |= SETATTR_MODE;
        set->mode = inode->mode & 07777U & ~drop;
    }
}

int inode_setattr(struct inode *inode, struct setattr *set, const struct cred *cred)
{
    struct timespec now = inode_now();
    int err;

    WRITE_GUARD(&inode->lock);
    err = setattr_check(inode, set, cred);
    if (err != 0) {
        return err;
    }
    if (inode->ops->setattr == NULL) {
        return -EPERM;
    }
    setattr_strip_mode(inode, set, cred);
    if ((set->valid & SETATTR_CTIME) == 0) {
        set->ctime = now;
        set->valid |= SETATTR_CTIME;
    }
    if ((set->valid & SETATTR_TOUCH) != 0) {
        set->atime = set->mtime = now;
    }
    set->valid &= ~(SETATTR_TOUCH | SETATTR_KILL_PRIV);
    return inode->ops->setattr(inode, set);
}

/* ---- writers against execve (ETXTBSY) ---- */

/* Add `step` while the count does not have the other sign. */
static int writers_add(_Atomic int *writers, int step)
{
    int old = atomic_load_explicit(writers, memory_order_relaxed);

    do {
        if (step > 0 ? old < 0 : old > 0) {
            return -ETXTBSY;
        }
    } while (!atomic_compare_exchange_weak(writers, &old, old + step));
    return 0;
}

int inode_deny_write(struct inode *inode)
{
    return writers_add(&inode->writers, -1);
}

void inode_allow_write(struct inode *inode)
{
    int old = atomic_fetch_add(&inode->writers, 1);

    CHECK(old < 0, "inode_allow_write without deny (%d)", old);
}

int inode_get_write(struct inode *inode)
{
    return writers_add(&inode->writers, 1);
}

void inode_put_write(struct inode *inode)
{
    int old = atomic_fetch_sub(&inode->writers, 1);

    CHECK(old > 0, "inode_put_write without get (%d)", old);
}

ssize_t inode_readlink(struct inode *inode, const struct vfs_ctx *ctx, char *buf, size_t size)
{
    if (!S_ISLNK(inode->mode) || inode->ops->readlink == NULL) {
        return -EINVAL;
    }
    return inode->ops->readlink(inode, ctx, buf, size);
}
