/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's page tables as a cache of VMA protection over PMAs: changes are gathered in a batch
 * and applied in order by one call of the platform for each guest-visible operation. Neighbouring
 * changes that fit merge, so that the host needs few mappings and few calls.
 */
#include "base/log.h"
#include "sentry/mm/mm_priv.h"

/* What the host may let the guest do with p's pages in v. */
u32 host_prot(const struct vma *v, const struct pma *p)
{
    u32 prot = v->prot & (PROT_READ | PROT_WRITE | PROT_EXEC);

    if (prot == 0) {
        return PROT_NONE;
    }
    if (p->need_cow || !p->writable) {
        prot &= ~(u32)PROT_WRITE;
    }
    return prot | PROT_READ; /* x86 cannot map write-only or (without PKU) execute-only */
}

/*
 * Some of the batch failed, it is not known where: take everything it touched out of the host, so
 * that faults map it again. If even that fails, the host may show what we no longer want it to;
 * then no frame is given back before the whole address space goes (host_stale).
 */
static void batch_recover(struct mm *mm, u32 count)
{
    struct map_op op = {.kind = MAP_OP_UNMAP, .fd = -1};
    uaddr start = UINT64_MAX, end = 0;
    struct pma *p;

    for (u32 i = 0; i < count; i++) {
        start = min(start, mm->ops[i].addr);
        end = max(end, mm->ops[i].addr + mm->ops[i].len);
    }
    for (p = pma_find(mm, start); p != NULL && p->start < end; p = pma_next(p)) {
        start = min(start, p->start);
        end = max(end, p->end);
        p->mapped = false;
    }
    op.addr = start;
    op.len = end - start;
    if (platform->aspace_apply(mm->aspace, &op, 1) != 0) {
        mm->host_stale = true;
    }
}

/* Hand the batch over. The first error is kept for host_flush. */
static void batch_apply(struct mm *mm)
{
    u32 count = mm->nr_ops;
    int err;

    if (count == 0) {
        return;
    }
    mm->nr_ops = 0;
    err = platform->aspace_apply(mm->aspace, mm->ops, count);
    if (err != 0) {
        log_warn(LOG_MM, "the host refused a change of mappings: %d", err);
        batch_recover(mm, count);
        mm->host_err = mm->host_err != 0 ? mm->host_err : err;
    }
}

/* Can `op` be appended to `last`? If so, it was. */
static bool op_merge(struct map_op *last, const struct map_op *op)
{
    if (last->kind == MAP_OP_UNMAP && op->kind == MAP_OP_MAP && op->addr <= last->addr &&
        last->addr + last->len <= op->addr + op->len) {
        *last = *op; /* mapping over it unmaps */
        return true;
    }
    if (last->kind != op->kind || last->addr + last->len != op->addr || last->prot != op->prot) {
        return false;
    }
    if (op->kind == MAP_OP_MAP &&
        (last->fd != op->fd || last->offset + last->len != op->offset ||
         last->populate != op->populate || last->private_ro != op->private_ro)) {
        return false;
    }
    last->len += op->len;
    return true;
}

void host_add(struct mm *mm, const struct map_op *op)
{
    ASSERT_HELD(&mm->pma_lock);
    if (mm->ops == NULL) {
        mm->ops = heap_alloc(BATCH_OPS * sizeof(*mm->ops));
        if (mm->ops == NULL) {
            mm->host_err = -ENOMEM;
            mm->host_stale = true;
            return;
        }
    }
    if (mm->nr_ops > 0 && op_merge(&mm->ops[mm->nr_ops - 1], op)) {
        return;
    }
    if (mm->nr_ops == BATCH_OPS) {
        batch_apply(mm);
    }
    mm->ops[mm->nr_ops++] = *op;
}

void host_unmap(struct mm *mm, uaddr start, uaddr end)
{
    const struct map_op op = {.kind = MAP_OP_UNMAP, .addr = start, .len = end - start, .fd = -1};

    host_add(mm, &op);
}

/*
 * Will the pages likely be used soon? Bringing a page in with its mapping costs a fiftieth of a
 * fault in a nested virtual machine and a half of one on bare metal. Memory that was never touched
 * is filled only where the piece is small; what is in the host's page cache costs no memory.
 */
static bool is_worth_populating(const struct vma *v, const struct pma *p, u64 len)
{
    if (p->fd >= 0) {
        return len <= POPULATE_FILE;
    }
    return len <= POPULATE_ANON;
}

/* One PMA's part in one VMA. */
static void sync_piece(struct vma *v, struct pma *p, uaddr s, uaddr e, bool remap, bool populate)
{
    struct map_op op = {.addr = s, .len = e - s, .prot = host_prot(v, p), .fd = -1};

    if (remap) {
        op.kind = MAP_OP_MAP;
        op.fd = p->fd >= 0 ? p->fd : memfile_fd(memfile);
        op.offset = p->off + (s - p->start);
        op.populate = populate && op.prot != PROT_NONE && is_worth_populating(v, p, e - s);
        op.private_ro = p->fd >= 0 && vma_is_private(v);
    } else {
        op.kind = MAP_OP_PROTECT;
    }
    host_add(v->mm, &op);
}

void host_protect_cow(struct mm *mm, const struct vma *v, const struct pma *p)
{
    uaddr s = max(v->start, p->start), e = min(v->end, p->end);
    const struct map_op op = {
        .kind = MAP_OP_PROTECT, .addr = s, .len = e - s, .prot = host_prot(v, p), .fd = -1};

    if ((v->prot & PROT_WRITE) != 0) { /* else it had none */
        host_add(mm, &op);
    }
}

void host_sync(struct mm *mm, uaddr start, uaddr end, bool remap, bool populate)
{
    struct pma *p, *last = NULL;
    struct vma *v;

    for (p = pma_find(mm, start); p != NULL && p->start < end; p = pma_next(p)) {
        bool map = remap || !p->mapped;
        uaddr from = p->mapped ? max(p->start, start) : p->start;
        uaddr to = p->mapped ? min(p->end, end) : p->end;

        for (v = vma_find(mm, from); v != NULL && v->start < to; v = vma_next(v)) {
            sync_piece(v, p, max(v->start, from), min(v->end, to), map, populate);
        }
        p->mapped = true;
        p = last = pma_merge_left(mm, p);
    }
    if (last != NULL && (p = pma_next(last)) != NULL) {
        (void)pma_merge_left(mm, p);
    }
}

int host_flush(struct mm *mm)
{
    int err;

    if (mm->building && mm->host_err == 0) {
        return 0;
    }
    batch_apply(mm);
    err = mm->host_err;
    mm->host_err = 0;
    if (!mm->host_stale) {
        pma_reap(mm);
    }
    return err;
}
