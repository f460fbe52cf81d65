/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside hostfs: the inode, its host descriptors, and what the files of the folder share.
 *
 * Trust: the host tree may be changed at any moment by somebody hostile (--rw trees). Therefore
 * - a name handed to the host is always one component (hostfs_name_ok), never followed if a link;
 * - a descriptor opened by name is believed only after its device, number and type were compared
 * with the inode (hostfs_open_verified);
 * - nothing but directories, regular files and O_PATH is ever opened.
 */
#ifndef PAVISE_VFS_HOSTFS_PRIV_H
#define PAVISE_VFS_HOSTFS_PRIV_H

#include "base/base.h"
#include "base/heap.h"
#include "base/host.h"
#include "base/host_fs.h"
#include "base/sched/lock.h"
#include "base/sched/worker.h"
#include "vfs/hostfs/hostfs.h"
#include "vfs/icache.h"
#include "vfs/mappable.h"
#include "vfs/vfs.h"

#include <sys/queue.h>
#include <sys/stat.h>

#define HOSTFS_STATX_MASK  (STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID)
#define HOSTFS_OVERFLOW_ID 65534U /* fs.overflowuid: an id without a name in our user namespace */
#define HOSTFS_MAX_DEVS    31U    /* host devices with inode numbers of their own in one tree */

/*
 * The two descriptors an inode may have.
 *   HFD_MAIN  directory: O_RDONLY, or O_PATH if we may not read it; regular file: O_RDONLY; any
 *             other type: O_PATH
 *   HFD_WRITE regular file: O_RDWR, or O_WRONLY if we may not read it
 */
enum hostfs_fd_kind { HFD_MAIN, HFD_WRITE, HFD_KINDS };

/* All (fd_lock) of the super. users > 0: in use; 0 and fd >= 0: idle, on the LRU list. */
struct hostfs_fd {
    int fd; /* -1: not open */
    u32 users;
    bool limited; /* O_PATH where O_RDONLY, or O_WRONLY where O_RDWR was wanted */
    TAILQ_ENTRY(hostfs_fd) lru;
};
TAILQ_HEAD(hostfs_fd_list, hostfs_fd);

struct hostfs_inode {
    struct inode inode;
    struct icache_link link;
    u64 host_dev, host_ino; /* (c) identity */
    struct spinlock lock;   /* leaf: fields marked (h), and every write to inode's attributes */
    /* (h) where it was seen last: how its descriptors are opened. Counted; NULL for the root and
     * for what has lost its last name. */
    struct hostfs_inode *parent;
    char *name;
    u64 blocks;             /* (h) */
    u32 blksize;            /* (h) */
    _Atomic bool stale;     /* (a) attributes are to be read again before their next use */
    _Atomic bool no_nowait; /* (a) the host file system does not know RWF_NOWAIT */
    struct hostfs_fd fds[HFD_KINDS];
    bool map_pinned[HFD_KINDS]; /* (fd_lock) that descriptor is mapped: it stays open */
    struct mutex dir_lock;      /* directory: LOCK_HOSTFS_DIR, the position of its descriptor */
    s64 dir_pos;                /* (dir_lock) */
    struct mappable map;        /* regular files */
    _Atomic(char *) target;     /* (a) symbolic link: cached, heap; set once */
};

struct hostfs_super {
    struct super sb;
    struct hostfs_options opt; /* (c) */
    struct icache inodes;
    struct spinlock fd_lock;   /* leaf */
    struct hostfs_fd_list lru; /* (fd_lock) oldest first */
    u32 nr_fds;                /* (fd_lock) open, the root's not counted */
    u32 nr_devs;               /* (fd_lock) */
    u64 devs[HOSTFS_MAX_DEVS]; /* (fd_lock) */
    int root_fd;               /* (c) owned; the donated descriptor */
    u32 uid;                   /* (c) ours: whose what we make is at first */
};

static inline struct hostfs_inode *to_hostfs(const struct inode *inode)
{
    return container_of(inode, struct hostfs_inode, inode);
}

static inline struct hostfs_super *to_hsb(const struct super *sb)
{
    return container_of(sb, struct hostfs_super, sb);
}

static inline struct hostfs_super *hostfs_sb(const struct hostfs_inode *hi)
{
    return to_hsb(hi->inode.sb);
}

/* super.c, inode.c */
extern const struct inode_ops hostfs_inode_ops, hostfs_shared_inode_ops;
/* The inode for what statx said about `name` in `dir`; remembers the place. ERR_PTR(-ENOMEM). */
must_check struct inode *hostfs_iget(struct hostfs_super *hsb, const struct statx *stx,
                                     struct hostfs_inode *dir, const char *name);
