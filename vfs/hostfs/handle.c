/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host descriptors of inodes. A look-up and a stat need none of the inode itself, only its
 * directory's: descriptors are opened when something is done with the inode, by name below the
 * directory's, and compared with the inode before use.
 *
 * States of a struct hostfs_fd, all changes under fd_lock:
 *   closed  fd -1, users 0
 *   busy    fd >= 0, users > 0: nobody closes it
 *   idle    fd >= 0, users 0, on the LRU list: closed when there are more than max_fds, when the
 *           host's table is full, or when the inode goes
 *
 * Two who open the same at once both succeed; the second closes its own and takes the first's.
 *
 * A directory whose own descriptor was closed is opened again from its parent, and that from its
 * own: level by level from the nearest open one, in a loop, not by recursion, as trees may be
 * deeper than a stack. A directory that somebody moved meanwhile is ESTALE.
 */
#include "vfs/hostfs/hostfs_priv.h"

#define OPEN_DATA (O_NOCTTY | O_NONBLOCK) /* if it is a FIFO by now, opening must not wait */

void hostfs_fds_init(struct hostfs_inode *hi)
{
    for (int k = 0; k < HFD_KINDS; k++) {
        hi->fds[k].fd = -1;
    }
}

int hostfs_statx_fd(int fd, struct statx *stx)
{
    return host_statx(fd, "", AT_EMPTY_PATH, HOSTFS_STATX_MASK, stx);
}

/* ---- closing idle ones ---- */

/* Close the idle descriptor unused for longest: false if there is none. */
static bool evict_one(struct hostfs_super *hsb)
{
    struct hostfs_fd *f;
    int fd;

    spin_lock(&hsb->fd_lock);
    f = TAILQ_FIRST(&hsb->lru);
    if (f == NULL) {
        spin_unlock(&hsb->fd_lock);
        return false;
    }
    TAILQ_REMOVE(&hsb->lru, f, lru);
    fd = f->fd;
    f->fd = -1;
    hsb->nr_fds--;
    spin_unlock(&hsb->fd_lock);
    host_close(fd);
    return true;
}

static void evict_some(struct hostfs_super *hsb)
{
    for (int i = 0; i < 64 && evict_one(hsb); i++) {
    }
}

int hostfs_open_at(struct hostfs_super *hsb, int dirfd, const char *name, u32 flags, u32 mode)
{
    int fd = host_open_beneath(dirfd, name, flags, mode);

    if (fd == -EMFILE || fd == -ENFILE) {
        evict_some(hsb);
        fd = host_open_beneath(dirfd, name, flags, mode);
    }
    return fd == -ELOOP || fd == -EXDEV || fd == -ENOTDIR ? -ESTALE : fd;
}

/* ---- get, put ---- */

/* Count one more user of an open descriptor: it, or -1. fd_lock held. */
static int use_locked(struct hostfs_super *hsb, struct hostfs_fd *f)
{
    if (f->fd >= 0 && f->users++ == 0) {
        TAILQ_REMOVE(&hsb->lru, f, lru);
    }
    return f->fd;
}

int hostfs_fd_get_open(struct hostfs_inode *hi, enum hostfs_fd_kind kind)
{
    struct hostfs_super *hsb = hostfs_sb(hi);
    int fd;

    SPIN_GUARD(&hsb->fd_lock);
    fd = use_locked(hsb, &hi->fds[kind]);
    return fd >= 0 ? fd : -ENOENT;
}

void hostfs_fd_put(struct hostfs_inode *hi, enum hostfs_fd_kind kind)
{
    struct hostfs_super *hsb = hostfs_sb(hi);
    struct hostfs_fd *f = &hi->fds[kind];
    bool too_many;

    spin_lock(&hsb->fd_lock);
    CHECK(f->users > 0, "a host descriptor is put too often");
    if (--f->users == 0) {
        TAILQ_INSERT_TAIL(&hsb->lru, f, lru);
    }
    too_many = hsb->nr_fds > hsb->opt.max_fds;
    spin_unlock(&hsb->fd_lock);
    if (too_many) {
        (void)evict_one(hsb);
    }
}

/* Takes fd over; counts a user and returns what is to be used. */
static int install(struct hostfs_inode *hi, enum hostfs_fd_kind kind, int fd, bool limited)
{
    struct hostfs_super *hsb = hostfs_sb(hi);
    struct hostfs_fd *f = &hi->fds[kind];
    int used;

    spin_lock(&hsb->fd_lock);
    used = use_locked(hsb, f);
    if (used < 0) {
        f->fd = used = fd;
        f->limited = limited;
        f->users = 1;
        hsb->nr_fds++;
        fd = -1;
    }
    spin_unlock(&hsb->fd_lock);
    if (fd >= 0) {
        host_close(fd);
    }
    return used;
}

void hostfs_fd_install(struct hostfs_inode *hi, enum hostfs_fd_kind kind, int fd, bool limited)
{
    (void)install(hi, kind, fd, limited);
    hostfs_fd_put(hi, kind);
}

bool hostfs_fd_is_limited(struct hostfs_inode *hi, enum hostfs_fd_kind kind)
{
    SPIN_GUARD(&hostfs_sb(hi)->fd_lock);
    return hi->fds[kind].limited;
}

