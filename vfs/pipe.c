/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pipes: a ring of page-sized buffers between readers and writers.
 *
 * Life: pipe_new makes the pipe with its two files, fifo_open one for an S_IFIFO inode. The pipe
 * hangs at inode->special while any file is open on it (p->files, under inode->lock), so that
 * opening /proc/self/fd/N of a pipe finds it too. The last file frees it with what it still holds.
 *
 * Locking: pipe->lock covers the ring and the counts. It is held while bytes are copied from and to
 * the caller (LOCK_MM ranks behind it), never while somebody else's file is read or written: splice
 * reserves a slot or takes a buffer out first.
 *
 * Waking, as fs/pipe.c of Linux does it, because programs depend on the edges: a writer wakes
 * readers when the pipe was empty (or if anybody polls), a reader wakes writers when it was full.
 * Blocked readers and writers wait exclusively; one that is woken and leaves something behind wakes
 * the next. One that gives up (signal) passes on the wake it may have been given.
 *
 * A write of up to PIPE_BUF bytes needs one slot, or room in the last buffer, so it is atomic.
 */
#include "vfs/pipe.h"

#include "base/heap.h"
#include "base/usermem.h"
#include "vfs/nofs.h"
#include "vfs/pipe_priv.h"

#include <limits.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/ioctl.h>

DEFINE_CACHE(pipe_cache, struct pipe);
DEFINE_CACHE(pipe_page_cache, struct pipe_page);
DEFINE_CACHE(pipe_file_cache, struct pipe_file);

#define RD_EVENTS (POLLIN | POLLRDNORM)
#define WR_EVENTS (POLLOUT | POLLWRNORM)

static const struct file_ops pipe_file_ops;

/* Slots of all pipes: derived, only a limit. */
static _Atomic u64 total_slots;

void pipe_account(s64 slots)
{
    atomic_fetch_add_explicit(&total_slots, (u64)slots, memory_order_relaxed);
}

bool file_is_pipe(const struct file *f)
{
    return f->ops == &pipe_file_ops;
}

static struct pipe_file *pipe_file_of(const struct file *f)
{
    return container_of(f, struct pipe_file, f);
}

struct pipe *pipe_of(const struct file *f)
{
    return pipe_file_of(f)->pipe;
}

/* ---- pages and slots ---- */

struct pipe_page *pipe_page_new(struct pipe *p)
{
    struct pipe_page *page;

    for (u32 i = 0; i < PIPE_SPARE_PAGES; i++) {
        page = p->spare[i];
        if (page != NULL) {
            p->spare[i] = NULL;
            return page;
        }
    }
    page = cache_new(pipe_page_cache);
    if (page == NULL) {
        return NULL;
    }
    ref_init(&page->ref);
    page->data = heap_alloc(PAGE_SIZE);
    if (page->data == NULL) {
        cache_del(pipe_page_cache, page);
        return NULL;
    }
    return page;
}

static void page_free(struct pipe_page *page)
{
    if (page != NULL) {
        heap_free(page->data);
        cache_del(pipe_page_cache, page);
    }
}

void pipe_page_put(struct pipe *p, struct pipe_page *page)
{
    if (!ref_put(&page->ref)) {
        return;
    }
    for (u32 i = 0; p != NULL && i < PIPE_SPARE_PAGES; i++) {
        if (p->spare[i] == NULL) {
            ref_init(&page->ref);
            p->spare[i] = page;
            return;
        }
    }
    page_free(page);
}

void pipe_push(struct pipe *p, const struct pipe_buf *buf)
{
    ASSERT_HELD(&p->lock);
    CHECK(pipe_used(p) < p->nr_slots, "pipe ring overflow");
    *pipe_slot(p, p->head) = *buf;
    p->head++;
}

void pipe_consume(struct pipe *p, u32 len)
{
    struct pipe_buf *buf = pipe_slot(p, p->tail);

    ASSERT_HELD(&p->lock);
    buf->off += len;
    buf->len -= len;
    if (buf->len == 0) {
        pipe_page_put(p, buf->page);
        buf->page = NULL;
        p->tail++;
    }
}

