/* SPDX-License-Identifier: Apache-2.0 */
/* mmap(2), munmap(2), mprotect(2), brk(2): what they make, and each error their pages name. */
#include "tests/guest/guest.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

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

static void write_it(void *p)
{
    *(volatile char *)p = 1;
}

static void call_it(void *p)
{
    ((void (*)(void))p)();
}

TEST(anonymous_memory_is_zero)
{
    char *p = pages(64, RW);

    for (long i = 0; i < 64 * PAGE; i += 512) {
        EXPECT_EQ(p[i], 0);
    }
}

TEST(memory_ends_at_its_end)
{
    char *p = pages(2, RW);

    EXPECT_EQ(munmap(p + PAGE, PAGE), 0);
    EXPECT_EQ(guest_signal_of(read_it, p), 0);
    EXPECT_EQ(guest_signal_of(read_it, p + PAGE), SIGSEGV);
    EXPECT_EQ(guest_signal_of(write_it, p + PAGE), SIGSEGV);
}

TEST(protections_are_kept)
{
    char *r = pages(1, PROT_READ), *n = pages(1, PROT_NONE), *w = pages(1, RW);

    EXPECT_EQ(guest_signal_of(read_it, r), 0);
    EXPECT_EQ(guest_signal_of(write_it, r), SIGSEGV);
    EXPECT_EQ(guest_signal_of(read_it, n), SIGSEGV);
    *w = (char)0xc3; /* ret */
    EXPECT_EQ(guest_signal_of(call_it, w), SIGSEGV);
    EXPECT_EQ(mprotect(w, PAGE, PROT_READ | PROT_EXEC), 0);
    EXPECT_EQ(guest_signal_of(call_it, w), 0);
    EXPECT_EQ(guest_signal_of(write_it, w), SIGSEGV);
}

static volatile sig_atomic_t fault_code;
static void *volatile fault_addr;

static void on_fault(int sig, siginfo_t *si, void *uc)
{
    fault_code = si->si_code;
    fault_addr = si->si_addr;
    (void)sig, (void)uc;
    EXPECT_EQ(mprotect((void *)((uintptr_t)si->si_addr & ~(uintptr_t)(PAGE - 1)), PAGE, RW), 0);
}

TEST(a_fault_tells_its_address_and_can_be_repaired)
{
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    volatile char *p = pages(4, PROT_NONE);

    EXPECT_EQ(sigaction(SIGSEGV, &sa, NULL), 0);
    p[2 * PAGE + 123] = 7;
    EXPECT_EQ(fault_code, SEGV_ACCERR);
    EXPECT(fault_addr == p + 2 * PAGE + 123);
    EXPECT_EQ(p[2 * PAGE + 123], 7);
}

TEST(fixed_replaces)
{
    char *p = pages(3, RW);

    memset(p, 1, 3 * PAGE);
    EXPECT(mmap(p + PAGE, PAGE, RW, ANON | MAP_FIXED, -1, 0) == p + PAGE);
    EXPECT_EQ(p[0], 1);
    EXPECT_EQ(p[PAGE], 0);
    EXPECT_EQ(p[2 * PAGE], 1);
}

TEST(fixed_noreplace_does_not)
{
    char *p = pages(3, RW);

    CALL_FAILS(mmap(p + PAGE, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0), EEXIST);
    EXPECT_EQ(munmap(p + PAGE, PAGE), 0);
    EXPECT(mmap(p + PAGE, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0) == p + PAGE);
}

TEST(a_hint_is_taken_when_free)
{
    char *p = pages(4, RW), *q;

    EXPECT_EQ(munmap(p, 4 * PAGE), 0);
    q = mmap(p + PAGE, PAGE, RW, ANON, -1, 0);
    EXPECT(q == p + PAGE);
    q = mmap(p + PAGE, PAGE, RW, ANON, -1, 0);
    EXPECT(q != MAP_FAILED && q != p + PAGE);
}

TEST(map_32bit_is_below_2_gib)
{
    char *p = mmap(NULL, PAGE, RW, ANON | MAP_32BIT, -1, 0);

    EXPECT(p != MAP_FAILED);
    EXPECT((uintptr_t)p < 0x80000000UL);
}

