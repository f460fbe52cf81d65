/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AF_UNIX: sending, receiving, readiness.
 *
 * A message is copied from the sender into a buffer of its own, charged to the sender's SO_SNDBUF
 * until it is received, and appended to the receiver's queue under the receiver's lock only.
 * Readers hold u->read_lock while they copy out, so the head of the queue stays; they let go of it
 * to wait.
 *
 * Not done: MSG_OOB (EOPNOTSUPP, as a kernel without CONFIG_AF_UNIX_OOB), SO_PEEK_OFF.
 */
#include "base/clock.h"
#include "base/heap.h"
#include "base/uio.h"
#include "base/usermem.h"
#include "sentry/socket/unix_priv.h"

#include <signal.h>
#include <sys/ioctl.h>

DEFINE_CACHE(unix_buf_cache, struct unix_buf);

/* ---- buffers ---- */

/* What Linux charges for a buffer of len bytes, about: header and rounding. */
static u32 charge_of(u32 len)
{
    return (u32)ALIGN_UP(len + 320, 512U) + 256;
}

void unix_buf_free(struct unix_buf *b)
{
    struct unix_sock *from = b->from;

    if (b->files != NULL) {
        unix_inflight_remove(b->files);
        scm_files_put(b->files);
    }
    unix_addr_put(b->name);
    heap_free(b->data);
    if (from != NULL) {
        atomic_fetch_sub_explicit(&from->wmem, b->charge, memory_order_relaxed);
        if (unix_is_writable(from, unix_sndbuf(from))) {
            unix_wake(from, POLLOUT | POLLWRNORM | POLLWRBAND);
        }
    }
    cache_del(unix_buf_cache, b);
    unix_put(from);
}

void unix_purge(struct unix_queue *queue)
{
    struct unix_buf *b;

    while ((b = TAILQ_FIRST(queue)) != NULL) {
        TAILQ_REMOVE(queue, b, link);
        unix_buf_free(b);
    }
}

