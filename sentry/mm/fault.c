/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames on demand: the first touch of a page, writes to shared private pages (copy on write),
 * growth of stacks, and what is an error.
 *
 * Anonymous memory usually has its frames from mmap on (fault_eager), so faults come from fork,
 * from file mappings and from very large or reserved mappings. Copies are made in chunks of
 * COW_CHUNK, larger when the address space runs short of host mappings; where this address space is
 * the only owner left, frames become writable in place as far as that holds.
 */
#include "base/host.h"
#include "base/log.h"
#include "sentry/mm/mm_priv.h"

int fault_check(const struct vma *v, u32 access)
{
    if ((access & ACCESS_WRITE) != 0) {
        return (v->prot & PROT_WRITE) != 0 ? 0 : -EACCES;
    }
    if ((access & ACCESS_EXEC) != 0) {
        return (v->prot & PROT_EXEC) != 0 ? 0 : -EACCES;
    }
    return (v->prot & (PROT_READ | PROT_WRITE | PROT_EXEC)) != 0 ? 0 : -EACCES;
}

/* The part of [start, end) around addr that has no PMA. */
static void clip_to_hole(struct mm *mm, uaddr addr, uaddr *start, uaddr *end)
{
    struct pma *p = pma_find(mm, addr), *q = pma_prev(mm, addr);

    if (p != NULL) {
        *end = min(*end, p->start);
    }
    if (q != NULL) {
        *start = max(*start, q->end);
    }
}

/*
 * --memory. What has frames may get pages behind them without us being asked, so frames are given
 * out ahead of use (eagerly) only up to half the limit in all; beyond that, by faults in small
 * chunks while the pages in use are below it. A guest can so exceed the limit by half at most.
 */
static bool is_out_of_memory(void)
{
    u64 limit = memfile_limit(memfile);

    return limit != 0 && memfile_committed(memfile) >= limit;
}

static bool may_be_eager(u64 len)
{
    u64 limit = memfile_limit(memfile), sum = 0;

    for (int kind = 0; kind < MEMFILE_KINDS; kind++) {
        sum += memfile_kind_bytes(memfile, kind);
    }
    return len <= EAGER_MAX && (limit == 0 || (sum <= limit / 2 && len <= limit / 2 - sum));
}

/* Zeroed frames for [start, end), which has none. ERR_PTR. */
static struct pma *anon_frames(struct vma *v, uaddr start, uaddr end)
{
    struct pma t = {.start = start, .end = end, .fd = -1, .writable = true, .owned = true};
    struct pma *p;

    if (is_out_of_memory() || memfile_alloc(memfile, end - start, MEMFILE_ANON, &t.off) != 0) {
        return ERR_PTR(-ENOMEM);
    }
    p = pma_add(v->mm, &t);
    return p != NULL ? p : ERR_PTR(-ENOMEM);
}

/* The file's frames from `start` on, which has none, to `end` at most. ERR_PTR. */
static struct pma *file_frames(struct vma *v, uaddr start, uaddr end, bool write)
{
    struct pma t = {.start = start, .fd = -1};
    struct extent x;
    struct pma *p;
    int err;

    write = write && !vma_is_private(v);
    err = v->mappable->ops->get_extent(v->mappable, v->off + (start - v->start), end - start, write,
                                       &x);
    if (err != 0) {
        return ERR_PTR(err);
    }
    CHECK(x.len > 0 && x.len <= end - start && IS_ALIGNED(x.len | x.off, PAGE_SIZE),
          "extent of %lu bytes", (unsigned long)x.len);
    t.end = start + x.len;
    t.off = x.off;
    if (!x.memfile) {
        t.fd = x.fd;
    }
    t.need_cow = vma_is_private(v);
    t.writable = !t.need_cow && x.writable;
    p = pma_add(v->mm, &t);
    return p != NULL ? p : ERR_PTR(-ENOMEM);
}

/* First touch of addr. */
static struct pma *fault_missing(struct vma *v, uaddr addr, bool write)
{
    uaddr page = ALIGN_DOWN(addr, PAGE_SIZE), start, end;
    struct pma *p;
    u64 chunk;

