/* SPDX-License-Identifier: Apache-2.0 */
/* Address spaces over a fake platform: what each operation does to the guest's view, the host's
 * view and the books. */
#include "sentry/mm/mm.h"

#include "base/heap.h"
#include "base/rand.h"
#include "base/usermem.h"
#include "tests/unit/sentry/fake_platform.h"
#include "vfs/mappable.h"
#include "vfs/tmpfs/tmpfs.h"
#include "vfs/vfs_priv.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define AT(n) (0x20000000UL + (n)*PAGE_SIZE)
#define RW    (PROT_READ | PROT_WRITE)
#define ANON  (MAP_PRIVATE | MAP_ANONYMOUS)

static struct mm *current_mm;
static struct cred root_cred; /* all zeroes but its count: root */
static u64 objects_before;

static struct mm *get_current(void)
{
    return current_mm;
}

static struct mm *fresh_mm(void)
{
    struct mm *mm = mm_new();

    assert_false(IS_ERR(mm));
    assert_int_equal(mm_ready(mm), 0);
    return mm;
}

static int setup(void **state)
{
    objects_before = heap_objects_in_use();
    current_mm = fresh_mm();
    return 0;
}

/* Nothing is left of any test. */
static int teardown(void **state)
{
    mm_put(current_mm);
    current_mm = NULL;
    assert_int_equal(fake_aspaces, 0);
    assert_int_equal(memfile_kind_bytes(memfile, MEMFILE_ANON), 0);
    assert_int_equal(memfile_kind_bytes(memfile, MEMFILE_SHMEM), 0);
    defer_flush();
    assert_int_equal(heap_objects_in_use(), objects_before);
    return 0;
}

static s64 map(uaddr addr, u64 pages, u32 prot, u32 flags)
{
    const struct mmap_args a = {
        .addr = addr, .len = pages * PAGE_SIZE, .prot = prot, .flags = flags, .cred = &root_cred};

    return mm_map(current_mm, &a);
}

static void map_fixed(uaddr addr, u64 pages, u32 prot)
{
    assert_int_equal(map(addr, pages, prot, ANON | MAP_FIXED), addr);
}

static u8 load(struct mm *mm, uaddr addr)
{
    u8 b = 0;

    assert_int_equal(mm_copy_in(mm, &b, addr, 1, false), 1);
    return b;
}

static void store(struct mm *mm, uaddr addr, u8 b)
{
    assert_int_equal(mm_copy_out(mm, addr, &b, 1, false), 1);
}

/* Guest code touches addr on a platform that does not tell reads from writes. */
static int touch(struct mm *mm, uaddr addr, bool write, u8 *b)
{
    for (int i = 0; i < 8; i++) {
        struct aspace *as = mm_aspace(mm);
        u32 access = ACCESS_UNKNOWN;
        int err;

        if (fake_access(as, addr, write, b)) {
            return 0;
        }
        access |= fake_is_mapped(as, addr / PAGE_SIZE) ? ACCESS_MAPPED | ACCESS_WRITE : 0;
        err = mm_fault(mm, addr, access | ACCESS_READ, NULL);
        if (err != 0) {
            return err;
        }
    }
    fail_msg("endless faults at %lx", (unsigned long)addr);
    return -1;
}

static u32 count_vmas(struct mm *mm)
{
    struct vma_info v;
    u32 n = 0;

    for (uaddr at = 0; mm_next_vma(mm, at, &v) == 0; at = v.end, n++) {
        file_put(v.file);
    }
    return n;
}

/* ---- cases ---- */

static void anonymous_memory_is_zero_and_mapped_at_once(void **state)
{
    u8 b = 1;

    map_fixed(AT(0), 8, RW);
    assert_true(fake_access(mm_aspace(current_mm), AT(7), false, &b));
    assert_int_equal(b, 0);
    b = 9;
    assert_true(fake_access(mm_aspace(current_mm), AT(3) + 5, true, &b));
    assert_int_equal(load(current_mm, AT(3) + 5), 9);
    store(current_mm, AT(4), 7);
    assert_int_equal(touch(current_mm, AT(4), false, &b), 0);
    assert_int_equal(b, 7);
}

