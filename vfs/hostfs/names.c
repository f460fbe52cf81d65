/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of hostfs: look-up and making. A look-up is one statx below the directory's descriptor.
 *
 * Something new is made with the sentry's identity and without special bits, then given to the
 * guest's user through its own descriptor. For a regular file that is the descriptor which made it.
 * A directory or node has to be opened by name first, and somebody may have put another object
 * there: it is given away only if it looks freshly made by us (is_fresh).
 */
#include "base/clock.h"
#include "base/log.h"
#include "vfs/hostfs/hostfs_priv.h"

#define CLOCK_SLACK (20 * NSEC_PER_MSEC) /* the kernel's coarse clock for time stamps */

/* ---- look-up ---- */

static int stat_name(struct hostfs_inode *dir, const char *name, struct statx *stx)
{
    int fd = hostfs_fd_get(dir, HFD_MAIN), err;

    if (fd < 0) {
        return fd;
    }
    err = host_statx(fd, name, 0, HOSTFS_STATX_MASK, stx);
    hostfs_fd_put(dir, HFD_MAIN);
    return err;
}

struct inode *hostfs_lookup(struct inode *dir, struct name name)
{
    char buf[NAME_LEN_MAX + 1];
    struct statx stx;
    int err = hostfs_name(name, buf);

    if (err == 0) {
        err = stat_name(to_hostfs(dir), buf, &stx);
    }
    if (err != 0) {
        return ERR_PTR(err == -EINVAL ? -ENOENT : err);
    }
    return hostfs_iget(to_hsb(dir->sb), &stx, to_hostfs(dir), buf);
}

/* Only for shared trees. Called without locks. */
bool hostfs_revalidate(struct inode *dir, struct name name, struct inode *inode)
{
    char buf[NAME_LEN_MAX + 1];
    struct statx stx;
    int err = hostfs_name(name, buf);

    if (err == 0) {
        err = stat_name(to_hostfs(dir), buf, &stx);
    }
    if (err != 0 || inode == NULL) {
        return err == -ENOENT && inode == NULL;
    }
    if (!hostfs_same(to_hostfs(inode), &stx)) {
        return false;
    }
    hostfs_set_place(to_hostfs(inode), to_hostfs(dir), buf);
    hostfs_fill(to_hostfs(inode), &stx);
    return true;
}

/* ---- making ---- */

struct making {
    struct hostfs_inode *dir;
    char name[NAME_LEN_MAX + 1];
    int dirfd; /* counted */
    u32 mode, uid, gid;
    u64 since; /* realtime, when it began */
};

static int making_start(struct making *m, struct inode *dir, struct name name, u32 mode,
                        const struct cred *cred)
{
    int err = hostfs_name(name, m->name);

    if (err != 0) {
        return err;
    }
    if (!to_hsb(dir->sb)->opt.writable) {
        return -EROFS;
    }
    m->dir = to_hostfs(dir);
    m->mode = mode;
    inode_init_owner(dir, cred, &m->mode, &m->uid, &m->gid);
    m->since = clock_realtime();
    m->dirfd = hostfs_fd_get(m->dir, HFD_MAIN);
    return min(m->dirfd, 0);
}

/* The inode of what was made; fd (if >= 0) is its descriptor, borrowed. */
static struct inode *making_end(struct making *m, int fd, int err)
{
    struct inode *inode = ERR_PTR(err);
    struct statx stx;

    if (err == 0) {
        err = fd >= 0 ? hostfs_statx_fd(fd, &stx)
                      : host_statx(m->dirfd, m->name, 0, HOSTFS_STATX_MASK, &stx);
        inode = err != 0 ? ERR_PTR(err) : hostfs_iget(hostfs_sb(m->dir), &stx, m->dir, m->name);
    }
    hostfs_fd_put(m->dir, HFD_MAIN);
    hostfs_mark_stale(m->dir);
    return inode;
}

/* Is it what we have just made, rather than something that was moved to its name? Then it belongs
 * to us, is empty or a fresh node, and was born after we began. */
