/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AF_UNIX: connections. connect(2) makes the server's half at once and puts it, connected, on the
 * listener's list of embryos; accept(2) gives it a file. So a client can write before it is
 * accepted.
 *
 * A closed socket stays as long as its peer refers to it: the peer finds it dead. Datagram sockets
 * that are connected are listed at their peer, so that room in its queue wakes their pollers.
 */
#include "base/clock.h"
#include "sentry/socket/unix_priv.h"
#include "vfs/hooks.h"

#include <signal.h>

#define SOMAXCONN_LIMIT 4096U

static struct spinlock clients_lock; /* leaf, inside u->lock */

struct unix_sock *unix_peer(struct unix_sock *u)
{
    MUTEX_GUARD(&u->lock);
    return u->peer != NULL ? unix_get(u->peer) : NULL;
}

/* ---- datagram clients ---- */

/* u->lock held, or u not yet visible. */
static void enter_client(struct unix_sock *u, struct unix_sock *peer)
{
    SPIN_GUARD(&clients_lock);
    LIST_INSERT_HEAD(&peer->clients, u, client);
    u->is_client = true;
}

void unix_leave_peer(struct unix_sock *u)
{
    SPIN_GUARD(&clients_lock);
    if (u->is_client) {
        LIST_REMOVE(u, client);
        u->is_client = false;
    }
}

void unix_wake_clients(struct unix_sock *u)
{
    struct unix_sock *c;

    waitq_wake_all(&u->peer_wait);
    SPIN_GUARD(&clients_lock);
    LIST_FOREACH (c, &u->clients, client) {
        unix_wake(c, POLLOUT | POLLWRNORM | POLLWRBAND);
    }
}

/* Two sockets that nobody else uses yet (socketpair). */
void unix_join(struct unix_sock *a, struct unix_sock *b)
{
    a->peer = unix_get(b);
    b->peer = unix_get(a);
    a->state = b->state = UNIX_ESTABLISHED;
    if (!unix_is_connected_type(a)) {
        enter_client(a, b);
        enter_client(b, a);
    }
}

/* ---- connect ---- */

static int connect_dgram(struct unix_sock *u, const struct sock_addr *addr,
                         const struct vfs_ctx *ctx)
{
    struct unix_sock *other = NULL, *old;
    int err = 0;

    if (addr->family != AF_UNSPEC) {
        other = unix_find(addr, u->type, ctx);
        if (IS_ERR(other)) {
            return (int)PTR_ERR(other);
        }
        mutex_lock_two(&u->lock, &other->lock);
        if (other->dead) {
            err = -ECONNREFUSED;
        } else if (other->peer != NULL && other->peer != u) {
            err = -EPERM;
        }
    } else {
        mutex_lock(&u->lock);
    }
    old = err == 0 ? u->peer : NULL;
    if (err == 0) {
        unix_leave_peer(u);
        u->peer = other != NULL ? unix_get(other) : NULL;
        u->state = other != NULL ? UNIX_ESTABLISHED : UNIX_CLOSED;
        if (other != NULL) {
            enter_client(u, other);
        }
    }
    if (other != NULL) {
        mutex_unlock_two(&u->lock, &other->lock);
    } else {
        mutex_unlock(&u->lock);
    }
    if (old != NULL && old != other) {
        unix_wake(old, 0);
    }
    unix_put(old);
    unix_put(other);
    return err;
}

static bool has_backlog_room(struct unix_sock *l)
{
    MUTEX_GUARD(&l->lock);
    return l->dead || l->state != UNIX_LISTEN || l->nr_embryos <= l->backlog ||
           (l->shutdown & RCV_SHUTDOWN) != 0;
}

