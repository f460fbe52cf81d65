/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open host files. Data goes straight between the host's page cache and guest memory where the
 * memory has an address in the sentry (uio_pin), else through a bounce buffer.
 *
 * A read is first tried without sleeping (RWF_NOWAIT); only what the page cache does not have is
 * read in a bracket, so that a slow disk holds up nobody else and a cached read costs one call.
 * Small writes end in the page cache and are made at once, larger ones in a bracket.
 *
 * Mappings are of the host file itself: reads through a read-only descriptor, so that no mprotect
 * can make them writable; shared writable ones through the other.
 */
#include "vfs/hostfs/hostfs_priv.h"

#include <linux/falloc.h>
#include <linux/fs.h>
#include <unistd.h>

#define BOUNCE_SIZE (32 * KiB)
#define SMALL_WRITE (64 * KiB)
#define PIN_MAX     16
#define MAX_SIZE    ((u64)INT64_MAX & PAGE_MASK)

struct hostfs_file {
    struct file f;
    enum hostfs_fd_kind kind; /* (c) the descriptor in use, counted until release */
    int fd;                   /* (c) */
};
DEFINE_CACHE(hostfs_file_cache, struct hostfs_file);

static struct hostfs_file *to_file(struct file *f)
{
    return container_of(f, struct hostfs_file, f);
}

/* ---- reading ---- */

static ssize_t read_vec(struct hostfs_file *hf, const struct iovec *iov, int count, u64 pos,
                        u32 rwf)
{
    struct hostfs_inode *hi = to_hostfs(hf->f.inode);
    ssize_t n = -EAGAIN;

    if (!atomic_load_explicit(&hi->no_nowait, memory_order_relaxed)) {
        n = host_preadv2(hf->fd, iov, count, pos, RWF_NOWAIT);
        if (n == -EOPNOTSUPP) {
            atomic_store_explicit(&hi->no_nowait, true, memory_order_relaxed);
            n = -EAGAIN;
        }
    }
    if (n == -EAGAIN && (rwf & RWF_NOWAIT) == 0) {
        worker_block_begin();
        n = host_preadv2(hf->fd, iov, count, pos, 0);
        worker_block_end();
    }
    return n;
}

static ssize_t read_bounce(struct hostfs_file *hf, struct uio *u, u64 pos, u32 rwf)
{
    size_t size = min(uio_left(u), (size_t)BOUNCE_SIZE);
    struct iovec iov = {heap_alloc(size), size};
    ssize_t n;

    if (iov.iov_base == NULL) {
        return -ENOMEM;
    }
    n = read_vec(hf, &iov, 1, pos, rwf);
    if (n > 0) {
        n = uio_put(u, iov.iov_base, (size_t)n);
    }
    heap_free(iov.iov_base);
    return n;
}

static ssize_t read_some(struct hostfs_file *hf, struct uio *u, u64 pos, u32 rwf)
{
    struct iovec iov[PIN_MAX];
    int count = uio_pin(u, uio_left(u), true, iov, PIN_MAX);
    ssize_t n;

    if (count <= 0) {
        return count < 0 ? count : read_bounce(hf, u, pos, rwf);
    }
    n = read_vec(hf, iov, count, pos, rwf);
    uio_unpin(u, iov, count);
    if (n > 0) {
        uio_advance(u, (size_t)n);
    }
    return n;
}

static ssize_t hostfs_read(struct file *f, struct uio *u, u64 *pos, u32 rwf)
{
    ssize_t done = 0;

    if (*pos > MAX_SIZE) {
        return 0;
    }
    while (uio_left(u) > 0) {
        ssize_t n = read_some(to_file(f), u, *pos, rwf);

        if (n <= 0) {
            return done > 0 ? done : n;
        }
        done += n;
        *pos += (u64)n;
    }
    return done;
}

/* ---- writing ---- */

static ssize_t write_vec(struct hostfs_file *hf, const struct iovec *iov, int count, u64 pos,
                         u32 rwf)
{
    size_t len = 0;
    ssize_t n;

    for (int i = 0; i < count; i++) {
        len += iov[i].iov_len;
    }
    if (len <= SMALL_WRITE && (rwf & (RWF_SYNC | RWF_DSYNC)) == 0) {
        return host_pwritev2(hf->fd, iov, count, pos, rwf);
    }
    worker_block_begin();
    n = host_pwritev2(hf->fd, iov, count, pos, rwf);
    worker_block_end();
    return n;
}

