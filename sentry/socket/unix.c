/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AF_UNIX: the life of sockets, their names, and the small operations (unix(7)).
 *
 * Life: a struct unix_sock is counted by its open file, by its peer, by messages that it sent, and
 * (before accept) by its listener. A name in the file system is an inode whose `special` points to
 * the socket without counting it: the socket holds the path, so the inode stays, and takes itself
 * off it when it is closed. An abstract name is an entry in a hash table by the same rule.
 */
#include "base/hash.h"
#include "base/heap.h"
#include "sentry/socket/unix_priv.h"
#include "vfs/dentry.h"
#include "vfs/hooks.h"
#include "vfs/namei.h"
#include "vfs/pseudo.h"

#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

#define NAME_BUCKETS 256U
#define SUN_PATH_OFF offsetof(struct sockaddr_un, sun_path)

DEFINE_CACHE(unix_sock_cache, struct unix_sock);
DEFINE_CACHE(unix_addr_cache, struct unix_addr);
LIST_HEAD(unix_list, unix_sock);

/* Tables of all sockets; they hold no references. */
static struct spinlock names_lock; /* leaf */
static struct unix_list names[NAME_BUCKETS];
static struct unix_list all_socks = LIST_HEAD_INITIALIZER(all_socks);
static _Atomic u32 next_autobind;

/* ---- life ---- */

struct unix_sock *unix_sock_new(int type)
{
    struct unix_sock *u = cache_new(unix_sock_cache);

    if (u == NULL) {
        return NULL;
    }
    ref_init(&u->ref);
    u->type = type;
    mutex_init(&u->read_lock, LOCK_SOCKET);
    mutex_init(&u->lock, LOCK_SOCKET_BUF);
    TAILQ_INIT(&u->queue);
    TAILQ_INIT(&u->embryos);
    LIST_INIT(&u->clients);
    waitq_init(&u->wait);
    waitq_init(&u->peer_wait);
    spin_lock(&names_lock);
    LIST_INSERT_HEAD(&all_socks, u, all);
    spin_unlock(&names_lock);
    return u;
}

struct unix_sock *unix_get(struct unix_sock *u)
{
    ref_get(&u->ref);
    return u;
}

void unix_put(struct unix_sock *u)
{
    if (u == NULL || !ref_put(&u->ref)) {
        return;
    }
    spin_lock(&names_lock);
    LIST_REMOVE(u, all);
    spin_unlock(&names_lock);
    unix_addr_put(u->addr);
    waitq_fini(&u->wait);
    waitq_fini(&u->peer_wait);
    cache_del(unix_sock_cache, u);
}

bool file_is_unix(struct file *f)
{
    struct socket *s = socket_of(f);

    return s != NULL && s->ops == &unix_socket_ops;
}

struct ucred unix_current_cred(const struct cred *cred)
{
    return (struct ucred){.pid = vfs_hooks->current_tgid(), .uid = cred->euid, .gid = cred->egid};
}

void unix_wake(struct unix_sock *u, u32 events)
{
    (void)waitq_wake(&u->wait, events, 0);
}

/* SIGIO for the socket's file. u->lock is not needed: a file that goes has left the list first. */
void unix_file_signal(struct unix_sock *u, int code)
{
    MUTEX_GUARD(&u->lock);
    if (u->socket != NULL) {
        fasync_send(&u->socket->fasync, code);
    }
}

u32 unix_sndbuf(struct unix_sock *u)
{
    MUTEX_GUARD(&u->lock);
    return u->socket != NULL ? u->socket->sndbuf : SOCK_BUF_MAX;
}

bool unix_is_writable(const struct unix_sock *u, u32 sndbuf)
{
    return u->state != UNIX_LISTEN &&
           (u64)atomic_load_explicit(&u->wmem, memory_order_relaxed) * 4 <= sndbuf;
}

/* ---- names ---- */

void unix_addr_put(struct unix_addr *a)
{
    if (a != NULL && ref_put(&a->ref)) {
        cache_del(unix_addr_cache, a);
    }
}

