/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AF_UNIX: receiving. The reader holds u->read_lock while it copies, so the head of the queue stays
 * where it is; it lets go of the lock to wait. See unix_io.c.
 */
#include "base/clock.h"
#include "base/uio.h"
#include "sentry/socket/unix_priv.h"

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
    int err = unix_seqpacket_check(u);

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
