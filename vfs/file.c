/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open files: life, and the only callers of struct file_ops.
 *
 * Life: an opener embeds struct file, file_init (count 1) -> counted by descriptors, mappings,
 * calls under way -> the last file_put tells epoll, locks and inotify, then ops->release ends it.
 * Its memory outlives it by a grace period (defer.c).
 *
 * The wrappers check the mode of the file, bound lengths as Linux does (MAX_RW_COUNT), and give the
 * default of an op that is missing. pos_lock serialises calls that use the position; in readdir the
 * directory's lock is outside it.
 */
#include "base/heap.h"
#include "vfs/dnotify.h"
#include "vfs/epoll.h"
#include "vfs/fsnotify.h"
#include "vfs/locks.h"
#include "vfs/mappable.h"
#include "vfs/vfs_priv.h"

#include <linux/capability.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/mman.h>

#define MAX_RW_COUNT   (0x7fffffffUL & PAGE_MASK)
#define CREATION_FLAGS (O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC)
#define SETFL_MASK     (O_APPEND | O_NONBLOCK | O_ASYNC | O_DIRECT | O_NOATIME)

DEFINE_CACHE(plain_file_cache, struct file);

/* ---- life ---- */

static u32 mode_of_flags(u32 flags)
{
    if ((flags & O_PATH) != 0) {
        return FMODE_PATH;
    }
    switch (flags & O_ACCMODE) {
    case O_RDONLY:
        return FMODE_READ;
    case O_WRONLY:
        return FMODE_WRITE;
    case O_RDWR:
        return FMODE_READ | FMODE_WRITE;
    default:
        return 0; /* access mode 3: for ioctl only */
    }
}

void file_init(struct file *f, const struct file_ops *ops, struct inode *inode,
               const struct path *path, u32 flags, const struct cred *cred)
{
    ref_init(&f->ref);
    f->ops = ops;
    f->inode = inode_get(inode);
    f->path = *path;
    path_get(&f->path);
    if (path->mnt != NULL) {
        path->mnt->expiring = false;
    }
    atomic_init(&f->flags, flags & ~(u32)CREATION_FLAGS);
    f->mode = mode_of_flags(flags);
    mutex_init(&f->pos_lock, LOCK_FILE_POS);
    f->cred = cred_get(cred);
    LIST_INIT(&f->epitems);
}

void file_fini(struct file *f)
{
    if ((f->mode & FMODE_WRITER) != 0) {
        inode_put_write(f->inode);
        mount_put_writer(f->path.mnt);
    }
    if ((f->mode & FMODE_EXEC) != 0) {
        inode_allow_write(f->inode);
    }
    inode_put(f->inode);
    path_put(&f->path);
    cred_put(f->cred);
    f->inode = NULL;
    f->cred = NULL;
}

void file_free(struct cache_type *type, struct file *f)
{
    CHECK(f->inode == NULL && f->deferred.obj == NULL, "%s: freed before its end", f->ops->name);
    defer_free(&f->deferred, type, f);
}

