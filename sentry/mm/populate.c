/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Touching memory ahead of its use: MAP_POPULATE, MADV_POPULATE_*, mlock(2) and mlockall(2).
 * Locking only counts and populates: guest memory is never swapped by us, and whether the host
 * swaps the memory file is the host's business.
 */
#include "sentry/mm/mm_priv.h"

/* Bound the time that the locks are held. */
#define POPULATE_STEP (2 * MiB)

/* A part of one VMA: where it ended. */
static s64 populate_step(struct mm *mm, uaddr at, uaddr end, bool write)
{
    struct map_op op = {.kind = MAP_OP_POPULATE, .fd = -1};
    struct vma *v;
    struct pma *p;
    int err;

    READ_GUARD(&mm->lock);
    v = vma_at(mm, at);
    if (v == NULL) {
        return -ENOMEM;
    }
    if (fault_check(v, write ? ACCESS_WRITE : ACCESS_READ) != 0) {
        return -EACCES;
    }
    end = min(min(end, v->end), at + POPULATE_STEP);
    /* As Linux: a writable private mapping is populated by writing. */
    write = write || ((v->prot & PROT_WRITE) != 0 && vma_is_private(v));
    MUTEX_GUARD(&mm->pma_lock);
    p = fault_page(v, at, write);
    if (IS_ERR(p)) {
        (void)host_flush(mm);
        return PTR_ERR(p);
    }
    end = min(end, p->end);
    op.addr = at;
    op.len = end - at;
    op.prot = host_prot(v, p);
    host_add(mm, &op);
    err = host_flush(mm);
    pma_refill(mm);
    return err != 0 ? err : (s64)end;
}

int mm_populate(struct mm *mm, uaddr start, uaddr end, bool write)
{
    for (uaddr at = start; at < end;) {
        s64 next = populate_step(mm, at, end, write);

        if (next < 0) {
            return (int)next;
        }
        at = (uaddr)next;
    }
    return 0;
}

/* Set or clear the lock flags of [start, end); -ENOMEM at a gap. mm->lock held for writing. */
static int lock_range(struct mm *mm, uaddr start, uaddr end, u32 flags, struct vma_list *dead)
{
    uaddr at = start;
    int err = 0;

    while (at < end && err == 0) {
        struct vma *v = vma_at(mm, at);
        uaddr to;

        if (v == NULL) {
            err = -ENOMEM;
            break;
        }
        to = min(v->end, end);
        err = vma_isolate(mm, at, to);
        if (err == 0) {
            v = vma_at(mm, at);
            vma_set_flags(v, v->prot, (v->flags & ~(VMA_LOCKED | VMA_ONFAULT)) | flags);
            at = to;
        }
    }
    vma_merge(mm, start, at, dead);
    return err;
}

static u64 locked_in(struct mm *mm, uaddr start, uaddr end)
{
    u64 sum = 0;

    for (struct vma *v = vma_find(mm, start); v != NULL && v->start < end; v = vma_next(v)) {
        if ((v->flags & VMA_LOCKED) != 0) {
            sum += min(v->end, end) - max(v->start, start);
        }
    }
    return sum;
}

/* The pages that [addr, addr+len) touches; -EINVAL if it wraps. */
static int page_range(uaddr addr, u64 len, uaddr *start, uaddr *end)
{
    *start = ALIGN_DOWN(addr, PAGE_SIZE);
    if (len > UINT64_MAX - PAGE_SIZE - addr) {
        return -EINVAL;
    }
    *end = ALIGN_UP(addr + len, PAGE_SIZE);
    return 0;
}

