/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idr: a radix tree of 64-way nodes. Each node keeps a bit per slot: "something below" (used) and
 * "everything below is taken" (full), so that the lowest free id is found by bit scans.
 */
#include "base/idr.h"

#include "base/err.h"
#include "base/heap.h"

#define BITS   6
#define FANOUT 64U
#define MASK   (FANOUT - 1)

struct idr_node {
    u64 used, full;
    void *slot[FANOUT]; /* children, or the entries in the lowest level */
};

DEFINE_CACHE(idr_node_cache, struct idr_node);

void idr_init(struct idr *idr)
{
    memset(idr, 0, sizeof(*idr));
}

static void node_free(struct idr_node *n, u32 level)
{
    if (n == NULL) {
        return;
    }
    for (u32 i = 0; level > 1 && i < FANOUT; i++) {
        node_free(n->slot[i], level - 1);
    }
    cache_del(idr_node_cache, n);
}

void idr_fini(struct idr *idr)
{
    node_free(idr->root, idr->levels);
    idr_init(idr);
}

static u64 capacity(const struct idr *idr)
{
    return idr->levels == 0 ? 0 : 1ULL << (BITS * idr->levels);
}

/* Make the tree tall enough for id. */
static int grow(struct idr *idr, u32 id)
{
    while (id >= capacity(idr)) {
        struct idr_node *n = cache_new(idr_node_cache);

        if (n == NULL) {
            return -ENOMEM;
        }
        if (idr->root != NULL) {
            n->slot[0] = idr->root;
            n->used = 1;
            n->full = idr->root->full == ~0ULL;
        }
        idr->root = n;
        idr->levels++;
    }
    return 0;
}

static u32 index_at(u32 id, u32 level)
{
    return (id >> (BITS * (level - 1))) & MASK;
}

/* Child i of n has changed: an empty one goes (also after a failed insertion), a full one is noted.
 */
static void node_update(struct idr_node *n, u32 i)
{
    struct idr_node *child = n->slot[i];

    n->full &= ~(1ULL << i);
    if (child->used == 0) {
        cache_del(idr_node_cache, child);
        n->slot[i] = NULL;
        n->used &= ~(1ULL << i);
    } else if (child->full == ~0ULL) {
        n->full |= 1ULL << i;
    }
}

static int node_insert(struct idr_node *n, u32 level, u32 id, void *ptr)
{
    u32 i = index_at(id, level);
    int err;

    if (level == 1) {
        if (n->slot[i] != NULL) {
            return -EEXIST;
        }
        n->slot[i] = ptr;
        n->used |= 1ULL << i;
        n->full |= 1ULL << i;
        return 0;
    }
    if (n->slot[i] == NULL) {
        n->slot[i] = cache_new(idr_node_cache);
        if (n->slot[i] == NULL) {
            return -ENOMEM;
        }
        n->used |= 1ULL << i;
    }
    err = node_insert(n->slot[i], level - 1, id, ptr);
    node_update(n, i);
    return err;
}

int idr_insert(struct idr *idr, void *ptr, u32 id)
{
    int err = grow(idr, id);

    if (err == 0) {
        err = node_insert(idr->root, idr->levels, id, ptr);
    }
    if (err == 0) {
        idr->count++;
    }
    return err;
}

/* The lowest free id >= from below n, whose ids begin at base; -1: none. */
static s64 node_find_free(const struct idr_node *n, u32 level, u64 base, u64 from)
{
    u64 span = 1ULL << (BITS * (level - 1));
    u32 i = from > base ? (u32)((from - base) / span) : 0;

    for (; i < FANOUT; i++) {
        u64 start = base + i * span;

        if ((n->full & (1ULL << i)) != 0) {
            continue;
        }
        if (level == 1 || n->slot[i] == NULL) {
            return (s64)max(start, from);
        }
        s64 id = node_find_free(n->slot[i], level - 1, start, from);
        if (id >= 0) {
            return id;
        }
    }
    return -1;
}

static s64 find_free(const struct idr *idr, u32 from)
{
    s64 id;

    if (from >= capacity(idr)) {
        return from;
    }
    id = node_find_free(idr->root, idr->levels, 0, from);
    return id >= 0 ? id : (s64)capacity(idr);
}

int idr_alloc(struct idr *idr, void *ptr, u32 low, u32 high)
{
    s64 id = find_free(idr, low);
    int err;

    if (id >= min(high, (u32)INT32_MAX)) {
        return -ENOSPC;
    }
    err = idr_insert(idr, ptr, (u32)id);
    return err != 0 ? err : (int)id;
}

int idr_alloc_cyclic(struct idr *idr, void *ptr, u32 low, u32 high)
{
    int id = idr_alloc(idr, ptr, max(low, idr->next), high);

    if (id == -ENOSPC) {
        id = idr_alloc(idr, ptr, low, high);
    }
    if (id >= 0) {
        idr->next = (u32)id + 1;
    }
    return id;
}

static void **find_slot(const struct idr *idr, u32 id)
{
    struct idr_node *n = idr->root;

    if (id >= capacity(idr)) {
        return NULL;
    }
    for (u32 level = idr->levels; level > 1 && n != NULL; level--) {
        n = n->slot[index_at(id, level)];
    }
    return n != NULL ? &n->slot[id & MASK] : NULL;
}

void *idr_find(const struct idr *idr, u32 id)
{
    void **slot = find_slot(idr, id);

    return slot != NULL ? *slot : NULL;
}

void *idr_replace(struct idr *idr, void *ptr, u32 id)
{
    void **slot = find_slot(idr, id);
    void *old = slot != NULL ? *slot : NULL;

    if (old != NULL) {
        *slot = ptr;
    }
    return old;
}

static void *node_remove(struct idr_node *n, u32 level, u32 id)
{
    u32 i = index_at(id, level);
    void *old = n->slot[i];

    if (old == NULL) {
        return NULL;
    }
    if (level == 1) {
        n->slot[i] = NULL;
        n->used &= ~(1ULL << i);
        n->full &= ~(1ULL << i);
        return old;
    }
    old = node_remove(old, level - 1, id);
    node_update(n, i);
    return old;
}

void *idr_remove(struct idr *idr, u32 id)
{
    void *old = id < capacity(idr) ? node_remove(idr->root, idr->levels, id) : NULL;

    if (old != NULL) {
        idr->count--;
    }
    return old;
}

static void *node_next(const struct idr_node *n, u32 level, u64 base, u32 *id)
{
    u64 span = 1ULL << (BITS * (level - 1));
    u32 i = *id > base ? (u32)((*id - base) / span) : 0;

    for (; i < FANOUT; i++) {
        if ((n->used & (1ULL << i)) == 0) {
            continue;
        }
        if (level == 1) {
            *id = (u32)(base + i);
            return n->slot[i];
        }
        void *p = node_next(n->slot[i], level - 1, base + i * span, id);
        if (p != NULL) {
            return p;
        }
    }
    return NULL;
}

void *idr_next(const struct idr *idr, u32 *id)
{
    return *id < capacity(idr) ? node_next(idr->root, idr->levels, 0, id) : NULL;
}
