/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading and writing donated descriptors. Their O_NONBLOCK flag is shared with the user's shell
 * and stays as it is, and yet nothing may wait in the host unseen: a transfer is first tried with
 * RWF_NOWAIT; where the host does not know that for the kind of file, poll(2) says whether there is
 * something, and the transfer is made in a bracket (another reader of the same pipe may be faster).
 *
 * Regular files share the host's offset, as without a sandbox: read and write use it, pread and
 * pwrite do not, and a file opened again through /dev/stdout has a position of its own.
 */
#include "base/clock.h"
#include "base/heap.h"
#include "base/host.h"
#include "base/host_fs.h"
#include "base/sched/worker.h"
#include "vfs/hostfs/stdio_priv.h"

#include <linux/fs.h>
#include <signal.h>
#include <unistd.h>

#define BOUNCE_SIZE (32 * KiB)
#define PIN_MAX     16
#define SHARED_OFF  UINT64_MAX /* preadv2: the descriptor's own offset, or none */

/* What moves: one direction of one call. */
struct transfer {
    struct stdio_host *h;
    u64 off;
    u32 rwf; /* RWF_APPEND */
    bool write;
};

u32 stdio_ready_now(struct stdio_host *h)
{
    int ev;

    if (h->always_ready) {
        return POLL_DEFAULT;
    }
    ev = host_poll(h->fd, POLLIN | POLLOUT | POLLPRI | POLLHUP | POLLERR | POLLRDHUP, 0);
    return ev < 0 ? POLLERR : (u32)ev;
}

static bool is_ready(struct stdio_host *h, bool write)
{
    u32 want = (write ? POLLOUT : POLLIN) | POLLHUP | POLLERR;

    return (stdio_ready_now(h) & want) != 0;
}

static ssize_t host_transfer(const struct transfer *t, const struct iovec *iov, int count, u32 rwf)
{
    return t->write ? host_pwritev2(t->h->fd, iov, count, t->off, rwf | t->rwf)
                    : host_preadv2(t->h->fd, iov, count, t->off, rwf);
}

static ssize_t transfer_polled(const struct transfer *t, const struct iovec *iov, int count)
{
    struct iovec first = iov[0];
    ssize_t n;

    if (!is_ready(t->h, t->write)) {
        return -EAGAIN;
    }
    if (t->write && !t->h->always_ready) { /* there is room for a page at least */
        first.iov_len = min(first.iov_len, (size_t)PAGE_SIZE);
        iov = &first;
        count = 1;
    }
    worker_block_begin();
    n = host_transfer(t, iov, count, 0);
    worker_block_end();
    return n;
}

/* -EAGAIN: wait for readiness first. */
static ssize_t transfer_vec(const struct transfer *t, const struct iovec *iov, int count)
{
    bool is_regular_write = t->h->always_ready && t->write;
    bool try = !is_regular_write && !atomic_load_explicit(&t->h->no_nowait, memory_order_relaxed);
    ssize_t n = try ? host_transfer(t, iov, count, RWF_NOWAIT) : -EOPNOTSUPP;

    if (n == -EOPNOTSUPP && try) {
        atomic_store_explicit(&t->h->no_nowait, true, memory_order_relaxed);
    }
    if (n == -EOPNOTSUPP || (n == -EAGAIN && t->h->always_ready)) {
        n = transfer_polled(t, iov, count);
    }
    return n;
}

static ssize_t transfer_bounce(const struct transfer *t, struct uio *u)
{
    size_t size = min(uio_left(u), (size_t)BOUNCE_SIZE);
    struct iovec iov = {heap_alloc(size), size};
    struct uio saved = *u;
    ssize_t n = (ssize_t)size;

    if (iov.iov_base == NULL) {
        return -ENOMEM;
    }
    if (t->write) {
        n = uio_take(u, iov.iov_base, size);
        iov.iov_len = (size_t)max(n, (ssize_t)0);
    }
    if (n > 0) {
        n = transfer_vec(t, &iov, 1);
    }
    if (t->write) {
        *u = saved;
        uio_advance(u, (size_t)max(n, (ssize_t)0));
    } else if (n > 0) {
        n = uio_put(u, iov.iov_base, (size_t)n);
    }
    heap_free(iov.iov_base);
    return n;
}

static ssize_t transfer_some(const struct transfer *t, struct uio *u)
{
    struct iovec iov[PIN_MAX];
    int count = uio_pin(u, min(uio_left(u), (u64)MiB), !t->write, iov, PIN_MAX);
    ssize_t n;

    if (count <= 0) {
        return count < 0 ? count : transfer_bounce(t, u);
    }
    n = transfer_vec(t, iov, count);
    uio_unpin(u, iov, count);
    uio_advance(u, (size_t)max(n, (ssize_t)0));
    return n;
}