/* The listener and the client are locked: 0 connected, -EAGAIN the backlog is full, or an error. */
static int connect_locked(struct unix_sock *u, struct unix_sock *l, struct unix_sock *half,
                          const struct ucred *cred)
{
    if (l->dead || l->state != UNIX_LISTEN || (l->shutdown & RCV_SHUTDOWN) != 0) {
        return -ECONNREFUSED;
    }
    if (u->state != UNIX_CLOSED) {
        return u->state == UNIX_ESTABLISHED ? -EISCONN : -EINVAL;
    }
    if (l->nr_embryos > l->backlog) {
        return -EAGAIN;
    }
    half->peer = unix_get(u);
    half->state = UNIX_ESTABLISHED;
    half->peer_cred = *cred;
    half->has_peer_cred = true;
    if (l->addr != NULL) {
        ref_get(&l->addr->ref);
        half->addr = l->addr;
    }
    u->peer = unix_get(half);
    u->state = UNIX_ESTABLISHED;
    u->peer_cred = l->listen_cred;
    u->has_peer_cred = true;
    TAILQ_INSERT_TAIL(&l->embryos, half, embryo); /* with our reference */
    l->nr_embryos++;
    return 0;
}

static int connect_stream(struct socket *s, struct unix_sock *half, const struct sock_addr *addr,
                          u64 timeo, const struct vfs_ctx *ctx)
{
    struct ucred cred = unix_current_cred(ctx->cred);
    u64 deadline = timeo == 0 ? 0 : socket_deadline(timeo);
    struct unix_sock *u = unix_of(s);

    for (;;) {
        struct unix_sock *l = unix_find(addr, u->type, ctx);
        int err;

        if (IS_ERR(l)) {
            return (int)PTR_ERR(l);
        }
        mutex_lock_two(&u->lock, &l->lock);
        err = connect_locked(u, l, half, &cred);
        mutex_unlock_two(&u->lock, &l->lock);
        if (err == 0) {
            unix_wake(l, POLLIN | POLLRDNORM);
            unix_file_signal(l, POLL_IN);
        } else if (err == -EAGAIN && timeo != 0) {
            err =
                waitq_wait_event(&l->peer_wait, has_backlog_room(l), PARK_INTERRUPTIBLE, deadline);
            err = err != 0 ? socket_wait_error(err, timeo) : 1;
        }
        unix_put(l);
        if (err <= 0) {
            return err;
        }
    }
}

int unix_connect(struct socket *s, const struct sock_addr *addr, bool nonblock,
                 const struct vfs_ctx *ctx)
{
    struct unix_sock *u = unix_of(s), *half;
    int err = 0;

    if (socket_has(s, SOCK_OPT_PASSCRED)) {
        err = unix_autobind(u);
    }
    if (err != 0) {
        return err;
    }
    if (!unix_is_connected_type(u)) {
        return connect_dgram(u, addr, ctx);
    }
    mutex_lock(&u->lock);
    err = u->state == UNIX_ESTABLISHED ? -EISCONN : (u->state == UNIX_LISTEN ? -EINVAL : 0);
    mutex_unlock(&u->lock);
    if (err != 0) {
        return err;
    }
    half = unix_sock_new(u->type);
    if (half == NULL) {
        return -ENOMEM;
    }
    err = connect_stream(s, half, addr, nonblock ? 0 : s->sndtimeo, ctx);
    if (err != 0) {
        unix_put(half);
    }
    return err;
}

/* ---- listen, accept ---- */

int unix_listen(struct socket *s, int backlog)
{
    struct unix_sock *u = unix_of(s);
    int err = 0;

    if (!unix_is_connected_type(u)) {
        return -EOPNOTSUPP;
    }
    mutex_lock(&u->lock);
    if (u->addr == NULL || u->state == UNIX_ESTABLISHED) {
        err = -EINVAL;
    } else {
        u->backlog = min((u32)backlog, SOMAXCONN_LIMIT);
        u->state = UNIX_LISTEN;
        u->listen_cred = unix_current_cred(s->f.cred);
    }
    mutex_unlock(&u->lock);
    if (err == 0) {
        waitq_wake_all(&u->peer_wait);
    }
    return err;
}

