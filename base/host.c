/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host system calls by number, without libc between: no errno (a fiber may move to another thread),
 * no cancellation, no hidden extra calls. Every function here has its line in base/host_calls.tbl.
 */
#include "base/host.h"

#include "base/clock.h"
#include "base/err.h"

#include <linux/futex.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>

static inline long call6(long nr, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long ret;

    __asm__ volatile("syscall"
                     : "=a"(ret)
                     : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return ret;
}

/* CALL(number, up to six arguments): the missing ones are zero. */
#define CALL(nr, ...) CALL_PAD(nr, __VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define CALL_PAD(nr, a, b, c, d, e, f, ...)                                                        \
    call6((nr), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

static long futex_wait(_Atomic u32 *word, u32 value, u64 deadline, int op)
{
    struct timespec ts = {.tv_sec = (time_t)(deadline / NSEC_PER_SEC),
                          .tv_nsec = (long)(deadline % NSEC_PER_SEC)};

    /* FUTEX_WAIT_BITSET: the time-out is absolute, on CLOCK_MONOTONIC. */
    return CALL(SYS_futex, word, FUTEX_WAIT_BITSET | op, value,
                deadline == CLOCK_NEVER ? NULL : &ts, NULL, FUTEX_BITSET_MATCH_ANY);
}

long host_futex_wait(_Atomic u32 *word, u32 value, u64 deadline_mono)
{
    return futex_wait(word, value, deadline_mono, FUTEX_PRIVATE_FLAG);
}

long host_futex_wake(_Atomic u32 *word, u32 count)
{
    return CALL(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, count);
}

long host_futex_wait_shared(_Atomic u32 *word, u32 value, u64 deadline_mono)
{
    return futex_wait(word, value, deadline_mono, 0);
}

long host_futex_wake_shared(_Atomic u32 *word, u32 count)
{
    return CALL(SYS_futex, word, FUTEX_WAKE, count);
}

ssize_t host_read(int fd, void *buf, size_t len)
{
    return CALL(SYS_read, fd, buf, len);
}

ssize_t host_write(int fd, const void *buf, size_t len)
{
    return CALL(SYS_write, fd, buf, len);
}

ssize_t host_pread(int fd, void *buf, size_t len, u64 off)
{
    return CALL(SYS_pread64, fd, buf, len, off);
}

ssize_t host_pwrite(int fd, const void *buf, size_t len, u64 off)
{
    return CALL(SYS_pwrite64, fd, buf, len, off);
}

ssize_t host_preadv(int fd, const struct iovec *iov, int count, u64 off)
{
    return CALL(SYS_preadv, fd, iov, count, off, 0);
}

ssize_t host_pwritev(int fd, const struct iovec *iov, int count, u64 off)
{
    return CALL(SYS_pwritev, fd, iov, count, off, 0);
}

int host_close(int fd)
{
    return (int)CALL(SYS_close, fd);
}

void host_exit_group(int status)
{
    for (;;) {
        (void)CALL(SYS_exit_group, status);
    }
}

void *host_mmap(void *addr, size_t len, int prot, int flags, int fd, u64 off)
{
    return (void *)CALL(SYS_mmap, addr, len, prot, flags, fd, off);
}

int host_munmap(void *addr, size_t len)
{
    return (int)CALL(SYS_munmap, addr, len);
}

int host_mprotect(void *addr, size_t len, int prot)
{
    return (int)CALL(SYS_mprotect, addr, len, prot);
}

int host_madvise(void *addr, size_t len, int advice)
{
    return (int)CALL(SYS_madvise, addr, len, advice);
}

int host_mincore(void *addr, size_t len, u8 *vec)
{
    return (int)CALL(SYS_mincore, addr, len, vec);
}

int host_memfd_create(const char *name, u32 flags)
{
    return (int)CALL(SYS_memfd_create, name, flags);
}

int host_ftruncate(int fd, u64 len)
{
    return (int)CALL(SYS_ftruncate, fd, len);
}

int host_fallocate(int fd, int mode, u64 off, u64 len)
{
    return (int)CALL(SYS_fallocate, fd, mode, off, len);
}

ssize_t host_getrandom(void *buf, size_t len, u32 flags)
{
    return CALL(SYS_getrandom, buf, len, flags);
}

int host_fstat(int fd, struct stat *st)
{
    return (int)CALL(SYS_fstat, fd, st);
}

int host_gettid(void)
{
    return (int)CALL(SYS_gettid, 0);
}

int host_getpid(void)
{
    return (int)CALL(SYS_getpid, 0);
}

int host_getrlimit(int resource, struct rlimit *rl)
{
    return (int)CALL(SYS_prlimit64, 0, resource, NULL, rl);
}

void host_sched_yield(void)
{
    (void)CALL(SYS_sched_yield, 0);
}

int host_epoll_create(void)
{
    return (int)CALL(SYS_epoll_create1, EPOLL_CLOEXEC);
}

int host_epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev)
{
    return (int)CALL(SYS_epoll_ctl, epfd, op, fd, ev);
}

int host_epoll_wait(int epfd, struct epoll_event *events, int max, int timeout_ms)
{
    return (int)CALL(SYS_epoll_wait, epfd, events, max, timeout_ms);
}
