/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host descriptors as guest files: what the sandbox was started with. The descriptor is shared with
 * the user's shell, so its flags stay as they are: readiness comes from poll(2), and a read or
 * write that may block runs in a bracket after poll said that it will not. Regular files share the
 * host's offset, as without a sandbox.
 */
#include "vfs/hostfs/stdio.h"

#include "base/heap.h"
#include "base/host.h"
#include "base/sched/worker.h"
#include "base/usermem.h"
#include "vfs/dentry.h"
#include "vfs/hostfs/stdio_priv.h"

#include <asm/termbits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>

#define CHUNK (64 * KiB)

DEFINE_CACHE(stdio_host_cache, struct stdio_host);
DEFINE_CACHE(stdio_file_cache, struct stdio_file);
DEFINE_CACHE(stdio_super_cache, struct super);

static struct super *stdio_sb;

static struct stdio_host *to_host(struct file *f)
{
    return container_of(f, struct stdio_file, f)->host;
}

/* ---- inodes ---- */

static int stdio_getattr(struct inode *inode, struct attr *out)
{
    struct stat st;
    int err = host_fstat(stdio_host_of(inode)->fd, &st);

    if (err == 0) {
        out->mode = st.st_mode;
        out->rdev = st.st_rdev;
        out->uid = st.st_uid;
        out->gid = st.st_gid;
        out->size = (u64)st.st_size;
        out->blocks = (u64)st.st_blocks;
        out->blksize = (u32)st.st_blksize;
        out->atime = st.st_atim;
        out->mtime = st.st_mtim;
        out->ctime = st.st_ctim;
    }
    return err;
}

static int stdio_setattr(struct inode *inode, const struct setattr *set)
{
    int fd = stdio_host_of(inode)->fd, err = 0;

    if ((set->valid & SETATTR_SIZE) != 0) {
        err = host_ftruncate(fd, set->size);
    }
    if (err == 0 && (set->valid & (SETATTR_MODE | SETATTR_UID | SETATTR_GID)) != 0) {
        err = -EPERM; /* the host's file stays as its owner made it */
    }
    return err;
}

static void stdio_inode_release(struct inode *inode)
{
    struct stdio_host *h = stdio_host_of(inode);

    hostpoll_remove(&h->hp);
    waitq_fini(&h->wq);
    host_close(h->fd);
    inode_fini(inode);
    cache_del(stdio_host_cache, h);
}

/* Again through /proc/self/fd/N or /dev/stdin. A regular file shares the host's offset with the one
 * it was opened from; nothing may be done that the donated descriptor does not allow. */
static struct file *stdio_open(struct inode *inode, const struct path *path, u32 flags,
                               const struct cred *cred)
{
    struct stdio_host *h = stdio_host_of(inode);
    int host_flags = host_fcntl(h->fd, F_GETFL, 0);
    u32 want = flags & O_ACCMODE, has = (u32)host_flags & O_ACCMODE;

    if (host_flags < 0 || S_ISSOCK(inode->mode)) {
        return ERR_PTR(-ENXIO);
    }
    return want == has || has == O_RDWR ? stdio_file_on(h, inode, path, flags, cred)
                                        : ERR_PTR(-EACCES);
}

static const struct inode_ops stdio_inode_ops = {
    .name = "stdio",
    .open = stdio_open,
    .getattr = stdio_getattr,
    .setattr = stdio_setattr,
    .release = stdio_inode_release,
};
HEAP_OPS(stdio_inode_ops);

/* ---- readiness ---- */

static void stdio_ready(struct hostpoll *hp, u32 events)
{
    struct stdio_host *h = container_of(hp, struct stdio_host, hp);

    (void)waitq_wake(&h->wq, events, 0);
}

static u32 host_ready(struct stdio_host *h)
{
    int ev;

    if (h->always_ready) {
        return POLL_DEFAULT;
    }
    ev = host_poll(h->fd, POLLIN | POLLOUT | POLLPRI | POLLHUP | POLLERR | POLLRDHUP, 0);
    return ev < 0 ? POLLERR : (u32)ev;
}

