/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Byte buffers of the kernel heap: size classes 32, 48, 64, 96 ... 32 KiB, each a cache of its own;
 * above that, runs of chunks. The pointer alone says which: heap_free checks as cache_free does.
 *
 * A few freed runs of moderate length keep their memory for the next buffer of that length: bounce
 * buffers would spend more time in the host's page faults than in their copies.
 */
#include "base/heap.h"

#include "base/heap_priv.h"

void heap_bytes_init(void)
{
    for (u32 i = 0; i < NR_CLASSES; i++) {
        size_t size = ((size_t)MIN_SLOT << (i / 2)) * (2 + i % 2) / 2;
        char name[24] = "bytes-";
        char digits[8];
        u32 at = sizeof(digits);

        for (size_t rest = size; rest > 0; rest /= 10) {
            digits[--at] = (char)('0' + rest % 10);
        }
        memcpy(name + strlen(name), digits + at, sizeof(digits) - at);
        HEAP->classes[i] = &HEAP->caches[HEAP->nr_caches++];
        cache_setup(HEAP->classes[i], name, size, 16);
    }
    HEAP->big = &HEAP->caches[HEAP->nr_caches++];
    cache_setup(HEAP->big, "bytes-big", 0, 16);
}

/* The class of a size up to MAX_CLASS: two a power of two. */
static u32 class_of(size_t size)
{
    u32 shift; /* the power of two that holds it */

    if (size <= MIN_SLOT) {
        return 0;
    }
    shift = 64 - (u32)__builtin_clzl(size - 1) - 5;
    return size <= ((size_t)MIN_SLOT << (shift - 1)) / 2 * 3 ? 2 * shift - 1 : 2 * shift;
}

static bool is_class(const struct cache *c)
{
    return c >= HEAP->classes[0] && c <= HEAP->classes[NR_CLASSES - 1];
}

/* One run more or less in the statistics. */
static void count_big(s64 objects, u32 chunks)
{
    struct cache *big = HEAP->big;

    raw_spin_lock(&big->lock);
    big->in_use += (u64)objects;
    big->allocated += objects > 0;
    big->peak = max(big->peak, big->in_use);
    big->pages += (u64)objects * chunks * (CHUNK_SIZE / PAGE_SIZE);
    raw_spin_unlock(&big->lock);
}

/* A kept run of this length, its memory as it was left. */
static struct chunk *kept_take(u32 count)
{
    struct chunk *c = NULL;

    raw_spin_lock(&HEAP->big->lock);
    for (u32 i = 0; i < NR_KEPT && c == NULL; i++) {
        if (HEAP->kept[i] != NULL && HEAP->kept[i]->count == count) {
            c = HEAP->kept[i];
            HEAP->kept[i] = NULL;
        }
    }
    raw_spin_unlock(&HEAP->big->lock);
    return c;
}

static bool kept_add(struct chunk *c)
{
    bool done = false;

    if (c->count > MAX_KEPT) {
        return false;
    }
    raw_spin_lock(&HEAP->big->lock);
    for (u32 i = 0; i < NR_KEPT && !done; i++) {
        if (HEAP->kept[i] == NULL) {
            HEAP->kept[i] = c;
            done = true;
        }
    }
    raw_spin_unlock(&HEAP->big->lock);
    return done;
}

void heap_bytes_trim(void)
{
    for (u32 count = 1; count <= MAX_KEPT; count++) {
        struct chunk *c;

        while ((c = kept_take(count)) != NULL) {
            chunk_free(c, count);
        }
    }
}

static void *big_alloc(size_t size)
{
    u32 count = (u32)((size + CHUNK_SIZE - 1) / CHUNK_SIZE);
    struct chunk *c;
    bool dirty;

    if (heap_should_fail()) {
        return NULL;
    }
    c = kept_take(count);
    dirty = c != NULL;
    if (c == NULL) {
        c = chunk_alloc(count);
    }
    if (c == NULL) {
        return NULL;
    }
    c->count = count;
    c->size = size;
    for (u32 i = 1; i < count; i++) {
        c[i].kind = CHUNK_BIG_PART;
        c[i].count = i;
    }
    c->kind = CHUNK_BIG;
    ASAN_UNPOISON_MEMORY_REGION(chunk_address(c), size);
    ASAN_POISON_MEMORY_REGION((char *)chunk_address(c) + size, count * CHUNK_SIZE - size);
    if (dirty) {
        memset(chunk_address(c), 0, size);
    }
    count_big(1, count);
    return chunk_address(c);
}

static void big_free(struct chunk *c, void *p)
{
    u32 count = c->count;

    CHECK(p == chunk_address(c), "free of %p, inside a big buffer", p);
    for (u32 i = 0; i < count; i++) {
        c[i].kind = CHUNK_UNUSED;
    }
    ASAN_POISON_MEMORY_REGION(p, count * CHUNK_SIZE);
    count_big(-1, count);
    if (!kept_add(c)) {
        chunk_free(c, count);
    }
}

void *heap_alloc(size_t size)
{
    if (size > HEAP_SIZE) {
        return NULL;
    }
    return size > MAX_CLASS ? big_alloc(size) : slot_alloc(HEAP->classes[class_of(size)], size);
}

void heap_free(void *p)
{
    struct chunk *c = chunk_of(p);

    if (p == NULL) {
        return;
    }
    CHECK(c != NULL, "free of %p, which is not in the heap", p);
    if (c->kind == CHUNK_BIG) {
        big_free(c, p);
        return;
    }
    CHECK(c->kind == CHUNK_SLAB && is_class(c->cache), "free of %p, which is no byte buffer", p);
    slot_free(c->cache, c, p);
}

void *heap_realloc(void *p, size_t old_size, size_t new_size)
{
    struct chunk *c = chunk_of(p);
    void *q;

    if (p != NULL && new_size <= MAX_CLASS && c != NULL && c->kind == CHUNK_SLAB &&
        c->cache == HEAP->classes[class_of(new_size)]) {
        if (heap_should_fail()) {
            return NULL;
        }
        slot_resize(c->cache, p, old_size, new_size);
        return p;
    }
    q = heap_alloc(new_size);
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
