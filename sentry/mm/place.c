/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where new mappings go, as Linux does on x86-64: at the hint if that is free, else at the top of
 * the highest hole below mmap_base that is large enough, else bottom-up. MAP_32BIT looks in the
 * second GiB.
 *
 * The search walks VMAs downwards. So that a million small mappings do not cost a walk over all,
 * free_hint remembers down to where no hole larger than hole_size was seen; freeing raises it.
 */
#include "sentry/mm/mm_priv.h"

#define LOW_START 0x40000000UL
#define LOW_END   0x80000000UL

/* The lowest address that belongs to v, with the gap that a stack keeps free below itself. */
static uaddr vma_low(const struct vma *v)
{
    if ((v->flags & VMA_GROWSDOWN) == 0) {
        return v->start;
    }
    return v->start > STACK_GUARD_GAP ? v->start - STACK_GUARD_GAP : 0;
}

bool place_is_free(struct mm *mm, uaddr start, u64 len)
{
    struct vma *v;

    if (start < platform_caps.min_addr || !range_ok(start, len, platform_caps.task_size)) {
        return false;
    }
    v = vma_find(mm, start);
    return v == NULL || start + len <= vma_low(v);
}

/* Top-down in [floor, top). */
static uaddr place_below(struct mm *mm, uaddr top, uaddr floor, u64 len, u64 *hole)
{
    struct vma *v = vma_find(mm, top);
    uaddr end = top, low;

    *hole = 0;
    if (v != NULL) {
        end = min(end, vma_low(v));
    }
    for (v = vma_prev(mm, top); end > floor; v = vma_before(v)) {
        low = v != NULL ? max(v->end, floor) : floor;
        if (end >= low && end - low >= len) {
            return end - len;
        }
        if (v == NULL) {
            return 0;
        }
        if (end > low) {
            *hole = max(*hole, end - low);
        }
        end = min(end, vma_low(v));
    }
    return 0;
}

/* Bottom-up in [floor, top). */
static uaddr place_above(struct mm *mm, uaddr floor, uaddr top, u64 len)
{
    uaddr at = floor;
    struct vma *v;

    for (v = vma_find(mm, floor); v != NULL; v = vma_next(v)) {
        uaddr low = vma_low(v);

        if (at >= top || top - at < len) {
            return 0;
        }
        if (low > at && low - at >= len) {
            return at;
        }
        at = max(at, v->end);
    }
    return at < top && top - at >= len ? at : 0;
}

s64 place_find(struct mm *mm, uaddr hint, u64 len, u32 flags)
{
    uaddr at, top;
    u64 hole;

    hint = ALIGN_DOWN(hint, PAGE_SIZE);
    if (hint != 0 && place_is_free(mm, hint, len)) {
        return (s64)hint;
    }
    if ((flags & MAP_32BIT) != 0) {
        at = place_above(mm, max(LOW_START, platform_caps.min_addr), LOW_END, len);
        return at != 0 ? (s64)at : -ENOMEM;
    }
    if (len <= mm->hole_size) {
        mm->free_hint = mm->mmap_base;
        mm->hole_size = 0;
    }
    top = min(mm->free_hint, mm->mmap_base);
    at = place_below(mm, top, platform_caps.min_addr, len, &hole);
    if (at != 0) {
        mm->hole_size = max(mm->hole_size, hole);
        mm->free_hint = at;
        return (s64)at;
    }
    mm->free_hint = mm->mmap_base;
    mm->hole_size = 0;
    at = place_below(mm, mm->mmap_base, platform_caps.min_addr, len, &hole);
    if (at == 0) {
        at = place_above(mm, mm->mmap_base, platform_caps.task_size, len);
    }
    return at != 0 ? (s64)at : -ENOMEM;
}

void place_freed(struct mm *mm, uaddr start, uaddr end)
{
    struct vma *v;

    if (end < mm->free_hint || start >= mm->mmap_base) {
        return; /* below: a search comes by */
    }
    v = vma_find(mm, end);
    mm->free_hint = v != NULL ? min(max(vma_low(v), end), mm->mmap_base) : mm->mmap_base;
}