static bool is_fresh(const struct making *m, const struct statx *stx)
{
    u64 born = (u64)stx->stx_btime.tv_sec * NSEC_PER_SEC + stx->stx_btime.tv_nsec;

    if ((stx->stx_mode & S_IFMT) != (m->mode & S_IFMT) || stx->stx_uid != hostfs_sb(m->dir)->uid) {
        return false;
    }
    if (stx->stx_nlink != (S_ISDIR(m->mode) ? 2U : 1U) && stx->stx_nlink != 1) {
        return false;
    }
    return (stx->stx_mask & STATX_BTIME) == 0 || born + CLOCK_SLACK >= m->since;
}

/* Give the object at m->name to its owner. Without the right or when in doubt it stays as it is. */
static void settle_by_name(struct making *m)
{
    u32 flags = S_ISDIR(m->mode) ? O_RDONLY | O_DIRECTORY : O_PATH;
    int fd = hostfs_open_at(hostfs_sb(m->dir), m->dirfd, m->name, flags, 0);
    struct statx stx;

    if (fd < 0) {
        return;
    }
    if (hostfs_statx_fd(fd, &stx) == 0 && is_fresh(m, &stx)) {
        if (S_ISDIR(m->mode)) {
            hostfs_settle(fd, &stx, m->mode, m->uid, m->gid);
        } else if (m->uid != stx.stx_uid || m->gid != stx.stx_gid) {
            int err = host_fchown_path(fd, m->uid, m->gid);

            if (err != 0) {
                log_debug(LOG_VFS, "the owner of a new host node is not as asked: %d", -err);
            }
        }
    }
    host_close(fd);
}

struct inode *hostfs_create(struct inode *dir, struct name name, u32 mode, const struct cred *cred)
{
    struct making m;
    struct inode *inode;
    struct statx stx;
    int err = making_start(&m, dir, name, mode, cred), fd;

    if (err != 0) {
        return ERR_PTR(err);
    }
    fd = hostfs_open_at(hostfs_sb(m.dir), m.dirfd, m.name,
                        O_RDWR | O_CREAT | O_EXCL | O_NOCTTY | O_NONBLOCK, m.mode & 0777U);
    err = fd < 0 ? fd : hostfs_statx_fd(fd, &stx);
    if (err == 0) {
        hostfs_settle(fd, &stx, m.mode, m.uid, m.gid);
    }
    inode = making_end(&m, fd, err);
    if (fd >= 0 && !IS_ERR(inode)) {
        hostfs_fd_install(to_hostfs(inode), HFD_WRITE, fd, false);
    } else if (fd >= 0) {
        host_close(fd);
    }
    return inode;
}

struct inode *hostfs_mkdir(struct inode *dir, struct name name, u32 mode, const struct cred *cred)
{
    struct making m;
    int err = making_start(&m, dir, name, mode, cred);

    if (err != 0) {
        return ERR_PTR(err);
    }
    err = host_mkdirat(m.dirfd, m.name, m.mode & 0777U);
    if (err == 0) {
        settle_by_name(&m);
    }
    return making_end(&m, -1, err);
}

/* FIFOs and sockets are names for the guest's own; devices of the host are nobody's to make. */
struct inode *hostfs_mknod(struct inode *dir, struct name name, u32 mode, u64 rdev,
                           const struct cred *cred)
{
    struct making m;
    int err;

    if (S_ISCHR(mode) || S_ISBLK(mode)) {
        return ERR_PTR(-EPERM);
    }
    err = making_start(&m, dir, name, mode, cred);
    if (err != 0) {
        return ERR_PTR(err);
    }
    err = host_mknodat(m.dirfd, m.name, (m.mode & S_IFMT) | (m.mode & 0777U), 0);
    if (err == 0) {
        settle_by_name(&m);
    }
    return making_end(&m, -1, err);
}

struct inode *hostfs_symlink(struct inode *dir, struct name name, const char *target,
                             const struct cred *cred)
{
    struct making m;
    int err = making_start(&m, dir, name, S_IFLNK | 0777, cred);

    if (err != 0) {
        return ERR_PTR(err);
    }
    err = host_symlinkat(target, m.dirfd, m.name);
    if (err == 0) {
        settle_by_name(&m);
    }
    return making_end(&m, -1, err);
}
