/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes of host files, through a descriptor of the file. Symbolic links and special
 * files have none (they could only have trusted ones). ACLs are not shown: rights are decided by
 * mode bits here, and what the host decides on top it says when a file is opened.
 */
#include "vfs/hostfs/hostfs_priv.h"

static bool has_xattrs(const struct hostfs_inode *hi)
{
    return S_ISREG(hi->inode.mode) || S_ISDIR(hi->inode.mode);
}

static bool is_supported(const char *name)
{
    return strncmp(name, "user.", 5) == 0 || strncmp(name, "trusted.", 8) == 0 ||
           strncmp(name, "security.", 9) == 0;
}

/* A descriptor the xattr calls take, counted; -EOPNOTSUPP: there is none (O_PATH). */
static int xattr_fd(struct hostfs_inode *hi)
{
    int fd = hostfs_fd_get(hi, HFD_MAIN);

    if (fd >= 0 && hostfs_fd_is_limited(hi, HFD_MAIN)) {
        hostfs_fd_put(hi, HFD_MAIN);
        return -EOPNOTSUPP;
    }
    return fd;
}

ssize_t hostfs_getxattr(struct inode *inode, const char *name, void *buf, size_t size)
{
    struct hostfs_inode *hi = to_hostfs(inode);
    ssize_t n;
    int fd;

    if (!is_supported(name)) {
        return -EOPNOTSUPP;
    }
    if (!has_xattrs(hi)) {
        return -ENODATA;
    }
    fd = xattr_fd(hi);
    if (fd < 0) {
        return fd;
    }
    n = host_fgetxattr(fd, name, buf, size);
    hostfs_fd_put(hi, HFD_MAIN);
    return n;
}

static int check_change(const struct hostfs_inode *hi, const char *name)
{
    if (!hostfs_sb(hi)->opt.writable) {
        return -EROFS;
    }
    if (!is_supported(name)) {
        return -EOPNOTSUPP;
    }
    return has_xattrs(hi) ? 0 : -EPERM;
}

int hostfs_setxattr(struct inode *inode, const char *name, const void *value, size_t size,
                    int flags)
{
    struct hostfs_inode *hi = to_hostfs(inode);
    int err = check_change(hi, name), fd;

    if (err != 0) {
        return err;
    }
    fd = xattr_fd(hi);
    if (fd < 0) {
        return fd;
    }
    err = host_fsetxattr(fd, name, value, size, flags);
    hostfs_fd_put(hi, HFD_MAIN);
    hostfs_mark_stale(hi);
    return err;
}

/* Keep the names we serve: the new length. */
static ssize_t filter_names(char *buf, ssize_t len)
{
    ssize_t to = 0;

    for (ssize_t at = 0; at < len;) {
        ssize_t n = (ssize_t)strnlen(buf + at, (size_t)(len - at)) + 1;

        n = min(n, len - at);
        if (is_supported(buf + at)) {
            memmove(buf + to, buf + at, (size_t)n);
            to += n;
        }
        at += n;
    }
    return to;
}

ssize_t hostfs_listxattr(struct inode *inode, char *buf, size_t size)
{
    struct hostfs_inode *hi = to_hostfs(inode);
    ssize_t n;
    int fd;

    if (!has_xattrs(hi)) {
        return 0;
    }
    fd = xattr_fd(hi);
    if (fd < 0) {
        return fd == -EOPNOTSUPP || fd == -EACCES ? 0 : fd;
    }
    n = host_flistxattr(fd, buf, size);
    hostfs_fd_put(hi, HFD_MAIN);
    if (n == -EOPNOTSUPP) {
        return 0;
    }
    return n > 0 && size != 0 ? filter_names(buf, n) : n;
}

int hostfs_removexattr(struct inode *inode, const char *name)
{
    struct hostfs_inode *hi = to_hostfs(inode);
    int err = check_change(hi, name), fd;

    if (err != 0) {
        return err;
    }
    fd = xattr_fd(hi);
    if (fd < 0) {
        return fd;
    }
    err = host_fremovexattr(fd, name);
    hostfs_fd_put(hi, HFD_MAIN);
    hostfs_mark_stale(hi);
    return err;
}
