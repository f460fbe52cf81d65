/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptor tables.
 *
 * An array of files that grows by doubling, and two bit sets: which descriptors are open, which
 * close on exec. Changes are made under fdt->lock. Look-ups take no lock: the array and the files
 * it names are freed only after a grace period (defer.c), and a file whose count is 0 is not
 * counted again.
 *
 *   fd_get (A)                           fd_close (B)
 *   f = slot[fd]
 *                                        slot[fd] = NULL
 *                                        file_put: count 0, release, memory deferred
 *   ref_get_unless_zero(f) fails
 *   look again: NULL                     -EBADF, as if A had come after B
 *
 * Files are put, and POSIX locks dropped, after the lock is given back.
 */
#include "vfs/fdtable.h"

#include "base/heap.h"
#include "vfs/dnotify.h"
#include "vfs/locks.h"
#include "vfs/vfs_priv.h"

#define FD_MIN_CAP 64U
#define FD_MAX_CAP (1U << 20) /* fs.nr_open of Linux */
#define BITS       64U

struct fdarray {
    struct deferred deferred;
    u32 cap; /* (c) */
    _Atomic(struct file *) slots[];
};

/* Key: (l) lock  (r) read without, written under lock */
struct fdtable {
    struct ref ref;
    struct mutex lock;             /* LOCK_FDTABLE */
    _Atomic(struct fdarray *) arr; /* (r) */
    u64 *open, *cloexec;           /* (l) heap, cap bits each */
    u32 cap;                       /* (l) of the bit sets: arr->cap */
    u32 hint;                      /* (l) no descriptor below is free */
};
DEFINE_CACHE(fdtable_cache, struct fdtable);

/* ---- bits ---- */

static bool bit_test(const u64 *set, u32 i)
{
    return (set[i / BITS] >> (i % BITS) & 1U) != 0;
}

static void bit_assign(u64 *set, u32 i, bool on)
{
    if (on) {
        set[i / BITS] |= 1ULL << (i % BITS);
    } else {
        set[i / BITS] &= ~(1ULL << (i % BITS));
    }
}

/* The first bit >= i that is `on`, or cap. */
static u32 bit_next(const u64 *set, u32 cap, u32 i, bool on)
{
    while (i < cap) {
        u64 word = (on ? set[i / BITS] : ~set[i / BITS]) & (~0ULL << (i % BITS));

        if (word != 0) {
            return i / BITS * BITS + (u32)__builtin_ctzll(word);
        }
        i = (i / BITS + 1) * BITS;
    }
    return cap;
}

/* ---- life ---- */

static struct fdarray *fdarray_new(u32 cap)
{
    struct fdarray *a = heap_alloc(sizeof(*a) + cap * sizeof(a->slots[0]));

    if (a != NULL) {
        a->cap = cap;
    }
    return a;
}

static struct fdtable *fdtable_new_cap(u32 cap)
{
    struct fdtable *fdt = cache_new(fdtable_cache);
    struct fdarray *arr;

    if (fdt == NULL) {
        return NULL;
    }
    ref_init(&fdt->ref);
    mutex_init(&fdt->lock, LOCK_FDTABLE);
    arr = fdarray_new(cap);
    fdt->open = heap_alloc(cap / 8);
    fdt->cloexec = heap_alloc(cap / 8);
    fdt->cap = cap;
    atomic_init(&fdt->arr, arr);
    if (arr == NULL || fdt->open == NULL || fdt->cloexec == NULL) {
        heap_free(arr);
        heap_free(fdt->open);
        heap_free(fdt->cloexec);
        cache_del(fdtable_cache, fdt);
        return NULL;
    }
    return fdt;
}

struct fdtable *fdtable_new(void)
{
    return fdtable_new_cap(FD_MIN_CAP);
}

static struct fdarray *fdt_array(struct fdtable *fdt)
{
    return atomic_load_explicit(&fdt->arr, memory_order_acquire);
}

static struct file *slot_load(struct fdarray *a, u32 fd)
{
    return atomic_load_explicit(&a->slots[fd], memory_order_acquire);
}

static void slot_store(struct fdtable *fdt, u32 fd, struct file *f)
{
    atomic_store_explicit(&fdt_array(fdt)->slots[fd], f, memory_order_release);
}

static u32 cap_for(u32 fd)
{
    u32 cap = FD_MIN_CAP;

    while (cap <= fd) {
        cap *= 2;
    }
    return cap;
}

struct fdtable *fdtable_copy(struct fdtable *fdt, u32 max_fd)
{
    struct fdtable *copy;
    u32 top;

