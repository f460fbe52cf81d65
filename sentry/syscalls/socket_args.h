/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments of socket calls: descriptors and addresses. */
#ifndef PAVISE_SENTRY_SYSCALLS_SOCKET_ARGS_H
#define PAVISE_SENTRY_SYSCALLS_SOCKET_ARGS_H

#include "base/usermem.h"
#include "sentry/kernel/task.h"
#include "sentry/socket/socket.h"
#include "vfs/fdtable.h"

/* The socket behind fd, held through *f (to be put): or NULL with *err -EBADF or -ENOTSOCK. */
static inline struct socket *socket_get(struct task *t, int fd, struct file **f, int *err)
{
    struct socket *s = NULL;

    *f = fd_get(t->vfs.fdt, fd);
    *err = -EBADF;
    if (*f != NULL) {
        s = socket_of(*f);
        *err = s != NULL ? 0 : -ENOTSOCK;
    }
    return s;
}

static inline must_check int sock_addr_in(struct sock_addr *out, uaddr addr, int len)
{
    if (len < 0 || (size_t)len > sizeof(out->ss)) {
        return -EINVAL;
    }
    out->len = (u32)len;
    out->ss.ss_family = AF_UNSPEC;
    return len > 0 ? copy_in(&out->ss, addr, (size_t)len) : 0;
}

/* As far as there is room; *ulen becomes the whole length. */
static inline must_check int sock_addr_out(const struct sock_addr *a, uaddr addr, uaddr ulen)
{
    int room, len = (int)a->len;

    if (copy_in(&room, ulen, sizeof(room)) != 0) {
        return -EFAULT;
    }
    if (room < 0) {
        return -EINVAL;
    }
    room = min(room, len);
    if (room > 0 && copy_out(addr, &a->ss, (size_t)room) != 0) {
        return -EFAULT;
    }
    return copy_out(ulen, &len, sizeof(len));
}

#endif