struct file *file_new_plain(const struct file_ops *ops, struct inode *inode,
                            const struct path *path, u32 flags, const struct cred *cred)
{
    struct file *f = cache_new(plain_file_cache);

    if (f == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    file_init(f, ops, inode, path, flags, cred);
    return f;
}

void file_release_plain(struct file *f)
{
    file_fini(f);
    file_free(&plain_file_cache, f);
}

struct file *file_get(struct file *f)
{
    ref_get(&f->ref);
    return f;
}

static void file_last_put(struct file *f)
{
    dnotify_close(f, NULL);
    fsnotify_file(f, (f->mode & FMODE_WRITE) != 0 ? IN_CLOSE_WRITE : IN_CLOSE_NOWRITE);
    if (!LIST_EMPTY(&f->epitems)) {
        epoll_file_released(f);
    }
    if (f->inode->locks != NULL) {
        locks_remove_file(f);
    }
    f->ops->release(f);
}

void file_put(struct file *f)
{
    if (f != NULL && ref_put(&f->ref)) {
        file_last_put(f);
    }
}

/* ---- reading and writing ---- */

static ssize_t do_read(struct file *f, struct uio *u, u64 *pos, u32 rwf)
{
    ssize_t n;

    if (f->ops->read == NULL) {
        return -EINVAL;
    }
    uio_truncate(u, MAX_RW_COUNT);
    n = f->ops->read(f, u, pos, rwf);
    if (n > 0) {
        fsnotify_file(f, IN_ACCESS);
    }
    return n;
}

/* Streams have no position; generated files race on it with nobody but their own users. */
static u64 unlocked_pos(const struct file *f)
{
    return (f->mode & FMODE_STREAM) != 0 ? 0 : __atomic_load_n(&f->pos, __ATOMIC_RELAXED);
}

static void set_unlocked_pos(struct file *f, u64 pos)
{
    if ((f->mode & FMODE_STREAM) == 0) {
        __atomic_store_n(&f->pos, pos, __ATOMIC_RELAXED);
    }
}

ssize_t file_read(struct file *f, struct uio *u, u32 rwf)
{
    ssize_t n;

    if ((f->mode & FMODE_READ) == 0) {
        return -EBADF;
    }
    if ((f->mode & (FMODE_STREAM | FMODE_NOPOSLOCK)) != 0) {
        u64 pos = unlocked_pos(f);

        n = do_read(f, u, &pos, rwf);
        set_unlocked_pos(f, pos);
        return n;
    }
    mutex_lock(&f->pos_lock);
    n = do_read(f, u, &f->pos, rwf);
    mutex_unlock(&f->pos_lock);
    return n;
}

ssize_t file_pread(struct file *f, struct uio *u, u64 pos, u32 rwf)
{
    if ((f->mode & FMODE_READ) == 0) {
        return -EBADF;
    }
    if ((f->mode & FMODE_STREAM) != 0) {
        return -ESPIPE;
    }
    return do_read(f, u, &pos, rwf);
}

ssize_t file_kernel_read(struct file *f, void *buf, size_t len, u64 pos)
{
    struct uio u;

    if (f->ops->read == NULL) {
        return S_ISDIR(f->inode->mode) ? -EISDIR : -EINVAL;
    }
    uio_init_kernel(&u, buf, len);
    return f->ops->read(f, &u, &pos, 0);
}

/* SUID and SGID do not survive a write by somebody without CAP_FSETID. */
static int file_remove_privs(struct file *f, const struct cred *cred)
{
    u32 mode = f->inode->mode;
    struct setattr set = {.valid = SETATTR_KILL_PRIV};

    if (likely((mode & (S_ISUID | S_ISGID)) == 0) || !S_ISREG(mode) ||
        cred_capable(cred, CAP_FSETID)) {
        return 0;
    }
    return inode_setattr(f->inode, &set, cred);
}

/* RLIMIT_FSIZE for regular files: the write ends at the limit; at or past it there is EFBIG (and
 * SIGXFSZ, sent by the caller). */
static int check_fsize(struct file *f, struct uio *u, u64 pos, u32 rwf, u64 limit)
{
    if (limit == UINT64_MAX || !S_ISREG(f->inode->mode)) {
        return 0;
    }
    if ((f->flags & O_APPEND) != 0 || (rwf & RWF_APPEND) != 0) {
        pos = __atomic_load_n(&f->inode->size, __ATOMIC_RELAXED);
    }
    if (pos >= limit) {
        return uio_left(u) != 0 ? -EFBIG : 0;
    }
    uio_truncate(u, limit - pos);
    return 0;
}

static ssize_t do_write(struct file *f, struct uio *u, u64 *pos, u32 rwf, const struct vfs_ctx *ctx)
{
    ssize_t n;
    int err;

    if (f->ops->write == NULL) {
        return -EINVAL;
    }
    uio_truncate(u, MAX_RW_COUNT);
    err = check_fsize(f, u, *pos, rwf, ctx->fsize_limit);
    if (err == 0 && uio_left(u) != 0) {
        err = file_remove_privs(f, ctx->cred);
    }
    if (err != 0) {
        return err;
    }
    n = f->ops->write(f, u, pos, rwf);
    if (n > 0) {
        fsnotify_file(f, IN_MODIFY);
    }
    return n;
}

ssize_t file_write(struct file *f, struct uio *u, u32 rwf, const struct vfs_ctx *ctx)
{
    ssize_t n;

    if ((f->mode & FMODE_WRITE) == 0) {
        return -EBADF;
    }
    if ((f->mode & (FMODE_STREAM | FMODE_NOPOSLOCK)) != 0) {
        u64 pos = unlocked_pos(f);

        n = do_write(f, u, &pos, rwf, ctx);
        set_unlocked_pos(f, pos);
        return n;
    }
    mutex_lock(&f->pos_lock);
    n = do_write(f, u, &f->pos, rwf, ctx);
    mutex_unlock(&f->pos_lock);
    return n;
}

ssize_t file_pwrite(struct file *f, struct uio *u, u64 pos, u32 rwf, const struct vfs_ctx *ctx)
{
    if ((f->mode & FMODE_WRITE) == 0) {
        return -EBADF;
    }
    if ((f->mode & FMODE_STREAM) != 0) {
        return -ESPIPE;
    }
    return do_write(f, u, &pos, rwf, ctx);
}

static bool is_not_after(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec != b->tv_sec ? a->tv_sec < b->tv_sec : a->tv_nsec <= b->tv_nsec;
}

/* relatime and its relatives (mount(2)). */
static bool atime_is_due(const struct file *f, const struct inode *inode, struct timespec now)
{
    const struct mount *mnt = f->path.mnt;

    if (mount_has(mnt, MS_NOATIME | MS_RDONLY) || (f->flags & O_NOATIME) != 0 ||
        (S_ISDIR(inode->mode) && mount_has(mnt, MS_NODIRATIME))) {
        return false;
    }
    if (mount_has(mnt, MS_STRICTATIME)) {
        return true;
    }
    return is_not_after(&inode->atime, &inode->mtime) ||
           is_not_after(&inode->atime, &inode->ctime) ||
           now.tv_sec - inode->atime.tv_sec >= 24 * 60 * 60;
}

void file_accessed(struct file *f)
{
    struct inode *inode = f->inode;
    struct timespec now = inode_now();

    if (!atomic_load_explicit(&inode->sb->read_only, memory_order_relaxed) &&
        atime_is_due(f, inode, now)) {
        inode->atime = now;
    }
}

/* ---- position and directories ---- */

static s64 seek_generic(struct file *f, s64 off, int whence)
{
    s64 size = (s64)__atomic_load_n(&f->inode->size, __ATOMIC_RELAXED), base;

    switch (whence) {
    case SEEK_SET:
        base = 0;
        break;
    case SEEK_CUR:
        base = (s64)f->pos;
        break;
    case SEEK_END:
        base = size;
        break;
    case SEEK_DATA:
    case SEEK_HOLE:
        if (off < 0 || off >= size) {
            return -ENXIO;
        }
        base = whence == SEEK_HOLE ? size - off : 0;
        break;
    default:
        return -EINVAL;
    }
    if (__builtin_add_overflow(base, off, &off)) {
        return -EOVERFLOW;
    }
    if (off < 0) {
        return -EINVAL;
    }
    f->pos = (u64)off;
    return off;
}

s64 file_seek(struct file *f, s64 off, int whence)
{
    s64 n;

    if ((f->mode & FMODE_PATH) != 0) {
        return -EBADF;
    }
    if ((f->mode & FMODE_STREAM) != 0) {
        return -ESPIPE;
    }
    mutex_lock(&f->pos_lock);
    n = f->ops->seek != NULL ? f->ops->seek(f, off, whence) : seek_generic(f, off, whence);
    mutex_unlock(&f->pos_lock);
    return n;
}

int file_readdir(struct file *f, struct dir_context *ctx)
{
    int err = -ENOENT;

    if ((f->mode & FMODE_READ) == 0) {
        return -EBADF;
    }
    if (f->ops->readdir == NULL) {
        return -ENOTDIR;
    }
    read_lock(&f->inode->lock);
    mutex_lock(&f->pos_lock);
    if (!f->inode->dead) {
        ctx->pos = f->pos;
        err = f->ops->readdir(f, ctx);
        f->pos = ctx->pos;
    }
    mutex_unlock(&f->pos_lock);
    read_unlock(&f->inode->lock);
    if (err == 0) {
        file_accessed(f);
    }
    return err;
}

/* ---- the rest ---- */

long file_ioctl(struct file *f, u32 cmd, u64 arg, const struct vfs_ctx *ctx)
{
    if ((f->mode & FMODE_PATH) != 0) {
        return -EBADF;
    }
    return f->ops->ioctl != NULL ? f->ops->ioctl(f, cmd, arg, ctx) : -ENOTTY;
}

u32 file_poll(struct file *f, struct poller *p)
{
    return f->ops->poll != NULL ? f->ops->poll(f, p) : POLL_DEFAULT;
}

struct mappable *file_mmap(struct file *f, u32 prot, u32 map_flags)
{
    bool is_shared = (map_flags & MAP_TYPE) != MAP_PRIVATE;

    if ((f->mode & FMODE_PATH) != 0) {
        return ERR_PTR(-EBADF);
    }
    if ((f->mode & FMODE_READ) == 0 ||
        (is_shared && (prot & PROT_WRITE) != 0 && (f->mode & FMODE_WRITE) == 0)) {
        return ERR_PTR(-EACCES);
    }
    if ((prot & PROT_EXEC) != 0 && mount_has(f->path.mnt, MS_NOEXEC)) {
        return ERR_PTR(-EPERM);
    }
    return f->ops->mmap != NULL ? f->ops->mmap(f, prot, map_flags) : ERR_PTR(-ENODEV);
}

int file_fsync(struct file *f, u64 start, u64 end, bool data_only)
{
    if ((f->mode & FMODE_PATH) != 0) {
        return -EBADF;
    }
    return f->ops->fsync != NULL ? f->ops->fsync(f, start, end, data_only) : -EINVAL;
}

/* Linux vfs_fallocate. */
static int fallocate_check(const struct file *f, u32 mode, s64 off, s64 len)
{
    u32 kind = mode & ~(u32)FALLOC_FL_KEEP_SIZE;
    s64 end;

    if (off < 0 || len <= 0) {
        return -EINVAL;
    }
    if ((kind & (kind - 1)) != 0 ||
        (mode & ~(u32)(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_COLLAPSE_RANGE |
                       FALLOC_FL_ZERO_RANGE | FALLOC_FL_INSERT_RANGE | FALLOC_FL_UNSHARE_RANGE)) !=
            0) {
        return -EOPNOTSUPP;
    }
    if ((kind == FALLOC_FL_PUNCH_HOLE) != (mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)) ||
        ((kind & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE)) != 0 &&
         (mode & FALLOC_FL_KEEP_SIZE) != 0)) {
        return -EOPNOTSUPP;
    }
    if ((f->mode & FMODE_WRITE) == 0) {
        return -EBADF;
    }
    if (S_ISFIFO(f->inode->mode)) {
        return -ESPIPE;
    }
    if (S_ISDIR(f->inode->mode)) {
        return -EISDIR;
    }
    if (!S_ISREG(f->inode->mode)) {
        return -ENODEV;
    }
    return __builtin_add_overflow(off, len, &end) ? -EFBIG : 0;
}

