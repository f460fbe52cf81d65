/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory file: which offsets are in use and by how many owners (memfile_free.c: which are not).
 * One raw spin lock guards:
 *
 * - used: segments [off, off+len) with one reference count and kind, by offset; neighbours that
 *   agree merge, so what it costs goes with the number of different counts, not of pages.
 * - free: runs below `end` without an owner, by offset (to merge) and by size (best fit). At and
 *   above `end` nothing was ever handed out, or all was given back.
 *
 * Pages whose last owner left are punched out of the file outside of the lock; their offsets become
 * free only after that, so nobody can be handed pages that are about to vanish.
 *
 * Giving up a reference may need a boundary inside a segment, that is memory, and must not fail: a
 * small reserve of segments is kept for it. Should even that run out, the range is leaked (and
 * said so): the file's memory is bounded, a wrong count would not be.
 */
#include "base/memfile_priv.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/heap.h"
#include "base/host.h"
#include "base/log.h"
#include "base/panic.h"

#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#ifdef PAVISE_TSAN
#define WINDOW_BASE NULL
#define WINDOW_SIZE (256 * GiB)
#else
#define WINDOW_BASE ((void *)0x300000000000UL)
#define WINDOW_SIZE (16 * TiB)
#endif
#define WINDOW_MIN (64 * GiB)

DEFINE_CACHE(memfile_cache, struct memfile);

struct memfile *memfile;

/* The segment that holds `off`, or the first behind it; NULL: none. */
static struct memfile_segment *segment_at(struct segment_tree *tree, u64 off)
{
    struct memfile_segment key = {.off = off};
    struct memfile_segment *s = RB_NFIND(segment_tree, tree, &key), *prev;

    if (s != NULL && s->off == off) {
        return s;
    }
    prev = s != NULL ? RB_PREV(segment_tree, tree, s) : RB_MAX(segment_tree, tree);
    return prev != NULL && off - prev->off < prev->len ? prev : s;
}

/* Make a boundary at `off` inside used segment s; returns the part from off on, NULL: no memory. */
static struct memfile_segment *segment_split(struct memfile *mf, struct memfile_segment *s, u64 off,
                                             bool may_fail)
{
    struct memfile_segment *n;

    if (off == s->off) {
        return s;
    }
    n = segment_get(mf, may_fail);
    if (n == NULL) {
        return NULL;
    }
    n->off = off;
    n->len = s->off + s->len - off;
    n->refs = s->refs;
    n->kind = s->kind;
    s->len = off - s->off;
    RB_INSERT(segment_tree, &mf->used, n);
    return n;
}

static bool segment_joins(const struct memfile_segment *a, const struct memfile_segment *b)
{
    return a->off + a->len == b->off && a->refs == b->refs && a->kind == b->kind;
}

/* Merge used segment s with equal neighbours; returns what it became. */
static struct memfile_segment *segment_merge(struct memfile *mf, struct memfile_segment *s)
{
    struct memfile_segment *prev = RB_PREV(segment_tree, &mf->used, s), *next;

    if (prev != NULL && segment_joins(prev, s)) {
        prev->len += s->len;
        RB_REMOVE(segment_tree, &mf->used, s);
        segment_drop(mf, s);
        s = prev;
    }
    next = RB_NEXT(segment_tree, &mf->used, s);
    if (next != NULL && segment_joins(s, next)) {
        s->len += next->len;
        RB_REMOVE(segment_tree, &mf->used, next);
        segment_drop(mf, next);
    }
    return s;
}

/* ---- life ---- */

/* How large a file may we make? Asking for more than RLIMIT_FSIZE would earn a signal. */
static u64 largest_file(void)
{
    struct rlimit rl;

    if (host_getrlimit(RLIMIT_FSIZE, &rl) != 0 || rl.rlim_cur > WINDOW_SIZE) {
        return WINDOW_SIZE;
    }
    return ALIGN_DOWN(rl.rlim_cur, HUGE_ALIGN);
}

/* Size the file and map it, smaller and smaller until it works. */
static int window_open(struct memfile *mf)
{
    int place = WINDOW_BASE != NULL ? MAP_FIXED_NOREPLACE : 0, err = -EFBIG;

    for (u64 size = largest_file(); size >= WINDOW_MIN; size = ALIGN_DOWN(size / 2, HUGE_ALIGN)) {
        void *window;

        err = host_ftruncate(mf->fd, size);
        if (err != 0) {
            continue;
        }
        window = host_mmap(WINDOW_BASE, size, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_NORESERVE | place, mf->fd, 0);
        if (!IS_ERR(window)) {
            (void)host_madvise(window, size, MADV_DONTDUMP);
            mf->window = window;
            mf->size = size;
            return 0;
        }
        err = (int)PTR_ERR(window);
    }
    return err;
}

