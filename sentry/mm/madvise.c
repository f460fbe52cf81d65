/* SPDX-License-Identifier: Apache-2.0 */
/*
 * madvise(2), msync(2), mincore(2): advice about ranges of memory.
 *
 * MADV_DONTNEED and MADV_FREE on anonymous memory that only we own give the pages back in place
 * (the memory file is punched, the host's mappings stay): allocators do this all the time, and no
 * fault reaches the sentry afterwards.
 */
#include "base/host.h"
#include "base/usermem.h"
#include "sentry/mm/mm_priv.h"
#include "vfs/vfs.h"

#include <linux/falloc.h>

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

/* ---- dropping pages ---- */

/* Zeroes in [start, end), which lies in one PMA that is ours alone over *run bytes. */
static bool decommit(struct pma *p, uaddr start, uaddr end, u64 *run)
{
    u64 off = p->off + (start - p->start);

    *run = end - start;
    if (p->fd >= 0 || !p->owned) {
        return false;
    }
    if (memfile_refs(memfile, off, end - start, run) != 1) {
        return false;
    }
    memfile_decommit(memfile, off, *run);
    return true;
}

/* The pages of [start, end) in v read as fresh from now on. pma_lock held. */
static int drop_pages(struct vma *v, uaddr start, uaddr end)
{
    struct mm *mm = v->mm;
    uaddr at = start;
    struct pma *p;

    if (v->mappable != NULL) {
        return pma_drop(mm, start, end);
    }
    while (at < end && (p = pma_find(mm, at)) != NULL && p->start < end) {
        uaddr s = max(p->start, at), e = min(p->end, end);
        u64 run;

        at = e;
        if (decommit(p, s, e, &run)) {
            at = s + run;
            continue;
        }
        if (pma_drop(mm, s, s + run) != 0) {
            return -ENOMEM;
        }
        at = s + run;
        if (v->prot != PROT_NONE && run <= LAZY_CHUNK) {
            fault_eager(v, s, s + run, false);
        }
    }
    return 0;
}

static int advise_drop(struct vma *v, uaddr start, uaddr end, int advice)
{
    if ((v->flags & VMA_LOCKED) != 0 && advice != MADV_DONTNEED_LOCKED) {
        return -EINVAL;
    }
    if ((v->flags & VMA_SPECIAL) != 0 || (advice == MADV_FREE && v->mappable != NULL)) {
        return -EINVAL;
    }
    MUTEX_GUARD(&v->mm->pma_lock);
    int err = drop_pages(v, start, end), flushed = host_flush(v->mm);

    pma_refill(v->mm);
    return err != 0 ? err : flushed;
}

/* ---- flags ---- */

static int advise_flags(struct vma *v, uaddr start, uaddr end, u32 clear, u32 set)
{
    struct mm *mm = v->mm;
    int err;

    if (((v->flags & ~clear) | set) == v->flags) {
        return 0;
    }
    err = vma_isolate(mm, start, end);
    if (err == 0) {
        v = vma_at(mm, start);
        vma_set_flags(v, v->prot, (v->flags & ~clear) | set);
    }
    return err;
}

/* One VMA's part of the range. mm->lock held for writing. */
static int advise_vma(struct vma *v, uaddr start, uaddr end, int advice)
{
    switch (advice) {
    case MADV_DONTNEED:
    case MADV_DONTNEED_LOCKED:
    case MADV_FREE:
        return advise_drop(v, start, end, advice);
    case MADV_DONTFORK:
        return advise_flags(v, start, end, 0, VMA_DONTFORK);
    case MADV_DOFORK:
        return (v->flags & VMA_SPECIAL) != 0 ? -EINVAL
                                             : advise_flags(v, start, end, VMA_DONTFORK, 0);
    case MADV_DONTDUMP:
        return advise_flags(v, start, end, 0, VMA_DONTDUMP);
    case MADV_DODUMP:
        return advise_flags(v, start, end, VMA_DONTDUMP, 0);
    case MADV_WIPEONFORK:
        return v->mappable != NULL ? -EINVAL : advise_flags(v, start, end, 0, VMA_WIPEONFORK);
    case MADV_KEEPONFORK:
        return advise_flags(v, start, end, VMA_WIPEONFORK, 0);
    default:
        return 0; /* a hint */
    }
}