void pipe_wake_readers(struct pipe *p)
{
    (void)waitq_wake(&p->rd_wait, RD_EVENTS, 1);
    fasync_send(&p->fasync_rd, POLL_IN);
}

void pipe_wake_writers(struct pipe *p)
{
    (void)waitq_wake(&p->wr_wait, WR_EVENTS, 1);
    fasync_send(&p->fasync_wr, POLL_OUT);
}

/* ---- life ---- */

struct pipe *pipe_alloc(const struct cred *cred)
{
    struct pipe *p = cache_new(pipe_cache);
    u32 slots = PIPE_DEF_SLOTS;

    if (p == NULL) {
        return NULL;
    }
    if (atomic_load_explicit(&total_slots, memory_order_relaxed) > PIPE_SOFT_SLOTS &&
        !cred_capable(cred, CAP_SYS_RESOURCE)) {
        slots = 2;
    }
    p->bufs = heap_alloc(slots * sizeof(*p->bufs));
    if (p->bufs == NULL) {
        cache_del(pipe_cache, p);
        return NULL;
    }
    p->nr_slots = slots;
    pipe_account(slots);
    mutex_init(&p->lock, LOCK_PIPE);
    waitq_init(&p->rd_wait);
    waitq_init(&p->wr_wait);
    fasync_init(&p->fasync_rd);
    fasync_init(&p->fasync_wr);
    return p;
}

static void pipe_free(struct pipe *p)
{
    while (!pipe_is_empty(p)) {
        pipe_page_put(NULL, pipe_slot(p, p->tail++)->page);
    }
    for (u32 i = 0; i < PIPE_SPARE_PAGES; i++) {
        page_free(p->spare[i]);
    }
    pipe_account(-(s64)p->nr_slots);
    waitq_fini(&p->rd_wait);
    waitq_fini(&p->wr_wait);
    heap_free(p->bufs);
    cache_del(pipe_cache, p);
}

void pipe_put(struct pipe *p, struct inode *inode)
{
    bool last;

    write_lock(&inode->lock);
    last = --p->files == 0;
    if (last) {
        inode->special = NULL;
    }
    write_unlock(&inode->lock);
    if (last) {
        pipe_free(p);
    }
}

struct pipe_file *pipe_file_new(struct pipe *p, struct inode *inode, const struct path *path,
                                u32 flags, const struct cred *cred)
{
    struct pipe_file *pf = cache_new(pipe_file_cache);

    if (pf != NULL) {
        file_init(&pf->f, &pipe_file_ops, inode, path, flags, cred);
        pf->f.mode |= FMODE_STREAM | FMODE_NOPOSLOCK;
        pf->pipe = p;
    }
    return pf;
}

int pipe_new(const struct cred *cred, u32 flags, struct file **rd, struct file **wr)
{
    struct pipe *p = pipe_alloc(cred);
    struct pipe_file *r, *w;
    struct inode *inode;
    struct path path;
    int err;

    if (p == NULL) {
        return -ENFILE; /* what Linux says when it has no memory for a pipe */
    }
    err = nofs_inode_new(NOFS_PIPE, S_IFIFO | 0600, cred, &path, &inode);
    if (err != 0) {
        pipe_free(p);
        return err;
    }
    p->files = 2;
    inode->special = p;
    p->readers = p->writers = 1;
    p->r_counter = p->w_counter = 1;
    r = pipe_file_new(p, inode, &path, (flags & O_NONBLOCK) | O_RDONLY, cred);
    w = pipe_file_new(p, inode, &path, (flags & (O_NONBLOCK | O_DIRECT)) | O_WRONLY, cred);
    if (r == NULL && w == NULL) {
        inode->special = NULL;
    }
    path_put(&path);
    inode_put(inode);
    if (r != NULL && w != NULL) {
        *rd = &r->f;
        *wr = &w->f;
        return 0;
    }
    p->files = r != NULL || w != NULL ? 1 : 0;
    if (r != NULL) {
        file_put(&r->f);
    } else if (w != NULL) {
        file_put(&w->f);
    } else {
        pipe_free(p);
    }
    return -ENFILE;
}

