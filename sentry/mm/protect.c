/* SPDX-License-Identifier: Apache-2.0 */
/* mprotect(2): VMAs are split at the ends of the range, changed one by one, and merged again. */
#include "sentry/mm/mm_priv.h"

#ifndef PROT_SEM
#define PROT_SEM 0x8 /* accepted and without meaning, as in Linux */
#endif
#define PROT_ALL (PROT_READ | PROT_WRITE | PROT_EXEC)

/* May v have `prot`? */
static int protect_check(struct mm *mm, const struct vma *v, u32 prot, u64 len,
                         const struct mm_limits *l)
{
    u32 need = ((prot & PROT_READ) != 0 ? VMA_MAYREAD : 0) |
               ((prot & PROT_WRITE) != 0 ? VMA_MAYWRITE : 0) |
               ((prot & PROT_EXEC) != 0 ? VMA_MAYEXEC : 0);
    bool becomes_data = vma_is_private(v) && (v->flags & VMA_GROWSDOWN) == 0 &&
                        (prot & PROT_WRITE) != 0 && (v->prot & PROT_WRITE) == 0;

    if ((need & ~v->flags) != 0) {
        return -EACCES;
    }
    if (becomes_data && l != NULL && (len > l->data || mm->data_vm > l->data - len)) {
        return -ENOMEM;
    }
    return 0;
}

/* One VMA that lies in the range wholly. */
static void protect_vma(struct vma *v, u32 prot)
{
    bool was_none = (v->prot & PROT_ALL) == 0;

    vma_set_flags(v, prot, v->flags);
    MUTEX_GUARD(&v->mm->pma_lock);
    if (was_none && prot != PROT_NONE && v->mappable == NULL && v->end - v->start <= EAGER_MAX) {
        fault_eager(v, v->start, v->end, true);
    } else {
        host_sync(v->mm, v->start, v->end, false, false);
    }
}

/* [start, end) from the first VMA on; *done: up to where it was changed. */
static int protect_range(struct mm *mm, uaddr start, uaddr end, u32 prot, const struct mm_limits *l,
                         uaddr *done)
{
    for (uaddr at = start; at < end; at = *done) {
        struct vma *v = vma_at(mm, at);
        uaddr to;
        int err;

        if (v == NULL) {
            return -ENOMEM;
        }
        to = min(v->end, end);
        err = protect_check(mm, v, prot, to - at, l);
        if (err == 0 && v->prot != prot) {
            err = vma_isolate(mm, at, to);
            if (err == 0) {
                protect_vma(vma_at(mm, at), prot);
            }
        }
        if (err != 0) {
            return err;
        }
        *done = to;
    }
    return 0;
}

int mm_protect(struct mm *mm, uaddr addr, u64 len, u32 prot, const struct mm_limits *l)
{
    struct vma_list dead = SLIST_HEAD_INITIALIZER(dead);
    bool down = (prot & PROT_GROWSDOWN) != 0;
    uaddr start = addr, end, done;
    struct vma *v;
    int err, flushed;

    if ((prot & ~(u32)(PROT_ALL | PROT_GROWSDOWN | PROT_SEM)) != 0 ||
        !IS_ALIGNED(addr, PAGE_SIZE)) {
        return -EINVAL;
    }
    if (len == 0) {
        return 0;
    }
    if (len > platform_caps.task_size ||
        !range_ok(addr, ALIGN_UP(len, PAGE_SIZE), platform_caps.task_size)) {
        return -ENOMEM;
    }
    end = addr + ALIGN_UP(len, PAGE_SIZE);
    write_lock(&mm->lock);
    v = vma_find(mm, addr);
    if (v == NULL || v->start >= end || (!down && v->start > addr)) {
        write_unlock(&mm->lock);
        return -ENOMEM;
    }
    if (down) {
        if ((v->flags & VMA_GROWSDOWN) == 0) {
            write_unlock(&mm->lock);
            return -EINVAL;
        }
        start = v->start;
    }
    done = start;
    err = protect_range(mm, start, end, prot & PROT_ALL, l, &done);
    mutex_lock(&mm->pma_lock);
    flushed = host_flush(mm);
    pma_refill(mm);
    mutex_unlock(&mm->pma_lock);
    vma_merge(mm, start, done, &dead);
    write_unlock(&mm->lock);
    vma_list_put(&dead);
    return err != 0 ? err : flushed;
}