void hostfs_fds_close(struct hostfs_inode *hi)
{
    struct hostfs_super *hsb = hostfs_sb(hi);

    for (int k = 0; k < HFD_KINDS; k++) {
        struct hostfs_fd *f = &hi->fds[k];
        int fd;

        spin_lock(&hsb->fd_lock);
        fd = f->fd;
        if (fd >= 0) {
            if (hi->map_pinned[k]) {
                f->users--;
            } else if (f->users == 0) {
                TAILQ_REMOVE(&hsb->lru, f, lru);
            }
            CHECK(f->users == 0, "a host descriptor of a dying inode is in use");
            hsb->nr_fds--;
            f->fd = -1;
        }
        spin_unlock(&hsb->fd_lock);
        if (fd >= 0) {
            host_close(fd);
        }
    }
}

/* ---- opening ---- */

/* Open `name` and compare: the descriptor of hi, or -errno. */
static int open_verified(struct hostfs_inode *hi, int dirfd, const char *name, u32 flags)
{
    struct statx stx;
    int fd = hostfs_open_at(hostfs_sb(hi), dirfd, name, flags, 0), err;

    if (fd < 0) {
        return fd == -ENOENT ? -ESTALE : fd;
    }
    err = hostfs_statx_fd(fd, &stx);
    if (err == 0 && !hostfs_same(hi, &stx)) {
        err = -ESTALE; /* somebody put another file there */
    }
    if (err != 0) {
        host_close(fd);
        return err;
    }
    return fd;
}

/* The flags to try first, and what to be content with when access is denied. */
static void open_flags(const struct hostfs_inode *hi, enum hostfs_fd_kind kind, u32 *first,
                       u32 *second)
{
    if (kind == HFD_WRITE) {
        *first = O_RDWR | OPEN_DATA;
        *second = O_WRONLY | OPEN_DATA;
    } else if (S_ISDIR(hi->inode.mode)) {
        *first = O_RDONLY | O_DIRECTORY;
        *second = O_PATH | O_DIRECTORY;
    } else {
        *first = *second = S_ISREG(hi->inode.mode) ? O_RDONLY | OPEN_DATA : O_PATH;
    }
}

/* Open and install hi's own, below a directory that is open. A counted user. */
static int open_in(struct hostfs_inode *hi, enum hostfs_fd_kind kind, int dirfd, const char *name)
{
    u32 first, second;
    bool limited = false;
    int fd;

    open_flags(hi, kind, &first, &second);
    fd = open_verified(hi, dirfd, name, first);
    if (fd == -EACCES && second != first) {
        fd = open_verified(hi, dirfd, name, second);
        limited = true;
    }
    return fd < 0 ? fd : install(hi, kind, fd, limited);
}

/* One step: open the topmost closed directory on the way to hi, or hi. *done: it was hi. */
static int open_step(struct hostfs_inode *hi, enum hostfs_fd_kind kind, bool *done)
{
    struct hostfs_inode *at = to_hostfs(inode_get(&hi->inode)), *parent;
    char name[NAME_LEN_MAX + 1];
    int fd = -ENOENT, dirfd;

    for (;;) {
        *done = at == hi;
        parent = hostfs_place(at, name);
        if (parent == NULL) {
            fd = &at->inode != hi->inode.sb->root
                     ? -ESTALE
                     : open_in(at, *done ? kind : HFD_MAIN, hostfs_sb(hi)->root_fd, ".");
            break;
        }
        dirfd = hostfs_fd_get_open(parent, HFD_MAIN);
        if (dirfd >= 0) {
            fd = open_in(at, *done ? kind : HFD_MAIN, dirfd, name);
            hostfs_fd_put(parent, HFD_MAIN);
            break;
        }
        inode_put(&at->inode);
        at = parent;
    }
    inode_put(parent != NULL ? &parent->inode : NULL);
    if (fd >= 0 && !*done) {
        hostfs_fd_put(at, HFD_MAIN);
    }
    inode_put(&at->inode);
    return fd;
}

int hostfs_fd_get(struct hostfs_inode *hi, enum hostfs_fd_kind kind)
{
    int fd = hostfs_fd_get_open(hi, kind);
    bool done = fd >= 0;

    while (!done) {
        fd = open_step(hi, kind, &done);
        if (fd < 0) {
            break;
        }
    }
    return fd;
}

int hostfs_fd_pin(struct hostfs_inode *hi, enum hostfs_fd_kind kind)
{
    struct hostfs_super *hsb = hostfs_sb(hi);
    int fd = hostfs_fd_get(hi, kind);
    bool pinned;

    if (fd < 0) {
        return fd;
    }
    spin_lock(&hsb->fd_lock);
    pinned = hi->map_pinned[kind];
    hi->map_pinned[kind] = true;
    spin_unlock(&hsb->fd_lock);
    if (pinned) {
        hostfs_fd_put(hi, kind);
    }
    return fd;
}

int hostfs_open_path(struct hostfs_inode *hi)
{
    char name[NAME_LEN_MAX + 1];
    struct hostfs_inode *parent = hostfs_place(hi, name);
    int dirfd, fd;

    if (parent == NULL) {
        return &hi->inode != hi->inode.sb->root
                   ? -ESTALE
                   : open_verified(hi, hostfs_sb(hi)->root_fd, ".", O_PATH);
    }
    dirfd = hostfs_fd_get(parent, HFD_MAIN);
    fd = dirfd;
    if (dirfd >= 0) {
        fd = open_verified(hi, dirfd, name, O_PATH);
        hostfs_fd_put(parent, HFD_MAIN);
    }
    inode_put(&parent->inode);
    return fd;
}
