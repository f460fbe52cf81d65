/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sentry's way to guest memory. Guest bytes are looked up (VMA, then PMA, faulting in what is
 * missing) and moved by memcpy through the memory file's window, or by pread and pwrite where the
 * page is a host file's.
 *
 * Other threads of the guest may unmap or fork meanwhile: each piece of at most COPY_CHUNK bytes is
 * moved with mm->lock (read) and pma_lock held, so its frame can neither be freed nor become
 * another's under the copy. What the guest's own threads write at the same time is their race; the
 * caller copies once and then looks at its copy.
 */
#include "base/host.h"
#include "base/usermem.h"
#include "sentry/mm/mm_priv.h"

#include <sys/stat.h>

/* One piece of guest memory while the locks are held. */
struct span {
    char *ptr; /* its bytes; NULL: they are a host file's */
    int fd;
    u64 off;
    size_t len;
};

/* What to do with each span: bytes done (less than len: stop), or -errno. */
typedef ssize_t (*span_fn)(const struct span *s, void *arg);

#define WALK_WRITE 1U
#define WALK_FORCE 2U

static struct mm *(*get_current_mm)(void);

/* May the sentry read or write v on the guest's behalf? */
static int walk_check(const struct vma *v, u32 how)
{
    if ((how & WALK_FORCE) == 0) {
        return fault_check(v, (how & WALK_WRITE) != 0 ? ACCESS_WRITE : ACCESS_READ);
    }
    if ((how & WALK_WRITE) != 0) { /* as ptrace: private memory always, shared only if writable */
        return (v->prot & PROT_WRITE) != 0 || vma_is_private(v) ? 0 : -EACCES;
    }
    return (v->flags & VMA_MAYREAD) != 0 ? 0 : -EACCES;
}

/* Find the piece at addr, make it ready, and call fn on it. Locks held. */
static ssize_t walk_piece(struct vma *v, uaddr addr, size_t len, u32 how, span_fn fn, void *arg)
{
    struct mm *mm = v->mm;
    struct pma *p;
    struct span s = {.fd = -1};

    p = fault_page(v, addr, (how & WALK_WRITE) != 0);
    if (mm->nr_ops != 0) {
        int err = host_flush(mm);

        pma_refill(mm);
        if (err != 0) {
            return -EFAULT;
        }
    }
    if (IS_ERR(p)) {
        return PTR_ERR(p);
    }
    s.len = min(min(len, COPY_CHUNK), min(p->end, v->end) - addr);
    s.off = p->off + (addr - p->start);
    s.fd = p->fd;
    if (p->fd < 0) {
        s.ptr = (char *)memfile_window(memfile, s.off, s.len);
    }
    return fn(&s, arg);
}

static ssize_t walk_once(struct mm *mm, uaddr addr, size_t len, u32 how, span_fn fn, void *arg)
{
    struct vma *v;
    int err;

    READ_GUARD(&mm->lock);
    v = vma_find(mm, addr);
    if (v == NULL || v->start > addr) {
        return v != NULL && (v->flags & VMA_GROWSDOWN) != 0 ? -EAGAIN : -EFAULT;
    }
    err = walk_check(v, how);
    if (err != 0) {
        return err;
    }
    MUTEX_GUARD(&mm->pma_lock);
    return walk_piece(v, addr, len, how, fn, arg);
}

/* Bytes done, or -EFAULT if none. */
static ssize_t walk(struct mm *mm, uaddr addr, size_t len, u32 how, span_fn fn, void *arg)
{
    size_t done = 0;
    ssize_t n = 0;

    if (mm == NULL || !range_ok(addr, 0, platform_caps.task_size)) {
        return len == 0 ? 0 : -EFAULT;
    }
    while (done < len) {
        n = walk_once(mm, addr + done, len - done, how, fn, arg);
        if (n == -EAGAIN && mm_grow_stack(mm, addr + done, NULL) == 0) {
            continue;
        }
        if (n <= 0) {
            break;
        }
        done += (size_t)n;
    }
    return done != 0 || len == 0 ? (ssize_t)done : n == 0 ? 0 : -EFAULT;
}

