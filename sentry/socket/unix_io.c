/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AF_UNIX: messages, sending, readiness. Receiving is in unix_recv.c.
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

int unix_seqpacket_check(struct unix_sock *u)
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
    int err = unix_seqpacket_check(u);

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
