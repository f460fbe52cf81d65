/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open host files. Data goes straight between the host's page cache and guest memory where the
 * memory has an address in the sentry (uio_pin), else through a bounce buffer. A read that the page
 * cache cannot serve at once (RWF_NOWAIT) is repeated in a bracket, so that a slow disk holds up
 * nobody else.
 */
#include "base/heap.h"
#include "base/host.h"
#include "base/sched/worker.h"
#include "vfs/hostfs/hostfs_priv.h"

#include <dirent.h>

#define BOUNCE_SIZE (64 * KiB)
#define PIN_MAX     16

struct hostfs_file {
    struct file f;
    int dir_fd; /* (c) directories: for getdents */
};
DEFINE_CACHE(hostfs_file_cache, struct hostfs_file);

static struct hostfs_file *to_hostfs(struct file *f)
{
    return container_of(f, struct hostfs_file, f);
}

int hostfs_data_fd(struct hostfs_inode *hi, bool write)
{
    int *slot = write ? &hi->write_fd : &hi->read_fd, fd;

    mutex_lock(&hi->data_lock);
    if (*slot < 0) {
        fd = hostfs_reopen(hi, (write ? O_RDWR : O_RDONLY) | O_NOCTTY | O_NONBLOCK);
        if (fd >= 0) {
            *slot = fd;
        }
    } else {
        fd = *slot;
    }
    mutex_unlock(&hi->data_lock);
    return fd;
}

/* One host read into iov: first without sleeping. */
static ssize_t read_vec(int fd, const struct iovec *iov, int count, u64 pos)
{
    ssize_t n = host_preadv2(fd, iov, count, pos, RWF_NOWAIT);

    if (n == -EAGAIN || n == -EOPNOTSUPP) {
        worker_block_begin();
        n = host_preadv2(fd, iov, count, pos, 0);
        worker_block_end();
    }
    return n;
}

static ssize_t read_bounce(int fd, struct uio *u, u64 pos)
{
    size_t size = min(uio_left(u), (size_t)BOUNCE_SIZE);
    struct iovec iov = {heap_alloc(size), size};
    ssize_t n;

    if (iov.iov_base == NULL) {
        return -ENOMEM;
    }
    n = read_vec(fd, &iov, 1, pos);
    if (n > 0) {
        n = uio_put(u, iov.iov_base, (size_t)n);
    }
    heap_free(iov.iov_base);
    return n;
}

static ssize_t read_some(int fd, struct uio *u, u64 pos)
{
    struct iovec iov[PIN_MAX];
    int count = uio_pin(u, uio_left(u), true, iov, PIN_MAX);
    ssize_t n;

    if (count < 0) {
        return count;
    }
    if (count == 0) {
        return read_bounce(fd, u, pos);
    }
    n = read_vec(fd, iov, count, pos);
    uio_unpin(u, iov, count);
    if (n > 0) {
        uio_advance(u, (size_t)n);
    }
    return n;
}

static ssize_t hostfs_read(struct file *f, struct uio *u, u64 *pos, u32 rwf)
{
    int fd = hostfs_data_fd(hostfs_i(f->inode), false);
    ssize_t done = 0;

    (void)rwf;
    if (fd < 0) {
        return fd;
    }
    while (uio_left(u) > 0) {
        ssize_t n = read_some(fd, u, *pos);

        if (n <= 0) {
            return done > 0 ? done : n;
        }
        done += n;
        *pos += (u64)n;
    }
    return done;
}

static struct mappable *hostfs_mmap(struct file *f, u32 prot, u32 flags)
{
    (void)prot;
    (void)flags;
    return &hostfs_i(f->inode)->map;
}

static int hostfs_fsync(struct file *f, u64 start, u64 end, bool data_only)
{
    (void)f;
    (void)start;
    (void)end;
    (void)data_only;
    return 0; /* nothing of ours is dirty: the tree is read-only */
}

static int get_extent(struct mappable *m, u64 off, u64 len, bool write, struct extent *out)
{
    struct hostfs_inode *hi = hostfs_i(m->inode);
    u64 end = ALIGN_UP(hi->inode.size, PAGE_SIZE);
    int fd;

    if (write) {
        return -EACCES;
    }
    if (off >= end) {
        return -ENXIO;
    }
    fd = hostfs_data_fd(hi, false);
    if (fd < 0) {
        return fd;
    }
    *out = (struct extent){.fd = fd, .off = off, .len = min(len, end - off)};
    return 0;
}