/* ---- host file pages ---- */

/* As memory shows a file: zeroes from its end to the end of that page, nothing behind. */
static ssize_t file_span_read(const struct span *s, char *dst, size_t len)
{
    size_t done = 0, pad;
    ssize_t n;
    char probe;

    while (done < len) {
        n = host_pread(s->fd, dst + done, len - done, s->off + done);
        if (n == -EINTR) {
            continue;
        }
        if (n <= 0) {
            break;
        }
        done += (size_t)n;
    }
    pad = min(len - done, ALIGN_UP(s->off + done, PAGE_SIZE) - (s->off + done));
    if (pad > 0 && (done > 0 || host_pread(s->fd, &probe, 1, ALIGN_DOWN(s->off, PAGE_SIZE)) == 1)) {
        memset(dst + done, 0, pad);
        done += pad;
    }
    return done != 0 ? (ssize_t)done : -EFAULT;
}

/* A write through a mapping never extends the file; bytes behind its end are dropped. */
static ssize_t file_span_write(const struct span *s, const char *src, size_t len)
{
    struct stat st;
    u64 size;
    size_t done = 0, todo;

    if (host_fstat(s->fd, &st) != 0) {
        return -EFAULT;
    }
    size = (u64)st.st_size;
    if (ALIGN_DOWN(s->off, PAGE_SIZE) >= size) {
        return -EFAULT;
    }
    len = min(len, ALIGN_UP(size, PAGE_SIZE) - s->off);
    todo = s->off < size ? min(len, size - s->off) : 0;
    while (done < todo) {
        ssize_t n = host_pwrite(s->fd, src + done, todo - done, s->off + done);

        if (n == -EINTR) {
            continue;
        }
        if (n <= 0) {
            return done != 0 ? (ssize_t)done : -EFAULT;
        }
        done += (size_t)n;
    }
    return (ssize_t)len;
}

/* ---- copies ---- */

static ssize_t span_in(const struct span *s, void *arg)
{
    char **dst = arg;
    ssize_t n = (ssize_t)s->len;

    if (s->ptr != NULL) {
        memcpy(*dst, s->ptr, s->len);
    } else {
        n = file_span_read(s, *dst, s->len);
    }
    *dst += n > 0 ? n : 0;
    return n;
}

static ssize_t span_out(const struct span *s, void *arg)
{
    const char **src = arg;
    ssize_t n = (ssize_t)s->len;

    if (s->ptr != NULL) {
        memcpy(s->ptr, *src, s->len);
    } else {
        n = file_span_write(s, *src, s->len);
    }
    *src += n > 0 ? n : 0;
    return n;
}

static ssize_t span_zero(const struct span *s, void *arg)
{
    static const char zeroes[PAGE_SIZE];

    if (s->ptr != NULL) {
        memset(s->ptr, 0, s->len);
        return (ssize_t)s->len;
    }
    return file_span_write(s, zeroes, min(s->len, sizeof(zeroes)));
}

struct str_copy {
    char *dst;
    size_t len;
    bool ended;
};

/* Up to the NUL; a short count ends the walk. */
static ssize_t span_str(const struct span *s, void *arg)
{
    struct str_copy *c = arg;
    ssize_t n = (ssize_t)s->len;
    char *nul;

    if (s->ptr != NULL) {
        memcpy(c->dst + c->len, s->ptr, s->len); /* once: the guest may change it meanwhile */
    } else {
        n = file_span_read(s, c->dst + c->len, s->len);
        if (n <= 0) {
            return n;
        }
    }
    nul = memchr(c->dst + c->len, 0, (size_t)n);
    if (nul != NULL) {
        c->len = (size_t)(nul - c->dst);
        c->ended = true;
        return 0;
    }
    c->len += (size_t)n;
    return n;
}

