/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The uio cursor. All movement goes through one loop (uio_move), which walks the segments and stops
 * at the first byte that cannot be moved: bytes moved before that count, an error is reported only
 * when there are none (read(2), write(2)).
 */
#include "base/uio.h"

#include "base/err.h"
#include "base/usermem.h"

void uio_init_segs(struct uio *u, const struct uio_seg *segs, u32 count, bool kernel)
{
    *u = (struct uio){.segs = segs, .nr_segs = count, .kernel = kernel};
    for (u32 i = 0; i < count; i++) {
        u->left += segs[i].len;
    }
}

static void init_one(struct uio *u, u64 base, size_t len, bool kernel)
{
    *u = (struct uio){.nr_segs = 1, .kernel = kernel, .left = len, .one = {base, len}};
    u->segs = NULL; /* NULL: `one`; so that a copy of the struct does not point into the original */
}

void uio_init_kernel(struct uio *u, void *buf, size_t len)
{
    init_one(u, (u64)buf, len, true);
}

void uio_init_user(struct uio *u, uaddr base, size_t len)
{
    init_one(u, base, len, false);
}

static const struct uio_seg *uio_seg(const struct uio *u)
{
    return u->segs != NULL ? u->segs : &u->one;
}

void uio_advance(struct uio *u, size_t len)
{
    len = min(len, (size_t)u->left);
    u->left -= len;
    while (u->nr_segs > 0) {
        u64 rest = uio_seg(u)->len - u->done_in_seg;

        if (len < rest || u->nr_segs == 1) {
            u->done_in_seg += len;
            return;
        }
        len -= rest;
        u->done_in_seg = 0;
        u->nr_segs--;
        u->segs++;
    }
}

void uio_truncate(struct uio *u, size_t len)
{
    if (len < u->left) {
        u->left = len;
    }
}

enum move { MOVE_PUT, MOVE_TAKE, MOVE_ZERO };

static ssize_t move_guest(uaddr addr, void *buf, size_t len, enum move dir)
{
    switch (dir) {
    case MOVE_PUT:
        return copy_out_some(addr, buf, len);
    case MOVE_TAKE:
        return copy_in_some(buf, addr, len);
    case MOVE_ZERO:
    default:
        return zero_out_some(addr, len);
    }
}

static ssize_t move_kernel(void *addr, void *buf, size_t len, enum move dir)
{
    switch (dir) {
    case MOVE_PUT:
        memcpy(addr, buf, len);
        break;
    case MOVE_TAKE:
        memcpy(buf, addr, len);
        break;
    case MOVE_ZERO:
        memset(addr, 0, len);
        break;
    }
    return (ssize_t)len;
}

static ssize_t uio_move(struct uio *u, void *buf, size_t len, enum move dir)
{
    size_t done = 0;

    len = min(len, (size_t)u->left);
    while (done < len) {
        const struct uio_seg *seg = uio_seg(u);
        size_t part = min(len - done, (size_t)(seg->len - u->done_in_seg));
        u64 addr = seg->base + u->done_in_seg;
        char *at = buf != NULL ? (char *)buf + done : NULL;
        ssize_t n;

        if (part == 0) {
            u->nr_segs--;
            u->segs++;
            u->done_in_seg = 0;
            continue;
        }
        n = u->kernel ? move_kernel((void *)addr, at, part, dir) : move_guest(addr, at, part, dir);
        if (n < 0) {
            return done > 0 ? (ssize_t)done : n;
        }
        done += (size_t)n;
        uio_advance(u, (size_t)n);
        if ((size_t)n < part) {
            break;
        }
    }
    return (ssize_t)done;
}

ssize_t uio_put(struct uio *u, const void *src, size_t len)
{
    return uio_move(u, (void *)src, len, MOVE_PUT);
}

ssize_t uio_take(struct uio *u, void *dst, size_t len)
{
    return uio_move(u, dst, len, MOVE_TAKE);
}

ssize_t uio_put_zeroes(struct uio *u, size_t len)
{
    return uio_move(u, NULL, len, MOVE_ZERO);
}

/* Pin up to `len` bytes at `addr`, which lie in one segment: iovecs filled (0: no direct way). */
static int pin_part(const struct uio *u, u64 addr, size_t len, bool write, struct iovec *iov,
                    int max)
{
    if (u->kernel) {
        iov[0] = (struct iovec){(void *)addr, len};
        return 1;
    }
    return usermem_pin(addr, len, write, iov, max);
}

static size_t iov_bytes(const struct iovec *iov, int count)
{
    size_t sum = 0;

    for (int i = 0; i < count; i++) {
        sum += iov[i].iov_len;
    }
    return sum;
}

int uio_pin(struct uio *u, size_t len, bool write, struct iovec *iov, int max)
{
    const struct uio_seg *seg = uio_seg(u);
    u64 skip = u->done_in_seg;
    int count = 0;

    len = min(len, (size_t)u->left);
    for (; len > 0 && count < max; seg++, skip = 0) {
        size_t part = min(len, (size_t)(seg->len - skip));
        int n;

        if (part == 0) {
            continue;
        }
        n = pin_part(u, seg->base + skip, part, write, iov + count, max - count);
        if (n < 0 && count == 0) {
            return n;
        }
        if (n <= 0) {
            break;
        }
        count += n;
        if (iov_bytes(iov + count - n, n) < part) {
            break; /* pinned in part: what follows would leave a gap */
        }
        len -= part;
    }
    return count;
}

void uio_unpin(struct uio *u, const struct iovec *iov, int count)
{
    if (!u->kernel && count > 0) {
        usermem_unpin(iov, count);
    }
}
