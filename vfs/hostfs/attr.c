/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostfs attributes and links' targets. Attributes are cached in struct inode; they are read again
 * when the tree is shared (every getattr), or after a change of ours whose effect the host decides.
 *
 * Changes go through descriptors that were compared with the inode, never through a name: a name
 * may be a link by now, or lead to a file that the guest has no right to.
 */
#include "base/log.h"
#include "vfs/hostfs/hostfs_priv.h"

#define TARGET_MAX PATH_LEN_MAX

/* ---- reading ---- */

/* statx of hi, by an open descriptor or by its place. */
static int stat_inode(struct hostfs_inode *hi, struct statx *stx)
{
    char name[NAME_LEN_MAX + 1];
    struct hostfs_inode *parent;
    int err, fd;

    for (int k = 0; k < HFD_KINDS; k++) {
        fd = hostfs_fd_get_open(hi, (enum hostfs_fd_kind)k);
        if (fd >= 0) {
            err = hostfs_statx_fd(fd, stx);
            hostfs_fd_put(hi, (enum hostfs_fd_kind)k);
            return err;
        }
    }
    parent = hostfs_place(hi, name);
    if (parent == NULL) {
        return &hi->inode == hi->inode.sb->root ? hostfs_statx_fd(hostfs_sb(hi)->root_fd, stx)
                                                : -ESTALE;
    }
    fd = hostfs_fd_get(parent, HFD_MAIN);
    err = fd;
    if (fd >= 0) {
        err = host_statx(fd, name, 0, HOSTFS_STATX_MASK, stx);
        hostfs_fd_put(parent, HFD_MAIN);
    }
    inode_put(&parent->inode);
    return err == 0 && !hostfs_same(hi, stx) ? -ESTALE : err;
}

int hostfs_refresh(struct hostfs_inode *hi)
{
    struct statx stx;
    int err;

    atomic_store_explicit(&hi->stale, false, memory_order_relaxed);
    err = stat_inode(hi, &stx);
    if (err == 0) {
        hostfs_fill(hi, &stx);
    }
    return err;
}

void hostfs_mark_stale(struct hostfs_inode *hi)
{
    atomic_store_explicit(&hi->stale, true, memory_order_relaxed);
}

int hostfs_getattr(struct inode *inode, struct attr *out)
{
    struct hostfs_inode *hi = to_hostfs(inode);

    if (hostfs_sb(hi)->opt.revalidate || atomic_load_explicit(&hi->stale, memory_order_relaxed)) {
        (void)hostfs_refresh(hi); /* what has no name any more is as it was */
    }
    SPIN_GUARD(&hi->lock);
    out->mode = inode->mode;
    out->nlink = inode->nlink;
    out->uid = inode->uid;
    out->gid = inode->gid;
    out->size = inode->size;
    out->atime = inode->atime;
    out->mtime = inode->mtime;
    out->ctime = inode->ctime;
    out->blocks = hi->blocks;
    out->blksize = hi->blksize;
    return 0;
}

/* The target read from the host into heap memory. ERR_PTR. */
static char *read_target(struct hostfs_inode *hi)
{
    char *buf = heap_alloc(TARGET_MAX);
    ssize_t n = -ENOMEM;
    int fd;

    if (buf == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    fd = hostfs_open_path(hi);
    n = fd;
    if (fd >= 0) {
        n = host_readlinkat(fd, "", buf, TARGET_MAX - 1);
        host_close(fd);
    }
    if (n < 0) {
        heap_free(buf);
        return ERR_PTR(n);
    }
    buf[n] = '\0';
    return buf;
}

/* A link's target never changes: another target is another inode. */
ssize_t hostfs_readlink(struct inode *inode, const struct vfs_ctx *ctx, char *buf, size_t size)
{
    struct hostfs_inode *hi = to_hostfs(inode);
    char *target = atomic_load_explicit(&hi->target, memory_order_acquire), *none = NULL, *copy;
    size_t n;

    if (target == NULL) {
        target = read_target(hi);
        if (IS_ERR(target)) {
            return PTR_ERR(target);
        }
        copy = heap_strdup(target); /* no larger than it is */
        heap_free(target);
        if (copy == NULL) {
            return -ENOMEM;
        }
        target = copy;
        if (!atomic_compare_exchange_strong(&hi->target, &none, copy)) {
            heap_free(copy);
            target = none;
        }
    }
    n = min(size, strlen(target));
    memcpy(buf, target, n);
    return (ssize_t)n;
}

/* ---- changing ---- */

/* A descriptor good for fchmod, fchown and utimens with AT_EMPTY_PATH: O_PATH unless *can_fchmod.
 */
static int attr_fd(struct hostfs_inode *hi, enum hostfs_fd_kind *kind, bool *can_fchmod)
{
    int fd;

    for (int k = HFD_KINDS - 1; k >= 0; k--) {
        *kind = (enum hostfs_fd_kind)k;
        fd = hostfs_fd_get_open(hi, *kind);
        if (fd < 0 && *kind == HFD_MAIN) {
            fd = hostfs_fd_get(hi, HFD_MAIN);
        }
        if (fd >= 0) {
            *can_fchmod = *kind == HFD_WRITE || S_ISREG(hi->inode.mode) ||
                          (S_ISDIR(hi->inode.mode) && !hostfs_fd_is_limited(hi, HFD_MAIN));
            return fd;
        }
    }
    *kind = HFD_KINDS;
    *can_fchmod = false;
    return fd == -EACCES ? hostfs_open_path(hi) : fd;
}

static void attr_fd_put(struct hostfs_inode *hi, enum hostfs_fd_kind kind, int fd)
{
    if (kind == HFD_KINDS) {
        host_close(fd);
    } else {
        hostfs_fd_put(hi, kind);
    }
}

static int set_times(int fd, const struct setattr *set)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_OMIT}};

    if ((set->valid & SETATTR_ATIME) != 0) {
        times[0] = set->atime;
    }
    if ((set->valid & SETATTR_MTIME) != 0) {
        times[1] = set->mtime;
    }
    return host_utimens_path(fd, times);
}