ssize_t mm_copy_in(struct mm *mm, void *dst, uaddr src, size_t len, bool force)
{
    char *to = dst;

    return walk(mm, src, len, force ? WALK_FORCE : 0, span_in, &to);
}

ssize_t mm_copy_out(struct mm *mm, uaddr dst, const void *src, size_t len, bool force)
{
    const char *from = src;

    return walk(mm, dst, len, WALK_WRITE | (force ? WALK_FORCE : 0), span_out, &from);
}

/* ---- base/usermem.h ---- */

static ssize_t user_copy_in_some(void *dst, uaddr src, size_t len)
{
    return mm_copy_in(get_current_mm(), dst, src, len, false);
}

static ssize_t user_copy_out_some(uaddr dst, const void *src, size_t len)
{
    return mm_copy_out(get_current_mm(), dst, src, len, false);
}

static int user_copy_in(void *dst, uaddr src, size_t len)
{
    return user_copy_in_some(dst, src, len) == (ssize_t)len ? 0 : -EFAULT;
}

static int user_copy_out(uaddr dst, const void *src, size_t len)
{
    return user_copy_out_some(dst, src, len) == (ssize_t)len ? 0 : -EFAULT;
}

static ssize_t user_zero_out_some(uaddr dst, size_t len)
{
    return walk(get_current_mm(), dst, len, WALK_WRITE, span_zero, NULL);
}

/* Page by page: a string near the end of a mapping must not need the page behind it. */
static ssize_t user_copy_in_str(char *dst, uaddr src, size_t size)
{
    struct str_copy c = {.dst = dst};
    struct mm *mm = get_current_mm();

    while (c.len < size) {
        u64 in_page = PAGE_SIZE - ((src + c.len) & ~PAGE_MASK);
        ssize_t n = walk(mm, src + c.len, min(size - c.len, in_page), 0, span_str, &c);

        if (c.ended) {
            return (ssize_t)c.len;
        }
        if (n <= 0) {
            return -EFAULT;
        }
    }
    return -ENAMETOOLONG;
}

struct pin {
    struct iovec *iov;
    int count, max;
    int err;
};

static ssize_t span_pin(const struct span *s, void *arg)
{
    struct pin *pin = arg;
    u64 from = ALIGN_DOWN(s->off, PAGE_SIZE), to = ALIGN_UP(s->off + s->len, PAGE_SIZE);

    if (s->ptr == NULL || pin->count == pin->max) {
        return 0;
    }
    if (memfile_ref(memfile, from, to - from) != 0) {
        return 0;
    }
    pin->iov[pin->count++] = (struct iovec){.iov_base = s->ptr, .iov_len = s->len};
    return (ssize_t)s->len;
}

static int user_pin(uaddr addr, size_t len, bool write, struct iovec *iov, int max)
{
    struct pin pin = {.iov = iov, .max = max};
    ssize_t n = walk(get_current_mm(), addr, len, write ? WALK_WRITE : 0, span_pin, &pin);

    return n < 0 ? (int)n : pin.count;
}

static void user_unpin(const struct iovec *iov, int count)
{
    const char *base = memfile_window(memfile, 0, 0);

    for (int i = 0; i < count; i++) {
        u64 off = (u64)((const char *)iov[i].iov_base - base);
        u64 from = ALIGN_DOWN(off, PAGE_SIZE), to = ALIGN_UP(off + iov[i].iov_len, PAGE_SIZE);

        memfile_unref(memfile, from, to - from);
    }
}

static const struct usermem_ops mm_usermem_ops = {
    .copy_in = user_copy_in,
    .copy_out = user_copy_out,
    .copy_in_some = user_copy_in_some,
    .copy_out_some = user_copy_out_some,
    .zero_out_some = user_zero_out_some,
    .copy_in_str = user_copy_in_str,
    .pin = user_pin,
    .unpin = user_unpin,
};

void mm_boot(struct mm *(*current_mm)(void))
{
    get_current_mm = current_mm;
    usermem_set_ops(&mm_usermem_ops);
}

/* ---- words ---- */

