/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel heap (DESIGN 5): one reserved region at a fixed address that holds all
 * long-lived sentry state in typed slab caches, reached from one root object.
 *
 * - A slot is only ever reused for the same type. Freed slots are poisoned; a double free,
 *   a free of a wrong pointer or type and an overflow into the slot's red zone are caught.
 * - Nothing here parks: allocation may be called with spin locks held.
 * - Allocation fails (NULL) when the region or the limit is exhausted or fault injection
 *   says so; callers return -ENOMEM.
 */
#ifndef PAVISE_BASE_HEAP_H
#define PAVISE_BASE_HEAP_H

#include "base/base.h"

struct cache; /* lives in the heap itself */

/* A cache's declaration: static, read-only but for the pointer, bound by heap_init. */
struct cache_type {
    const char *name;
    size_t size;
    size_t align;
    struct cache *cache;
};

/*
 * DEFINE_CACHE(file_cache, struct file): a typed cache named after the struct. Caches are
 * collected through a linker section, so every one exists as soon as heap_init returned.
 */
#define DEFINE_CACHE(var, type)                                                                    \
    static struct cache_type var = {.name = #type, .size = sizeof(type), .align = _Alignof(type)}; \
    static struct cache_type *var##_link __attribute__((used, retain, section("pavise_caches"))) = \
        &var

/* Reserve the region and create every cache. Once, at boot, before anything allocates. */
must_check int heap_init(void);

/* A zeroed object, or NULL. */
must_check void *cache_alloc(struct cache_type *type);

/* `obj` must come from cache_alloc on the same type; NULL is allowed. */
void cache_free(struct cache_type *type, void *obj);

/* Typed sugar: struct pipe *p = cache_new(pipe_cache); */
#define cache_new(var)      cache_alloc(&(var))
#define cache_del(var, obj) cache_free(&(var), (obj))

/*
 * Zeroed arrays and byte buffers whose size is not known at compile time (names, argument
 * vectors, pipe pages): size-class caches up to 32 KiB, whole page runs above. The size must be
 * bounded by a limit of ours, never by the guest's word alone.
 */
must_check void *heap_alloc(size_t size);
must_check void *heap_realloc(void *p, size_t old_size, size_t new_size);
must_check char *heap_strdup(const char *s);
must_check void *heap_memdup(const void *p, size_t size);
void heap_free(void *p);

/* The one root object, set once by the kernel at boot (the restore path reads it back). */
void heap_set_root(void *root);
void *heap_root(void);

/*
 * Code pointers in heap objects. Every operation table that heap objects point to is
 * registered, so that restore can relocate it: HEAP_OPS(pipe_file_ops);
 */
struct heap_ops_entry {
    const char *name;
    const void *ops;
};
#define HEAP_OPS(var)                                                                              \
    static const struct heap_ops_entry var##_entry = {#var, &(var)};                               \
    static const struct heap_ops_entry *var##_link                                                 \
        __attribute__((used, retain, section("pavise_ops"))) = &var##_entry

struct cache_stats {
    const char *name;
    size_t object_size;
    u64 in_use;    /* objects */
    u64 peak;      /* objects */
    u64 allocated; /* ever */
    u64 pages;     /* 4 KiB pages of slabs */
};

/* Call `fn` for every cache, in order of name. */
void heap_for_each_cache(void (*fn)(const struct cache_stats *stats, void *arg), void *arg);

/* Objects in use over all caches; unit tests end by proving that it is back where it was. */
u64 heap_objects_in_use(void);

/* Give back what is kept for the next burst: when the sandbox becomes idle, or memory is short. */
void heap_trim(void);

/* The type of the object that holds `p` ("struct file"), or NULL; for dumps. */
const char *heap_type_of(const void *p);

/* Fail the n-th allocation from now (1 = the next); 0 turns injection off. Debug builds. */
void heap_fail_nth(u64 n);

#endif