static int set_owner(int fd, const struct setattr *set)
{
    u32 uid = (set->valid & SETATTR_UID) != 0 ? set->uid : (u32)-1;
    u32 gid = (set->valid & SETATTR_GID) != 0 ? set->gid : (u32)-1;

    return host_fchown_path(fd, uid, gid);
}

/* Owner before mode: a change of owner clears SUID. An O_PATH descriptor has no fchmod before Linux
 * 6.6, and no name is safe to use: FIFOs and sockets keep the mode they were made with. */
static int set_by_fd(struct hostfs_inode *hi, const struct setattr *set)
{
    enum hostfs_fd_kind kind;
    bool can_fchmod;
    int fd, err = 0;

    if ((set->valid & (SETATTR_MODE | SETATTR_UID | SETATTR_GID | SETATTR_ATIME | SETATTR_MTIME)) ==
        0) {
        return 0;
    }
    fd = attr_fd(hi, &kind, &can_fchmod);
    if (fd < 0) {
        return fd;
    }
    if ((set->valid & (SETATTR_UID | SETATTR_GID)) != 0) {
        err = set_owner(fd, set);
    }
    if (err == 0 && (set->valid & SETATTR_MODE) != 0) {
        err = can_fchmod ? host_fchmod(fd, set->mode & 07777U) : -EOPNOTSUPP;
    }
    if (err == 0 && (set->valid & (SETATTR_ATIME | SETATTR_MTIME)) != 0) {
        err = set_times(fd, set);
    }
    attr_fd_put(hi, kind, fd);
    return err;
}

static int set_size(struct hostfs_inode *hi, u64 size)
{
    u64 old = hi->inode.size, from = ALIGN_UP(size, PAGE_SIZE);
    int fd, err;

    if (!S_ISREG(hi->inode.mode) || size > (u64)INT64_MAX) {
        return -EINVAL;
    }
    fd = hostfs_fd_get(hi, HFD_WRITE);
    if (fd < 0) {
        return fd;
    }
    worker_block_begin();
    err = host_ftruncate(fd, size);
    worker_block_end();
    hostfs_fd_put(hi, HFD_WRITE);
    if (err == 0) {
        __atomic_store_n(&hi->inode.size, size, __ATOMIC_RELEASE);
        if (size < old && size <= INT64_MAX - PAGE_SIZE) {
            mappable_invalidate(&hi->map, from, ((u64)INT64_MAX & PAGE_MASK) - from, true);
        }
    }
    return err;
}

int hostfs_setattr(struct inode *inode, const struct setattr *set)
{
    struct hostfs_inode *hi = to_hostfs(inode);
    struct setattr rest = *set;
    int err;

    if (!hostfs_sb(hi)->opt.writable) {
        return -EROFS;
    }
    if ((set->valid & SETATTR_SIZE) != 0) {
        err = set_size(hi, set->size);
        if (err != 0) {
            return err;
        }
        rest.valid &= ~(SETATTR_MTIME | SETATTR_CTIME); /* the host has set them */
    }
    err = set_by_fd(hi, &rest);
    if (err == 0) {
        inode_set_fields(inode, set);
    }
    (void)hostfs_refresh(hi);
    return err;
}

/* What an ordinary user's sentry may not do is left: the file then belongs to that user. */
void hostfs_settle(int fd, const struct statx *stx, u32 mode, u32 uid, u32 gid)
{
    bool moved =
        (uid != stx->stx_uid || gid != stx->stx_gid) && host_fchown_path(fd, uid, gid) == 0;

    if ((mode & 07777U) != (stx->stx_mode & 07777U) || (moved && (mode & 06000U) != 0)) {
        if (host_fchmod(fd, mode & 07777U) != 0) {
            log_debug(LOG_VFS, "the mode of a new host file is not as asked");
        }
    }
}
