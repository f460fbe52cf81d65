/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory file: which offsets are in use and by how many owners. Two trees under one raw spin
 * lock:
 *
 * - segments: [off, off+len) with one reference count and kind, sorted by offset; neighbours that
 * agree merge.
 * - free runs: given-back offsets, merged; a fresh range is taken from the end when none fits.
 *
 * Pages whose last owner left are punched out of the file outside of the lock; their offsets become
 * free only after that, so nobody can be handed pages that are about to vanish.
 */
#include "base/memfile.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/heap.h"
#include "base/host.h"
#include "base/panic.h"
#include "base/spin_priv.h"

#include "base/tree.h"
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/stat.h>

#ifdef PAVISE_TSAN
#define WINDOW_BASE NULL
#define WINDOW_SIZE (64 * GiB)
#else
#define WINDOW_BASE ((void *)0x300000000000UL)
#define WINDOW_SIZE (16 * TiB)
#endif
#define WINDOW_MIN (64 * GiB)
#define HUGE_ALIGN (2 * MiB)

struct memfile_segment {
    RB_ENTRY(memfile_segment) link;
    u64 off, len;
    u32 refs; /* 0: a free run */
    u32 kind;
};
RB_HEAD(segment_tree, memfile_segment);

struct memfile {
    int fd;       /* (c) */
    char *window; /* (c) */
    u64 size;     /* (c) bytes of offsets */
    u64 limit;    /* (c) */
    struct raw_spin lock;
    struct segment_tree used, free;      /* (lock) */
    u64 end;                             /* (lock) offsets at and above were never handed out */
    u64 kind_bytes[MEMFILE_KINDS];       /* (lock) bytes of offsets with owners */
    _Atomic u64 committed, committed_at; /* cache of st_blocks and its age */
};

DEFINE_CACHE(segment_cache, struct memfile_segment);
DEFINE_CACHE(memfile_cache, struct memfile);

struct memfile *memfile;

static int segment_cmp(const struct memfile_segment *a, const struct memfile_segment *b)
{
    return a->off < b->off ? -1 : a->off > b->off;
}
RB_GENERATE_STATIC(segment_tree, memfile_segment, link, segment_cmp)

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

/* Make a boundary at `off` inside s; returns the part from off on, NULL: no memory. */
static struct memfile_segment *segment_split(struct segment_tree *tree, struct memfile_segment *s,
                                             u64 off)
{
    struct memfile_segment *n;

    if (off == s->off) {
        return s;
    }
    n = cache_new(segment_cache);
    if (n == NULL) {
        return NULL;
    }
    n->off = off;
    n->len = s->off + s->len - off;
    n->refs = s->refs;
    n->kind = s->kind;
    s->len = off - s->off;
    RB_INSERT(segment_tree, tree, n);
    return n;
}

static bool segment_joins(const struct memfile_segment *a, const struct memfile_segment *b)
{
    return a->off + a->len == b->off && a->refs == b->refs && a->kind == b->kind;
}

/* Merge s with equal neighbours; returns what it became. */
static struct memfile_segment *segment_merge(struct segment_tree *tree, struct memfile_segment *s)
{
    struct memfile_segment *prev = RB_PREV(segment_tree, tree, s), *next;

    if (prev != NULL && segment_joins(prev, s)) {
        prev->len += s->len;
        RB_REMOVE(segment_tree, tree, s);
        cache_del(segment_cache, s);
        s = prev;
    }
    next = RB_NEXT(segment_tree, tree, s);
    if (next != NULL && segment_joins(s, next)) {
        s->len += next->len;
        RB_REMOVE(segment_tree, tree, next);
        cache_del(segment_cache, next);
    }
    return s;
}

struct memfile *memfile_new(u64 limit)
{
    struct memfile *mf = cache_new(memfile_cache);
    u64 size = WINDOW_SIZE;
    void *window = ERR_PTR(-ENOMEM);

