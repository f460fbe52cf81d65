/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtual file system: mounts, dentries, inodes and open files, with operation tables as in
 * Linux. A file system is a folder that fills the tables. The contract of each op is written at the
 * op; nobody calls through a table but the wrapper in the object's own file (inode_*, file_*,
 * super_*).
 *
 * Ownership: functions that return a pointer return a counted reference. Paths hold a reference on
 * both parts.
 *
 * Lock order: see enum lock_rank. A directory's lock (dir->lock, write) is held by the wrapper
 * around every op that changes names in it and (read or write) around lookup and readdir; file
 * content ops lock for themselves.
 */
#ifndef PAVISE_VFS_VFS_H
#define PAVISE_VFS_VFS_H

#include "base/base.h"
#include "base/err.h"
#include "base/ref.h"
#include "base/sched/lock.h"
#include "base/sched/waitq.h"
#include "base/uio.h"
#include "vfs/cred.h"
#include "vfs/poll.h"

#include <fcntl.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <time.h>

struct cache_type;
struct dentry;
struct fdtable;
struct file;
struct file_lock_ctx;
struct fs_context;
struct inode;
struct mappable;
struct mnt_ns;
struct mount;
struct super;

#define NAME_LEN_MAX       255
#define PATH_LEN_MAX       4096 /* with the NUL */
#define SYMLINK_MAX_FOLLOW 40

struct name {
    const char *str; /* not NUL-terminated by contract, no '/' */
    u32 len;
};

struct path {
    struct mount *mnt;
    struct dentry *dentry;
};
void path_get(const struct path *p);
void path_put(struct path *p); /* and clears it; an empty path is allowed */

/* Who is asking, and from where. Embedded in struct task; borrowed by every call. */
struct vfs_ctx {
    const struct cred *cred;
    struct fs_context *fs;
    struct fdtable *fdt;
    struct mnt_ns *mnt_ns;
    u64 fsize_limit; /* RLIMIT_FSIZE of the caller */
};

/* ---- attributes ---- */

struct attr {
    u64 dev, ino, rdev; /* dev numbers as makedev(3) packs them */
    u32 mode, nlink, uid, gid;
    u64 size, blocks; /* blocks of 512 */
    u32 blksize;
    struct timespec atime, mtime, ctime, btime; /* btime.tv_nsec == -1: unknown */
    u64 statx_attributes;
};

#define SETATTR_MODE  1U
#define SETATTR_UID   2U
#define SETATTR_GID   4U
#define SETATTR_SIZE  8U
#define SETATTR_ATIME 16U
#define SETATTR_MTIME 32U
#define SETATTR_CTIME 64U
/* For callers of inode_setattr only, never seen by an op: utimes(2) with "now" for both times
 * (write permission is enough); the file was written to (drop SUID, SGID as cred must). */
#define SETATTR_TOUCH     128U
#define SETATTR_KILL_PRIV 256U
struct setattr {
    u32 valid; /* SETATTR_* */
    u32 mode, uid, gid;
    u64 size;
    struct timespec atime, mtime, ctime;
};

/* ---- inodes ---- */

struct inode_ops {
    const char *name;