static struct unix_addr *addr_new(const void *sun, u32 len)
{
    struct unix_addr *a = cache_new(unix_addr_cache);

    if (a != NULL) {
        ref_init(&a->ref);
        a->len = len;
        memcpy(&a->sun, sun, min(len, (u32)sizeof(a->sun)));
    }
    return a;
}

int unix_check_addr(const struct sock_addr *addr, u32 *len)
{
    const struct sockaddr_un *sun = (const struct sockaddr_un *)&addr->ss;

    if (addr->len <= UNIX_ADDR_MIN || addr->len > sizeof(*sun) || sun->sun_family != AF_UNIX) {
        return -EINVAL;
    }
    *len = addr->len;
    if (sun->sun_path[0] != '\0') {
        *len = (u32)(SUN_PATH_OFF + strnlen(sun->sun_path, addr->len - SUN_PATH_OFF) + 1);
    }
    return 0;
}

static struct unix_list *bucket_of(const struct unix_addr *a, int type)
{
    return &names[hash_bytes(&a->sun, a->len, (u64)type) % NAME_BUCKETS];
}

/* names_lock held. */
static struct unix_sock *find_name(const struct unix_addr *a, int type)
{
    struct unix_sock *u;

    LIST_FOREACH (u, bucket_of(a, type), by_name) {
        if (u->type == type && u->addr->len == a->len &&
            memcmp(&u->addr->sun, &a->sun, a->len) == 0) {
            return u;
        }
    }
    return NULL;
}

static struct unix_sock *find_abstract(const struct sock_addr *addr, int type)
{
    struct unix_addr key = {.len = addr->len};
    struct unix_sock *u;

    memcpy(&key.sun, &addr->ss, addr->len);
    SPIN_GUARD(&names_lock);
    u = find_name(&key, type);
    return u != NULL && ref_get_unless_zero(&u->ref) ? u : ERR_PTR(-ECONNREFUSED);
}

static struct unix_sock *find_path(const char *name, int type, const struct vfs_ctx *ctx)
{
    struct unix_sock *u = NULL;
    struct inode *inode;
    struct path path;
    int err = path_lookup(ctx, AT_FDCWD, name, LOOKUP_FOLLOW, &path);

    if (err != 0) {
        return ERR_PTR(err);
    }
    inode = dentry_inode(path.dentry);
    err = inode_permission(inode, MAY_WRITE, ctx->cred);
    if (err == 0 && !S_ISSOCK(inode->mode)) {
        err = -ECONNREFUSED;
    }
    if (err == 0) {
        read_lock(&inode->lock);
        u = inode->special;
        if (u == NULL || !ref_get_unless_zero(&u->ref)) {
            u = NULL;
            err = -ECONNREFUSED;
        }
        read_unlock(&inode->lock);
    }
    if (u != NULL && u->type != type) {
        unix_put(u);
        err = -EPROTOTYPE;
    }
    path_put(&path);
    return err != 0 ? ERR_PTR(err) : u;
}

struct unix_sock *unix_find(const struct sock_addr *addr, int type, const struct vfs_ctx *ctx)
{
    const struct sockaddr_un *sun = (const struct sockaddr_un *)&addr->ss;
    char name[sizeof(sun->sun_path) + 1];
    u32 len;
    int err = unix_check_addr(addr, &len);

    if (err != 0) {
        return ERR_PTR(err);
    }
    if (sun->sun_path[0] == '\0') {
        return find_abstract(addr, type);
    }
    memset(name, 0, sizeof(name));
    memcpy(name, sun->sun_path, addr->len - SUN_PATH_OFF);
    return find_path(name, type, ctx);
}

