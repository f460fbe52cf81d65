/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The heap's insides. The region holds everything, its own bookkeeping too, so that a snapshot of
 * the region is a snapshot of the heap:
 *
 *     HEAP_BASE  struct heap_state     the caches, locks, free lists        one chunk
 *                struct chunk[]        what each chunk is, slots in use     touched as far as used
 *                chunks                64 KiB each: slabs and big buffers
 *
 * An object's address gives its chunk, the chunk its cache and slot. Bookkeeping lies apart from
 * the objects: an overflow does not reach it.
 */
#ifndef PAVISE_BASE_HEAP_PRIV_H
#define PAVISE_BASE_HEAP_PRIV_H

#include "base/base.h"
#include "base/panic.h"
#include "base/spin_priv.h"

#include <sys/queue.h>

#ifdef PAVISE_ASAN
#include <sanitizer/asan_interface.h>
#define HAVE_ASAN 1
#else
#define ASAN_POISON_MEMORY_REGION(p, n)   ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define HAVE_ASAN                         0
#endif

#ifdef PAVISE_DEBUG
#define HEAP_DEBUG 1
#else
#define HEAP_DEBUG 0
#endif

#ifdef PAVISE_TSAN
#define HEAP_BASE 0x7e9000000000UL
#else
#define HEAP_BASE 0x200000000000UL
#endif
#define HEAP_SIZE  (64 * GiB)
#define CHUNK_SIZE (64 * KiB)
#define NR_CHUNKS  (HEAP_SIZE / CHUNK_SIZE)

#define MIN_SLOT   32
#define MAX_SLOTS  (CHUNK_SIZE / MIN_SLOT)
#define MAX_CACHES 320
#define NR_CLASSES 21 /* 32, 48, 64, 96 ... 24 Ki, 32 Ki */
#define MAX_CLASS  (32 * KiB)
#define NR_BUCKETS 16
#define NR_KEPT    4
#define MAX_KEPT   4 /* chunks of each */

enum chunk_kind {
    CHUNK_UNUSED, /* above the high-water mark, or inside a free run */
    CHUNK_FREE,   /* first or last of a free run of `count` */
    CHUNK_SLAB,
    CHUNK_BIG,     /* first of a big buffer of `count` chunks */
    CHUNK_BIG_PART /* `count` chunks behind the first */
};

/* Key: (h) heap chunk lock, (c) cache lock, (o) whoever owns the chunk. */
struct chunk {
    _Atomic u32 kind;       /* (h) for CHUNK_FREE, else (o): neighbours look for CHUNK_FREE only */
    u32 count;              /* (h) */
    LIST_ENTRY(chunk) link; /* (h) in a bucket of free runs; (c) partial or reserve */
    struct cache *cache;    /* (o) */
    u32 in_use, fresh;      /* (c) slots at and above `fresh` were never handed out */
    u32 hint;               /* (c) no free slot below this one, among those used before */
    u32 first; /* (o) offset of slot 0: differs, so that slots spread over cache sets */
    u64 size;  /* (o) CHUNK_BIG: bytes asked for */
    u64 used[MAX_SLOTS / 64]; /* (c) a bit per slot */
};
LIST_HEAD(chunk_list, chunk);

struct cache {
    struct raw_spin lock;               /* takes only the chunk lock */
    u32 size, stride, align, nr_slots;  /* constant */
    char name[40];                      /* constant */
    struct chunk_list partial;          /* (c) slabs with slots in use and free */
    struct chunk_list reserve;          /* (c) empty slabs */
    u32 nr_reserve;                     /* (c) */
    u64 in_use, peak, allocated, pages; /* (c) */
} __attribute__((aligned(CACHELINE)));

struct heap_state {
    struct raw_spin lock;               /* the chunk lock */
    u32 nr_used;                        /* (h) chunks below this have been handed out */
    u32 nr_mapped;                      /* (h) chunks that are accessible */
    struct chunk_list free[NR_BUCKETS]; /* (h) runs of 1, 2, ... 15, 16 and more chunks */
    _Atomic u32 nr_reserve;             /* empty slabs kept, over all caches */
    u32 nr_caches;                      /* constant after heap_init */
    u16 by_name[MAX_CACHES];            /* constant after heap_init */
    struct cache *classes[NR_CLASSES];  /* constant after heap_init */
    struct cache *big;                  /* big buffers: their lock and statistics */
    struct chunk *kept[NR_KEPT];        /* (big->lock) freed big buffers that keep their memory */
    void *root;
    struct cache caches[MAX_CACHES];
};

#define HEAP ((struct heap_state *)HEAP_BASE)

/* ---- heap_chunk.c ---- */

must_check int chunk_init(void);
/* `count` adjacent chunks of zeroes; NULL: full. The caller sets the kind. */
must_check struct chunk *chunk_alloc(u32 count);
/* Gives their memory to the host first. */
void chunk_free(struct chunk *c, u32 count);
/* The chunk of an address, NULL: not in the heap's used part. */
struct chunk *chunk_of(const void *p);
void *chunk_address(const struct chunk *c);

/* ---- heap.c ---- */

/* An object of which only the first `size` bytes may be used, zeroed. */
must_check void *slot_alloc(struct cache *c, size_t size);
void slot_free(struct cache *c, struct chunk *s, void *obj);
/* A used slot's size becomes new_size (within the same cache); what is gained is zeroed. */
void slot_resize(const struct cache *c, void *obj, size_t old_size, size_t new_size);
void cache_setup(struct cache *c, const char *name, size_t size, size_t align);
bool heap_should_fail(void);

/* ---- heap_bytes.c ---- */

void heap_bytes_init(void);
void heap_bytes_trim(void);

#endif
