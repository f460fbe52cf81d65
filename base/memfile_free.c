/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Offsets of the memory file that nobody owns: runs by offset, to merge with their neighbours, and
 * by size, to find the best fit in logarithmic time. A run that reaches `end` becomes part of what
 * was never handed out. Also the segments themselves, and the reserve of them for steps that must
 * not fail. Everything here runs with the file's lock held.
 */
#include "base/memfile_priv.h"

#include "base/heap.h"

DEFINE_CACHE(segment_cache, struct memfile_segment);

static int size_cmp(const struct memfile_segment *a, const struct memfile_segment *b)
{
    if (a->len != b->len) {
        return a->len < b->len ? -1 : 1;
    }
    return segment_cmp(a, b);
}
RB_GENERATE_STATIC(size_tree, memfile_segment, by_size, size_cmp)

/* A segment for a step that must not fail: from the heap, else from the reserve. */
struct memfile_segment *segment_get(struct memfile *mf, bool may_fail)
{
    struct memfile_segment *s = cache_new(segment_cache);

    if (s == NULL && !may_fail && !SLIST_EMPTY(&mf->spare)) {
        s = SLIST_FIRST(&mf->spare);
        SLIST_REMOVE_HEAD(&mf->spare, in_spare);
        mf->nr_spare--;
        memset(s, 0, sizeof(*s));
    }
    return s;
}

void segment_drop(struct memfile *mf, struct memfile_segment *s)
{
    if (mf->nr_spare < MAX_SPARE) {
        SLIST_INSERT_HEAD(&mf->spare, s, in_spare);
        mf->nr_spare++;
    } else {
        cache_del(segment_cache, s);
    }
}

void segments_drop_spare(struct memfile *mf)
{
    struct memfile_segment *s;

    while ((s = SLIST_FIRST(&mf->spare)) != NULL) {
        SLIST_REMOVE_HEAD(&mf->spare, in_spare);
        cache_del(segment_cache, s);
    }
    mf->nr_spare = 0;
}

static void free_insert(struct memfile *mf, struct memfile_segment *f)
{
    RB_INSERT(segment_tree, &mf->free, f);
    RB_INSERT(size_tree, &mf->free_sizes, f);
}

static void free_remove(struct memfile *mf, struct memfile_segment *f)
{
    RB_REMOVE(segment_tree, &mf->free, f);
    RB_REMOVE(size_tree, &mf->free_sizes, f);
}

void offsets_give(struct memfile *mf, struct memfile_segment *f, u64 off, u64 len)
{
    struct memfile_segment *near;

    *f = (struct memfile_segment){.off = off, .len = len};
    near = RB_NFIND(segment_tree, &mf->free, f);
    if (near != NULL && near->off == f->off + f->len) {
        free_remove(mf, near);
        f->len += near->len;
        segment_drop(mf, near);
    }
    near = RB_NFIND(segment_tree, &mf->free, f);
    near = near != NULL ? RB_PREV(segment_tree, &mf->free, near) : RB_MAX(segment_tree, &mf->free);
    if (near != NULL && near->off + near->len == f->off) {
        free_remove(mf, near);
        f->off = near->off;
        f->len += near->len;
        segment_drop(mf, near);
    }
    if (f->off + f->len == mf->end) {
        mf->end = f->off;
        segment_drop(mf, f);
    } else {
        free_insert(mf, f);
    }
}

/* Cut [off, off+len) out of free run f. False: no memory for what is left over. */
static bool free_cut(struct memfile *mf, struct memfile_segment *f, u64 off, u64 len)
{
    u64 start = f->off, end = f->off + f->len;
    struct memfile_segment *tail = NULL;

    if (off > start && off + len < end) {
        tail = segment_get(mf, true);
        if (tail == NULL) {
            return false;
        }
    }
    free_remove(mf, f);
    if (tail != NULL) {
        *tail = (struct memfile_segment){.off = off + len, .len = end - (off + len)};
        free_insert(mf, tail);
        end = off + len;
    }
    f->off = off > start ? start : off + len;
    f->len = off > start ? off - start : end - (off + len);
    if (f->len > 0) {
        free_insert(mf, f);
    } else {
        segment_drop(mf, f);
    }
    return true;
}

/*
 * The smallest free run that holds `len` bytes aligned to `align`. Only a few runs that may be
 * spoilt by their alignment are tried before one is taken that is large enough for any.
 */
static bool free_take(struct memfile *mf, u64 len, u64 align, u64 *off)
{
    struct memfile_segment key = {.len = len};
    struct memfile_segment *f = RB_NFIND(size_tree, &mf->free_sizes, &key);

    for (unsigned tries = 0; f != NULL; tries++) {
        *off = ALIGN_UP(f->off, align);
        if (range_ok(*off - f->off, len, f->len)) {
            return free_cut(mf, f, *off, len);
        }
        if (tries < 16) {
            f = RB_NEXT(size_tree, &mf->free_sizes, f);
        } else {
            key.len = len + align;
            f = RB_NFIND(size_tree, &mf->free_sizes, &key);
        }
    }
    return false;
}

/* Offsets at the end; what alignment skips becomes free (`gap` is a node for it, NULL: lost). */
static bool end_take(struct memfile *mf, u64 len, u64 align, u64 *off)
{
    u64 old_end = mf->end;
    struct memfile_segment *gap;

    *off = ALIGN_UP(old_end, align);
    if (!range_ok(*off, len, mf->size)) {
        return false;
    }
    gap = *off > old_end ? segment_get(mf, true) : NULL;
    mf->end = *off + len;
    if (gap != NULL) {
        offsets_give(mf, gap, old_end, *off - old_end);
    }
    return true;
}

bool offsets_take(struct memfile *mf, u64 len, u64 *off)
{
    u64 align = len >= HUGE_ALIGN ? HUGE_ALIGN : PAGE_SIZE;

    return free_take(mf, len, align, off) || end_take(mf, len, align, off);
}