static void pipe_release(struct file *f)
{
    struct pipe *p = pipe_of(f);

    (void)fasync_set(f, false, (f->mode & FMODE_READ) != 0 ? &p->fasync_rd : &p->fasync_wr);
    mutex_lock(&p->lock);
    p->readers -= (f->mode & FMODE_READ) != 0 ? 1 : 0;
    p->writers -= (f->mode & FMODE_WRITE) != 0 ? 1 : 0;
    /* Was it the last of its side, with the other side still there? */
    if ((p->readers == 0) != (p->writers == 0)) {
        (void)waitq_wake(&p->rd_wait, RD_EVENTS | POLLHUP | POLLERR, 0);
        (void)waitq_wake(&p->wr_wait, WR_EVENTS | POLLHUP | POLLERR, 0);
        fasync_send(&p->fasync_rd, POLL_IN);
        fasync_send(&p->fasync_wr, POLL_OUT);
    }
    mutex_unlock(&p->lock);
    pipe_put(p, f->inode);
    file_fini(f);
    file_free(&pipe_file_cache, f);
}

/* ---- waiting ---- */

static bool can_read(struct pipe *p)
{
    MUTEX_GUARD(&p->lock);
    return !pipe_is_empty(p) || p->writers == 0;
}

static bool can_write(struct pipe *p)
{
    MUTEX_GUARD(&p->lock);
    return !pipe_is_full(p) || p->readers == 0;
}

/* Wait exclusively until can(p). An interrupted waiter may have eaten the one wake that was meant
 * for somebody: pass it on (the next one checks for itself). */
static int pipe_wait(struct pipe *p, struct waitq *wq, u32 events, bool (*can)(struct pipe *p))
{
    struct waiter w;
    int err = 0;

    waiter_init_current(&w);
    waitq_add_exclusive(wq, &w, events | POLLHUP | POLLERR);
    while (err == 0 && !can(p)) {
        err = fiber_park(PARK_INTERRUPTIBLE, CLOCK_NEVER);
    }
    waitq_remove(&w);
    if (err != 0) {
        (void)waitq_wake(wq, events, 1);
    }
    return err;
}

int pipe_lock_readable(struct pipe *p, bool nonblock)
{
    for (int locked = PIPE_LOCKED;; locked = PIPE_LOCKED_WAITED) {
        int err = 0;

        mutex_lock(&p->lock);
        if (!pipe_is_empty(p)) {
            return locked;
        }
        if (p->writers == 0) {
            mutex_unlock(&p->lock);
            return 0;
        }
        mutex_unlock(&p->lock);
        if (nonblock) {
            return -EAGAIN;
        }
        err = pipe_wait(p, &p->rd_wait, RD_EVENTS, can_read);
        if (err != 0) {
            return err;
        }
    }
}

int pipe_lock_writable(struct pipe *p, bool nonblock)
{
    for (int locked = PIPE_LOCKED;; locked = PIPE_LOCKED_WAITED) {
        int err = 0;

        mutex_lock(&p->lock);
        if (p->readers == 0) {
            err = -EPIPE;
        } else if (!pipe_is_full(p)) {
            return locked;
        } else if (nonblock) {
            err = -EAGAIN;
        }
        mutex_unlock(&p->lock);
        if (err == 0) {
            err = pipe_wait(p, &p->wr_wait, WR_EVENTS, can_write);
        }
        if (err != 0) {
            return err;
        }
    }
}

/* ---- read ---- */

