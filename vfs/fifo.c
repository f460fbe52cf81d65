/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FIFOs: opening a pipe by its inode (fifo(7)), and the size of pipes (F_SETPIPE_SZ).
 *
 * An open counts itself as reader or writer first and then waits until the other side's count of
 * opens has changed, so that a partner that came and went again is not missed. The same function
 * opens an anonymous pipe again through /proc/self/fd/N; that never waits.
 */
#include "base/heap.h"
#include "vfs/pipe_priv.h"

#include <linux/capability.h>
#include <linux/magic.h>

#ifndef PIPEFS_MAGIC
#define PIPEFS_MAGIC 0x50495045
#endif

/* The inode's pipe with one more user, made if there is none. NULL: no memory. */
static struct pipe *fifo_get(struct inode *inode, const struct cred *cred)
{
    struct pipe *p;

    WRITE_GUARD(&inode->lock);
    p = inode->special;
    if (p == NULL) {
        p = pipe_alloc(cred);
        inode->special = p;
    }
    if (p != NULL) {
        p->files++;
    }
    return p;
}

struct partner {
    struct pipe *p;
    const u32 *counter;
    u32 seen;
};

static bool partner_came(const struct partner *w)
{
    MUTEX_GUARD(&w->p->lock);
    return *w->counter != w->seen;
}

/* Wait until *counter moves from what it is. pipe->lock held on entry and return. */
static int wait_for_partner(struct pipe *p, const u32 *counter)
{
    struct partner w = {.p = p, .counter = counter, .seen = *counter};
    int err;

    mutex_unlock(&p->lock);
    err = waitq_wait_event(&p->rd_wait, partner_came(&w), PARK_INTERRUPTIBLE, CLOCK_NEVER);
    mutex_lock(&p->lock);
    return err;
}

static int open_reader(struct pipe *p, struct pipe_file *pf, bool waits)
{
    p->r_counter++;
    if (p->readers++ == 0) {
        waitq_wake_all(&p->rd_wait);
    }
    if (p->writers != 0) {
        return 0;
    }
    if (!waits) {
        pf->w_seen = p->w_counter; /* no POLLHUP until a writer came and went */
        return 0;
    }
    return wait_for_partner(p, &p->w_counter);
}

static int open_writer(struct pipe *p, bool waits)
{
    p->w_counter++;
    if (p->writers++ == 0) {
        waitq_wake_all(&p->rd_wait);
    }
    return p->readers == 0 && waits ? wait_for_partner(p, &p->r_counter) : 0;
}

static int open_both(struct pipe *p)
{
    p->readers++;
    p->writers++;
    p->r_counter++;
    p->w_counter++;
    if (p->readers == 1 || p->writers == 1) {
        waitq_wake_all(&p->rd_wait);
    }
    return 0;
}

/* Register the file with its pipe. On error it is registered all the same, for release. */
static int fifo_join(struct pipe *p, struct pipe_file *pf, bool is_anon)
{
    bool nonblock = file_nonblock(&pf->f);

    MUTEX_GUARD(&p->lock);
    switch (pf->f.mode & (FMODE_READ | FMODE_WRITE)) {
    case FMODE_READ:
        return open_reader(p, pf, !is_anon && !nonblock);
    case FMODE_WRITE:
        if (!is_anon && nonblock && p->readers == 0) {
            pf->f.mode &= ~FMODE_WRITE; /* was never counted */
            return -ENXIO;
        }
        return open_writer(p, !is_anon);
    default:
        return open_both(p);
    }
}

struct file *fifo_open(struct inode *inode, const struct path *path, u32 flags,
                       const struct cred *cred)
{
    struct pipe *p = fifo_get(inode, cred);
    struct pipe_file *pf;
    int err;

    if (p == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    pf = pipe_file_new(p, inode, path, flags, cred);
    if (pf == NULL) {
        pipe_put(p, inode);
        return ERR_PTR(-ENOMEM);
    }
    err = fifo_join(p, pf, inode->sb->magic == PIPEFS_MAGIC);
    if (err != 0) {
        file_put(&pf->f);
        return ERR_PTR(err);
    }
    return &pf->f;
}

/* ---- size ---- */

long pipe_get_size(struct file *f)
{
    struct pipe *p = pipe_of(f);

    MUTEX_GUARD(&p->lock);
    return (long)(p->nr_slots * PAGE_SIZE);
}

static u32 round_slots(u64 size)
{
    u32 slots = 1;

    while (slots * PAGE_SIZE < size) {
        slots *= 2;
    }
    return slots;
}

/* Move the content to a ring of `slots`. Lock held. */
static int pipe_resize(struct pipe *p, u32 slots, struct pipe_buf *bufs)
{
    u32 used = pipe_used(p);

    if (used + p->reserved > slots) {
        return -EBUSY;
    }
    for (u32 i = 0; i < used; i++) {
        bufs[i] = *pipe_slot(p, p->tail + i);
    }
    pipe_account((s64)slots - p->nr_slots);
    p->nr_slots = slots;
    p->tail = 0;
    p->head = used;
    return 0;
}

long pipe_set_size(struct file *f, u64 size, const struct cred *cred)
{
    struct pipe *p = pipe_of(f);
    struct pipe_buf *bufs, *old;
    bool grew;
    u32 slots;
    int err;

    if (size > 1UL << 31) {
        return -EINVAL;
    }
    if (size > PIPE_MAX_SIZE && !cred_capable(cred, CAP_SYS_RESOURCE)) {
        return -EPERM;
    }
    if (size > PIPE_HARD_SIZE) {
        return -ENOMEM;
    }
    slots = round_slots(size);
    bufs = heap_alloc(slots * sizeof(*bufs));
    if (bufs == NULL) {
        return -ENOMEM;
    }
    mutex_lock(&p->lock);
    old = p->bufs;
    grew = slots > p->nr_slots;
    err = pipe_resize(p, slots, bufs);
    if (err == 0) {
        p->bufs = bufs;
    }
    mutex_unlock(&p->lock);
    heap_free(err == 0 ? old : bufs);
    if (err == 0 && grew) {
        (void)waitq_wake(&p->wr_wait, POLLOUT | POLLWRNORM, 1);
    }
    return err != 0 ? err : (long)(slots * PAGE_SIZE);
}
