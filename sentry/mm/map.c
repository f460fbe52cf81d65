/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mmap, munmap and brk. Everything that can fail for reasons of the request is checked before the
 * first change; a failure of the host afterwards undoes the new mapping (the old one under a
 * MAP_FIXED is gone then, as in Linux).
 */
#include "base/log.h"
#include "sentry/mm/mm_priv.h"
#include "vfs/mount.h"
#include "vfs/tmpfs/tmpfs.h"
#include "vfs/vfs.h"

#include <sys/mount.h>
#include <sys/sysmacros.h>

#define PROT_ALL (PROT_READ | PROT_WRITE | PROT_EXEC)

/* ---- unmap ---- */

int unmap_locked(struct mm *mm, uaddr start, uaddr end, struct vma_list *dead)
{
    struct vma *v, *next;
    int err;

    v = vma_find(mm, start);
    if (v == NULL || v->start >= end) {
        return 0;
    }
    err = vma_isolate(mm, start, end);
    if (err != 0) {
        return err;
    }
    mutex_lock(&mm->pma_lock);
    err = pma_isolate(mm, start, end);
    mutex_unlock(&mm->pma_lock);
    if (err != 0) {
        return err;
    }
    for (v = vma_find(mm, start); v != NULL && v->start < end; v = next) {
        next = vma_next(v);
        vma_remove(v, dead);
    }
    mutex_lock(&mm->pma_lock);
    err = pma_drop(mm, start, end);
    pma_refill(mm);
    mutex_unlock(&mm->pma_lock);
    place_freed(mm, start, end);
    return err;
}

/* The VMAs are gone; whatever the host says, so are the frames sooner or later. */
void flush_quietly(struct mm *mm)
{
    MUTEX_GUARD(&mm->pma_lock);
    (void)host_flush(mm);
}

int mm_unmap(struct mm *mm, uaddr addr, u64 len)
{
    struct vma_list dead = SLIST_HEAD_INITIALIZER(dead);
    int err;

    if (!IS_ALIGNED(addr, PAGE_SIZE) || len == 0 || !range_ok(addr, len, platform_caps.task_size)) {
        return -EINVAL;
    }
    len = ALIGN_UP(len, PAGE_SIZE);
    if (!range_ok(addr, len, platform_caps.task_size)) {
        return -EINVAL;
    }
    write_lock(&mm->lock);
    err = unmap_locked(mm, addr, addr + len, &dead);
    flush_quietly(mm);
    write_unlock(&mm->lock);
    vma_list_put(&dead);
    return err;
}

/* ---- map ---- */

static bool is_noexec(const struct file *f)
{
    return f->path.mnt != NULL && (f->path.mnt->flags & MS_NOEXEC) != 0;
}

/* What mprotect may later ask for. */
static u32 file_may(const struct file *f, bool shared)
{
    u32 may = VMA_MAYANY;

    if (shared && (f->mode & FMODE_WRITE) == 0) {
        may &= ~VMA_MAYWRITE;
    }
    if (is_noexec(f)) {
        may &= ~VMA_MAYEXEC;
    }
    return may;
}

/* /dev/zero is anonymous memory by another name (zero(4)). */
static bool is_dev_zero(const struct file *f)
{
    return f != NULL && S_ISCHR(f->inode->mode) && f->inode->rdev == makedev(1, 5);
}

static int check_dev_zero(const struct mmap_args *a)
{
    bool shared = (a->flags & MAP_TYPE) != MAP_PRIVATE;

    if ((a->file->mode & FMODE_READ) == 0 ||
        (shared && (a->prot & PROT_WRITE) != 0 && (a->file->mode & FMODE_WRITE) == 0)) {
        return -EACCES;
    }
    return 0;
}

