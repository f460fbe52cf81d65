/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes kept in memory: the list of one inode, for file systems that have no other
 * place for them (tmpfs, overlay). Bounded, so that a guest cannot fill the heap with them. The
 * owner locks (inode->lock); rights were checked by the wrappers in vfs.h.
 */
#ifndef PAVISE_VFS_XATTR_LIST_H
#define PAVISE_VFS_XATTR_LIST_H

#include "base/base.h"

#include <sys/queue.h>

struct xattr_list {
    TAILQ_HEAD(, xattr_entry) entries;
    u32 bytes; /* names and values */
};

void xattr_list_init(struct xattr_list *l);
void xattr_list_fini(struct xattr_list *l); /* frees every entry; the list stays usable */

/* Are attributes of this name's namespace (xattr(7)) kept at all? The functions below return
 * -EOPNOTSUPP otherwise. */
bool xattr_list_supports(const char *name);

/* As getxattr(2): the value's size; size 0 asks for it. -ENODATA, -ERANGE. */
must_check ssize_t xattr_list_get(const struct xattr_list *l, const char *name, void *buf,
                                  size_t size);
/* As setxattr(2), flags XATTR_CREATE and XATTR_REPLACE. -EEXIST, -ENODATA, -ENOSPC, -ENOMEM. */
must_check int xattr_list_set(struct xattr_list *l, const char *name, const void *value,
                              size_t size, int flags);
/* As listxattr(2). -ERANGE. */
must_check ssize_t xattr_list_names(const struct xattr_list *l, char *buf, size_t size);
/* -ENODATA. */
must_check int xattr_list_remove(struct xattr_list *l, const char *name);

#endif
