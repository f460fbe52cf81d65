/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fork: the child gets the parent's VMAs and, by reference, its frames. Private frames become
 * copy-on-write on both sides: the parent's host mappings lose WRITE before the child can run. The
 * child's whole map is applied as one batch, so that it does not fault for every page it reads;
 * when that would take too many host mappings it starts empty and maps by faults.
 *
 * A file that is truncated meanwhile must not leave frames in the child only: each VMA is linked
 * and its frames are copied under the file's mapping lock, so an invalidation comes before or
 * after both.
 */
#include "sentry/mm/mm_priv.h"
#include "vfs/vfs.h"

/* p's part in [v->start, v->end) for the child; both pma_locks held. */
static int fork_pma(struct mm *child, struct pma *p, const struct vma *v)
{
    struct pma t = *p;

    t.start = max(p->start, v->start);
    t.end = min(p->end, v->end);
    t.off = p->off + (t.start - p->start);
    t.mapped = false;
    if (t.fd < 0 && memfile_ref(memfile, t.off, t.end - t.start) != 0) {
        return -ENOMEM;
    }
    if (vma_is_private(v)) {
        t.need_cow = true;
        t.writable = false;
    }
    p = pma_add(child, &t);
    if (p == NULL) {
        return -ENOMEM;
    }
    (void)pma_merge_left(child, p);
    return 0;
}

/* The frames of one VMA. */
static int fork_frames(struct mm *mm, struct mm *child, const struct vma *v)
{
    struct pma *p;
    int err = 0;

    if (vma_is_private(v)) {
        err = pma_isolate(mm, v->start, v->end);
    }
    for (p = pma_find(mm, v->start); err == 0 && p != NULL && p->start < v->end; p = pma_next(p)) {
        if (vma_is_private(v) && !p->need_cow) {
            p->need_cow = true;
            p->writable = false;
            if (p->mapped) {
                host_protect_cow(mm, v, p);
            }
        }
        err = fork_pma(child, p, v);
        p = pma_merge_left(mm, p);
    }
    return err;
}

static int fork_vma(struct mm *mm, struct mm *child, struct vma *v)
{
    struct vma *n;
    int err = 0;

    if ((v->flags & VMA_DONTFORK) != 0) {
        return 0;
    }
    n = vma_clone(child, v);
    if (n == NULL) {
        return -ENOMEM;
    }
    n->flags &= ~(VMA_LOCKED | VMA_ONFAULT); /* memory locks are not inherited */
    vma_lock_file(v);
    vma_link_locked(n);
    vma_insert(n);
    if ((v->flags & VMA_WIPEONFORK) == 0) {
        mutex_lock_two(&mm->pma_lock, &child->pma_lock);
        err = fork_frames(mm, child, v);
        mutex_unlock_two(&mm->pma_lock, &child->pma_lock);
    }
    vma_unlock_file(v);
    return err;
}

static void fork_state(struct mm *mm, struct mm *child)
{
    child->layout = mm->layout;
    child->mmap_base = mm->mmap_base;
    child->free_hint = mm->free_hint;
    child->hole_size = mm->hole_size;
    child->stack_limit = mm->stack_limit;
}

/* Everything at once, unless the host's mappings would run short. What fails is left to faults. */
static void fork_map_child(struct mm *child)
{
    u64 max_maps = platform_caps.max_mappings;

    MUTEX_GUARD(&child->pma_lock);
    child->building = false;
    if (max_maps == 0 || child->nr_pmas + child->nr_vmas <= max_maps / 2) {
        host_sync(child, 0, platform_caps.task_size, false, false);
        (void)host_flush(child);
    }
    pma_refill(child);
}

struct mm *mm_fork(struct mm *mm)
{
    struct mm *child = mm_new();
    struct file *exe;
    struct vma *v;
    int err = 0;

    if (IS_ERR(child)) {
        return child;
    }
    exe = mm_exe_file(mm);
    mm_set_exe_file(child, exe);
    file_put(exe);
    write_lock(&mm->lock);
    fork_state(mm, child);
    for (v = vma_first(mm); v != NULL; v = vma_next(v)) {
        err = fork_vma(mm, child, v);
        if (err != 0) {
            break;
        }
    }
    mutex_lock(&mm->pma_lock);
    (void)host_flush(mm);
    err = mm->host_stale ? -ENOMEM : err; /* we could still write what is the child's too */
    pma_refill(mm);
    mutex_unlock(&mm->pma_lock);
    write_unlock(&mm->lock);
    if (err != 0) {
        mm_put(child);
        return ERR_PTR(-ENOMEM);
    }
    fork_map_child(child);
    return child;
}
