/* SPDX-License-Identifier: Apache-2.0 */
/* The mount tree and mount namespaces (mount(2), mount_namespaces(7)). */
#ifndef PAVISE_VFS_MOUNT_H
#define PAVISE_VFS_MOUNT_H

#include "vfs/vfs.h"

#include <bsd/sys/tree.h>

/*
 * Key: (m) changes under vfs_state->mounts (LOCK_MOUNTS, for writing) and vfs_state->mount_lock;
 * read under either. An attached mount is counted once by its tree.
 */
struct mount {
    struct ref ref;
    struct mnt_ns *ns;         /* (m) NULL: detached */
    struct mount *parent;      /* (m) counted; itself for a root */
    struct dentry *mountpoint; /* (m) in parent, counted; NULL for a root */
    struct dentry *root;       /* (c) counted */
    struct super *sb;          /* (c) counted */
    u32 flags;           /* (a) MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME ... */
    u32 id;              /* (c) mount id of mountinfo, statx */
    u32 peer_group;      /* (m) propagation: shared group, 0 none */
    u32 master_group;    /* (m) slave of */
    bool unbindable;     /* (m) */
    bool expiring;       /* (m) MNT_EXPIRE has seen it unused */
    _Atomic u32 writers; /* (a) files open for writing, changes under way */
    RB_HEAD(mount_children, mount) children; /* (m) by mountpoint */
    RB_ENTRY(mount) sibling;                 /* (m) */
    TAILQ_ENTRY(mount) all;                  /* (m) attached ones, over all namespaces */
    /* (m) For the duration of one operation: */
    TAILQ_ENTRY(mount) work;
    struct mount *copy;      /* of this one; in propagation: whom it has the event from */
    struct mount *copy_tree; /* propagation: what is to be attached here */
    u64 visit;
};

struct mnt_ns {
    struct ref ref;
    struct mount
        *base; /* (c) counted; never seen: the root is mounted on it, so that it can pivot */
    struct user_ns *user_ns; /* (c) counted (sentry/kernel sets it before use); NULL: the initial */
    u64 ino;                 /* (c) for /proc/PID/ns/mnt */
    u32 nr_mounts;           /* (m) bounded */
    _Atomic u64 seq;         /* (a) grows with each change (poll of /proc/self/mounts) */
    struct waitq changed;
};

must_check struct mnt_ns *mnt_ns_new(struct super *root_sb, u32 mnt_flags); /* NULL: no memory */
/* CLONE_NEWNS: a copy; *fs' root and cwd paths are moved into it. ERR_PTR. */
must_check struct mnt_ns *mnt_ns_copy(struct mnt_ns *ns, struct fs_context *fs);
/* The root directory: what the first task's root and cwd are. Counted. */
void mnt_ns_root(struct mnt_ns *ns, struct path *out);
struct mnt_ns *mnt_ns_get(struct mnt_ns *ns);
void mnt_ns_put(struct mnt_ns *ns);

/* For boot and mount(2): put `sb` on the directory `at`. */
must_check int mount_add(struct mnt_ns *ns, struct super *sb, const struct path *at, u32 mnt_flags);
must_check int vfs_mount(const struct vfs_ctx *ctx, const char *source, const char *target,
                         const char *type, u64 flags, const char *data);
must_check int vfs_umount(const struct vfs_ctx *ctx, const char *target, u32 flags);
must_check int vfs_pivot_root(const struct vfs_ctx *ctx, const char *new_root, const char *put_old);
must_check int mount_want_write(struct mount *mnt); /* -EROFS */
/* statfs(2) of where a path lies, ST_* flags of the mount included. */
must_check int path_statfs(const struct path *path, struct statfs_info *out);

struct mount *mount_get(struct mount *m);
void mount_put(struct mount *m);

/* One line each of /proc/PID/mounts (mountinfo: true) for what is visible from `root`; emits text
 * pieces. */
void mnt_ns_show(struct mnt_ns *ns, const struct path *root, bool mountinfo,
                 void (*emit)(void *arg, const char *text, size_t len), void *arg);

/* Root, cwd and umask of a task (CLONE_FS shares it). */
struct fs_context {
    struct ref ref;
    TAILQ_ENTRY(fs_context) link; /* (vfs_state->lock) all of them, for pivot_root */
    struct rwlock lock;           /* LOCK_FS_CONTEXT */
    struct path root, cwd;        /* (lock) */
    u32 umask;                    /* (lock) */
};
must_check struct fs_context *fs_context_new(const struct path *root, const struct path *cwd,
                                             u32 umask);
must_check struct fs_context *fs_context_copy(struct fs_context *fs);
struct fs_context *fs_context_get(struct fs_context *fs);
void fs_context_put(struct fs_context *fs);
/* Root and cwd as they are now, counted; either may be NULL. */
void fs_context_paths(struct fs_context *fs, struct path *root, struct path *cwd);

/* Replace an on-mounted path by the root of the topmost mount on it; true if it moved. */
bool path_follow_mounts(struct path *path);

#endif