    mutex_lock(&fdt->lock);
    top = fdt->cap;
    while (top > 0 && (top - 1 > max_fd || !bit_test(fdt->open, top - 1))) {
        top--;
    }
    copy = fdtable_new_cap(cap_for(top == 0 ? 0 : top - 1));
    if (copy != NULL) {
        for (u32 fd = bit_next(fdt->open, top, 0, true); fd < top;
             fd = bit_next(fdt->open, top, fd + 1, true)) {
            slot_store(copy, fd, file_get(slot_load(fdt_array(fdt), fd)));
            bit_assign(copy->open, fd, true);
            bit_assign(copy->cloexec, fd, bit_test(fdt->cloexec, fd));
        }
    }
    mutex_unlock(&fdt->lock);
    return copy;
}

struct fdtable *fdtable_get(struct fdtable *fdt)
{
    ref_get(&fdt->ref);
    return fdt;
}

/* A descriptor is gone: what close(2) does with its file. Takes over the reference. */
static int fd_finish(struct fdtable *fdt, struct file *f)
{
    int err = file_flush(f);

    dnotify_close(f, fdt);
    if (f->inode->locks != NULL && (f->mode & FMODE_PATH) == 0) {
        locks_remove_posix(f, fdt);
    }
    file_put(f);
    return err;
}

void fdtable_put(struct fdtable *fdt)
{
    struct fdarray *a;

    if (fdt == NULL || !ref_put(&fdt->ref)) {
        return;
    }
    a = fdt_array(fdt);
    for (u32 fd = bit_next(fdt->open, fdt->cap, 0, true); fd < fdt->cap;
         fd = bit_next(fdt->open, fdt->cap, fd + 1, true)) {
        (void)fd_finish(fdt, slot_load(a, fd));
    }
    heap_free(fdt->open);
    heap_free(fdt->cloexec);
    heap_free(a); /* nobody has the table, so nobody looks */
    cache_del(fdtable_cache, fdt);
}

bool fdtable_is_shared(const struct fdtable *fdt)
{
    return ref_read(&fdt->ref) > 1;
}

/* ---- look-up ---- */

struct file *fd_get_any(struct fdtable *fdt, int fd)
{
    for (;;) {
        struct fdarray *a = fdt_array(fdt);
        struct file *f;

        if (fd < 0 || (u32)fd >= a->cap) {
            return NULL;
        }
        f = slot_load(a, (u32)fd);
        if (f == NULL) {
            return NULL;
        }
        if (likely(ref_get_unless_zero(&f->ref))) {
            return f;
        }
    }
}

struct file *fd_get(struct fdtable *fdt, int fd)
{
    struct file *f = fd_get_any(fdt, fd);

    if (f != NULL && (f->mode & FMODE_PATH) != 0) {
        file_put(f);
        return NULL;
    }
    return f;
}

/* ---- changes; (l) held in the _locked ones ---- */

static u64 *grow_bits(u64 *set, u32 old_cap, u32 cap)
{
    u64 *bigger = heap_alloc(cap / 8);

    if (bigger != NULL) {
        memcpy(bigger, set, old_cap / 8);
    }
    return bigger;
}

static int grow_locked(struct fdtable *fdt, u32 fd)
{
    u32 cap = cap_for(fd);
    struct fdarray *old = fdt_array(fdt), *a;
    u64 *open, *cloexec;

    if (fd < fdt->cap) {
        return 0;
    }
    a = fdarray_new(cap);
    open = grow_bits(fdt->open, fdt->cap, cap);
    cloexec = grow_bits(fdt->cloexec, fdt->cap, cap);
    if (a == NULL || open == NULL || cloexec == NULL) {
        heap_free(a);
        heap_free(open);
        heap_free(cloexec);
        return -ENOMEM;
    }
    for (u32 i = 0; i < old->cap; i++) {
        atomic_init(&a->slots[i], slot_load(old, i));
    }
    heap_free(fdt->open);
    heap_free(fdt->cloexec);
    fdt->open = open;
    fdt->cloexec = cloexec;
    fdt->cap = cap;
    atomic_store_explicit(&fdt->arr, a, memory_order_release);
    defer_free(&old->deferred, NULL, old);
    return 0;
}

static int install_locked(struct fdtable *fdt, struct file *f, u32 low, u64 limit, bool cloexec)
{
    u32 fd = bit_next(fdt->open, fdt->cap, max(low, fdt->hint), false);
    int err;

    if (fd < low) { /* past the end of the bit sets */
        fd = low;
    }
    if (fd >= limit || fd >= FD_MAX_CAP) {
        return -EMFILE;
    }
    err = grow_locked(fdt, fd);
    if (err != 0) {
        return err;
    }
    if (low <= fdt->hint) {
        fdt->hint = fd + 1;
    }
    bit_assign(fdt->open, fd, true);
    bit_assign(fdt->cloexec, fd, cloexec);
    slot_store(fdt, fd, f);
    return (int)fd;
}