static u32 stdio_poll(struct file *f, struct poller *p)
{
    struct stdio_host *h = to_host(f);

    poller_add(p, &h->wq);
    return host_ready(h);
}

/* Until the host says `events` (or an end): 0, -EAGAIN, -ERESTARTSYS. */
static int wait_ready(struct stdio_host *h, u32 events, bool nonblock)
{
    u32 want = events | POLLHUP | POLLERR;

    if ((host_ready(h) & want) != 0) {
        return 0;
    }
    if (nonblock) {
        return -EAGAIN;
    }
    return waitq_wait_event(&h->wq, (host_ready(h) & want) != 0, PARK_INTERRUPTIBLE, CLOCK_NEVER);
}

static bool is_nonblock(struct file *f, u32 rwf)
{
    return file_nonblock(f) || (rwf & RWF_NOWAIT) != 0;
}

static ssize_t stdio_read(struct file *f, struct uio *u, u64 *pos, u32 rwf)
{
    struct stdio_host *h = to_host(f);
    size_t size = min(uio_left(u), (size_t)CHUNK);
    ssize_t n = stdio_tty_check(h, SIGTTIN);
    void *buf;

    (void)pos;
    if (n == 0) {
        n = wait_ready(h, POLLIN, is_nonblock(f, rwf));
    }
    if (n != 0 || size == 0) {
        return n;
    }
    buf = heap_alloc(size);
    if (buf == NULL) {
        return -ENOMEM;
    }
    worker_block_begin();
    n = host_read(h->fd, buf, size);
    worker_block_end();
    if (n > 0) {
        n = uio_put(u, buf, (size_t)n);
    }
    heap_free(buf);
    return n == -EINTR ? -ERESTARTSYS : n;
}

/* One piece; the host blocks for the rest of it only if it said there is room. */
static ssize_t write_piece(struct stdio_host *h, struct uio *u, void *buf, bool nonblock)
{
    size_t limit = h->always_ready ? CHUNK : PAGE_SIZE;
    ssize_t n = wait_ready(h, POLLOUT, nonblock);
    struct uio saved = *u;

    if (n != 0) {
        return n;
    }
    n = uio_take(u, buf, min(uio_left(u), limit));
    if (n <= 0) {
        return n;
    }
    worker_block_begin();
    n = host_write(h->fd, buf, (size_t)n);
    worker_block_end();
    *u = saved;
    if (n > 0) {
        uio_advance(u, (size_t)n);
    }
    return n == -EINTR ? -ERESTARTSYS : n;
}

static ssize_t stdio_write(struct file *f, struct uio *u, u64 *pos, u32 rwf)
{
    struct stdio_host *h = to_host(f);
    void *buf = heap_alloc(h->always_ready ? CHUNK : PAGE_SIZE);
    ssize_t done = 0, n = 0;

    (void)pos;
    if (buf == NULL) {
        return -ENOMEM;
    }
    while (uio_left(u) > 0) {
        n = write_piece(h, u, buf, is_nonblock(f, rwf));
        if (n <= 0) {
            break;
        }
        done += n;
    }
    heap_free(buf);
    return done > 0 ? done : n;
}

static s64 stdio_seek(struct file *f, s64 off, int whence)
{
    return host_lseek(to_host(f)->fd, off, whence);
}

static long stdio_ioctl(struct file *f, u32 cmd, u64 arg, const struct vfs_ctx *ctx)
{
    struct stdio_host *h = to_host(f);
    int n;
    long ret;

    if (cmd == FIONREAD) {
        ret = host_ioctl(h->fd, FIONREAD, (u64)&n);
        return ret != 0 ? ret : copy_out(arg, &n, sizeof(n));
    }
    return h->is_tty ? stdio_tty_ioctl(h, f, cmd, arg, ctx) : -ENOTTY;
}

static void stdio_release(struct file *f)
{
    struct stdio_host *h = to_host(f);

    file_fini(f);
    file_free(&stdio_file_cache, f);
    inode_put(&h->inode);
}

static const struct file_ops stdio_file_ops = {
    .name = "stdio",
    .read = stdio_read,
    .write = stdio_write,
    .seek = stdio_seek,
    .ioctl = stdio_ioctl,
    .poll = stdio_poll,
    .release = stdio_release,
};
HEAP_OPS(stdio_file_ops);

