/* SPDX-License-Identifier: Apache-2.0 */
/* Extended attributes of tmpfs inodes: a list in memory. inode->lock is held by the wrappers. */
#include "vfs/tmpfs/tmpfs_priv.h"

ssize_t tmpfs_getxattr(struct inode *inode, const char *name, void *buf, size_t size)
{
    return xattr_list_get(&tmpfs_i(inode)->xattrs, name, buf, size);
}

int tmpfs_setxattr(struct inode *inode, const char *name, const void *value, size_t size, int flags)
{
    int err = xattr_list_set(&tmpfs_i(inode)->xattrs, name, value, size, flags);

    if (err == 0) {
        inode->ctime = inode_now();
    }
    return err;
}

ssize_t tmpfs_listxattr(struct inode *inode, char *buf, size_t size)
{
    return xattr_list_names(&tmpfs_i(inode)->xattrs, buf, size);
}

int tmpfs_removexattr(struct inode *inode, const char *name)
{
    int err = xattr_list_remove(&tmpfs_i(inode)->xattrs, name);

    if (err == 0) {
        inode->ctime = inode_now();
    }
    return err;
}
