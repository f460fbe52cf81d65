/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Typed slab caches (DESIGN 5). A slab is one 64 KiB chunk cut into slots of one cache; which are
 * in use is a bitmap in the chunk's descriptor (heap_priv.h). Every free is checked against type,
 * slot boundary and bitmap, in every build. Slots never used are not touched, so an almost empty
 * cache costs one page.
 *
 *     | object | red zone ... | size |     the last two in debug builds only
 *
 * Debug builds fill the red zone and poison freed slots; the red zone is checked on free, the
 * poison when the slot is handed out again. ASan builds poison by shadow instead. Release builds
 * poison the beginning of a freed object, where its pointers are: a use after free faults.
 *
 * Empty slabs go back to the host, but for one a cache and a few more over all caches, so that a
 * number of objects that swings around the edge of a slab does not make host calls.
 *
 * Locking: a raw spin lock a cache, the chunk lock below it. Nothing else is taken.
 */
#include "base/heap.h"

#include "base/err.h"
#include "base/heap_priv.h"

#define RED_ZONE     (HEAP_DEBUG ? 16 : 0) /* at least; the last 4 bytes hold the object's size */
#define RED_BYTE     0xbb
#define POISON_BYTE  0x6b
#define POISON_SHORT 64 /* release builds poison no more than this */
#define MAX_RESERVE  16 /* empty slabs kept beyond one a cache */
#define COLOURS      (2 * KiB)

static _Atomic u64 fail_countdown;

extern struct cache_type *__start_pavise_caches[] __attribute__((weak));
extern struct cache_type *__stop_pavise_caches[] __attribute__((weak));

/* ---- what is in a slot ---- */

static u32 *slot_size_word(const struct cache *c, void *obj)
{
    return (u32 *)((char *)obj + c->stride - sizeof(u32));
}

/* Fill the red zone behind `size` bytes. The slot is accessible to us here. */
static void red_zone_set(const struct cache *c, void *obj, size_t size)
{
    if (HEAP_DEBUG) {
        ASAN_UNPOISON_MEMORY_REGION(obj, c->stride);
        memset((char *)obj + size, RED_BYTE, c->stride - size - sizeof(u32));
        *slot_size_word(c, obj) = (u32)size;
    }
    ASAN_POISON_MEMORY_REGION((char *)obj + size, c->stride - size);
}

static void red_zone_check(const struct cache *c, void *obj)
{
    const u8 *p = obj;
    u32 size;

    if (!HEAP_DEBUG) {
        return;
    }
    ASAN_UNPOISON_MEMORY_REGION(obj, c->stride);
    size = *slot_size_word(c, obj);
    CHECK(size <= c->size, "%s at %p: overflow over its size", c->name, obj);
    for (u32 i = size; i < c->stride - sizeof(u32); i++) {
        CHECK(p[i] == RED_BYTE, "%s at %p: overflow at offset %u of %u", c->name, obj, i, size);
    }
}

static void poison(const struct cache *c, void *obj)
{
    if (!HAVE_ASAN) {
        memset(obj, POISON_BYTE, HEAP_DEBUG ? c->size : min(c->size, (u32)POISON_SHORT));
    }
    ASAN_POISON_MEMORY_REGION(obj, c->stride);
}

static void poison_check(const struct cache *c, const void *obj)
{
    const u8 *p = obj;

    for (u32 i = 0; HEAP_DEBUG && !HAVE_ASAN && i < c->size; i++) {
        CHECK(p[i] == POISON_BYTE, "%s at %p: written after free, offset %u", c->name, obj, i);
    }
}

void slot_resize(const struct cache *c, void *obj, size_t old_size, size_t new_size)
{
    ASAN_UNPOISON_MEMORY_REGION(obj, new_size);
    if (new_size > old_size) {
        memset((char *)obj + old_size, 0, new_size - old_size);
    }
    red_zone_set(c, obj, new_size);
}

/* ---- slabs: all with the cache's lock held ---- */

static struct chunk *slab_new(struct cache *c)
{
    struct chunk *s = chunk_alloc(1);
    u32 room = (u32)CHUNK_SIZE - c->nr_slots * c->stride, step = max(c->align, (u32)CACHELINE);

    if (s == NULL) {
        return NULL;
    }
    s->cache = c;
    s->in_use = s->fresh = s->hint = 0;
    s->first = (u32)((u64)s / sizeof(*s) % (room / step + 1)) * step;
    memset(s->used, 0, sizeof(s->used));
    ASAN_POISON_MEMORY_REGION(chunk_address(s), CHUNK_SIZE);
    s->kind = CHUNK_SLAB;
    c->pages += CHUNK_SIZE / PAGE_SIZE;
    return s;
}