    /* Names. `dir` is locked: for reading in lookup, for writing in the others. Permission,
     * existence, name length and cross-device checks are done. */
    struct inode *(*lookup)(struct inode *dir, struct name name); /* ERR_PTR(-ENOENT): not there */
    struct inode *(*create)(struct inode *dir, struct name name, u32 mode, const struct cred *cred);
    struct inode *(*mkdir)(struct inode *dir, struct name name, u32 mode, const struct cred *cred);
    struct inode *(*mknod)(struct inode *dir, struct name name, u32 mode, u64 rdev,
                           const struct cred *cred);
    struct inode *(*symlink)(struct inode *dir, struct name name, const char *target,
                             const struct cred *cred);
    int (*link)(struct inode *dir, struct name name, struct inode *inode);
    int (*unlink)(struct inode *dir, struct name name, struct inode *inode);
    int (*rmdir)(struct inode *dir, struct name name, struct inode *inode); /* -ENOTEMPTY */
    /* Both directories are locked. `target` is what new_name refers to now, or NULL. flags:
     * RENAME_EXCHANGE, RENAME_NOREPLACE (already checked), RENAME_WHITEOUT. */
    int (*rename)(struct inode *old_dir, struct name old_name, struct inode *inode,
                  struct inode *new_dir, struct name new_name, struct inode *target, u32 flags);
    /* An unnamed regular file in dir's file system (O_TMPFILE). NULL: -EOPNOTSUPP. */
    struct inode *(*tmpfile)(struct inode *dir, u32 mode, const struct cred *cred);

    /* Symbolic links: the target without NUL, at most size bytes; its length. */
    ssize_t (*readlink)(struct inode *inode, const struct vfs_ctx *ctx, char *buf, size_t size);
    /* Magic links (/proc/PID/fd/N, exe, cwd, root): the object itself. Only for S_IFLNK inodes;
     * NULL: readlink and walk. */
    int (*follow)(struct inode *inode, const struct vfs_ctx *ctx, struct path *out);

    /* NULL: from the fields of struct inode. */
    int (*getattr)(struct inode *inode, struct attr *out);
    /* inode->lock is held for writing. Rights were checked and SUID/SGID clearing decided; ctime is
     * included where Linux changes it. NULL: -EPERM. SETATTR_SIZE truncates or extends. On success
     * the op has changed the fields of struct inode too (inode_set_fields does). */
    int (*setattr)(struct inode *inode, const struct setattr *set);
    /* MAY_* of `mask` for cred: 0 or -EACCES. NULL: inode_generic_permission (mode, capabilities;
     * ACLs later). */
    int (*permission)(struct inode *inode, u32 mask, const struct cred *cred);

    /* A new open file; devices, FIFOs and sockets are handled before (vfs/open.c). flags: O_*. */
    struct file *(*open)(struct inode *inode, const struct path *path, u32 flags,
                         const struct cred *cred);

    /* xattr(7). value sizes as in getxattr(2): size 0 asks for the length; -ERANGE, -ENODATA. NULL:
     * -EOPNOTSUPP */
    ssize_t (*getxattr)(struct inode *inode, const char *name, void *buf, size_t size);
    int (*setxattr)(struct inode *inode, const char *name, const void *value, size_t size,
                    int flags);
    ssize_t (*listxattr)(struct inode *inode, char *buf, size_t size);
    int (*removexattr)(struct inode *inode, const char *name);

    /* May a cached name still be believed? NULL: always. Called without locks by the path walk. */
    bool (*revalidate)(struct inode *dir, struct name name, struct inode *inode);

    /* The last reference is gone: free everything, the memory around struct inode included
     * (inode_fini first). May run with any mutex held, so it takes no lock ranked below
     * LOCK_INODE_REAL. */
    void (*release)(struct inode *inode);
};

#define MAY_EXEC  1U
#define MAY_WRITE 2U
#define MAY_READ  4U

struct inode {
    struct ref ref;              /* (a) */
    const struct inode_ops *ops; /* (c) */
    struct super *sb; /* (c) counted by the file system's own rule: the super outlives its inodes */
    u64 ino;          /* (c) */
    u32 mode;         /* type (c), permissions (l); read without the lock as one word */
    u32 uid, gid;     /* (l) likewise */
    u32 nlink;        /* (l) */
    u64 rdev;         /* (c) */
    u64 size;         /* (l) atomic read allowed */
    struct timespec atime, mtime, ctime, btime; /* (l) */
    struct rwlock lock;  /* directories: LOCK_INODE_DIR, others: LOCK_INODE */
    bool dead;           /* (l) a removed directory: no names can be made in it */
    bool linkable;       /* (l) O_TMPFILE without O_EXCL: may be linked although nlink is 0 */
    _Atomic int writers; /* > 0: open for writing; < 0: being executed (deny write): ETXTBSY */
    _Atomic(struct file_lock_ctx *) locks; /* vfs/locks.c, made on first use */
    _Atomic(struct inotify_marks *) marks; /* vfs/inotify.c, made on first use */
    void *special; /* (l) FIFO: its struct pipe; socket: its bound endpoint; both counted by their
                      kind */
};

