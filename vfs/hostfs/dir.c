/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading host directories. All who read one share its descriptor, and with it the host's position:
 * dir_lock is held over a call, and the position is set when it is not where the last call left it.
 * The cookies are the host's own.
 */
#include "vfs/hostfs/hostfs_priv.h"

#include <dirent.h>

#define DIR_BUFFER (32 * KiB)

struct host_dirent {
    u64 ino;
    s64 off;
    u16 reclen;
    u8 type;
    char name[];
};

/* Emit one buffer of entries: false when the caller's is full. */
static bool emit_entries(struct hostfs_inode *hi, const char *buf, ssize_t n,
                         struct dir_context *ctx)
{
    for (ssize_t at = 0; at < n;) {
        const struct host_dirent *d = (const void *)(buf + at);
        struct name name = {d->name, (u32)strlen(d->name)};
        bool is_up = name.len == 2 && memcmp(d->name, "..", 2) == 0;
        u64 ino = hostfs_ino(hostfs_sb(hi), hi->host_dev, d->ino);

        if (is_up && &hi->inode == hi->inode.sb->root) {
            ino = hi->inode.ino; /* nothing is above */
        }
        if (!ctx->emit(ctx, name, ino, d->type, (u64)d->off)) {
            return false;
        }
        ctx->pos = (u64)d->off;
        at += d->reclen;
    }
    return true;
}

static int read_entries(struct hostfs_inode *hi, int fd, char *buf, struct dir_context *ctx)
{
    MUTEX_GUARD(&hi->dir_lock);
    for (;;) {
        ssize_t n = 0;

        if (hi->dir_pos != (s64)ctx->pos) {
            n = host_lseek(fd, (s64)ctx->pos, SEEK_SET);
        }
        if (n >= 0) {
            n = host_getdents64(fd, buf, DIR_BUFFER);
        }
        hi->dir_pos = -1;
        if (n <= 0) {
            return (int)n;
        }
        if (!emit_entries(hi, buf, n, ctx)) {
            return 0;
        }
        hi->dir_pos = (s64)ctx->pos;
    }
}

static int hostfs_readdir(struct file *f, struct dir_context *ctx)
{
    struct hostfs_inode *hi = to_hostfs(f->inode);
    int fd = hostfs_fd_get(hi, HFD_MAIN), err;
    char *buf;

    if (fd < 0) {
        return fd;
    }
    buf = heap_alloc(DIR_BUFFER);
    err = buf == NULL ? -ENOMEM : hostfs_fd_is_limited(hi, HFD_MAIN) ? -EACCES : 0;
    if (err == 0) {
        err = read_entries(hi, fd, buf, ctx);
    }
    heap_free(buf);
    hostfs_fd_put(hi, HFD_MAIN);
    return err;
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

static ssize_t hostfs_dir_read(struct file *f, struct uio *u, u64 *pos, u32 rwf)
{
    return -EISDIR;
}

static int hostfs_dir_fsync(struct file *f, u64 start, u64 end, bool data_only)
{
    struct hostfs_inode *hi = to_hostfs(f->inode);
    int fd, err;

    if (!hostfs_sb(hi)->opt.writable) {
        return 0;
    }
    fd = hostfs_fd_get(hi, HFD_MAIN);
    if (fd < 0) {
        return fd;
    }
    worker_block_begin();
    err = hostfs_fd_is_limited(hi, HFD_MAIN) ? 0 : host_fsync(fd);
    worker_block_end();
    hostfs_fd_put(hi, HFD_MAIN);
    return err;
}

const struct file_ops hostfs_dir_ops = {
    .name = "hostfs directory",
    .read = hostfs_dir_read,
    .readdir = hostfs_readdir,
    .seek = hostfs_dir_seek,
    .fsync = hostfs_dir_fsync,
    .release = file_release_plain,
};
HEAP_OPS(hostfs_dir_ops);