/* A free slot's number: a recycled one first (warm), else a fresh one. */
static u32 slab_take(struct chunk *s, bool *recycled)
{
    u32 i = s->fresh;

    *recycled = s->in_use < s->fresh;
    if (*recycled) {
        u32 w = s->hint / 64;

        while (s->used[w] == ~0ULL) {
            w++;
        }
        i = w * 64 + (u32)__builtin_ctzll(~s->used[w]);
    } else {
        s->fresh++;
    }
    s->used[i / 64] |= 1ULL << (i % 64);
    s->hint = i;
    s->in_use++;
    return i;
}

/* A slab with a free slot, on the partial list. */
static struct chunk *slab_find(struct cache *c)
{
    struct chunk *s = LIST_FIRST(&c->partial);

    if (likely(s != NULL)) {
        return s;
    }
    s = LIST_FIRST(&c->reserve);
    if (s != NULL) {
        LIST_REMOVE(s, link);
        c->nr_reserve--;
        atomic_fetch_sub_explicit(&HEAP->nr_reserve, 1, memory_order_relaxed);
    } else {
        s = slab_new(c);
    }
    if (s != NULL) {
        LIST_INSERT_HEAD(&c->partial, s, link);
    }
    return s;
}

/* Give slot i back. Returns the slab when it is to go back to the host. */
static struct chunk *slab_give(struct cache *c, struct chunk *s, u32 i)
{
    if (s->in_use == c->nr_slots) {
        LIST_INSERT_HEAD(&c->partial, s, link);
    }
    s->used[i / 64] &= ~(1ULL << (i % 64));
    s->hint = min(s->hint, i);
    s->in_use--;
    c->in_use--;
    if (s->in_use > 0) {
        return NULL;
    }
    LIST_REMOVE(s, link);
    if (c->nr_reserve > 0 &&
        atomic_load_explicit(&HEAP->nr_reserve, memory_order_relaxed) >= MAX_RESERVE) {
        c->pages -= CHUNK_SIZE / PAGE_SIZE;
        return s;
    }
    LIST_INSERT_HEAD(&c->reserve, s, link);
    c->nr_reserve++;
    atomic_fetch_add_explicit(&HEAP->nr_reserve, 1, memory_order_relaxed);
    return NULL;
}

/* ---- slots ---- */

bool heap_should_fail(void)
{
    u64 n = atomic_load_explicit(&fail_countdown, memory_order_relaxed);

    return HEAP_DEBUG && unlikely(n != 0) &&
           atomic_fetch_sub_explicit(&fail_countdown, 1, memory_order_relaxed) == 1;
}

void *slot_alloc(struct cache *c, size_t size)
{
    struct chunk *s;
    bool recycled;
    char *obj;

    if (heap_should_fail()) {
        return NULL;
    }
    raw_spin_lock(&c->lock);
    s = slab_find(c);
    if (s == NULL) {
        raw_spin_unlock(&c->lock);
        return NULL;
    }
    obj = (char *)chunk_address(s) + s->first + (size_t)slab_take(s, &recycled) * c->stride;
    if (s->in_use == c->nr_slots) {
        LIST_REMOVE(s, link);
    }
    c->allocated++;
    c->in_use++;
    c->peak = max(c->peak, c->in_use);
    raw_spin_unlock(&c->lock);
    ASAN_UNPOISON_MEMORY_REGION(obj, c->stride);
    if (recycled) {
        poison_check(c, obj);
        memset(obj, 0, size);
    }
    red_zone_set(c, obj, size);
    return obj;
}

/* The slot that begins at obj; a pointer to anything else ends the sentry. */
static u32 slot_index(const struct cache *c, const struct chunk *s, const void *obj)
{
    u32 off = (u32)((u64)obj % CHUNK_SIZE) - s->first;

    CHECK(off % c->stride == 0 && off / c->stride < c->nr_slots, "%s: free of %p, inside an object",
          c->name, obj);
    return off / c->stride;
}

static bool slot_is_used(const struct chunk *s, u32 i)
{
    return (s->used[i / 64] & (1ULL << (i % 64))) != 0;
}

void slot_free(struct cache *c, struct chunk *s, void *obj)
{
    struct chunk *empty;
    u32 i;

    CHECK(s != NULL && s->kind == CHUNK_SLAB, "free of %p, which is no object", obj);
    CHECK(s->cache == c, "free of %p to %s, it is a %s", obj, c->name, s->cache->name);
    i = slot_index(c, s, obj);
    red_zone_check(c, obj); /* a slot that was freed before passes and is found out below */
    poison(c, obj);
    raw_spin_lock(&c->lock);
    if (!slot_is_used(s, i)) {
        raw_spin_unlock(&c->lock);
        BUG("%s: double free of %p", c->name, obj);
    }
    empty = slab_give(c, s, i);
    raw_spin_unlock(&c->lock);
    if (empty != NULL) {
        chunk_free(empty, 1);
    }
}