/* Enter `a` (taken over, also on error) as u's abstract name. */
static int bind_abstract(struct unix_sock *u, struct unix_addr *a)
{
    int err = 0;

    mutex_lock(&u->lock);
    spin_lock(&names_lock);
    if (u->addr != NULL) {
        err = -EINVAL;
    } else if (find_name(a, u->type) != NULL) {
        err = -EADDRINUSE;
    } else {
        u->addr = a;
        u->is_named = true;
        LIST_INSERT_HEAD(bucket_of(a, u->type), u, by_name);
    }
    spin_unlock(&names_lock);
    mutex_unlock(&u->lock);
    if (err != 0) {
        unix_addr_put(a);
    }
    return err;
}

int unix_autobind(struct unix_sock *u)
{
    for (u32 tries = 0; tries < 0x100000; tries++) {
        u32 n = atomic_fetch_add_explicit(&next_autobind, 1, memory_order_relaxed) & 0xfffff;
        struct sockaddr_un sun = {.sun_family = AF_UNIX};
        struct unix_addr *a;
        int err;

        (void)snprintf(sun.sun_path + 1, 7, "%05x", n);
        a = addr_new(&sun, SUN_PATH_OFF + 6);
        if (a == NULL) {
            return -ENOMEM;
        }
        err = bind_abstract(u, a);
        if (err != -EADDRINUSE) {
            return err == -EINVAL ? 0 : err; /* it has a name already: that is fine here */
        }
    }
    return -ENOSPC;
}

static int bind_path(struct unix_sock *u, const struct sockaddr_un *sun, u32 len,
                     const struct vfs_ctx *ctx)
{
    struct unix_addr *a = addr_new(sun, min(len, (u32)sizeof(*sun)));
    char name[sizeof(sun->sun_path) + 1] = {0};
    struct inode *inode;
    struct path path;
    int err;

    if (a == NULL) {
        return -ENOMEM;
    }
    a->len = len;
    memcpy(name, sun->sun_path, min((size_t)len - SUN_PATH_OFF, sizeof(sun->sun_path)));
    err = vfs_bind_socket(ctx, name, 0777, u, &path);
    if (err != 0) {
        unix_addr_put(a);
        return err;
    }
    mutex_lock(&u->lock);
    if (u->addr == NULL && !u->dead) {
        u->addr = a;
        u->path = path;
        mutex_unlock(&u->lock);
        return 0;
    }
    mutex_unlock(&u->lock);
    inode = dentry_inode(path.dentry); /* bound twice at the same time */
    write_lock(&inode->lock);
    inode->special = NULL;
    write_unlock(&inode->lock);
    path_put(&path);
    unix_addr_put(a);
    return -EINVAL;
}

static int unix_bind(struct socket *s, const struct sock_addr *addr, const struct vfs_ctx *ctx)
{
    const struct sockaddr_un *sun = (const struct sockaddr_un *)&addr->ss;
    struct unix_sock *u = unix_of(s);
    struct unix_addr *a;
    bool has_name;
    u32 len;
    int err;

    if (addr->len == UNIX_ADDR_MIN && addr->family == AF_UNIX) {
        return unix_autobind(u);
    }
    err = unix_check_addr(addr, &len);
    if (err != 0) {
        return err;
    }
    mutex_lock(&u->lock);
    has_name = u->addr != NULL;
    mutex_unlock(&u->lock);
    if (sun->sun_path[0] != '\0') {
        return has_name ? -EINVAL : bind_path(u, sun, len, ctx);
    }
    a = addr_new(sun, len);
    return a != NULL ? bind_abstract(u, a) : -ENOMEM;
}

/* Take u's name away from the tables (the address itself stays readable). */
static void unbind(struct unix_sock *u)
{
    struct path path;
    struct inode *inode;

    spin_lock(&names_lock);
    if (u->is_named) {
        LIST_REMOVE(u, by_name);
        u->is_named = false;
    }
    spin_unlock(&names_lock);
    mutex_lock(&u->lock);
    path = u->path;
    u->path = (struct path){0};
    mutex_unlock(&u->lock);
    if (path.dentry != NULL) {
        inode = dentry_inode(path.dentry);
        write_lock(&inode->lock);
        inode->special = NULL;
        write_unlock(&inode->lock);
        path_put(&path);
    }
}

