/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inodes of objects that have no name in any tree: pipes ("pipe:[123]", st_dev of pipefs) and
 * sockets ("socket:[123]", st_dev of sockfs).
 */
#ifndef PAVISE_VFS_NOFS_H
#define PAVISE_VFS_NOFS_H

#include "vfs/vfs.h"

enum nofs_kind { NOFS_PIPE, NOFS_SOCKET, NOFS_KINDS };

/* At boot, after vfs_boot; shutdown is for unit tests. */
must_check int nofs_boot(void);
void nofs_shutdown(void);

/* A new inode of `mode`, owned by cred's fsuid and fsgid, and its nameless dentry in path (counted
 * both; the mount stays empty). */
must_check int nofs_inode_new(enum nofs_kind kind, u32 mode, const struct cred *cred,
                              struct path *path, struct inode **inode);

#endif
