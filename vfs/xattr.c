/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes: the wrappers of the inode operations, and who may do what (xattr(7)): user.*
 * by the permission bits of regular files and directories, trusted.* only with CAP_SYS_ADMIN,
 * security.* read by all and written with privilege. POSIX ACLs (system.*) are not supported.
 */
#include "vfs/xattr.h"

#include "vfs/fsnotify.h"
#include "vfs/vfs_priv.h"

#include <linux/capability.h>
#include <sys/xattr.h>

/* ---- without rights ---- */

ssize_t inode_getxattr(struct inode *inode, const char *name, void *buf, size_t size)
{
    if (inode->ops->getxattr == NULL) {
        return -EOPNOTSUPP;
    }
    READ_GUARD(&inode->lock);
    return inode->ops->getxattr(inode, name, buf, size);
}

int inode_setxattr(struct inode *inode, const char *name, const void *value, size_t size, int flags)
{
    if (inode->ops->setxattr == NULL) {
        return -EOPNOTSUPP;
    }
    WRITE_GUARD(&inode->lock);
    return inode->ops->setxattr(inode, name, value, size, flags);
}

ssize_t inode_listxattr(struct inode *inode, char *buf, size_t size)
{
    if (inode->ops->listxattr == NULL) {
        return 0;
    }
    READ_GUARD(&inode->lock);
    return inode->ops->listxattr(inode, buf, size);
}

int inode_removexattr(struct inode *inode, const char *name)
{
    if (inode->ops->removexattr == NULL) {
        return -EOPNOTSUPP;
    }
    WRITE_GUARD(&inode->lock);
    return inode->ops->removexattr(inode, name);
}

/* ---- rights ---- */

static bool has_prefix(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

/* Linux xattr_permission. */
static int xattr_permission(struct inode *inode, const char *name, u32 mask,
                            const struct cred *cred)
{
    bool writes = (mask & MAY_WRITE) != 0;

    if (has_prefix(name, "security.") || has_prefix(name, "system.")) {
        return 0;
    }
    if (has_prefix(name, "trusted.")) {
        return cred_capable(cred, CAP_SYS_ADMIN) ? 0 : writes ? -EPERM : -ENODATA;
    }
    if (has_prefix(name, "user.")) {
        if (!S_ISREG(inode->mode) && !S_ISDIR(inode->mode)) {
            return writes ? -EPERM : -ENODATA;
        }
        if (writes && S_ISDIR(inode->mode) && (inode->mode & S_ISVTX) != 0 &&
            !inode_owner_or_capable(inode, cred)) {
            return -EPERM;
        }
    }
    return inode_permission(inode, mask, cred);
}

/* security.* is the business of security modules; without one only privilege counts. */
static int may_set_security(const char *name, const struct cred *cred)
{
    if (!has_prefix(name, "security.")) {
        return 0;
    }
    if (strcmp(name, "security.capability") == 0) {
        return cred_capable(cred, CAP_SETFCAP) ? 0 : -EPERM;
    }
    return cred_capable(cred, CAP_SYS_ADMIN) ? 0 : -EPERM;
}

static int may_change(const struct path *path, const char *name, const struct cred *cred)
{
    struct inode *inode = dentry_inode(path->dentry);
    int err = xattr_permission(inode, name, MAY_WRITE, cred);

    return err != 0 ? err : may_set_security(name, cred);
}

ssize_t path_getxattr(const struct path *path, const char *name, void *buf, size_t size,
                      const struct cred *cred)
{
    struct inode *inode = dentry_inode(path->dentry);
    int err = xattr_permission(inode, name, MAY_READ, cred);

    return err != 0 ? err : inode_getxattr(inode, name, buf, size);
}

int path_setxattr(const struct path *path, const char *name, const void *value, size_t size,
                  int flags, const struct cred *cred)
{
    int err = mount_get_writer(path->mnt);

    if (err != 0) {
        return err;
    }
    err = may_change(path, name, cred);
    if (err == 0) {
        err = inode_setxattr(dentry_inode(path->dentry), name, value, size, flags);
    }
    mount_put_writer(path->mnt);
    if (err == 0) {
        fsnotify_dentry(path->dentry, IN_ATTRIB);
    }
    return err;
}

int path_removexattr(const struct path *path, const char *name, const struct cred *cred)
{
    int err = mount_get_writer(path->mnt);

    if (err != 0) {
        return err;
    }
    err = may_change(path, name, cred);
    if (err == 0) {
        err = inode_removexattr(dentry_inode(path->dentry), name);
    }
    mount_put_writer(path->mnt);
    if (err == 0) {
        fsnotify_dentry(path->dentry, IN_ATTRIB);
    }
    return err;
}

/* Drop the trusted ones from a list of names: the new length. */
static ssize_t hide_trusted(char *list, size_t len)
{
    size_t kept = 0;

    for (size_t at = 0; at < len;) {
        size_t n = strnlen(list + at, len - at - 1) + 1;

        if (!has_prefix(list + at, "trusted.")) {
            memmove(list + kept, list + at, n);
            kept += n;
        }
        at += n;
    }
    return (ssize_t)kept;
}

ssize_t path_listxattr(const struct path *path, char *buf, size_t size, const struct cred *cred)
{
    ssize_t n = inode_listxattr(dentry_inode(path->dentry), buf, size);

    return n > 0 && size != 0 && !cred_capable(cred, CAP_SYS_ADMIN) ? hide_trusted(buf, (size_t)n)
                                                                    : n;
}
