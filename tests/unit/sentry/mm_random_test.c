/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random operations on several address spaces against a byte model. After each operation a few
 * bytes are compared, through the kernel's copies and through the page tables that the fake host
 * has; at the end all pages are, and nothing may be left allocated.
 *
 * The model: each space has PAGES pages. A page is absent, or has a protection and a content, which
 * is its own or that of a shared object; objects are counted by nobody (freed at the end).
 */
#include "base/heap.h"
#include "base/rand.h"
#include "sentry/mm/mm.h"
#include "tests/unit/sentry/fake_platform.h"
#include "vfs/mappable.h"
#include "vfs/tmpfs/tmpfs.h"
#include "vfs/vfs_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define PAGES      96U
#define SPACES     4U
#define BASE       0x20000000UL
#define AT(n)      (BASE + (u64)(n)*PAGE_SIZE)
#define FILE_PAGES 48U
#define RW         (PROT_READ | PROT_WRITE)

/* A page's content; `own` ones belong to their page. */
struct content {
    u8 bytes[PAGE_SIZE];
    bool shared;
};

struct mpage {
    bool present;
    bool wipe, dontfork;
    bool is_private;
    bool is_anon;
    u32 prot;
    struct content *c; /* NULL: zeroes (private) */
};

struct space {
    struct mm *mm;
    struct mpage pages[PAGES];
};

static struct space spaces[SPACES];
static struct cred root_cred;
static struct content file_pages[FILE_PAGES];
static struct content *objects[100000];
static u32 nr_objects;

/* ---- the file ---- */

static struct mappable file_mappable;
static int file_fd;

static int get_extent(struct mappable *m, u64 off, u64 len, bool write, struct extent *out)
{
    if (off >= FILE_PAGES * PAGE_SIZE) {
        return -ENXIO;
    }
    *out = (struct extent){.fd = file_fd,
                           .off = off,
                           .len = min(len, FILE_PAGES * PAGE_SIZE - off),
                           .writable = write};
    return 0;
}
static const struct mappable_ops file_mappable_ops = {.get_extent = get_extent};

/* ---- the model ---- */

static void page_clear(struct mpage *p)
{
    if (p->c != NULL && !p->c->shared) {
        free(p->c);
    }
    *p = (struct mpage){0};
}

static struct content *page_own(struct mpage *p)
{
    if (p->is_private && (p->c == NULL || p->c->shared)) {
        struct content *c = calloc(1, sizeof(*c));

        if (p->c != NULL) {
            memcpy(c->bytes, p->c->bytes, PAGE_SIZE);
        }
        p->c = c;
    }
    return p->c;
}

static u8 page_byte(const struct mpage *p, u64 off)
{
    return p->c != NULL ? p->c->bytes[off] : 0;
}

static struct content *object_new(void)
{
    struct content *c = calloc(1, sizeof(*c));

    c->shared = true;
    assert_true(nr_objects < ARRAY_SIZE(objects));
    objects[nr_objects++] = c;
    return c;
}

static bool may_read(const struct mpage *p)
{
    return p->present && p->prot != 0;
}

static bool may_write(const struct mpage *p)
{
    return p->present && (p->prot & PROT_WRITE) != 0;
}

/* ---- checks ---- */

/* Guest code touches one byte. False: a signal. */
static bool touch(struct mm *mm, uaddr addr, bool write, u8 *b)
{
    for (int i = 0; i < 8; i++) {
        u32 access = ACCESS_UNKNOWN | ACCESS_READ;

        if (fake_access(mm_aspace(mm), addr, write, b)) {
            return true;
        }
        access |=
            fake_is_mapped(mm_aspace(mm), addr / PAGE_SIZE) ? ACCESS_MAPPED | ACCESS_WRITE : 0;
        if (mm_fault(mm, addr, access, NULL) != 0) {
            return false;
        }
    }
    fail_msg("endless faults at page %lu", (unsigned long)(addr - BASE) / PAGE_SIZE);
    return false;
}

/* What the host shows without a fault must be right too. */
static void check_host(const struct space *s, u32 page, u64 off)
{
    const struct mpage *p = &s->pages[page];
    const struct fake_pte *pte = &mm_aspace(s->mm)->ptes[AT(page) / PAGE_SIZE];
    u8 b = 0;

    if (fake_access(mm_aspace(s->mm), AT(page) + off, false, &b)) {
        assert_true(may_read(p));
        assert_int_equal(b, page_byte(p, off));
    }
    if (pte->fd != 0 && (pte->prot & PROT_WRITE) != 0) {
        assert_true(may_write(p));
    }
}

