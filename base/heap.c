/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Typed slab caches (DESIGN 5). A slab is one 64 KiB chunk: a header with a bitmap of used slots,
 * then the slots. The slab of an object is found by masking its address, the cache (and so the
 * type) by the header: frees are checked against both in every build. Slots never used are not
 * touched, so an almost empty cache costs two pages.
 *
 *     | struct slab | slot 0 [red zone] | slot 1 [red zone] | ...
 *
 * Debug builds put a red zone behind each object and poison freed slots; both are checked when the
 * slot is handed out again, the red zone also on free. ASan builds poison by shadow instead.
 *
 * Byte buffers (heap_alloc) use size classes up to 32 KiB; above that, whole runs of chunks with a
 * header of their own.
 *
 * Locking: one raw spin lock a cache. An empty slab is kept as a reserve; the second one goes back
 * to the host.
 */
#include "base/heap.h"

#include "base/err.h"
#include "base/heap_priv.h"
#include "base/panic.h"
#include "base/spin_priv.h"

#include <sys/queue.h>

#ifdef PAVISE_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n)   ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

#ifdef PAVISE_DEBUG
#define RED_ZONE 16
#else
#define RED_ZONE 0
#endif
#define RED_BYTE    0xbb
#define POISON_BYTE 0x6b
#define SLAB_MAGIC  0x50415653534c4142ULL
#define RUN_MAGIC   0x504156535255534eULL
#define MIN_SLOT    32
#define MAX_SLOTS   (CHUNK_SIZE / MIN_SLOT)

struct slab {
    u64 magic;
    struct cache *cache;
    LIST_ENTRY(slab) link;       /* (cache->lock) on cache->partial while a slot is free */
    u32 nr_slots, in_use, fresh; /* fresh: slots at and above it were never handed out */
    u32 hint;                    /* no free slot below this one, among those used before */
    u64 used[MAX_SLOTS / 64];
};

/* A run of chunks for one big buffer. */
struct big_run {
    u64 magic;
    size_t chunks;
    u8 pad[48];
};

struct cache {
    struct raw_spin lock;
    const char *name;                         /* (c) */
    u32 size, stride, first_offset, nr_slots; /* (c) */
    LIST_HEAD(slab_list, slab) partial;       /* (lock) */
    struct slab *reserve;                     /* (lock) one empty slab */
    u64 in_use, peak, allocated, slabs;       /* (lock) */
    LIST_ENTRY(cache) link;                   /* (heap_lock) */
};

#define NR_CLASSES 11 /* 32 B ... 32 KiB */

static LIST_HEAD(cache_list, cache) caches = LIST_HEAD_INITIALIZER(caches);
static struct raw_spin heap_lock;
static struct cache *meta; /* the cache of caches */
static struct cache *classes[NR_CLASSES];
static const char *const class_names[NR_CLASSES] = {
    "bytes-32",   "bytes-64",   "bytes-128",  "bytes-256",   "bytes-512",   "bytes-1024",
    "bytes-2048", "bytes-4096", "bytes-8192", "bytes-16384", "bytes-32768",
};
static void *root;
static _Atomic u64 big_in_use, fail_countdown;

extern struct cache_type *__start_pavise_caches[] __attribute__((weak));
extern struct cache_type *__stop_pavise_caches[] __attribute__((weak));

/* ---- slabs ---- */

static char *slot_address(const struct slab *s, u32 i)
{
    return (char *)s + s->cache->first_offset + (size_t)i * s->cache->stride;
}

static struct slab *slab_of(const void *obj)
{
    return (struct slab *)ALIGN_DOWN((u64)obj, CHUNK_SIZE);
}

static void cache_setup(struct cache *c, const char *name, size_t size, size_t align)
{
    size_t a = max(align, (size_t)16);

    c->name = name;
    c->size = (u32)size;
    c->stride = (u32)max((size_t)MIN_SLOT, ALIGN_UP(size + RED_ZONE, a));
    c->first_offset = (u32)ALIGN_UP(sizeof(struct slab), a);
    c->nr_slots = (u32)((CHUNK_SIZE - c->first_offset) / c->stride);
    LIST_INIT(&c->partial);
    CHECK(c->nr_slots > 0, "cache %s: objects of %zu bytes", name, size);
}

static struct slab *slab_new(struct cache *c)
{
    struct slab *s = chunk_alloc(1);

    if (s != NULL) {
        ASAN_UNPOISON_MEMORY_REGION(s, CHUNK_SIZE);
        s->magic = SLAB_MAGIC;
        s->cache = c;
        s->nr_slots = c->nr_slots;
        ASAN_POISON_MEMORY_REGION((char *)s + c->first_offset, CHUNK_SIZE - c->first_offset);
    }
    return s;
}

static bool slab_is_full(const struct slab *s)
{
    return s->in_use == s->nr_slots;
}

