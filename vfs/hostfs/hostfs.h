/* SPDX-License-Identifier: Apache-2.0 */
/* Host files through donated directory descriptors: no host path is ever used, no link followed by
 * the host. */
#ifndef PAVISE_VFS_HOSTFS_HOSTFS_H
#define PAVISE_VFS_HOSTFS_HOSTFS_H

#include "vfs/vfs.h"

#define HOSTFS_MAGIC 0x01021997 /* as 9p says for a host's tree */

struct hostfs_options {
    bool writable;   /* --rw: changes reach the host */
    bool revalidate; /* others change the tree too: look again before believing a cached name or
                        attribute */
};

/* `dirfd`: O_PATH directory or file, taken over also on error. ERR_PTR. */
must_check struct super *hostfs_super_new(int dirfd, const struct hostfs_options *options);

#endif