static void check_byte(struct space *s, u32 page, u64 off)
{
    const struct mpage *p = &s->pages[page];
    u8 b = 0;
    ssize_t n;

    check_host(s, page, off);
    n = mm_copy_in(s->mm, &b, AT(page) + off, 1, false);
    assert_int_equal(n, may_read(p) ? 1 : -EFAULT);
    if (n == 1) {
        assert_int_equal(b, page_byte(p, off));
    }
    assert_int_equal(touch(s->mm, AT(page) + off, false, &b), may_read(p));
    if (may_read(p)) {
        assert_int_equal(b, page_byte(p, off));
    }
    check_host(s, page, off);
}

static void check_all(void)
{
    for (u32 i = 0; i < SPACES; i++) {
        for (u32 page = 0; spaces[i].mm != NULL && page < PAGES; page++) {
            check_byte(&spaces[i], page, rand_below(PAGE_SIZE));
            check_byte(&spaces[i], page, 0);
        }
    }
}

/* ---- operations ---- */

/* A random range: *len >= 1. */
static void pick_range(u32 *page, u32 *len)
{
    *page = (u32)rand_below(PAGES);
    *len = 1 + (u32)rand_below(rand_below(4) == 0 ? PAGES - *page : min(PAGES - *page, 6U));
}

static u32 pick_prot(void)
{
    static const u32 prots[] = {RW, RW, RW, PROT_READ, PROT_NONE, PROT_READ | PROT_EXEC};

    return prots[rand_below(ARRAY_SIZE(prots))];
}

static void op_map(struct space *s)
{
    u32 page, len, prot = pick_prot();
    u32 kind = (u32)rand_below(5), first = (u32)rand_below(FILE_PAGES);
    struct mmap_args a = {.prot = prot, .flags = MAP_FIXED, .cred = &root_cred};
    bool anon = kind < 3, shared = kind == 2 || kind == 4;

    pick_range(&page, &len);
    /* The first half is mapped privately only: whether a private mapping sees what is written to
     * the file later is not specified, and copies are made in chunks. */
    first = shared ? FILE_PAGES / 2 + first / 2 : first / 2;
    len = anon ? len : min(len, (shared ? FILE_PAGES : FILE_PAGES / 2) - first);
    a.addr = AT(page);
    a.len = len * PAGE_SIZE;
    a.flags |= (shared ? MAP_SHARED : MAP_PRIVATE) | (anon ? MAP_ANONYMOUS : 0);
    a.flags |= rand_below(4) == 0 ? MAP_POPULATE : 0;
    a.mappable = anon ? NULL : &file_mappable;
    a.off = anon ? 0 : first * PAGE_SIZE;
    assert_int_equal(mm_map(s->mm, &a), AT(page));
    for (u32 i = 0; i < len; i++) {
        struct mpage *p = &s->pages[page + i];

        page_clear(p);
        *p = (struct mpage){
            .present = true, .prot = prot, .is_private = !shared, .is_anon = anon && !shared};
        p->c = !anon ? &file_pages[first + i] : shared ? object_new() : NULL;
    }
}

static void op_unmap(struct space *s)
{
    u32 page, len;

    pick_range(&page, &len);
    assert_int_equal(mm_unmap(s->mm, AT(page), len * PAGE_SIZE), 0);
    for (u32 i = 0; i < len; i++) {
        page_clear(&s->pages[page + i]);
    }
}

static void op_protect(struct space *s)
{
    u32 page, len, prot = pick_prot(), i;
    int err;

    pick_range(&page, &len);
    err = mm_protect(s->mm, AT(page), len * PAGE_SIZE, prot, NULL);
    for (i = 0; i < len && s->pages[page + i].present; i++) {
        s->pages[page + i].prot = prot;
    }
    assert_int_equal(err, i == len ? 0 : -ENOMEM);
}