static void memfile_free(struct memfile *mf)
{
    segments_drop_spare(mf);
    if (mf->fd >= 0) {
        host_close(mf->fd);
    }
    cache_del(memfile_cache, mf);
}

static int memfile_init(struct memfile *mf, u64 limit)
{
    RB_INIT(&mf->used);
    RB_INIT(&mf->free);
    RB_INIT(&mf->free_sizes);
    SLIST_INIT(&mf->spare);
    mf->limit = limit;
    while (mf->nr_spare < MAX_SPARE) {
        struct memfile_segment *s = segment_get(mf, true);

        if (s == NULL) {
            return -ENOMEM;
        }
        segment_drop(mf, s);
    }
    mf->fd = host_memfd_create("pavise-memory", MFD_CLOEXEC);
    return mf->fd < 0 ? mf->fd : window_open(mf);
}

struct memfile *memfile_new(u64 limit)
{
    struct memfile *mf = cache_new(memfile_cache);
    int err;

    if (mf == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    mf->fd = -1;
    err = memfile_init(mf, limit);
    if (err != 0) {
        memfile_free(mf);
        return ERR_PTR(err);
    }
    memfile = mf;
    return mf;
}

int memfile_fd(const struct memfile *mf)
{
    return mf->fd;
}

/* ---- references ---- */

int memfile_alloc(struct memfile *mf, u64 len, enum memfile_kind kind, u64 *off)
{
    struct memfile_segment *s;

    CHECK(IS_ALIGNED(len, PAGE_SIZE), "%#lx", (unsigned long)len);
    if (len == 0 || len > mf->size) {
        return -ENOMEM;
    }
    raw_spin_lock(&mf->lock);
    s = segment_get(mf, true);
    if (s == NULL || !offsets_take(mf, len, off)) {
        if (s != NULL) {
            segment_drop(mf, s);
        }
        raw_spin_unlock(&mf->lock);
        return -ENOMEM;
    }
    *s = (struct memfile_segment){.off = *off, .len = len, .refs = 1, .kind = kind};
    RB_INSERT(segment_tree, &mf->used, s);
    segment_merge(mf, s);
    raw_spin_unlock(&mf->lock);
    atomic_fetch_add_explicit(&mf->kind_bytes[kind], len, memory_order_relaxed);
    return 0;
}

/* Boundaries at both ends of [off, off+len), so that whole segments cover it. lock held. */
static struct memfile_segment *segments_isolate(struct memfile *mf, u64 off, u64 len, bool may_fail)
{
    struct memfile_segment *s = segment_at(&mf->used, off), *last;

