/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VMA tree: find, split, merge.
 *
 * Life of a VMA: vma_alloc (no object) or vma_clone (the same object, one more mapping of it) ->
 * vma_insert -> vma_remove, which puts it on a list of dead ones -> vma_list_put, without locks,
 * because putting a file may call into a file system.
 *
 * Invalidation by a file comes with the mappable's lock held and takes only pma_lock. So start,
 * end, off, flags and gone are written under mm->lock and pma_lock, and a VMA is linked and
 * unlinked outside of pma_lock. A VMA that left the tree is marked gone: its range may belong to
 * another mapping before it is unlinked.
 */
#include "base/log.h"
#include "sentry/mm/mm_priv.h"
#include "vfs/vfs.h"

DEFINE_CACHE(vma_cache, struct vma);

static int vma_cmp(const struct vma *a, const struct vma *b)
{
    return a->start < b->start ? -1 : a->start > b->start;
}
RB_GENERATE_STATIC(vma_tree, vma, link, vma_cmp)

bool vma_is_private(const struct vma *v)
{
    return (v->flags & VMA_SHARED) == 0;
}

struct vma *vma_find(struct mm *mm, uaddr addr)
{
    struct vma *v = RB_ROOT(&mm->vmas), *best = NULL;

    while (v != NULL) {
        if (v->end > addr) {
            best = v;
            v = RB_LEFT(v, link);
        } else {
            v = RB_RIGHT(v, link);
        }
    }
    return best;
}

struct vma *vma_first(struct mm *mm)
{
    return RB_MIN(vma_tree, &mm->vmas);
}

struct vma *vma_at(struct mm *mm, uaddr addr)
{
    struct vma *v = vma_find(mm, addr);

    return v != NULL && v->start <= addr ? v : NULL;
}

struct vma *vma_before(struct vma *v)
{
    return RB_PREV(vma_tree, &v->mm->vmas, v);
}

struct vma *vma_next(struct vma *v)
{
    return RB_NEXT(vma_tree, &v->mm->vmas, v);
}

struct vma *vma_prev(struct mm *mm, uaddr start)
{
    struct vma *v = RB_ROOT(&mm->vmas), *best = NULL;

    while (v != NULL) {
        if (v->end <= start) {
            best = v;
            v = RB_RIGHT(v, link);
        } else {
            v = RB_LEFT(v, link);
        }
    }
    return best;
}

/* ---- invalidation ---- */

/* Drop the frames of one PMA range as the file says; pma_lock held. */
static void invalidate_range(struct mm *mm, uaddr start, uaddr end, bool even_private)
{
    struct pma *p;
    uaddr at = start;

    while (at < end && (p = pma_find(mm, at)) != NULL && p->start < end) {
        uaddr s = max(p->start, start), e = min(p->end, end);

        at = e;
        if ((even_private || !p->owned) && pma_drop(mm, s, e) != 0) {
            log_warn(LOG_MM, "no memory to drop frames of a changed file");
        }
    }
    (void)host_flush(mm); /* on error the frames wait for the end of the address space */
    pma_refill(mm);
}

/* mapping_link.invalidate: mappable->lock is held. */
static void vma_invalidate(struct mapping_link *l, u64 off, u64 len, bool even_private)
{
    struct vma *v = container_of(l, struct vma, mlink);
    u64 size, from, to;

    MUTEX_GUARD(&v->mm->pma_lock);
    size = v->end - v->start;
    if (v->gone || len == 0 || off >= v->off + size) {
        return;
    }
    to = len > UINT64_MAX - off ? UINT64_MAX : off + len;
    if (to <= v->off) {
        return;
    }
    from = off > v->off ? ALIGN_DOWN(off - v->off, PAGE_SIZE) : 0;
    to = min(to - v->off, size);
    invalidate_range(v->mm, v->start + from, v->start + ALIGN_UP(to, PAGE_SIZE), even_private);
}

/* ---- life ---- */

struct vma *vma_alloc(struct mm *mm)
{
    struct vma *v = cache_new(vma_cache);

    if (v != NULL) {
        v->mm = mm;
        v->mlink.invalidate = vma_invalidate;
    }
    return v;
}

static bool vma_counts_writer(const struct vma *v)
{
    return (v->flags & VMA_SHARED) != 0 && (v->flags & VMA_MAYWRITE) != 0;
}

struct vma *vma_clone(struct mm *mm, const struct vma *v)
{
    struct vma *n = vma_alloc(mm);

    if (n == NULL) {
        return NULL;
    }
    n->start = v->start;
    n->end = v->end;
    n->off = v->off;
    n->prot = v->prot;
    n->flags = v->flags;
    n->name = v->name;
    n->mappable = v->mappable;
    /* A file that was sealed against new writers meanwhile keeps those it has. */
    n->uncounted = v->mappable != NULL && v->mappable->ops->mapping_added != NULL &&
                   v->mappable->ops->mapping_added(v->mappable, vma_counts_writer(v)) != 0;
    n->file = v->file != NULL ? file_get(v->file) : NULL;
    return n;
}