static ssize_t write_bounce(struct hostfs_file *hf, struct uio *u, u64 pos, u32 rwf)
{
    size_t size = min(uio_left(u), (size_t)BOUNCE_SIZE);
    struct iovec iov = {heap_alloc(size), 0};
    struct uio saved = *u;
    ssize_t n;

    if (iov.iov_base == NULL) {
        return -ENOMEM;
    }
    n = uio_take(u, iov.iov_base, size);
    if (n > 0) {
        iov.iov_len = (size_t)n;
        n = write_vec(hf, &iov, 1, pos, rwf);
        *u = saved;
        if (n > 0) {
            uio_advance(u, (size_t)n);
        }
    }
    heap_free(iov.iov_base);
    return n;
}

static ssize_t write_some(struct hostfs_file *hf, struct uio *u, u64 pos, u32 rwf)
{
    struct iovec iov[PIN_MAX];
    int count = uio_pin(u, uio_left(u), false, iov, PIN_MAX);
    ssize_t n;

    if (count <= 0) {
        return count < 0 ? count : write_bounce(hf, u, pos, rwf);
    }
    n = write_vec(hf, iov, count, pos, rwf);
    uio_unpin(u, iov, count);
    if (n > 0) {
        uio_advance(u, (size_t)n);
    }
    return n;
}

static u32 write_flags(const struct file *f, u32 rwf)
{
    u32 host = rwf & (RWF_DSYNC | RWF_SYNC | RWF_APPEND);

    if ((f->flags & O_APPEND) != 0) {
        host |= RWF_APPEND;
    }
    if ((f->flags & O_SYNC) == O_SYNC) {
        host |= RWF_SYNC;
    } else if ((f->flags & O_DSYNC) != 0) {
        host |= RWF_DSYNC;
    }
    return host;
}

/* After a write: sizes only grow by it; the host knows the times. */
static void wrote(struct hostfs_inode *hi, u64 end)
{
    spin_lock(&hi->lock);
    if (end > hi->inode.size) {
        __atomic_store_n(&hi->inode.size, end, __ATOMIC_RELEASE);
    }
    spin_unlock(&hi->lock);
    hostfs_mark_stale(hi);
}

/* inode.lock makes appends by the guest atomic; RWF_APPEND those of everybody. */
static ssize_t hostfs_write(struct file *f, struct uio *u, u64 *pos, u32 rwf)
{
    struct hostfs_inode *hi = to_hostfs(f->inode);
    u32 host = write_flags(f, rwf);
    bool append = (host & RWF_APPEND) != 0;
    ssize_t done = 0, n = 0;

    if (!append && *pos > MAX_SIZE) {
        return -EFBIG;
    }
    WRITE_GUARD(&hi->inode.lock);
    if (append) {
        (void)hostfs_refresh(hi);
        *pos = hi->inode.size;
    }
    while (uio_left(u) > 0) {
        n = write_some(to_file(f), u, *pos, host);
        if (n <= 0) {
            break;
        }
        done += n;
        *pos += (u64)n;
    }
    if (done > 0) {
        wrote(hi, *pos);
    }
    return done > 0 ? done : n;
}

/* ---- the rest ---- */

