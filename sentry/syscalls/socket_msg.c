/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages: send(2), recv(2) and their many forms, and ancillary data (cmsg(3), unix(7)).
 *
 * A guest's control buffer is copied in once and parsed there. Descriptors become counted files
 * before the message is sent, and descriptors again only when it was received.
 */
#include "base/clock.h"
#include "base/heap.h"
#include "base/uio.h"
#include "sentry/syscalls/file_args.h"
#include "sentry/syscalls/socket_args.h"
#include "sentry/syscalls/syscalls.h"
#include "sentry/syscalls/wait_mask.h"

#include <limits.h>
#include <linux/capability.h>
#include <sys/uio.h>

#define CONTROL_MAX 20480U /* net.core.optmem_max */
#define MMSG_MAX    1024U

_Static_assert(sizeof(struct msghdr) == 56, "struct msghdr");
_Static_assert(sizeof(struct mmsghdr) == 64, "struct mmsghdr");
_Static_assert(sizeof(struct cmsghdr) == 16, "struct cmsghdr");

/* ---- ancillary data going out ---- */

static int take_rights(struct task *t, const u8 *data, size_t len, struct scm *scm)
{
    size_t count = len / sizeof(int);

    if (count == 0) {
        return 0;
    }
    if (scm->files == NULL) {
        scm->files = scm_files_new();
    }
    if (scm->files == NULL) {
        return -ENOMEM;
    }
    if (count > SCM_MAX_FD - scm->files->count) {
        return -EINVAL;
    }
    for (size_t i = 0; i < count; i++) {
        struct file *f;
        int fd;

        memcpy(&fd, data + i * sizeof(fd), sizeof(fd));
        f = fd_get_any(t->vfs.fdt, fd);
        if (f == NULL) {
            return -EBADF;
        }
        scm->files->files[scm->files->count++] = f;
    }
    return 0;
}

/* Nobody may pretend to be somebody he could not become. */
static int take_cred(struct task *t, const u8 *data, size_t len, struct scm *scm)
{
    const struct cred *c = t->vfs.cred;
    struct ucred u;

    if (len != sizeof(u)) {
        return -EINVAL;
    }
    memcpy(&u, data, sizeof(u));
    if ((u.pid != t->tg->tgid && !cred_capable(c, CAP_SYS_ADMIN)) ||
        (u.uid != c->uid && u.uid != c->euid && u.uid != c->suid && !cred_capable(c, CAP_SETUID)) ||
        (u.gid != c->gid && u.gid != c->egid && u.gid != c->sgid && !cred_capable(c, CAP_SETGID))) {
        return -EPERM;
    }
    scm->cred = u;
    scm->has_cred = true;
    return 0;
}

static int parse_control(struct task *t, const u8 *buf, size_t len, struct scm *scm)
{
    size_t off = 0;

    while (len - off >= sizeof(struct cmsghdr)) {
        struct cmsghdr h;
        const u8 *data = buf + off + sizeof(h);
        int err = 0;

        memcpy(&h, buf + off, sizeof(h));
        if (h.cmsg_len < sizeof(h) || h.cmsg_len > len - off) {
            return -EINVAL;
        }
        if (h.cmsg_level == SOL_SOCKET) {
            switch (h.cmsg_type) {
            case SCM_RIGHTS:
                err = take_rights(t, data, h.cmsg_len - sizeof(h), scm);
                break;
            case SCM_CREDENTIALS:
                err = take_cred(t, data, h.cmsg_len - sizeof(h), scm);
                break;
            default:
                err = -EINVAL;
            }
        }
        if (err != 0) {
            return err;
        }
        off += min((size_t)CMSG_ALIGN(h.cmsg_len), len - off);
    }
    return 0;
}

static int control_in(struct task *t, const struct msghdr *h, struct scm *scm)
{
    u8 *buf;
    int err;

    if (h->msg_controllen > CONTROL_MAX) {
        return -ENOBUFS;
    }
    if (h->msg_controllen == 0) {
        return 0;
    }
    buf = heap_alloc(h->msg_controllen);
    if (buf == NULL) {
        return -ENOBUFS;
    }
    err = copy_in(buf, (uaddr)(uintptr_t)h->msg_control, h->msg_controllen);
    if (err == 0) {
        err = parse_control(t, buf, h->msg_controllen, scm);
    }
    heap_free(buf);
    return err;
}