/* For file systems: fill the common part; count 1. Times are set to now. */
void inode_init(struct inode *inode, struct super *sb, const struct inode_ops *ops, u64 ino,
                u32 mode, u32 uid, u32 gid);
void inode_fini(struct inode *inode);
struct inode *inode_get(struct inode *inode);
void inode_put(struct inode *inode);

/* The owner of something new in `dir`: fsuid and fsgid, or dir's group and SGID (inode(7)). */
void inode_init_owner(const struct inode *dir, const struct cred *cred, u32 *mode, u32 *uid,
                      u32 *gid);
/* For setattr ops: copy what is valid (but the size) into the fields. Lock held. */
void inode_set_fields(struct inode *inode, const struct setattr *set);
/* atime after a read by the rules of the mount (relatime, noatime, nodiratime) and O_NOATIME. */
void file_accessed(struct file *f);
struct timespec inode_now(void);

must_check int inode_getattr(struct inode *inode, struct attr *out);
/* Checks rights for cred as notify_change in Linux, clears SUID/SGID, and sets. */
must_check int inode_setattr(struct inode *inode, struct setattr *set, const struct cred *cred);
must_check int inode_permission(struct inode *inode, u32 mask, const struct cred *cred);
must_check int inode_generic_permission(struct inode *inode, u32 mask, const struct cred *cred);
/* Owner of the inode, or CAP_FOWNER. */
bool inode_owner_or_capable(const struct inode *inode, const struct cred *cred);
/* readlink: the length. -EINVAL: no link. */
must_check ssize_t inode_readlink(struct inode *inode, const struct vfs_ctx *ctx, char *buf,
                                  size_t size);

/*
 * Names in a directory, for a file system on top of another (overlay) and for the kernel's own
 * trees. No rights are checked and no dentry is touched; the directories are locked here
 * (dir_rename: two of one super, in the caller's hands is only sb->rename). -EPERM: the file system
 * cannot.
 */
must_check struct inode *dir_lookup(struct inode *dir, struct name name);
must_check struct inode *dir_create(struct inode *dir, struct name name, u32 mode,
                                    const struct cred *cred);
must_check struct inode *dir_mkdir(struct inode *dir, struct name name, u32 mode,
                                   const struct cred *cred);
must_check struct inode *dir_mknod(struct inode *dir, struct name name, u32 mode, u64 rdev,
                                   const struct cred *cred);
must_check struct inode *dir_symlink(struct inode *dir, struct name name, const char *target,
                                     const struct cred *cred);
must_check struct inode *dir_tmpfile(struct inode *dir, u32 mode, const struct cred *cred);
must_check int dir_link(struct inode *dir, struct name name, struct inode *inode);
must_check int dir_unlink(struct inode *dir, struct name name, struct inode *inode);
must_check int dir_rmdir(struct inode *dir, struct name name, struct inode *inode);
must_check int dir_rename(struct inode *old_dir, struct name old_name, struct inode *inode,
                          struct inode *new_dir, struct name new_name, struct inode *target,
                          u32 flags);
/* Two directories (or one twice) for writing; an ancestor must be the first. */
void dir_lock_two(struct inode *first, struct inode *second);
void dir_unlock_two(struct inode *a, struct inode *b);

/* xattr(7) without rights, for the kernel and stacked file systems (NULL op: -EOPNOTSUPP). */
must_check ssize_t inode_getxattr(struct inode *inode, const char *name, void *buf, size_t size);
must_check int inode_setxattr(struct inode *inode, const char *name, const void *value, size_t size,
                              int flags);