void vma_free(struct vma *v)
{
    if (v->mappable != NULL && v->mappable->ops->mapping_removed != NULL && !v->uncounted) {
        v->mappable->ops->mapping_removed(v->mappable, vma_counts_writer(v));
    }
    file_put(v->file);
    cache_del(vma_cache, v);
}

void vma_insert(struct vma *v)
{
    struct mm *mm = v->mm;

    if (v->mappable != NULL && !v->linked) {
        mappable_link(v->mappable, &v->mlink);
        v->linked = true;
    }
    CHECK(RB_INSERT(vma_tree, &mm->vmas, v) == NULL, "two VMAs at %#lx", (unsigned long)v->start);
    mm->nr_vmas++;
    limits_account(mm, v, v->end - v->start, true);
}

/* Out of the tree; pma_lock is taken so that invalidation sees `gone`. */
void vma_remove(struct vma *v, struct vma_list *dead)
{
    struct mm *mm = v->mm;

    mutex_lock(&mm->pma_lock);
    v->gone = true;
    mutex_unlock(&mm->pma_lock);
    RB_REMOVE(vma_tree, &mm->vmas, v);
    mm->nr_vmas--;
    limits_account(mm, v, v->end - v->start, false);
    SLIST_INSERT_HEAD(dead, v, dead);
}

void vma_lock_file(struct vma *v)
{
    if (v->mappable != NULL) {
        mutex_lock(&v->mappable->lock);
    }
}

void vma_unlock_file(struct vma *v)
{
    if (v->mappable != NULL) {
        mutex_unlock(&v->mappable->lock);
    }
}

void vma_link_locked(struct vma *v)
{
    if (v->mappable != NULL) {
        LIST_INSERT_HEAD(&v->mappable->links, &v->mlink, link);
        v->linked = true;
    }
}

void vma_list_put(struct vma_list *dead)
{
    struct vma *v;

    while ((v = SLIST_FIRST(dead)) != NULL) {
        SLIST_REMOVE_HEAD(dead, dead);
        if (v->linked) {
            mappable_unlink(v->mappable, &v->mlink);
        }
        vma_free(v);
    }
}

/* ---- changes ---- */

void vma_set_range(struct vma *v, uaddr start, uaddr end)
{
    struct mm *mm = v->mm;

    limits_account(mm, v, v->end - v->start, false);
    mutex_lock(&mm->pma_lock);
    if (v->mappable != NULL) {
        v->off += start - v->start;
    }
    v->start = start;
    v->end = end;
    mutex_unlock(&mm->pma_lock);
    limits_account(mm, v, end - start, true);
}

void vma_set_flags(struct vma *v, u32 prot, u32 flags)
{
    struct mm *mm = v->mm;

    limits_account(mm, v, v->end - v->start, false);
    mutex_lock(&mm->pma_lock);
    v->prot = prot;
    v->flags = flags;
    mutex_unlock(&mm->pma_lock);
    limits_account(mm, v, v->end - v->start, true);
}

int vma_split(struct vma *v, uaddr at)
{
    struct mm *mm = v->mm;
    struct vma *upper;

    if (mm->nr_vmas >= MAX_VMAS) {
        return -ENOMEM;
    }
    upper = vma_clone(mm, v);
    if (upper == NULL) {
        return -ENOMEM;
    }
    upper->start = at;
    upper->off = v->mappable != NULL ? v->off + (at - v->start) : 0;
    vma_insert(upper); /* first, so that no page is ever without a link to its file */
    vma_set_range(v, v->start, at);
    return 0;
}

int vma_isolate(struct mm *mm, uaddr start, uaddr end)
{
    struct vma *v = vma_at(mm, start);

    if (v != NULL && v->start < start) {
        int err = vma_split(v, start);

        if (err != 0) {
            return err;
        }
    }
    v = vma_at(mm, end);
    if (v != NULL && v->start < end) {
        return vma_split(v, end);
    }
    return 0;
}

static bool vma_joins(const struct vma *a, const struct vma *b)
{
    return a->end == b->start && a->prot == b->prot && a->flags == b->flags &&
           (a->flags & VMA_SPECIAL) == 0 && a->file == b->file && a->mappable == b->mappable &&
           a->name == b->name && (a->mappable == NULL || a->off + (a->end - a->start) == b->off);
}

/* Merge every compatible pair that touches [start, end]. */
void vma_merge(struct mm *mm, uaddr start, uaddr end, struct vma_list *dead)
{
    struct vma *v = vma_prev(mm, start);

    if (v == NULL) {
        v = vma_find(mm, start);
    }
    while (v != NULL && v->start <= end) {
        struct vma *next = vma_next(v);

        if (next == NULL || !vma_joins(v, next)) {
            v = next;
            continue;
        }
        end = max(end, next->end);
        vma_lock_file(v); /* an invalidation sees both or the merged one */
        vma_set_range(v, v->start, next->end);
        vma_remove(next, dead);
        vma_unlock_file(v);
    }
}