static int unix_getname(struct socket *s, struct sock_addr *out, bool peer)
{
    struct unix_sock *u = unix_of(s), *other = NULL;
    struct unix_addr *a;

    if (peer) {
        other = unix_peer(u);
        if (other == NULL) {
            return -ENOTCONN;
        }
        u = other;
    }
    mutex_lock(&u->lock);
    a = u->addr;
    out->len = UNIX_ADDR_MIN;
    out->family = AF_UNIX;
    if (a != NULL) {
        memset(&out->ss, 0, sizeof(out->ss));
        out->len = a->len;
        memcpy(&out->ss, &a->sun, min((u32)sizeof(a->sun), a->len));
    }
    mutex_unlock(&u->lock);
    unix_put(other);
    return 0;
}

/* ---- the other small operations ---- */

static int unix_shutdown(struct socket *s, int how)
{
    struct unix_sock *u = unix_of(s), *peer;
    u32 mine = (u32)how + 1; /* SHUT_RD, WR, RDWR are 0, 1, 2 */
    u32 theirs = ((mine & RCV_SHUTDOWN) != 0 ? SEND_SHUTDOWN : 0) |
                 ((mine & SEND_SHUTDOWN) != 0 ? RCV_SHUTDOWN : 0);

    mutex_lock(&u->lock);
    u->shutdown |= mine;
    peer = u->peer != NULL && unix_is_connected_type(u) ? unix_get(u->peer) : NULL;
    mutex_unlock(&u->lock);
    unix_wake(u, 0);
    if (peer != NULL) {
        mutex_lock(&peer->lock);
        peer->shutdown |= theirs;
        mutex_unlock(&peer->lock);
        unix_wake(peer, 0);
        unix_file_signal(peer, theirs == SHUTDOWN_BOTH ? POLL_HUP : POLL_IN);
        unix_put(peer);
    }
    return 0;
}

static int unix_getsockopt(struct socket *s, int level, int name, void *value, u32 *len)
{
    struct unix_sock *u = unix_of(s);
    struct ucred cred = {.pid = 0, .uid = (uid_t)-1, .gid = (gid_t)-1};

    if (level != SOL_SOCKET) {
        return -EOPNOTSUPP;
    }
    if (name != SO_PEERCRED) {
        return -ENOPROTOOPT;
    }
    mutex_lock(&u->lock);
    if (u->has_peer_cred) {
        cred = u->peer_cred;
    }
    mutex_unlock(&u->lock);
    *len = min(*len, (u32)sizeof(cred));
    memcpy(value, &cred, *len);
    return 0;
}

static int unix_setsockopt(struct socket *s, int level, int name, const void *value, u32 len)
{
    return level == SOL_SOCKET ? -ENOPROTOOPT : -EOPNOTSUPP;
}

static int unix_take_error(struct socket *s)
{
    struct unix_sock *u = unix_of(s);
    int err;

    MUTEX_GUARD(&u->lock);
    err = u->error;
    u->error = 0;
    return err;
}

static bool unix_is_listening(struct socket *s)
{
    MUTEX_GUARD(&unix_of(s)->lock);
    return unix_of(s)->state == UNIX_LISTEN;
}

static void unix_buffers_changed(struct socket *s)
{
    unix_wake(unix_of(s), POLLOUT | POLLWRNORM);
}

static void unix_release(struct socket *s)
{
    struct unix_sock *u = unix_of(s);

    unbind(u);
    mutex_lock(&u->lock);
    u->socket = NULL;
    mutex_unlock(&u->lock);
    unix_close(u, false);
    unix_put(u);
    unix_gc();
}

