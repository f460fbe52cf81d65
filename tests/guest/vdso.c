/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel hands a new program: the auxiliary vector (getauxval(3)) and the vDSO (vdso(7)).
 */
#include "tests/guest/guest.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

/* The address of a function of the vDSO, NULL if it is not there. */
static void *vdso_sym(const char *name)
{
    const char *base = (const char *)getauxval(AT_SYSINFO_EHDR);
    const ElfW(Ehdr) *eh = (const void *)base;
    const ElfW(Phdr) *ph = (const void *)(base + eh->e_phoff);
    const ElfW(Sym) *syms = NULL;
    const char *strings = NULL;
    const uint32_t *hash = NULL;

    EXPECT(base != NULL);
    for (int i = 0; i < eh->e_phnum; i++) {
        const ElfW(Dyn) *d = (const void *)(base + ph[i].p_offset);

        for (; ph[i].p_type == PT_DYNAMIC && d->d_tag != DT_NULL; d++) {
            const void *p = base + d->d_un.d_ptr;

            syms = d->d_tag == DT_SYMTAB ? p : syms;
            strings = d->d_tag == DT_STRTAB ? p : strings;
            hash = d->d_tag == DT_HASH ? p : hash;
        }
    }
    EXPECT(syms != NULL && strings != NULL && hash != NULL);
    for (uint32_t i = 0; i < hash[1]; i++) {
        if (syms[i].st_shndx != SHN_UNDEF && strcmp(strings + syms[i].st_name, name) == 0) {
            return (void *)(uintptr_t)(base + syms[i].st_value);
        }
    }
    return NULL;
}

static long long ns(const struct timespec *ts)
{
    return ts->tv_sec * 1000000000LL + ts->tv_nsec;
}

TEST(clock_gettime_agrees_with_the_call)
{
    static const clockid_t clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_TAI};
    int (*fn)(clockid_t, struct timespec *) = vdso_sym("__vdso_clock_gettime");

    EXPECT(fn != NULL);
    for (size_t i = 0; i < sizeof(clocks) / sizeof(clocks[0]); i++) {
        struct timespec a, b, c;

        EXPECT_EQ(syscall(SYS_clock_gettime, clocks[i], &a), 0);
        EXPECT_EQ(fn(clocks[i], &b), 0);
        EXPECT_EQ(syscall(SYS_clock_gettime, clocks[i], &c), 0);
        if (ns(&a) > ns(&b) || ns(&b) > ns(&c)) {
            guest_fail(__FILE__, __LINE__, "clock %d: %lld, %lld by vDSO, %lld", clocks[i], ns(&a),
                       ns(&b), ns(&c));
        }
    }
    struct timespec ts;

    EXPECT_EQ(fn(CLOCK_PROCESS_CPUTIME_ID, &ts), 0);
    EXPECT_EQ(fn(12345, &ts), -EINVAL);
}

TEST(the_other_functions_work)
{
    int (*gtod)(struct timeval *, void *) = vdso_sym("__vdso_gettimeofday");
    time_t (*seconds)(time_t *) = vdso_sym("__vdso_time");
    long (*cpu)(unsigned *, unsigned *, void *) = vdso_sym("__vdso_getcpu");
    struct timeval tv;
    time_t t = 0;
    unsigned c = 9999, n = 9999;

    EXPECT(gtod != NULL && seconds != NULL && cpu != NULL);
    EXPECT_EQ(gtod(&tv, NULL), 0);
    EXPECT(seconds(&t) >= tv.tv_sec - 1 && t <= tv.tv_sec + 2);
    EXPECT_EQ(cpu(&c, &n, NULL), 0);
    EXPECT(c < (unsigned)sysconf(_SC_NPROCESSORS_CONF));
    EXPECT_EQ(cpu(NULL, NULL, NULL), 0);
}

TEST(the_auxiliary_vector_is_complete)
{
    const unsigned char *random = (const unsigned char *)getauxval(AT_RANDOM);
    const ElfW(Phdr) *ph = (const void *)getauxval(AT_PHDR);
    bool any = false;

    EXPECT_EQ(getauxval(AT_PAGESZ), 4096);
    EXPECT_EQ(getauxval(AT_CLKTCK), 100);
    EXPECT_EQ(getauxval(AT_UID), getuid());
    EXPECT_EQ(getauxval(AT_EUID), geteuid());
    EXPECT_EQ(getauxval(AT_GID), getgid());
    EXPECT_EQ(getauxval(AT_EGID), getegid());
    EXPECT_EQ(getauxval(AT_SECURE), 0);
    EXPECT_EQ(getauxval(AT_PHENT), sizeof(*ph));
    EXPECT(getauxval(AT_ENTRY) != 0);
    EXPECT(getauxval(AT_HWCAP) != 0);
    EXPECT_EQ(strcmp((const char *)getauxval(AT_PLATFORM), "x86_64"), 0);
    EXPECT(strstr((const char *)getauxval(AT_EXECFN), "vdso") != NULL);
    EXPECT(random != NULL);
    for (int i = 0; i < 16; i++) {
        any = any || random[i] != 0;
    }
    EXPECT(any);
    for (unsigned long i = 0; i < getauxval(AT_PHNUM); i++) {
        any = any || ph[i].p_type == PT_DYNAMIC;
    }
}

TEST(proc_self_auxv_is_the_same)
{
    unsigned long pairs[128];
    int fd = open("/proc/self/auxv", O_RDONLY);
    ssize_t n = read(fd, pairs, sizeof(pairs));

    EXPECT(n > 0);
    for (ssize_t i = 0; i + 1 < n / (ssize_t)sizeof(long) && pairs[i] != AT_NULL; i += 2) {
        if (pairs[i] != AT_HWCAP) { /* glibc has its own idea of it */
            EXPECT_EQ(getauxval(pairs[i]), pairs[i + 1]);
        }
    }
}

TEST(the_stack_is_aligned_and_below_the_arguments)
{
    char here;

    EXPECT((uintptr_t)&here < getauxval(AT_RANDOM));
    EXPECT(getauxval(AT_RANDOM) < getauxval(AT_EXECFN));
}