/* ---- ancillary data coming in ---- */

struct control_out {
    uaddr base;
    size_t room, used;
    u32 flags; /* MSG_CTRUNC */
};

/* One control message; cut off when there is no room for all of it. */
static int put_control(struct control_out *c, int type, const void *data, size_t len)
{
    struct cmsghdr h = {.cmsg_len = CMSG_LEN(len), .cmsg_level = SOL_SOCKET, .cmsg_type = type};
    size_t left = c->room - c->used;

    if (left < sizeof(h)) {
        c->flags |= MSG_CTRUNC;
        return 0;
    }
    if (left < h.cmsg_len) {
        c->flags |= MSG_CTRUNC;
        h.cmsg_len = left;
    }
    if (copy_out(c->base + c->used, &h, sizeof(h)) != 0 ||
        copy_out(c->base + c->used + sizeof(h), data, h.cmsg_len - sizeof(h)) != 0) {
        return -EFAULT;
    }
    c->used += min(CMSG_SPACE(len), left);
    return 0;
}

/* Give the received files descriptors, as many as there is room for. */
static int put_rights(struct task *t, struct control_out *c, const struct scm_files *files,
                      bool cloexec)
{
    size_t left = c->room - c->used, n = 0;
    size_t fits = left > sizeof(struct cmsghdr) ? (left - sizeof(struct cmsghdr)) / sizeof(int) : 0;
    int fds[SCM_MAX_FD];

    fits = min(fits, (size_t)files->count);
    while (n < fits) {
        int fd = fd_install(t->vfs.fdt, file_get(files->files[n]), 0, task_rlimit(t, RLIMIT_NOFILE),
                            cloexec);

        if (fd < 0) {
            break;
        }
        fds[n++] = fd;
    }
    if (n < files->count) {
        c->flags |= MSG_CTRUNC;
    }
    return n > 0 ? put_control(c, SCM_RIGHTS, fds, n * sizeof(int)) : 0;
}

static int control_out(struct task *t, struct control_out *c, const struct scm *scm, bool cloexec)
{
    int err = 0;

    if (scm->has_cred) {
        err = put_control(c, SCM_CREDENTIALS, &scm->cred, sizeof(scm->cred));
    }
    if (err == 0 && scm->files != NULL) {
        err = put_rights(t, c, scm->files, cloexec);
    }
    return err;
}

/* ---- the plain forms ---- */

static u32 call_flags(const struct file *f, int flags)
{
    return (u32)flags | (file_nonblock(f) ? MSG_DONTWAIT : 0U);
}

static long send_result(struct task *t, const struct socket *s, long ret, u32 flags)
{
    /* Only streams signal: the others report EPIPE alone (unix_dgram_sendmsg). */
    return s->type == SOCK_STREAM && (flags & MSG_NOSIGNAL) == 0 ? write_result(t, ret) : ret;
}

long sys_sendto(struct task *t, int fd, uaddr buf, size_t count, int flags, uaddr addr, int len)
{
    AUTOPUT_FILE f = NULL;
    struct scm scm = {0};
    struct sock_addr name;
    struct uio u;
    struct sock_msg m = {.data = &u, .scm = &scm};
    struct socket *s;
    int err;

    s = socket_get(t, fd, &f, &err);
    if (err == 0 && addr != 0) {
        err = sock_addr_in(&name, addr, len);
        m.name = &name;
    }
    if (err != 0) {
        return err;
    }
    uio_init_user(&u, buf, min(count, 0x7fffffffUL & PAGE_MASK));
    m.flags = call_flags(f, flags);
    return send_result(t, s, s->ops->send(s, &m, &t->vfs), (u32)flags);
}

