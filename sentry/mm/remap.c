/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mremap(2): shrink, grow in place, or move. A move takes the frames along (nothing is copied): a
 * second VMA of the same object is made at the new place, the frames change their addresses, and
 * the old VMA goes, or stays empty (MREMAP_DONTUNMAP). With an old length of 0 a shared mapping is
 * duplicated.
 */
#include "base/log.h"
#include "sentry/mm/mm_priv.h"

#define REMAP_FLAGS (MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP)

/* What mremap was asked, lengths in whole pages. */
struct remap {
    uaddr old, new_addr;
    u64 old_len, new_len;
    u32 flags;
    const struct mm_limits *limits;
};

static bool overlaps(uaddr a, u64 alen, uaddr b, u64 blen)
{
    return a < b + blen && b < a + alen;
}

static int check_args(struct remap *r)
{
    if ((r->flags & ~(u32)REMAP_FLAGS) != 0 ||
        ((r->flags & MREMAP_FIXED) != 0 && (r->flags & MREMAP_MAYMOVE) == 0) ||
        ((r->flags & MREMAP_DONTUNMAP) != 0 &&
         ((r->flags & MREMAP_MAYMOVE) == 0 || r->old_len != r->new_len)) ||
        !IS_ALIGNED(r->old, PAGE_SIZE)) {
        return -EINVAL;
    }
    if (r->old_len > platform_caps.task_size || r->new_len > platform_caps.task_size) {
        return -EINVAL;
    }
    r->old_len = ALIGN_UP(r->old_len, PAGE_SIZE);
    r->new_len = ALIGN_UP(r->new_len, PAGE_SIZE);
    if (r->new_len == 0 || !range_ok(r->old, r->old_len, platform_caps.task_size)) {
        return -EINVAL;
    }
    if ((r->flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) != 0 &&
        (!IS_ALIGNED(r->new_addr, PAGE_SIZE) ||
         !range_ok(r->new_addr, r->new_len, platform_caps.task_size) ||
         overlaps(r->old, r->old_len, r->new_addr, r->new_len))) {
        return -EINVAL;
    }
    return (r->flags & MREMAP_FIXED) != 0 && r->new_addr < platform_caps.min_addr ? -EPERM : 0;
}

/* The VMA at r->old, if it may become new_len long. ERR_PTR. */
static struct vma *check_vma(struct mm *mm, const struct remap *r)
{
    struct vma *v = vma_at(mm, r->old);
    u64 grow = r->new_len > r->old_len ? r->new_len - r->old_len : 0;
    int err;

    if (v == NULL) {
        return ERR_PTR(-EFAULT);
    }
    if (r->old_len == 0 && vma_is_private(v)) {
        return ERR_PTR(-EINVAL);
    }
    if (r->old_len > v->end - r->old) {
        return ERR_PTR(-EFAULT);
    }
    if ((v->flags & VMA_SPECIAL) != 0 && (grow != 0 || (r->flags & MREMAP_DONTUNMAP) != 0)) {
        return ERR_PTR(grow != 0 ? -EFAULT : -EINVAL);
    }
    if (v->mappable != NULL && v->off + (r->old - v->start) > INT64_MAX - r->new_len) {
        return ERR_PTR(-EINVAL);
    }
    if (grow != 0) {
        err = limits_check(mm, grow, v->prot, v->flags, vma_is_private(v), r->limits);
        if (err != 0) {
            return ERR_PTR(err);
        }
    }
    return v;
}

static int flush_locked(struct mm *mm)
{
    MUTEX_GUARD(&mm->pma_lock);
    int err = host_flush(mm);

    pma_refill(mm);
    return err;
}

/* Frames for what a mapping gained, as mmap would give. */
static void fill_gain(struct vma *v, uaddr start, uaddr end)
{
    MUTEX_GUARD(&v->mm->pma_lock);
    if (v->prot != PROT_NONE && v->mappable == NULL && start < end && end - start <= EAGER_MAX) {
        fault_eager(v, start, end, true);
    }
}

/* Is there room behind v to grow to `end`? */
static bool may_grow_in_place(struct mm *mm, const struct vma *v, uaddr end)
{
    return end <= platform_caps.task_size && end > v->end &&
           place_is_free(mm, v->end, end - v->end);
}

static s64 grow_in_place(struct mm *mm, struct vma *v, const struct remap *r)
{
    uaddr from = v->end, to = r->old + r->new_len;
    int err;

    vma_set_range(v, v->start, to);
    fill_gain(v, from, to);
    err = flush_locked(mm);
    mm->peak_vm = max(mm->peak_vm, mm->total_vm);
    return err != 0 ? -ENOMEM : (s64)r->old;
}

/* Take the frames along: v's [old, +len) to n, which is linked meanwhile. */
static int move_frames(struct vma *v, struct vma *n, uaddr old, u64 len)
{
    struct mm *mm = v->mm;
    int err;

    vma_lock_file(v);
    vma_link_locked(n);
    vma_insert(n);
    mutex_lock(&mm->pma_lock);
    err = pma_move(mm, old, old + len, n->start);
    if (err == 0) {
        host_sync(mm, n->start, n->start + len, true, false);
    }
    mutex_unlock(&mm->pma_lock);
    vma_unlock_file(v);
    return err;
}