    if (v->mappable == NULL) {
        chunk = may_be_eager(LAZY_CHUNK) ? LAZY_CHUNK : COW_CHUNK;
        start = max(v->start, ALIGN_DOWN(addr, chunk));
        end = min(v->end, ALIGN_DOWN(addr, chunk) + chunk);
        clip_to_hole(v->mm, addr, &start, &end);
        return anon_frames(v, start, end);
    }
    start = max(v->start, ALIGN_DOWN(addr, FILE_AROUND));
    end = min(v->end, page + LAZY_CHUNK);
    clip_to_hole(v->mm, addr, &start, &end);
    if (start < page && !write) {
        p = file_frames(v, start, end, false);
        if (!IS_ERR(p) && p->end > addr) {
            return p;
        }
        if (IS_ERR(p) && PTR_ERR(p) == -ENOMEM) {
            return p;
        }
    }
    return file_frames(v, page, end, write);
}

/* Bytes of a host file or the memory file, to frames that nobody sees yet. Behind the end of the
 * file there are zeroes already. */
static int frames_copy(u64 to, const struct pma *p, u64 off, u64 len)
{
    char *dst = memfile_window(memfile, to, len);
    u64 done = 0;

    if (p->fd < 0) {
        memcpy(dst, memfile_window(memfile, off, len), len);
        return 0;
    }
    while (done < len) {
        ssize_t n = host_pread(p->fd, dst + done, len - done, off + done);

        if (n == -EINTR) {
            continue;
        }
        if (n < 0) {
            return -ENXIO;
        }
        if (n == 0) {
            break;
        }
        done += (u64)n;
    }
    return 0;
}

/* How much to copy at once: more as host mappings get scarce. */
static u64 cow_chunk(const struct mm *mm)
{
    u64 max_maps = platform_caps.max_mappings != 0 ? platform_caps.max_mappings : 65530;

    if (mm->nr_pmas < max_maps / 4) {
        return COW_CHUNK;
    }
    return mm->nr_pmas < max_maps / 2 ? 16 * COW_CHUNK : 256 * COW_CHUNK;
}

/*
 * The only owner is left: no copy, as far as that is so, from `low` or else from `page` on. NULL:
 * others own it too.
 */
static struct pma *cow_in_place(struct mm *mm, struct pma *p, uaddr low, uaddr page)
{
    u64 run;

    if (p->fd >= 0 || !p->owned) {
        return NULL;
    }
    if (memfile_refs(memfile, p->off + (low - p->start), p->end - low, &run) != 1 ||
        low + run <= page) {
        low = page;
        if (memfile_refs(memfile, p->off + (low - p->start), p->end - low, &run) != 1) {
            return NULL;
        }
    }
    if (pma_isolate(mm, low, low + run) != 0) {
        return ERR_PTR(-ENOMEM);
    }
    p = pma_at(mm, low);
    p->need_cow = false;
    p->writable = true;
    return p;
}

/* Give [start, end) of p, which needs copies before writes, frames of its own. ERR_PTR. */
static struct pma *cow_copy(struct mm *mm, struct pma *p, uaddr start, uaddr end)
{
    u64 off, len = end - start;
    int err;

    if (is_out_of_memory() || pma_isolate(mm, start, end) != 0) {
        return ERR_PTR(-ENOMEM);
    }
    p = pma_at(mm, start);
    if (memfile_alloc(memfile, len, MEMFILE_ANON, &off) != 0) {
        return ERR_PTR(-ENOMEM);
    }
    err = frames_copy(off, p, p->off, len);
    if (err == 0) {
        err = pma_retire(mm, p->fd, p->off, len);
    }
    if (err != 0) {
        memfile_unref(memfile, off, len);
        return ERR_PTR(err);
    }
    p->fd = -1;
    p->off = off;
    p->need_cow = false;
    p->writable = true;
    p->owned = true;
    return p;
}

