/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes of tmpfs inodes: a list, bounded so that a guest cannot fill the heap with
 * it. Rights and prefixes were checked in vfs/xattr.c. inode->lock is held by the wrappers.
 */
#include "vfs/tmpfs/tmpfs_priv.h"

#include <sys/xattr.h>

#define XATTR_TOTAL_MAX (128 * KiB) /* names and values of one inode */

static struct tmpfs_xattr *xattr_find(struct tmpfs_inode *ti, const char *name)
{
    struct tmpfs_xattr *x;

    TAILQ_FOREACH (x, &ti->xattrs, link) {
        if (strcmp(x->data, name) == 0) {
            return x;
        }
    }
    return NULL;
}

static void xattr_remove(struct tmpfs_inode *ti, struct tmpfs_xattr *x)
{
    TAILQ_REMOVE(&ti->xattrs, x, link);
    ti->xattr_bytes -= x->name_len + x->size;
    heap_free(x);
}

static bool xattr_is_supported(const char *name)
{
    return strncmp(name, "user.", 5) == 0 || strncmp(name, "trusted.", 8) == 0 ||
           strncmp(name, "security.", 9) == 0;
}

ssize_t tmpfs_getxattr(struct inode *inode, const char *name, void *buf, size_t size)
{
    struct tmpfs_xattr *x = xattr_find(tmpfs_i(inode), name);

    if (!xattr_is_supported(name)) {
        return -EOPNOTSUPP;
    }
    if (x == NULL) {
        return -ENODATA;
    }
    if (size == 0) {
        return x->size;
    }
    if (size < x->size) {
        return -ERANGE;
    }
    memcpy(buf, x->data + x->name_len + 1, x->size);
    return x->size;
}

int tmpfs_setxattr(struct inode *inode, const char *name, const void *value, size_t size, int flags)
{
    struct tmpfs_inode *ti = tmpfs_i(inode);
    struct tmpfs_xattr *old = xattr_find(ti, name), *x;
    size_t name_len = strlen(name);

    if (!xattr_is_supported(name)) {
        return -EOPNOTSUPP;
    }
    if ((flags & XATTR_CREATE) != 0 && old != NULL) {
        return -EEXIST;
    }
    if ((flags & XATTR_REPLACE) != 0 && old == NULL) {
        return -ENODATA;
    }
    if (ti->xattr_bytes + name_len + size > XATTR_TOTAL_MAX) {
        return -ENOSPC;
    }
    x = heap_alloc(sizeof(*x) + name_len + 1 + size);
    if (x == NULL) {
        return -ENOMEM;
    }
    x->name_len = (u32)name_len;
    x->size = (u32)size;
    memcpy(x->data, name, name_len + 1);
    memcpy(x->data + name_len + 1, value, size);
    if (old != NULL) {
        xattr_remove(ti, old);
    }
    TAILQ_INSERT_HEAD(&ti->xattrs, x, link);
    ti->xattr_bytes += x->name_len + x->size;
    inode->ctime = inode_now();
    return 0;
}

ssize_t tmpfs_listxattr(struct inode *inode, char *buf, size_t size)
{
    struct tmpfs_xattr *x;
    size_t n = 0;

    TAILQ_FOREACH (x, &tmpfs_i(inode)->xattrs, link) {
        size_t len = (size_t)x->name_len + 1;

        if (size != 0) {
            if (len > size - n) {
                return -ERANGE;
            }
            memcpy(buf + n, x->data, len);
        }
        n += len;
    }
    return (ssize_t)n;
}

int tmpfs_removexattr(struct inode *inode, const char *name)
{
    struct tmpfs_xattr *x = xattr_find(tmpfs_i(inode), name);

    if (!xattr_is_supported(name)) {
        return -EOPNOTSUPP;
    }
    if (x == NULL) {
        return -ENODATA;
    }
    xattr_remove(tmpfs_i(inode), x);
    inode->ctime = inode_now();
    return 0;
}

void tmpfs_xattrs_fini(struct tmpfs_inode *ti)
{
    while (!TAILQ_EMPTY(&ti->xattrs)) {
        xattr_remove(ti, TAILQ_FIRST(&ti->xattrs));
    }
}
