/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the pages of a tmpfs file lie: a tree of runs, each contiguous in the file and in the
 * memory file, disjoint, neighbours merged. What no run covers is a hole.
 *
 * A file that grows by small appends would become many runs, since others allocate in between; so
 * more is taken from the memory file than was asked for and the rest kept as `spare`: the place of
 * pages [spare_next, spare_next + spare_pages). Untouched pages of the memory file take no memory.
 */
#include "base/memfile.h"
#include "base/tree.h"
#include "vfs/tmpfs/tmpfs_priv.h"

#define SPARE_MIN 16U  /* pages */
#define SPARE_MAX 512U /* pages */
#define RUN_MAX   (1UL << 30)

DEFINE_CACHE(tmpfs_run_cache, struct tmpfs_run);

static int run_compare(const struct tmpfs_run *a, const struct tmpfs_run *b)
{
    return a->pgoff == b->pgoff ? 0 : a->pgoff < b->pgoff ? -1 : 1;
}

RB_GENERATE_STATIC(tmpfs_runs, tmpfs_run, link, run_compare)

void tmpfs_pages_init(struct tmpfs_inode *ti)
{
    mutex_init(&ti->file.pages_lock, LOCK_TMPFS_PAGES);
    RB_INIT(&ti->file.runs);
    ti->file.seals = F_SEAL_SEAL;
    mappable_init(&ti->file.mappable, &tmpfs_mappable_ops, &ti->inode);
}

/* The first run that ends behind pgoff: the one that holds it, or the next, or NULL. */
static struct tmpfs_run *run_at_or_after(struct tmpfs_inode *ti, u64 pgoff)
{
    struct tmpfs_run *r = RB_ROOT(&ti->file.runs), *best = NULL;

    while (r != NULL) {
        if (r->pgoff + r->count > pgoff) {
            best = r;
            r = RB_LEFT(r, link);
        } else {
            r = RB_RIGHT(r, link);
        }
    }
    return best;
}

static void spare_free(struct tmpfs_inode *ti)
{
    if (ti->file.spare_pages != 0) {
        memfile_unref(memfile, ti->file.spare_off, ti->file.spare_pages * PAGE_SIZE);
        ti->file.spare_pages = 0;
    }
}

/* Space for [pgoff, pgoff + count): *count may come out smaller. */
static int place_alloc(struct tmpfs_inode *ti, u64 pgoff, u64 *count, u64 *off)
{
    u64 extra;
    int err;

    if (ti->file.spare_pages != 0 && ti->file.spare_next == pgoff) {
        *count = min(*count, ti->file.spare_pages);
        *off = ti->file.spare_off;
        ti->file.spare_off += *count * PAGE_SIZE;
        ti->file.spare_next += *count;
        ti->file.spare_pages -= *count;
        return 0;
    }
    extra = (ti->file.shmem_flags & SHMEM_EAGER) != 0
                ? 0
                : min(max(ti->file.nr_pages, (u64)SPARE_MIN), (u64)SPARE_MAX);
    err = memfile_alloc(memfile, (*count + extra) * PAGE_SIZE, MEMFILE_SHMEM, off);
    if (err != 0 && extra != 0) {
        extra = 0;
        err = memfile_alloc(memfile, *count * PAGE_SIZE, MEMFILE_SHMEM, off);
    }
    if (err == 0 && extra != 0) {
        spare_free(ti);
        ti->file.spare_off = *off + *count * PAGE_SIZE;
        ti->file.spare_pages = extra;
        ti->file.spare_next = pgoff + *count;
    }
    return err;
}

/* Enter a new run, merged with its neighbours where they touch on both sides. */
static int run_insert(struct tmpfs_inode *ti, u64 pgoff, u64 count, u64 off)
{
    struct tmpfs_run *next = run_at_or_after(ti, pgoff), *prev, *r;

    prev = next != NULL ? RB_PREV(tmpfs_runs, &ti->file.runs, next)
                        : RB_MAX(tmpfs_runs, &ti->file.runs);
    if (prev != NULL && prev->pgoff + prev->count == pgoff &&
        prev->off + prev->count * PAGE_SIZE == off) {
        prev->count += count;
        if (next != NULL && pgoff + count == next->pgoff && off + count * PAGE_SIZE == next->off) {
            prev->count += next->count;
            RB_REMOVE(tmpfs_runs, &ti->file.runs, next);
            cache_del(tmpfs_run_cache, next);
        }
        return 0;
    }
    if (next != NULL && pgoff + count == next->pgoff && off + count * PAGE_SIZE == next->off) {
        next->pgoff = pgoff; /* keeps its place in the order */
        next->off = off;
        next->count += count;
        return 0;
    }
    r = cache_new(tmpfs_run_cache);
    if (r == NULL) {
        return -ENOMEM;
    }
    r->pgoff = pgoff;
    r->count = count;
    r->off = off;
    RB_INSERT(tmpfs_runs, &ti->file.runs, r);
    return 0;
}