long sys_recvfrom(struct task *t, int fd, uaddr buf, size_t count, int flags, uaddr addr, uaddr len)
{
    AUTOPUT_FILE f = NULL;
    struct scm scm = {0};
    struct sock_addr name = {0};
    struct uio u;
    struct sock_msg m = {.data = &u, .scm = &scm, .name = addr != 0 ? &name : NULL};
    struct socket *s;
    long ret;
    int err;

    s = socket_get(t, fd, &f, &err);
    if (err != 0) {
        return err;
    }
    uio_init_user(&u, buf, min(count, 0x7fffffffUL & PAGE_MASK));
    m.flags = call_flags(f, flags);
    ret = s->ops->recv(s, &m);
    scm_files_put(scm.files); /* no place to give them: they are closed */
    if (ret >= 0 && addr != 0) {
        err = sock_addr_out(&name, addr, len);
    }
    return err != 0 ? err : ret;
}

/* ---- msghdr ---- */

/* A decoded struct msghdr: segments and, for send, the name. */
struct message {
    struct msghdr h;
    struct uio_seg *segs; /* heap */
    struct uio u;
    struct sock_addr name;
};

static int segs_in(struct message *msg)
{
    size_t n = msg->h.msg_iovlen;
    u64 total = 0;

    if (n > IOV_MAX) {
        return -EMSGSIZE;
    }
    msg->segs = heap_alloc((n + 1) * sizeof(*msg->segs));
    if (msg->segs == NULL) {
        return -ENOMEM;
    }
    if (n > 0 &&
        copy_in(msg->segs, (uaddr)(uintptr_t)msg->h.msg_iov, n * sizeof(*msg->segs)) != 0) {
        return -EFAULT;
    }
    for (size_t i = 0; i < n; i++) {
        if (msg->segs[i].len > SSIZE_MAX - total) {
            return -EINVAL;
        }
        total += msg->segs[i].len;
    }
    uio_init_segs(&msg->u, msg->segs, (u32)n, false);
    uio_truncate(&msg->u, 0x7fffffffUL & PAGE_MASK);
    return 0;
}

/* msg->segs is to be freed whatever the result. */
static int message_in(struct message *msg, uaddr umsg, bool with_name)
{
    int len;

    msg->segs = NULL;
    if (copy_in(&msg->h, umsg, sizeof(msg->h)) != 0) {
        return -EFAULT;
    }
    if ((int)msg->h.msg_namelen < 0) {
        return -EINVAL;
    }
    len = (int)min(msg->h.msg_namelen, (u32)sizeof(msg->name.ss));
    if (msg->h.msg_name == NULL) {
        len = 0;
    }
    if (with_name && len > 0 &&
        sock_addr_in(&msg->name, (uaddr)(uintptr_t)msg->h.msg_name, len) != 0) {
        return -EFAULT;
    }
    msg->h.msg_namelen = (u32)len;
    return segs_in(msg);
}

static long send_message(struct task *t, struct socket *s, uaddr umsg, u32 flags)
{
    struct scm scm = {0};
    struct message msg;
    struct sock_msg m = {.data = &msg.u, .scm = &scm, .flags = call_flags(&s->f, (int)flags)};
    long ret = message_in(&msg, umsg, true);

    if (ret == 0) {
        ret = control_in(t, &msg.h, &scm);
    }
    if (ret == 0) {
        m.name = msg.h.msg_namelen > 0 ? &msg.name : NULL;
        ret = s->ops->send(s, &m, &t->vfs);
    }
    scm_files_put(scm.files);
    heap_free(msg.segs);
    return send_result(t, s, ret, flags);
}

/* Write back what recvmsg says besides the data. */
static long message_out(struct task *t, const struct message *msg, uaddr umsg,
                        const struct sock_msg *m, u32 flags)
{
    struct control_out c = {.base = (uaddr)(uintptr_t)msg->h.msg_control,
                            .room = msg->h.msg_control != NULL ? msg->h.msg_controllen : 0};
    u32 out_flags;
    long err = control_out(t, &c, m->scm, (flags & MSG_CMSG_CLOEXEC) != 0);

    if (err != 0) {
        return err;
    }
    if (m->name != NULL) {
        err = sock_addr_out(&msg->name, (uaddr)(uintptr_t)msg->h.msg_name,
                            umsg + offsetof(struct msghdr, msg_namelen));
    }
    out_flags = m->out_flags | c.flags | (flags & MSG_CMSG_CLOEXEC);
    if (err == 0 &&
        (copy_out(umsg + offsetof(struct msghdr, msg_flags), &out_flags, sizeof(out_flags)) != 0 ||
         copy_out(umsg + offsetof(struct msghdr, msg_controllen), &c.used, sizeof(c.used)) != 0)) {
        err = -EFAULT;
    }
    return err;
}