TEST(mmap_refuses_what_makes_no_sense)
{
    int fd = guest_temp_file(), ro = open("/proc/self/exe", O_RDONLY),
        wo = open("/dev/null", O_WRONLY);
    int pipes[2];

    CALL_FAILS(mmap(NULL, 0, RW, ANON, -1, 0), EINVAL);
    CALL_FAILS(mmap(NULL, PAGE, RW, MAP_ANONYMOUS, -1, 0), EINVAL);
    CALL_FAILS(syscall(SYS_mmap, NULL, PAGE, RW, MAP_PRIVATE, fd, 100), EINVAL);
    CALL_FAILS(mmap(NULL, PAGE, RW, MAP_PRIVATE, 99, 0), EBADF);
    CALL_FAILS(mmap((void *)1, PAGE, RW, ANON | MAP_FIXED, -1, 0), EINVAL);
    CALL_FAILS(mmap(NULL, ~0UL & ~(unsigned long)(PAGE - 1), RW, ANON, -1, 0), ENOMEM);
    CALL_FAILS(mmap(NULL, PAGE, RW, MAP_SHARED, ro, 0), EACCES);
    CALL_FAILS(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, wo, 0), EACCES);
    EXPECT_EQ(pipe(pipes), 0);
    CALL_FAILS(mmap(NULL, PAGE, RW, MAP_SHARED, pipes[0], 0), EACCES);
    CALL_FAILS(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, pipes[0], 0), ENODEV);
    CALL_FAILS(mmap(NULL, PAGE, RW, MAP_SHARED_VALIDATE | 0x200, fd, 0), EOPNOTSUPP);
    CALL_FAILS(mmap(NULL, 2 * PAGE, RW, MAP_SHARED, fd, 0x7ffffffffffff000L), EOVERFLOW);
}

TEST(munmap_refuses_what_makes_no_sense)
{
    char *p = pages(1, RW);

    CALL_FAILS(munmap(p + 1, PAGE), EINVAL);
    CALL_FAILS(munmap(p, 0), EINVAL);
    CALL_FAILS(munmap(p, ~0UL), EINVAL);
    EXPECT_EQ(munmap(p, PAGE), 0);
    EXPECT_EQ(munmap(p, PAGE), 0); /* nothing there is no error */
}

TEST(mprotect_errors)
{
    char *p = pages(3, RW);
    int ro = open("/proc/self/exe", O_RDONLY);
    char *f = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, ro, 0);

    EXPECT(f != MAP_FAILED);
    CALL_FAILS(mprotect(p + 1, PAGE, PROT_READ), EINVAL);
    CALL_FAILS(mprotect(p, PAGE, 0x1000), EINVAL);
    CALL_FAILS(mprotect(p, PAGE, PROT_READ | PROT_GROWSUP | PROT_GROWSDOWN), EINVAL);
    CALL_FAILS(mprotect(f, PAGE, RW), EACCES);
    EXPECT_EQ(mprotect(p, 0, PROT_READ), 0);
    EXPECT_EQ(munmap(p + PAGE, PAGE), 0);
    CALL_FAILS(mprotect(p, 3 * PAGE, PROT_READ), ENOMEM);
    EXPECT_EQ(guest_signal_of(write_it, p), SIGSEGV); /* up to the hole it was done */
    EXPECT_EQ(guest_signal_of(write_it, p + 2 * PAGE), 0);
}

TEST(brk_moves_the_end_of_the_heap)
{
    char *start = sbrk(0);

    EXPECT(sbrk(3 * PAGE) == start);
    memset(start, 5, 3 * PAGE);
    EXPECT(sbrk(-2 * PAGE) == start + 3 * PAGE);
    EXPECT_EQ(start[0], 5);
    EXPECT(sbrk(2 * PAGE) != (void *)-1);
    char *second = (char *)(((uintptr_t)start + 2 * PAGE) & ~(uintptr_t)(PAGE - 1));

    EXPECT_EQ(second[PAGE - 1], 0); /* what came back is fresh */
    EXPECT_EQ(syscall(SYS_brk, 0), (long)sbrk(0));
    EXPECT_EQ(syscall(SYS_brk, 1), (long)sbrk(0)); /* refused: the old end */
}

