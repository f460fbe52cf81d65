/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open regular files of an overlay. Each has up to two files of the layers behind it: the lower
 * one, opened at open(2), and the upper one, opened with the first call after there is an upper -
 * so a descriptor opened before copy-up sees what is written after it. Both stay until release, so
 * that a call under way never loses its file.
 *
 * The files of the layers are ours alone: their ops are called directly, with the checks and
 * notifications of vfs/file.c done once, on the overlay's file.
 */
#include "vfs/overlay/overlay_priv.h"

#include <linux/falloc.h>
#include <sys/mman.h>
#include <unistd.h>

struct overlay_file {
    struct file f;
    struct file *lower;           /* (c) NULL: there was an upper at open */
    _Atomic(struct file *) upper; /* (a) set once */
};
DEFINE_CACHE(overlay_file_cache, struct overlay_file);

static struct overlay_file *to_overlay(struct file *f)
{
    return container_of(f, struct overlay_file, f);
}

struct file *overlay_open_real(struct overlay_super *os, struct inode *real, u32 flags)
{
    const struct path nowhere = {0};
    struct file *f = real->ops->open != NULL ? real->ops->open(real, &nowhere, flags, os->cred)
                                             : ERR_PTR(-ENXIO);

    if (!IS_ERR(f)) {
        f->mode |= FMODE_PATH; /* nobody else calls it: no notification of its own */
    }
    return f;
}

/* Remember how to map what f opened. */
static void learn_map(_Atomic(struct mappable *) *slot, struct file *f)
{
    struct mappable *m;

    if (atomic_load_explicit(slot, memory_order_relaxed) == NULL && f->ops->mmap != NULL) {
        m = f->ops->mmap(f, 0, 0);
        if (!IS_ERR(m)) {
            atomic_store_explicit(slot, m, memory_order_release);
        }
    }
}

/* The upper file of f, opened if it is not. ERR_PTR. */
static struct file *upper_file(struct overlay_file *of, struct inode *upper)
{
    struct file *f = atomic_load_explicit(&of->upper, memory_order_acquire), *none = NULL;
    u32 flags = of->f.flags & (O_ACCMODE | O_APPEND | O_DIRECT | O_SYNC | O_NOATIME);

    if (likely(f != NULL)) {
        return f;
    }
    f = overlay_open_real(overlay_sb(of->f.inode->sb), upper, flags);
    if (IS_ERR(f)) {
        return f;
    }
    learn_map(&overlay_i(of->f.inode)->file.upper_map, f);
    if (!atomic_compare_exchange_strong(&of->upper, &none, f)) {
        file_put(f);
        return none;
    }
    return f;
}

/* The file that has the content now. */
static struct file *real_file(struct overlay_file *of)
{
    struct inode *upper = overlay_upper(overlay_i(of->f.inode));

    return upper != NULL ? upper_file(of, upper) : of->lower;
}

/* The upper file, after a copy-up if need be: for changes. */
static struct file *real_file_for_write(struct overlay_file *of)
{
    struct overlay_inode *oi = overlay_i(of->f.inode);
    int err = 0;

    if (unlikely(overlay_upper(oi) == NULL)) {
        WRITE_GUARD(&oi->inode.lock);
        err = overlay_copy_up(oi, UINT64_MAX);
    }
    return err != 0 ? ERR_PTR(err) : upper_file(of, overlay_upper(oi));
}

/* The last change of upper's size is followed by the last store here: both lie inside the lock. */
void overlay_size_changed(struct overlay_inode *oi, bool touch)
{
    struct inode *upper = overlay_upper(oi);

    SPIN_GUARD(&oi->file.upper_lock);
    __atomic_store_n(&oi->inode.size, __atomic_load_n(&upper->size, __ATOMIC_ACQUIRE),
                     __ATOMIC_RELEASE);
    if (touch) {
        oi->inode.mtime = oi->inode.ctime = inode_now();
    }
}

/* ---- operations ---- */

static ssize_t overlay_read(struct file *f, struct uio *u, u64 *pos, u32 rwf)
{
    struct file *real = real_file(to_overlay(f));
    ssize_t n;

    if (IS_ERR(real)) {
        return PTR_ERR(real);
    }
    n = real->ops->read != NULL ? real->ops->read(real, u, pos, rwf) : -EINVAL;
    if (n > 0) {
        file_accessed(f);
    }
    return n;
}