void *cache_alloc(struct cache_type *type)
{
    return slot_alloc(type->cache, type->size);
}

void cache_free(struct cache_type *type, void *obj)
{
    if (obj != NULL) {
        slot_free(type->cache, chunk_of(obj), obj);
    }
}

/* ---- caches ---- */

void cache_setup(struct cache *c, const char *name, size_t size, size_t align)
{
    u32 spare;

    c->align = (u32)max(align, (size_t)16);
    c->size = (u32)size;
    c->stride = ALIGN_UP((u32)max(size + RED_ZONE, (size_t)MIN_SLOT), c->align);
    spare = c->stride <= COLOURS / 2 ? COLOURS : 0;
    c->nr_slots = ((u32)CHUNK_SIZE - spare) / c->stride;
    CHECK(size <= CHUNK_SIZE && c->nr_slots > 0, "cache %s: objects of %zu bytes", name, size);
    strncpy(c->name, name, sizeof(c->name) - 1);
    LIST_INIT(&c->partial);
    LIST_INIT(&c->reserve);
}

/* by_name: cache numbers in order of name, for statistics. */
static void sort_names(void)
{
    for (u32 i = 0; i < HEAP->nr_caches; i++) {
        u32 k = i;

        for (; k > 0 && strcmp(HEAP->caches[HEAP->by_name[k - 1]].name, HEAP->caches[i].name) > 0;
             k--) {
            HEAP->by_name[k] = HEAP->by_name[k - 1];
        }
        HEAP->by_name[k] = (u16)i;
    }
}

int heap_init(void)
{
    int err = chunk_init();

    if (err != 0) {
        return err;
    }
    heap_bytes_init();
    for (struct cache_type **t = __start_pavise_caches; t < __stop_pavise_caches; t++) {
        CHECK(HEAP->nr_caches < MAX_CACHES, "too many caches");
        (*t)->cache = &HEAP->caches[HEAP->nr_caches++];
        cache_setup((*t)->cache, (*t)->name, (*t)->size, (*t)->align);
    }
    sort_names();
    return 0;
}

static void cache_trim(struct cache *c)
{
    struct chunk *s;

    do {
        raw_spin_lock(&c->lock);
        s = LIST_FIRST(&c->reserve);
        if (s != NULL) {
            LIST_REMOVE(s, link);
            c->nr_reserve--;
            c->pages -= CHUNK_SIZE / PAGE_SIZE;
            atomic_fetch_sub_explicit(&HEAP->nr_reserve, 1, memory_order_relaxed);
        }
        raw_spin_unlock(&c->lock);
        if (s != NULL) {
            chunk_free(s, 1);
        }
    } while (s != NULL);
}

void heap_trim(void)
{
    for (u32 i = 0; i < HEAP->nr_caches; i++) {
        cache_trim(&HEAP->caches[i]);
    }
    heap_bytes_trim();
}

/* ---- root, statistics ---- */

void heap_set_root(void *root)
{
    HEAP->root = root;
}

void *heap_root(void)
{
    return HEAP->root;
}

static struct cache_stats cache_read_stats(struct cache *c)
{
    struct cache_stats st;

    raw_spin_lock(&c->lock);
    st = (struct cache_stats){.name = c->name,
                              .object_size = c->size,
                              .in_use = c->in_use,
                              .peak = c->peak,
                              .allocated = c->allocated,
                              .pages = c->pages};
    raw_spin_unlock(&c->lock);
    return st;
}

void heap_for_each_cache(void (*fn)(const struct cache_stats *stats, void *arg), void *arg)
{
    for (u32 i = 0; i < HEAP->nr_caches; i++) {
        struct cache_stats st = cache_read_stats(&HEAP->caches[HEAP->by_name[i]]);

        fn(&st, arg);
    }
}

u64 heap_objects_in_use(void)
{
    u64 sum = 0;

    for (u32 i = 0; i < HEAP->nr_caches; i++) {
        sum += cache_read_stats(&HEAP->caches[i]).in_use;
    }
    return sum;
}

const char *heap_type_of(const void *p)
{
    const struct chunk *s = chunk_of(p);
    u32 off, i;

    if (s == NULL || (s->kind != CHUNK_SLAB && s->kind != CHUNK_BIG && s->kind != CHUNK_BIG_PART)) {
        return NULL;
    }
    if (s->kind != CHUNK_SLAB) {
        return HEAP->big->name;
    }
    off = (u32)((u64)p % CHUNK_SIZE) - s->first;
    i = off / s->cache->stride;
    if (i >= s->cache->nr_slots || !slot_is_used(s, i) ||
        off % s->cache->stride >= s->cache->size) {
        return NULL;
    }
    return s->cache->name;
}

void heap_fail_nth(u64 n)
{
    atomic_store_explicit(&fail_countdown, n, memory_order_relaxed);
}
