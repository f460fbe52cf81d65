/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PMA tree: which frames are behind the guest's pages. Ranges never overlap. A PMA on the
 * memory file holds one reference on each of its frames; one on a host file lives under the VMA's
 * file reference.
 *
 * Frames that leave the tree go to mm->dying and are given back by host_flush once the host has
 * dropped its mappings of them. If the host refuses (out of mappings), they wait there until the
 * address space is freed: a leak until exit, never a use after free.
 */
#include "sentry/mm/mm_priv.h"

DEFINE_CACHE(pma_cache, struct pma);

static int pma_cmp(const struct pma *a, const struct pma *b)
{
    return a->start < b->start ? -1 : a->start > b->start;
}
RB_GENERATE_STATIC(pma_tree, pma, link, pma_cmp)

struct pma *pma_find(struct mm *mm, uaddr addr)
{
    struct pma *p = RB_ROOT(&mm->pmas), *best = NULL;

    while (p != NULL) {
        if (p->end > addr) {
            best = p;
            p = RB_LEFT(p, link);
        } else {
            p = RB_RIGHT(p, link);
        }
    }
    return best;
}

struct pma *pma_at(struct mm *mm, uaddr addr)
{
    struct pma *p = pma_find(mm, addr);

    return p != NULL && p->start <= addr ? p : NULL;
}

struct pma *pma_prev(struct mm *mm, uaddr addr)
{
    struct pma *p = pma_find(mm, addr);

    return p != NULL ? RB_PREV(pma_tree, &mm->pmas, p) : RB_MAX(pma_tree, &mm->pmas);
}

struct pma *pma_next(struct pma *p)
{
    return RB_NEXT(pma_tree, NULL, p);
}

/* Memory for a PMA: fresh, or one of the spares. */
static struct pma *pma_alloc(struct mm *mm)
{
    struct pma *p = cache_new(pma_cache);

    for (size_t i = 0; p == NULL && i < ARRAY_SIZE(mm->spare); i++) {
        p = mm->spare[i];
        mm->spare[i] = NULL;
    }
    return p;
}

void pma_refill(struct mm *mm)
{
    for (size_t i = 0; i < ARRAY_SIZE(mm->spare); i++) {
        if (mm->spare[i] == NULL) {
            mm->spare[i] = cache_new(pma_cache);
        }
    }
}

static void pma_insert(struct mm *mm, struct pma *p)
{
    CHECK(RB_INSERT(pma_tree, &mm->pmas, p) == NULL, "two PMAs at %#lx", (unsigned long)p->start);
    mm->nr_pmas++;
}

static void pma_remove(struct mm *mm, struct pma *p)
{
    RB_REMOVE(pma_tree, &mm->pmas, p);
    mm->nr_pmas--;
}

/* A boundary at `at`, if a PMA crosses it. */
static int pma_split(struct mm *mm, uaddr at)
{
    struct pma *p = pma_at(mm, at), *n;

    if (p == NULL || p->start == at) {
        return 0;
    }
    n = pma_alloc(mm);
    if (n == NULL) {
        return -ENOMEM;
    }
    *n = *p;
    n->start = at;
    n->off = p->off + (at - p->start);
    p->end = at;
    pma_insert(mm, n);
    return 0;
}

int pma_isolate(struct mm *mm, uaddr start, uaddr end)
{
    int err = pma_split(mm, start);

    return err != 0 ? err : pma_split(mm, end);
}

struct pma *pma_add(struct mm *mm, const struct pma *tmpl)
{
    struct pma *p = pma_alloc(mm);

    if (p == NULL) {
        if (tmpl->fd < 0) {
            memfile_unref(memfile, tmpl->off, tmpl->end - tmpl->start);
        }
        return NULL;
    }
    *p = *tmpl;
    pma_insert(mm, p);
    return p;
}

static bool pma_joins(const struct pma *a, const struct pma *b)
{
    return a->end == b->start && a->fd == b->fd && a->off + (a->end - a->start) == b->off &&
           a->need_cow == b->need_cow && a->writable == b->writable && a->owned == b->owned &&
           a->mapped == b->mapped;
}

struct pma *pma_merge_left(struct mm *mm, struct pma *p)
{
    struct pma *q = RB_PREV(pma_tree, &mm->pmas, p);

    if (q == NULL || !pma_joins(q, p)) {
        return p;
    }
    pma_remove(mm, p);
    q->end = p->end;
    cache_del(pma_cache, p);
    return q;
}

int pma_drop(struct mm *mm, uaddr start, uaddr end)
{
    int err = pma_isolate(mm, start, end);
    struct pma *p, *next;
    uaddr from = end, to = start;

    if (err != 0) {
        return err;
    }
    for (p = pma_find(mm, start); p != NULL && p->start < end; p = next) {
        next = pma_next(p);
        if (p->mapped) {
            from = min(from, p->start);
            to = p->end;
        }
        pma_remove(mm, p);
        SLIST_INSERT_HEAD(&mm->dying, p, dead);
    }
    if (from < to) {
        host_unmap(mm, from, to);
    }
    return 0;
}

int pma_move(struct mm *mm, uaddr start, uaddr end, uaddr to)
{
    int err = pma_isolate(mm, start, end);
    struct pma *p, *next;
    uaddr from = end, upto = start;

    if (err != 0) {
        return err;
    }
    for (p = pma_find(mm, start); p != NULL && p->start < end; p = next) {
        next = pma_next(p);
        if (p->mapped) {
            from = min(from, p->start);
            upto = p->end;
        }
        pma_remove(mm, p);
        p->end = p->end - start + to;
        p->start = p->start - start + to;
        p->mapped = false;
        pma_insert(mm, p);
    }
    if (from < upto) {
        host_unmap(mm, from, upto);
    }
    return 0;
}

int pma_retire(struct mm *mm, int fd, u64 off, u64 len)
{
    struct pma *p;

    if (fd >= 0) {
        return 0;
    }
    p = pma_alloc(mm);
    if (p == NULL) {
        return -ENOMEM;
    }
    *p = (struct pma){.start = 0, .end = len, .off = off, .fd = fd};
    SLIST_INSERT_HEAD(&mm->dying, p, dead);
    return 0;
}

/* The host shows none of the dying frames any more: give them back. */
void pma_reap(struct mm *mm)
{
    struct pma *p;

    while ((p = SLIST_FIRST(&mm->dying)) != NULL) {
        SLIST_REMOVE_HEAD(&mm->dying, dead);
        if (p->fd < 0) {
            memfile_unref(memfile, p->off, p->end - p->start);
        }
        cache_del(pma_cache, p);
    }
}

void pma_free_all(struct mm *mm)
{
    struct pma *p;

    while ((p = RB_ROOT(&mm->pmas)) != NULL) {
        pma_remove(mm, p);
        SLIST_INSERT_HEAD(&mm->dying, p, dead);
    }
    pma_reap(mm);
    for (size_t i = 0; i < ARRAY_SIZE(mm->spare); i++) {
        cache_del(pma_cache, mm->spare[i]);
        mm->spare[i] = NULL;
    }
}