int mm_lock_range(struct mm *mm, uaddr addr, u64 len, u32 flags, const struct mm_limits *l)
{
    struct vma_list dead = SLIST_HEAD_INITIALIZER(dead);
    bool onfault = (flags & MLOCK_ONFAULT) != 0;
    uaddr start, end;
    u64 add;
    int err;

    if ((flags & ~(u32)MLOCK_ONFAULT) != 0 || page_range(addr, len, &start, &end) != 0) {
        return -EINVAL;
    }
    if (l != NULL && !l->may_lock && l->memlock == 0) {
        return -EPERM;
    }
    if (start == end) {
        return 0;
    }
    write_lock(&mm->lock);
    add = end - start - locked_in(mm, start, end);
    if (l != NULL && !l->may_lock && (add > l->memlock || mm->locked_vm > l->memlock - add)) {
        write_unlock(&mm->lock);
        return -ENOMEM;
    }
    err = lock_range(mm, start, end, VMA_LOCKED | (onfault ? VMA_ONFAULT : 0), &dead);
    write_unlock(&mm->lock);
    vma_list_put(&dead);
    if (err == 0 && !onfault) {
        err = mm_populate(mm, start, end, false);
        err = err == -EACCES ? -ENOMEM : err == -ENXIO ? 0 : err;
    }
    return err;
}

int mm_unlock_range(struct mm *mm, uaddr addr, u64 len)
{
    struct vma_list dead = SLIST_HEAD_INITIALIZER(dead);
    uaddr start, end;
    int err;

    if (page_range(addr, len, &start, &end) != 0) {
        return -EINVAL;
    }
    write_lock(&mm->lock);
    err = start == end ? 0 : lock_range(mm, start, end, 0, &dead);
    write_unlock(&mm->lock);
    vma_list_put(&dead);
    return err;
}

/* Every mapping, as far as it can be: mlockall ignores what cannot. */
static void populate_all(struct mm *mm)
{
    uaddr at = 0, end;

    for (;;) {
        struct vma *v;

        read_lock(&mm->lock);
        v = vma_find(mm, at);
        at = v != NULL ? max(v->start, at) : 0;
        end = v != NULL ? v->end : 0;
        read_unlock(&mm->lock);
        if (v == NULL) {
            return;
        }
        (void)mm_populate(mm, at, end, false);
        at = end;
    }
}

int mm_lock_all(struct mm *mm, u32 flags, const struct mm_limits *l)
{
    struct vma_list dead = SLIST_HEAD_INITIALIZER(dead);
    u32 set = VMA_LOCKED | ((flags & MCL_ONFAULT) != 0 ? VMA_ONFAULT : 0);
    struct vma *v;

    if (flags == 0 || (flags & ~(u32)(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) != 0 ||
        flags == MCL_ONFAULT) {
        return -EINVAL;
    }
    if (l != NULL && !l->may_lock && l->memlock == 0) {
        return -EPERM;
    }
    write_lock(&mm->lock);
    if ((flags & MCL_CURRENT) != 0 && l != NULL && !l->may_lock && mm->total_vm > l->memlock) {
        write_unlock(&mm->lock);
        return -ENOMEM;
    }
    mm->def_flags = (flags & MCL_FUTURE) != 0 ? set : 0;
    for (v = (flags & MCL_CURRENT) != 0 ? vma_first(mm) : NULL; v != NULL; v = vma_next(v)) {
        vma_set_flags(v, v->prot, (v->flags & ~(VMA_LOCKED | VMA_ONFAULT)) | set);
    }
    vma_merge(mm, 0, platform_caps.task_size, &dead);
    write_unlock(&mm->lock);
    vma_list_put(&dead);
    if ((flags & (MCL_CURRENT | MCL_ONFAULT)) == MCL_CURRENT) {
        populate_all(mm);
    }
    return 0;
}

int mm_unlock_all(struct mm *mm)
{
    struct vma_list dead = SLIST_HEAD_INITIALIZER(dead);
    struct vma *v;

    write_lock(&mm->lock);
    mm->def_flags = 0;
    for (v = vma_first(mm); v != NULL; v = vma_next(v)) {
        vma_set_flags(v, v->prot, v->flags & ~(VMA_LOCKED | VMA_ONFAULT));
    }
    vma_merge(mm, 0, platform_caps.task_size, &dead);
    write_unlock(&mm->lock);
    vma_list_put(&dead);
    return 0;
}
