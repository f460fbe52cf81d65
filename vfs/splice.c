/* SPDX-License-Identifier: Apache-2.0 */
/*
 * splice(2), tee(2), vmsplice(2) and sendfile(2): data between files and pipes.
 *
 * Between two pipes pages change owner or are shared. Between a pipe and another file the bytes go
 * through the pipe's pages with the file's ordinary read and write, which may park and take locks
 * that rank below LOCK_PIPE; so the pipe is not locked meanwhile:
 * - into a pipe: slots are reserved, the pages filled, the slots used;
 * - out of a pipe: one buffer is taken out, its slot kept reserved, written, and what was not taken
 *   is put back in front.
 * Several readers of one pipe may so see their shares in another order than one lock would give;
 * nothing is lost or seen twice.
 */
#include "base/heap.h"
#include "base/log.h"
#include "vfs/pipe_priv.h"

#define SPLICE_BATCH 16U /* pages a round */

static bool splice_nonblock(const struct file *pipe, u32 flags)
{
    return file_nonblock(pipe) || (flags & SPLICE_F_NONBLOCK) != 0;
}

/* ---- into a pipe ---- */

/* Up to `want` slots, reserved: their number or -errno. */
static int reserve_slots(struct pipe *p, u32 want, bool nonblock)
{
    u32 free_slots;
    int locked = pipe_lock_writable(p, nonblock);

    if (locked < 0) {
        return locked;
    }
    free_slots = p->nr_slots - pipe_used(p) - p->reserved;
    free_slots = min(free_slots, SPLICE_BATCH);
    want = min(want, free_slots);
    p->reserved += want;
    mutex_unlock(&p->lock);
    return (int)want;
}

/* Use nr_bufs of `slots` reserved slots. */
static void commit_slots(struct pipe *p, u32 slots, const struct pipe_buf *bufs, u32 nr_bufs)
{
    bool was_empty, freed = slots > nr_bufs;

    mutex_lock(&p->lock);
    was_empty = pipe_is_empty(p);
    p->reserved -= slots;
    for (u32 i = 0; i < nr_bufs; i++) {
        pipe_push(p, &bufs[i]);
    }
    mutex_unlock(&p->lock);
    if (nr_bufs > 0 && (was_empty || atomic_load_explicit(&p->poll_usage, memory_order_relaxed))) {
        pipe_wake_readers(p);
    }
    if (freed) {
        pipe_wake_writers(p);
    }
}

static struct pipe_page *page_new_locked(struct pipe *p)
{
    MUTEX_GUARD(&p->lock);
    return pipe_page_new(p);
}

static ssize_t read_page(struct file *in, u64 *off, u8 *data, size_t len)
{
    struct uio u;
    ssize_t n;

    uio_init_kernel(&u, data, len);
    if (off == NULL) {
        return file_read(in, &u, 0);
    }
    n = file_pread(in, &u, *off, 0);
    if (n > 0) {
        *off += (u64)n;
    }
    return n;
}

/* Fill up to `slots` pages from `in`; a short read ends it. The number of buffers; *done the bytes
 * or the error. A stream is read once only: the next read might wait. */
static u32 fill_pages(struct pipe *p, struct file *in, u64 *off, size_t len, struct pipe_buf *bufs,
                      u32 slots, ssize_t *done)
{
    u32 nr = 0;

    *done = 0;
    while (nr < slots && len > 0) {
        struct pipe_buf *buf = &bufs[nr];
        size_t want = min(len, PAGE_SIZE);
        ssize_t n;

        *buf = (struct pipe_buf){.page = page_new_locked(p)};
        n = buf->page == NULL ? -ENOMEM : read_page(in, off, buf->page->data, want);
        if (n <= 0) {
            if (buf->page != NULL) {
                pipe_page_put(NULL, buf->page);
            }
            *done = *done > 0 ? *done : n;
            break;
        }
        buf->len = (u32)n;
        nr++;
        *done += n;
        len -= (size_t)n;
        if ((size_t)n < want || (in->mode & FMODE_STREAM) != 0) {
            break;
        }
    }
    return nr;
}

ssize_t splice_file_to_pipe(struct file *in, u64 *off, struct file *pipe, size_t len, u32 flags)
{
    struct pipe *p = pipe_of(pipe);
    struct pipe_buf bufs[SPLICE_BATCH];
    bool nonblock = splice_nonblock(pipe, flags);
    ssize_t total = 0, done;

    do {
        u32 want = (u32)min((len - (size_t)total + PAGE_SIZE - 1) / PAGE_SIZE, (u64)SPLICE_BATCH);
        /* Only the first round waits for room: as much as fits at once is one call. */
        int slots = reserve_slots(p, want, nonblock || total > 0);
        u32 nr;

        if (slots < 0) {
            return total > 0 ? total : slots;
        }
        nr = fill_pages(p, in, off, len - (size_t)total, bufs, (u32)slots, &done);
        commit_slots(p, (u32)slots, bufs, nr);
        if (done <= 0) {
            return total > 0 ? total : done;
        }
        total += done;
        if (nr < (u32)slots || (in->mode & FMODE_STREAM) != 0) {
            break;
        }
    } while ((size_t)total < len);
    return total;
}