int fd_install(struct fdtable *fdt, struct file *f, int low, u64 limit, bool cloexec)
{
    int fd;

    mutex_lock(&fdt->lock);
    fd = install_locked(fdt, f, (u32)low, limit, cloexec);
    mutex_unlock(&fdt->lock);
    if (fd < 0) {
        file_put(f);
    }
    return fd;
}

int fd_replace(struct fdtable *fdt, struct file *f, int newfd, u64 limit, bool cloexec)
{
    struct file *old = NULL;
    int err = newfd < 0 || (u64)newfd >= limit || (u32)newfd >= FD_MAX_CAP ? -EBADF : 0;
    u32 fd = (u32)newfd;

    if (err == 0) {
        mutex_lock(&fdt->lock);
        err = grow_locked(fdt, fd);
        if (err == 0) {
            old = slot_load(fdt_array(fdt), fd);
            bit_assign(fdt->open, fd, true);
            bit_assign(fdt->cloexec, fd, cloexec);
            slot_store(fdt, fd, f);
        }
        mutex_unlock(&fdt->lock);
    }
    if (err != 0) {
        file_put(f);
        return err;
    }
    if (old != NULL) {
        (void)fd_finish(fdt, old);
    }
    return newfd;
}

static struct file *remove_locked(struct fdtable *fdt, u32 fd)
{
    struct file *f = fd < fdt->cap ? slot_load(fdt_array(fdt), fd) : NULL;

    if (f != NULL) {
        slot_store(fdt, fd, NULL);
        bit_assign(fdt->open, fd, false);
        bit_assign(fdt->cloexec, fd, false);
        fdt->hint = min(fdt->hint, fd);
    }
    return f;
}

int fd_close(struct fdtable *fdt, int fd)
{
    struct file *f;

    if (fd < 0) {
        return -EBADF;
    }
    mutex_lock(&fdt->lock);
    f = remove_locked(fdt, (u32)fd);
    mutex_unlock(&fdt->lock);
    return f != NULL ? fd_finish(fdt, f) : -EBADF;
}

/* Close every descriptor of [first, last] that is in `fdt->open`, or in `fdt->cloexec`. */
static void close_bits(struct fdtable *fdt, u32 first, u32 last, bool only_cloexec)
{
    u32 fd = first;

    for (;;) {
        struct file *f;

        mutex_lock(&fdt->lock);
        fd = bit_next(only_cloexec ? fdt->cloexec : fdt->open, fdt->cap, fd, true);
        f = fd < fdt->cap && fd <= last ? remove_locked(fdt, fd) : NULL;
        mutex_unlock(&fdt->lock);
        if (f == NULL) {
            return;
        }
        (void)fd_finish(fdt, f);
        fd++;
    }
}

int fd_close_range(struct fdtable *fdt, u32 first, u32 last, bool set_cloexec_only)
{
    if (first > last) {
        return -EINVAL;
    }
    if (!set_cloexec_only) {
        close_bits(fdt, first, last, false);
        return 0;
    }
    mutex_lock(&fdt->lock);
    for (u32 fd = bit_next(fdt->open, fdt->cap, first, true); fd < fdt->cap && fd <= last;
         fd = bit_next(fdt->open, fdt->cap, fd + 1, true)) {
        bit_assign(fdt->cloexec, fd, true);
    }
    mutex_unlock(&fdt->lock);
    return 0;
}

void fdtable_close_on_exec(struct fdtable *fdt)
{
    close_bits(fdt, 0, UINT32_MAX, true);
}

int fd_get_cloexec(struct fdtable *fdt, int fd)
{
    int ret = -EBADF;

    mutex_lock(&fdt->lock);
    if (fd >= 0 && (u32)fd < fdt->cap && bit_test(fdt->open, (u32)fd)) {
        ret = bit_test(fdt->cloexec, (u32)fd) ? 1 : 0;
    }
    mutex_unlock(&fdt->lock);
    return ret;
}

int fd_set_cloexec(struct fdtable *fdt, int fd, bool on)
{
    int ret = -EBADF;

    mutex_lock(&fdt->lock);
    if (fd >= 0 && (u32)fd < fdt->cap && bit_test(fdt->open, (u32)fd)) {
        bit_assign(fdt->cloexec, (u32)fd, on);
        ret = 0;
    }
    mutex_unlock(&fdt->lock);
    return ret;
}

int fd_next(struct fdtable *fdt, int fd)
{
    u32 next;

    if (fd < 0) {
        fd = 0;
    }
    mutex_lock(&fdt->lock);
    next = bit_next(fdt->open, fdt->cap, (u32)fd, true);
    next = next < fdt->cap ? next : UINT32_MAX;
    mutex_unlock(&fdt->lock);
    return (int)next;
}

u32 fdtable_size(struct fdtable *fdt)
{
    return fdt_array(fdt)->cap;
}