/* Make addr, whose frame is another's too, writable by us. ERR_PTR. */
static struct pma *fault_cow(struct vma *v, struct pma *p, uaddr addr)
{
    u64 chunk = cow_chunk(v->mm);
    uaddr page = ALIGN_DOWN(addr, PAGE_SIZE), base = ALIGN_DOWN(addr, chunk);
    uaddr start = max(max(v->start, p->start), base);
    uaddr end = min(min(v->end, p->end), base + chunk);
    struct pma *n = cow_in_place(v->mm, p, start, page);
    bool copied = n == NULL;

    if (copied) {
        n = cow_copy(v->mm, p, start, end);
    }
    if (!IS_ERR(n)) {
        host_sync(v->mm, n->start, n->end, copied, copied);
        n = pma_at(v->mm, addr);
    }
    return n;
}

/* A shared page whose file did not promise that it may be written: ask again, for writing. */
static struct pma *fault_upgrade(struct vma *v, struct pma *p, uaddr addr)
{
    uaddr page = ALIGN_DOWN(addr, PAGE_SIZE);
    uaddr end = min(min(v->end, p->end), page + COW_CHUNK);
    struct pma *n;

    if (pma_drop(v->mm, page, end) != 0) {
        return ERR_PTR(-ENOMEM);
    }
    n = file_frames(v, page, end, true);
    return IS_ERR(n) || n->writable ? n : ERR_PTR(-ENXIO);
}

struct pma *fault_page(struct vma *v, uaddr addr, bool write)
{
    struct pma *p = pma_at(v->mm, addr);
    bool fresh = true;

    ASSERT_HELD(&v->mm->pma_lock);
    if (p == NULL) {
        p = fault_missing(v, addr, write);
    } else if (write && !p->need_cow && !p->writable) {
        p = fault_upgrade(v, p, addr);
    } else {
        fresh = false;
    }
    if (IS_ERR(p)) {
        return p;
    }
    if (write && p->need_cow) {
        return fault_cow(v, p, addr);
    }
    if (fresh || !p->mapped) {
        host_sync(v->mm, p->start, p->end, true, true);
        p = pma_at(v->mm, addr);
    }
    return p;
}

void fault_eager(struct vma *v, uaddr start, uaddr end, bool populate)
{
    uaddr at = start;

    for (int i = 0; at < end && i < EAGER_EXTENTS; i++) {
        uaddr s = at, e = end;
        struct pma *p = pma_find(v->mm, at);

        if (p != NULL && p->start <= at) {
            at = p->end;
            continue;
        }
        clip_to_hole(v->mm, at, &s, &e);
        if (v->mappable == NULL) {
            p = may_be_eager(e - at) ? anon_frames(v, at, e) : ERR_PTR(-ENOMEM);
        } else {
            p = file_frames(v, at, e, false);
        }
        if (IS_ERR(p)) {
            break;
        }
        if (p->fd < 0 && v->mappable != NULL && (v->flags & VMA_ANON_SHARED) == 0) {
            i = EAGER_EXTENTS; /* tmpfs: going on would fill holes of a sparse file */
        }
        if (p->need_cow && p->fd >= 0 && (v->prot & PROT_WRITE) != 0 &&
            p->end - at <= EAGER_COW_MAX && end - start <= EAGER_COW_MAX) {
            p = cow_copy(v->mm, p, at, p->end); /* data of a program: it will be written */
            if (IS_ERR(p)) {
                break;
            }
        }
        at = p->end;
    }
    if (at > start) {
        host_sync(v->mm, start, min(at, end), false, populate);
    }
}

/* ---- the fault itself ---- */