static void unmapped_memory_faults(void **state)
{
    u8 b;

    map_fixed(AT(0), 3, RW);
    assert_int_equal(mm_unmap(current_mm, AT(1), PAGE_SIZE), 0);
    assert_int_equal(touch(current_mm, AT(1), false, &b), -EFAULT);
    assert_int_equal(mm_copy_in(current_mm, &b, AT(1), 1, false), -EFAULT);
    assert_int_equal(touch(current_mm, AT(2), false, &b), 0);
    assert_int_equal(mm_unmap(current_mm, AT(1) + 1, PAGE_SIZE), -EINVAL);
    assert_int_equal(mm_unmap(current_mm, AT(1), 0), -EINVAL);
    assert_int_equal(mm_unmap(current_mm, AT(9), PAGE_SIZE), 0);
}

static void bad_requests_are_refused(void **state)
{
    assert_int_equal(map(0, 0, RW, ANON), -EINVAL);
    assert_int_equal(map(0, 1, RW, MAP_ANONYMOUS), -EINVAL);
    assert_int_equal(map(AT(0) + 1, 1, RW, ANON | MAP_FIXED), -EINVAL);
    assert_int_equal(map(0, FAKE_PAGES + 1, RW, ANON), -ENOMEM);
    assert_int_equal(map(0x1000, 1, RW, ANON | MAP_FIXED), -EPERM);
    assert_int_equal(map(FAKE_TASK_SIZE - PAGE_SIZE, 2, RW, ANON | MAP_FIXED), -ENOMEM);
    map_fixed(AT(0), 1, RW);
    assert_int_equal(map(AT(0), 1, RW, ANON | MAP_FIXED_NOREPLACE), -EEXIST);
    assert_int_equal(map(AT(1), 1, RW, ANON | MAP_FIXED_NOREPLACE), AT(1));
}

static void hints_are_taken_when_free(void **state)
{
    assert_int_equal(map(AT(5), 2, RW, ANON), AT(5));
    s64 other = map(AT(5), 2, RW, ANON);

    assert_true(other > 0 && other != (s64)AT(5));
}

static void new_mappings_go_top_down_and_fill_holes(void **state)
{
    s64 a = map(0, 4, RW, ANON), b = map(0, 4, PROT_READ, ANON), c = map(0, 2, RW, ANON);

    assert_int_equal(b, a - 4 * (s64)PAGE_SIZE);
    assert_int_equal(c, b - 2 * (s64)PAGE_SIZE);
    assert_int_equal(mm_unmap(current_mm, (uaddr)b, 4 * PAGE_SIZE), 0);
    assert_int_equal(map(0, 5, RW, ANON), c - 5 * (s64)PAGE_SIZE);
    assert_int_equal(map(0, 3, RW, ANON), b + (s64)PAGE_SIZE);
    assert_int_equal(map(0, 1, RW, ANON), b);
}

static void protection_splits_and_merges(void **state)
{
    u8 b = 1;

    map_fixed(AT(0), 6, RW);
    assert_int_equal(count_vmas(current_mm), 1);
    assert_int_equal(mm_protect(current_mm, AT(2), PAGE_SIZE, PROT_READ, NULL), 0);
    assert_int_equal(count_vmas(current_mm), 3);
    assert_int_equal(touch(current_mm, AT(2), true, &b), -EACCES);
    assert_int_equal(touch(current_mm, AT(2), false, &b), 0);
    assert_int_equal(mm_copy_out(current_mm, AT(1) + 4000,
                                 "xxxxxxxxxxxxxxxx"
                                 "xxxxxxxxxxxxxxxx"
                                 "xxxxxxxxxxxxxxxx"
                                 "xxxxxxxxxxxxxxxx"
                                 "xxxxxxxxxxxxxxxx"
                                 "xxxxxxxxxxxxxxxxxxxx",
                                 100, false),
                     96);
    assert_int_equal(mm_protect(current_mm, AT(2), PAGE_SIZE, PROT_NONE, NULL), 0);
    assert_int_equal(touch(current_mm, AT(2), false, &b), -EACCES);
    assert_int_equal(mm_protect(current_mm, AT(2), PAGE_SIZE, RW, NULL), 0);
    assert_int_equal(count_vmas(current_mm), 1);
    assert_int_equal(touch(current_mm, AT(2), true, &b), 0);
    assert_int_equal(mm_protect(current_mm, AT(5), 2 * PAGE_SIZE, PROT_READ, NULL), -ENOMEM);
    assert_int_equal(touch(current_mm, AT(5), true, &b), -EACCES);
    assert_int_equal(mm_protect(current_mm, AT(9), PAGE_SIZE, PROT_READ, NULL), -ENOMEM);
    assert_int_equal(mm_protect(current_mm, AT(0), PAGE_SIZE, 0x100, NULL), -EINVAL);
}

