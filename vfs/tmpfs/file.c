/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The content of tmpfs files: read, write, size, holes, mappings.
 *
 * inode.lock is held for reading while bytes are copied out, for writing while they are copied in
 * or go away. The copy may fault on a mapping of this very file: the fault handler comes back
 * through get_extent, which takes pages_lock only. That is why pages_lock is never held over a
 * copy.
 */
#include "base/memfile.h"
#include "vfs/tmpfs/tmpfs_priv.h"

#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/mman.h>

#define FAULT_PAGES 32U /* allocated around a fault in a file with a name */
#define COPY_PAGES  512U
#define MAX_SIZE    ((u64)INT64_MAX & PAGE_MASK)

static u64 pages_up(u64 bytes)
{
    return bytes / PAGE_SIZE + (bytes % PAGE_SIZE != 0 ? 1 : 0);
}

/* ---- read ---- */

/* Copy at most `len` bytes at pos, within one run or hole. */
static ssize_t read_chunk(struct tmpfs_inode *ti, struct uio *u, u64 pos, u64 len)
{
    u64 in_page = pos % PAGE_SIZE, off, count;
    int err = tmpfs_pages_get(ti, pos / PAGE_SIZE, pages_up(in_page + len), false, &off, &count);

    if (err != 0) {
        return err;
    }
    len = min(len, count * PAGE_SIZE - in_page);
    if (off == UINT64_MAX) {
        return uio_put_zeroes(u, len);
    }
    return uio_put(u, (char *)memfile_window(memfile, off + in_page, len), len);
}

static ssize_t tmpfs_read(struct file *f, struct uio *u, u64 *pos, u32 rwf)
{
    struct tmpfs_inode *ti = tmpfs_i(f->inode);
    ssize_t done = 0, n = 0;

    read_lock(&ti->inode.lock);
    while (uio_left(u) != 0 && *pos < ti->inode.size) {
        u64 len = min((u64)uio_left(u), ti->inode.size - *pos);

        n = read_chunk(ti, u, *pos, min(len, COPY_PAGES * PAGE_SIZE));
        if (n <= 0) {
            break;
        }
        *pos += (u64)n;
        done += n;
    }
    read_unlock(&ti->inode.lock);
    if (done > 0) {
        file_accessed(f);
    }
    return done != 0 ? done : n;
}

/* ---- write ---- */

static void set_size(struct tmpfs_inode *ti, u64 size)
{
    MUTEX_GUARD(&ti->file.pages_lock);
    __atomic_store_n(&ti->inode.size, size, __ATOMIC_RELEASE);
}

static ssize_t write_chunk(struct tmpfs_inode *ti, struct uio *u, u64 pos, u64 len)
{
    u64 in_page = pos % PAGE_SIZE, off, count;
    int err = tmpfs_pages_get(ti, pos / PAGE_SIZE, pages_up(in_page + len), true, &off, &count);

    if (err != 0) {
        return err == -ENOMEM ? -ENOSPC : err;
    }
    len = min(len, count * PAGE_SIZE - in_page);
    return uio_take(u, (char *)memfile_window(memfile, off + in_page, len), len);
}

/* Seals, the largest size, and how much may be written at pos. inode.lock held. */
static int write_check(struct tmpfs_inode *ti, struct uio *u, u64 pos)
{
    u32 seals = ti->file.seals;

    if ((seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) != 0) {
        return -EPERM;
    }
    if (pos >= MAX_SIZE) {
        return -EFBIG;
    }
    uio_truncate(u, MAX_SIZE - pos);
    if ((seals & F_SEAL_GROW) != 0 && uio_left(u) > ti->inode.size - min(pos, ti->inode.size)) {
        if (pos >= ti->inode.size) {
            return -EPERM;
        }
        uio_truncate(u, ti->inode.size - pos);
    }
    return 0;
}

/* What a failed copy allocated behind the end of the file. */
static void drop_behind_end(struct tmpfs_inode *ti)
{
    MUTEX_GUARD(&ti->file.pages_lock);
    tmpfs_pages_drop(ti, pages_up(ti->inode.size), MAX_SIZE / PAGE_SIZE);
}

static ssize_t write_locked(struct tmpfs_inode *ti, struct uio *u, u64 *pos)
{
    ssize_t done = 0, n = 0;

    while (uio_left(u) != 0) {
        n = write_chunk(ti, u, *pos, min((u64)uio_left(u), COPY_PAGES * PAGE_SIZE));
        if (n <= 0) {
            break;
        }
        *pos += (u64)n;
        done += n;
        if (*pos > ti->inode.size) {
            set_size(ti, *pos);
        }
    }
    if (n < 0) {
        drop_behind_end(ti);
    }
    if (done != 0) {
        ti->inode.mtime = ti->inode.ctime = inode_now();
    }
    return done != 0 ? done : n;
}