/* Move what can be moved now; wait only while nothing was. */
static ssize_t transfer_wait(const struct transfer *t, struct uio *u, bool nonblock)
{
    for (;;) {
        int err = t->write ? 0 : stdio_tty_check(t->h, SIGTTIN);
        ssize_t n = err != 0 ? err : transfer_some(t, u);

        if (n != -EAGAIN) {
            return n == -EINTR ? -ERESTARTSYS : n;
        }
        if (nonblock) {
            return -EAGAIN;
        }
        err =
            waitq_wait_event(&t->h->wq, is_ready(t->h, t->write), PARK_INTERRUPTIBLE, CLOCK_NEVER);
        if (err != 0) {
            return err;
        }
    }
}

static bool is_nonblock(struct file *f, u32 rwf)
{
    return file_nonblock(f) || (rwf & RWF_NOWAIT) != 0;
}

/* read(2) comes with the file's position, pread(2) with one of its own. */
static u64 transfer_off(struct file *f, const u64 *pos)
{
    bool is_shared = pos == &f->pos && !stdio_file_of(f)->own_pos;

    return is_shared || (f->mode & FMODE_STREAM) != 0 ? SHARED_OFF : *pos;
}

ssize_t stdio_read(struct file *f, struct uio *u, u64 *pos, u32 rwf)
{
    struct transfer t = {.h = stdio_file_of(f)->host, .off = transfer_off(f, pos)};
    ssize_t n;

    if (uio_left(u) == 0) {
        return 0;
    }
    n = transfer_wait(&t, u, is_nonblock(f, rwf));
    if (n > 0) {
        *pos += (u64)n;
    }
    return n;
}

ssize_t stdio_write(struct file *f, struct uio *u, u64 *pos, u32 rwf)
{
    struct transfer t = {.h = stdio_file_of(f)->host, .off = transfer_off(f, pos), .write = true};
    ssize_t done = 0, n = 0;

    if (t.off != SHARED_OFF && (f->flags & O_APPEND) != 0) {
        struct stat st;

        t.rwf = RWF_APPEND;
        *pos = t.off = host_fstat(t.h->fd, &st) == 0 ? (u64)st.st_size : *pos;
    }
    while (uio_left(u) > 0) {
        n = transfer_wait(&t, u, is_nonblock(f, rwf));
        if (n <= 0) {
            break;
        }
        done += n;
        *pos += (u64)n;
        t.off = t.off != SHARED_OFF ? *pos : SHARED_OFF;
    }
    return done > 0 ? done : n;
}

s64 stdio_seek(struct file *f, s64 off, int whence)
{
    struct stdio_file *sf = stdio_file_of(f);
    struct stat st;
    s64 n = 0;

    if (!sf->own_pos || whence > SEEK_END) {
        n = host_lseek(sf->host->fd, off, whence);
    } else if (whence == SEEK_END && host_fstat(sf->host->fd, &st) != 0) {
        n = -EIO;
    } else {
        n = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? (s64)f->pos : (s64)st.st_size;
        if (__builtin_add_overflow(n, off, &n)) {
            n = -EOVERFLOW;
        }
        n = n < 0 && n != -EOVERFLOW ? -EINVAL : n;
    }
    if (n >= 0) {
        f->pos = (u64)n;
    }
    return n;
}

int stdio_fsync(struct file *f, u64 start, u64 end, bool data_only)
{
    int fd = stdio_file_of(f)->host->fd, err;

    worker_block_begin();
    err = data_only ? host_fdatasync(fd) : host_fsync(fd);
    worker_block_end();
    return err;
}

/* ---- mappings of a regular file ---- */

static int stdio_get_extent(struct mappable *m, u64 off, u64 len, bool write, struct extent *out)
{
    const struct stdio_host *h = stdio_host_of(m->inode);
    int flags = write ? host_fcntl(h->fd, F_GETFL, 0) : 0;
    struct stat st;
    int err = flags < 0 ? flags : host_fstat(h->fd, &st);
    u64 end = err == 0 ? ALIGN_UP(min((u64)st.st_size, (u64)INT64_MAX), PAGE_SIZE) : 0;

    if (err != 0) {
        return err;
    }
    if (off >= end) {
        return -ENXIO;
    }
    if (write && (flags & O_ACCMODE) != O_RDWR) {
        return -EACCES;
    }
    *out = (struct extent){.fd = h->fd, .off = off, .len = min(len, end - off), .writable = write};
    return 0;
}

const struct mappable_ops stdio_mappable_ops = {.get_extent = stdio_get_extent};
HEAP_OPS(stdio_mappable_ops);

struct mappable *stdio_mmap(struct file *f, u32 prot, u32 map_flags)
{
    struct stdio_host *h = stdio_file_of(f)->host;

    return S_ISREG(h->inode.mode) ? &h->map : ERR_PTR(-ENODEV);
}