/* The file behind the mapping, counted in v. */
static int vma_set_file(struct vma *v, const struct mmap_args *a)
{
    bool shared = (v->flags & VMA_SHARED) != 0;
    bool zero = is_dev_zero(a->file);
    struct mappable *m;

    if (zero && check_dev_zero(a) != 0) {
        return -EACCES;
    }
    if (a->mappable != NULL) {
        m = a->mappable;
        v->off = a->off;
    } else if (a->file != NULL && !zero) {
        m = file_mmap(a->file, a->prot, a->flags);
        if (IS_ERR(m)) {
            return (int)PTR_ERR(m);
        }
        v->file = file_get(a->file);
        v->off = a->off;
        v->flags = (v->flags & ~VMA_MAYANY) | file_may(a->file, shared);
    } else if (shared) {
        v->file = shmem_file_new("/dev/zero", a->len, SHMEM_EAGER, a->cred);
        if (IS_ERR(v->file)) {
            int err = (int)PTR_ERR(v->file);

            v->file = NULL;
            return err;
        }
        m = file_mmap(v->file, PROT_READ | PROT_WRITE, MAP_SHARED);
        if (IS_ERR(m)) {
            return (int)PTR_ERR(m);
        }
        v->flags |= VMA_ANON_SHARED;
    } else {
        return 0;
    }
    if (m->ops->mapping_added != NULL) {
        int err = m->ops->mapping_added(m, shared && (v->flags & VMA_MAYWRITE) != 0);

        if (err != 0) {
            return err;
        }
    }
    v->mappable = m;
    return 0;
}

static int check_flags(const struct mmap_args *a)
{
    u32 type = a->flags & MAP_TYPE;

    if (a->len == 0 || !IS_ALIGNED(a->off, PAGE_SIZE)) {
        return -EINVAL;
    }
    if (type != MAP_SHARED && type != MAP_PRIVATE && type != MAP_SHARED_VALIDATE) {
        return -EINVAL;
    }
    if ((a->flags & MAP_GROWSDOWN) != 0 && (a->file != NULL || type != MAP_PRIVATE)) {
        return -EINVAL;
    }
    if (a->len > platform_caps.task_size || ALIGN_UP(a->len, PAGE_SIZE) > platform_caps.task_size) {
        return -ENOMEM;
    }
    if (a->file != NULL && a->off > INT64_MAX - ALIGN_UP(a->len, PAGE_SIZE)) {
        return -EOVERFLOW;
    }
    if ((a->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) != 0) {
        if (!IS_ALIGNED(a->addr, PAGE_SIZE)) {
            return -EINVAL;
        }
        if (!range_ok(a->addr, ALIGN_UP(a->len, PAGE_SIZE), platform_caps.task_size)) {
            return -ENOMEM;
        }
        if (a->addr < platform_caps.min_addr) {
            return -EPERM;
        }
    }
    return 0;
}

/* A VMA as asked for, without an address yet: start is 0 and end the length. */
static struct vma *vma_from_args(struct mm *mm, const struct mmap_args *a)
{
    struct vma *v = vma_alloc(mm);
    u32 f = a->flags;
    int err;

    if (v == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    v->end = ALIGN_UP(a->len, PAGE_SIZE);
    v->prot = a->prot & PROT_ALL;
    v->name = a->name;
    v->flags = VMA_MAYANY;
    v->flags |= (f & MAP_TYPE) != MAP_PRIVATE ? VMA_SHARED : 0;
    v->flags |= (f & MAP_GROWSDOWN) != 0 ? VMA_GROWSDOWN : 0;
    v->flags |= (f & MAP_NORESERVE) != 0 ? VMA_NORESERVE : 0;
    v->flags |= (f & MAP_LOCKED) != 0 ? VMA_LOCKED : 0;
    v->flags |= a->special ? VMA_SPECIAL : 0;
    err = vma_set_file(v, a);
    if (err != 0) {
        vma_free(v);
        return ERR_PTR(err);
    }
    return v;
}

/* Decide the address and clear it. */
static s64 make_room(struct mm *mm, const struct mmap_args *a, const struct vma *v,
                     struct vma_list *dead)
{
    u64 len = v->end, replaced = 0;
    s64 addr = (s64)a->addr;
    bool fixed = (a->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) != 0;
    int err;

    if (!fixed) {
        addr = place_find(mm, a->addr, len, a->flags);
        if (addr < 0) {
            return addr;
        }
    } else {
        replaced = limits_mapped(mm, a->addr, a->addr + len);
        if (replaced != 0 && (a->flags & MAP_FIXED_NOREPLACE) != 0) {
            return -EEXIST;
        }
    }
    err = limits_check(mm, len - replaced, v->prot, v->flags, vma_is_private(v), a->limits);
    if (err != 0) {
        return err;
    }
    if (fixed) {
        err = unmap_locked(mm, a->addr, a->addr + len, dead);
    }
    return err != 0 ? err : addr;
}

/* Get frames now where that is cheap, and let the host map them. */
static int map_frames(struct vma *v)
{
    struct mm *mm = v->mm;
    int err;

    MUTEX_GUARD(&mm->pma_lock);
    if (v->prot != PROT_NONE && (v->mappable != NULL || v->end - v->start <= EAGER_MAX)) {
        fault_eager(v, v->start, min(v->end, v->start + EAGER_MAX), true);
    }
    err = host_flush(mm);
    pma_refill(mm);
    return err;
}

static s64 map_locked(struct mm *mm, const struct mmap_args *a, struct vma *v,
                      struct vma_list *dead)
{
    u64 len = v->end;
    s64 addr;
    int err;

