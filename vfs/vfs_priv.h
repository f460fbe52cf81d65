/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the vfs core share and nobody else sees: its state (one heap object), the
 * locked variants of the directory operations, and the pieces of the path walk and the mount tree
 * that the operations on names are made of.
 */
#ifndef PAVISE_VFS_PRIV_H
#define PAVISE_VFS_PRIV_H

#include "base/heap.h"
#include "base/idr.h"
#include "vfs/dentry.h"
#include "vfs/mount.h"
#include "vfs/namei.h"
#include "vfs/vfs.h"

#include <sys/mount.h>

#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256
#endif

struct chrdev_range {
    u32 major, minor, count;
    device_open_fn open;
    TAILQ_ENTRY(chrdev_range) link;
};

/* All of the core's state that is not reached from a mount namespace. */
struct vfs_state {
    struct rwlock mounts;                        /* LOCK_MOUNTS: changes of any mount tree */
    struct spinlock mount_lock;                  /* inside mounts: the links that walkers read */
    TAILQ_HEAD(all_mounts, mount) mount_list;    /* (mounts) */
    _Atomic u32 next_mount_id;                   /* (a) */
    u32 next_peer_group;                         /* (mounts) */
    u64 next_ns_ino;                             /* (mounts) */
    u64 visit;                                   /* (mounts) number of the last walk over mounts */
    TAILQ_HEAD(fs_contexts, fs_context) fs_list; /* (lock) */
    _Atomic u64 tree_seq;                        /* (a) grows when a directory or a mount moves */
    struct spinlock lock;                        /* leaf: what follows */
    struct idr devs;                             /* (lock) minor -> super */
    TAILQ_HEAD(fs_types, fs_type) types;         /* (boot) */
    TAILQ_HEAD(chrdevs, chrdev_range) chrdevs;   /* (boot) */
    struct spinlock lru_lock;                    /* leaf, inside dentry->lock */
    TAILQ_HEAD(dentry_lru, dentry) lru;          /* (lru_lock) every hashed dentry */
    u64 nr_lru, max_lru;                         /* (lru_lock) */
    struct spinlock deferred_lock;               /* leaf */
    struct deferred *deferred;                   /* (deferred_lock) */
    u32 nr_deferred;                             /* (deferred_lock) */
    bool flush_pending;                          /* (deferred_lock) */
    struct super *anon_sb;                       /* (c) of anonymous inodes */
    struct inode *anon_inode;                    /* (c) */
};
extern struct vfs_state *vfs_state;

/* fs.protected_* of sysctl/fs.rst, as systemd sets them on Debian. */
#define PROTECTED_SYMLINKS  1
#define PROTECTED_HARDLINKS 1
#define PROTECTED_FIFOS     1
#define PROTECTED_REGULAR   2

/* ---- cred.c ---- */

void user_ns_drop(struct user_ns *ns);

/* ---- defer.c ---- */

void defer_free(struct deferred *d, struct cache_type *type, void *obj);
void defer_flush(void); /* waits for a grace period; parks */

/* ---- dir.c: the caller holds the lock of dir (lookup: reading, others: writing) ---- */

struct inode *dir_lookup_locked(struct inode *dir, struct name name);
struct inode *dir_create_locked(struct inode *dir, struct name name, u32 mode,
                                const struct cred *cred);
struct inode *dir_mkdir_locked(struct inode *dir, struct name name, u32 mode,
                               const struct cred *cred);
struct inode *dir_mknod_locked(struct inode *dir, struct name name, u32 mode, u64 rdev,
                               const struct cred *cred);
struct inode *dir_symlink_locked(struct inode *dir, struct name name, const char *target,
                                 const struct cred *cred);
int dir_link_locked(struct inode *dir, struct name name, struct inode *inode);
int dir_unlink_locked(struct inode *dir, struct name name, struct inode *inode);
int dir_rmdir_locked(struct inode *dir, struct name name, struct inode *inode);
int dir_rename_locked(struct inode *old_dir, struct name old_name, struct inode *inode,
                      struct inode *new_dir, struct name new_name, struct inode *target, u32 flags);

/* ---- other files of the core ---- */

void chrdev_range_free(struct chrdev_range *r);
int anon_boot(void);
void anon_shutdown(void);
/* Whoever hangs things on inodes and files. */
void inode_hooks_fini(struct inode *inode);

/* ---- dentry.c ---- */

int dcache_boot(void);
u32 name_hash(struct name name);
/* The cached child, counted; NULL: not cached. */
struct dentry *dentry_lookup_cached(struct dentry *parent, struct name name);
/* Make the child known, with what the file system said (takes over the reference to inode, also on
 * error; NULL: negative). Another's equal entry wins. ERR_PTR(-ENOMEM). dir lock held. */
struct dentry *dentry_add_child(struct dentry *parent, struct name name, struct inode *inode);
/* A negative dentry gets its inode (takes over the reference). dir lock held for writing. */
void dentry_instantiate(struct dentry *d, struct inode *inode);
/* After unlink, rmdir: nobody finds it any more. dir lock held for writing. */
void dentry_delete(struct dentry *d);
/* After rename; both dir locks held for writing. */
void dentry_move(struct dentry *d, struct dentry *new_parent, struct dentry *target);
void dentry_exchange(struct dentry *a, struct dentry *b);
struct dentry *dentry_new_unlinked(struct dentry *parent, struct inode *inode);
void dentry_unhash(struct dentry *d);
void dentry_prune_children(struct dentry *d);
bool dentry_is_below(struct dentry *d, struct dentry *ancestor); /* or the same */
struct name dentry_name_snapshot(struct dentry *d, char buf[NAME_LEN_MAX + 1]);
char *dentry_text(struct dentry *d, char *buf, size_t size); /* inside its file system */
static inline bool dentry_is_dir(const struct dentry *d)
{
    struct inode *inode = dentry_inode(d);

    return inode != NULL && S_ISDIR(inode->mode);
}