static void fork_copies_on_write(void **state)
{
    struct mm *child;
    u8 b = 0;

    map_fixed(AT(0), 40, RW);
    store(current_mm, AT(0), 1);
    store(current_mm, AT(20), 2);
    child = mm_fork(current_mm);
    assert_false(IS_ERR(child));
    assert_true(fake_access(mm_aspace(child), AT(20), false, &b));
    assert_int_equal(b, 2);
    b = 3;
    assert_false(fake_access(mm_aspace(current_mm), AT(0), true, &b));
    assert_int_equal(touch(child, AT(0), true, &b), 0);
    assert_int_equal(load(current_mm, AT(0)), 1);
    store(current_mm, AT(20), 4);
    assert_int_equal(load(child, AT(20)), 2);
    mm_put(child);
    /* The only owner again: written in place. */
    b = 5;
    u64 before = memfile_kind_bytes(memfile, MEMFILE_ANON);

    assert_int_equal(touch(current_mm, AT(39), true, &b), 0);
    assert_int_equal(memfile_kind_bytes(memfile, MEMFILE_ANON), before);
}

static void shared_anonymous_memory_is_shared_over_fork(void **state)
{
    struct mm *child;
    u8 b = 8;

    assert_int_equal(map(AT(0), 4, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED), AT(0));
    child = mm_fork(current_mm);
    assert_false(IS_ERR(child));
    assert_int_equal(touch(child, AT(2), true, &b), 0);
    assert_int_equal(load(current_mm, AT(2)), 8);
    store(current_mm, AT(3), 9);
    assert_int_equal(load(child, AT(3)), 9);

    struct futex_key k1, k2;

    assert_int_equal(mm_futex_key(current_mm, AT(1) + 8, true, &k1), 0);
    assert_int_equal(mm_futex_key(child, AT(1) + 8, true, &k2), 0);
    assert_ptr_equal(k1.object, k2.object);
    assert_int_equal(k1.offset, k2.offset);
    mm_put(child);
}

static void advice_decides_what_fork_copies(void **state)
{
    struct mm *child;
    u8 b;

    map_fixed(AT(0), 3, RW);
    for (int i = 0; i < 3; i++) {
        store(current_mm, AT(i), 7);
    }
    assert_int_equal(mm_advise(current_mm, AT(0), PAGE_SIZE, MADV_DONTFORK), 0);
    assert_int_equal(mm_advise(current_mm, AT(1), PAGE_SIZE, MADV_WIPEONFORK), 0);
    child = mm_fork(current_mm);
    assert_false(IS_ERR(child));
    assert_int_equal(touch(child, AT(0), false, &b), -EFAULT);
    assert_int_equal(load(child, AT(1)), 0);
    assert_int_equal(load(child, AT(2)), 7);
    assert_int_equal(load(current_mm, AT(1)), 7);
    mm_put(child);
}

static void dontneed_gives_zeroes(void **state)
{
    struct mm *child;

    map_fixed(AT(0), 4, RW);
    for (int i = 0; i < 4; i++) {
        store(current_mm, AT(i), 7);
    }
    assert_int_equal(mm_advise(current_mm, AT(1), PAGE_SIZE, MADV_DONTNEED), 0);
    assert_int_equal(load(current_mm, AT(1)), 0);
    assert_int_equal(load(current_mm, AT(2)), 7);
    child = mm_fork(current_mm);
    assert_int_equal(mm_advise(current_mm, AT(2), PAGE_SIZE, MADV_DONTNEED), 0);
    assert_int_equal(load(current_mm, AT(2)), 0);
    assert_int_equal(load(child, AT(2)), 7);
    mm_put(child);
    assert_int_equal(mm_advise(current_mm, AT(3), 2 * PAGE_SIZE, MADV_DONTNEED), -ENOMEM);
    assert_int_equal(load(current_mm, AT(3)), 0);
    assert_int_equal(mm_advise(current_mm, AT(3), PAGE_SIZE, 9999), -EINVAL);
}