static ssize_t tmpfs_write(struct file *f, struct uio *u, u64 *pos, u32 rwf)
{
    struct tmpfs_inode *ti = tmpfs_i(f->inode);
    ssize_t n = 0;
    u64 at;

    WRITE_GUARD(&ti->inode.lock);
    at = (f->flags & O_APPEND) != 0 || (rwf & RWF_APPEND) != 0 ? ti->inode.size : *pos;
    if (uio_left(u) != 0) {
        n = write_check(ti, u, at);
        if (n == 0) {
            n = write_locked(ti, u, &at);
        }
    }
    if (n > 0) {
        *pos = at;
    }
    return n;
}

/* ---- size ---- */

int tmpfs_resize(struct tmpfs_inode *ti, u64 size)
{
    u64 old = ti->inode.size;

    if (size > MAX_SIZE) {
        return -EFBIG;
    }
    if ((size < old && (ti->file.seals & F_SEAL_SHRINK) != 0) ||
        (size > old && (ti->file.seals & F_SEAL_GROW) != 0)) {
        return -EPERM;
    }
    mutex_lock(&ti->file.pages_lock);
    if (size < old) {
        tmpfs_pages_zero(ti, size, ALIGN_UP(size, PAGE_SIZE));
        tmpfs_pages_drop(ti, pages_up(size), MAX_SIZE / PAGE_SIZE);
    }
    __atomic_store_n(&ti->inode.size, size, __ATOMIC_RELEASE);
    mutex_unlock(&ti->file.pages_lock);
    if (size < old) {
        u64 from = ALIGN_UP(size, PAGE_SIZE);

        mappable_invalidate(&ti->file.mappable, from, MAX_SIZE - from, true);
    }
    return 0;
}

static int punch_hole(struct tmpfs_inode *ti, u64 off, u64 end)
{
    u64 first = ALIGN_UP(off, PAGE_SIZE), last = ALIGN_DOWN(end, PAGE_SIZE);

    if ((ti->file.seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) != 0) {
        return -EPERM;
    }
    mutex_lock(&ti->file.pages_lock);
    if (first > last) { /* within one page */
        tmpfs_pages_zero(ti, off, end);
    } else {
        tmpfs_pages_zero(ti, off, first);
        tmpfs_pages_zero(ti, last, end);
        tmpfs_pages_drop(ti, first / PAGE_SIZE, last / PAGE_SIZE);
    }
    mutex_unlock(&ti->file.pages_lock);
    if (first < last) {
        mappable_invalidate(&ti->file.mappable, first, last - first, false);
    }
    return 0;
}

static int preallocate(struct tmpfs_inode *ti, u64 off, u64 end)
{
    u64 page = off / PAGE_SIZE, end_page = pages_up(end), place, count;

    while (page < end_page) {
        int err = tmpfs_pages_get(ti, page, end_page - page, true, &place, &count);

        if (err != 0) {
            return err;
        }
        page += count;
    }
    return 0;
}

static int tmpfs_fallocate(struct file *f, u32 mode, u64 off, u64 len)
{
    struct tmpfs_inode *ti = tmpfs_i(f->inode);
    u64 end = off + len;
    int err;

    if ((mode & ~(u32)(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE)) != 0) {
        return -EOPNOTSUPP;
    }
    if (end > MAX_SIZE) {
        return -EFBIG;
    }
    WRITE_GUARD(&ti->inode.lock);
    if ((mode & FALLOC_FL_PUNCH_HOLE) != 0) {
        err = punch_hole(ti, off, min(end, MAX_SIZE));
    } else {
        bool grows = (mode & FALLOC_FL_KEEP_SIZE) == 0 && end > ti->inode.size;

        if (grows && (ti->file.seals & F_SEAL_GROW) != 0) {
            return -EPERM;
        }
        err = preallocate(ti, off, end);
        if (err != 0) {
            drop_behind_end(ti);
            return err == -ENOMEM ? -ENOSPC : err;
        }
        if (grows) {
            set_size(ti, end);
        }
    }
    if (err == 0) {
        ti->inode.mtime = ti->inode.ctime = inode_now();
    }
    return err;
}

/* ---- position ---- */

