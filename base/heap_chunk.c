/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The heap's region: reserved without access at a fixed address, made usable from the bottom as it
 * grows, cut into 64 KiB chunks. Free runs know their length at both ends, so neighbours are found
 * and merged at once; they hang in lists by length, the last of which is searched first fit.
 * Whatever is free has no memory behind it and reads as zeroes when it is handed out.
 */
#include "base/heap_priv.h"

#include "base/err.h"
#include "base/host.h"

#include <sys/mman.h>

#define CHUNKS_OFFSET CHUNK_SIZE /* of the chunk array */
#define FIRST_CHUNK                                                                                \
    ((u32)((CHUNKS_OFFSET + NR_CHUNKS * sizeof(struct chunk) + CHUNK_SIZE - 1) / CHUNK_SIZE))
#define GROW_MIN 16U
#define GROW_MAX 1024U

_Static_assert(sizeof(struct heap_state) <= CHUNK_SIZE, "the state fits in front of the array");

static struct chunk *chunk_at(u32 index)
{
    return (struct chunk *)(HEAP_BASE + CHUNKS_OFFSET) + index;
}

static u32 chunk_index(const struct chunk *c)
{
    return (u32)(c - chunk_at(0));
}

void *chunk_address(const struct chunk *c)
{
    return (void *)(HEAP_BASE + (u64)chunk_index(c) * CHUNK_SIZE);
}

struct chunk *chunk_of(const void *p)
{
    u64 index = ((u64)p - HEAP_BASE) / CHUNK_SIZE;

    if ((u64)p < HEAP_BASE || index < FIRST_CHUNK ||
        index >= __atomic_load_n(&HEAP->nr_used, __ATOMIC_RELAXED)) {
        return NULL;
    }
    return chunk_at((u32)index);
}

static int make_usable(u64 from, u64 to)
{
    from = ALIGN_DOWN(from, PAGE_SIZE);
    return host_mprotect((void *)from, ALIGN_UP(to, PAGE_SIZE) - from, PROT_READ | PROT_WRITE);
}

/* Make the chunks below `end` and their places in the array usable. */
static int map_up_to(u32 from, u32 end)
{
    int err = make_usable((u64)chunk_at(from), (u64)chunk_at(end));

    return err != 0 ? err
                    : make_usable(HEAP_BASE + from * CHUNK_SIZE, HEAP_BASE + end * CHUNK_SIZE);
}

int chunk_init(void)
{
    void *p = host_mmap((void *)HEAP_BASE, HEAP_SIZE, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    int err = IS_ERR(p) ? (int)PTR_ERR(p) : make_usable(HEAP_BASE, HEAP_BASE + sizeof(*HEAP));

    if (err == 0) {
        /* Huge pages would make one object of each type cost 2 MiB. -EINVAL: there are none. */
        (void)host_madvise(p, HEAP_SIZE, MADV_NOHUGEPAGE);
        HEAP->nr_used = FIRST_CHUNK;
        HEAP->nr_mapped = FIRST_CHUNK;
    }
    return err;
}

/* ---- runs: all with the chunk lock held ---- */

static struct chunk_list *bucket(u32 count)
{
    return &HEAP->free[min(count, (u32)NR_BUCKETS) - 1];
}

static void run_add(u32 index, u32 count)
{
    struct chunk *first = chunk_at(index), *last = chunk_at(index + count - 1);

    first->kind = CHUNK_FREE;
    last->kind = CHUNK_FREE;
    first->count = last->count = count;
    LIST_INSERT_HEAD(bucket(count), first, link);
}

static void run_remove(struct chunk *first)
{
    struct chunk *last = first + first->count - 1;

    LIST_REMOVE(first, link);
    first->kind = CHUNK_UNUSED;
    last->kind = CHUNK_UNUSED;
}

static struct chunk *take_free(u32 count)
{
    for (u32 b = min(count, (u32)NR_BUCKETS); b <= NR_BUCKETS; b++) {
        struct chunk *c;

        LIST_FOREACH (c, &HEAP->free[b - 1], link) {
            if (c->count >= count) {
                u32 rest = c->count - count;

                run_remove(c);
                if (rest > 0) {
                    run_add(chunk_index(c) + count, rest);
                }
                return c;
            }
        }
    }
    return NULL;
}

static struct chunk *take_fresh(u32 count)
{
    u32 first = HEAP->nr_used, end;

    if (count > NR_CHUNKS - first) {
        return NULL;
    }
    end = first + count;
    if (end > HEAP->nr_mapped) {
        u32 grow = min(max(HEAP->nr_mapped - FIRST_CHUNK, GROW_MIN), GROW_MAX);
        u32 to = (u32)min((u64)max(end, HEAP->nr_mapped + grow), NR_CHUNKS);

        if (map_up_to(HEAP->nr_mapped, to) != 0) {
            return NULL;
        }
        HEAP->nr_mapped = to;
    }
    __atomic_store_n(&HEAP->nr_used, end, __ATOMIC_RELAXED);
    return chunk_at(first);
}

struct chunk *chunk_alloc(u32 count)
{
    struct chunk *c;

    raw_spin_lock(&HEAP->lock);
    c = take_free(count);
    if (c == NULL) {
        c = take_fresh(count);
    }
    raw_spin_unlock(&HEAP->lock);
    return c;
}

void chunk_free(struct chunk *c, u32 count)
{
    u32 index = chunk_index(c), end = index + count;
    int err;

    c->kind = CHUNK_UNUSED;
    err = host_madvise(chunk_address(c), count * CHUNK_SIZE, MADV_DONTNEED);
    CHECK(err == 0, "giving %u chunks back: %d", count, err);
    raw_spin_lock(&HEAP->lock);
    if (end < HEAP->nr_used && chunk_at(end)->kind == CHUNK_FREE) {
        struct chunk *next = chunk_at(end);

        end += next->count;
        run_remove(next);
    }
    if (index > FIRST_CHUNK && chunk_at(index - 1)->kind == CHUNK_FREE) {
        index -= chunk_at(index - 1)->count;
        run_remove(chunk_at(index));
    }
    run_add(index, end - index);
    raw_spin_unlock(&HEAP->lock);
}
