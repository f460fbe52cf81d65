/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The heap's region: reserved without access at a fixed address, made usable from the bottom as it
 * grows, cut into 64 KiB chunks. Free runs of chunks are kept in a list sorted by address, in an
 * array outside of the chunks, so that their pages can be given back to the host; neighbours merge.
 * First fit.
 */
#include "base/heap_priv.h"

#include "base/err.h"
#include "base/host.h"
#include "base/spin_priv.h"

#include <sys/mman.h>

#define NR_CHUNKS     (HEAP_SIZE / CHUNK_SIZE)
#define MAX_FREE_RUNS 4096
#define GROW_CHUNKS   16

struct run {
    u32 first, count;
};

static struct raw_spin lock;
static u32 nr_used;   /* (lock) chunks below this have been handed out at least once */
static u32 nr_mapped; /* (lock) chunks that are accessible */
static u32 nr_runs;   /* (lock) */
static struct run runs[MAX_FREE_RUNS]; /* (lock) sorted by first */

int chunk_init(void)
{
    void *p = host_mmap((void *)HEAP_BASE, HEAP_SIZE, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);

    return IS_ERR(p) ? (int)PTR_ERR(p) : 0;
}

static void *chunk_address(u32 index)
{
    return (void *)(HEAP_BASE + (u64)index * CHUNK_SIZE);
}

bool chunk_contains(const void *p)
{
    return (u64)p >= HEAP_BASE && (u64)p < HEAP_BASE + HEAP_SIZE;
}

static void run_delete(u32 i)
{
    memmove(&runs[i], &runs[i + 1], (--nr_runs - i) * sizeof(runs[0]));
}

static void *take_from_runs(size_t count)
{
    for (u32 i = 0; i < nr_runs; i++) {
        if (runs[i].count >= count) {
            u32 first = runs[i].first;

            runs[i].first += (u32)count;
            runs[i].count -= (u32)count;
            if (runs[i].count == 0) {
                run_delete(i);
            }
            return chunk_address(first);
        }
    }
    return NULL;
}

static void *take_fresh(size_t count)
{
    u32 first = nr_used, end;

    if (count > NR_CHUNKS - nr_used) {
        return NULL;
    }
    end = nr_used + (u32)count;
    if (end > nr_mapped) {
        u32 grow = (u32)min((u64)ALIGN_UP(end - nr_mapped, GROW_CHUNKS), NR_CHUNKS - nr_mapped);

        if (host_mprotect(chunk_address(nr_mapped), grow * CHUNK_SIZE, PROT_READ | PROT_WRITE) !=
            0) {
            return NULL;
        }
        nr_mapped += grow;
    }
    nr_used = end;
    return chunk_address(first);
}

void *chunk_alloc(size_t count)
{
    void *p;

    raw_spin_lock(&lock);
    p = take_from_runs(count);
    if (p == NULL) {
        p = take_fresh(count);
    }
    raw_spin_unlock(&lock);
    return p;
}

void chunk_free(void *p, size_t count)
{
    u32 first = (u32)(((u64)p - HEAP_BASE) / CHUNK_SIZE), i = 0;

    (void)host_madvise(p, count * CHUNK_SIZE, MADV_DONTNEED);
    raw_spin_lock(&lock);
    while (i < nr_runs && runs[i].first < first) {
        i++;
    }
    if (i > 0 && runs[i - 1].first + runs[i - 1].count == first) {
        runs[i - 1].count += (u32)count;
        if (i < nr_runs && runs[i].first == first + count) {
            runs[i - 1].count += runs[i].count;
            run_delete(i);
        }
    } else if (i < nr_runs && runs[i].first == first + count) {
        runs[i].first = first;
        runs[i].count += (u32)count;
    } else if (nr_runs < MAX_FREE_RUNS) { /* else: the addresses are lost, their memory is not */
        memmove(&runs[i + 1], &runs[i], (nr_runs++ - i) * sizeof(runs[0]));
        runs[i] = (struct run){first, (u32)count};
    }
    raw_spin_unlock(&lock);
}