/* Copy what is there. Lock held. Bytes, or an error when there are none. */
static ssize_t read_some(struct pipe *p, struct uio *u)
{
    ssize_t done = 0;

    while (!pipe_is_empty(p) && uio_left(u) > 0) {
        struct pipe_buf *buf = pipe_slot(p, p->tail);
        u32 want = (u32)min((u64)buf->len, (u64)uio_left(u));
        bool is_packet = (buf->flags & PIPE_BUF_PACKET) != 0;
        ssize_t n = uio_put(u, buf->page->data + buf->off, want);

        if (n < 0) {
            return done > 0 ? done : n;
        }
        done += n;
        pipe_consume(p, is_packet ? buf->len : (u32)n); /* the rest of a packet is lost */
        if (is_packet || n < (ssize_t)want) {
            break;
        }
    }
    return done;
}

static ssize_t pipe_read(struct file *f, struct uio *u, u64 *pos, u32 rwf)
{
    struct pipe *p = pipe_of(f);
    bool was_full, wake_next;
    ssize_t done;
    int ready;

    if (uio_left(u) == 0) {
        return 0;
    }
    ready = pipe_lock_readable(p, file_nonblock(f) || (rwf & RWF_NOWAIT) != 0);
    if (ready <= 0) {
        return ready;
    }
    was_full = pipe_is_full(p);
    done = read_some(p, u);
    was_full = was_full && !pipe_is_full(p);
    wake_next = ready == PIPE_LOCKED_WAITED && !pipe_is_empty(p);
    mutex_unlock(&p->lock);
    if (was_full) {
        pipe_wake_writers(p);
    }
    if (wake_next) {
        (void)waitq_wake(&p->rd_wait, RD_EVENTS, 1);
    }
    return done;
}

/* ---- write ---- */

/* Append the odd bytes of a write to the last buffer if they fit whole. Lock held. Bytes, 0 when
 * they do not fit, or -EFAULT. */
static ssize_t write_merge(struct pipe *p, struct uio *u)
{
    u32 odd = (u32)(uio_left(u) & (PAGE_SIZE - 1));
    struct pipe_buf *buf;
    ssize_t n;

    if (odd == 0 || pipe_is_empty(p)) {
        return 0;
    }
    buf = pipe_slot(p, p->head - 1);
    if ((buf->flags & PIPE_BUF_MERGE) == 0 || ref_read(&buf->page->ref) != 1 ||
        buf->off + buf->len + odd > PAGE_SIZE) {
        return 0;
    }
    n = uio_take(u, buf->page->data + buf->off + buf->len, odd);
    if (n != (ssize_t)odd) {
        return n < 0 ? n : -EFAULT;
    }
    buf->len += odd;
    return n;
}

/* Fill free slots. Lock held. Bytes, or an error when there are none. */
static ssize_t write_some(struct pipe *p, struct uio *u, u32 buf_flags)
{
    ssize_t done = 0;

    while (!pipe_is_full(p) && uio_left(u) > 0) {
        struct pipe_buf buf = {.page = pipe_page_new(p), .flags = buf_flags};
        size_t want = min(uio_left(u), PAGE_SIZE);
        ssize_t n;

        if (buf.page == NULL) {
            return done > 0 ? done : -ENOMEM;
        }
        n = uio_take(u, buf.page->data, want);
        if (n <= 0) {
            pipe_page_put(p, buf.page);
            return done > 0 ? done : (n < 0 ? n : -EFAULT);
        }
        buf.len = (u32)n;
        pipe_push(p, &buf);
        done += n;
        if ((size_t)n < want) {
            break;
        }
    }
    return done;
}

