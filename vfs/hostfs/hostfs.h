/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host files through donated directory descriptors: no host path is ever used, no link followed by
 * the host. See vfs/hostfs/README.md.
 */
#ifndef PAVISE_VFS_HOSTFS_HOSTFS_H
#define PAVISE_VFS_HOSTFS_HOSTFS_H

#include "vfs/vfs.h"

#define HOSTFS_MAGIC 0x01021997 /* as 9p says for a host's tree */

struct hostfs_options {
    bool writable;   /* --rw: changes reach the host */
    bool revalidate; /* others change the tree too: look again before believing a cached name or
                        attribute */
    /* Ids without a name in the sentry's user namespace come as 65534 from the host; show them as
     * root's (an ordinary user's sandbox, where all of /usr would belong to "nobody"). */
    bool overflow_is_root;
    u32 max_fds; /* host descriptors of idle and busy inodes; 0: the default */
};

/* `dirfd`: O_PATH or O_RDONLY directory, taken over also on error. ERR_PTR. */
must_check struct super *hostfs_super_new(int dirfd, const struct hostfs_options *options);

#endif
