/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes of an overlay: those of the lower inode until the first change, which copies
 * them all into a list of our own. Bounded, so that a guest cannot fill the heap with them. Rights
 * and prefixes were checked before; inode.lock is held by the wrappers.
 */
#include "vfs/overlay/overlay_priv.h"

#include <linux/limits.h>
#include <sys/xattr.h>

#define XATTR_TOTAL_MAX (128 * KiB) /* names and values of one inode */

static struct overlay_xattr *xattr_find(struct overlay_inode *oi, const char *name)
{
    struct overlay_xattr *x;

    TAILQ_FOREACH (x, &oi->xattrs, link) {
        if (strcmp(x->data, name) == 0) {
            return x;
        }
    }
    return NULL;
}

static void xattr_drop(struct overlay_inode *oi, struct overlay_xattr *x)
{
    TAILQ_REMOVE(&oi->xattrs, x, link);
    oi->xattr_bytes -= x->name_len + x->size;
    heap_free(x);
}

void overlay_xattrs_fini(struct overlay_inode *oi)
{
    while (!TAILQ_EMPTY(&oi->xattrs)) {
        xattr_drop(oi, TAILQ_FIRST(&oi->xattrs));
    }
}

static bool is_supported(const char *name)
{
    return strncmp(name, "user.", 5) == 0 || strncmp(name, "trusted.", 8) == 0 ||
           strncmp(name, "security.", 9) == 0;
}

static int xattr_add(struct overlay_inode *oi, const char *name, const void *value, size_t size)
{
    size_t name_len = strlen(name);
    struct overlay_xattr *x;

    if (size > XATTR_TOTAL_MAX || oi->xattr_bytes + name_len + size > XATTR_TOTAL_MAX) {
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
    TAILQ_INSERT_HEAD(&oi->xattrs, x, link);
    oi->xattr_bytes += x->name_len + x->size;
    return 0;
}

/* ---- taking over the lower ones ---- */

static int take_one(struct overlay_inode *oi, const char *name, void *value)
{
    ssize_t n = inode_getxattr(oi->lower, name, value, XATTR_SIZE_MAX);

    if (n == -ENODATA || n == -EOPNOTSUPP || !is_supported(name)) {
        return 0;
    }
    return n < 0 ? (int)n : xattr_add(oi, name, value, (size_t)n);
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
        overlay_xattrs_fini(oi);
        return err;
    }
    oi->own_xattrs = true;
    return 0;
}

/* ---- operations ---- */

ssize_t overlay_getxattr(struct inode *inode, const char *name, void *buf, size_t size)
{
    struct overlay_inode *oi = overlay_i(inode);
    struct overlay_xattr *x;
    ssize_t n;

    if (!is_supported(name)) {
        return -EOPNOTSUPP;
    }
    if (!oi->own_xattrs) {
        n = inode_getxattr(oi->lower, name, buf, size);
        return n == -EOPNOTSUPP ? -ENODATA : n;
    }
    x = xattr_find(oi, name);
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

int overlay_setxattr(struct inode *inode, const char *name, const void *value, size_t size,
                     int flags)
{
    struct overlay_inode *oi = overlay_i(inode);
    struct overlay_xattr *old;
    int err = is_supported(name) ? take_over(oi) : -EOPNOTSUPP;

    if (err != 0) {
        return err;
    }
    old = xattr_find(oi, name);
    if ((flags & XATTR_CREATE) != 0 && old != NULL) {
        return -EEXIST;
    }
    if ((flags & XATTR_REPLACE) != 0 && old == NULL) {
        return -ENODATA;
    }
    err = xattr_add(oi, name, value, size);
    if (err != 0) {
        return err;
    }
    if (old != NULL) {
        xattr_drop(oi, old);
    }
    inode->ctime = inode_now();
    overlay_pin(oi);
    return 0;
}

ssize_t overlay_listxattr(struct inode *inode, char *buf, size_t size)
{
    struct overlay_inode *oi = overlay_i(inode);
    struct overlay_xattr *x;
    size_t n = 0;

    if (!oi->own_xattrs) {
        ssize_t len = inode_listxattr(oi->lower, buf, size);

        return len == -EOPNOTSUPP ? 0 : len;
    }
    TAILQ_FOREACH (x, &oi->xattrs, link) {
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

int overlay_removexattr(struct inode *inode, const char *name)
{
    struct overlay_inode *oi = overlay_i(inode);
    struct overlay_xattr *x;
    int err = is_supported(name) ? take_over(oi) : -EOPNOTSUPP;

    if (err != 0) {
        return err;
    }
    x = xattr_find(oi, name);
    if (x == NULL) {
        return -ENODATA;
    }
    xattr_drop(oi, x);
    inode->ctime = inode_now();
    overlay_pin(oi);
    return 0;
}
