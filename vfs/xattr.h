/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes with the rights of xattr(7); the unchecked calls are in vfs.h. Values and
 * lists are kernel memory; size 0 asks for the length.
 */
#ifndef PAVISE_VFS_XATTR_H
#define PAVISE_VFS_XATTR_H

#include "vfs/vfs.h"

#define XATTR_NAME_LEN_MAX 255
#define XATTR_VALUE_MAX    65536
#define XATTR_LIST_LEN_MAX 65536

must_check ssize_t path_getxattr(const struct path *path, const char *name, void *buf, size_t size,
                                 const struct cred *cred);
must_check int path_setxattr(const struct path *path, const char *name, const void *value,
                             size_t size, int flags, const struct cred *cred);
/* trusted.* is left out for those without CAP_SYS_ADMIN. */
must_check ssize_t path_listxattr(const struct path *path, char *buf, size_t size,
                                  const struct cred *cred);
must_check int path_removexattr(const struct path *path, const char *name, const struct cred *cred);

#endif