/* Move [old, +old_len) to the free range at `to`. */
static s64 move_vma(struct mm *mm, struct vma *v, const struct remap *r, uaddr to,
                    struct vma_list *dead)
{
    u64 moved = min(r->old_len, r->new_len);
    struct vma *n = vma_clone(mm, v);
    int err;

    if (n == NULL) {
        return -ENOMEM;
    }
    n->off = v->mappable != NULL ? v->off + (r->old - v->start) : 0;
    n->start = to;
    n->end = to + r->new_len;
    err = move_frames(v, n, r->old, moved);
    if (err != 0) {
        vma_remove(n, dead);
        return err;
    }
    fill_gain(n, to + moved, n->end);
    if ((r->flags & MREMAP_DONTUNMAP) != 0) {
        if (vma_isolate(mm, r->old, r->old + r->old_len) == 0) {
            v = vma_at(mm, r->old);
            vma_set_flags(v, v->prot, v->flags & ~(VMA_LOCKED | VMA_ONFAULT));
        }
    } else if (r->old_len != 0 && unmap_locked(mm, r->old, r->old + r->old_len, dead) != 0) {
        log_warn(LOG_MM, "no memory to remove the old place of a moved mapping");
    }
    err = flush_locked(mm);
    mm->peak_vm = max(mm->peak_vm, mm->total_vm);
    vma_merge(mm, to, to + r->new_len, dead);
    return err != 0 ? -ENOMEM : (s64)to;
}

/* Where a moved mapping goes; cleared if it was given. */
static s64 target(struct mm *mm, const struct remap *r, struct vma_list *dead)
{
    s64 to;
    int err;

    if ((r->flags & MREMAP_FIXED) == 0) {
        to = place_find(mm, (r->flags & MREMAP_DONTUNMAP) != 0 ? r->new_addr : 0, r->new_len, 0);
        return to;
    }
    err = unmap_locked(mm, r->new_addr, r->new_addr + r->new_len, dead);
    return err != 0 ? err : (s64)r->new_addr;
}

/* Cut [old + new_len, old + old_len) off. */
static int shrink(struct mm *mm, struct remap *r, struct vma_list *dead)
{
    int err = unmap_locked(mm, r->old + r->new_len, r->old + r->old_len, dead);

    if (err == 0) {
        r->old_len = r->new_len;
    }
    return err;
}

static s64 remap_locked(struct mm *mm, struct remap *r, struct vma_list *dead)
{
    bool must_move = (r->flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) != 0;
    struct vma *v;
    s64 to;

    if (r->old_len > r->new_len) {
        int err;

        if (must_move && IS_ERR(v = check_vma(mm, r))) {
            return PTR_ERR(v);
        }
        if (vma_at(mm, r->old) == NULL) {
            return -EFAULT;
        }
        err = shrink(mm, r, dead);
        if (err != 0 || !must_move) {
            (void)flush_locked(mm);
            return err != 0 ? err : (s64)r->old;
        }
    }
    v = check_vma(mm, r);
    if (IS_ERR(v)) {
        return PTR_ERR(v);
    }
    if (!must_move) {
        if (r->old_len == r->new_len) {
            return (s64)r->old;
        }
        if (r->old_len == v->end - r->old && may_grow_in_place(mm, v, r->old + r->new_len)) {
            return grow_in_place(mm, v, r);
        }
        if ((r->flags & MREMAP_MAYMOVE) == 0) {
            return -ENOMEM;
        }
    }
    if (mm->nr_vmas + 4 > MAX_VMAS) {
        return -ENOMEM;
    }
    to = target(mm, r, dead);
    return to < 0 ? to : move_vma(mm, vma_at(mm, r->old), r, (uaddr)to, dead);
}

s64 mm_remap(struct mm *mm, uaddr old, u64 old_len, u64 new_len, u32 flags, uaddr new_addr,
             const struct mm_limits *l)
{
    struct remap r = {.old = old,
                      .new_addr = new_addr,
                      .old_len = old_len,
                      .new_len = new_len,
                      .flags = flags,
                      .limits = l};
    struct vma_list dead = SLIST_HEAD_INITIALIZER(dead);
    bool locked = false;
    struct vma *v;
    s64 ret = check_args(&r);

    if (ret != 0) {
        return ret;
    }
    write_lock(&mm->lock);
    ret = remap_locked(mm, &r, &dead);
    flush_quietly(mm);
    if (ret >= 0) {
        v = vma_at(mm, (uaddr)ret);
        locked = v != NULL && (v->flags & (VMA_LOCKED | VMA_ONFAULT)) == VMA_LOCKED;
    }
    write_unlock(&mm->lock);
    vma_list_put(&dead);
    if (locked && r.new_len > r.old_len) {
        (void)mm_populate(mm, (uaddr)ret, (uaddr)ret + r.new_len, false);
    }
    return ret;
}