struct word {
    u32 value, desired;
    bool is_cmpxchg;
    bool ok;
};

static ssize_t span_word(const struct span *s, void *arg)
{
    struct word *w = arg;

    if (s->len < sizeof(u32)) {
        return -EFAULT;
    }
    if (s->ptr == NULL) { /* a host file's page: only reading is possible from here */
        w->ok = !w->is_cmpxchg && file_span_read(s, (char *)&w->value, sizeof(u32)) == sizeof(u32);
    } else if (w->is_cmpxchg) {
        (void)__atomic_compare_exchange_n((u32 *)(void *)s->ptr, &w->value, w->desired, false,
                                          __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
        w->ok = true;
    } else {
        w->value = __atomic_load_n((u32 *)(void *)s->ptr, __ATOMIC_SEQ_CST);
        w->ok = true;
    }
    return w->ok ? (ssize_t)sizeof(u32) : -EFAULT;
}

int mm_load_u32(struct mm *mm, uaddr addr, u32 *out)
{
    struct word w = {0};

    if (!IS_ALIGNED(addr, sizeof(u32)) || walk(mm, addr, sizeof(u32), 0, span_word, &w) < 0 ||
        !w.ok) {
        return -EFAULT;
    }
    *out = w.value;
    return 0;
}

int mm_cmpxchg_u32(struct mm *mm, uaddr addr, u32 *expected, u32 desired)
{
    struct word w = {.value = *expected, .desired = desired, .is_cmpxchg = true};

    if (!IS_ALIGNED(addr, sizeof(u32)) ||
        walk(mm, addr, sizeof(u32), WALK_WRITE, span_word, &w) < 0 || !w.ok) {
        return -EFAULT;
    }
    *expected = w.value;
    return 0;
}

/* The word's address in the sentry if its frame is there (and may be written as it is); pma_lock
 * held. */
static u32 *resident_word(struct mm *mm, uaddr addr, bool write)
{
    struct pma *p = pma_at(mm, addr);

    if (p == NULL || p->fd >= 0 || (write && (p->need_cow || !p->writable))) {
        return NULL;
    }
    return memfile_window(memfile, p->off + (addr - p->start), sizeof(u32));
}

/* A try, because futex buckets rank above: nobody waits here. */
int mm_load_u32_nofault(struct mm *mm, uaddr addr, u32 *out)
{
    u32 *word;

    if (!mutex_trylock(&mm->pma_lock)) {
        return -EAGAIN;
    }
    word = resident_word(mm, addr, false);
    if (word != NULL) {
        *out = __atomic_load_n(word, __ATOMIC_SEQ_CST);
    }
    mutex_unlock(&mm->pma_lock);
    return word != NULL ? 0 : -EAGAIN;
}

int mm_cmpxchg_u32_nofault(struct mm *mm, uaddr addr, u32 *expected, u32 desired)
{
    u32 *word;

    if (!mutex_trylock(&mm->pma_lock)) {
        return -EAGAIN;
    }
    word = resident_word(mm, addr, true);
    if (word != NULL) {
        (void)__atomic_compare_exchange_n(word, expected, desired, false, __ATOMIC_SEQ_CST,
                                          __ATOMIC_SEQ_CST);
    }
    mutex_unlock(&mm->pma_lock);
    return word != NULL ? 0 : -EAGAIN;
}

int mm_futex_key(struct mm *mm, uaddr addr, bool shared, struct futex_key *out)
{
    struct vma *v;

    *out = (struct futex_key){.object = mm, .offset = addr};
    if (addr >= platform_caps.task_size || !IS_ALIGNED(addr, sizeof(u32))) {
        return -EFAULT;
    }
    if (!shared) {
        return 0;
    }
    READ_GUARD(&mm->lock);
    v = vma_at(mm, addr);
    if (v == NULL || fault_check(v, ACCESS_READ) != 0) {
        return -EFAULT;
    }
    if (!vma_is_private(v)) {
        out->object = v->mappable;
        out->offset = v->off + (addr - v->start);
    }
    return 0;
}
