/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our vDSO (vdso(7)): guest code, built on its own (no libc, no base) and embedded in the sentry.
 *
 * Where the platform shows the host's vDSO to guests, its functions are called: they read the
 * host's clock pages and need no system call; for clocks they do not know they make the call
 * themselves, which the platform catches as any other. Elsewhere the call is made here.
 *
 * Served in the guest (DESIGN 9): the answer depends on the host's clock and the CPU only, and a
 * guest that changes its private copy of these pages fools itself alone.
 */
#include "data.h"

#include <stddef.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

extern const struct vdso_data vdso_data __attribute__((visibility("hidden")));

#define EXPORT __attribute__((visibility("default")))
/* The data page never changes, but the compiler must not think that it knows it. */
#define DATA (*(const volatile struct vdso_data *)&vdso_data)

static inline long call3(long nr, const void *a, const void *b, const void *c)
{
    long ret;

    __asm__ volatile("syscall"
                     : "=a"(ret)
                     : "a"(nr), "D"(a), "S"(b), "d"(c)
                     : "rcx", "r11", "memory");
    return ret;
}

EXPORT int __vdso_clock_gettime(clockid_t clock, struct timespec *ts);
int __vdso_clock_gettime(clockid_t clock, struct timespec *ts)
{
    int (*host)(clockid_t, struct timespec *) = (void *)DATA.clock_gettime;

    if (host != NULL) {
        return host(clock, ts);
    }
    return (int)call3(SYS_clock_gettime, (void *)(long)clock, ts, NULL);
}

EXPORT int __vdso_clock_getres(clockid_t clock, struct timespec *ts);
int __vdso_clock_getres(clockid_t clock, struct timespec *ts)
{
    int (*host)(clockid_t, struct timespec *) = (void *)DATA.clock_getres;

    if (host != NULL) {
        return host(clock, ts);
    }
    return (int)call3(SYS_clock_getres, (void *)(long)clock, ts, NULL);
}

EXPORT int __vdso_gettimeofday(struct timeval *tv, void *tz);
int __vdso_gettimeofday(struct timeval *tv, void *tz)
{
    int (*host)(struct timeval *, void *) = (void *)DATA.gettimeofday;

    if (host != NULL) {
        return host(tv, tz);
    }
    return (int)call3(SYS_gettimeofday, tv, tz, NULL);
}

EXPORT time_t __vdso_time(time_t *t);
time_t __vdso_time(time_t *t)
{
    time_t (*host)(time_t *) = (void *)DATA.time;

    if (host != NULL) {
        return host(t);
    }
    return call3(SYS_time, t, NULL, NULL);
}

EXPORT long __vdso_getcpu(unsigned *cpu, unsigned *node, void *unused);
long __vdso_getcpu(unsigned *cpu, unsigned *node, void *unused)
{
    long (*host)(unsigned *, unsigned *, void *) = (void *)DATA.getcpu;
    unsigned n = 0;
    long ret;

    if (host == NULL) {
        return call3(SYS_getcpu, cpu, node, unused);
    }
    ret = host(&n, NULL, NULL);
    if (ret == 0 && cpu != NULL) {
        *cpu = DATA.nr_cpus != 0 ? n % DATA.nr_cpus : n;
    }
    if (ret == 0 && node != NULL) {
        *node = 0;
    }
    return ret;
}

#define ALIAS(name) __attribute__((weak, alias("__vdso_" #name), visibility("default")))
int clock_gettime(clockid_t clock, struct timespec *ts) ALIAS(clock_gettime);
int clock_getres(clockid_t clock, struct timespec *ts) ALIAS(clock_getres);
int gettimeofday(struct timeval *restrict tv, void *restrict tz) ALIAS(gettimeofday);
time_t time(time_t *t) ALIAS(time);
long getcpu(unsigned *cpu, unsigned *node, void *unused) ALIAS(getcpu);

/* Where a signal handler returns to when it was installed without a restorer. Unwinders know the
 * frame by exactly these instructions. */
__asm__(".pushsection .text\n"
        ".globl __kernel_rt_sigreturn\n"
        ".type __kernel_rt_sigreturn, @function\n"
        "nop\n" /* they look for the function at the return address minus one */
        ".balign 16\n"
        "__kernel_rt_sigreturn:\n"
        "mov $15, %rax\n"
        "syscall\n"
        ".size __kernel_rt_sigreturn, . - __kernel_rt_sigreturn\n"
        ".popsection\n");
