/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the calls on files do with their arguments: paths and iovecs copied in once, signals that go
 * with an error, struct stat written out.
 */
#ifndef PAVISE_SENTRY_SYSCALLS_FILE_ARGS_H
#define PAVISE_SENTRY_SYSCALLS_FILE_ARGS_H

#include "base/uio.h"
#include "sentry/kernel/task.h"
#include "sentry/syscalls/syscalls.h"
#include "vfs/fdtable.h"
#include "vfs/namei.h"
#include "vfs/vfs.h"

#include <sys/resource.h>

/* A path copied in. Short ones need no allocation. PATH_ARG(p, addr) declares one that is freed at
 * the end of the scope; check p.err first. */
struct path_arg {
    const char *str;
    int err; /* -EFAULT, -ENAMETOOLONG, -ENOMEM */
    char *big;
    char small[240];
};
void path_arg_init(struct path_arg *p, uaddr addr);
void path_arg_fini(struct path_arg *p);
#define PATH_ARG(var, addr)                                                                        \
    struct path_arg var __attribute__((cleanup(path_arg_fini)));                                   \
    path_arg_init(&(var), (addr))

/* The segments of a readv or writev, copied in and checked. */
struct iov_arg {
    struct uio uio;
    struct uio_seg *big;
    struct uio_seg small[8];
};
/* -EFAULT, -EINVAL (too many, a negative length), -ENOMEM. */
must_check int iov_arg_init(struct iov_arg *a, uaddr iov, unsigned long count);
void iov_arg_fini(struct iov_arg *a);

/* SIGPIPE for -EPIPE and SIGXFSZ for a write past RLIMIT_FSIZE: passes `ret` on. */
long write_result(struct task *t, long ret);

/* A new descriptor for f (taken over; may be ERR_PTR), by the caller's limit. */
must_check long install_file(struct task *t, struct file *f, bool cloexec);

/* Two files, and their numbers to the guest's int[2]: all or nothing. Takes over both. */
must_check long install_two(struct task *t, struct file *a, struct file *b, uaddr ufds,
                            bool cloexec);

#endif