/* A buffer with the next `len` bytes of the message. ERR_PTR. */
static struct unix_buf *buf_new(struct unix_sock *u, struct sock_msg *m, u32 len,
                                const struct vfs_ctx *ctx)
{
    struct unix_buf *b = cache_new(unix_buf_cache);
    int err = 0;

    if (b == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    b->data = heap_alloc(max(len, 1U));
    b->len = len;
    b->charge = charge_of(len);
    b->from = unix_get(u);
    atomic_fetch_add_explicit(&u->wmem, b->charge, memory_order_relaxed);
    mutex_lock(&u->lock);
    if (u->addr != NULL) {
        ref_get(&u->addr->ref);
        b->name = u->addr;
    }
    mutex_unlock(&u->lock);
    b->cred = m->scm->has_cred ? m->scm->cred
                               : (struct ucred){.pid = unix_current_cred(ctx->cred).pid,
                                                .uid = ctx->cred->uid,
                                                .gid = ctx->cred->gid};
    if (b->data == NULL) {
        err = -ENOBUFS;
    } else if (len > 0 && uio_take(m->data, b->data, len) != (ssize_t)len) {
        err = -EFAULT;
    } else if (m->scm->files != NULL) {
        err = unix_inflight_add(m->scm->files, ctx->cred);
        if (err == 0) {
            b->files = m->scm->files;
            m->scm->files = NULL;
        }
    }
    if (err != 0) {
        unix_buf_free(b);
        return ERR_PTR(err);
    }
    return b;
}

/* Append; q->lock held. */
static void queue_push(struct unix_sock *q, struct unix_buf *b)
{
    TAILQ_INSERT_TAIL(&q->queue, b, link);
    q->queue_len++;
    q->queue_bytes += b->len;
}

static void tell_reader(struct unix_sock *q)
{
    unix_wake(q, POLLIN | POLLRDNORM);
    unix_file_signal(q, POLL_IN);
}

/* ---- waiting to send ---- */

/* 0 go on, 1 wait, or an error. */
static int send_state(struct unix_sock *u, u32 sndbuf)
{
    int err = 0;

    MUTEX_GUARD(&u->lock);
    if (u->error != 0) {
        err = -u->error;
        u->error = 0;
        return err;
    }
    if ((u->shutdown & SEND_SHUTDOWN) != 0) {
        return -EPIPE;
    }
    return atomic_load_explicit(&u->wmem, memory_order_relaxed) < sndbuf ? 0 : 1;
}

static bool may_send(struct unix_sock *u, u32 sndbuf)
{
    MUTEX_GUARD(&u->lock);
    return u->error != 0 || (u->shutdown & SEND_SHUTDOWN) != 0 ||
           atomic_load_explicit(&u->wmem, memory_order_relaxed) < sndbuf;
}

static int wait_send_room(struct socket *s, u32 flags, u64 deadline)
{
    struct unix_sock *u = unix_of(s);

    for (;;) {
        int err = send_state(u, s->sndbuf);

        if (err <= 0) {
            return err;
        }
        if ((flags & MSG_DONTWAIT) != 0) {
            return -EAGAIN;
        }
        err = waitq_wait_event(&u->wait, may_send(u, s->sndbuf), PARK_INTERRUPTIBLE, deadline);
        if (err != 0) {
            return socket_wait_error(err, s->sndtimeo);
        }
    }
}

/* ---- stream ---- */

static int stream_push(struct unix_sock *u, struct unix_buf *b)
{
    struct unix_sock *peer = unix_peer(u);
    int err = 0;

    if (peer == NULL) {
        return -ENOTCONN;
    }
    mutex_lock(&peer->lock);
    if (peer->dead || (peer->shutdown & RCV_SHUTDOWN) != 0) {
        err = -EPIPE;
    } else {
        queue_push(peer, b);
    }
    mutex_unlock(&peer->lock);
    if (err == 0) {
        tell_reader(peer);
    }
    unix_put(peer);
    return err;
}

static int stream_send_check(struct unix_sock *u, const struct sock_msg *m)
{
    MUTEX_GUARD(&u->lock);
    if (m->name != NULL) {
        return u->state == UNIX_ESTABLISHED ? -EISCONN : -EOPNOTSUPP;
    }
    if (u->peer == NULL) {
        return -ENOTCONN;
    }
    return (u->shutdown & SEND_SHUTDOWN) != 0 ? -EPIPE : 0;
}

static ssize_t stream_send(struct socket *s, struct sock_msg *m, const struct vfs_ctx *ctx)
{
    struct unix_sock *u = unix_of(s);
    u64 deadline = socket_deadline(s->sndtimeo);
    int err = stream_send_check(u, m);
    ssize_t sent = 0;

    while (err == 0 && uio_left(m->data) > 0) {
        u32 half = s->sndbuf / 2 - 64;
        u32 len = (u32)min(uio_left(m->data), (u64)min(half, (u32)UNIX_CHUNK));
        struct unix_buf *b;

        err = wait_send_room(s, m->flags, deadline);
        if (err != 0) {
            break;
        }
        b = buf_new(u, m, len, ctx);
        if (IS_ERR(b)) {
            err = (int)PTR_ERR(b);
            break;
        }
        err = stream_push(u, b);
        if (err != 0) {
            unix_buf_free(b);
            break;
        }
        sent += len;
    }
    return sent > 0 ? sent : err;
}

/* ---- datagram and seqpacket ---- */

static bool has_queue_room(struct unix_sock *q)
{
    MUTEX_GUARD(&q->lock);
    return q->dead || (q->shutdown & RCV_SHUTDOWN) != 0 || q->queue_len <= UNIX_DGRAM_QLEN;
}

/* The receiver: the name's, or the peer. Counted. */
static struct unix_sock *dgram_target(struct unix_sock *u, const struct sock_msg *m,
                                      const struct vfs_ctx *ctx)
{
    struct unix_sock *peer;

    if (m->name != NULL && !unix_is_connected_type(u)) {
        return unix_find(m->name, u->type, ctx);
    }
    peer = unix_peer(u);
    return peer != NULL ? peer : ERR_PTR(-ENOTCONN);
}

/* 0 sent, 1 the queue is full, or an error. */
static int dgram_push(struct unix_sock *u, struct unix_sock *to, struct unix_buf *b)
{
    MUTEX_GUARD(&to->lock);
    if (to->dead) {
        return unix_is_connected_type(u) ? -EPIPE : -ECONNREFUSED;
    }
    if (!unix_is_connected_type(u) && to->peer != NULL && to->peer != u) {
        return -EPERM;
    }
    if ((to->shutdown & RCV_SHUTDOWN) != 0) {
        return -EPIPE;
    }
    if (to->peer != u && to->queue_len > UNIX_DGRAM_QLEN) {
        return 1;
    }
    queue_push(to, b);
    return 0;
}

/* A connected datagram socket whose peer is dead is connected no more. */
static void forget_dead_peer(struct unix_sock *u, struct unix_sock *to)
{
    bool was_peer;

    mutex_lock(&u->lock);
    was_peer = u->peer == to;
    if (was_peer) {
        unix_leave_peer(u);
        u->peer = NULL;
        u->state = UNIX_CLOSED;
    }
    mutex_unlock(&u->lock);
    if (was_peer) {
        unix_put(to);
    }
}

static int dgram_deliver(struct socket *s, struct unix_sock *to, struct unix_buf *b, u32 flags,
                         u64 deadline)
{
    struct unix_sock *u = unix_of(s);
    int err;

    while ((err = dgram_push(u, to, b)) == 1) {
        if ((flags & MSG_DONTWAIT) != 0) {
            return -EAGAIN;
        }
        err = waitq_wait_event(&to->peer_wait, has_queue_room(to), PARK_INTERRUPTIBLE, deadline);
        if (err != 0) {
            return socket_wait_error(err, s->sndtimeo);
        }
    }
    if (err == 0) {
        tell_reader(to);
    } else if (err == -ECONNREFUSED) {
        forget_dead_peer(u, to);
    }
    return err;
}

static int seqpacket_check(struct unix_sock *u)
{
    MUTEX_GUARD(&u->lock);
    return u->type == SOCK_SEQPACKET && u->state != UNIX_ESTABLISHED ? -ENOTCONN : 0;
}

static ssize_t dgram_send(struct socket *s, struct sock_msg *m, const struct vfs_ctx *ctx)
{
    struct unix_sock *u = unix_of(s), *to;
    u64 deadline = socket_deadline(s->sndtimeo);
    u64 len = uio_left(m->data);
    struct unix_buf *b;
    int err = seqpacket_check(u);

    if (err == 0 && socket_has(s, SOCK_OPT_PASSCRED)) {
        err = unix_autobind(u);
    }
    if (err == 0 && len > s->sndbuf - 32) {
        err = -EMSGSIZE;
    }
    if (err != 0) {
        return err;
    }
    to = dgram_target(u, m, ctx);
    if (IS_ERR(to)) {
        return PTR_ERR(to);
    }
    err = wait_send_room(s, m->flags, deadline);
    if (err == 0) {
        b = buf_new(u, m, (u32)len, ctx);
        err = IS_ERR(b) ? (int)PTR_ERR(b) : dgram_deliver(s, to, b, m->flags, deadline);
        if (err != 0 && !IS_ERR(b)) {
            unix_buf_free(b);
        }
    }
    unix_put(to);
    return err != 0 ? err : (ssize_t)len;
}

ssize_t unix_send(struct socket *s, struct sock_msg *m, const struct vfs_ctx *ctx)
{
    if ((m->flags & MSG_OOB) != 0) {
        return -EOPNOTSUPP;
    }
    return s->type == SOCK_STREAM ? stream_send(s, m, ctx) : dgram_send(s, m, ctx);
}

/* ---- receiving ---- */

/* 0 something is there, 1 wait, 2 the end, or an error. */
static int recv_state(struct unix_sock *u)
{
    int err = 0;

    MUTEX_GUARD(&u->lock);
    if (!TAILQ_EMPTY(&u->queue)) {
        return 0;
    }
    if (u->error != 0) {
        err = -u->error;
        u->error = 0;
        return err;
    }
    return (u->shutdown & RCV_SHUTDOWN) != 0 ? 2 : 1;
}

static bool can_recv(struct unix_sock *u)
{
    MUTEX_GUARD(&u->lock);
    return !TAILQ_EMPTY(&u->queue) || u->error != 0 || (u->shutdown & RCV_SHUTDOWN) != 0;
}

/* Come back with read_lock held and the queue not empty: 0. Without it: 2 the end, or an error. */
static int recv_begin(struct socket *s, u32 flags, u64 deadline)
{
    struct unix_sock *u = unix_of(s);

    for (;;) {
        int state;

        mutex_lock(&u->read_lock);
        state = recv_state(u);
        if (state == 0) {
            return 0;
        }
        mutex_unlock(&u->read_lock);
        if (state != 1) {
            return state;
        }
        if ((flags & MSG_DONTWAIT) != 0) {
            return -EAGAIN;
        }
        state = waitq_wait_event(&u->wait, can_recv(u), PARK_INTERRUPTIBLE, deadline);
        if (state != 0) {
            return socket_wait_error(state, s->rcvtimeo);
        }
    }
}

static struct unix_buf *queue_next(struct unix_sock *u, struct unix_buf *after)
{
    MUTEX_GUARD(&u->lock);
    return after != NULL ? TAILQ_NEXT(after, link) : TAILQ_FIRST(&u->queue);
}

/* Take a buffer off; read_lock held. */
static void queue_remove(struct unix_sock *u, struct unix_buf *b)
{
    MUTEX_GUARD(&u->lock);
    TAILQ_REMOVE(&u->queue, b, link);
    u->queue_len--;
    u->queue_bytes -= b->len;
}

static void put_name(struct sock_msg *m, const struct unix_buf *b)
{
    if (m->name == NULL) {
        return;
    }
    m->name->len = 0;
    if (b->name != NULL) {
        m->name->len = b->name->len;
        memset(&m->name->ss, 0, sizeof(m->name->ss));
        memcpy(&m->name->ss, &b->name->sun, min(b->name->len, (u32)sizeof(b->name->sun)));
    }
}

/* Hand over the descriptors: moved, or copied by a peek. */
static int take_files(struct unix_buf *b, struct scm *scm, bool peek)
{
    struct scm_files *files;

    if (b->files == NULL || scm->files != NULL) {
        return 0;
    }
    if (peek) {
        files = scm_files_dup(b->files);
        if (IS_ERR(files)) {
            return (int)PTR_ERR(files);
        }
        scm->files = files;
        return 0;
    }
    unix_inflight_remove(b->files);
    scm->files = b->files;
    b->files = NULL;
    return 0;
}

static ssize_t dgram_recv(struct socket *s, struct sock_msg *m)
{
    struct unix_sock *u = unix_of(s);
    bool peek = (m->flags & MSG_PEEK) != 0;
    struct unix_buf *b;
    ssize_t n = 0, ret;
    int err = seqpacket_check(u);

    if (err == 0) {
        err = recv_begin(s, m->flags, socket_deadline(s->rcvtimeo));
    }
    if (err != 0) {
        return err == 2 ? 0 : err;
    }
    b = queue_next(u, NULL);
    put_name(m, b);
    m->out_flags |= b->len > uio_left(m->data) ? MSG_TRUNC : 0;
    if (b->len > 0 && uio_left(m->data) > 0) {
        n = uio_put(m->data, b->data, min((u64)b->len, (u64)uio_left(m->data)));
    }
    m->scm->cred = b->cred;
    m->scm->has_cred = socket_has(s, SOCK_OPT_PASSCRED);
    ret = (m->flags & MSG_TRUNC) != 0 ? (ssize_t)b->len : n;
    if (!peek) {
        queue_remove(u, b);
    }
    err = take_files(b, m->scm, peek);
    mutex_unlock(&u->read_lock);
    if (!peek) {
        unix_buf_free(b);
        unix_wake_clients(u);
    }
    return n < 0 ? n : (err != 0 ? err : ret);
}

struct stream_read {
    struct sock_msg *m;
    bool peek, passcred;
    bool has_cred; /* one message's were seen: only the same go on */
    ssize_t done;
};

static bool same_cred(const struct ucred *a, const struct ucred *b)
{
    return a->pid == b->pid && a->uid == b->uid && a->gid == b->gid;
}

/* Copy what one buffer gives. 0 go on with the next, 1 stop here, or an error. */
static int stream_read_buf(struct unix_sock *u, struct unix_buf *b, struct stream_read *r)
{
    struct scm *scm = r->m->scm;
    u32 want = (u32)min((u64)b->len, (u64)uio_left(r->m->data));
    bool had_files = b->files != NULL;
    ssize_t n;
    int err;

    if (r->has_cred && r->passcred && !same_cred(&scm->cred, &b->cred)) {
        return 1; /* never glue the bytes of two senders together */
    }
    if (!r->has_cred) {
        put_name(r->m, b);
        scm->cred = b->cred;
        scm->has_cred = r->passcred;
        r->has_cred = true;
    }
    n = uio_put(r->m->data, b->data + b->off, want);
    if (n < 0) {
        return (int)n;
    }
    r->done += n;
    err = take_files(b, scm, r->peek);
    if (r->peek) {
        return err != 0 ? err : (had_files ? 1 : 0);
    }
    mutex_lock(&u->lock);
    b->off += (u32)n;
    b->len -= (u32)n;
    u->queue_bytes -= (u32)n;
    mutex_unlock(&u->lock);
    if (b->len > 0) {
        return 1;
    }
    queue_remove(u, b);
    unix_buf_free(b);
    return had_files ? 1 : 0;
}

/* Read what is there; read_lock held. 1: do not wait for more. */
static int stream_read_queue(struct unix_sock *u, struct stream_read *r)
{
    struct unix_buf *b = NULL;
    int stop = 0;

    while (stop == 0 && uio_left(r->m->data) > 0) {
        b = queue_next(u, r->peek ? b : NULL);
        if (b == NULL) {
            return r->peek && r->done > 0 ? 1 : 0;
        }
        stop = stream_read_buf(u, b, r);
    }
    return stop;
}

static ssize_t stream_recv(struct socket *s, struct sock_msg *m)
{
    struct unix_sock *u = unix_of(s);
    struct stream_read r = {
        .m = m, .peek = (m->flags & MSG_PEEK) != 0, .passcred = socket_has(s, SOCK_OPT_PASSCRED)};
    u64 deadline = socket_deadline(s->rcvtimeo);
    ssize_t target = (m->flags & MSG_WAITALL) != 0
                         ? (ssize_t)uio_left(m->data)
                         : (ssize_t)min((u64)s->rcvlowat, (u64)uio_left(m->data));
    int err;

    mutex_lock(&u->lock);
    err = u->state != UNIX_ESTABLISHED ? -EINVAL : 0;
    mutex_unlock(&u->lock);
    while (err == 0 && uio_left(m->data) > 0) {
        err = recv_begin(s, m->flags, deadline);
        if (err != 0) {
            break;
        }
        err = stream_read_queue(u, &r);
        mutex_unlock(&u->read_lock);
        if (r.done >= target) {
            break;
        }
    }
    return r.done > 0 || err > 0 ? r.done : err;
}

ssize_t unix_recv(struct socket *s, struct sock_msg *m)
{
    if ((m->flags & MSG_OOB) != 0) {
        return -EOPNOTSUPP;
    }
    return s->type == SOCK_STREAM ? stream_recv(s, m) : dgram_recv(s, m);
}

/* ---- readiness ---- */

/* May a connected datagram socket write to its peer's queue now? */
static bool peer_has_room(struct unix_sock *u)
{
    struct unix_sock *peer = unix_peer(u);
    bool room = true;

    if (peer != NULL) {
        mutex_lock(&peer->lock);
        room = peer->peer == u || peer->queue_len <= UNIX_DGRAM_QLEN || peer->dead;
        mutex_unlock(&peer->lock);
        unix_put(peer);
    }
    return room;
}

u32 unix_poll(struct socket *s, struct poller *p)
{
    struct unix_sock *u = unix_of(s);
    bool writable;
    u32 mask = 0;

    poller_add(p, &u->wait);
    mutex_lock(&u->lock);
    mask |= u->error != 0 ? POLLERR : 0;
    mask |= u->shutdown == SHUTDOWN_BOTH ? POLLHUP : 0;
    mask |= (u->shutdown & RCV_SHUTDOWN) != 0 ? POLLRDHUP | POLLIN | POLLRDNORM : 0;
    mask |= !TAILQ_EMPTY(&u->queue) || u->nr_embryos > 0 ? POLLIN | POLLRDNORM : 0;
    mask |= unix_is_connected_type(u) && u->state == UNIX_CLOSED ? POLLHUP : 0;
    writable = unix_is_writable(u, s->sndbuf);
    mutex_unlock(&u->lock);
    if (writable && u->type == SOCK_DGRAM) {
        writable = peer_has_room(u);
    }
    return mask | (writable ? POLLOUT | POLLWRNORM | POLLWRBAND : 0);
}

long unix_ioctl(struct socket *s, u32 cmd, u64 arg)
{
    struct unix_sock *u = unix_of(s);
    struct unix_buf *b;
    int value;

    switch (cmd) {
    case FIONREAD:
        mutex_lock(&u->lock);
        b = TAILQ_FIRST(&u->queue);
        value = u->state == UNIX_LISTEN ? -EINVAL
                : u->type != SOCK_DGRAM ? (int)u->queue_bytes
                                        : (b != NULL ? (int)b->len : 0);
        mutex_unlock(&u->lock);
        break;
    case TIOCOUTQ:
        value = (int)atomic_load_explicit(&u->wmem, memory_order_relaxed);
        break;
    default:
        return -ENOTTY;
    }
    return value < 0 ? value : copy_out(arg, &value, sizeof(value));
}
