/* SPDX-License-Identifier: Apache-2.0 */
/*
 * icache: chained hashing with a doubling table. The keys are hashed with the boot-time secret, as
 * a guest or a host-side writer may choose them.
 *
 * A link whose inode's count has dropped to zero stays until its release op removes it; a new inode
 * with the same key may be entered beside it meanwhile, as look-ups skip dying ones.
 */
#include "vfs/icache.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/heap.h"
#include "base/panic.h"
#include "vfs/vfs.h"

#define ICACHE_MIN_BUCKETS 64U
#define ICACHE_MAX_BUCKETS (1U << 20)

static u32 bucket_of(u64 key0, u64 key1, u32 nr_buckets)
{
    return (u32)(hash_u64(key0 * 0x9e3779b97f4a7c15ULL ^ key1) & (nr_buckets - 1));
}

int icache_init(struct icache *c)
{
    memset(c, 0, sizeof(*c));
    c->buckets = heap_alloc(ICACHE_MIN_BUCKETS * sizeof(*c->buckets));
    if (c->buckets == NULL) {
        return -ENOMEM;
    }
    c->nr_buckets = ICACHE_MIN_BUCKETS;
    return 0;
}

void icache_fini(struct icache *c)
{
    CHECK(c->count == 0, "%u inodes left", c->count);
    heap_free(c->buckets);
    c->buckets = NULL;
}

/* Twice the buckets, if there is memory; else the chains just get longer. Lock held. */
static void grow_locked(struct icache *c)
{
    u32 nr = c->nr_buckets * 2;
    struct icache_bucket *fresh;

    if (nr > ICACHE_MAX_BUCKETS) {
        return;
    }
    fresh = heap_alloc(nr * sizeof(*fresh));
    if (fresh == NULL) {
        return;
    }
    for (u32 i = 0; i < c->nr_buckets; i++) {
        struct icache_link *l;

        while ((l = LIST_FIRST(&c->buckets[i])) != NULL) {
            LIST_REMOVE(l, link);
            LIST_INSERT_HEAD(&fresh[bucket_of(l->key[0], l->key[1], nr)], l, link);
        }
    }
    heap_free(c->buckets);
    c->buckets = fresh;
    c->nr_buckets = nr;
}

static struct inode *find_locked(struct icache *c, u64 key0, u64 key1)
{
    struct icache_link *l;

    LIST_FOREACH (l, &c->buckets[bucket_of(key0, key1, c->nr_buckets)], link) {
        if (l->key[0] == key0 && l->key[1] == key1 && ref_get_unless_zero(&l->inode->ref)) {
            return l->inode;
        }
    }
    return NULL;
}

struct inode *icache_find(struct icache *c, u64 key0, u64 key1)
{
    SPIN_GUARD(&c->lock);
    return find_locked(c, key0, key1);
}

struct inode *icache_insert(struct icache *c, struct icache_link *l, struct inode *inode, u64 key0,
                            u64 key1)
{
    struct inode *there;

    SPIN_GUARD(&c->lock);
    there = find_locked(c, key0, key1);
    if (there != NULL) {
        return there;
    }
    if (c->count >= c->nr_buckets * 2) {
        grow_locked(c);
    }
    l->key[0] = key0;
    l->key[1] = key1;
    l->inode = inode;
    l->linked = true;
    LIST_INSERT_HEAD(&c->buckets[bucket_of(key0, key1, c->nr_buckets)], l, link);
    c->count++;
    return NULL;
}

static void remove_locked(struct icache *c, struct icache_link *l)
{
    if (l->linked) {
        LIST_REMOVE(l, link);
        l->linked = false;
        c->count--;
    }
}

void icache_remove(struct icache *c, struct icache_link *l)
{
    SPIN_GUARD(&c->lock);
    remove_locked(c, l);
}

struct inode *icache_pop(struct icache *c)
{
    SPIN_GUARD(&c->lock);
    for (u32 i = 0; i < c->nr_buckets; i++) {
        struct icache_link *l;

        LIST_FOREACH (l, &c->buckets[i], link) {
            if (ref_get_unless_zero(&l->inode->ref)) {
                remove_locked(c, l);
                return l->inode;
            }
        }
    }
    return NULL;
}