    if (mf == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    mf->fd = host_memfd_create("pavise-memory", MFD_CLOEXEC);
    if (mf->fd < 0) {
        int err = mf->fd;

        cache_del(memfile_cache, mf);
        return ERR_PTR(err);
    }
    for (; size >= WINDOW_MIN && IS_ERR(window); size /= 2) {
        if (host_ftruncate(mf->fd, size) == 0) {
            window = host_mmap(WINDOW_BASE, size, PROT_READ | PROT_WRITE,
                               MAP_SHARED | MAP_NORESERVE |
                                   (WINDOW_BASE != NULL ? MAP_FIXED_NOREPLACE : 0),
                               mf->fd, 0);
            mf->size = size;
        }
    }
    if (IS_ERR(window)) {
        host_close(mf->fd);
        cache_del(memfile_cache, mf);
        return ERR_PTR(PTR_ERR(window));
    }
    (void)host_madvise(window, mf->size, MADV_DONTDUMP);
    mf->window = window;
    mf->limit = limit;
    RB_INIT(&mf->used);
    RB_INIT(&mf->free);
    memfile = mf;
    return mf;
}

int memfile_fd(const struct memfile *mf)
{
    return mf->fd;
}

/* Take [*off, +len) out of the free runs or from the end. lock held; `s` is spare memory. */
static bool offsets_take(struct memfile *mf, u64 len, u64 *off)
{
    struct memfile_segment *f;
    u64 align = len >= HUGE_ALIGN ? HUGE_ALIGN : PAGE_SIZE;

    if (len < HUGE_ALIGN) {
        RB_FOREACH (f, segment_tree, &mf->free) {
            if (f->len >= len) {
                *off = f->off;
                f->off += len;
                f->len -= len;
                if (f->len == 0) {
                    RB_REMOVE(segment_tree, &mf->free, f);
                    cache_del(segment_cache, f);
                }
                return true;
            }
        }
    }
    *off = ALIGN_UP(mf->end, align);
    if (!range_ok(*off, len, mf->size)) {
        return false;
    }
    mf->end = *off + len;
    return true;
}

int memfile_alloc(struct memfile *mf, u64 len, enum memfile_kind kind, u64 *off)
{
    struct memfile_segment *s = cache_new(segment_cache);

    if (s == NULL) {
        return -ENOMEM;
    }
    raw_spin_lock(&mf->lock);
    if (len == 0 || !offsets_take(mf, len, off)) {
        raw_spin_unlock(&mf->lock);
        cache_del(segment_cache, s);
        return -ENOMEM;
    }
    s->off = *off;
    s->len = len;
    s->refs = 1;
    s->kind = kind;
    RB_INSERT(segment_tree, &mf->used, s);
    segment_merge(&mf->used, s);
    mf->kind_bytes[kind] += len;
    raw_spin_unlock(&mf->lock);
    return 0;
}

/* Boundaries at both ends of [off, off+len), so that whole segments cover it. lock held. */
static struct memfile_segment *segments_isolate(struct memfile *mf, u64 off, u64 len)
{
    struct memfile_segment *s = segment_at(&mf->used, off), *last;

