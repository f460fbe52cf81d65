/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets as files: what every address family shares (the open file, the SOL_SOCKET options, the
 * argument structures) and the op table that a family fills. System calls go through socket_*; a
 * family is added in the table of socket.c.
 */
#ifndef PAVISE_SENTRY_SOCKET_SOCKET_H
#define PAVISE_SENTRY_SOCKET_SOCKET_H

#include "base/base.h"
#include "base/err.h"
#include "vfs/fasync.h"
#include "vfs/vfs.h"

#include <sys/socket.h>

struct seqbuf;
struct socket;

#define SCM_MAX_FD    253U    /* descriptors in one message */
#define SOCK_BUF_MAX  212992U /* net.core.[rw]mem_max and defaults */
#define SOCK_SEND_MIN 4608U
#define SOCK_RECV_MIN 2304U

/* An address, copied in or to be copied out. */
struct sock_addr {
    u32 len;
    union {
        sa_family_t family;
        struct sockaddr_storage ss;
        u8 bytes[sizeof(struct sockaddr_storage)];
    };
};

/* Descriptors that travel: counted references. Heap object, owned by one message. */
struct scm_files {
    u32 count;
    struct file *files[SCM_MAX_FD];
    struct scm_files *next; /* (socket/scm.c) waiting to be put */
};

/* Ancillary data of one message. */
struct scm {
    struct scm_files *files; /* owned, or NULL */
    struct ucred cred;       /* of the sender */
    bool has_cred;           /* recv: is to be delivered */
};

struct sock_msg {
    struct uio *data;
    struct sock_addr *name; /* send: NULL or the destination; recv: NULL or where the source goes */
    struct scm *scm;        /* never NULL */
    u32 flags;              /* MSG_* of the call, MSG_DONTWAIT for O_NONBLOCK included */
    u32 out_flags;          /* recv: MSG_TRUNC, MSG_EOR, MSG_CTRUNC ... */
};

/*
 * All may park; none is called with a lock held; -ERESTARTSYS when interrupted while waiting
 * without a time-out, -EINTR with one.
 */
struct socket_ops {
    const char *name;
    int (*bind)(struct socket *s, const struct sock_addr *addr, const struct vfs_ctx *ctx);
    int (*connect)(struct socket *s, const struct sock_addr *addr, bool nonblock,
                   const struct vfs_ctx *ctx);
    int (*listen)(struct socket *s, int backlog);
    struct file *(*accept)(struct socket *s, bool nonblock, u32 flags); /* O_NONBLOCK; ERR_PTR */
    int (*getname)(struct socket *s, struct sock_addr *out, bool peer);
    ssize_t (*send)(struct socket *s, struct sock_msg *m, const struct vfs_ctx *ctx);
    ssize_t (*recv)(struct socket *s, struct sock_msg *m);
    int (*shutdown)(struct socket *s, int how); /* SHUT_* */
    /* Options that socket.c does not serve itself: -ENOPROTOOPT. *len: room, then used. */
    int (*setsockopt)(struct socket *s, int level, int name, const void *value, u32 len);
    int (*getsockopt)(struct socket *s, int level, int name, void *value, u32 *len);
    long (*ioctl)(struct socket *s, u32 cmd, u64 arg);
    u32 (*poll)(struct socket *s, struct poller *p);
    int (*take_error)(struct socket *s); /* SO_ERROR: > 0, and clears it */
    bool (*is_listening)(struct socket *s);
    void (*buffers_changed)(struct socket *s); /* sndbuf grew: wake writers. May be NULL */
    /* The file goes: free everything of the family; the memory of struct socket is freed after. */
    void (*release)(struct socket *s);
};

/* The open file. A family embeds nothing: its part hangs at `sk`. */
struct socket {
    struct file f;
    const struct socket_ops *ops; /* (c) */
    int family, type, protocol;   /* (c) */
    void *sk;                     /* (c) */
    /* SOL_SOCKET options; words of their own, read and written whole. */
    u32 sndbuf, rcvbuf, rcvlowat, priority, mark;
    s32 linger_on, linger_time;
    u64 rcvtimeo, sndtimeo; /* ns; CLOCK_NEVER */
    u32 flags;              /* SOCK_OPT_* (a) */
    struct fasync_list fasync;
};

#define SOCK_OPT_REUSEADDR   1U
#define SOCK_OPT_REUSEPORT   2U
#define SOCK_OPT_KEEPALIVE   4U
#define SOCK_OPT_BROADCAST   8U
#define SOCK_OPT_OOBINLINE   16U
#define SOCK_OPT_DONTROUTE   32U
#define SOCK_OPT_DEBUG       64U
#define SOCK_OPT_NO_CHECK    128U
#define SOCK_OPT_TIMESTAMP   256U
#define SOCK_OPT_TIMESTAMPNS 512U
#define SOCK_OPT_PASSCRED    1024U
#define SOCK_OPT_PASSSEC     2048U

static inline bool socket_has(const struct socket *s, u32 opt)
{
    return (__atomic_load_n(&s->flags, __ATOMIC_RELAXED) & opt) != 0;
}

/* The socket behind a file, or NULL (-ENOTSOCK). Borrowed from the file. */
struct socket *socket_of(struct file *f);

/* socket(2): type without SOCK_* flags; flags: O_NONBLOCK. ERR_PTR. */
must_check struct file *socket_create(int family, int type, int protocol, u32 flags,
                                      const struct cred *cred);
must_check int socket_create_pair(int family, int type, int protocol, u32 flags,
                                  const struct cred *cred, struct file *out[2]);

/* For families: a file for `sk` (taken over on success only) with default options. */
must_check struct file *socket_file_new(const struct socket_ops *ops, int family, int type,
                                        int protocol, void *sk, u32 flags, const struct cred *cred);

/* SOL_SOCKET here, the rest by the family. value is kernel memory of len bytes. */
must_check int socket_setsockopt(struct socket *s, int level, int name, const void *value, u32 len,
                                 const struct cred *cred);
#define SOCKOPT_MAX 1024U /* most bytes of any option */
must_check int socket_getsockopt(struct socket *s, int level, int name, void *value, u32 *len);

/* The monotonic deadline of a wait with SO_RCVTIMEO or SO_SNDTIMEO. */
u64 socket_deadline(u64 timeo);
/* What an interrupted or timed-out wait returns. */
int socket_wait_error(int err, u64 timeo);

/* ---- scm.c ---- */

/* A copy that counts every file again; ERR_PTR(-ENOMEM), NULL for NULL. */
must_check struct scm_files *scm_files_dup(const struct scm_files *files);
must_check struct scm_files *scm_files_new(void);
/* Put every file and free. Puts run one after the other, never inside each other, so that chains of
 * sockets in flight cannot exhaust the stack. NULL allowed. */
void scm_files_put(struct scm_files *files);

/* ---- unix ---- */

must_check struct file *unix_create(int type, int protocol, u32 flags, const struct cred *cred);
must_check int unix_create_pair(int type, int protocol, u32 flags, const struct cred *cred,
                                struct file *out[2]);
/* The text of /proc/net/unix. */
int unix_show(struct seqbuf *s);

#endif
