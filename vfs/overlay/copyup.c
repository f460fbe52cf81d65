/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copy-up: the content of a lower file moves to an unnamed file of the upper layer, the first time
 * somebody writes, truncates, allocates or maps it shared and writable - not when it is merely
 * opened for writing. Attributes need no copy, they live in the overlay inode anyway; names
 * neither.
 *
 * To observers it is atomic: the new file is filled before `upper` is set. Those who hold the file
 * open go on in the upper one with their next call (file.c); mappings drop the lower file's pages
 * and ask again (mappable_invalidate).
 *
 * Locking: inode.lock, held for writing, makes sure there is one copy-up of a file at a time.
 */
#include "base/memfile.h"
#include "vfs/overlay/overlay_priv.h"

#include <unistd.h>

#define COPY_CHUNK   (128 * KiB)
#define BOUNCE_CHUNK (32 * KiB)

struct inode *overlay_upper_new(struct overlay_super *os)
{
    struct inode *upper = dir_tmpfile(os->upper->root, S_IFREG | 0600, os->cred);

    if (!IS_ERR(upper)) {
        overlay_rank_below(upper);
    }
    return upper;
}

static int upper_resize(struct inode *upper, u64 size)
{
    struct setattr set = {.valid = SETATTR_SIZE, .size = size};

    WRITE_GUARD(&upper->lock);
    return upper->ops->setattr != NULL ? upper->ops->setattr(upper, &set) : -EPERM;
}

/* ---- the data ---- */

struct copying {
    struct file *from, *to;
    struct mappable *map; /* of `to`, or NULL */
    u64 size;
};

/* One piece straight into the frames of the upper file. Bytes, 0 at the end, -EAGAIN: not this way.
 */
static ssize_t copy_into_frames(struct copying *c, u64 pos)
{
    u64 page = ALIGN_DOWN(pos, PAGE_SIZE), skip = pos - page, want;
    struct extent x;
    ssize_t n;
    int err;

    want = min(ALIGN_UP(c->size, PAGE_SIZE) - page, (u64)COPY_CHUNK);
    err = c->map->ops->get_extent(c->map, page, want, true, &x);
    if (err != 0) {
        return err == -ENOMEM ? -ENOSPC : err;
    }
    if (!x.memfile) {
        return -EAGAIN;
    }
    n = file_kernel_read(c->from, (char *)memfile_window(memfile, x.off, x.len) + skip,
                         min(x.len - skip, c->size - pos), pos);
    memfile_unref(memfile, x.off, x.len);
    return n;
}

static ssize_t copy_through_buffer(struct copying *c, u64 pos)
{
    size_t len = min(c->size - pos, (u64)BOUNCE_CHUNK);
    void *buf = heap_alloc(len);
    struct uio u;
    ssize_t n;

    if (buf == NULL) {
        return -ENOMEM;
    }
    n = file_kernel_read(c->from, buf, len, pos);
    if (n > 0) {
        uio_init_kernel(&u, buf, (size_t)n);
        n = c->to->ops->write != NULL ? c->to->ops->write(c->to, &u, &pos, 0) : -EINVAL;
    }
    heap_free(buf);
    return n;
}

static int copy_range(struct copying *c, u64 pos, u64 end)
{
    while (pos < end) {
        ssize_t n = c->map != NULL ? copy_into_frames(c, pos) : -EAGAIN;

        if (n == -EAGAIN) {
            n = copy_through_buffer(c, pos);
        }
        if (n < 0) {
            return (int)n;
        }
        if (n == 0) {
            break; /* the host made it shorter: the rest are zeroes */
        }
        pos += (u64)n;
    }
    return 0;
}

static s64 seek_in(struct file *f, u64 pos, int whence)
{
    return f->ops->seek != NULL ? f->ops->seek(f, (s64)pos, whence) : -EINVAL;
}

/* Holes stay holes. */
static int copy_all(struct copying *c)
{
    u64 pos = 0;
    int err = 0;

    while (err == 0 && pos < c->size) {
        s64 data = seek_in(c->from, pos, SEEK_DATA), hole;

        if (data == -ENXIO) {
            break; /* a hole up to the end */
        }
        if (data < 0 || (u64)data < pos) {
            return copy_range(c, pos, c->size); /* it cannot say */
        }
        hole = seek_in(c->from, (u64)data, SEEK_HOLE);
        if (hole <= data) {
            return copy_range(c, (u64)data, c->size);
        }
        err = copy_range(c, min((u64)data, c->size), min((u64)hole, c->size));
        pos = (u64)hole;
    }
    return err;
}

static int copy_data(struct overlay_super *os, struct inode *lower, struct copying *c)
{
    int err;

    if (c->size == 0) {
        return 0;
    }
    err = upper_resize(c->to->inode, c->size);
    if (err != 0) {
        return err;
    }
    c->from = overlay_open_real(os, lower, O_RDONLY);
    if (IS_ERR(c->from)) {
        return (int)PTR_ERR(c->from);
    }
    err = copy_all(c);
    file_put(c->from);
    return err;
}

/* ---- the move ---- */

static void publish(struct overlay_inode *oi, struct inode *upper, struct mappable *map)
{
    atomic_store_explicit(&oi->file.upper_map, map, memory_order_release);
    atomic_store_explicit(&oi->file.upper, inode_get(upper), memory_order_release);
    overlay_pin(oi);
    overlay_size_changed(oi, false);
    mappable_invalidate(&oi->file.map, 0, OVERLAY_MAX_OFF, false);
}

/* Content above from now on, at most the first max_size bytes of what is below. */
int overlay_copy_up(struct overlay_inode *oi, u64 max_size)
{
    struct overlay_super *os = overlay_sb(oi->inode.sb);
    struct copying c = {.size = min(oi->inode.size, max_size)};
    struct inode *upper;
    int err;

    if (overlay_upper(oi) != NULL) {
        return 0;
    }
    upper = overlay_upper_new(os);
    if (IS_ERR(upper)) {
        return (int)PTR_ERR(upper);
    }
    c.to = overlay_open_real(os, upper, O_RDWR);
    if (IS_ERR(c.to)) {
        inode_put(upper);
        return (int)PTR_ERR(c.to);
    }
    if (c.to->ops->mmap != NULL) {
        struct mappable *m = c.to->ops->mmap(c.to, 0, 0);

        c.map = IS_ERR(m) ? NULL : m;
    }
    err = copy_data(os, oi->lower, &c);
    if (err == 0) {
        publish(oi, upper, c.map);
    }
    file_put(c.to);
    inode_put(upper);
    return err;
}

static int set_size(struct overlay_inode *oi, u64 size)
{
    u64 old = oi->inode.size, from = ALIGN_UP(size, PAGE_SIZE);
    int err;

    if (!S_ISREG(oi->inode.mode) || size > OVERLAY_MAX_OFF) {
        return S_ISREG(oi->inode.mode) ? -EFBIG : -EINVAL;
    }
    err = overlay_copy_up(oi, size);
    if (err == 0) {
        err = upper_resize(overlay_upper(oi), size);
    }
    if (err != 0) {
        return err;
    }
    overlay_size_changed(oi, false);
    if (size < old) {
        mappable_invalidate(&oi->file.map, from, OVERLAY_MAX_OFF - from, true);
    }
    return 0;
}

int overlay_setattr(struct inode *inode, const struct setattr *set)
{
    struct overlay_inode *oi = overlay_i(inode);
    int err = (set->valid & SETATTR_SIZE) != 0 ? set_size(oi, set->size) : 0;

    if (err == 0) {
        inode_set_fields(inode, set);
        overlay_pin(oi);
    }
    return err;
}
