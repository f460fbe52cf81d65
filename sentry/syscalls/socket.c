/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets, but for messages: socket(2), bind(2), connect(2), accept(2), getsockopt(2) and kin. */
#include "base/usermem.h"
#include "sentry/syscalls/file_args.h"
#include "sentry/syscalls/socket_args.h"
#include "sentry/syscalls/syscalls.h"

#define TYPE_FLAGS (SOCK_CLOEXEC | SOCK_NONBLOCK)
#define TYPE_MASK  0xf

long sys_socket(struct task *t, int family, int type, int protocol)
{
    if ((type & ~(TYPE_MASK | TYPE_FLAGS)) != 0) {
        return -EINVAL;
    }
    return install_file(
        t,
        socket_create(family, type & TYPE_MASK, protocol, (u32)type & SOCK_NONBLOCK, t->vfs.cred),
        (type & SOCK_CLOEXEC) != 0);
}

long sys_socketpair(struct task *t, int family, int type, int protocol, uaddr fds)
{
    struct file *f[2];
    int err;

    if ((type & ~(TYPE_MASK | TYPE_FLAGS)) != 0) {
        return -EINVAL;
    }
    err = socket_create_pair(family, type & TYPE_MASK, protocol, (u32)type & SOCK_NONBLOCK,
                             t->vfs.cred, f);
    return err != 0 ? err : install_two(t, f[0], f[1], fds, (type & SOCK_CLOEXEC) != 0);
}

long sys_bind(struct task *t, int fd, uaddr addr, int len)
{
    AUTOPUT_FILE f = NULL;
    struct sock_addr a;
    struct socket *s;
    int err;

    s = socket_get(t, fd, &f, &err);
    if (err == 0) {
        err = sock_addr_in(&a, addr, len);
    }
    return err != 0 ? err : s->ops->bind(s, &a, &t->vfs);
}

long sys_connect(struct task *t, int fd, uaddr addr, int len)
{
    AUTOPUT_FILE f = NULL;
    struct sock_addr a;
    struct socket *s;
    int err;

    s = socket_get(t, fd, &f, &err);
    if (err == 0) {
        err = sock_addr_in(&a, addr, len);
    }
    return err != 0 ? err : s->ops->connect(s, &a, file_nonblock(f), &t->vfs);
}

long sys_listen(struct task *t, int fd, int backlog)
{
    AUTOPUT_FILE f = NULL;
    struct socket *s;
    int err;

    s = socket_get(t, fd, &f, &err);
    return err != 0 ? err : s->ops->listen(s, backlog);
}

long sys_accept4(struct task *t, int fd, uaddr addr, uaddr len, int flags)
{
    AUTOPUT_FILE f = NULL;
    struct sock_addr a;
    struct file *new;
    struct socket *s;
    int err;

    if ((flags & ~TYPE_FLAGS) != 0) {
        return -EINVAL;
    }
    s = socket_get(t, fd, &f, &err);
    if (err != 0) {
        return err;
    }
    new = s->ops->accept(s, file_nonblock(f), (u32)flags & SOCK_NONBLOCK);
    if (IS_ERR(new)) {
        return PTR_ERR(new);
    }
    if (addr != 0) {
        err = s->ops->getname(socket_of(new), &a, true);
        err = err != 0 ? -ECONNABORTED : sock_addr_out(&a, addr, len);
    }
    if (err != 0) {
        file_put(new);
        return err;
    }
    return install_file(t, new, (flags & SOCK_CLOEXEC) != 0);
}

long sys_accept(struct task *t, int fd, uaddr addr, uaddr len)
{
    return sys_accept4(t, fd, addr, len, 0);
}

static long get_name(struct task *t, int fd, uaddr addr, uaddr len, bool peer)
{
    AUTOPUT_FILE f = NULL;
    struct sock_addr a;
    struct socket *s;
    int err;

    s = socket_get(t, fd, &f, &err);
    if (err == 0) {
        err = s->ops->getname(s, &a, peer);
    }
    return err != 0 ? err : sock_addr_out(&a, addr, len);
}

long sys_getsockname(struct task *t, int fd, uaddr addr, uaddr len)
{
    return get_name(t, fd, addr, len, false);
}

long sys_getpeername(struct task *t, int fd, uaddr addr, uaddr len)
{
    return get_name(t, fd, addr, len, true);
}

long sys_shutdown(struct task *t, int fd, int how)
{
    AUTOPUT_FILE f = NULL;
    struct socket *s;
    int err;

    s = socket_get(t, fd, &f, &err);
    if (err == 0 && (how < SHUT_RD || how > SHUT_RDWR)) {
        err = -EINVAL;
    }
    return err != 0 ? err : s->ops->shutdown(s, how);
}

long sys_setsockopt(struct task *t, int fd, int level, int name, uaddr value, int len)
{
    u8 buf[SOCKOPT_MAX];
    AUTOPUT_FILE f = NULL;
    struct socket *s;
    int err;

    if (len < 0) {
        return -EINVAL;
    }
    s = socket_get(t, fd, &f, &err);
    if (err != 0) {
        return err;
    }
    len = min(len, (int)sizeof(buf)); /* no option is larger */
    if (len > 0 && copy_in(buf, value, (size_t)len) != 0) {
        return -EFAULT;
    }
    return socket_setsockopt(s, level, name, buf, (u32)len, t->vfs.cred);
}

long sys_getsockopt(struct task *t, int fd, int level, int name, uaddr value, uaddr ulen)
{
    u8 buf[SOCKOPT_MAX] = {0};
    AUTOPUT_FILE f = NULL;
    struct socket *s;
    int err, room;
    u32 len;

    s = socket_get(t, fd, &f, &err);
    if (err != 0) {
        return err;
    }
    if (copy_in(&room, ulen, sizeof(room)) != 0) {
        return -EFAULT;
    }
    if (room < 0) {
        return -EINVAL;
    }
    len = min((u32)room, SOCKOPT_MAX);
    err = socket_getsockopt(s, level, name, buf, &len);
    if (err != 0) {
        return err;
    }
    if (len > 0 && copy_out(value, buf, len) != 0) {
        return -EFAULT;
    }
    return copy_out(ulen, &len, sizeof(len));
}
