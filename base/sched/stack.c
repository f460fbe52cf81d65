/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stacks of fibers: slots of one reserved region, each a guard page and FIBER_STACK_SIZE bytes
 * above it. Only touched pages cost memory.
 *
 * Life: slots beyond `fresh` were never used and are PROT_NONE. stack_get takes a free slot, else
 * opens the next fresh one. stack_put keeps the pages of the first STACK_WARM free slots for the
 * next fiber and gives those of the others back to the host.
 *
 * Guards: MADV_GUARD_INSTALL (Linux 6.13) keeps the whole region one host mapping. Elsewhere the
 * guard stays PROT_NONE, at two host mappings a slot; there the number of fibers is kept well below
 * vm.max_map_count, so that a fork bomb leaves the rest of the sentry its share.
 *
 * Free slots are two stacks of slot numbers in `next`: warm ones are taken first.
 *
 * Locking: pool.lock, a leaf. Host calls are made without it.
 */
#include "base/clock.h"
#include "base/err.h"
#include "base/host.h"
#include "base/panic.h"
#include "base/sched/sanitize_priv.h"
#include "base/sched/sched_priv.h"

#include <sys/mman.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

#define STACK_STRIDE        (FIBER_STACK_SIZE + PAGE_SIZE)
#define STACK_MAX           65536U
#define STACK_MAX_PROTECTED 16384U /* without MADV_GUARD_INSTALL */
#define STACK_WARM          32U
#define STACK_NONE          UINT32_MAX

static struct {
    struct spinlock lock;
    char *region;       /* (c) once mapped */
    u32 *next;          /* (lock) links of the two lists below */
    u32 fresh;          /* (lock) first slot never used */
    u32 warm;           /* (lock) free slots that keep their pages */
    u32 nr_warm;        /* (lock) */
    u32 cold;           /* (lock) free slots without pages */
    bool guard_madvise; /* (c) once mapped */
} pool = {.warm = STACK_NONE, .cold = STACK_NONE};

static int pool_map_locked(void)
{
    void *region;
    void *next;

    if (pool.region != NULL) {
        return 0;
    }
    next = host_mmap(NULL, STACK_MAX * sizeof(u32), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (IS_ERR(next)) {
        return -ENOMEM;
    }
    region = host_mmap(NULL, STACK_MAX * STACK_STRIDE, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (IS_ERR(region)) {
        (void)host_munmap(next, STACK_MAX * sizeof(u32));
        return -ENOMEM;
    }
    /* A huge page under a stack would make every fiber cost 2 MiB. */
    (void)host_madvise(region, STACK_MAX * STACK_STRIDE, MADV_NOHUGEPAGE);
    pool.guard_madvise = host_madvise(region, PAGE_SIZE, MADV_GUARD_INSTALL) == 0;
    pool.next = next;
    pool.region = region;
    return 0;
}

static char *slot_guard(u32 slot)
{
    return pool.region + (u64)slot * STACK_STRIDE;
}

static char *slot_stack(u32 slot)
{
    return slot_guard(slot) + PAGE_SIZE;
}

/* Make a slot never used before accessible. */
static int slot_open(u32 slot)
{
    int ret;

    if (!pool.guard_madvise) {
        return host_mprotect(slot_stack(slot), FIBER_STACK_SIZE, PROT_READ | PROT_WRITE);
    }
    ret = host_madvise(slot_guard(slot), PAGE_SIZE, MADV_GUARD_INSTALL);
    if (ret != 0) {
        return ret;
    }
    return host_mprotect(slot_guard(slot), STACK_STRIDE, PROT_READ | PROT_WRITE);
}

static u32 slot_limit(void)
{
    return pool.guard_madvise ? STACK_MAX : STACK_MAX_PROTECTED;
}

static u32 list_pop(u32 *head)
{
    u32 slot = *head;

    if (slot != STACK_NONE) {
        *head = pool.next[slot];
    }
    return slot;
}

static void list_push(u32 *head, u32 slot)
{
    pool.next[slot] = *head;
    *head = slot;
}

/* A stack: its slot and lowest byte; -ENOMEM. */
int stack_get(u32 *slot, char **base)
{
    bool is_fresh = false;
    int ret;

    raw_spin_lock(&pool.lock);
    ret = pool_map_locked();
    if (ret != 0) {
        raw_spin_unlock(&pool.lock);
        return ret;
    }
    *slot = list_pop(&pool.warm);
    if (*slot != STACK_NONE) {
        pool.nr_warm--;
    } else {
        *slot = list_pop(&pool.cold);
    }
    if (*slot == STACK_NONE && pool.fresh < slot_limit()) {
        *slot = pool.fresh++;
        is_fresh = true;
    }
    raw_spin_unlock(&pool.lock);
    if (*slot == STACK_NONE) {
        return -ENOMEM;
    }
    if (is_fresh && slot_open(*slot) != 0) {
        /* The slot is lost: the host is out of mappings or memory, it would fail again. */
        return -ENOMEM;
    }
    *base = slot_stack(*slot);
    return 0;
}

void stack_put(u32 slot)
{
    bool keep;

    asan_unpoison(slot_stack(slot), FIBER_STACK_SIZE);
    raw_spin_lock(&pool.lock);
    keep = pool.nr_warm < STACK_WARM;
    if (keep) {
        list_push(&pool.warm, slot);
        pool.nr_warm++;
    }
    raw_spin_unlock(&pool.lock);
    if (keep) {
        return;
    }
    (void)host_madvise(slot_stack(slot), FIBER_STACK_SIZE, MADV_DONTNEED);
    raw_spin_lock(&pool.lock);
    list_push(&pool.cold, slot);
    raw_spin_unlock(&pool.lock);
}
