/* SPDX-License-Identifier: Apache-2.0 */
/* mremap(2), madvise(2), mincore(2), msync(2), mlock(2) and their errors. */
#include "tests/guest/guest.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif

#define PAGE 4096L
#define RW   (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static char *pages(long n, int prot)
{
    char *p = mmap(NULL, (size_t)(n * PAGE), prot, ANON, -1, 0);

    EXPECT(p != MAP_FAILED);
    return p;
}

static void read_it(void *p)
{
    (void)*(volatile char *)p;
}

/* A range with free memory all around it. */
static char *island(long n)
{
    char *p = pages(n + 64, PROT_NONE);

    EXPECT_EQ(munmap(p, (size_t)((n + 64) * PAGE)), 0);
    EXPECT(mmap(p + 32 * PAGE, (size_t)(n * PAGE), RW, ANON | MAP_FIXED, -1, 0) == p + 32 * PAGE);
    return p + 32 * PAGE;
}

/* ---- mremap ---- */

TEST(mremap_shrinks)
{
    char *p = pages(4, RW);

    p[0] = 1;
    EXPECT(mremap(p, 4 * PAGE, PAGE, 0) == p);
    EXPECT_EQ(p[0], 1);
    EXPECT_EQ(guest_signal_of(read_it, p + PAGE), SIGSEGV);
}

TEST(mremap_grows_in_place)
{
    char *p = island(2);

    p[PAGE] = 3;
    EXPECT(mremap(p, 2 * PAGE, 6 * PAGE, 0) == p);
    EXPECT_EQ(p[PAGE], 3);
    EXPECT_EQ(p[5 * PAGE], 0);
    p[5 * PAGE] = 1;
}

TEST(mremap_moves_when_it_must)
{
    char *p = pages(4, RW), *q;

    EXPECT(mmap(p + 2 * PAGE, PAGE, PROT_READ, ANON | MAP_FIXED, -1, 0) != MAP_FAILED);
    p[PAGE] = 5;
    CALL_FAILS((long)mremap(p, 2 * PAGE, 8 * PAGE, 0), ENOMEM);
    q = mremap(p, 2 * PAGE, 8 * PAGE, MREMAP_MAYMOVE);
    EXPECT(q != MAP_FAILED && q != p);
    EXPECT_EQ(q[PAGE], 5);
    EXPECT_EQ(q[7 * PAGE], 0);
    EXPECT_EQ(guest_signal_of(read_it, p), SIGSEGV);
}

TEST(mremap_fixed_replaces_its_target)
{
    char *p = pages(2, RW), *t = pages(4, RW);

    memset(t, 9, 4 * PAGE);
    p[0] = 1;
    EXPECT(mremap(p, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, t + PAGE) == t + PAGE);
    EXPECT_EQ(t[0], 9);
    EXPECT_EQ(t[PAGE], 1);
    EXPECT_EQ(t[2 * PAGE], 0);
    EXPECT_EQ(t[3 * PAGE], 9);
}

TEST(mremap_dontunmap_leaves_fresh_memory)
{
    char *p = pages(2, RW), *q;

    p[0] = 1;
    q = mremap(p, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | 4, NULL);
    if (q == MAP_FAILED && errno == EINVAL) {
        SKIP("no MREMAP_DONTUNMAP");
    }
    EXPECT(q != MAP_FAILED);
    EXPECT_EQ(q[0], 1);
    EXPECT_EQ(p[0], 0);
}

TEST(mremap_of_nothing_duplicates_shared_memory)
{
    char *p = mmap(NULL, 2 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0), *q;

    q = mremap(p, 0, 2 * PAGE, MREMAP_MAYMOVE);
    EXPECT(q != MAP_FAILED && q != p);
    q[PAGE] = 3;
    EXPECT_EQ(p[PAGE], 3);
}

TEST(mremap_errors)
{
    char *p = pages(4, RW);

    CALL_FAILS((long)mremap(p + 1, PAGE, PAGE, 0), EINVAL);
    CALL_FAILS((long)mremap(p, PAGE, 0, 0), EINVAL);
    CALL_FAILS((long)mremap(p, PAGE, PAGE, 64), EINVAL);
    CALL_FAILS((long)mremap(p, PAGE, PAGE, MREMAP_FIXED, p), EINVAL);
    CALL_FAILS((long)mremap(p, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p + PAGE),
               EINVAL);
    CALL_FAILS((long)mremap(p, 0, PAGE, MREMAP_MAYMOVE), EINVAL);
    EXPECT_EQ(munmap(p + PAGE, PAGE), 0);
    CALL_FAILS((long)mremap(p + PAGE, PAGE, 2 * PAGE, MREMAP_MAYMOVE), EFAULT);
    CALL_FAILS((long)mremap(p, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE), EFAULT);
}