/* -ENOMEM if there are gaps, after all that is there was advised. */
static int advise_range(struct mm *mm, uaddr start, uaddr end, int advice, struct vma_list *dead)
{
    int err = 0, gap = 0;
    uaddr at = start;

    while (at < end && err == 0) {
        struct vma *v = vma_find(mm, at);
        uaddr to;

        if (v == NULL || v->start >= end) {
            gap = -ENOMEM;
            break;
        }
        if (v->start > at) {
            gap = -ENOMEM;
        }
        at = max(at, v->start);
        to = min(v->end, end);
        err = advise_vma(v, at, to, advice);
        at = to;
    }
    vma_merge(mm, start, at, dead);
    return err != 0 ? err : gap;
}

/* ---- MADV_REMOVE, MADV_POPULATE_* ---- */

/* The file range behind addr, with a counted file; how far it goes: *len. ERR_PTR. */
static struct file *file_at(struct mm *mm, uaddr addr, uaddr end, u64 *off, u64 *len)
{
    struct vma *v;

    READ_GUARD(&mm->lock);
    v = vma_at(mm, addr);
    if (v == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    if ((v->flags & VMA_LOCKED) != 0 || v->file == NULL) {
        return ERR_PTR(-EINVAL);
    }
    if (vma_is_private(v) || (v->prot & PROT_WRITE) == 0) {
        return ERR_PTR(-EACCES);
    }
    *off = v->off + (addr - v->start);
    *len = min(end, v->end) - addr;
    return file_get(v->file);
}

static int advise_remove(struct mm *mm, uaddr start, uaddr end)
{
    struct vfs_ctx ctx = {.fsize_limit = UINT64_MAX};

    for (uaddr at = start; at < end;) {
        u64 off, len;
        AUTOPUT_FILE f = file_at(mm, at, end, &off, &len);
        int err;

        if (IS_ERR(f)) {
            return (int)PTR_ERR(f);
        }
        err =
            file_fallocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (s64)off, (s64)len, &ctx);
        if (err != 0) {
            return err;
        }
        at += len;
    }
    return 0;
}

static int advise_populate(struct mm *mm, uaddr start, uaddr end, bool write)
{
    int err = mm_populate(mm, start, end, write);

    return err == -ENXIO ? -EFAULT : err == -EACCES ? -EINVAL : err;
}

static bool advice_is_known(int advice)
{
    switch (advice) {
    case MADV_NORMAL:
    case MADV_RANDOM:
    case MADV_SEQUENTIAL:
    case MADV_WILLNEED:
    case MADV_DONTNEED:
    case MADV_DONTNEED_LOCKED:
    case MADV_FREE:
    case MADV_REMOVE:
    case MADV_DONTFORK:
    case MADV_DOFORK:
    case MADV_MERGEABLE:
    case MADV_UNMERGEABLE:
    case MADV_HUGEPAGE:
    case MADV_NOHUGEPAGE:
    case MADV_DONTDUMP:
    case MADV_DODUMP:
    case MADV_WIPEONFORK:
    case MADV_KEEPONFORK:
    case MADV_COLD:
    case MADV_PAGEOUT:
    case MADV_POPULATE_READ:
    case MADV_POPULATE_WRITE:
        return true;
    default:
        return false; /* HWPOISON, SOFT_OFFLINE, COLLAPSE: as kernels built without them */
    }
}

int mm_advise(struct mm *mm, uaddr addr, u64 len, int advice)
{
    struct vma_list dead = SLIST_HEAD_INITIALIZER(dead);
    uaddr end;
    int err;

    if (!advice_is_known(advice) || !IS_ALIGNED(addr, PAGE_SIZE) ||
        len > UINT64_MAX - PAGE_SIZE - addr) {
        return -EINVAL;
    }
    end = addr + ALIGN_UP(len, PAGE_SIZE);
    if (end == addr) {
        return 0;
    }
    if (advice == MADV_REMOVE) {
        return advise_remove(mm, addr, end);
    }
    if (advice == MADV_POPULATE_READ || advice == MADV_POPULATE_WRITE) {
        return advise_populate(mm, addr, end, advice == MADV_POPULATE_WRITE);
    }
    write_lock(&mm->lock);
    err = advise_range(mm, addr, end, advice, &dead);
    write_unlock(&mm->lock);
    vma_list_put(&dead);
    return err;
}