    v->flags |= mm->def_flags;
    addr = make_room(mm, a, v, dead);
    if (addr < 0) {
        flush_quietly(mm);
        SLIST_INSERT_HEAD(dead, v, dead);
        return addr;
    }
    v->start = (uaddr)addr;
    v->end = v->start + len;
    vma_insert(v);
    mm->peak_vm = max(mm->peak_vm, mm->total_vm);
    err = map_frames(v);
    if (err != 0) {
        if (unmap_locked(mm, v->start, v->end, dead) != 0) {
            log_warn(LOG_MM, "a failed mapping could not be undone");
        }
        flush_quietly(mm);
        return -ENOMEM;
    }
    vma_merge(mm, (uaddr)addr, (uaddr)addr + len, dead);
    return addr;
}

s64 mm_map(struct mm *mm, const struct mmap_args *a)
{
    struct vma_list dead = SLIST_HEAD_INITIALIZER(dead);
    struct vma *v;
    bool populate;
    s64 addr;
    u64 len;
    int err = check_flags(a);

    if (err != 0) {
        return err;
    }
    v = vma_from_args(mm, a);
    if (IS_ERR(v)) {
        return PTR_ERR(v);
    }
    len = v->end;
    write_lock(&mm->lock);
    populate = (mm->def_flags & (VMA_LOCKED | VMA_ONFAULT)) == VMA_LOCKED ||
               (a->flags & (MAP_POPULATE | MAP_NONBLOCK)) == MAP_POPULATE ||
               (a->flags & MAP_LOCKED) != 0;
    addr = map_locked(mm, a, v, &dead);
    write_unlock(&mm->lock);
    vma_list_put(&dead);
    if (addr >= 0 && populate && (a->prot & PROT_ALL) != 0) {
        (void)mm_populate(mm, (uaddr)addr, (uaddr)addr + len, false); /* errors don't matter */
    }
    return addr;
}

/* ---- brk ---- */

static int brk_grow(struct mm *mm, uaddr from, uaddr to, const struct mm_limits *l,
                    struct vma_list *dead)
{
    struct mmap_args a = {.addr = from,
                          .len = to - from,
                          .prot = PROT_READ | PROT_WRITE,
                          .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
                          .name = "[heap]",
                          .limits = l};
    struct vma *v;
    s64 ret;

    if (!place_is_free(mm, from, to + PAGE_SIZE - from)) { /* one page stays free above */
        return -ENOMEM;
    }
    v = vma_from_args(mm, &a);
    if (IS_ERR(v)) {
        return (int)PTR_ERR(v);
    }
    ret = map_locked(mm, &a, v, dead);
    return ret < 0 ? (int)ret : 0;
}

uaddr mm_brk(struct mm *mm, uaddr brk, const struct mm_limits *l)
{
    struct vma_list dead = SLIST_HEAD_INITIALIZER(dead);
    struct mm_layout *lay = &mm->layout;
    uaddr old_end = 0, new_end, ret, grown = 0;

    write_lock(&mm->lock);
    ret = lay->brk;
    if (brk < lay->start_brk || brk >= platform_caps.task_size ||
        (l != NULL && (brk - lay->start_brk) + (lay->end_data - lay->start_data) > l->data)) {
        goto out;
    }
    old_end = ALIGN_UP(lay->brk, PAGE_SIZE);
    new_end = ALIGN_UP(brk, PAGE_SIZE);
    if (new_end < old_end) {
        if (unmap_locked(mm, new_end, old_end, &dead) != 0) {
            goto out;
        }
        flush_quietly(mm);
    } else if (new_end > old_end) {
        if (brk_grow(mm, old_end, new_end, l, &dead) != 0) {
            goto out;
        }
        grown = (mm->def_flags & (VMA_LOCKED | VMA_ONFAULT)) == VMA_LOCKED ? new_end : 0;
    }
    lay->brk = ret = brk;
out:
    write_unlock(&mm->lock);
    vma_list_put(&dead);
    if (grown != 0) {
        (void)mm_populate(mm, old_end, grown, false);
    }
    return ret;
}