must_check ssize_t inode_listxattr(struct inode *inode, char *buf, size_t size);
must_check int inode_removexattr(struct inode *inode, const char *name);
/* -ETXTBSY rules. */
must_check int inode_deny_write(struct inode *inode); /* exec */
void inode_allow_write(struct inode *inode);
must_check int inode_get_write(struct inode *inode); /* open for writing */
void inode_put_write(struct inode *inode);

/* ---- super blocks ---- */

struct statfs_info {
    u64 type, bsize, blocks, bfree, bavail, files, ffree, namelen, frsize, flags;
    u64 fsid;
};

struct super_ops {
    const char *name;
    int (*statfs)(struct super *sb, struct statfs_info *out);
    int (*sync)(struct super *sb); /* NULL: nothing to do */
    int (*remount)(struct super *sb, const char *data);
    void (*show_options)(struct super *sb, char *buf, size_t size); /* ",size=..." for mountinfo */
    void (*release)(struct super *sb);                              /* last reference: free */
};

struct super {
    struct ref ref;
    const struct super_ops *ops;
    const char *type;           /* (c) "tmpfs" */
    u64 dev;                    /* (c) st_dev, unique */
    u64 magic;                  /* (c) */
    struct inode *root;         /* (c) counted */
    struct mutex rename;        /* LOCK_RENAME: renames between directories */
    struct dentry *root_dentry; /* (c) counted: one tree of dentries, however often it is mounted */
    bool no_dcache_negative;    /* (c) do not cache "not there" (proc) */
    bool nodev;                 /* (c) */
    bool opens_itself;          /* (c) ops->open is for devices, FIFOs and sockets too */
    _Atomic bool read_only;     /* (a) */
    char *source;               /* (c) heap; what /proc/mounts shows first */
};

/* Count 1; assigns dev. root is set by the file system afterwards, and must be before super_put. */
void super_init(struct super *sb, const struct super_ops *ops, const char *type, u64 magic);
struct super *super_get(struct super *sb);
void super_put(struct super *sb);
/* Before super_init's caller gives up half-way: gives dev back; the memory stays the caller's. */
void super_fini(struct super *sb);
must_check int super_statfs(struct super *sb, struct statfs_info *out);
must_check int super_sync(struct super *sb);
void super_sync_all(void); /* sync(2) */
/* What /proc/mounts shows first; heap copy. -ENOMEM */
must_check int super_set_source(struct super *sb, const char *source);

/* Boot: makes the state of vfs (once, before any other call); shutdown is for unit tests. */
must_check int vfs_boot(void);
void vfs_shutdown(void);

/* mount(2): a file system by name. `data` is a NUL-terminated option string (already copied in). */
struct fs_type {
    const char *name;
    struct super *(*mount)(const struct fs_type *type, const char *source, u32 ms_flags,
                           const char *data, const struct vfs_ctx *ctx); /* ERR_PTR */
    bool no_dev; /* "nodev" in /proc/filesystems */
    TAILQ_ENTRY(fs_type) link;
};
void fs_type_register(struct fs_type *type); /* static storage, at boot */
struct fs_type *fs_type_find(const char *name);
void fs_type_for_each(void (*fn)(const struct fs_type *t, void *arg), void *arg);

/* ---- open files ---- */

/* A freed thing that lock-free readers may still look at; see vfs/defer.c. */
struct deferred {
    struct deferred *next;
    struct cache_type *type; /* NULL: heap_free */
    void *obj;
};

#define FMODE_READ   1U
#define FMODE_WRITE  2U
#define FMODE_PATH   4U /* O_PATH: no operation but fstat, dup, close, *at */
#define FMODE_STREAM 8U /* no position: pread gives ESPIPE */
#define FMODE_NOPOSLOCK                                                                            \
    16U /* reads and writes don't serialise on the position (sockets, pipes, ttys) */