    CHECK(s != NULL && off >= s->off, "memory file offset %#lx has no owner", (unsigned long)off);
    s = segment_split(&mf->used, s, off);
    if (s == NULL) {
        return NULL;
    }
    last = segment_at(&mf->used, off + len - 1);
    CHECK(last != NULL && off + len - 1 >= last->off, "memory file range %#lx+%#lx has no owner",
          (unsigned long)off, (unsigned long)len);
    if (last->off + last->len > off + len && segment_split(&mf->used, last, off + len) == NULL) {
        return NULL;
    }
    return s;
}

/* Merge what may have become equal between off and end. lock held. */
static void segments_merge_range(struct memfile *mf, u64 off, u64 end)
{
    struct memfile_segment *s = segment_at(&mf->used, off);

    while (s != NULL && s->off < end) {
        s = segment_merge(&mf->used, s);
        s = RB_NEXT(segment_tree, &mf->used, s);
    }
}

int memfile_ref(struct memfile *mf, u64 off, u64 len)
{
    struct memfile_segment *s;
    u64 end = off + len, at = off;

    raw_spin_lock(&mf->lock);
    s = segments_isolate(mf, off, len);
    if (s == NULL) {
        raw_spin_unlock(&mf->lock);
        return -ENOMEM;
    }
    /* Count first, merge afterwards: a neighbour that is still to be counted must not be swallowed.
     */
    for (; at < end; s = RB_NEXT(segment_tree, &mf->used, s)) {
        CHECK(s != NULL && s->off == at, "memory file: hole at %#lx", (unsigned long)at);
        at = s->off + s->len;
        s->refs++;
    }
    segments_merge_range(mf, off, end);
    raw_spin_unlock(&mf->lock);
    return 0;
}

static void free_run_add(struct memfile *mf, u64 off, u64 len)
{
    struct memfile_segment *f = cache_new(segment_cache);

    if (f == NULL) {
        return; /* the offsets are lost; their memory was given back */
    }
    f->off = off;
    f->len = len;
    f->refs = 0;
    raw_spin_lock(&mf->lock);
    RB_INSERT(segment_tree, &mf->free, f);
    segment_merge(&mf->free, f);
    raw_spin_unlock(&mf->lock);
}

/* One owner less of the first part of [off, end): returns where it ends, *dead when nobody owns it
 * now. */
static u64 unref_one(struct memfile *mf, u64 off, u64 end, bool *dead)
{
    struct memfile_segment *s;

    raw_spin_lock(&mf->lock);
    s = segments_isolate(mf, off, end - off);
    while (s == NULL) { /* no memory for a boundary: go by the pages that need none */
        raw_spin_unlock(&mf->lock);
        sched_yield();
        raw_spin_lock(&mf->lock);
        s = segments_isolate(mf, off, end - off);
    }
    end = s->off + s->len;
    *dead = --s->refs == 0;
    if (*dead) {
        mf->kind_bytes[s->kind] -= s->len;
        RB_REMOVE(segment_tree, &mf->used, s);
        cache_del(segment_cache, s);
    } else {
        segment_merge(&mf->used, s);
    }
    raw_spin_unlock(&mf->lock);
    return end;
}

void memfile_unref(struct memfile *mf, u64 off, u64 len)
{
    u64 end = off + len;

    while (off < end) {
        bool dead;
        u64 next = unref_one(mf, off, end, &dead);

        if (dead) {
            memfile_decommit(mf, off, next - off);
            free_run_add(mf, off, next - off);
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
    int err = host_fallocate(mf->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, len);

    if (err != 0) {
        memset(mf->window + off, 0, len); /* ENOMEM, EINTR: zeroes at least */
    }
}

void *memfile_window(const struct memfile *mf, u64 off, u64 len)
{
    CHECK(range_ok(off, len, mf->size), "memory file window %#lx+%#lx", (unsigned long)off,
          (unsigned long)len);
    return mf->window + off;
}

#define COMMITTED_MAX_AGE (10 * NSEC_PER_MSEC)

u64 memfile_committed(const struct memfile *cmf)
{
    struct memfile *mf = (struct memfile *)cmf;
    u64 now = clock_monotonic();
    struct stat st;

    if (now - mf->committed_at > COMMITTED_MAX_AGE && host_fstat(mf->fd, &st) == 0) {
        mf->committed = (u64)st.st_blocks * 512;
        mf->committed_at = now;
    }
    return mf->committed;
}

u64 memfile_limit(const struct memfile *mf)
{
    return mf->limit;
}

u64 memfile_kind_bytes(const struct memfile *mf, enum memfile_kind kind)
{
    return mf->kind_bytes[kind];
}