static void brk_grows_and_shrinks(void **state)
{
    struct mm_layout *l = mm_layout(current_mm);
    struct mm_limits lim = {UINT64_MAX, 8 * PAGE_SIZE, UINT64_MAX, UINT64_MAX, true};
    u8 b = 1;

    l->start_brk = l->brk = AT(0) + 100;
    assert_int_equal(mm_brk(current_mm, 0, &lim), AT(0) + 100);
    assert_int_equal(mm_brk(current_mm, AT(2) + 1, &lim), AT(2) + 1);
    assert_int_equal(touch(current_mm, AT(2) + 4095, true, &b), 0);
    assert_int_equal(touch(current_mm, AT(3), true, &b), -EFAULT);
    assert_int_equal(mm_brk(current_mm, AT(1), &lim), AT(1));
    assert_int_equal(touch(current_mm, AT(2), true, &b), -EFAULT);
    assert_int_equal(mm_brk(current_mm, AT(100), &lim), AT(1)); /* RLIMIT_DATA */
    map_fixed(AT(5), 1, RW);
    assert_int_equal(mm_brk(current_mm, AT(6), &lim), AT(1));
}

static void stacks_grow_down_to_their_limit(void **state)
{
    struct mm_limits lim = {UINT64_MAX, UINT64_MAX, 32 * PAGE_SIZE, UINT64_MAX, true};

    assert_int_equal(map(AT(1000), 2, RW, ANON | MAP_FIXED | MAP_GROWSDOWN), AT(1000));
    assert_int_equal(mm_fault(current_mm, AT(999) + 8, ACCESS_WRITE, &lim), 0);
    assert_int_equal(mm_fault(current_mm, AT(975), ACCESS_WRITE, &lim), 0);
    assert_int_equal(mm_fault(current_mm, AT(900), ACCESS_WRITE, &lim), -EFAULT);
    store(current_mm, AT(971), 1); /* the kernel's own writes grow it too */
    assert_int_equal(mm_copy_out(current_mm, AT(960), "x", 1, false), -EFAULT);
}

static void limits_are_kept(void **state)
{
    struct mm_limits lim = {16 * PAGE_SIZE, 8 * PAGE_SIZE, UINT64_MAX, 2 * PAGE_SIZE, false};
    struct mmap_args a = {
        .addr = AT(0), .len = 10 * PAGE_SIZE, .prot = RW, .flags = ANON, .limits = &lim};

    assert_int_equal(mm_map(current_mm, &a), -ENOMEM); /* data */
    a.prot = PROT_READ;
    assert_int_equal(mm_map(current_mm, &a), AT(0));
    assert_int_equal(mm_map(current_mm, &a), -ENOMEM); /* address space */
    assert_int_equal(mm_protect(current_mm, AT(0), 10 * PAGE_SIZE, RW, &lim), -ENOMEM);
    assert_int_equal(mm_lock_range(current_mm, AT(0), 3 * PAGE_SIZE, 0, &lim), -ENOMEM);
    assert_int_equal(mm_lock_range(current_mm, AT(0), 2 * PAGE_SIZE, 0, &lim), 0);
    assert_int_equal(mm_lock_range(current_mm, AT(1), PAGE_SIZE, 0, &lim), 0);
    assert_int_equal(mm_unlock_range(current_mm, AT(0), 10 * PAGE_SIZE), 0);
    assert_int_equal(count_vmas(current_mm), 1);
}