static void op_write(struct space *s)
{
    static u8 buf[5 * PAGE_SIZE];
    u64 at = rand_below(PAGES * PAGE_SIZE);
    u64 len = min(1 + rand_below(sizeof(buf)), PAGES * PAGE_SIZE - at), want = 0;
    u8 fill = (u8)rand_u64();
    ssize_t n;

    memset(buf, fill, len);
    n = mm_copy_out(s->mm, BASE + at, buf, len, false);
    while (want < len && may_write(&s->pages[(at + want) / PAGE_SIZE])) {
        page_own(&s->pages[(at + want) / PAGE_SIZE])->bytes[(at + want) % PAGE_SIZE] = fill;
        want++;
    }
    assert_int_equal(n, want != 0 ? (ssize_t)want : -EFAULT);
}

static void op_guest_write(struct space *s)
{
    u32 page = (u32)rand_below(PAGES);
    u64 off = rand_below(PAGE_SIZE);
    struct mpage *p = &s->pages[page];
    u8 b = (u8)rand_u64();
    bool done = touch(s->mm, AT(page) + off, true, &b);

    assert_int_equal(done, may_write(p));
    if (done) {
        page_own(p)->bytes[off] = b;
    }
}

static void op_advise(struct space *s)
{
    static const int advices[] = {MADV_DONTNEED,   MADV_DONTNEED, MADV_WIPEONFORK,
                                  MADV_KEEPONFORK, MADV_DONTFORK, MADV_DOFORK};
    int advice = advices[rand_below(ARRAY_SIZE(advices))];
    u32 page = (u32)rand_below(PAGES);
    struct mpage *p = &s->pages[page];
    int err = mm_advise(s->mm, AT(page), PAGE_SIZE, advice);

    if (!p->present) {
        assert_int_equal(err, -ENOMEM);
    } else if (advice == MADV_DONTNEED) {
        if (p->is_anon) {
            bool wipe = p->wipe, dontfork = p->dontfork;
            u32 prot = p->prot;

            page_clear(p);
            *p = (struct mpage){.present = true,
                                .prot = prot,
                                .is_private = true,
                                .is_anon = true,
                                .wipe = wipe,
                                .dontfork = dontfork};
        } else if (p->is_private) { /* the model forgets which page of the file it was: unmap it */
            assert_int_equal(mm_unmap(s->mm, AT(page), PAGE_SIZE), 0);
            page_clear(p);
        }
    } else if (advice == MADV_WIPEONFORK) {
        assert_int_equal(err, p->is_anon ? 0 : -EINVAL);
        p->wipe = p->is_anon;
    } else {
        p->wipe = advice == MADV_KEEPONFORK ? false : p->wipe;
        p->dontfork = advice == MADV_DONTFORK ? true : advice == MADV_DOFORK ? false : p->dontfork;
    }
}

/* Are [page, +len) one mapping as the model sees it? (It cannot tell two equal neighbours.) */
static bool is_uniform(const struct space *s, u32 page, u32 len)
{
    const struct mpage *a = &s->pages[page];

    for (u32 i = 0; i < len; i++) {
        const struct mpage *b = &s->pages[page + i];

        if (!b->present || !b->is_anon || b->prot != a->prot || b->wipe != a->wipe ||
            b->dontfork != a->dontfork) {
            return false;
        }
    }
    return true;
}

static void op_remap(struct space *s)
{
    struct mpage moved[PAGES];
    u32 page, len, to = (u32)rand_below(PAGES), new_len;

    pick_range(&page, &len);
    new_len = min(1 + (u32)rand_below(len + 3), PAGES - to);
    if (!is_uniform(s, page, len) || (page < to + new_len && to < page + len)) {
        return;
    }
    assert_int_equal(mm_remap(s->mm, AT(page), len * PAGE_SIZE, new_len * PAGE_SIZE,
                              MREMAP_MAYMOVE | MREMAP_FIXED, AT(to), NULL),
                     AT(to));
    for (u32 i = 0; i < new_len; i++) {
        page_clear(&s->pages[to + i]);
        moved[i] = s->pages[page];
        moved[i].c = NULL;
        if (i < len) {
            moved[i] = s->pages[page + i];
            s->pages[page + i].c = NULL;
        }
    }
    for (u32 i = 0; i < len; i++) {
        page_clear(&s->pages[page + i]);
    }
    memcpy(&s->pages[to], moved, new_len * sizeof(moved[0]));
}

