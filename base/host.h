/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host system calls: the only way out (base/host.c is the only file with a system call instruction,
 * apart from the stub). One function a call, returning >= 0 or -errno, never touching libc's errno.
 * Each has its line in base/host_calls.tbl, from which the filters and a section of
 * docs/SECURITY.md are generated.
 */
#ifndef PAVISE_BASE_HOST_H
#define PAVISE_BASE_HOST_H

#include "base/base.h"

#include <sys/uio.h>

struct rlimit;
struct stat;
struct timespec;

must_check long host_futex_wait(_Atomic u32 *word, u32 value,
                                u64 deadline_mono); /* CLOCK_NEVER: none */
long host_futex_wake(_Atomic u32 *word, u32 count);
/* The same on a word shared between processes. */
must_check long host_futex_wait_shared(_Atomic u32 *word, u32 value, u64 deadline_mono);
long host_futex_wake_shared(_Atomic u32 *word, u32 count);
must_check ssize_t host_read(int fd, void *buf, size_t len);
must_check ssize_t host_write(int fd, const void *buf, size_t len);
must_check ssize_t host_pread(int fd, void *buf, size_t len, u64 off);
must_check ssize_t host_pwrite(int fd, const void *buf, size_t len, u64 off);
must_check ssize_t host_preadv(int fd, const struct iovec *iov, int count, u64 off);
must_check ssize_t host_pwritev(int fd, const struct iovec *iov, int count, u64 off);
int host_close(int fd);
must_check void *host_mmap(void *addr, size_t len, int prot, int flags, int fd,
                           u64 off); /* ERR_PTR */
int host_munmap(void *addr, size_t len);
must_check int host_mprotect(void *addr, size_t len, int prot);
int host_madvise(void *addr, size_t len, int advice);
must_check int host_mincore(void *addr, size_t len, u8 *vec);
must_check int host_memfd_create(const char *name, u32 flags);
must_check int host_ftruncate(int fd, u64 len);
must_check int host_fallocate(int fd, int mode, u64 off, u64 len);
must_check ssize_t host_getrandom(void *buf, size_t len, u32 flags);
must_check int host_fstat(int fd, struct stat *st);
must_check int host_getrlimit(int resource, struct rlimit *rl);
void host_sched_yield(void);
struct epoll_event;
must_check int host_poll(int fd, short events, int timeout_ms); /* revents */
must_check long host_ioctl(int fd, u32 cmd, u64 arg);
must_check int host_fcntl(int fd, int cmd, u64 arg);
struct statfs;
must_check ssize_t host_readlinkat(int dirfd, const char *name, char *buf, size_t size);
must_check int host_fstatfs(int fd, struct statfs *st);
must_check ssize_t host_preadv2(int fd, const struct iovec *iov, int count, u64 off, u32 flags);
must_check ssize_t host_getdents64(int fd, void *buf, size_t size);
must_check s64 host_lseek(int fd, s64 off, int whence);
must_check int host_epoll_create(void);
must_check int host_epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev);
must_check int host_epoll_wait(int epfd, struct epoll_event *events, int max, int timeout_ms);
u64 host_total_ram(void); /* bytes; sysinfo(2) */
int host_gettid(void);
int host_getpid(void);
noreturn_fn void host_exit_group(int status);

/* Debug builds: a line "host call NUMBER" for every call made so far, for tools/check_host_calls.py
 * --used. */
void host_calls_dump_used(int fd);

#endif