int file_fallocate(struct file *f, u32 mode, s64 off, s64 len, const struct vfs_ctx *ctx)
{
    int err = fallocate_check(f, mode, off, len);

    if (err != 0) {
        return err;
    }
    if (f->ops->fallocate == NULL) {
        return -EOPNOTSUPP;
    }
    if ((mode & (FALLOC_FL_KEEP_SIZE | FALLOC_FL_COLLAPSE_RANGE)) == 0 &&
        (u64)(off + len) > ctx->fsize_limit && (u64)(off + len) > f->inode->size) {
        return -EFBIG;
    }
    err = file_remove_privs(f, ctx->cred);
    if (err == 0) {
        err = f->ops->fallocate(f, mode, (u64)off, (u64)len);
    }
    if (err == 0) {
        fsnotify_file(f, IN_MODIFY);
    }
    return err;
}

int file_truncate(struct file *f, s64 len, const struct vfs_ctx *ctx)
{
    struct timespec now = inode_now();
    struct setattr set = {.valid = SETATTR_SIZE | SETATTR_MTIME | SETATTR_CTIME,
                          .size = (u64)len,
                          .mtime = now,
                          .ctime = now};
    int err;

    if ((f->mode & FMODE_PATH) != 0) {
        return -EBADF;
    }
    if (len < 0 || !S_ISREG(f->inode->mode) || (f->mode & FMODE_WRITE) == 0) {
        return -EINVAL;
    }
    if ((u64)len > ctx->fsize_limit && (u64)len > f->inode->size) {
        return -EFBIG;
    }
    err = inode_setattr(f->inode, &set, ctx->cred);
    if (err == 0) {
        fsnotify_file(f, IN_MODIFY);
    }
    return err;
}

int file_set_flags(struct file *f, u32 flags)
{
    u32 old = f->flags, changed;
    int err = 0;

    if ((f->mode & FMODE_PATH) != 0) {
        return -EBADF;
    }
    flags = (flags & SETFL_MASK) | (old & ~(u32)SETFL_MASK);
    changed = flags ^ old;
    if ((changed & flags & O_NOATIME) != 0 && !inode_owner_or_capable(f->inode, f->cred)) {
        return -EPERM;
    }
    if (changed != 0 && f->ops->set_flags != NULL) {
        err = f->ops->set_flags(f, flags);
    }
    if (err == 0 && (changed & O_ASYNC) != 0 && f->ops->fasync != NULL) {
        err = f->ops->fasync(f, (flags & O_ASYNC) != 0);
    }
    if (err == 0) {
        atomic_store(&f->flags, flags);
    }
    return err;
}

int file_flush(struct file *f)
{
    return f->ops->flush != NULL && (f->mode & FMODE_PATH) == 0 ? f->ops->flush(f) : 0;
}

void file_notify(struct file *f, struct waitq *wq, u32 events)
{
    (void)f;
    (void)waitq_wake(wq, events, 1);
}