int mm_grow_stack(struct mm *mm, uaddr addr, const struct mm_limits *l)
{
    uaddr start = ALIGN_DOWN(addr, PAGE_SIZE), want;
    struct vma *v, *prev;
    u64 size, limit = atomic_load_explicit(&mm->stack_limit, memory_order_relaxed);

    WRITE_GUARD(&mm->lock);
    v = vma_find(mm, addr);
    if (v == NULL || v->start <= addr) {
        return v == NULL ? -EFAULT : 0; /* somebody was faster */
    }
    if ((v->flags & VMA_GROWSDOWN) == 0 || start < platform_caps.min_addr) {
        return -EFAULT;
    }
    prev = vma_prev(mm, v->start);
    if (prev != NULL &&
        (start < prev->end || (start - prev->end < STACK_GUARD_GAP &&
                               (prev->flags & VMA_GROWSDOWN) == 0 && prev->prot != PROT_NONE))) {
        return -EFAULT;
    }
    size = v->end - start;
    if (size > limit || limits_check(mm, v->start - start, v->prot, v->flags, true, l) != 0) {
        return -EFAULT;
    }
    want = ALIGN_DOWN(start, STACK_GROW_STEP);
    if (want >= platform_caps.min_addr && v->end - want <= limit &&
        (prev == NULL || (want > prev->end && want - prev->end >= STACK_GUARD_GAP)) &&
        limits_check(mm, v->start - want, v->prot, v->flags, true, l) == 0) {
        start = want;
    }
    vma_set_range(v, start, v->end);
    mm->peak_vm = max(mm->peak_vm, mm->total_vm);
    return 0;
}

/*
 * The host has the page mapped, but could not give it (SIGBUS): a host file that somebody
 * truncated, or no memory. 0: it is there now. pma_lock held.
 */
static int fault_bus(struct mm *mm, uaddr addr)
{
    struct pma *p = pma_at(mm, addr);
    ssize_t n;
    char probe;

    if (p == NULL) {
        return 0;
    }
    if (p->fd < 0) {
        return -ENOMEM;
    }
    do {
        n = host_pread(p->fd, &probe, 1, p->off + (ALIGN_DOWN(addr, PAGE_SIZE) - p->start));
    } while (n == -EINTR);
    return n == 1 ? 0 : -ENXIO;
}

/* With mm->lock held for reading. -EAGAIN: the stack must grow first. */
static int fault_locked(struct mm *mm, uaddr addr, u32 access)
{
    struct vma *v = vma_find(mm, addr);
    struct pma *p;
    bool write = (access & ACCESS_WRITE) != 0, bus = false;
    int err, flushed;

    if (v == NULL || v->start > addr) {
        return v != NULL && (v->flags & VMA_GROWSDOWN) != 0 ? -EAGAIN : -EFAULT;
    }
    if ((access & ACCESS_UNKNOWN) != 0 && (access & ACCESS_EXEC) == 0) {
        /* Not mapped: a read may do. Mapped and refused: only a write (or PROT_NONE) explains it.
         */
        write = (access & ACCESS_MAPPED) != 0;
        access = write ? ACCESS_WRITE : ACCESS_READ;
    }
    err = fault_check(v, access);
    if (err != 0) {
        return err;
    }
    MUTEX_GUARD(&mm->pma_lock);
    if (bus && (err = fault_bus(mm, addr)) != 0) {
        return err;
    }
    p = fault_page(v, addr, write);
    err = IS_ERR(p) ? (int)PTR_ERR(p) : 0;
    if (err == 0 && mm->nr_ops == 0) { /* another thread was faster, or the host forgot */
        host_sync(mm, max(p->start, ALIGN_DOWN(addr, COW_CHUNK)),
                  min(p->end, ALIGN_DOWN(addr, COW_CHUNK) + COW_CHUNK), true, false);
    }
    flushed = host_flush(mm);
    pma_refill(mm);
    return err != 0 ? err : flushed;
}

int mm_fault(struct mm *mm, uaddr addr, u32 access, const struct mm_limits *l)
{
    int err;

    if (addr >= platform_caps.task_size) {
        return -EFAULT;
    }
    if (l != NULL) {
        atomic_store_explicit(&mm->stack_limit, l->stack, memory_order_relaxed);
    }
    for (int tries = 0; tries < 4; tries++) {
        read_lock(&mm->lock);
        err = fault_locked(mm, addr, access);
        read_unlock(&mm->lock);
        if (err != -EAGAIN) {
            return err;
        }
        err = mm_grow_stack(mm, addr, l);
        if (err != 0) {
            return err;
        }
    }
    return -EFAULT;
}
