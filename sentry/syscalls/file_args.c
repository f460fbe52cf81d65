/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments of the calls on files, see file_args.h. */
#include "sentry/syscalls/file_args.h"

#include "base/heap.h"
#include "base/usermem.h"

#include <limits.h>

#define IOV_COUNT_MAX 1024UL
#define RW_COUNT_MAX  (0x7fffffffUL & PAGE_MASK)

void path_arg_init(struct path_arg *p, uaddr addr)
{
    ssize_t n = copy_in_str(p->small, addr, sizeof(p->small));

    p->str = p->small;
    p->big = NULL;
    p->err = n < 0 ? (int)n : 0;
    if (n != -ENAMETOOLONG) {
        return;
    }
    p->big = heap_alloc(PATH_LEN_MAX);
    if (p->big == NULL) {
        p->err = -ENOMEM;
        return;
    }
    n = copy_in_str(p->big, addr, PATH_LEN_MAX);
    p->str = p->big;
    p->err = n < 0 ? (int)n : 0;
}

void path_arg_fini(struct path_arg *p)
{
    heap_free(p->big);
}

/* The guest's struct iovec and ours have one layout; the words are checked in place. */
_Static_assert(sizeof(struct uio_seg) == sizeof(struct iovec), "uio_seg is an iovec");

static int iov_check(struct uio_seg *segs, unsigned long count)
{
    u64 left = RW_COUNT_MAX;

    for (unsigned long i = 0; i < count; i++) {
        if (segs[i].len > SSIZE_MAX) {
            return -EINVAL;
        }
        segs[i].len = min(segs[i].len, left);
        left -= segs[i].len;
    }
    return 0;
}

int iov_arg_init(struct iov_arg *a, uaddr iov, unsigned long count)
{
    struct uio_seg *segs = a->small;
    int err;

    a->big = NULL;
    if (count > IOV_COUNT_MAX) {
        return -EINVAL;
    }
    if (count > ARRAY_SIZE(a->small)) {
        segs = a->big = heap_alloc(count * sizeof(*segs));
        if (segs == NULL) {
            return -ENOMEM;
        }
    }
    err = copy_in(segs, iov, count * sizeof(*segs));
    if (err == 0) {
        err = iov_check(segs, count);
    }
    if (err != 0) {
        heap_free(a->big);
        return err;
    }
    uio_init_segs(&a->uio, segs, (u32)count, false);
    return 0;
}

void iov_arg_fini(struct iov_arg *a)
{
    heap_free(a->big);
}

static void send_self(struct task *t, int sig)
{
    const struct abi_siginfo info = {.si_signo = sig, .si_code = SI_KERNEL};

    (void)!signal_send_task(t, &info);
}

long write_result(struct task *t, long ret)
{
    if (ret == -EPIPE) {
        send_self(t, SIGPIPE);
    } else if (ret == -EFBIG && t->vfs.fsize_limit != UINT64_MAX) {
        send_self(t, SIGXFSZ);
    }
    return ret;
}

long install_file(struct task *t, struct file *f, bool cloexec)
{
    if (IS_ERR(f)) {
        return PTR_ERR(f);
    }
    return fd_install(t->vfs.fdt, f, 0, task_rlimit(t, RLIMIT_NOFILE), cloexec);
}

long install_two(struct task *t, struct file *a, struct file *b, uaddr ufds, bool cloexec)
{
    u64 limit = task_rlimit(t, RLIMIT_NOFILE);
    int fds[2];
    int err = 0;

    fds[0] = fd_install(t->vfs.fdt, a, 0, limit, cloexec);
    if (fds[0] < 0) {
        file_put(b);
        return fds[0];
    }
    fds[1] = fd_install(t->vfs.fdt, b, 0, limit, cloexec);
    if (fds[1] < 0) {
        err = fds[1];
    } else if (copy_out(ufds, fds, sizeof(fds)) != 0) {
        err = -EFAULT;
        (void)!fd_close(t->vfs.fdt, fds[1]);
    }
    if (err != 0) {
        (void)!fd_close(t->vfs.fdt, fds[0]);
    }
    return err;
}
