/* SPDX-License-Identifier: Apache-2.0 */
/* What pipe.c and splice.c share: the ring of buffers. */
#ifndef PAVISE_VFS_PIPE_PRIV_H
#define PAVISE_VFS_PIPE_PRIV_H

#include "base/ref.h"
#include "vfs/fasync.h"
#include "vfs/pipe.h"
#include "vfs/vfs.h"

#include <sys/uio.h>

#define PIPE_DEF_SLOTS   16U
#define PIPE_MAX_SIZE    (1 * MiB)  /* fs.pipe-max-size */
#define PIPE_HARD_SIZE   (64 * MiB) /* our own bound for CAP_SYS_RESOURCE */
#define PIPE_SOFT_SLOTS  16384U     /* fs.pipe-user-pages-soft, here over the whole sandbox */
#define PIPE_SPARE_PAGES 2U

/* A page of content. Counted: tee(2) shares it. Only a page with one owner is appended to. */
struct pipe_page {
    struct ref ref;
    u8 *data; /* (c) heap, PAGE_SIZE */
};

#define PIPE_BUF_PACKET 1U /* O_DIRECT: one read takes exactly this buffer */
#define PIPE_BUF_MERGE  2U /* later writes may append */

struct pipe_buf {
    struct pipe_page *page; /* counted */
    u32 off, len;
    u32 flags; /* PIPE_BUF_* */
};

/*
 * Slots [tail, head) of the ring hold content; `reserved` more are promised to a splice that has
 * let go of the lock. head and tail run freely; nr_slots is a power of two.
 */
struct pipe {
    struct mutex lock;                         /* LOCK_PIPE */
    struct pipe_buf *bufs;                     /* (lock) heap array */
    u32 nr_slots, head, tail;                  /* (lock) */
    u32 reserved;                              /* (lock) */
    u32 readers, writers;                      /* (lock) open files */
    u32 r_counter, w_counter;                  /* (lock) opens ever: fifo_open waits for changes */
    u32 files;                                 /* (inode->lock) */
    _Atomic bool poll_usage;                   /* (a) somebody polls: wake on every write */
    struct pipe_page *spare[PIPE_SPARE_PAGES]; /* (lock) */
    struct waitq rd_wait, wr_wait;
    struct fasync_list fasync_rd, fasync_wr;
};

struct pipe_file {
    struct file f;
    struct pipe *pipe; /* (c) */
    u32 w_seen;        /* (c) FIFO: w_counter at a non-blocking open; no POLLHUP until it moves */
};

struct pipe *pipe_of(const struct file *f);

/* Two slots instead of 16 when the sandbox has too many. NULL: no memory. */
must_check struct pipe *pipe_alloc(const struct cred *cred);
/* One file less; the last one frees the pipe and takes it off its inode. */
void pipe_put(struct pipe *p, struct inode *inode);
/* A file on p, whose `files` already counts it. NULL: no memory. */
must_check struct pipe_file *pipe_file_new(struct pipe *p, struct inode *inode,
                                           const struct path *path, u32 flags,
                                           const struct cred *cred);
void pipe_account(s64 slots);

/* All with pipe->lock held. */
static inline bool pipe_is_empty(const struct pipe *p)
{
    return p->head == p->tail;
}
static inline u32 pipe_used(const struct pipe *p)
{
    return p->head - p->tail;
}
static inline bool pipe_is_full(const struct pipe *p)
{
    return p->head - p->tail + p->reserved >= p->nr_slots;
}
static inline struct pipe_buf *pipe_slot(struct pipe *p, u32 index)
{
    return &p->bufs[index & (p->nr_slots - 1)];
}
struct pipe_page *pipe_page_new(struct pipe *p); /* NULL: no memory */
void pipe_page_put(struct pipe *p, struct pipe_page *page);
/* Put `buf` (its page taken over) at the head. There must be room. */
void pipe_push(struct pipe *p, const struct pipe_buf *buf);
/* Take the first `len` bytes of the first buffer away. */
void pipe_consume(struct pipe *p, u32 len);

/*
 * Lock the pipe and wait until it can be read or written. With O_NONBLOCK or SPLICE_F_NONBLOCK
 * (nonblock): -EAGAIN. Readable: 0 when it is empty without a writer. Writable: -EPIPE without a
 * reader. -ERESTARTSYS. The lock is held on return only when the result is > 0.
 */
#define PIPE_LOCKED        1
#define PIPE_LOCKED_WAITED 2 /* after a wait: what is left is for the next waiter, wake it */
int pipe_lock_readable(struct pipe *p, bool nonblock);
int pipe_lock_writable(struct pipe *p, bool nonblock);

/* After the lock was let go: tell the other side. */
void pipe_wake_readers(struct pipe *p);
void pipe_wake_writers(struct pipe *p);

#endif