static void remap_moves_the_bytes(void **state)
{
    s64 to;

    map_fixed(AT(0), 4, RW);
    map_fixed(AT(4), 1, PROT_READ);
    store(current_mm, AT(1), 3);
    assert_int_equal(mm_remap(current_mm, AT(0), 4 * PAGE_SIZE, 8 * PAGE_SIZE, 0, 0, NULL),
                     -ENOMEM);
    to = mm_remap(current_mm, AT(0), 4 * PAGE_SIZE, 8 * PAGE_SIZE, MREMAP_MAYMOVE, 0, NULL);
    assert_true(to > 0);
    assert_int_equal(load(current_mm, (uaddr)to + PAGE_SIZE), 3);
    store(current_mm, (uaddr)to + 7 * PAGE_SIZE, 4);
    assert_int_equal(mm_copy_out(current_mm, AT(1), "x", 1, false), -EFAULT);
    assert_int_equal(mm_remap(current_mm, (uaddr)to, 8 * PAGE_SIZE, 2 * PAGE_SIZE,
                              MREMAP_MAYMOVE | MREMAP_FIXED, AT(0), NULL),
                     AT(0));
    assert_int_equal(load(current_mm, AT(1)), 3);
    assert_int_equal(mm_remap(current_mm, AT(0), PAGE_SIZE, PAGE_SIZE,
                              MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0, NULL) > 0,
                     1);
    assert_int_equal(load(current_mm, AT(0)), 0);
    assert_int_equal(mm_remap(current_mm, AT(0), 0, PAGE_SIZE, MREMAP_MAYMOVE, 0, NULL), -EINVAL);
    assert_int_equal(mm_remap(current_mm, AT(90), PAGE_SIZE, PAGE_SIZE, 0, 0, NULL), -EFAULT);
    assert_int_equal(mm_remap(current_mm, AT(0), PAGE_SIZE, 0, 0, 0, NULL), -EINVAL);
}

static void remap_grows_in_place_where_it_can(void **state)
{
    map_fixed(AT(0), 2, RW);
    assert_int_equal(mm_remap(current_mm, AT(0), 2 * PAGE_SIZE, 6 * PAGE_SIZE, 0, 0, NULL), AT(0));
    store(current_mm, AT(5), 1);
    assert_int_equal(mm_remap(current_mm, AT(0), 6 * PAGE_SIZE, PAGE_SIZE, 0, 0, NULL), AT(0));
    assert_int_equal(mm_copy_out(current_mm, AT(1), "x", 1, false), -EFAULT);
}

static void a_shared_mapping_can_be_mapped_twice(void **state)
{
    s64 twin;

    assert_int_equal(map(AT(0), 2, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED), AT(0));
    twin = mm_remap(current_mm, AT(0), 0, 2 * PAGE_SIZE, MREMAP_MAYMOVE, 0, NULL);
    assert_true(twin > 0);
    store(current_mm, (uaddr)twin + 5, 6);
    assert_int_equal(load(current_mm, AT(0) + 5), 6);
}

/* ---- files ---- */

struct test_file {
    struct mappable m;
    int fd;
    u64 size;
};

static int test_get_extent(struct mappable *m, u64 off, u64 len, bool write, struct extent *out)
{
    struct test_file *f = container_of(m, struct test_file, m);

    if (off >= ALIGN_UP(f->size, PAGE_SIZE)) {
        return -ENXIO;
    }
    *out = (struct extent){.fd = f->fd,
                           .off = off,
                           .len = min(len, ALIGN_UP(f->size, PAGE_SIZE) - off),
                           .writable = write};
    return 0;
}

static const struct mappable_ops test_file_ops = {.get_extent = test_get_extent};

static void test_file_init(struct test_file *f, u64 size)
{
    f->fd = memfd_create("test", MFD_CLOEXEC);
    f->size = size;
    assert_int_equal(ftruncate(f->fd, (off_t)size), 0);
    for (u64 i = 0; i < size; i++) {
        u8 b = (u8)(i / PAGE_SIZE + 1);

        if (i % PAGE_SIZE == 0 || i == size - 1) {
            assert_int_equal(pwrite(f->fd, &b, 1, (off_t)i), 1);
        }
    }
    mappable_init(&f->m, &test_file_ops, NULL);
}

static void map_file(struct test_file *f, uaddr at, u64 pages, u32 prot, u32 flags, u64 off)
{
    const struct mmap_args a = {.addr = at,
                                .len = pages * PAGE_SIZE,
                                .prot = prot,
                                .flags = flags | MAP_FIXED,
                                .mappable = &f->m,
                                .off = off};

    assert_int_equal(mm_map(current_mm, &a), at);
}