ssize_t splice_user_to_pipe(struct file *pipe, struct uio *u, u32 flags)
{
    struct pipe *p = pipe_of(pipe);
    bool nonblock = splice_nonblock(pipe, flags);
    ssize_t total = 0;

    while (uio_left(u) > 0) {
        int slots = reserve_slots(p, 1, nonblock || total > 0);
        struct pipe_buf buf = {0};
        ssize_t n;

        if (slots < 0) {
            return total > 0 ? total : slots;
        }
        buf.page = page_new_locked(p);
        n = buf.page == NULL ? -ENOMEM : uio_take(u, buf.page->data, min(uio_left(u), PAGE_SIZE));
        if (n <= 0 && buf.page != NULL) {
            pipe_page_put(NULL, buf.page);
        }
        buf.len = n > 0 ? (u32)n : 0;
        commit_slots(p, 1, &buf, n > 0 ? 1 : 0);
        if (n <= 0) {
            return total > 0 ? total : n;
        }
        total += n;
    }
    return total;
}

/* ---- out of a pipe ---- */

/* Take the first buffer out; its slot stays reserved. 1, 0 at the end of file, -errno. */
static int take_buf(struct pipe *p, bool nonblock, struct pipe_buf *out)
{
    int ready = pipe_lock_readable(p, nonblock);

    if (ready <= 0) {
        return ready;
    }
    *out = *pipe_slot(p, p->tail);
    p->tail++;
    p->reserved++;
    mutex_unlock(&p->lock);
    return 1;
}

/* Give back what `done` bytes of a taken buffer leave. */
static void return_buf(struct pipe *p, struct pipe_buf *buf, u32 done)
{
    bool back = done < buf->len && (done == 0 || (buf->flags & PIPE_BUF_PACKET) == 0);
    bool room;

    mutex_lock(&p->lock);
    p->reserved--;
    if (back) {
        buf->off += done;
        buf->len -= done;
        buf->flags &= ~PIPE_BUF_MERGE;
        p->tail--;
        *pipe_slot(p, p->tail) = *buf;
    } else {
        pipe_page_put(p, buf->page);
    }
    room = !pipe_is_full(p);
    mutex_unlock(&p->lock);
    if (room) {
        pipe_wake_writers(p);
    }
    if (back) {
        pipe_wake_readers(p);
    }
}

static ssize_t write_page(struct file *out, u64 *off, const struct pipe_buf *buf, size_t len,
                          const struct vfs_ctx *ctx)
{
    struct uio u;
    ssize_t n;

    uio_init_kernel(&u, buf->page->data + buf->off, len);
    if (off == NULL) {
        return file_write(out, &u, 0, ctx);
    }
    n = file_pwrite(out, &u, *off, 0, ctx);
    if (n > 0) {
        *off += (u64)n;
    }
    return n;
}

ssize_t splice_pipe_to_file(struct file *pipe, struct file *out, u64 *off, size_t len, u32 flags,
                            const struct vfs_ctx *ctx)
{
    struct pipe *p = pipe_of(pipe);
    bool nonblock = splice_nonblock(pipe, flags);
    ssize_t total = 0;

    while ((size_t)total < len) {
        struct pipe_buf buf;
        int ready = take_buf(p, nonblock || total > 0, &buf);
        size_t want;
        ssize_t n;

        if (ready <= 0) {
            return total > 0 ? total : ready;
        }
        want = min((size_t)buf.len, len - (size_t)total);
        n = write_page(out, off, &buf, want, ctx);
        return_buf(p, &buf, n > 0 ? (u32)n : 0);
        if (n < 0) {
            return total > 0 ? total : n;
        }
        total += n;
        if ((size_t)n < want) {
            break;
        }
    }
    return total;
}

ssize_t splice_pipe_to_user(struct file *pipe, struct uio *u, u32 flags)
{
    struct pipe *p = pipe_of(pipe);
    bool nonblock = splice_nonblock(pipe, flags);
    ssize_t total = 0;

    while (uio_left(u) > 0) {
        struct pipe_buf buf;
        int ready = take_buf(p, nonblock || total > 0, &buf);
        size_t want;
        ssize_t n;

        if (ready <= 0) {
            return total > 0 ? total : ready;
        }
        want = min((size_t)buf.len, uio_left(u));
        n = uio_put(u, buf.page->data + buf.off, want);
        return_buf(p, &buf, n > 0 ? (u32)n : 0);
        if (n < 0) {
            return total > 0 ? total : n;
        }
        total += n;
        if ((size_t)n < want) {
            break;
        }
    }
    return total;
}