/* One round: lock, move what fits, wake. Bytes or -errno. */
static ssize_t write_round(struct pipe *p, struct uio *u, u32 buf_flags, bool nonblock, bool first)
{
    bool was_empty, wake_readers, wake_next;
    ssize_t done = 0, more;
    int ready = PIPE_LOCKED;

    /* The odd bytes may fit where no slot is free. */
    mutex_lock(&p->lock);
    was_empty = pipe_is_empty(p);
    if (p->readers == 0) {
        mutex_unlock(&p->lock);
        return -EPIPE;
    }
    if (first && !was_empty) {
        done = write_merge(p, u);
    }
    if (done == 0 && pipe_is_full(p)) {
        mutex_unlock(&p->lock);
        ready = pipe_lock_writable(p, nonblock);
        if (ready < 0) {
            return ready;
        }
        was_empty = pipe_is_empty(p);
    }
    if (done >= 0 && uio_left(u) > 0) {
        more = write_some(p, u, buf_flags);
        done = more >= 0 ? done + more : (done > 0 ? done : more);
    }
    wake_readers = was_empty || atomic_load_explicit(&p->poll_usage, memory_order_relaxed);
    wake_next = ready == PIPE_LOCKED_WAITED && !pipe_is_full(p);
    mutex_unlock(&p->lock);
    if (done > 0 && wake_readers) {
        (void)waitq_wake(&p->rd_wait, RD_EVENTS, 1);
    }
    if (done > 0) {
        fasync_send(&p->fasync_rd, POLL_IN);
    }
    if (wake_next) {
        (void)waitq_wake(&p->wr_wait, WR_EVENTS, 1);
    }
    return done;
}

static ssize_t pipe_write(struct file *f, struct uio *u, u64 *pos, u32 rwf)
{
    u32 flags = atomic_load_explicit(&f->flags, memory_order_relaxed);
    u32 buf_flags = (flags & O_DIRECT) != 0 ? PIPE_BUF_PACKET : PIPE_BUF_MERGE;
    bool nonblock = (flags & O_NONBLOCK) != 0 || (rwf & RWF_NOWAIT) != 0;
    ssize_t done = 0, n;

    while (uio_left(u) > 0) {
        n = write_round(pipe_of(f), u, buf_flags, nonblock, done == 0);
        if (n < 0) {
            return done > 0 ? done : n;
        }
        done += n;
    }
    return done;
}

/* ---- the rest of the file operations ---- */

static u32 pipe_poll(struct file *f, struct poller *poller)
{
    struct pipe *p = pipe_of(f);
    u32 mask = 0;

    if (poller != NULL) {
        atomic_store_explicit(&p->poll_usage, true, memory_order_relaxed);
    }
    if ((f->mode & FMODE_READ) != 0) {
        poller_add(poller, &p->rd_wait);
    }
    if ((f->mode & FMODE_WRITE) != 0) {
        poller_add(poller, &p->wr_wait);
    }
    MUTEX_GUARD(&p->lock);
    if ((f->mode & FMODE_READ) != 0) {
        mask |= pipe_is_empty(p) ? 0 : RD_EVENTS;
        mask |= p->writers == 0 && pipe_file_of(f)->w_seen != p->w_counter ? POLLHUP : 0;
    }
    if ((f->mode & FMODE_WRITE) != 0) {
        mask |= pipe_is_full(p) ? 0 : WR_EVENTS;
        mask |= p->readers == 0 ? POLLERR : 0;
    }
    return mask;
}

static long pipe_ioctl(struct file *f, u32 cmd, u64 arg, const struct vfs_ctx *ctx)
{
    struct pipe *p = pipe_of(f);
    u64 bytes = 0;
    int count;

    if (cmd != FIONREAD) {
        return -ENOTTY;
    }
    mutex_lock(&p->lock);
    for (u32 i = p->tail; i != p->head; i++) {
        bytes += pipe_slot(p, i)->len;
    }
    mutex_unlock(&p->lock);
    count = (int)min(bytes, (u64)INT_MAX);
    return copy_out(arg, &count, sizeof(count));
}

static int pipe_fasync(struct file *f, bool on)
{
    struct pipe *p = pipe_of(f);

    return fasync_set(f, on, (f->mode & FMODE_READ) != 0 ? &p->fasync_rd : &p->fasync_wr);
}

static const struct file_ops pipe_file_ops = {
    .name = "pipe",
    .read = pipe_read,
    .write = pipe_write,
    .poll = pipe_poll,
    .ioctl = pipe_ioctl,
    .fasync = pipe_fasync,
    .release = pipe_release,
};
HEAP_OPS(pipe_file_ops);