static void private_file_pages_are_copied_on_write(void **state)
{
    struct test_file f;
    u8 b = 0;

    test_file_init(&f, 40 * PAGE_SIZE + 10);
    map_file(&f, AT(0), 42, RW, MAP_PRIVATE, 0);
    assert_true(fake_access(mm_aspace(current_mm), AT(39), false, &b));
    assert_int_equal(b, 40);
    assert_int_equal(load(current_mm, AT(40) + 9), 41);
    assert_int_equal(load(current_mm, AT(40) + 10), 0);
    assert_int_equal(touch(current_mm, AT(41), false, &b), -ENXIO);
    b = 99;
    assert_int_equal(touch(current_mm, AT(20), true, &b), 0);
    assert_int_equal(load(current_mm, AT(20)), 99);
    assert_int_equal(load(current_mm, AT(21)), 22);
    assert_int_equal(pread(f.fd, &b, 1, 20 * PAGE_SIZE), 1);
    assert_int_equal(b, 21);
    mm_put(current_mm);
    current_mm = fresh_mm();
    mappable_fini(&f.m);
    close(f.fd);
}

static void shared_file_pages_are_the_file(void **state)
{
    struct test_file f;
    u8 b = 77;

    test_file_init(&f, 4 * PAGE_SIZE);
    map_file(&f, AT(0), 3, RW, MAP_SHARED, PAGE_SIZE);
    assert_int_equal(load(current_mm, AT(0)), 2);
    assert_int_equal(touch(current_mm, AT(1), true, &b), 0);
    assert_int_equal(pread(f.fd, &b, 1, 2 * PAGE_SIZE), 1);
    assert_int_equal(b, 77);
    store(current_mm, AT(2) + 1, 78);
    assert_int_equal(pread(f.fd, &b, 1, 3 * PAGE_SIZE + 1), 1);
    assert_int_equal(b, 78);
    mm_put(current_mm);
    current_mm = fresh_mm();
    mappable_fini(&f.m);
    close(f.fd);
}

static void truncation_takes_pages_away(void **state)
{
    struct test_file f;
    u8 b = 1;

    test_file_init(&f, 8 * PAGE_SIZE);
    map_file(&f, AT(0), 8, RW, MAP_PRIVATE, 0);
    map_file(&f, AT(10), 8, RW, MAP_SHARED, 0);
    assert_int_equal(touch(current_mm, AT(6), true, &b), 0);
    f.size = 4 * PAGE_SIZE;
    assert_int_equal(ftruncate(f.fd, 4 * PAGE_SIZE), 0);
    mappable_invalidate(&f.m, 4 * PAGE_SIZE, UINT64_MAX, true);
    assert_int_equal(touch(current_mm, AT(6), false, &b), -ENXIO);
    assert_int_equal(touch(current_mm, AT(15), false, &b), -ENXIO);
    assert_int_equal(mm_copy_in(current_mm, &b, AT(15), 1, false), -EFAULT);
    assert_int_equal(touch(current_mm, AT(13), false, &b), 0);
    mm_put(current_mm);
    current_mm = fresh_mm();
    mappable_fini(&f.m);
    close(f.fd);
}

/* ---- copies ---- */

static void strings_end_where_they_end(void **state)
{
    char buf[64];

    map_fixed(AT(0), 1, RW);
    store(current_mm, AT(0) + 4093, 'a');
    store(current_mm, AT(0) + 4094, 'b');
    assert_int_equal(copy_in_str(buf, AT(0) + 4093, sizeof(buf)), 2);
    assert_string_equal(buf, "ab");
    assert_int_equal(copy_in_str(buf, AT(0) + 4093, 2), -ENAMETOOLONG);
    store(current_mm, AT(0) + 4095, 'c');
    assert_int_equal(copy_in_str(buf, AT(0) + 4093, sizeof(buf)), -EFAULT);
    assert_int_equal(copy_in_str(buf, 1, sizeof(buf)), -EFAULT);
}

static void pinned_memory_stays(void **state)
{
    struct iovec iov[4];
    int n;

    map_fixed(AT(0), 2, RW);
    store(current_mm, AT(1), 5);
    n = usermem_pin(AT(0) + 100, PAGE_SIZE, true, iov, 4);
    assert_int_equal(n, 1);
    assert_int_equal(iov[0].iov_len, PAGE_SIZE);
    assert_int_equal(((u8 *)iov[0].iov_base)[PAGE_SIZE - 100], 5);
    assert_int_equal(mm_unmap(current_mm, AT(0), 2 * PAGE_SIZE), 0);
    assert_int_equal(((u8 *)iov[0].iov_base)[PAGE_SIZE - 100], 5);
    usermem_unpin(iov, n);
    assert_int_equal(usermem_pin(AT(0), 1, false, iov, 4), -EFAULT);
}