/* ---- pipe to pipe ---- */

/* Move (or share, tee) buffers while both sides allow; both locked. */
static ssize_t move_bufs(struct pipe *in, struct pipe *out, size_t len, bool tee)
{
    ssize_t total = 0;
    u32 index = in->tail;

    while (index != in->head && (size_t)total < len && !pipe_is_full(out)) {
        struct pipe_buf *src = pipe_slot(in, index);
        struct pipe_buf buf = *src;

        buf.len = (u32)min((size_t)buf.len, len - (size_t)total);
        buf.flags &= ~PIPE_BUF_MERGE;
        src->flags &= ~PIPE_BUF_MERGE;
        ref_get(&buf.page->ref);
        pipe_push(out, &buf);
        total += buf.len;
        if (tee) {
            index++;
        } else {
            pipe_consume(in, buf.len);
            index = in->tail;
        }
    }
    return total;
}

/* Wait until `in` has something and `out` has room: 1, 0 at the end of file, -errno. */
static int wait_both(struct pipe *in, struct pipe *out, bool nonblock)
{
    int ready = pipe_lock_readable(in, nonblock);

    if (ready <= 0) {
        return ready;
    }
    mutex_unlock(&in->lock);
    ready = pipe_lock_writable(out, nonblock);
    if (ready > 0) {
        mutex_unlock(&out->lock);
    }
    return ready;
}

ssize_t splice_pipe_to_pipe(struct file *in_file, struct file *out_file, size_t len, u32 flags,
                            bool tee)
{
    struct pipe *in = pipe_of(in_file), *out = pipe_of(out_file);
    bool nonblock = splice_nonblock(in_file, flags) || splice_nonblock(out_file, flags);
    bool out_was_empty;
    ssize_t n;
    int ready;

    if (in == out) {
        return -EINVAL;
    }
    do {
        ready = wait_both(in, out, nonblock);
        if (ready <= 0) {
            return ready;
        }
        mutex_lock_two(&in->lock, &out->lock);
        out_was_empty = pipe_is_empty(out);
        n = out->readers == 0 ? -EPIPE : move_bufs(in, out, len, tee);
        mutex_unlock_two(&in->lock, &out->lock);
    } while (n == 0);
    if (n > 0 && (out_was_empty || atomic_load_explicit(&out->poll_usage, memory_order_relaxed))) {
        pipe_wake_readers(out);
    }
    if (n > 0 && !tee) {
        pipe_wake_writers(in);
    }
    return n;
}

/* ---- sendfile, copy_file_range ---- */

static ssize_t write_all(struct file *out, u64 *off, u8 *data, size_t len,
                         const struct vfs_ctx *ctx)
{
    struct uio u;
    ssize_t n;

    uio_init_kernel(&u, data, len);
    n = off == NULL ? file_write(out, &u, 0, ctx) : file_pwrite(out, &u, *off, 0, ctx);
    if (n > 0 && off != NULL) {
        *off += (u64)n;
    }
    return n;
}

/* The bytes of one read that a short write did not take are read again: `in` is rewound. */
static void rewind_input(struct file *in, u64 *in_off, s64 back)
{
    if (in_off != NULL) {
        *in_off -= (u64)back;
    } else if (file_seek(in, -back, SEEK_CUR) < 0) {
        log_debug(LOG_VFS, "sendfile: %ld bytes are lost", (long)back);
    }
}

ssize_t splice_file_to_file(struct file *in, u64 *in_off, struct file *out, u64 *out_off,
                            size_t len, const struct vfs_ctx *ctx)
{
    size_t chunk = min(len, 16 * PAGE_SIZE);
    u8 *data = heap_alloc(chunk);
    ssize_t total = 0, n = 0;

    if (data == NULL) {
        return -ENOMEM;
    }
    while ((size_t)total < len) {
        ssize_t wrote;

        n = read_page(in, in_off, data, min(chunk, len - (size_t)total));
        if (n <= 0) {
            break;
        }
        wrote = write_all(out, out_off, data, (size_t)n, ctx);
        total += max(wrote, (ssize_t)0);
        if (wrote < n) {
            rewind_input(in, in_off, n - max(wrote, (ssize_t)0));
            n = wrote < 0 ? wrote : 0;
            break;
        }
        if (fiber_is_interrupted()) {
            break;
        }
    }
    heap_free(data);
    return total > 0 ? total : n;
}