TEST(rlimit_as_is_kept)
{
    struct rlimit rl = {1L << 30, 1L << 30};

    EXPECT_EQ(setrlimit(RLIMIT_AS, &rl), 0);
    CALL_FAILS(mmap(NULL, 1L << 30, RW, ANON, -1, 0), ENOMEM);
    EXPECT(mmap(NULL, 1L << 20, RW, ANON, -1, 0) != MAP_FAILED);
}

TEST(rlimit_data_is_kept)
{
    struct rlimit rl = {16L << 20, 16L << 20};

    EXPECT_EQ(setrlimit(RLIMIT_DATA, &rl), 0);
    CALL_FAILS(mmap(NULL, 32L << 20, RW, ANON, -1, 0), ENOMEM);
    EXPECT(mmap(NULL, 32L << 20, PROT_READ, ANON, -1, 0) != MAP_FAILED);
    CALL_FAILS((long)sbrk(32L << 20), ENOMEM);
}

static int depth(int n)
{
    volatile char frame[16384];

    frame[0] = (char)n;
    frame[16383] = 0;
    return n == 0 ? frame[0] : depth(n - 1) + frame[0];
}

static void recurse(void *n)
{
    (void)depth((int)(intptr_t)n);
}

TEST(the_stack_grows_to_its_limit)
{
    struct rlimit rl = {4L << 20, RLIM_INFINITY};

    EXPECT_EQ(getrlimit(RLIMIT_STACK, &rl), 0);
    rl.rlim_cur = 4L << 20;
    EXPECT_EQ(setrlimit(RLIMIT_STACK, &rl), 0);
    EXPECT_EQ(guest_signal_of(recurse, (void *)150), 0);
    EXPECT_EQ(guest_signal_of(recurse, (void *)400), SIGSEGV);
}

TEST(growsdown_grows)
{
    char *area = mmap(NULL, 4L << 20, PROT_NONE, ANON, -1, 0), *p = area + (3L << 20);

    EXPECT_EQ(munmap(area, 4L << 20), 0);
    EXPECT(mmap(p, 2 * PAGE, RW, ANON | MAP_FIXED | MAP_GROWSDOWN, -1, 0) == p);
    p[-1] = 1;
    EXPECT_EQ(p[-1], 1);
}

TEST(dev_zero_is_anonymous_memory)
{
    int fd = open("/dev/zero", O_RDWR);
    char *p = mmap(NULL, 2 * PAGE, RW, MAP_PRIVATE, fd, 0);

    EXPECT(p != MAP_FAILED);
    EXPECT_EQ(p[PAGE], 0);
    p[PAGE] = 1;
    p = mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0);
    EXPECT(p != MAP_FAILED);
    EXPECT_EQ(guest_in_child(write_it, p), 0);
    EXPECT_EQ(p[0], 1);
}

TEST(a_terabyte_may_be_reserved)
{
    char *p = mmap(NULL, 1L << 40, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);

    EXPECT(p != MAP_FAILED);
    EXPECT_EQ(mprotect(p + (1L << 39), 64 * PAGE, RW), 0);
    memset(p + (1L << 39), 1, 64 * PAGE);
    EXPECT_EQ(munmap(p, 1L << 40), 0);
}

TEST(sparse_touches_of_a_large_mapping)
{
    char *p = mmap(NULL, 64L << 30, RW, ANON | MAP_NORESERVE, -1, 0);

    EXPECT(p != MAP_FAILED);
    for (long i = 0; i < 64; i++) {
        p[i << 30] = (char)i;
    }
    for (long i = 0; i < 64; i++) {
        EXPECT_EQ(p[i << 30], i);
        EXPECT_EQ(p[(i << 30) + PAGE], 0);
    }
}

TEST(thousands_of_small_mappings)
{
    static char *p[5000];

    for (int i = 0; i < 5000; i++) {
        p[i] = mmap(NULL, PAGE, i % 2 != 0 ? RW : PROT_READ, ANON, -1, 0);
        EXPECT(p[i] != MAP_FAILED);
    }
    for (int i = 1; i < 5000; i += 2) {
        p[i][0] = (char)i;
    }
    for (int i = 0; i < 5000; i += 4) {
        EXPECT_EQ(munmap(p[i], PAGE), 0);
    }
    for (int i = 1; i < 5000; i += 2) {
        EXPECT_EQ(p[i][0], (char)i);
    }
}