/* ---- madvise ---- */

TEST(dontneed_gives_zeroes)
{
    char *p = pages(4, RW);

    memset(p, 1, 4 * PAGE);
    EXPECT_EQ(madvise(p + PAGE, 2 * PAGE, MADV_DONTNEED), 0);
    EXPECT_EQ(p[0], 1);
    EXPECT_EQ(p[PAGE], 0);
    EXPECT_EQ(p[3 * PAGE - 1], 0);
    EXPECT_EQ(p[3 * PAGE], 1);
}

static void dontneed_child(void *arg)
{
    char *p = arg;

    EXPECT_EQ(madvise(p, 4 * PAGE, MADV_DONTNEED), 0);
    EXPECT_EQ(p[0], 0);
}

TEST(dontneed_in_a_child_is_its_own)
{
    char *p = pages(4, RW);

    memset(p, 1, 4 * PAGE);
    EXPECT_EQ(guest_in_child(dontneed_child, p), 0);
    EXPECT_EQ(p[0], 1);
}

TEST(dontneed_brings_a_private_file_page_back)
{
    int fd = guest_temp_file();
    char *p;

    EXPECT_EQ(pwrite(fd, "file", 4, 0), 4);
    p = mmap(NULL, PAGE, RW, MAP_PRIVATE, fd, 0);
    p[0] = 'X';
    EXPECT_EQ(madvise(p, PAGE, MADV_DONTNEED), 0);
    EXPECT_EQ(p[0], 'f');
}

static void expect_faults_at_first(void *arg)
{
    char *p = arg;

    EXPECT_EQ(guest_signal_of(read_it, p), SIGSEGV);
    EXPECT_EQ(p[PAGE], 0);
    EXPECT_EQ(p[2 * PAGE], 1);
}

TEST(fork_follows_advice)
{
    char *p = pages(3, RW);

    memset(p, 1, 3 * PAGE);
    EXPECT_EQ(madvise(p, PAGE, MADV_DONTFORK), 0);
    EXPECT_EQ(madvise(p + PAGE, PAGE, MADV_WIPEONFORK), 0);
    EXPECT_EQ(guest_in_child(expect_faults_at_first, p), 0);
    EXPECT_EQ(p[0], 1);
    EXPECT_EQ(p[PAGE], 1);
    EXPECT_EQ(madvise(p, PAGE, MADV_DOFORK), 0);
    EXPECT_EQ(guest_signal_of(read_it, p), 0);
}

TEST(remove_punches_a_hole)
{
    int fd = memfd_create("x", 0);
    char *p, c = 9;

    EXPECT_EQ(ftruncate(fd, 2 * PAGE), 0);
    p = mmap(NULL, 2 * PAGE, RW, MAP_SHARED, fd, 0);
    memset(p, 1, 2 * PAGE);
    EXPECT_EQ(madvise(p, PAGE, MADV_REMOVE), 0);
    EXPECT_EQ(p[0], 0);
    EXPECT_EQ(pread(fd, &c, 1, 0), 1);
    EXPECT_EQ(c, 0);
    EXPECT_EQ(p[PAGE], 1);
    CALL_FAILS(madvise(pages(1, RW), PAGE, MADV_REMOVE), EINVAL);
}

TEST(hints_are_accepted)
{
    char *p = pages(2, RW);
    const int hints[] = {MADV_NORMAL, MADV_RANDOM,   MADV_SEQUENTIAL, MADV_WILLNEED,
                         MADV_FREE,   MADV_DONTDUMP, MADV_KEEPONFORK, MADV_DODUMP};

    for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++) {
        EXPECT_EQ(madvise(p, 2 * PAGE, hints[i]), 0);
    }
}

TEST(populate_touches)
{
    char *p = pages(8, RW), *r = pages(1, PROT_READ);
    unsigned char vec[8];

    if (madvise(p, 4 * PAGE, MADV_POPULATE_WRITE) != 0 && errno == EINVAL) {
        SKIP("no MADV_POPULATE");
    }
    EXPECT_EQ(mincore(p, 4 * PAGE, vec), 0);
    EXPECT_EQ(vec[0] & vec[3] & 1, 1);
    EXPECT_EQ(madvise(r, PAGE, MADV_POPULATE_READ), 0);
    CALL_FAILS(madvise(r, PAGE, MADV_POPULATE_WRITE), EINVAL);
    EXPECT_EQ(munmap(p + PAGE, PAGE), 0);
    CALL_FAILS(madvise(p, 3 * PAGE, MADV_POPULATE_READ), ENOMEM);
}

