/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes of an overlay: those of the lower inode until the first change, which copies
 * them all into a list of our own. inode.lock is held by the wrappers.
 */
#include "vfs/overlay/overlay_priv.h"

#include <linux/limits.h>

/* ---- taking over the lower ones ---- */

static int take_one(struct overlay_inode *oi, const char *name, void *value)
{
    ssize_t n = inode_getxattr(oi->lower, name, value, XATTR_SIZE_MAX);

    if (n == -ENODATA || n == -EOPNOTSUPP || !xattr_list_supports(name)) {
        return 0;
    }
    return n < 0 ? (int)n : xattr_list_set(&oi->xattrs, name, value, (size_t)n, 0);
}

static int take_all(struct overlay_inode *oi, char *names, ssize_t len)
{
    void *value = heap_alloc(XATTR_SIZE_MAX);
    int err = value == NULL ? -ENOMEM : 0;

    for (ssize_t at = 0; at < len && err == 0; at += (ssize_t)strlen(names + at) + 1) {
        err = take_one(oi, names + at, value);
    }
    heap_free(value);
    return err;
}

/* Before the first change. Lock held for writing. */
static int take_over(struct overlay_inode *oi)
{
    char *names;
    ssize_t len;
    int err = 0;

    if (oi->own_xattrs) {
        return 0;
    }
    names = heap_alloc(XATTR_LIST_MAX + 1);
    if (names == NULL) {
        return -ENOMEM;
    }
    len = inode_listxattr(oi->lower, names, XATTR_LIST_MAX);
    if (len > 0) {
        err = take_all(oi, names, len); /* the byte behind the last name is zero */
    } else if (len < 0 && len != -EOPNOTSUPP) {
        err = (int)len;
    }
    heap_free(names);
    if (err != 0) {
        xattr_list_fini(&oi->xattrs);
        return err;
    }
    oi->own_xattrs = true;
    return 0;
}

/* ---- operations ---- */

ssize_t overlay_getxattr(struct inode *inode, const char *name, void *buf, size_t size)
{
    struct overlay_inode *oi = overlay_i(inode);
    ssize_t n;

    if (oi->own_xattrs || !xattr_list_supports(name)) {
        return xattr_list_get(&oi->xattrs, name, buf, size);
    }
    n = inode_getxattr(oi->lower, name, buf, size);
    return n == -EOPNOTSUPP ? -ENODATA : n;
}

/* The attributes changed, and the inode is ours from now on. */
static void changed(struct inode *inode)
{
    inode->ctime = inode_now();
    overlay_pin(overlay_i(inode));
}

int overlay_setxattr(struct inode *inode, const char *name, const void *value, size_t size,
                     int flags)
{
    struct overlay_inode *oi = overlay_i(inode);
    int err = xattr_list_supports(name) ? take_over(oi) : -EOPNOTSUPP;

    if (err == 0) {
        err = xattr_list_set(&oi->xattrs, name, value, size, flags);
    }
    if (err == 0) {
        changed(inode);
    }
    return err;
}

ssize_t overlay_listxattr(struct inode *inode, char *buf, size_t size)
{
    struct overlay_inode *oi = overlay_i(inode);
    ssize_t len;

    if (oi->own_xattrs) {
        return xattr_list_names(&oi->xattrs, buf, size);
    }
    len = inode_listxattr(oi->lower, buf, size);
    return len == -EOPNOTSUPP ? 0 : len;
}

int overlay_removexattr(struct inode *inode, const char *name)
{
    struct overlay_inode *oi = overlay_i(inode);
    int err = xattr_list_supports(name) ? take_over(oi) : -EOPNOTSUPP;

    if (err == 0) {
        err = xattr_list_remove(&oi->xattrs, name);
    }
    if (err == 0) {
        changed(inode);
    }
    return err;
}