/* A free slot's number: a recycled one first (warm), else a fresh one. */
static u32 slab_take(struct slab *s, bool *recycled)
{
    u32 i = s->hint;

    if (s->in_use < s->fresh) {
        for (u32 w = i / 64;; w++) {
            u64 free = ~s->used[w];

            if (free != 0) {
                i = w * 64 + (u32)__builtin_ctzll(free);
                break;
            }
        }
        *recycled = i < s->fresh;
    } else {
        i = s->fresh;
        *recycled = false;
    }
    if (i >= s->fresh) {
        s->fresh = i + 1;
    }
    s->used[i / 64] |= 1ULL << (i % 64);
    s->hint = i;
    s->in_use++;
    return i;
}

static void check_poison(const struct cache *c, const u8 *p)
{
#if defined(PAVISE_DEBUG) && !defined(PAVISE_ASAN)
    for (u32 i = 0; i < c->size; i++) {
        CHECK(p[i] == POISON_BYTE, "%s at %p: written after free, offset %u", c->name,
              (const void *)p, i);
    }
#else
    (void)c;
    (void)p;
#endif
}

static void prepare(const struct cache *c, void *obj, bool recycled)
{
    ASAN_UNPOISON_MEMORY_REGION(obj, c->size);
    if (recycled) {
        check_poison(c, obj);
        memset(obj, 0, c->size);
    }
    if (RED_ZONE > 0) {
        ASAN_UNPOISON_MEMORY_REGION((char *)obj + c->size, c->stride - c->size);
        memset((char *)obj + c->size, RED_BYTE, c->stride - c->size);
        ASAN_POISON_MEMORY_REGION((char *)obj + ALIGN_UP(c->size, 8),
                                  c->stride - ALIGN_UP(c->size, 8));
    }
}

static void check_red_zone(const struct cache *c, const u8 *p)
{
#ifndef PAVISE_ASAN
    for (u32 i = c->size; RED_ZONE > 0 && i < c->stride; i++) {
        CHECK(p[i] == RED_BYTE, "%s at %p: overflow at offset %u", c->name, (const void *)p, i);
    }
#else
    (void)c;
    (void)p;
#endif
}

static bool should_fail(void)
{
#ifdef PAVISE_DEBUG
    u64 n = atomic_load_explicit(&fail_countdown, memory_order_relaxed);

    return unlikely(n != 0) &&
           atomic_fetch_sub_explicit(&fail_countdown, 1, memory_order_relaxed) == 1;
#else
    return false;
#endif
}

static void *alloc_from(struct cache *c)
{
    struct slab *s;
    bool recycled;
    void *obj;

    if (should_fail()) {
        return NULL;
    }
    raw_spin_lock(&c->lock);
    s = LIST_FIRST(&c->partial);
    if (s == NULL) {
        s = c->reserve != NULL ? c->reserve : slab_new(c);
        if (s == NULL) {
            raw_spin_unlock(&c->lock);
            return NULL;
        }
        c->slabs += s != c->reserve;
        c->reserve = NULL;
        LIST_INSERT_HEAD(&c->partial, s, link);
    }
    obj = slot_address(s, slab_take(s, &recycled));
    if (slab_is_full(s)) {
        LIST_REMOVE(s, link);
    }
    c->allocated++;
    c->in_use++;
    if (c->in_use > c->peak) {
        c->peak = c->in_use;
    }
    raw_spin_unlock(&c->lock);
    prepare(c, obj, recycled);
    return obj;
}

/* Give the slot back; an empty slab becomes the reserve or leaves. cache lock. */
static struct slab *slab_give(struct cache *c, struct slab *s, u32 i)
{
    bool was_full = slab_is_full(s);

    s->used[i / 64] &= ~(1ULL << (i % 64));
    s->hint = min(s->hint, i);
    s->in_use--;
    c->in_use--;
    if (was_full) {
        LIST_INSERT_HEAD(&c->partial, s, link);
    }
    if (s->in_use > 0) {
        return NULL;
    }
    if (c->reserve == NULL) {
        LIST_REMOVE(s, link);
        c->reserve = s;
        return NULL;
    }
    LIST_REMOVE(s, link);
    c->slabs--;
    return s;
}

static void free_to(struct cache *c, void *obj)
{
    struct slab *s = slab_of(obj), *empty;
    size_t off = (size_t)((char *)obj - (char *)s);
    u32 i;

    CHECK(chunk_contains(obj) && s->magic == SLAB_MAGIC, "free of %p, which is no object", obj);
    CHECK(s->cache == c, "free of %p to %s, it is a %s", obj, c->name, s->cache->name);
    CHECK(off >= c->first_offset && (off - c->first_offset) % c->stride == 0,
          "%s: free of %p, inside an object", c->name, obj);
    i = (u32)((off - c->first_offset) / c->stride);
    check_red_zone(c, obj);
    raw_spin_lock(&c->lock);
    if ((s->used[i / 64] & (1ULL << (i % 64))) == 0) {
        raw_spin_unlock(&c->lock);
        BUG("%s: double free of %p", c->name, obj);
    }
#if defined(PAVISE_DEBUG) && !defined(PAVISE_ASAN)
    memset(obj, POISON_BYTE, c->size);
#endif
    ASAN_POISON_MEMORY_REGION(obj, c->stride);
    empty = slab_give(c, s, i);
    raw_spin_unlock(&c->lock);
    if (empty != NULL) {
        chunk_free(empty, 1);
    }
}