/* The first embryo, with its reference; NULL none. *err: -EINVAL when u does not listen. */
static struct unix_sock *take_embryo(struct unix_sock *u, int *err)
{
    struct unix_sock *e;

    MUTEX_GUARD(&u->lock);
    *err = u->state != UNIX_LISTEN || (u->shutdown & RCV_SHUTDOWN) != 0 ? -EINVAL : 0;
    e = *err == 0 ? TAILQ_FIRST(&u->embryos) : NULL;
    if (e != NULL) {
        TAILQ_REMOVE(&u->embryos, e, embryo);
        u->nr_embryos--;
    }
    return e;
}

static bool can_accept(struct unix_sock *u)
{
    MUTEX_GUARD(&u->lock);
    return u->nr_embryos > 0 || u->state != UNIX_LISTEN || u->shutdown != 0;
}

static struct file *embryo_file(struct socket *s, struct unix_sock *e, u32 flags)
{
    struct file *f = socket_file_new(&unix_socket_ops, AF_UNIX, e->type, 0, e, flags, s->f.cred);

    if (IS_ERR(f)) {
        unix_close(e, true);
        unix_put(e);
        return f;
    }
    socket_of(f)->flags = s->flags & (SOCK_OPT_PASSCRED | SOCK_OPT_PASSSEC);
    mutex_lock(&e->lock);
    e->file = f;
    e->ino = f->inode->ino;
    e->socket = socket_of(f);
    mutex_unlock(&e->lock);
    return f;
}

struct file *unix_accept(struct socket *s, bool nonblock, u32 flags)
{
    struct unix_sock *u = unix_of(s), *e;
    u64 timeo = nonblock ? 0 : s->rcvtimeo;
    u64 deadline = timeo == 0 ? 0 : socket_deadline(timeo);
    int err;

    if (!unix_is_connected_type(u)) {
        return ERR_PTR(-EOPNOTSUPP);
    }
    while ((e = take_embryo(u, &err)) == NULL) {
        if (err == 0 && timeo == 0) {
            err = -EAGAIN;
        }
        if (err == 0) {
            err = waitq_wait_event(&u->wait, can_accept(u), PARK_INTERRUPTIBLE, deadline);
            err = socket_wait_error(err, timeo);
        }
        if (err != 0) {
            return ERR_PTR(err);
        }
    }
    waitq_wake_all(&u->peer_wait);
    return embryo_file(s, e, flags);
}

/* ---- the end ---- */

static void tell_peer(struct unix_sock *peer, bool reset)
{
    mutex_lock(&peer->lock);
    peer->shutdown = SHUTDOWN_BOTH;
    if (reset) {
        peer->error = ECONNRESET;
    }
    mutex_unlock(&peer->lock);
    unix_wake(peer, 0);
    unix_file_signal(peer, POLL_HUP);
}

void unix_close(struct unix_sock *u, bool embryo)
{
    struct unix_queue queue = TAILQ_HEAD_INITIALIZER(queue);
    struct unix_sock *peer, *e;
    bool unread;

    mutex_lock(&u->lock);
    u->dead = true;
    u->state = UNIX_CLOSED;
    u->shutdown = SHUTDOWN_BOTH;
    peer = u->peer;
    u->peer = NULL;
    unix_leave_peer(u);
    unread = !TAILQ_EMPTY(&u->queue);
    TAILQ_CONCAT(&queue, &u->queue, link);
    u->queue_len = u->queue_bytes = 0;
    mutex_unlock(&u->lock);
    unix_wake(u, 0);
    unix_wake_clients(u);
    if (peer != NULL) {
        if (unix_is_connected_type(u)) {
            tell_peer(peer, unread || embryo);
        }
        unix_put(peer);
    }
    /* Nobody adds an embryo or a message to a dead socket. */
    while ((e = TAILQ_FIRST(&u->embryos)) != NULL) {
        TAILQ_REMOVE(&u->embryos, e, embryo);
        unix_close(e, true);
        unix_put(e);
    }
    unix_purge(&queue);
}