static ssize_t overlay_write(struct file *f, struct uio *u, u64 *pos, u32 rwf)
{
    struct file *real = real_file_for_write(to_overlay(f));
    ssize_t n;

    if (IS_ERR(real)) {
        return PTR_ERR(real);
    }
    n = real->ops->write != NULL ? real->ops->write(real, u, pos, rwf) : -EINVAL;
    if (n > 0) {
        overlay_size_changed(overlay_i(f->inode), true);
    }
    return n;
}

static s64 overlay_seek(struct file *f, s64 off, int whence)
{
    struct file *real = real_file(to_overlay(f));

    if (IS_ERR(real)) {
        return PTR_ERR(real);
    }
    if (whence == SEEK_DATA || whence == SEEK_HOLE) {
        s64 size = (s64)__atomic_load_n(&f->inode->size, __ATOMIC_RELAXED);

        if (real->ops->seek != NULL) {
            off = real->ops->seek(real, off, whence);
        } else if (off < 0 || off >= size) {
            off = -ENXIO;
        } else {
            off = whence == SEEK_HOLE ? size : off;
        }
        if (off < 0) {
            return off;
        }
    } else if (whence == SEEK_CUR || whence == SEEK_END) {
        u64 base = whence == SEEK_CUR ? f->pos : __atomic_load_n(&f->inode->size, __ATOMIC_RELAXED);

        if (__builtin_add_overflow((s64)base, off, &off)) {
            return -EOVERFLOW;
        }
    } else if (whence != SEEK_SET) {
        return -EINVAL;
    }
    if (off < 0 || (u64)off > OVERLAY_MAX_OFF) {
        return -EINVAL;
    }
    f->pos = (u64)off;
    return off;
}

static int overlay_fsync(struct file *f, u64 start, u64 end, bool data_only)
{
    struct file *real = real_file(to_overlay(f));

    if (IS_ERR(real)) {
        return (int)PTR_ERR(real);
    }
    if (real == to_overlay(f)->lower) {
        return 0; /* nothing of it is ours */
    }
    return real->ops->fsync != NULL ? real->ops->fsync(real, start, end, data_only) : 0;
}

static int overlay_fallocate(struct file *f, u32 mode, u64 off, u64 len)
{
    struct overlay_inode *oi = overlay_i(f->inode);
    struct file *real = real_file_for_write(to_overlay(f));
    u64 from = ALIGN_DOWN(off, PAGE_SIZE);
    int err;

    if (IS_ERR(real)) {
        return (int)PTR_ERR(real);
    }
    err = real->ops->fallocate != NULL ? real->ops->fallocate(real, mode, off, len) : -EOPNOTSUPP;
    if (err == 0) {
        overlay_size_changed(oi, true);
        if ((mode & ~(u32)FALLOC_FL_KEEP_SIZE) != 0) {
            mappable_invalidate(&oi->file.map, from, OVERLAY_MAX_OFF - from, false);
        }
    }
    return err;
}

static int overlay_set_flags(struct file *f, u32 flags)
{
    struct file *upper = atomic_load_explicit(&to_overlay(f)->upper, memory_order_acquire);

    if (upper != NULL) {
        atomic_store(&upper->flags, flags);
    }
    return 0;
}

static long overlay_ioctl(struct file *f, u32 cmd, u64 arg, const struct vfs_ctx *ctx)
{
    struct file *real = real_file(to_overlay(f));

    if (IS_ERR(real)) {
        return PTR_ERR(real);
    }
    return real->ops->ioctl != NULL ? real->ops->ioctl(real, cmd, arg, ctx) : -ENOTTY;
}

/* ---- mappings ---- */

/*
 * VMAs link to the overlay's mappable, which passes on to that of the layer that has the content:
 * pages of a lower host file are mapped from the host file itself. Changes of place are announced
 * by copyup.c; of the upper's size and holes by whoever asked the upper for them.
 */