const struct socket_ops unix_socket_ops = {
    .name = "unix",
    .bind = unix_bind,
    .connect = unix_connect,
    .listen = unix_listen,
    .accept = unix_accept,
    .getname = unix_getname,
    .send = unix_send,
    .recv = unix_recv,
    .shutdown = unix_shutdown,
    .setsockopt = unix_setsockopt,
    .getsockopt = unix_getsockopt,
    .ioctl = unix_ioctl,
    .poll = unix_poll,
    .take_error = unix_take_error,
    .is_listening = unix_is_listening,
    .buffers_changed = unix_buffers_changed,
    .release = unix_release,
};
HEAP_OPS(unix_socket_ops);

/* ---- making ---- */

static int check_type(int *type, int protocol)
{
    if (protocol != 0 && protocol != AF_UNIX) {
        return -EPROTONOSUPPORT;
    }
    if (*type == SOCK_RAW) {
        *type = SOCK_DGRAM; /* "believe it or not BSD has AF_UNIX, SOCK_RAW" (af_unix) */
    }
    return *type == SOCK_STREAM || *type == SOCK_DGRAM || *type == SOCK_SEQPACKET
               ? 0
               : -ESOCKTNOSUPPORT;
}

struct file *unix_create(int type, int protocol, u32 flags, const struct cred *cred)
{
    struct unix_sock *u;
    struct file *f;
    int err = check_type(&type, protocol);

    if (err != 0) {
        return ERR_PTR(err);
    }
    u = unix_sock_new(type);
    if (u == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    f = socket_file_new(&unix_socket_ops, AF_UNIX, type, 0, u, flags, cred);
    if (IS_ERR(f)) {
        unix_put(u);
        return f;
    }
    u->file = f;
    u->ino = f->inode->ino;
    u->socket = socket_of(f);
    return f;
}

int unix_create_pair(int type, int protocol, u32 flags, const struct cred *cred,
                     struct file *out[2])
{
    struct unix_sock *a, *b;

    out[0] = unix_create(type, protocol, flags, cred);
    if (IS_ERR(out[0])) {
        return (int)PTR_ERR(out[0]);
    }
    out[1] = unix_create(type, protocol, flags, cred);
    if (IS_ERR(out[1])) {
        file_put(out[0]);
        return (int)PTR_ERR(out[1]);
    }
    a = unix_of(socket_of(out[0]));
    b = unix_of(socket_of(out[1]));
    a->peer_cred = b->peer_cred = unix_current_cred(cred);
    a->has_peer_cred = b->has_peer_cred = true;
    unix_join(a, b);
    return 0;
}

/* ---- /proc/net/unix ---- */

static void show_name(struct seqbuf *s, const struct unix_addr *a)
{
    for (u32 i = SUN_PATH_OFF; a != NULL && i < a->len; i++) {
        char c =
            i - SUN_PATH_OFF < sizeof(a->sun.sun_path) ? a->sun.sun_path[i - SUN_PATH_OFF] : '\0';

        if (i == SUN_PATH_OFF) {
            (void)seq_putc(s, ' ');
        }
        if (c == '\0' && (i + 1 == a->len) && a->sun.sun_path[0] != '\0') {
            break;
        }
        (void)seq_putc(s, c == '\0' ? '@' : c);
    }
}

int unix_show(struct seqbuf *s)
{
    struct unix_sock *u;

    (void)seq_puts(s, "Num       RefCount Protocol Flags    Type St Inode Path\n");
    SPIN_GUARD(&names_lock);
    LIST_FOREACH (u, &all_socks, all) {
        u32 st = u->socket == NULL ? 0 : (u->state == UNIX_ESTABLISHED ? 3 : 1);

        /* Racy as a whole, each word by itself: a picture of a moving system. */
        (void)seq_printf(s, "%016lx: %08x 00000000 %08x %04x %02x %5lu", 0UL, ref_read(&u->ref),
                         u->state == UNIX_LISTEN ? 0x10000U : 0U, (u32)u->type, st,
                         st != 0 ? (unsigned long)u->ino : 0UL);
        show_name(s, u->addr);
        (void)seq_putc(s, '\n');
    }
    return s->err;
}