static void words_are_atomic(void **state)
{
    u32 v = 0;

    map_fixed(AT(0), 1, RW);
    assert_int_equal(mm_cmpxchg_u32(current_mm, AT(0) + 4, &v, 8), 0);
    assert_int_equal(v, 0);
    v = 1;
    assert_int_equal(mm_cmpxchg_u32(current_mm, AT(0) + 4, &v, 9), 0);
    assert_int_equal(v, 8);
    assert_int_equal(mm_load_u32(current_mm, AT(0) + 4, &v), 0);
    assert_int_equal(v, 8);
    assert_int_equal(mm_load_u32(current_mm, AT(0) + 2, &v), -EFAULT);
    assert_int_equal(mm_protect(current_mm, AT(0), PAGE_SIZE, PROT_READ, NULL), 0);
    assert_int_equal(mm_cmpxchg_u32(current_mm, AT(0) + 4, &v, 9), -EFAULT);
}

static void a_debugger_writes_to_read_only_memory(void **state)
{
    struct mm *child;

    map_fixed(AT(0), 1, RW);
    store(current_mm, AT(0), 1);
    assert_int_equal(mm_protect(current_mm, AT(0), PAGE_SIZE, PROT_READ, NULL), 0);
    child = mm_fork(current_mm);
    assert_int_equal(mm_copy_out(child, AT(0), "z", 1, false), -EFAULT);
    assert_int_equal(mm_copy_out(child, AT(0), "z", 1, true), 1);
    assert_int_equal(load(child, AT(0)), 'z');
    assert_int_equal(load(current_mm, AT(0)), 1);
    mm_put(child);
}

/* ---- a host that refuses ---- */

static void a_refused_mapping_leaves_nothing_stale(void **state)
{
    for (u32 n = 1; n < 6; n++) {
        struct mm *child;
        u8 b = 1;

        map_fixed(AT(0), 64, RW);
        store(current_mm, AT(0), 7);
        fake_fail_nth = n;
        (void)map(AT(10), 4, RW, ANON | MAP_FIXED);
        child = mm_fork(current_mm);
        if (!IS_ERR(child)) {
            (void)touch(child, AT(0), true, &b);
            assert_int_equal(load(current_mm, AT(0)), 7);
            mm_put(child);
        }
        fake_fail_nth = 0;
        b = 0;
        assert_int_equal(touch(current_mm, AT(0), false, &b), 0);
        assert_int_equal(b, 7);
        assert_int_equal(mm_unmap(current_mm, AT(0), 64 * PAGE_SIZE), 0);
        for (u64 i = 0; i < 64; i++) {
            assert_false(fake_is_mapped(mm_aspace(current_mm), AT(i) / PAGE_SIZE));
        }
    }
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(anonymous_memory_is_zero_and_mapped_at_once),
        CASE(unmapped_memory_faults),
        CASE(bad_requests_are_refused),
        CASE(hints_are_taken_when_free),
        CASE(new_mappings_go_top_down_and_fill_holes),
        CASE(protection_splits_and_merges),
        CASE(fork_copies_on_write),
        CASE(shared_anonymous_memory_is_shared_over_fork),
        CASE(advice_decides_what_fork_copies),
        CASE(dontneed_gives_zeroes),
        CASE(brk_grows_and_shrinks),
        CASE(stacks_grow_down_to_their_limit),
        CASE(limits_are_kept),
        CASE(remap_moves_the_bytes),
        CASE(remap_grows_in_place_where_it_can),
        CASE(a_shared_mapping_can_be_mapped_twice),
        CASE(private_file_pages_are_copied_on_write),
        CASE(shared_file_pages_are_the_file),
        CASE(truncation_takes_pages_away),
        CASE(strings_end_where_they_end),
        CASE(pinned_memory_stays),
        CASE(words_are_atomic),
        CASE(a_debugger_writes_to_read_only_memory),
        CASE(a_refused_mapping_leaves_nothing_stale),
    };

    if (heap_init() != 0 || IS_ERR(memfile_new(0)) || vfs_boot() != 0 || tmpfs_boot() != 0) {
        return 1;
    }
    ref_init(&root_cred.ref);
    rand_seed(1);
    fake_platform_set();
    mm_boot(get_current);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