static s64 hostfs_seek(struct file *f, s64 off, int whence)
{
    struct hostfs_inode *hi = to_hostfs(f->inode);
    s64 base = 0;

    if (whence == SEEK_DATA || whence == SEEK_HOLE) {
        off = host_lseek(to_file(f)->fd, off, whence);
        if (off < 0) {
            return off;
        }
    } else if (whence == SEEK_CUR) {
        base = (s64)f->pos;
    } else if (whence == SEEK_END) {
        if (hostfs_sb(hi)->opt.revalidate) {
            (void)hostfs_refresh(hi);
        }
        base = (s64)__atomic_load_n(&hi->inode.size, __ATOMIC_RELAXED);
    } else if (whence != SEEK_SET) {
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

static int sync_fd(int fd, bool data_only)
{
    int err;

    worker_block_begin();
    err = data_only ? host_fdatasync(fd) : host_fsync(fd);
    worker_block_end();
    return err;
}

static int hostfs_fsync(struct file *f, u64 start, u64 end, bool data_only)
{
    if (!to_hsb(f->inode->sb)->opt.writable) {
        return 0; /* nothing of ours is dirty */
    }
    return sync_fd(to_file(f)->fd, data_only);
}

static int hostfs_fallocate(struct file *f, u32 mode, u64 off, u64 len)
{
    struct hostfs_inode *hi = to_hostfs(f->inode);
    u64 from = ALIGN_DOWN(off, PAGE_SIZE);
    int err;

    WRITE_GUARD(&hi->inode.lock);
    worker_block_begin();
    err = host_fallocate(to_file(f)->fd, (int)mode, off, len);
    worker_block_end();
    if (err == 0) {
        (void)hostfs_refresh(hi);
        if ((mode & ~(u32)FALLOC_FL_KEEP_SIZE) != 0) {
            mappable_invalidate(&hi->map, from, MAX_SIZE - from, false);
        }
    }
    return err;
}

/* ---- mappings ---- */

static int hostfs_get_extent(struct mappable *m, u64 off, u64 len, bool write, struct extent *out)
{
    struct hostfs_inode *hi = to_hostfs(m->inode);
    u64 size = __atomic_load_n(&hi->inode.size, __ATOMIC_ACQUIRE), end;
    int fd;

    if (off >= ALIGN_UP(min(size, MAX_SIZE), PAGE_SIZE)) {
        (void)hostfs_refresh(hi); /* the host may have made it larger */
        size = __atomic_load_n(&hi->inode.size, __ATOMIC_ACQUIRE);
    }
    end = ALIGN_UP(min(size, MAX_SIZE), PAGE_SIZE);
    if (off >= end) {
        return -ENXIO;
    }
    fd = hostfs_fd_pin(hi, write ? HFD_WRITE : HFD_MAIN);
    if (fd == -ESTALE && !write) {
        fd = hostfs_fd_pin(hi, HFD_WRITE); /* made and unlinked: this is all there is */
    }
    if (fd < 0) {
        return fd;
    }
    *out = (struct extent){.fd = fd, .off = off, .len = min(len, end - off), .writable = write};
    return 0;
}

static int hostfs_map_sync(struct mappable *m, u64 off, u64 len)
{
    struct hostfs_inode *hi = to_hostfs(m->inode);
    int fd = hostfs_fd_get_open(hi, HFD_WRITE), err;

    if (fd < 0) {
        return 0; /* never writable */
    }
    err = sync_fd(fd, true);
    hostfs_fd_put(hi, HFD_WRITE);
    return err;
}

const struct mappable_ops hostfs_mappable_ops = {
    .get_extent = hostfs_get_extent,
    .sync = hostfs_map_sync,
};
HEAP_OPS(hostfs_mappable_ops);

static struct mappable *hostfs_mmap(struct file *f, u32 prot, u32 flags)
{
    return &to_hostfs(f->inode)->map;
}

/* ---- open and release ---- */

static void hostfs_file_release(struct file *f)
{
    struct hostfs_file *hf = to_file(f);

    hostfs_fd_put(to_hostfs(f->inode), hf->kind);
    file_fini(f);
    file_free(&hostfs_file_cache, f);
}

static const struct file_ops hostfs_file_ops = {
    .name = "hostfs",
    .read = hostfs_read,
    .write = hostfs_write,
    .seek = hostfs_seek,
    .mmap = hostfs_mmap,
    .fsync = hostfs_fsync,
    .fallocate = hostfs_fallocate,
    .release = hostfs_file_release,
};
HEAP_OPS(hostfs_file_ops);

/* Count the descriptor that `flags` need. */
static int data_fd(struct hostfs_inode *hi, u32 flags, enum hostfs_fd_kind *kind)
{
    int fd;

    *kind = (flags & O_ACCMODE) == O_RDONLY ? HFD_MAIN : HFD_WRITE;
    if (*kind == HFD_WRITE && !hostfs_sb(hi)->opt.writable) {
        return -EROFS;
    }
    fd = hostfs_fd_get(hi, *kind);
    if (fd == -ESTALE && *kind == HFD_MAIN) { /* no name any more: what is open will do */
        *kind = HFD_WRITE;
        fd = hostfs_fd_get_open(hi, HFD_WRITE);
        fd = fd == -ENOENT ? -ESTALE : fd;
    }
    if (fd >= 0 && *kind == HFD_WRITE && (flags & O_ACCMODE) != O_WRONLY &&
        hostfs_fd_is_limited(hi, HFD_WRITE)) {
        hostfs_fd_put(hi, HFD_WRITE);
        return -EACCES;
    }
    return fd;
}

struct file *hostfs_open(struct inode *inode, const struct path *path, u32 flags,
                         const struct cred *cred)
{
    struct hostfs_file *hf;

    if (S_ISDIR(inode->mode)) {
        return file_new_plain(&hostfs_dir_ops, inode, path, flags, cred);
    }
    if (!S_ISREG(inode->mode)) {
        return ERR_PTR(-ENXIO);
    }
    hf = cache_new(hostfs_file_cache);
    if (hf == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    hf->fd = data_fd(to_hostfs(inode), flags, &hf->kind);
    if (hf->fd < 0) {
        int err = hf->fd;

        cache_del(hostfs_file_cache, hf);
        return ERR_PTR(err);
    }
    file_init(&hf->f, &hostfs_file_ops, inode, path, flags, cred);
    return &hf->f;
}
