/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets as files, and the options of SOL_SOCKET (socket(7)). The family's half does the rest
 * through struct socket_ops. Options are single words without a lock: a race of two setsockopt
 * leaves one of the two values, as on Linux.
 */
#include "sentry/socket/socket.h"

#include "base/clock.h"
#include "base/heap.h"
#include "vfs/nofs.h"

#include <linux/capability.h>
#include <linux/sockios.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/time.h>

DEFINE_CACHE(socket_cache, struct socket);

static const struct file_ops socket_file_ops;

struct socket *socket_of(struct file *f)
{
    return f->ops == &socket_file_ops ? container_of(f, struct socket, f) : NULL;
}

u64 socket_deadline(u64 timeo)
{
    u64 now = clock_monotonic();

    return timeo >= CLOCK_NEVER - now ? CLOCK_NEVER : now + timeo;
}

/* sock_intr_errno of Linux: a call with a time-out is not restarted. */
int socket_wait_error(int err, u64 timeo)
{
    if (err == -ETIMEDOUT) {
        return -EAGAIN;
    }
    return err == -ERESTARTSYS && timeo != CLOCK_NEVER ? -EINTR : err;
}

/* ---- the file ---- */

static struct socket *must_socket(struct file *f)
{
    return container_of(f, struct socket, f);
}

static u32 wait_flag(const struct file *f, u32 rwf)
{
    return file_nonblock(f) || (rwf & RWF_NOWAIT) != 0 ? MSG_DONTWAIT : 0;
}

static ssize_t socket_read(struct file *f, struct uio *u, u64 *pos, u32 rwf)
{
    struct socket *s = must_socket(f);
    struct scm scm = {0};
    struct sock_msg m = {.data = u, .scm = &scm, .flags = wait_flag(f, rwf)};
    ssize_t n;

    if (uio_left(u) == 0) {
        return 0; /* matches SYS5 behaviour, says sock_read_iter */
    }
    n = s->ops->recv(s, &m);
    scm_files_put(scm.files);
    return n;
}

static ssize_t socket_write(struct file *f, struct uio *u, u64 *pos, u32 rwf)
{
    struct socket *s = must_socket(f);
    struct scm scm = {0};
    struct sock_msg m = {.data = u, .scm = &scm, .flags = wait_flag(f, rwf)};
    struct vfs_ctx ctx = {.cred = f->cred};

    return s->ops->send(s, &m, &ctx);
}

static u32 socket_poll(struct file *f, struct poller *p)
{
    struct socket *s = must_socket(f);

    return s->ops->poll(s, p);
}

static long socket_ioctl(struct file *f, u32 cmd, u64 arg, const struct vfs_ctx *ctx)
{
    struct socket *s = must_socket(f);

    return s->ops->ioctl != NULL ? s->ops->ioctl(s, cmd, arg) : -ENOTTY;
}

static int socket_fasync(struct file *f, bool on)
{
    return fasync_set(f, on, &must_socket(f)->fasync);
}

static void socket_release(struct file *f)
{
    struct socket *s = must_socket(f);

    (void)fasync_set(f, false, &s->fasync);
    s->ops->release(s);
    file_fini(f);
    file_free(&socket_cache, f);
}

static const struct file_ops socket_file_ops = {
    .name = "socket",
    .read = socket_read,
    .write = socket_write,
    .poll = socket_poll,
    .ioctl = socket_ioctl,
    .fasync = socket_fasync,
    .release = socket_release,
};
HEAP_OPS(socket_file_ops);

