/* SPDX-License-Identifier: Apache-2.0 */
/* Between hostfs.c (supers, inodes, names), attr.c, write.c and file.c. */
#ifndef PAVISE_VFS_HOSTFS_HOSTFS_PRIV_H
#define PAVISE_VFS_HOSTFS_HOSTFS_PRIV_H

#include "base/tree.h"
#include "vfs/hostfs/hostfs.h"
#include "vfs/mappable.h"

/* (c) const (s) super's lock (l) data_lock */
struct hostfs_inode {
    struct inode inode;
    RB_ENTRY(hostfs_inode) link; /* (s) */
    u64 host_dev, host_ino;      /* (c) */
    int path_fd;                 /* (c) O_PATH */
    struct hostfs_inode
        *parent;            /* (c) counted: where it was found, for reopening; NULL for the root */
    char *name;             /* (c) heap */
    struct mutex data_lock; /* LOCK_LEAF */
    int read_fd,
        write_fd;   /* (l) regular files: -1 until first opened; then kept while the inode lives */
    u64 blocks;     /* of 512, as last read */
    bool off_table; /* (s) replaced in the table while dying */
    struct mappable map;
};
RB_HEAD(hostfs_tree, hostfs_inode);

struct hostfs_super {
    struct super sb;
    struct spinlock lock;
    struct hostfs_tree inodes; /* (lock) by host device and inode number; uncounted */
    struct hostfs_options options;
    u64 root_dev; /* (c) */
};

static inline struct hostfs_inode *hostfs_i(struct inode *inode)
{
    return container_of(inode, struct hostfs_inode, inode);
}
static inline struct hostfs_super *hostfs_sb(struct super *sb)
{
    return container_of(sb, struct hostfs_super, sb);
}

/* The inode of what `name` in `dir` is on the host; ERR_PTR. */
must_check struct inode *hostfs_lookup(struct inode *dir, struct name name);
/* Copy the host's attributes into the inode. */
must_check int hostfs_refresh(struct hostfs_inode *hi);
/* A descriptor for the data, kept by the inode (borrowed): >= 0 or -errno. */
must_check int hostfs_data_fd(struct hostfs_inode *hi, bool write);
/* Open again what hi is, with other flags: a new host descriptor, checked to be the same object. */
must_check int hostfs_reopen(struct hostfs_inode *hi, u32 flags);
must_check struct file *hostfs_open(struct inode *inode, const struct path *path, u32 flags,
                                    const struct cred *cred);

extern const struct mappable_ops hostfs_mappable_ops;

#endif
