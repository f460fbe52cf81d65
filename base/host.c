/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host system calls by number, without libc between: no errno (a fiber may move to another thread),
 * no cancellation, no hidden extra calls. Every function here has its line in base/host_calls.tbl.
 */
#include "base/host.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/host_priv.h"

#include <linux/futex.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <time.h>

/* CALL(number, up to six arguments): the missing ones are zero. */
#define CALL(nr, ...) CALL_PAD(nr, __VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define CALL_PAD(nr, a, b, c, d, e, f, ...)                                                        \
    call6((nr), (u64)(a), (u64)(b), (u64)(c), (u64)(d), (u64)(e), (u64)(f))

static long futex_wait(_Atomic u32 *word, u32 value, u64 deadline, int op)
{
    struct timespec ts = ns_timespec(deadline);

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

#ifdef PAVISE_DEBUG
_Atomic bool host_calls_used[HOST_CALLS_MAX];

void host_calls_dump_used(int fd)
{
    for (int nr = 0; nr < HOST_CALLS_MAX; nr++) {
        char line[32];

        if (atomic_load_explicit(&host_calls_used[nr], memory_order_relaxed)) {
            int len = snprintf(line, sizeof(line), "host call %d\n", nr);

            (void)!host_write(fd, line, (size_t)len);
        }
    }
}
#else
void host_calls_dump_used(int fd)
{
    (void)fd;
}
#endif
ssize_t host_readlinkat(int dirfd, const char *name, char *buf, size_t size)
{
    return CALL(SYS_readlinkat, dirfd, name, buf, size);
}

int host_fstatfs(int fd, struct statfs *st)
{
    return (int)CALL(SYS_fstatfs, fd, st);
}

ssize_t host_preadv2(int fd, const struct iovec *iov, int count, u64 off, u32 flags)
{
    return CALL(SYS_preadv2, fd, iov, count, off, 0, flags);
}

ssize_t host_getdents64(int fd, void *buf, size_t size)
{
    return CALL(SYS_getdents64, fd, buf, size);
}

s64 host_lseek(int fd, s64 off, int whence)
{
    return CALL(SYS_lseek, fd, off, whence);
}

int host_poll(int fd, short events, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = events};
    long ret = CALL(SYS_poll, &p, 1, timeout_ms);

    return ret < 0 ? (int)ret : p.revents;
}

long host_ioctl(int fd, u32 cmd, u64 arg)
{
    return CALL(SYS_ioctl, fd, cmd, arg);
}

int host_fcntl(int fd, int cmd, u64 arg)
{
    return (int)CALL(SYS_fcntl, fd, cmd, arg);
}

u64 host_total_ram(void)
{
    struct sysinfo si = {0};

    (void)CALL(SYS_sysinfo, &si);
    return (u64)si.totalram * si.mem_unit;
}