/* The first offset >= off that is data (hole: that is a hole); the end of the file is a hole. */
static s64 seek_data_hole(struct tmpfs_inode *ti, s64 start, bool hole)
{
    u64 pos = (u64)start, size, place, count;
    s64 ret = -ENXIO;

    READ_GUARD(&ti->inode.lock);
    size = ti->inode.size;
    if (start < 0 || pos >= size) {
        return -ENXIO;
    }
    while (pos < size) {
        if (tmpfs_pages_get(ti, pos / PAGE_SIZE, pages_up(size) - pos / PAGE_SIZE, false, &place,
                            &count) != 0) {
            return -EIO;
        }
        if ((place == UINT64_MAX) == hole) {
            ret = (s64)pos;
            break;
        }
        pos = (pos / PAGE_SIZE + count) * PAGE_SIZE;
    }
    return ret == -ENXIO && hole ? (s64)size : ret;
}

static s64 tmpfs_seek(struct file *f, s64 off, int whence)
{
    s64 base = 0;

    switch (whence) {
    case SEEK_SET:
        break;
    case SEEK_CUR:
        base = (s64)f->pos;
        break;
    case SEEK_END:
        base = (s64)__atomic_load_n(&f->inode->size, __ATOMIC_RELAXED);
        break;
    case SEEK_DATA:
    case SEEK_HOLE:
        off = seek_data_hole(tmpfs_i(f->inode), off, whence == SEEK_HOLE);
        if (off < 0) {
            return off;
        }
        break;
    default:
        return -EINVAL;
    }
    if (__builtin_add_overflow(base, off, &off)) {
        return -EOVERFLOW;
    }
    if (off < 0 || (u64)off > MAX_SIZE) {
        return -EINVAL;
    }
    f->pos = (u64)off;
    return off;
}

/* ---- mappings ---- */

static int tmpfs_get_extent(struct mappable *m, u64 off, u64 len, bool write, struct extent *out)
{
    struct tmpfs_inode *ti = tmpfs_i(m->inode);
    u64 pgoff = off / PAGE_SIZE, want = len / PAGE_SIZE, size, place, count;
    int err;

    MUTEX_GUARD(&ti->file.pages_lock);
    size = __atomic_load_n(&ti->inode.size, __ATOMIC_ACQUIRE);
    if (pgoff >= pages_up(size)) {
        return -ENXIO;
    }
    want = min(want, pages_up(size) - pgoff);
    if ((ti->file.shmem_flags & SHMEM_EAGER) == 0) {
        /* What is there may be mapped at length; of a hole only a little is filled. */
        err = tmpfs_pages_get_locked(ti, pgoff, want, false, &place, &count);
        want = err == 0 && place == UINT64_MAX ? min(count, (u64)FAULT_PAGES) : want;
    }
    err = tmpfs_pages_get_locked(ti, pgoff, want, true, &place, &count);
    if (err == 0) {
        err = memfile_ref(memfile, place, count * PAGE_SIZE);
    }
    if (err != 0) {
        return err;
    }
    *out = (struct extent){.memfile = true,
                           .fd = memfile_fd(memfile),
                           .off = place,
                           .len = count * PAGE_SIZE,
                           .writable = true};
    return 0;
}

static int tmpfs_mapping_added(struct mappable *m, bool shared_writable)
{
    struct tmpfs_inode *ti = tmpfs_i(m->inode);

    MUTEX_GUARD(&ti->file.pages_lock);
    if (shared_writable) {
        if ((ti->file.seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) != 0) {
            return -EPERM;
        }
        ti->file.nr_writable_maps++;
    }
    return 0;
}

static void tmpfs_mapping_removed(struct mappable *m, bool shared_writable)
{
    struct tmpfs_inode *ti = tmpfs_i(m->inode);

    MUTEX_GUARD(&ti->file.pages_lock);
    if (shared_writable) {
        CHECK(ti->file.nr_writable_maps > 0, "unbalanced mapping_removed");
        ti->file.nr_writable_maps--;
    }
}

static struct mappable *tmpfs_mmap(struct file *f, u32 prot, u32 map_flags)
{
    return &tmpfs_i(f->inode)->file.mappable;
}

static int tmpfs_fsync(struct file *f, u64 start, u64 end, bool data_only)
{
    return 0; /* there is nothing below */
}

const struct mappable_ops tmpfs_mappable_ops = {
    .get_extent = tmpfs_get_extent,
    .mapping_added = tmpfs_mapping_added,
    .mapping_removed = tmpfs_mapping_removed,
};
HEAP_OPS(tmpfs_mappable_ops);

const struct file_ops tmpfs_file_ops = {
    .name = "tmpfs",
    .read = tmpfs_read,
    .write = tmpfs_write,
    .seek = tmpfs_seek,
    .mmap = tmpfs_mmap,
    .fsync = tmpfs_fsync,
    .fallocate = tmpfs_fallocate,
    .release = file_release_plain,
};
HEAP_OPS(tmpfs_file_ops);