struct file *socket_file_new(const struct socket_ops *ops, int family, int type, int protocol,
                             void *sk, u32 flags, const struct cred *cred)
{
    struct socket *s = cache_new(socket_cache);
    struct inode *inode;
    struct path path;
    int err;

    if (s == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    err = nofs_inode_new(NOFS_SOCKET, S_IFSOCK | 0777, cred, &path, &inode);
    if (err != 0) {
        cache_del(socket_cache, s);
        return ERR_PTR(err);
    }
    file_init(&s->f, &socket_file_ops, inode, &path, O_RDWR | (flags & O_NONBLOCK), cred);
    path_put(&path);
    inode_put(inode);
    s->f.mode |= FMODE_STREAM | FMODE_NOPOSLOCK;
    s->ops = ops;
    s->family = family;
    s->type = type;
    s->protocol = protocol;
    s->sk = sk;
    s->sndbuf = s->rcvbuf = SOCK_BUF_MAX;
    s->rcvlowat = 1;
    s->rcvtimeo = s->sndtimeo = CLOCK_NEVER;
    fasync_init(&s->fasync);
    return &s->f;
}

/* ---- families ---- */

struct file *socket_create(int family, int type, int protocol, u32 flags, const struct cred *cred)
{
    if (family < 0 || family >= AF_MAX) {
        return ERR_PTR(-EAFNOSUPPORT);
    }
    if (type < 0 || type > SOCK_PACKET) {
        return ERR_PTR(-EINVAL);
    }
    switch (family) {
    case AF_UNIX:
        return unix_create(type, protocol, flags, cred);
    default: /* internet, netlink: come with the network stack */
        return ERR_PTR(-EAFNOSUPPORT);
    }
}

int socket_create_pair(int family, int type, int protocol, u32 flags, const struct cred *cred,
                       struct file *out[2])
{
    if (family < 0 || family >= AF_MAX) {
        return -EAFNOSUPPORT;
    }
    if (type < 0 || type > SOCK_PACKET) {
        return -EINVAL;
    }
    return family == AF_UNIX ? unix_create_pair(type, protocol, flags, cred, out) : -EAFNOSUPPORT;
}

/* ---- options ---- */

/* Which bit of s->flags a boolean option is, 0 for none. */
static u32 flag_of(int name)
{
    switch (name) {
    case SO_DEBUG:
        return SOCK_OPT_DEBUG;
    case SO_REUSEADDR:
        return SOCK_OPT_REUSEADDR;
    case SO_REUSEPORT:
        return SOCK_OPT_REUSEPORT;
    case SO_KEEPALIVE:
        return SOCK_OPT_KEEPALIVE;
    case SO_BROADCAST:
        return SOCK_OPT_BROADCAST;
    case SO_OOBINLINE:
        return SOCK_OPT_OOBINLINE;
    case SO_DONTROUTE:
        return SOCK_OPT_DONTROUTE;
    case SO_NO_CHECK:
        return SOCK_OPT_NO_CHECK;
    case SO_TIMESTAMP_OLD:
        return SOCK_OPT_TIMESTAMP;
    case SO_TIMESTAMPNS_OLD:
        return SOCK_OPT_TIMESTAMPNS;
    case SO_PASSCRED:
        return SOCK_OPT_PASSCRED;
    case SO_PASSSEC:
        return SOCK_OPT_PASSSEC;
    default:
        return 0;
    }
}

static int timeo_in(const void *value, u32 len, u64 *out)
{
    struct timeval tv;

    if (len < sizeof(tv)) {
        return -EINVAL;
    }
    memcpy(&tv, value, sizeof(tv));
    if (tv.tv_usec < 0 || tv.tv_usec >= 1000000) {
        return -EDOM;
    }
    *out = CLOCK_NEVER;
    if (tv.tv_sec < 0) {
        *out = 0;
    } else if ((tv.tv_sec != 0 || tv.tv_usec != 0) && (u64)tv.tv_sec < UINT32_MAX) {
        *out = (u64)tv.tv_sec * NSEC_PER_SEC + (u64)tv.tv_usec * NSEC_PER_USEC;
    }
    return 0;
}

static struct timeval timeo_out(u64 timeo)
{
    if (timeo == CLOCK_NEVER) {
        return (struct timeval){0};
    }
    return ns_timeval(timeo);
}

/* Twice what was asked for, as Linux keeps it; `force` passes the limit. */
static u32 buffer_size(int value, u32 least, bool force)
{
    u32 v = value < 0 && force ? 0 : (u32)value;

    v = force ? min(v, (u32)INT32_MAX / 2) : min(v, SOCK_BUF_MAX);
    return max(v * 2, least);
}

static int set_buffer(struct socket *s, int name, int value, const struct cred *cred)
{
    bool force = name == SO_SNDBUFFORCE || name == SO_RCVBUFFORCE;

    if (force && !cred_capable(cred, CAP_NET_ADMIN)) {
        return -EPERM;
    }
    if (name == SO_SNDBUF || name == SO_SNDBUFFORCE) {
        s->sndbuf = min(buffer_size(value, SOCK_SEND_MIN, force), 64U << 20);
        if (s->ops->buffers_changed != NULL) {
            s->ops->buffers_changed(s);
        }
    } else {
        s->rcvbuf = min(buffer_size(value, SOCK_RECV_MIN, force), 64U << 20);
    }
    return 0;
}

static int set_linger(struct socket *s, const void *value, u32 len)
{
    struct linger l;

    if (len < sizeof(l)) {
        return -EINVAL;
    }
    memcpy(&l, value, sizeof(l));
    s->linger_on = l.l_onoff != 0;
    s->linger_time = l.l_linger;
    return 0;
}

static int set_word(struct socket *s, int name, int value, const struct cred *cred)
{
    switch (name) {
    case SO_SNDBUF:
    case SO_RCVBUF:
    case SO_SNDBUFFORCE:
    case SO_RCVBUFFORCE:
        return set_buffer(s, name, value, cred);
    case SO_PRIORITY:
        if ((value < 0 || value > 6) && !cred_capable(cred, CAP_NET_ADMIN)) {
            return -EPERM;
        }
        s->priority = (u32)value;
        return 0;
    case SO_MARK:
        if (!cred_capable(cred, CAP_NET_ADMIN)) {
            return -EPERM;
        }
        s->mark = (u32)value;
        return 0;
    case SO_RCVLOWAT:
        s->rcvlowat = value > 0 ? (u32)value : (value < 0 ? (u32)INT32_MAX : 1U);
        return 0;
    default: /* SO_TYPE, SO_ERROR and other read-only ones too */
        return -ENOPROTOOPT;
    }
}

static int set_socket_option(struct socket *s, int name, const void *value, u32 len,
                             const struct cred *cred)
{
    u32 flag = flag_of(name);
    int word;

    if (name == SO_LINGER) {
        return set_linger(s, value, len);
    }
    if (name == SO_RCVTIMEO_OLD || name == SO_RCVTIMEO_NEW) {
        return timeo_in(value, len, &s->rcvtimeo);
    }
    if (name == SO_SNDTIMEO_OLD || name == SO_SNDTIMEO_NEW) {
        return timeo_in(value, len, &s->sndtimeo);
    }
    if (len < sizeof(word)) {
        return -EINVAL;
    }
    memcpy(&word, value, sizeof(word));
    if (flag == 0) {
        return set_word(s, name, word, cred);
    }
    if (name == SO_DEBUG && word != 0 && !cred_capable(cred, CAP_NET_ADMIN)) {
        return -EACCES;
    }
    if (word != 0) {
        __atomic_or_fetch(&s->flags, flag, __ATOMIC_RELAXED);
    } else {
        __atomic_and_fetch(&s->flags, ~flag, __ATOMIC_RELAXED);
    }
    return 0;
}

int socket_setsockopt(struct socket *s, int level, int name, const void *value, u32 len,
                      const struct cred *cred)
{
    if (level == SOL_SOCKET) {
        int err = set_socket_option(s, name, value, len, cred);

        if (err != -ENOPROTOOPT) {
            return err;
        }
    }
    return s->ops->setsockopt != NULL ? s->ops->setsockopt(s, level, name, value, len)
                                      : -ENOPROTOOPT;
}

static int get_word(struct socket *s, int name, int *word)
{
    u32 flag = flag_of(name);

    if (flag != 0) {
        *word = socket_has(s, flag);
        return 0;
    }
    switch (name) {
    case SO_TYPE:
        *word = s->type;
        return 0;
    case SO_DOMAIN:
        *word = s->family;
        return 0;
    case SO_PROTOCOL:
        *word = s->protocol;
        return 0;
    case SO_ERROR:
        *word = s->ops->take_error(s);
        return 0;
    case SO_ACCEPTCONN:
        *word = s->ops->is_listening(s);
        return 0;
    case SO_SNDBUF:
        *word = (int)s->sndbuf;
        return 0;
    case SO_RCVBUF:
        *word = (int)s->rcvbuf;
        return 0;
    case SO_RCVLOWAT:
        *word = (int)s->rcvlowat;
        return 0;
    case SO_SNDLOWAT:
        *word = 1;
        return 0;
    case SO_PRIORITY:
        *word = (int)s->priority;
        return 0;
    case SO_MARK:
        *word = (int)s->mark;
        return 0;
    default:
        return -ENOPROTOOPT;
    }
}

static int reply(void *value, u32 *len, const void *from, u32 size)
{
    *len = min(*len, size);
    memcpy(value, from, *len);
    return 0;
}

static int get_socket_option(struct socket *s, int name, void *value, u32 *len)
{
    struct linger l = {s->linger_on, s->linger_time};
    struct timeval tv;
    int word, err;

    switch (name) {
    case SO_LINGER:
        return reply(value, len, &l, sizeof(l));
    case SO_RCVTIMEO_OLD:
    case SO_RCVTIMEO_NEW:
        tv = timeo_out(s->rcvtimeo);
        return reply(value, len, &tv, sizeof(tv));
    case SO_SNDTIMEO_OLD:
    case SO_SNDTIMEO_NEW:
        tv = timeo_out(s->sndtimeo);
        return reply(value, len, &tv, sizeof(tv));
    default:
        err = get_word(s, name, &word);
        return err != 0 ? err : reply(value, len, &word, sizeof(word));
    }
}

int socket_getsockopt(struct socket *s, int level, int name, void *value, u32 *len)
{
    if (level == SOL_SOCKET) {
        int err = get_socket_option(s, name, value, len);

        if (err != -ENOPROTOOPT) {
            return err;
        }
    }
    return s->ops->getsockopt != NULL ? s->ops->getsockopt(s, level, name, value, len)
                                      : -ENOPROTOOPT;
}