static long recv_message(struct task *t, struct socket *s, uaddr umsg, u32 flags)
{
    struct scm scm = {0};
    struct message msg;
    struct sock_msg m = {.data = &msg.u, .scm = &scm, .flags = call_flags(&s->f, (int)flags)};
    long ret = message_in(&msg, umsg, false), err;

    if (ret == 0) {
        msg.name.len = 0;
        m.name = msg.h.msg_name != NULL ? &msg.name : NULL;
        ret = s->ops->recv(s, &m);
    }
    if (ret >= 0) {
        err = message_out(t, &msg, umsg, &m, flags);
        ret = err != 0 ? err : ret;
    }
    scm_files_put(scm.files);
    heap_free(msg.segs);
    return ret;
}

long sys_sendmsg(struct task *t, int fd, uaddr msg, int flags)
{
    AUTOPUT_FILE f = NULL;
    struct socket *s;
    int err;

    s = socket_get(t, fd, &f, &err);
    return err != 0 ? err : send_message(t, s, msg, (u32)flags);
}

long sys_recvmsg(struct task *t, int fd, uaddr msg, int flags)
{
    AUTOPUT_FILE f = NULL;
    struct socket *s;
    int err;

    s = socket_get(t, fd, &f, &err);
    return err != 0 ? err : recv_message(t, s, msg, (u32)flags);
}

/* ---- many at once ---- */

/* The length that a message of the array moved. */
static int put_len(uaddr msgs, u32 index, long len)
{
    u32 value = (u32)len;

    return copy_out(msgs + index * sizeof(struct mmsghdr) + offsetof(struct mmsghdr, msg_len),
                    &value, sizeof(value));
}

long sys_sendmmsg(struct task *t, int fd, uaddr msgs, unsigned int count, int flags)
{
    AUTOPUT_FILE f = NULL;
    struct socket *s;
    long ret = 0;
    u32 done = 0;
    int err;

    s = socket_get(t, fd, &f, &err);
    if (err != 0) {
        return err;
    }
    count = min(count, MMSG_MAX);
    while (done < count) {
        ret = send_message(t, s, msgs + done * sizeof(struct mmsghdr), (u32)flags);
        if (ret >= 0 && put_len(msgs, done, ret) != 0) {
            ret = -EFAULT;
        }
        if (ret < 0) {
            break;
        }
        done++;
    }
    return done > 0 ? (long)done : ret;
}

long sys_recvmmsg(struct task *t, int fd, uaddr msgs, unsigned int count, int flags, uaddr timeout)
{
    AUTOPUT_FILE f = NULL;
    u32 call = (u32)flags & ~(u32)MSG_WAITFORONE, done = 0;
    struct timespec left;
    struct socket *s;
    u64 deadline, now;
    long ret = 0;
    int err;

    s = socket_get(t, fd, &f, &err);
    if (err == 0) {
        err = wait_deadline_in(timeout, &deadline);
    }
    if (err != 0) {
        return err;
    }
    count = min(count, MMSG_MAX);
    while (done < count) {
        ret = recv_message(t, s, msgs + done * sizeof(struct mmsghdr), call);
        if (ret >= 0 && put_len(msgs, done, ret) != 0) {
            ret = -EFAULT;
        }
        if (ret < 0) {
            break;
        }
        done++;
        if ((flags & MSG_WAITFORONE) != 0) {
            call |= MSG_DONTWAIT;
        }
        /* The time-out is only looked at between messages (recvmmsg(2), BUGS). */
        if (deadline != CLOCK_NEVER && clock_monotonic() >= deadline) {
            break;
        }
    }
    if (timeout != 0 && done > 0) {
        now = clock_monotonic();
        now = deadline > now ? deadline - now : 0;
        left = ns_timespec(now);
        if (copy_out(timeout, &left, sizeof(left)) != 0) {
            return -EFAULT;
        }
    }
    return done > 0 ? (long)done : ret;
}