static int overlay_get_extent(struct mappable *m, u64 off, u64 len, bool write, struct extent *out)
{
    struct overlay_inode *oi = overlay_i(m->inode);
    bool is_upper = overlay_upper(oi) != NULL;
    struct mappable *real = atomic_load_explicit(
        is_upper ? &oi->file.upper_map : &oi->file.lower_map, memory_order_acquire);
    int err;

    if (real == NULL || (write && !is_upper)) {
        return real == NULL ? -ENXIO : -EACCES;
    }
    err = real->ops->get_extent(real, off, len, write, out);
    if (err == 0 && !is_upper) {
        out->writable = false;
    }
    return err;
}

static struct mappable *upper_mappable(struct mappable *m)
{
    return atomic_load_explicit(&overlay_i(m->inode)->file.upper_map, memory_order_acquire);
}

static int overlay_mapping_added(struct mappable *m, bool shared_writable)
{
    struct mappable *real = upper_mappable(m);

    return shared_writable && real != NULL && real->ops->mapping_added != NULL
               ? real->ops->mapping_added(real, true)
               : 0;
}

static void overlay_mapping_removed(struct mappable *m, bool shared_writable)
{
    struct mappable *real = upper_mappable(m);

    if (shared_writable && real != NULL && real->ops->mapping_removed != NULL) {
        real->ops->mapping_removed(real, true);
    }
}

static int overlay_map_sync(struct mappable *m, u64 off, u64 len)
{
    struct mappable *real = upper_mappable(m);

    return real != NULL && real->ops->sync != NULL ? real->ops->sync(real, off, len) : 0;
}

const struct mappable_ops overlay_mappable_ops = {
    .get_extent = overlay_get_extent,
    .mapping_added = overlay_mapping_added,
    .mapping_removed = overlay_mapping_removed,
    .sync = overlay_map_sync,
};
HEAP_OPS(overlay_mappable_ops);

/* A shared mapping that may be written to (now or after mprotect) needs the upper at once: a fault
 * could not copy up under the locks of mm. */
static struct mappable *overlay_mmap(struct file *f, u32 prot, u32 map_flags)
{
    bool may_write = (map_flags & MAP_TYPE) != MAP_PRIVATE && (f->mode & FMODE_WRITE) != 0;
    struct overlay_file *of = to_overlay(f);
    struct file *real = may_write ? real_file_for_write(of) : real_file(of);

    if (IS_ERR(real)) {
        return ERR_PTR(PTR_ERR(real));
    }
    return real->ops->mmap != NULL ? &overlay_i(f->inode)->file.map : ERR_PTR(-ENODEV);
}

/* ---- open and release ---- */

static void overlay_file_release(struct file *f)
{
    struct overlay_file *of = to_overlay(f);

    file_put(of->lower);
    file_put(atomic_load(&of->upper));
    file_fini(f);
    file_free(&overlay_file_cache, f);
}

static const struct file_ops overlay_file_ops = {
    .name = "overlay",
    .read = overlay_read,
    .write = overlay_write,
    .seek = overlay_seek,
    .ioctl = overlay_ioctl,
    .mmap = overlay_mmap,
    .fsync = overlay_fsync,
    .fallocate = overlay_fallocate,
    .set_flags = overlay_set_flags,
    .release = overlay_file_release,
};
HEAP_OPS(overlay_file_ops);

struct file *overlay_open(struct inode *inode, const struct path *path, u32 flags,
                          const struct cred *cred)
{
    struct overlay_inode *oi = overlay_i(inode);
    struct overlay_file *of;
    struct file *real;

    if (S_ISDIR(inode->mode)) {
        return file_new_plain(&overlay_dir_ops, inode, path, flags, cred);
    }
    of = cache_new(overlay_file_cache);
    if (of == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    file_init(&of->f, &overlay_file_ops, inode, path, flags, cred);
    if (overlay_upper(oi) == NULL) {
        real = overlay_open_real(overlay_sb(inode->sb), oi->lower, O_RDONLY);
        if (!IS_ERR(real)) {
            of->lower = real;
            learn_map(&oi->file.lower_map, real);
        }
    } else {
        real = upper_file(of, overlay_upper(oi));
    }
    if (IS_ERR(real)) {
        file_put(&of->f);
        return real;
    }
    return &of->f;
}