static int pages_alloc(struct tmpfs_inode *ti, u64 pgoff, u64 *count, u64 *off)
{
    struct tmpfs_super *ts = tmpfs_sb(ti->inode.sb);
    int err = tmpfs_charge_pages(ts, *count);
    u64 charged = *count;

    if (err != 0 && *count > 1) { /* near the limit: page by page */
        *count = charged = 1;
        err = tmpfs_charge_pages(ts, 1);
    }
    if (err != 0) {
        return err;
    }
    err = place_alloc(ti, pgoff, count, off);
    if (err != 0) {
        tmpfs_uncharge_pages(ts, charged);
        return err;
    }
    tmpfs_uncharge_pages(ts, charged - *count);
    err = run_insert(ti, pgoff, *count, *off);
    if (err != 0) {
        memfile_unref(memfile, *off, *count * PAGE_SIZE);
        tmpfs_uncharge_pages(ts, *count);
        return err;
    }
    __atomic_store_n(&ti->file.nr_pages, ti->file.nr_pages + *count, __ATOMIC_RELAXED);
    return 0;
}

int tmpfs_pages_get_locked(struct tmpfs_inode *ti, u64 pgoff, u64 want, bool alloc, u64 *off,
                           u64 *count)
{
    struct tmpfs_run *r = run_at_or_after(ti, pgoff);

    if (r != NULL && r->pgoff <= pgoff) {
        u64 skip = pgoff - r->pgoff;

        *off = r->off + skip * PAGE_SIZE;
        *count = min(want, r->count - skip);
        return 0;
    }
    *count = r != NULL ? min(want, r->pgoff - pgoff) : want;
    if (!alloc) {
        *off = UINT64_MAX;
        return 0;
    }
    *count = min(*count, RUN_MAX);
    return pages_alloc(ti, pgoff, count, off);
}

int tmpfs_pages_get(struct tmpfs_inode *ti, u64 pgoff, u64 want, bool alloc, u64 *off, u64 *count)
{
    MUTEX_GUARD(&ti->file.pages_lock);
    return tmpfs_pages_get_locked(ti, pgoff, want, alloc, off, count);
}

/* Cut [first, end) out of r. A hole in the middle needs a second run: without memory for it the
 * tail is copied nowhere and nothing is cut (false). */
static bool run_cut(struct tmpfs_inode *ti, struct tmpfs_run *r, u64 first, u64 end)
{
    u64 r_end = r->pgoff + r->count;

    if (first > r->pgoff && end < r_end) {
        struct tmpfs_run *tail = cache_new(tmpfs_run_cache);

        if (tail == NULL) {
            return false;
        }
        tail->pgoff = end;
        tail->count = r_end - end;
        tail->off = r->off + (end - r->pgoff) * PAGE_SIZE;
        r->count = first - r->pgoff;
        RB_INSERT(tmpfs_runs, &ti->file.runs, tail);
    } else if (first > r->pgoff) {
        r->count = first - r->pgoff;
    } else if (end < r_end) {
        r->off += (end - r->pgoff) * PAGE_SIZE;
        r->count = r_end - end;
        r->pgoff = end;
    } else {
        RB_REMOVE(tmpfs_runs, &ti->file.runs, r);
        cache_del(tmpfs_run_cache, r);
    }
    return true;
}

void tmpfs_pages_drop(struct tmpfs_inode *ti, u64 first, u64 end)
{
    u64 at = first, freed = 0;

    if (first < end) {
        spare_free(ti);
    }
    while (at < end) {
        struct tmpfs_run *r = run_at_or_after(ti, at);
        u64 from, to, off;

        if (r == NULL || r->pgoff >= end) {
            break;
        }
        from = max(at, r->pgoff);
        to = min(end, r->pgoff + r->count);
        off = r->off + (from - r->pgoff) * PAGE_SIZE;
        if (run_cut(ti, r, from, to)) {
            memfile_unref(memfile, off, (to - from) * PAGE_SIZE);
            freed += to - from;
        } else { /* no memory to describe the hole: it reads as zeroes all the same */
            memset(memfile_window(memfile, off, (to - from) * PAGE_SIZE), 0,
                   (to - from) * PAGE_SIZE);
        }
        at = to;
    }
    __atomic_store_n(&ti->file.nr_pages, ti->file.nr_pages - freed, __ATOMIC_RELAXED);
    tmpfs_uncharge_pages(tmpfs_sb(ti->inode.sb), freed);
}

void tmpfs_pages_zero(struct tmpfs_inode *ti, u64 from, u64 to)
{
    struct tmpfs_run *r;
    u64 pgoff = from / PAGE_SIZE;

    if (from >= to) {
        return;
    }
    r = run_at_or_after(ti, pgoff);
    if (r != NULL && r->pgoff <= pgoff) {
        char *page = memfile_window(memfile, r->off + (pgoff - r->pgoff) * PAGE_SIZE, PAGE_SIZE);

        memset(page + from % PAGE_SIZE, 0, to - from);
    }
}

void tmpfs_pages_fini(struct tmpfs_inode *ti)
{
    spare_free(ti);
    tmpfs_pages_drop(ti, 0, UINT64_MAX / PAGE_SIZE);
    mappable_fini(&ti->file.mappable);
}