    CHECK(IS_ALIGNED(off | len, PAGE_SIZE) && len > 0, "memory file range %#lx+%#lx",
          (unsigned long)off, (unsigned long)len);
    CHECK(s != NULL && off >= s->off, "memory file offset %#lx has no owner", (unsigned long)off);
    s = segment_split(mf, s, off, may_fail);
    if (s == NULL) {
        return NULL;
    }
    last = segment_at(&mf->used, off + len - 1);
    CHECK(last != NULL && off + len - 1 >= last->off, "memory file range %#lx+%#lx has no owner",
          (unsigned long)off, (unsigned long)len);
    if (last->off + last->len > off + len && segment_split(mf, last, off + len, may_fail) == NULL) {
        segment_merge(mf, s);
        return NULL;
    }
    return s;
}

/* Merge what may have become equal between off and end. lock held. */
static void segments_merge_range(struct memfile *mf, u64 off, u64 end)
{
    struct memfile_segment *s = segment_at(&mf->used, off);

    while (s != NULL && s->off < end) {
        s = segment_merge(mf, s);
        s = RB_NEXT(segment_tree, &mf->used, s);
    }
}

int memfile_ref(struct memfile *mf, u64 off, u64 len)
{
    struct memfile_segment *s;
    u64 end = off + len, at = off;

    raw_spin_lock(&mf->lock);
    s = segments_isolate(mf, off, len, true);
    if (s == NULL) {
        raw_spin_unlock(&mf->lock);
        return -ENOMEM;
    }
    /* Count first, merge afterwards: a neighbour that is still to be counted must not be swallowed.
     */
    for (; at < end; s = RB_NEXT(segment_tree, &mf->used, s)) {
        CHECK(s != NULL && s->off == at, "memory file: hole at %#lx", (unsigned long)at);
        CHECK(s->refs < UINT32_MAX, "memory file: too many owners at %#lx", (unsigned long)at);
        at = s->off + s->len;
        s->refs++;
    }
    segments_merge_range(mf, off, end);
    raw_spin_unlock(&mf->lock);
    return 0;
}

/*
 * One owner less of the first part of [off, end): returns where it ends. When nobody owns it now,
 * *dead is its segment, out of the tree.
 */
static u64 unref_one(struct memfile *mf, u64 off, u64 end, struct memfile_segment **dead)
{
    struct memfile_segment *s;

    *dead = NULL;
    raw_spin_lock(&mf->lock);
    s = segments_isolate(mf, off, end - off, false);
    if (s == NULL) {
        raw_spin_unlock(&mf->lock);
        log_error(LOG_BASE, "out of memory: %#lx bytes of guest memory leak",
                  (unsigned long)(end - off));
        return end;
    }
    end = s->off + s->len;
    if (--s->refs == 0) {
        RB_REMOVE(segment_tree, &mf->used, s);
        *dead = s;
    } else {
        segment_merge(mf, s);
    }
    raw_spin_unlock(&mf->lock);
    return end;
}

void memfile_unref(struct memfile *mf, u64 off, u64 len)
{
    u64 end = off + len;

    while (off < end) {
        struct memfile_segment *dead;
        u64 next = unref_one(mf, off, end, &dead);

        if (dead != NULL) {
            atomic_fetch_sub_explicit(&mf->kind_bytes[dead->kind], next - off,
                                      memory_order_relaxed);
            memfile_decommit(mf, off, next - off);
            raw_spin_lock(&mf->lock);
            offsets_give(mf, dead, off, next - off);
            raw_spin_unlock(&mf->lock);
        }
        off = next;
    }
}

u32 memfile_refs(struct memfile *mf, u64 off, u64 max_len, u64 *run)
{
    struct memfile_segment *s;
    u32 refs;

    raw_spin_lock(&mf->lock);
    s = segment_at(&mf->used, off);
    CHECK(s != NULL && off >= s->off, "memory file offset %#lx has no owner", (unsigned long)off);
    refs = s->refs;
    *run = min(max_len, s->off + s->len - off);
    raw_spin_unlock(&mf->lock);
    return refs;
}

void memfile_decommit(struct memfile *mf, u64 off, u64 len)
{
    int err;

    do {
        err = host_fallocate(mf->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, len);
    } while (err == -EINTR);
    CHECK(err == 0, "punching %#lx+%#lx: %d", (unsigned long)off, (unsigned long)len, err);
}

void *memfile_window(const struct memfile *mf, u64 off, u64 len)
{
    CHECK(range_ok(off, len, mf->size), "memory file window %#lx+%#lx", (unsigned long)off,
          (unsigned long)len);
    return mf->window + off;
}

/* ---- accounting ---- */

/* The host's count is asked for at most this often, more often when the limit is near. */
#define COMMITTED_MAX_AGE      (10 * NSEC_PER_MSEC)
#define COMMITTED_MAX_AGE_NEAR (1 * NSEC_PER_MSEC)

u64 memfile_committed(const struct memfile *cmf)
{
    struct memfile *mf = (struct memfile *)cmf; /* only its cache changes */
    u64 known = atomic_load_explicit(&mf->committed, memory_order_relaxed);
    u64 at = atomic_load_explicit(&mf->committed_at, memory_order_relaxed);
    u64 now = clock_monotonic();
    bool near = mf->limit != 0 && known > mf->limit - mf->limit / 8;
    struct stat st;

    if (at != 0 && now - at <= (near ? COMMITTED_MAX_AGE_NEAR : COMMITTED_MAX_AGE)) {
        return known;
    }
    if (host_fstat(mf->fd, &st) == 0) {
        known = (u64)st.st_blocks * 512;
        atomic_store_explicit(&mf->committed, known, memory_order_relaxed);
        atomic_store_explicit(&mf->committed_at, now, memory_order_relaxed);
    }
    return known;
}

int memfile_charge_check(const struct memfile *mf, u64 more)
{
    u64 owned = 0;

    if (mf->limit == 0) {
        return 0;
    }
    if (more > mf->limit) {
        return -ENOMEM;
    }
    for (unsigned k = 0; k < MEMFILE_KINDS; k++) {
        owned += memfile_kind_bytes(mf, k);
    }
    if (owned <= mf->limit - more) {
        return 0; /* even if every owned page were touched */
    }
    return memfile_committed(mf) <= mf->limit - more ? 0 : -ENOMEM;
}

u64 memfile_limit(const struct memfile *mf)
{
    return mf->limit;
}

u64 memfile_kind_bytes(const struct memfile *mf, enum memfile_kind kind)
{
    return atomic_load_explicit(&mf->kind_bytes[kind], memory_order_relaxed);
}