/* ---- msync ---- */

/* What must be written back first at or behind *at: a counted file, or NULL. */
static struct file *sync_next(struct mm *mm, uaddr *at, uaddr end, u32 flags, int *err, u64 *off,
                              u64 *len)
{
    READ_GUARD(&mm->lock);
    while (*at < end) {
        struct vma *v = vma_find(mm, *at);
        uaddr from = *at;

        if (v == NULL || v->start > *at) {
            *err = -ENOMEM;
            if (v == NULL || v->start >= end) {
                *at = end;
                return NULL;
            }
            from = v->start;
        }
        if ((flags & MS_INVALIDATE) != 0 && (v->flags & VMA_LOCKED) != 0) {
            *err = -EBUSY;
            *at = end;
            return NULL;
        }
        *at = min(v->end, end);
        if ((flags & MS_SYNC) != 0 && v->file != NULL && !vma_is_private(v) &&
            v->mappable->ops->sync != NULL) {
            *off = v->off + (from - v->start);
            *len = *at - from;
            return file_get(v->file);
        }
    }
    return NULL;
}

int mm_sync(struct mm *mm, uaddr addr, u64 len, u32 flags)
{
    uaddr at = addr, end;
    int err = 0;

    if ((flags & ~(u32)(MS_ASYNC | MS_INVALIDATE | MS_SYNC)) != 0 || !IS_ALIGNED(addr, PAGE_SIZE) ||
        ((flags & MS_ASYNC) != 0 && (flags & MS_SYNC) != 0)) {
        return -EINVAL;
    }
    if (len > UINT64_MAX - PAGE_SIZE - addr) {
        return -ENOMEM;
    }
    end = addr + ALIGN_UP(len, PAGE_SIZE);
    while (at < end) {
        u64 off, n;
        AUTOPUT_FILE f = sync_next(mm, &at, end, flags, &err, &off, &n);
        struct mappable *m;
        int ret;

        if (f == NULL) {
            break;
        }
        m = file_mmap(f, PROT_READ, MAP_SHARED);
        ret = IS_ERR(m) ? 0 : m->ops->sync(m, off, n);
        if (ret != 0) {
            return ret;
        }
    }
    return err;
}

/* ---- mincore ---- */

#define MINCORE_PAGES 256U

/* One byte a page of [at, +count pages), all mapped or -ENOMEM. */
static int mincore_chunk(struct mm *mm, uaddr at, u32 count, u8 *vec)
{
    uaddr end = at + count * PAGE_SIZE;
    struct pma *p;

    READ_GUARD(&mm->lock);
    if (limits_mapped(mm, at, end) != end - at) {
        return -ENOMEM;
    }
    memset(vec, 0, count);
    MUTEX_GUARD(&mm->pma_lock);
    for (p = pma_find(mm, at); p != NULL && p->start < end; p = pma_next(p)) {
        uaddr s = max(p->start, at), e = min(p->end, end);
        u8 *out = vec + (s - at) / PAGE_SIZE;

        if (p->fd >= 0 || host_mincore(memfile_window(memfile, p->off + (s - p->start), e - s),
                                       e - s, out) != 0) {
            memset(out, 1, (e - s) / PAGE_SIZE);
        }
    }
    for (u32 i = 0; i < count; i++) {
        vec[i] &= 1;
    }
    return 0;
}

int mm_mincore(struct mm *mm, uaddr addr, u64 len, uaddr vec)
{
    u8 buf[MINCORE_PAGES];
    u64 pages;

    if (!IS_ALIGNED(addr, PAGE_SIZE)) {
        return -EINVAL;
    }
    if (!range_ok(addr, len, platform_caps.task_size)) {
        return -ENOMEM;
    }
    pages = ALIGN_UP(len, PAGE_SIZE) / PAGE_SIZE;
    if (!range_ok(vec, pages, platform_caps.task_size)) {
        return -EFAULT;
    }
    for (u64 done = 0; done < pages;) {
        u32 n = (u32)min(pages - done, (u64)MINCORE_PAGES);
        int err = mincore_chunk(mm, addr + done * PAGE_SIZE, n, buf);

        if (err == 0) {
            err = copy_out(vec + done, buf, n);
        }
        if (err != 0) {
            return err;
        }
        done += n;
    }
    return 0;
}