const struct mappable_ops hostfs_mappable_ops = {.get_extent = get_extent};
HEAP_OPS(hostfs_mappable_ops);

/* ---- directories ---- */

struct linux_dirent64 {
    u64 ino;
    s64 off;
    u16 reclen;
    u8 type;
    char name[];
};

/* Emit one buffer of the host's entries; *full when the caller's buffer is. */
static int emit_entries(struct hostfs_super *hs, const char *buf, ssize_t n,
                        struct dir_context *ctx, bool *full)
{
    for (ssize_t at = 0; at < n;) {
        const struct linux_dirent64 *d = (const void *)(buf + at);
        struct name name = {d->name, (u32)strlen(d->name)};

        (void)hs;
        if (!ctx->emit(ctx, name, d->ino, d->type, (u64)d->off)) {
            *full = true;
            return 0;
        }
        ctx->pos = (u64)d->off;
        at += d->reclen;
    }
    return 0;
}

static int hostfs_readdir(struct file *f, struct dir_context *ctx)
{
    struct hostfs_file *hf = to_hostfs(f);
    char *buf = heap_alloc(BOUNCE_SIZE / 2);
    bool full = false;
    ssize_t n = 0;
    s64 at;

    if (buf == NULL) {
        return -ENOMEM;
    }
    at = host_lseek(hf->dir_fd, (s64)ctx->pos, SEEK_SET);
    while (at >= 0 && !full && (n = host_getdents64(hf->dir_fd, buf, BOUNCE_SIZE / 2)) > 0) {
        (void)emit_entries(hostfs_sb(f->inode->sb), buf, n, ctx, &full);
    }
    heap_free(buf);
    return at < 0 ? (int)at : n < 0 ? (int)n : 0;
}

static s64 hostfs_dir_seek(struct file *f, s64 off, int whence)
{
    if (whence == SEEK_CUR) {
        off += (s64)f->pos;
    } else if (whence != SEEK_SET) {
        return -EINVAL;
    }
    if (off < 0) {
        return -EINVAL;
    }
    f->pos = (u64)off;
    return off;
}

static void hostfs_file_release(struct file *f)
{
    struct hostfs_file *hf = to_hostfs(f);

    if (hf->dir_fd >= 0) {
        host_close(hf->dir_fd);
    }
    file_fini(f);
    cache_del(hostfs_file_cache, hf);
}

static const struct file_ops hostfs_file_ops = {
    .name = "hostfs file",
    .read = hostfs_read,
    .mmap = hostfs_mmap,
    .fsync = hostfs_fsync,
    .release = hostfs_file_release,
};
HEAP_OPS(hostfs_file_ops);

static const struct file_ops hostfs_dir_ops = {
    .name = "hostfs directory",
    .readdir = hostfs_readdir,
    .seek = hostfs_dir_seek,
    .fsync = hostfs_fsync,
    .release = hostfs_file_release,
};
HEAP_OPS(hostfs_dir_ops);

struct file *hostfs_open(struct inode *inode, const struct path *path, u32 flags,
                         const struct cred *cred)
{
    bool is_dir = S_ISDIR(inode->mode);
    struct hostfs_file *hf = cache_new(hostfs_file_cache);
    int err = 0;

    if (hf == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    hf->dir_fd = -1;
    if (is_dir) {
        hf->dir_fd = hostfs_reopen(hostfs_i(inode), O_RDONLY | O_DIRECTORY);
        err = hf->dir_fd < 0 ? hf->dir_fd : 0;
    } else if ((flags & O_ACCMODE) != O_RDONLY) {
        err = -EROFS;
    } else {
        err = hostfs_data_fd(hostfs_i(inode), false);
        err = err < 0 ? err : 0;
    }
    if (err != 0) {
        cache_del(hostfs_file_cache, hf);
        return ERR_PTR(err);
    }
    file_init(&hf->f, is_dir ? &hostfs_dir_ops : &hostfs_file_ops, inode, path, flags, cred);
    return &hf->f;
}