void hostfs_release(struct inode *inode);
bool hostfs_same(const struct hostfs_inode *hi, const struct statx *stx);
/* Take the attributes over. */
void hostfs_fill(struct hostfs_inode *hi, const struct statx *stx);
u64 hostfs_ino(struct hostfs_super *hsb, u64 host_dev, u64 host_ino);
/* Where hi was seen last: the parent, counted (NULL: none), and the name into a buffer of
 * NAME_LEN_MAX + 1. */
must_check struct hostfs_inode *hostfs_place(struct hostfs_inode *hi, char *name);
/* It has this name now (counts dir). Without memory the old place stays: a later use says ESTALE.
 */
void hostfs_set_place(struct hostfs_inode *hi, struct hostfs_inode *dir, const char *name);
/* Its last name is gone: no look-up may find it any more. */
void hostfs_set_dead(struct hostfs_inode *hi);
/* A terminated copy of a component into a buffer of NAME_LEN_MAX + 1; -EINVAL for what is none. */
must_check int hostfs_name(struct name name, char *buf);

/* handle.c */
void hostfs_fds_init(struct hostfs_inode *hi);
/* An open descriptor, kept open until the put. -ESTALE: the name leads elsewhere now. */
must_check int hostfs_fd_get(struct hostfs_inode *hi, enum hostfs_fd_kind kind);
void hostfs_fd_put(struct hostfs_inode *hi, enum hostfs_fd_kind kind);
/* The same only if it is open already: -ENOENT otherwise. */
must_check int hostfs_fd_get_open(struct hostfs_inode *hi, enum hostfs_fd_kind kind);
bool hostfs_fd_is_limited(struct hostfs_inode *hi, enum hostfs_fd_kind kind);
/* For mappings: open, and so until the inode goes. */
must_check int hostfs_fd_pin(struct hostfs_inode *hi, enum hostfs_fd_kind kind);
/* Hand over a descriptor just opened (create). */
void hostfs_fd_install(struct hostfs_inode *hi, enum hostfs_fd_kind kind, int fd, bool limited);
void hostfs_fds_close(struct hostfs_inode *hi);
/* An O_PATH descriptor of any inode, verified; the caller closes it. */
must_check int hostfs_open_path(struct hostfs_inode *hi);
/* openat2 of one component; gives idle descriptors back when the table is full. */
must_check int hostfs_open_at(struct hostfs_super *hsb, int dirfd, const char *name, u32 flags,
                              u32 mode);
must_check int hostfs_statx_fd(int fd, struct statx *stx);

/* attr.c */
int hostfs_refresh(struct hostfs_inode *hi);
void hostfs_mark_stale(struct hostfs_inode *hi);
must_check int hostfs_getattr(struct inode *inode, struct attr *out);
must_check int hostfs_setattr(struct inode *inode, const struct setattr *set);
must_check ssize_t hostfs_readlink(struct inode *inode, const struct vfs_ctx *ctx, char *buf,
                                   size_t size);
/* Owner and special bits of something just made, through its own descriptor. */
void hostfs_settle(int fd, const struct statx *stx, u32 mode, u32 uid, u32 gid);

/* xattr.c */
must_check ssize_t hostfs_getxattr(struct inode *inode, const char *name, void *buf, size_t size);
must_check int hostfs_setxattr(struct inode *inode, const char *name, const void *value,
                               size_t size, int flags);
must_check ssize_t hostfs_listxattr(struct inode *inode, char *buf, size_t size);
must_check int hostfs_removexattr(struct inode *inode, const char *name);

/* names.c */
must_check struct inode *hostfs_lookup(struct inode *dir, struct name name);
bool hostfs_revalidate(struct inode *dir, struct name name, struct inode *inode);
must_check struct inode *hostfs_create(struct inode *dir, struct name name, u32 mode,
                                       const struct cred *cred);
must_check struct inode *hostfs_mkdir(struct inode *dir, struct name name, u32 mode,
                                      const struct cred *cred);
must_check struct inode *hostfs_mknod(struct inode *dir, struct name name, u32 mode, u64 rdev,
                                      const struct cred *cred);
must_check struct inode *hostfs_symlink(struct inode *dir, struct name name, const char *target,
                                        const struct cred *cred);

/* rename.c */
must_check int hostfs_link(struct inode *dir, struct name name, struct inode *inode);
must_check int hostfs_unlink(struct inode *dir, struct name name, struct inode *inode);
must_check int hostfs_rmdir(struct inode *dir, struct name name, struct inode *inode);
must_check int hostfs_rename(struct inode *old_dir, struct name old_name, struct inode *inode,
                             struct inode *new_dir, struct name new_name, struct inode *target,
                             u32 flags);

/* file.c, dir.c */
must_check struct file *hostfs_open(struct inode *inode, const struct path *path, u32 flags,
                                    const struct cred *cred);
extern const struct mappable_ops hostfs_mappable_ops;
extern const struct file_ops hostfs_dir_ops;

#endif