#define FMODE_EXEC   32U /* opened for execve: inode_deny_write is in force */
#define FMODE_WRITER 64U /* counted as a writer of inode and mount (set by vfs/open.c) */

struct dir_context {
    u64 pos; /* the cookie to go on from; fs-defined, 0 is the beginning; stable under changes */
    /* One entry; false when the buffer is full (the entry was not taken). next: cookie behind it.
     */
    bool (*emit)(struct dir_context *ctx, struct name name, u64 ino, u32 dt_type, u64 next);
};

struct file_ops {
    const char *name;

    /*
     * *pos is the offset to use and is advanced by what was moved (ignored by streams). Bytes
     * moved, 0 at the end, or -errno (-EAGAIN with O_NONBLOCK or RWF_NOWAIT; -ERESTARTSYS when
     * interrupted). write: O_APPEND is handled by the op (it holds the lock that makes it atomic).
     * rwf: RWF_* of preadv2. NULL: -EINVAL. May park.
     */
    ssize_t (*read)(struct file *f, struct uio *u, u64 *pos, u32 rwf);
    ssize_t (*write)(struct file *f, struct uio *u, u64 *pos, u32 rwf);
    /* NULL: SEEK_SET/CUR/END on inode size; streams: -ESPIPE. Holds f->pos_lock. */
    s64 (*seek)(struct file *f, s64 off, int whence);
    /* dir->lock is held for reading, f->pos_lock too. 0 or -errno. */
    int (*readdir)(struct file *f, struct dir_context *ctx);
    /* arg may be a guest address: only base/usermem.h touches it. NULL or unknown: -ENOTTY. */
    long (*ioctl)(struct file *f, u32 cmd, u64 arg, const struct vfs_ctx *ctx);
    /* NULL: always ready. */
    u32 (*poll)(struct file *f, struct poller *p);
    /* What to map, borrowed from the file; NULL op: -ENODEV. The wrapper checked modes against
     * prot. */
    struct mappable *(*mmap)(struct file *f, u32 prot, u32 map_flags); /* ERR_PTR */
    int (*fsync)(struct file *f, u64 start, u64 end, bool data_only);  /* NULL: -EINVAL */
    int (*fallocate)(struct file *f, u32 mode, u64 off, u64 len);      /* NULL: -EOPNOTSUPP */
    /* Before O_APPEND, O_NONBLOCK, O_ASYNC, O_DIRECT change (fcntl F_SETFL). NULL: fine. */
    int (*set_flags)(struct file *f, u32 flags);
    int (*fasync)(struct file *f, bool on);
    /* Each close(2) of a descriptor (POSIX locks are dropped by the caller). NULL: 0. */
    int (*flush)(struct file *f);
    /* /proc/PID/fdinfo: extra lines appended. */
    void (*show_fdinfo)(struct file *f, char *buf, size_t size);
    /* The last reference: give up everything, file_fini, and last file_free(&x_cache, f) - never
     * cache_free: look-ups in descriptor tables read f->ref of files that are going away. */
    void (*release)(struct file *f);
};

/* F_SETOWN, F_SETSIG. */
struct file_owner {
    s32 pid; /* > 0 process, < 0 group, with type F_OWNER_* */
    u32 type;
    s32 sig;
    u32 uid, euid;
};

struct file {
    struct ref ref;             /* (a) */
    const struct file_ops *ops; /* (c) */
    struct inode *inode;        /* (c) counted */
    struct path path;  /* (c) counted; empty mount for pipes, sockets (their dentry names them) */
    _Atomic u32 flags; /* (a) O_* status flags without creation flags */
    u32 mode;          /* (c) FMODE_* */
    u64 pos;           /* (pos_lock) */
    struct mutex pos_lock;                  /* LOCK_FILE_POS */
    const struct cred *cred;                /* (c) counted: the opener's */
    struct spinlock lock;                   /* leaf: owner, epolls */
    struct file_owner owner;                /* (lock) */
    _Atomic(struct fasync *) fasync;        /* vfs/fasync.c: who gets SIGIO */
    LIST_HEAD(epitem_list, epitem) epitems; /* (vfs/epoll.c) watches to drop at release */
    struct deferred deferred;               /* (vfs/defer.c) after the end */
};

