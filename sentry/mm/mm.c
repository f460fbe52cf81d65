/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Address spaces: life, layout, and what /proc shows of them.
 *
 * The last reference tears down in this order: the host's address space (no guest can run in it any
 * more), then the frames, then the VMAs' files.
 */
#include "sentry/mm/mm.h"

#include "base/host.h"
#include "base/rand.h"
#include "sentry/mm/mm_priv.h"
#include "vfs/vfs.h"

#define MMAP_RND_BITS 28
#define STACK_RND_MAX (0x3fffffUL << PAGE_SHIFT)
#define GAP_MIN       (128 * MiB)

DEFINE_CACHE(mm_cache, struct mm);

struct mm *mm_new(void)
{
    struct mm *mm = cache_new(mm_cache);

    if (mm == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    ref_init(&mm->ref);
    rwlock_init(&mm->lock, LOCK_MM);
    mutex_init(&mm->pma_lock, LOCK_MM_PMA);
    RB_INIT(&mm->vmas);
    RB_INIT(&mm->pmas);
    SLIST_INIT(&mm->dying);
    mm->building = true;
    mm->stack_limit = UINT64_MAX;
    mm_place(mm, 8 * MiB, true);
    pma_refill(mm);
    mm->aspace = platform->aspace_new();
    if (IS_ERR(mm->aspace)) {
        long err = PTR_ERR(mm->aspace);

        pma_free_all(mm);
        cache_del(mm_cache, mm);
        return ERR_PTR(err);
    }
    return mm;
}

int mm_ready(struct mm *mm)
{
    int err;

    MUTEX_GUARD(&mm->pma_lock);
    mm->building = false;
    err = host_flush(mm);
    pma_refill(mm);
    return err != 0 ? -ENOMEM : 0;
}

void mm_place(struct mm *mm, u64 stack_limit, bool randomise)
{
    u64 top = platform_caps.task_size, gap = stack_limit;
    u64 rnd = randomise ? rand_below(1UL << MMAP_RND_BITS) << PAGE_SHIFT : 0;
    u64 pad = (randomise ? STACK_RND_MAX : 0) + STACK_GUARD_GAP;

    gap = gap > UINT64_MAX - pad ? gap : gap + pad;
    gap = max(gap, GAP_MIN);
    gap = min(gap, top / 6 * 5);
    rnd = min(rnd, (top - gap) / 2);
    mm->mmap_base = ALIGN_DOWN(top - gap - rnd, PAGE_SIZE);
    mm->free_hint = mm->mmap_base;
    mm->hole_size = 0;
    atomic_store_explicit(&mm->stack_limit, stack_limit, memory_order_relaxed);
}

struct mm *mm_get(struct mm *mm)
{
    ref_get(&mm->ref);
    return mm;
}

bool mm_get_unless_dead(struct mm *mm)
{
    return ref_get_unless_zero(&mm->ref);
}

void mm_put(struct mm *mm)
{
    struct vma_list dead = SLIST_HEAD_INITIALIZER(dead);
    struct vma *v;

    if (!ref_put(&mm->ref)) {
        return;
    }
    write_lock(&mm->lock); /* nobody else is left but invalidations, which see `gone` */
    while ((v = RB_ROOT(&mm->vmas)) != NULL) {
        vma_remove(v, &dead);
    }
    write_unlock(&mm->lock);
    platform->aspace_free(mm->aspace);
    mutex_lock(&mm->pma_lock);
    pma_free_all(mm);
    mutex_unlock(&mm->pma_lock);
    vma_list_put(&dead);
    mm_set_exe_file(mm, NULL);
    heap_free(mm->ops);
    cache_del(mm_cache, mm);
}

struct aspace *mm_aspace(const struct mm *mm)
{
    return mm->aspace;
}

struct mm_layout *mm_layout(struct mm *mm)
{
    return &mm->layout;
}

struct file *mm_exe_file(struct mm *mm)
{
    SPIN_GUARD(&mm->exe_lock);
    return mm->exe != NULL ? file_get(mm->exe) : NULL;
}

/* While it is an address space's program, a file cannot be opened for writing (ETXTBSY). */
void mm_set_exe_file(struct mm *mm, struct file *f)
{
    struct file *old;
    bool denied = f != NULL && inode_deny_write(f->inode) == 0, old_denied;

    if (f != NULL) {
        file_get(f);
    }
    spin_lock(&mm->exe_lock);
    old = mm->exe;
    old_denied = mm->exe_denied;
    mm->exe = f;
    mm->exe_denied = denied;
    spin_unlock(&mm->exe_lock);
    if (old_denied) {
        inode_allow_write(old->inode);
    }
    file_put(old);
}

/* ---- for /proc ---- */

/* Bytes of [off, +len) of the memory file that have memory behind them. */
static u64 resident_bytes(u64 off, u64 len)
{
    u8 vec[512];
    u64 pages = 0, n;

    for (u64 done = 0; done < len; done += n) {
        n = min(len - done, sizeof(vec) * PAGE_SIZE);
        if (host_mincore(memfile_window(memfile, off + done, n), n, vec) != 0) {
            return len;
        }
        for (u64 i = 0; i < n / PAGE_SIZE; i++) {
            pages += vec[i] & 1;
        }
    }
    return pages * PAGE_SIZE;
}

/* Bytes of frames in [start, end): all, not the file's own, and those others own too. */
static void count_frames(struct mm *mm, uaddr start, uaddr end, u64 *rss, u64 *own, u64 *shared)
{
    struct pma *p;

    *rss = *own = *shared = 0;
    for (p = pma_find(mm, start); p != NULL && p->start < end; p = pma_next(p)) {
        uaddr s = max(p->start, start);
        u64 len = min(p->end, end) - s;

        if (p->fd < 0) {
            len = resident_bytes(p->off + (s - p->start), len);
        }
        *rss += len;
        *own += p->owned && !p->need_cow ? len : 0;
        *shared += p->need_cow || !p->owned ? len : 0;
    }
}

void mm_get_usage(struct mm *mm, struct mm_usage *out)
{
    struct vma *v;
    u64 sum;

    memset(out, 0, sizeof(*out));
    READ_GUARD(&mm->lock);
    MUTEX_GUARD(&mm->pma_lock);
    out->total_vm = mm->total_vm;
    out->peak_vm = mm->peak_vm;
    out->locked = mm->locked_vm;
    out->data = mm->data_vm;
    out->stack = mm->stack_vm;
    out->exec = mm->exec_vm;
    for (v = vma_first(mm); v != NULL; v = vma_next(v)) {
        u64 rss, own, shared;

        count_frames(mm, v->start, v->end, &rss, &own, &shared);
        if (v->mappable == NULL) {
            out->rss_anon += rss;
        } else if ((v->flags & VMA_ANON_SHARED) != 0) {
            out->rss_shmem += rss;
        } else {
            out->rss_anon += own;
            out->rss_file += rss - own;
        }
        if (v->file != NULL && (v->prot & PROT_EXEC) != 0) {
            out->lib += v->end - v->start;
        }
    }
    sum = out->rss_anon + out->rss_file + out->rss_shmem;
    if (sum > atomic_load_explicit(&mm->peak_rss, memory_order_relaxed)) {
        atomic_store_explicit(&mm->peak_rss, sum, memory_order_relaxed);
    }
    out->peak_rss = atomic_load_explicit(&mm->peak_rss, memory_order_relaxed);
    out->pte = (u64)mm->nr_pmas * 64;
}

static u32 map_flags(const struct vma *v)
{
    u32 f = (v->flags & VMA_SHARED) != 0 ? MAP_SHARED : MAP_PRIVATE;

    f |= (v->flags & VMA_GROWSDOWN) != 0 ? MAP_GROWSDOWN : 0;
    f |= (v->flags & VMA_NORESERVE) != 0 ? MAP_NORESERVE : 0;
    f |= (v->flags & VMA_LOCKED) != 0 ? MAP_LOCKED : 0;
    return f | (v->file == NULL ? MAP_ANONYMOUS : 0);
}

int mm_next_vma(struct mm *mm, uaddr from, struct vma_info *out)
{
    struct vma *v;

    READ_GUARD(&mm->lock);
    v = vma_find(mm, from);
    if (v == NULL) {
        return -ENOENT;
    }
    MUTEX_GUARD(&mm->pma_lock);
    *out = (struct vma_info){.start = v->start,
                             .end = v->end,
                             .prot = v->prot,
                             .flags = map_flags(v),
                             .off = v->off,
                             .file = v->file != NULL ? file_get(v->file) : NULL,
                             .name = v->name,
                             .locked = (v->flags & VMA_LOCKED) != 0 ? v->end - v->start : 0,
                             .dontfork = (v->flags & VMA_DONTFORK) != 0,
                             .wipeonfork = (v->flags & VMA_WIPEONFORK) != 0,
                             .noreserve = (v->flags & VMA_NORESERVE) != 0};
    count_frames(mm, v->start, v->end, &out->rss, &out->private_dirty, &out->shared);
    return 0;
}
