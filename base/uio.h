/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uio: a cursor over kernel or guest memory; the only way bulk data moves between a file and
 * the caller of read(2) or write(2). It does not know the direction: a file's read op
 * calls uio_put (into the caller's memory), its write op uio_take (out of it).
 *
 * The segments of a guest uio were copied in and bounds-checked once, when it was made.
 */
#ifndef PAVISE_BASE_UIO_H
#define PAVISE_BASE_UIO_H

#include "base/base.h"

#include <sys/uio.h>

/* One segment: a guest range, or a kernel one when uio.kernel is set. */
struct uio_seg {
    u64 base;
    u64 len;
};

struct uio {
    const struct uio_seg *segs; /* (c) borrowed */
    u32 nr_segs;                /* segments left, the first partly done */
    bool kernel;                /* segs are sentry addresses */
    u64 done_in_seg;            /* bytes of segs[0] done */
    u64 left;                   /* bytes left over all segments */
    struct uio_seg one;         /* storage for the single-segment case */
};

void uio_init_kernel(struct uio *u, void *buf, size_t len);
void uio_init_user(struct uio *u, uaddr base, size_t len);
/* `segs` stay borrowed until the uio's last use. */
void uio_init_segs(struct uio *u, const struct uio_seg *segs, u32 count, bool kernel);

static inline size_t uio_left(const struct uio *u)
{
    return u->left;
}

/* Copy into the caller's memory / out of it. Bytes moved (short when `left` or the memory ends),
 * or -EFAULT if nothing could be moved. They advance the cursor. */
must_check ssize_t uio_put(struct uio *u, const void *src, size_t len);
must_check ssize_t uio_take(struct uio *u, void *dst, size_t len);
must_check ssize_t uio_put_zeroes(struct uio *u, size_t len);

/* Skip `len` bytes (after pinned input/output, or to drop). */
void uio_advance(struct uio *u, size_t len);
/* Go back to an earlier copy of the struct: `*u = saved` is the documented way. */

/* Make the uio end after at most `len` more bytes. */
void uio_truncate(struct uio *u, size_t len);

/*
 * Host iovecs for the next bytes, for one preadv or pwritev without a bounce buffer. `write` says
 * whether the memory will be written (a read(2)). Returns their number (0: no direct way, use
 * put/take with a bounce buffer), or -EFAULT. The cursor does not move. Pair with uio_unpin.
 */
must_check int uio_pin(struct uio *u, size_t len, bool write, struct iovec *iov, int max);
void uio_unpin(struct uio *u, const struct iovec *iov, int count);

#endif
