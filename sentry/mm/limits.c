/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an address space holds, and how much it may (getrlimit(2), mmap(2)). Counted in bytes of
 * VMAs as Linux does: total, data (private writable that is no stack), stack, code, locked.
 */
#include "base/memfile.h"
#include "sentry/mm/mm_priv.h"

static bool is_data(u32 prot, u32 flags, bool is_private)
{
    return is_private && (prot & PROT_WRITE) != 0 && (flags & VMA_GROWSDOWN) == 0;
}

void limits_account(struct mm *mm, const struct vma *v, u64 bytes, bool add)
{
    u64 delta = add ? bytes : -bytes; /* modulo 2^64: each counter goes down by what went in */

    mm->total_vm += delta;
    if (is_data(v->prot, v->flags, vma_is_private(v))) {
        mm->data_vm += delta;
    }
    if ((v->flags & VMA_GROWSDOWN) != 0) {
        mm->stack_vm += delta;
    }
    if ((v->prot & PROT_EXEC) != 0 && (v->prot & PROT_WRITE) == 0) {
        mm->exec_vm += delta;
    }
    if ((v->flags & VMA_LOCKED) != 0) {
        mm->locked_vm += delta;
    }
}

u64 limits_mapped(struct mm *mm, uaddr start, uaddr end)
{
    u64 sum = 0;

    for (struct vma *v = vma_find(mm, start); v != NULL && v->start < end; v = vma_next(v)) {
        sum += min(v->end, end) - max(v->start, start);
    }
    return sum;
}

/* Linux's "obvious overcommit" heuristic: a single request beyond all memory there is, fails. */
static bool is_hopeless(u64 grow, u32 prot, u32 flags, bool is_private)
{
    u64 limit = memfile_limit(memfile);

    return limit != 0 && grow > limit && (flags & VMA_NORESERVE) == 0 && is_private &&
           (prot & PROT_WRITE) != 0;
}

int limits_check(struct mm *mm, u64 grow, u32 prot, u32 flags, bool is_private,
                 const struct mm_limits *l)
{
    if (mm->nr_vmas >= MAX_VMAS || is_hopeless(grow, prot, flags, is_private)) {
        return -ENOMEM;
    }
    if (l == NULL) {
        return 0;
    }
    if (grow > l->as || mm->total_vm > l->as - grow) {
        return -ENOMEM;
    }
    if (is_data(prot, flags, is_private) && (grow > l->data || mm->data_vm > l->data - grow)) {
        return -ENOMEM;
    }
    if ((flags & VMA_LOCKED) != 0 && !l->may_lock &&
        (grow > l->memlock || mm->locked_vm > l->memlock - grow)) {
        return -EAGAIN;
    }
    return 0;
}