/* ---- namei.c: the walk ---- */

enum last_type { LAST_NORM, LAST_DOT, LAST_DOTDOT, LAST_ROOT };

struct link_frame;

struct walk {
    const struct vfs_ctx *ctx;
    u32 flags;                      /* LOOKUP_* */
    u32 resolve;                    /* RESOLVE_* */
    bool is_scoped;                 /* RESOLVE_BENEATH or RESOLVE_IN_ROOT */
    bool last_slash;                /* a slash follows the last component */
    enum last_type type;            /* of the last component */
    struct name last;               /* its text, inside the path's string or a link_frame */
    struct path root, cur;          /* counted */
    u32 dir_mode, dir_uid;          /* of the directory that holds the last component */
    u64 seq;                        /* tree_seq at the start */
    u32 nr_links;                   /* symbolic links so far */
    struct link_frame *frames;      /* links in the middle that are being walked */
    struct link_frame *done_frames; /* kept: `last` may point into one */
};

int walk_start(struct walk *w, const struct vfs_ctx *ctx, int dirfd, const char *name, u32 flags);
void walk_end(struct walk *w);
/* Walk to the directory of the last component of `s`: cur, last, type. */
int walk_parent(struct walk *w, const char *s);
/* Step onto the last component. A link that LOOKUP_FOLLOW asks to follow: its body, to walk on with
 * walk_parent, in *body; else NULL. */
int walk_last(struct walk *w, const char **body);
/* Step onto `d` (taken over), found in cur as the last component. */
int walk_step_last(struct walk *w, struct dentry *d, const char **body);
int walk_check_done(struct walk *w);
/* The directory of a name's last component, and that name (valid until walk_end). */
int walk_to_parent(struct walk *w, const struct vfs_ctx *ctx, int dirfd, const char *name);

/* ---- namei_ops.c ---- */

int may_delete(struct inode *dir, struct dentry *victim, bool is_dir, const struct cred *cred);
int may_create(struct inode *dir, const struct cred *cred);

/* ---- mount.c ---- */

/* Up from the root of a mount to its mountpoint: false at the top. */
bool path_follow_up(struct path *path);
/* Is something mounted on d in the caller's namespace? */
bool mount_is_local(const struct vfs_ctx *ctx, const struct dentry *d);
int mount_get_writer(struct mount *mnt); /* counted: -EROFS */
void mount_put_writer(struct mount *mnt);

/* A mount of root, not attached; counts sb and root. */
struct mount *mount_new(struct super *sb, struct dentry *root, u32 flags);
/* (mounts) held for writing. Attach m (the caller's count becomes the tree's) with all below it. */
int mount_attach(struct mount *m, struct mount *parent, struct dentry *at);
/* Take m out of its tree; put on `gone` with the tree's count. */
TAILQ_HEAD(mount_work, mount);
void mount_detach(struct mount *m, struct mount_work *gone);
void mount_hook(struct mount *m, struct mount *parent, struct dentry *at);
void mount_join_ns(struct mount *m, struct mnt_ns *ns);
/* Only from its parent, for moving: children and namespace stay. */
void mount_unhook(struct mount *m);
void mounts_put_all(struct mount_work *gone);                                /* no lock held */
struct mount *mount_child_at(struct mount *parent, const struct dentry *at); /* borrowed */
struct mount *mount_next(struct mount *m, struct mount *top);                /* pre-order; NULL */
void mount_ns_changed(struct mnt_ns *ns);
/* After a name went away: whatever other namespaces had mounted on it. No lock held. */
void mounts_detach_all_on(struct dentry *d);
bool mount_may(const struct vfs_ctx *ctx); /* CAP_SYS_ADMIN over the caller's namespace */

/* ---- propagate.c: (mounts) held for writing ---- */

#define MOUNT_COPY_UNBINDABLE 1U
#define MOUNT_COPY_SLAVE      2U /* slaves of what is copied */
#define MOUNT_COPY_SHARED     4U /* and in groups of their own */
#define MOUNT_COPY_ONE        8U /* nothing below it */
#define MOUNT_COPY_PRIVATE    16U
/* A detached copy of m's tree, from `root` on; ERR_PTR. Each original's ->copy is set. */
struct mount *mount_copy_tree(struct mount *m, struct dentry *root, u32 how);
void mount_tree_discard(struct mount *m, struct mount_work *gone);
/* Attach m at (parent, at), and copies wherever parent's events go. */
int mount_attach_propagate(struct mount *m, struct mount *parent, struct dentry *at);
/* The other mounts that see what happens in `m`, linked by ->work. */
void mount_propagation_of(struct mount *m, struct mount_work *out);
void mount_set_propagation(struct mount *m, u32 ms_type);
void mount_leave_groups(struct mount *m);

static inline bool path_equal(const struct path *a, const struct path *b)
{
    return a->mnt == b->mnt && a->dentry == b->dentry;
}

/* The rights of a mount flag set over mnt (NULL: of nothing). */
static inline bool mount_has(const struct mount *mnt, u32 flag)
{
    return mnt != NULL && (__atomic_load_n(&mnt->flags, __ATOMIC_RELAXED) & flag) != 0;
}

/* root, cwd and umask of a context. */
void fs_get_root(struct fs_context *fs, struct path *out);
void fs_get_cwd(struct fs_context *fs, struct path *out);
u32 fs_get_umask(struct fs_context *fs);

#endif