/* ---- creation ---- */

static void stdio_super_release(struct super *sb)
{
    cache_del(stdio_super_cache, sb);
}

static const struct super_ops stdio_super_ops = {.name = "stdio", .release = stdio_super_release};
HEAP_OPS(stdio_super_ops);

int stdio_boot(void)
{
    stdio_sb = cache_new(stdio_super_cache);
    if (stdio_sb == NULL) {
        return -ENOMEM;
    }
    super_init(stdio_sb, &stdio_super_ops, "stdio", 0x57d10);
    stdio_sb->opens_itself = true;
    stdio_tty_boot();
    return 0;
}

/* The host's side of a descriptor, which is taken over, also on error. ERR_PTR. */
static struct stdio_host *host_new(int fd)
{
    struct stdio_host *h;
    struct termios2 tios;
    struct stat st;
    int err = host_fstat(fd, &st);

    h = err == 0 ? cache_new(stdio_host_cache) : NULL;
    if (h == NULL) {
        host_close(fd);
        return ERR_PTR(err != 0 ? err : -ENOMEM);
    }
    inode_init(&h->inode, stdio_sb, &stdio_inode_ops, st.st_ino, st.st_mode, st.st_uid, st.st_gid);
    h->inode.rdev = st.st_rdev;
    h->inode.size = (u64)st.st_size;
    h->fd = fd;
    h->is_tty = S_ISCHR(st.st_mode) && host_ioctl(fd, TCGETS2, (u64)&tios) == 0;
    waitq_init(&h->wq);
    h->hp = (struct hostpoll){.fd = fd, .ready = stdio_ready};
    h->always_ready = hostpoll_add(&h->hp, EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP) == -EPERM;
    return h;
}

/* What /proc/PID/fd shows. */
static void describe(char *buf, size_t size, const struct stdio_host *h)
{
    const struct inode *i = &h->inode;

    if (h->is_tty) {
        snprintf(buf, size, "/dev/console");
    } else if (S_ISFIFO(i->mode)) {
        snprintf(buf, size, "pipe:[%lu]", (unsigned long)i->ino);
    } else if (S_ISSOCK(i->mode)) {
        snprintf(buf, size, "socket:[%lu]", (unsigned long)i->ino);
    } else if (S_ISCHR(i->mode) && i->rdev == 0x103) {
        snprintf(buf, size, "/dev/null");
    } else {
        snprintf(buf, size, "/host/fd/%d", h->fd);
    }
}

struct file *stdio_file_on(struct stdio_host *h, struct inode *inode, const struct path *path,
                           u32 flags, const struct cred *cred)
{
    struct stdio_file *s = cache_new(stdio_file_cache);

    if (s == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    file_init(&s->f, &stdio_file_ops, inode, path, flags, cred);
    if (!S_ISREG(h->inode.mode)) {
        s->f.mode |= FMODE_STREAM | FMODE_NOPOSLOCK;
    }
    (void)inode_get(&h->inode);
    s->host = h;
    return &s->f;
}

struct file *stdio_file_new(int fd, const struct cred *cred)
{
    int flags = host_fcntl(fd, F_GETFL, 0);
    struct stdio_host *h = host_new(fd);
    struct path path = {0};
    struct file *f;
    char name[64];

    if (IS_ERR(h)) {
        return ERR_PTR(PTR_ERR(h));
    }
    describe(name, sizeof(name), h);
    path.dentry = flags >= 0 ? dentry_new_anon(&h->inode, name) : NULL;
    if (path.dentry == NULL) {
        inode_put(&h->inode);
        return ERR_PTR(flags < 0 ? flags : -ENOMEM);
    }
    if (h->is_tty) {
        stdio_tty_found(h);
    }
    f = stdio_file_on(h, &h->inode, &path, (u32)flags & (O_ACCMODE | O_APPEND | O_NONBLOCK), cred);
    path_put(&path);
    inode_put(&h->inode);
    return f;
}

struct stdio_host *stdio_host_of_file(struct file *f)
{
    return f->ops == &stdio_file_ops ? to_host(f) : NULL;
}