TEST(madvise_errors)
{
    char *p = pages(3, RW);

    CALL_FAILS(madvise(p + 1, PAGE, MADV_NORMAL), EINVAL);
    CALL_FAILS(madvise(p, PAGE, 12345), EINVAL);
    EXPECT_EQ(munmap(p + PAGE, PAGE), 0);
    p[2 * PAGE] = 1;
    CALL_FAILS(madvise(p, 3 * PAGE, MADV_DONTNEED), ENOMEM);
    EXPECT_EQ(p[2 * PAGE], 0); /* what is behind the hole was advised all the same */
}

/* ---- mincore, msync ---- */

TEST(mincore_tells_what_was_touched)
{
    char *p = pages(256, RW); /* small mappings may be filled ahead of use */
    unsigned char vec[256];

    memset(vec, 9, sizeof(vec));
    p[2 * PAGE] = 1;
    EXPECT_EQ(mincore(p, 256 * PAGE, vec), 0);
    EXPECT_EQ(vec[100], 0);
    EXPECT_EQ(vec[2], 1);
    CALL_FAILS(mincore(p + 1, PAGE, vec), EINVAL);
    CALL_FAILS(mincore(p, PAGE, (unsigned char *)8), EFAULT);
    EXPECT_EQ(munmap(p + PAGE, PAGE), 0);
    CALL_FAILS(mincore(p, 4 * PAGE, vec), ENOMEM);
}

TEST(msync_errors)
{
    char *p = pages(3, RW);

    EXPECT_EQ(msync(p, PAGE, MS_ASYNC), 0);
    CALL_FAILS(msync(p, PAGE, MS_SYNC | MS_ASYNC), EINVAL);
    CALL_FAILS(msync(p, PAGE, 64), EINVAL);
    CALL_FAILS(msync(p + 1, PAGE, MS_SYNC), EINVAL);
    EXPECT_EQ(munmap(p + PAGE, PAGE), 0);
    CALL_FAILS(msync(p, 3 * PAGE, MS_SYNC), ENOMEM);
}

/* ---- mlock ---- */

static void lock_limits(void *arg)
{
    struct rlimit rl = {2 * PAGE, 2 * PAGE};
    char *p = pages(8, RW);

    (void)arg;
    EXPECT_EQ(setrlimit(RLIMIT_MEMLOCK, &rl), 0);
    if (geteuid() == 0) {
        EXPECT_EQ(setuid(65534), 0);
    }
    EXPECT_EQ(mlock(p, 2 * PAGE), 0);
    CALL_FAILS(mlock(p + 4 * PAGE, PAGE), ENOMEM);
    EXPECT_EQ(munlock(p, PAGE), 0);
    EXPECT_EQ(mlock(p + 4 * PAGE, PAGE), 0);
    CALL_FAILS(mlockall(MCL_CURRENT), ENOMEM);
    CALL_FAILS((long)mmap(NULL, 4 * PAGE, RW, ANON | MAP_LOCKED, -1, 0), EAGAIN);
    EXPECT_EQ(munlockall(), 0);
    rl.rlim_cur = 0;
    EXPECT_EQ(setrlimit(RLIMIT_MEMLOCK, &rl), 0);
    CALL_FAILS(mlock(p, PAGE), EPERM);
}

TEST(mlock_keeps_its_limit)
{
    EXPECT_EQ(guest_in_child(lock_limits, NULL), 0);
}

TEST(mlock_errors)
{
    char *p = pages(3, RW);

    CALL_FAILS(mlockall(0), EINVAL);
    CALL_FAILS(mlockall(64), EINVAL);
    CALL_FAILS(syscall(SYS_mlock2, p, PAGE, 64), EINVAL);
    EXPECT_EQ(mlock(p + 10, 10), 0); /* whole pages */
    CALL_FAILS(madvise(p, PAGE, MADV_DONTNEED), EINVAL);
    EXPECT_EQ(munlock(p, PAGE), 0);
    EXPECT_EQ(munmap(p + PAGE, PAGE), 0);
    CALL_FAILS(mlock(p, 3 * PAGE), ENOMEM);
    CALL_FAILS(munlock(p, 3 * PAGE), ENOMEM);
}

TEST(protection_keys_are_as_without_the_hardware_or_work)
{
    long key = syscall(SYS_pkey_alloc, 0, 0);

    EXPECT(key >= 0 || errno == ENOSPC || errno == ENOSYS || errno == EINVAL);
    CALL_FAILS(syscall(SYS_pkey_free, 99), EINVAL);
}