/* ---- caches ---- */

static struct cache *cache_make(const char *name, size_t size, size_t align)
{
    struct cache *c = alloc_from(meta);

    if (c != NULL) {
        cache_setup(c, name, size, align);
        raw_spin_lock(&heap_lock);
        LIST_INSERT_HEAD(&caches, c, link);
        raw_spin_unlock(&heap_lock);
    }
    return c;
}

int heap_init(void)
{
    static struct cache first;
    struct cache_type **t;
    int err = chunk_init();

    if (err != 0) {
        return err;
    }
    cache_setup(&first, "cache", sizeof(struct cache), _Alignof(struct cache));
    meta = &first;
    for (unsigned i = 0; i < NR_CLASSES; i++) {
        classes[i] = cache_make(class_names[i], (size_t)MIN_SLOT << i, 16);
        if (classes[i] == NULL) {
            return -ENOMEM;
        }
    }
    for (t = __start_pavise_caches; t < __stop_pavise_caches; t++) {
        (*t)->cache = cache_make((*t)->name, (*t)->size, (*t)->align);
        if ((*t)->cache == NULL) {
            return -ENOMEM;
        }
    }
    return 0;
}

void *cache_alloc(struct cache_type *type)
{
    return alloc_from(type->cache);
}

void cache_free(struct cache_type *type, void *obj)
{
    if (obj != NULL) {
        free_to(type->cache, obj);
    }
}

/* ---- byte buffers ---- */

static void *big_alloc(size_t size)
{
    size_t chunks = (size + sizeof(struct big_run) + CHUNK_SIZE - 1) / CHUNK_SIZE;
    struct big_run *run = size > HEAP_SIZE || should_fail() ? NULL : chunk_alloc(chunks);

    if (run == NULL) {
        return NULL;
    }
    ASAN_UNPOISON_MEMORY_REGION(run, chunks * CHUNK_SIZE);
    run->magic = RUN_MAGIC;
    run->chunks = chunks;
    atomic_fetch_add_explicit(&big_in_use, 1, memory_order_relaxed);
    return run + 1;
}

void *heap_alloc(size_t size)
{
    unsigned shift = 0;

    if (size > (size_t)MIN_SLOT << (NR_CLASSES - 1)) {
        return big_alloc(size);
    }
    while (((size_t)MIN_SLOT << shift) < size) {
        shift++;
    }
    return alloc_from(classes[shift]);
}

void heap_free(void *p)
{
    struct slab *s;

    if (p == NULL) {
        return;
    }
    s = slab_of(p);
    CHECK(chunk_contains(p), "free of %p, which is not in the heap", p);
    if (s->magic == RUN_MAGIC && p == (void *)((struct big_run *)s + 1)) {
        size_t chunks = ((struct big_run *)s)->chunks;

        s->magic = 0;
        atomic_fetch_sub_explicit(&big_in_use, 1, memory_order_relaxed);
        chunk_free(s, chunks);
        return;
    }
    CHECK(s->magic == SLAB_MAGIC, "free of %p, which is no object", p);
    free_to(s->cache, p);
}

void *heap_realloc(void *p, size_t old_size, size_t new_size)
{
    void *q = heap_alloc(new_size);

    if (q != NULL && p != NULL) {
        memcpy(q, p, min(old_size, new_size));
        heap_free(p);
    }
    return q;
}

void *heap_memdup(const void *p, size_t size)
{
    void *q = heap_alloc(size);

    if (q != NULL) {
        memcpy(q, p, size);
    }
    return q;
}

char *heap_strdup(const char *s)
{
    return heap_memdup(s, strlen(s) + 1);
}

/* ---- root, statistics ---- */

void heap_set_root(void *r)
{
    root = r;
}

void *heap_root(void)
{
    return root;
}

void heap_for_each_cache(void (*fn)(const struct cache_stats *stats, void *arg), void *arg)
{
    struct cache *c;

    LIST_FOREACH (c, &caches, link) {
        struct cache_stats st = {.name = c->name,
                                 .object_size = c->size,
                                 .in_use = c->in_use,
                                 .peak = c->peak,
                                 .allocated = c->allocated,
                                 .pages = c->slabs * (CHUNK_SIZE / PAGE_SIZE)};

        fn(&st, arg);
    }
}

u64 heap_objects_in_use(void)
{
    u64 sum = atomic_load_explicit(&big_in_use, memory_order_relaxed);
    struct cache *c;

    LIST_FOREACH (c, &caches, link) {
        sum += c->in_use;
    }
    return sum;
}

const char *heap_type_of(const void *p)
{
    const struct slab *s = slab_of(p);

    if (!chunk_contains(p)) {
        return NULL;
    }
    return s->magic == SLAB_MAGIC ? s->cache->name : s->magic == RUN_MAGIC ? "bytes" : NULL;
}

void heap_fail_nth(u64 n)
{
    atomic_store_explicit(&fail_countdown, n, memory_order_relaxed);
}
