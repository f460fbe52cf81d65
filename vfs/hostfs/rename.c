/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of hostfs that go, move or come twice. The host acts on (directory descriptor, name) pairs;
 * whom it met there is found out afterwards where it matters (link), as between our look-up and the
 * call somebody may have changed the name. unlink and rename then do to the new object what the
 * guest could have done to it by calling a moment later: only the directory's rights count.
 */
#include "vfs/hostfs/hostfs_priv.h"

#include <linux/fs.h>

static int check_writable(const struct inode *inode)
{
    return to_hsb(inode->sb)->opt.writable ? 0 : -EROFS;
}

/* The same object under another name. The host could be made to link something else, which the
 * guest has no right to: compare, and take the name back. */
static int link_verified(struct hostfs_inode *hi, struct hostfs_inode *dir, const char *name)
{
    char old_name[NAME_LEN_MAX + 1];
    struct hostfs_inode *parent = hostfs_place(hi, old_name);
    struct statx stx;
    int old_fd, new_fd, err;

    if (parent == NULL) {
        return -ENOENT;
    }
    old_fd = hostfs_fd_get(parent, HFD_MAIN);
    new_fd = hostfs_fd_get(dir, HFD_MAIN);
    err = old_fd < 0 ? old_fd : min(new_fd, 0);
    if (err == 0) {
        err = host_linkat(old_fd, old_name, new_fd, name);
    }
    if (err == 0) {
        err = host_statx(new_fd, name, 0, HOSTFS_STATX_MASK, &stx);
        if (err == 0 && !hostfs_same(hi, &stx)) {
            err = host_unlinkat(new_fd, name, 0);
            err = -ESTALE;
        }
    }
    if (new_fd >= 0) {
        hostfs_fd_put(dir, HFD_MAIN);
    }
    if (old_fd >= 0) {
        hostfs_fd_put(parent, HFD_MAIN);
    }
    inode_put(&parent->inode);
    return err;
}

int hostfs_link(struct inode *dir, struct name name, struct inode *inode)
{
    char buf[NAME_LEN_MAX + 1];
    int err = check_writable(dir);

    if (err == 0) {
        err = hostfs_name(name, buf);
    }
    if (err == 0) {
        err = link_verified(to_hostfs(inode), to_hostfs(dir), buf);
    }
    if (err == 0) {
        (void)hostfs_refresh(to_hostfs(inode));
        hostfs_mark_stale(to_hostfs(dir));
    }
    return err;
}

/* ---- taking away ---- */

/* One name less, as far as we know. */
static void lost_name(struct hostfs_inode *hi)
{
    bool gone;

    spin_lock(&hi->lock);
    if (S_ISDIR(hi->inode.mode)) {
        hi->inode.nlink = 0;
    } else if (hi->inode.nlink != 0) {
        hi->inode.nlink--;
    }
    gone = hi->inode.nlink == 0;
    spin_unlock(&hi->lock);
    if (gone) {
        hostfs_set_dead(hi);
    } else {
        hostfs_mark_stale(hi);
    }
}

/* Somebody holds a file without having opened it (O_PATH): later there is no name to open it by. */
static void keep_usable(struct hostfs_inode *hi)
{
    if (S_ISREG(hi->inode.mode) && hi->inode.nlink == 1 && ref_read(&hi->inode.ref) > 2 &&
        hostfs_fd_get(hi, HFD_MAIN) >= 0) {
        hostfs_fd_put(hi, HFD_MAIN);
    }
}

static int remove_name(struct inode *dir, struct name name, struct inode *inode, u32 at_flags)
{
    char buf[NAME_LEN_MAX + 1];
    int err = check_writable(dir), fd;

    if (err == 0) {
        err = hostfs_name(name, buf);
    }
    if (err != 0) {
        return err;
    }
    keep_usable(to_hostfs(inode));
    fd = hostfs_fd_get(to_hostfs(dir), HFD_MAIN);
    if (fd < 0) {
        return fd;
    }
    err = host_unlinkat(fd, buf, at_flags);
    hostfs_fd_put(to_hostfs(dir), HFD_MAIN);
    if (err == 0) {
        lost_name(to_hostfs(inode));
        hostfs_mark_stale(to_hostfs(dir));
    }
    return err;
}

int hostfs_unlink(struct inode *dir, struct name name, struct inode *inode)
{
    return remove_name(dir, name, inode, 0);
}

int hostfs_rmdir(struct inode *dir, struct name name, struct inode *inode)
{
    return remove_name(dir, name, inode, AT_REMOVEDIR);
}

/* ---- rename ---- */

static int rename_on_host(struct hostfs_inode *old_dir, const char *old,
                          struct hostfs_inode *new_dir, const char *new, u32 flags)
{
    int old_fd = hostfs_fd_get(old_dir, HFD_MAIN), new_fd, err;

    if (old_fd < 0) {
        return old_fd;
    }
    new_fd = hostfs_fd_get(new_dir, HFD_MAIN);
    err = new_fd;
    if (new_fd >= 0) {
        err = host_renameat2(old_fd, old, new_fd, new, flags);
        hostfs_fd_put(new_dir, HFD_MAIN);
    }
    hostfs_fd_put(old_dir, HFD_MAIN);
    return err;
}

int hostfs_rename(struct inode *old_dir, struct name old_name, struct inode *inode,
                  struct inode *new_dir, struct name new_name, struct inode *target, u32 flags)
{
    struct hostfs_inode *from = to_hostfs(old_dir), *to = to_hostfs(new_dir);
    char old[NAME_LEN_MAX + 1], new[NAME_LEN_MAX + 1];
    int err = check_writable(old_dir);

    if (err == 0) {
        err = hostfs_name(old_name, old);
    }
    if (err == 0) {
        err = hostfs_name(new_name, new);
    }
    if (err == 0 && (flags & RENAME_WHITEOUT) != 0) {
        err = -EINVAL; /* a device on the host */
    }
    if (err != 0) {
        return err;
    }
    if (target != NULL && (flags & RENAME_EXCHANGE) == 0) {
        keep_usable(to_hostfs(target));
    }
    err = rename_on_host(from, old, to, new, flags);
    if (err != 0) {
        return err;
    }
    if (target != NULL && (flags & RENAME_EXCHANGE) != 0) {
        hostfs_set_place(to_hostfs(target), from, old);
        hostfs_mark_stale(to_hostfs(target));
    } else if (target != NULL) {
        lost_name(to_hostfs(target));
    }
    hostfs_set_place(to_hostfs(inode), to, new);
    hostfs_mark_stale(to_hostfs(inode));
    hostfs_mark_stale(from);
    hostfs_mark_stale(to);
    return 0;
}
