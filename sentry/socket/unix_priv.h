/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AF_UNIX: what its files share.
 *
 * Locks: u->lock (LOCK_SOCKET_BUF; two by address) covers a socket's state and receive queue.
 * u->read_lock (LOCK_SOCKET) is held by the one reader of a stream while it copies, which lets it
 * use the head of the queue without u->lock: only it takes buffers away, writers append. The table
 * of names has a spin lock of its own, and so has what the garbage collector counts (unix_gc.c).
 */
#ifndef PAVISE_SENTRY_SOCKET_UNIX_PRIV_H
#define PAVISE_SENTRY_SOCKET_UNIX_PRIV_H

#include "base/ref.h"
#include "sentry/socket/socket.h"

#include <sys/un.h>

#define UNIX_DGRAM_QLEN 10U        /* net.unix.max_dgram_qlen */
#define UNIX_CHUNK      (32 * KiB) /* most bytes of a stream in one buffer */
#define UNIX_ADDR_MIN   2U         /* sun_family alone: no name */
#define RCV_SHUTDOWN    1U
#define SEND_SHUTDOWN   2U
#define SHUTDOWN_BOTH   3U

enum unix_state { UNIX_CLOSED, UNIX_LISTEN, UNIX_ESTABLISHED };

/* A name, immutable and counted. */
struct unix_addr {
    struct ref ref;
    u32 len; /* of sun, as getsockname says */
    struct sockaddr_un sun;
};

struct unix_sock;

/* One message, or a piece of a stream. */
struct unix_buf {
    TAILQ_ENTRY(unix_buf) link;
    struct unix_sock *from;  /* counted: whose sndbuf it is charged to */
    struct unix_addr *name;  /* counted: the sender's, or NULL */
    u32 off, len;            /* what is left of data */
    u32 charge;              /* bytes of sndbuf */
    struct scm_files *files; /* owned; counted as in flight */
    struct ucred cred;
    u8 *data; /* heap */
};
TAILQ_HEAD(unix_queue, unix_buf);

struct unix_sock {
    struct ref ref;
    int type;                   /* (c) */
    struct mutex read_lock;     /* LOCK_SOCKET */
    struct mutex lock;          /* LOCK_SOCKET_BUF */
    struct socket *socket;      /* (lock) the open file; NULL before accept and after close */
    enum unix_state state;      /* (lock) */
    bool dead;                  /* (lock) closed */
    u32 shutdown;               /* (lock) RCV_SHUTDOWN | SEND_SHUTDOWN */
    int error;                  /* (lock) SO_ERROR */
    struct unix_sock *peer;     /* (lock) counted */
    struct unix_addr *addr;     /* (lock) counted; set once */
    struct path path;           /* (lock) of a name in the file system */
    struct ucred peer_cred;     /* (lock) */
    bool has_peer_cred;         /* (lock) */
    struct ucred listen_cred;   /* (lock) what clients see as their peer */
    struct unix_queue queue;    /* (lock) received */
    u32 queue_len, queue_bytes; /* (lock) */
    TAILQ_HEAD(embryos, unix_sock) embryos; /* (lock) listener: to be accepted */
    u32 nr_embryos, backlog;                /* (lock) */
    TAILQ_ENTRY(unix_sock) embryo;          /* (listener's lock) */
    _Atomic u32 wmem;                       /* (a) sent and not yet received */
    struct waitq wait;                      /* readers, writers, pollers of this socket */
    struct waitq peer_wait;                 /* who waits for room in this one's queue, or backlog */

    LIST_ENTRY(unix_sock) by_name;              /* (names_lock) abstract names */
    bool is_named;                              /* (names_lock) */
    LIST_ENTRY(unix_sock) all;                  /* (names_lock) */
    LIST_HEAD(unix_clients, unix_sock) clients; /* (clients_lock) datagram sockets connected here */
    LIST_ENTRY(unix_sock) client;               /* (clients_lock) */
    bool is_client;                             /* (clients_lock) */

    /* (gc_lock) unix_gc.c */
    LIST_ENTRY(unix_sock) flying;
    u32 inflight;      /* references to its file in queues */
    struct file *file; /* (c) once it has one; borrowed */
    u64 ino;           /* (c) of that file, for /proc/net/unix */
    s64 gc_refs;
    bool gc_candidate, gc_reachable;
    TAILQ_ENTRY(unix_sock) gc_work;
};

static inline bool unix_is_stream(const struct unix_sock *u)
{
    return u->type == SOCK_STREAM;
}
static inline bool unix_is_connected_type(const struct unix_sock *u)
{
    return u->type != SOCK_DGRAM;
}

/* ---- unix.c ---- */

struct unix_sock *unix_get(struct unix_sock *u);
void unix_put(struct unix_sock *u);
static inline struct unix_sock *unix_of(const struct socket *s)
{
    return s->sk;
}
bool file_is_unix(struct file *f);
void unix_addr_put(struct unix_addr *a);
/* Who listens or receives under a name: counted, or ERR_PTR. */
must_check struct unix_sock *unix_find(const struct sock_addr *addr, int type,
                                       const struct vfs_ctx *ctx);
/* 0 or -EINVAL; *len becomes the length getsockname would say. */
must_check int unix_check_addr(const struct sock_addr *addr, u32 *len);
must_check int unix_autobind(struct unix_sock *u);
struct ucred unix_current_cred(const struct cred *cred);
void unix_wake(struct unix_sock *u, u32 events);
void unix_file_signal(struct unix_sock *u, int code);
/* Free everything in a queue that nobody else sees any more. */
void unix_purge(struct unix_queue *queue);
void unix_buf_free(struct unix_buf *b);
/* Does u have room to send? (unix_writable of Linux) */
bool unix_is_writable(const struct unix_sock *u, u32 sndbuf);
u32 unix_sndbuf(struct unix_sock *u);

/* ---- unix_conn.c ---- */

int unix_connect(struct socket *s, const struct sock_addr *addr, bool nonblock,
                 const struct vfs_ctx *ctx);
int unix_listen(struct socket *s, int backlog);
struct file *unix_accept(struct socket *s, bool nonblock, u32 flags);
void unix_join(struct unix_sock *a, struct unix_sock *b);
void unix_leave_peer(struct unix_sock *u);        /* datagram: no longer a client of its peer */
struct unix_sock *unix_peer(struct unix_sock *u); /* counted or NULL */
struct unix_sock *unix_sock_new(int type);
/* The end of a socket: tells the peer, empties the queue. */
void unix_close(struct unix_sock *u, bool embryo);
/* Datagrams: room came in u's queue. */
void unix_wake_clients(struct unix_sock *u);

/* ---- unix_io.c ---- */

ssize_t unix_send(struct socket *s, struct sock_msg *m, const struct vfs_ctx *ctx);
/* 0, or -ENOTCONN for a sequenced-packet socket without a peer. */
int unix_seqpacket_check(struct unix_sock *u);
ssize_t unix_recv(struct socket *s, struct sock_msg *m); /* unix_recv.c */
u32 unix_poll(struct socket *s, struct poller *p);
long unix_ioctl(struct socket *s, u32 cmd, u64 arg);

/* ---- unix_gc.c ---- */

/* The files of a message go into a queue / leave it. No socket lock is held. -ETOOMANYREFS. */
must_check int unix_inflight_add(const struct scm_files *files, const struct cred *cred);
void unix_inflight_remove(const struct scm_files *files);
/* Free sockets that only sockets in flight refer to. No socket lock is held. */
void unix_gc(void);

extern const struct socket_ops unix_socket_ops;

#endif