/* For openers: fill the common part, take references on inode, path (may be empty) and cred;
 * count 1. */
void file_init(struct file *f, const struct file_ops *ops, struct inode *inode,
               const struct path *path, u32 flags, const struct cred *cred);
void file_fini(struct file *f);
/* The memory of a finished file, whose struct file is the first member of a `type`: freed once no
 * look-up can see it any more. */
void file_free(struct cache_type *type, struct file *f);
/* A file with no state of its own beyond struct file (its release op is file_release_plain). */
must_check struct file *file_new_plain(const struct file_ops *ops, struct inode *inode,
                                       const struct path *path, u32 flags, const struct cred *cred);
void file_release_plain(struct file *f);
/* A file on an anonymous inode with a name such as "[eventfd]" ("anon_inode:[eventfd]" in /proc).
 */
must_check int file_init_anon(struct file *f, const struct file_ops *ops, const char *name,
                              u32 flags, const struct cred *cred);

struct file *file_get(struct file *f);
void file_put(struct file *f); /* NULL allowed */

must_check ssize_t file_read(struct file *f, struct uio *u, u32 rwf); /* at the position */
must_check ssize_t file_write(struct file *f, struct uio *u, u32 rwf, const struct vfs_ctx *ctx);
must_check ssize_t file_pread(struct file *f, struct uio *u, u64 pos, u32 rwf);
must_check ssize_t file_pwrite(struct file *f, struct uio *u, u64 pos, u32 rwf,
                               const struct vfs_ctx *ctx);
/* For the kernel itself (ELF loader, splice): kernel memory, no file position. */
must_check ssize_t file_kernel_read(struct file *f, void *buf, size_t len, u64 pos);
must_check s64 file_seek(struct file *f, s64 off, int whence);
must_check int file_readdir(struct file *f, struct dir_context *ctx);
must_check long file_ioctl(struct file *f, u32 cmd, u64 arg, const struct vfs_ctx *ctx);
u32 file_poll(struct file *f, struct poller *p);
must_check struct mappable *file_mmap(struct file *f, u32 prot, u32 map_flags);
must_check int file_fsync(struct file *f, u64 start, u64 end, bool data_only);
must_check int file_fallocate(struct file *f, u32 mode, s64 off, s64 len,
                              const struct vfs_ctx *ctx);
must_check int file_set_flags(struct file *f, u32 flags);
must_check int file_truncate(struct file *f, s64 len, const struct vfs_ctx *ctx);
int file_flush(struct file *f);

static inline bool file_nonblock(const struct file *f)
{
    return (atomic_load_explicit(&f->flags, memory_order_relaxed) & O_NONBLOCK) != 0;
}

/* Tell readers, epoll and SIGIO owners in one go. */
void file_notify(struct file *f, struct waitq *wq, u32 events);

/* Character and block devices by number: open makes the file. */
typedef struct file *(*device_open_fn)(struct inode *inode, const struct path *path, u32 flags,
                                       const struct cred *cred, const struct vfs_ctx *ctx);
void chrdev_register(u32 major, u32 minor, u32 count, device_open_fn open); /* at boot */
device_open_fn chrdev_find(u64 rdev);                                       /* NULL: -ENXIO */

static inline void file_autoput(struct file **f)
{
    if (!IS_ERR_OR_NULL(*f)) {
        file_put(*f);
    }
}
/* AUTOPUT_FILE f = fd_get(...): put at the end of the scope. */
#define AUTOPUT_FILE struct file *__attribute__((cleanup(file_autoput)))

#endif