static void space_end(struct space *s)
{
    if (s->mm == NULL) {
        return;
    }
    mm_put(s->mm);
    s->mm = NULL;
    for (u32 i = 0; i < PAGES; i++) {
        page_clear(&s->pages[i]);
    }
}

static void op_fork(struct space *s)
{
    struct space *child = &spaces[rand_below(SPACES)];

    if (child == s) {
        return;
    }
    space_end(child);
    child->mm = mm_fork(s->mm);
    assert_false(IS_ERR(child->mm));
    for (u32 i = 0; i < PAGES; i++) {
        struct mpage *c = &child->pages[i];

        *c = s->pages[i];
        if (c->dontfork) {
            *c = (struct mpage){0};
        } else if (c->wipe) {
            c->c = NULL;
        } else if (c->c != NULL && !c->c->shared) {
            c->c = malloc(sizeof(*c->c));
            memcpy(c->c, s->pages[i].c, sizeof(*c->c));
        }
    }
}

static void one_op(void)
{
    struct space *s = &spaces[rand_below(SPACES)];

    if (s->mm == NULL) {
        s->mm = mm_new();
        assert_false(IS_ERR(s->mm));
        assert_int_equal(mm_ready(s->mm), 0);
    }
    switch (rand_below(16)) {
    case 0:
    case 1:
    case 2:
        op_map(s);
        break;
    case 3:
        op_unmap(s);
        break;
    case 4:
    case 5:
        op_protect(s);
        break;
    case 6:
    case 7:
        op_advise(s);
        break;
    case 8:
    case 9:
        op_remap(s);
        break;
    case 10:
        op_fork(s);
        break;
    case 11:
    case 12:
    case 13:
        op_guest_write(s);
        break;
    default:
        op_write(s);
        break;
    }
    for (int i = 0; i < 3; i++) {
        struct space *t = &spaces[rand_below(SPACES)];

        if (t->mm != NULL) {
            check_byte(t, (u32)rand_below(PAGES), rand_below(PAGE_SIZE));
        }
    }
}

static void run_seed(u64 seed, u32 ops)
{
    u64 before = heap_objects_in_use();

    rand_seed(seed);
    for (u32 i = 0; i < ops; i++) {
        one_op();
        if (i % 500 == 499) {
            check_all();
        }
    }
    check_all();
    for (u32 i = 0; i < SPACES; i++) {
        space_end(&spaces[i]);
    }
    for (u32 i = 0; i < nr_objects; i++) {
        free(objects[i]);
    }
    nr_objects = 0;
    defer_flush();
    assert_int_equal(fake_aspaces, 0);
    assert_int_equal(memfile_kind_bytes(memfile, MEMFILE_ANON), 0);
    assert_int_equal(memfile_kind_bytes(memfile, MEMFILE_SHMEM), 0);
    assert_int_equal(heap_objects_in_use(), before);
}

static void random_operations_match_the_model(void **state)
{
    for (u64 seed = 1; seed <= 12; seed++) {
        run_seed(seed, 1500);
    }
}

/* As above while host mappings are scarce, so that fork maps nothing and copies are large. */
static void random_operations_with_few_host_mappings(void **state)
{
    platform_caps.max_mappings = 12;
    for (u64 seed = 100; seed <= 104; seed++) {
        run_seed(seed, 1500);
    }
    platform_caps.max_mappings = 60000;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_operations_match_the_model),
        cmocka_unit_test(random_operations_with_few_host_mappings),
    };

    if (heap_init() != 0 || IS_ERR(memfile_new(0)) || vfs_boot() != 0 || tmpfs_boot() != 0) {
        return 1;
    }
    ref_init(&root_cred.ref);
    fake_platform_set();
    file_fd = memfd_create("test", MFD_CLOEXEC);
    if (ftruncate(file_fd, FILE_PAGES * PAGE_SIZE) != 0) {
        return 1;
    }
    for (u32 i = 0; i < FILE_PAGES; i++) {
        file_pages[i].shared = true;
        memset(file_pages[i].bytes, (int)i + 1, PAGE_SIZE);
        if (pwrite(file_fd, file_pages[i].bytes, PAGE_SIZE, (off_t)(i * PAGE_SIZE)) < 0) {
            return 1;
        }
    }
    mappable_init(&file_mappable, &file_mappable_ops, NULL);
    if (argc > 1) { /* one seed, for looking into a failure */
        run_seed((u64)atol(argv[1]), 1500);
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
