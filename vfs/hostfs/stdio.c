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
#include "base/sched/hostpoll.h"
#include "base/sched/worker.h"
#include "base/usermem.h"
#include "vfs/dentry.h"

#include <asm/termbits.h>
#include <stdio.h>
#include <sys/ioctl.h>

#define CHUNK (64 * KiB)

struct stdio_inode {
    struct inode inode;
    int fd; /* (c) */
};

struct stdio_file {
    struct file f;
    int fd;            /* (c) the inode's */
    bool is_tty;       /* (c) */
    bool always_ready; /* (c) a regular file: the host cannot poll it */
    struct hostpoll hp;
    struct waitq wq;
};

DEFINE_CACHE(stdio_inode_cache, struct stdio_inode);
DEFINE_CACHE(stdio_file_cache, struct stdio_file);
DEFINE_CACHE(stdio_super_cache, struct super);

static struct super *stdio_sb;

static struct stdio_file *to_stdio(struct file *f)
{
    return container_of(f, struct stdio_file, f);
}

/* ---- inodes ---- */

static int stdio_getattr(struct inode *inode, struct attr *out)
{
    struct stat st;
    int err = host_fstat(container_of(inode, struct stdio_inode, inode)->fd, &st);

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
    int fd = container_of(inode, struct stdio_inode, inode)->fd, err = 0;

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
    struct stdio_inode *si = container_of(inode, struct stdio_inode, inode);

    host_close(si->fd);
    inode_fini(inode);
    cache_del(stdio_inode_cache, si);
}

static const struct inode_ops stdio_inode_ops = {
    .name = "stdio",
    .getattr = stdio_getattr,
    .setattr = stdio_setattr,
    .release = stdio_inode_release,
};
HEAP_OPS(stdio_inode_ops);

/* ---- readiness ---- */

static void stdio_ready(struct hostpoll *hp, u32 events)
{
    struct stdio_file *s = container_of(hp, struct stdio_file, hp);

    (void)waitq_wake(&s->wq, events, 0);
}

static u32 stdio_poll(struct file *f, struct poller *p)
{
    struct stdio_file *s = to_stdio(f);
    int ev;

    poller_add(p, &s->wq);
    if (s->always_ready) {
        return POLL_DEFAULT;
    }
    ev = host_poll(s->fd, POLLIN | POLLOUT | POLLPRI | POLLHUP | POLLERR | POLLRDHUP, 0);
    return ev < 0 ? POLLERR : (u32)ev;
}

/* Until the host says `events` (or an end): 0, -EAGAIN, -ERESTARTSYS. */
static int wait_ready(struct stdio_file *s, u32 events, bool nonblock)
{
    u32 want = events | POLLHUP | POLLERR;

    if ((stdio_poll(&s->f, NULL) & want) != 0) {
        return 0;
    }
    if (nonblock) {
        return -EAGAIN;
    }
    return waitq_wait_event(&s->wq, (stdio_poll(&s->f, NULL) & want) != 0, PARK_INTERRUPTIBLE,
                            CLOCK_NEVER);
}

static bool is_nonblock(struct stdio_file *s, u32 rwf)
{
    return file_nonblock(&s->f) || (rwf & RWF_NOWAIT) != 0;
}

static ssize_t stdio_read(struct file *f, struct uio *u, u64 *pos, u32 rwf)
{
    struct stdio_file *s = to_stdio(f);
    size_t size = min(uio_left(u), (size_t)CHUNK);
    ssize_t n = wait_ready(s, POLLIN, is_nonblock(s, rwf));
    void *buf;

    (void)pos;
    if (n != 0 || size == 0) {
        return n;
    }
    buf = heap_alloc(size);
    if (buf == NULL) {
        return -ENOMEM;
    }
    worker_block_begin();
    n = host_read(s->fd, buf, size);
    worker_block_end();
    if (n > 0) {
        n = uio_put(u, buf, (size_t)n);
    }
    heap_free(buf);
    return n == -EINTR ? -ERESTARTSYS : n;
}

/* One piece; the host blocks for the rest of it only if it said there is room. */
static ssize_t write_piece(struct stdio_file *s, struct uio *u, void *buf, bool nonblock)
{
    size_t limit = s->always_ready ? CHUNK : PAGE_SIZE;
    ssize_t n = wait_ready(s, POLLOUT, nonblock);
    struct uio saved = *u;

    if (n != 0) {
        return n;
    }
    n = uio_take(u, buf, min(uio_left(u), limit));
    if (n <= 0) {
        return n;
    }
    worker_block_begin();
    n = host_write(s->fd, buf, (size_t)n);
    worker_block_end();
    *u = saved;
    if (n > 0) {
        uio_advance(u, (size_t)n);
    }
    return n == -EINTR ? -ERESTARTSYS : n;
}

static ssize_t stdio_write(struct file *f, struct uio *u, u64 *pos, u32 rwf)
{
    struct stdio_file *s = to_stdio(f);
    void *buf = heap_alloc(s->always_ready ? CHUNK : PAGE_SIZE);
    ssize_t done = 0, n = 0;

    (void)pos;
    if (buf == NULL) {
        return -ENOMEM;
    }
    while (uio_left(u) > 0) {
        n = write_piece(s, u, buf, is_nonblock(s, rwf));
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
    return host_lseek(to_stdio(f)->fd, off, whence);
}

/* ---- terminals ---- */

/* What a terminal may be asked, and how many bytes go in (w) or out. */
struct tty_request {
    u32 cmd;
    bool in;
    u16 size;
};
static const struct tty_request tty_requests[] = {
    {TCGETS, false, sizeof(struct termios)},
    {TCSETS, true, sizeof(struct termios)},
    {TCSETSW, true, sizeof(struct termios)},
    {TCSETSF, true, sizeof(struct termios)},
    {TCGETS2, false, sizeof(struct termios2)},
    {TCSETS2, true, sizeof(struct termios2)},
    {TCSETSW2, true, sizeof(struct termios2)},
    {TCSETSF2, true, sizeof(struct termios2)},
    {TIOCGWINSZ, false, sizeof(struct winsize)},
    {TIOCSWINSZ, true, sizeof(struct winsize)},
    {TIOCOUTQ, false, sizeof(int)},
};

static long tty_ioctl(struct stdio_file *s, u32 cmd, u64 arg)
{
    u8 buf[64];
    long ret;

    if (cmd == TCSBRK || cmd == TCXONC || cmd == TCFLSH || cmd == TCSBRKP) {
        return host_ioctl(s->fd, cmd, arg);
    }
    for (size_t i = 0; i < ARRAY_SIZE(tty_requests); i++) {
        const struct tty_request *r = &tty_requests[i];

        if (r->cmd != cmd) {
            continue;
        }
        if (r->in && copy_in(buf, arg, r->size) != 0) {
            return -EFAULT;
        }
        ret = host_ioctl(s->fd, cmd, (u64)buf);
        if (ret == 0 && !r->in && copy_out(arg, buf, r->size) != 0) {
            return -EFAULT;
        }
        return ret;
    }
    return -ENOTTY;
}

static long stdio_ioctl(struct file *f, u32 cmd, u64 arg, const struct vfs_ctx *ctx)
{
    struct stdio_file *s = to_stdio(f);
    int n;
    long ret;

    (void)ctx;
    if (cmd == FIONREAD) {
        ret = host_ioctl(s->fd, FIONREAD, (u64)&n);
        return ret != 0 ? ret : copy_out(arg, &n, sizeof(n));
    }
    return s->is_tty ? tty_ioctl(s, cmd, arg) : -ENOTTY;
}

int stdio_tty_fd(struct file *f)
{
    return f->ops->read == stdio_read && to_stdio(f)->is_tty ? to_stdio(f)->fd : -1;
}

static void stdio_release(struct file *f)
{
    struct stdio_file *s = to_stdio(f);

    hostpoll_remove(&s->hp);
    file_fini(f);
    waitq_fini(&s->wq);
    cache_del(stdio_file_cache, s);
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
    return 0;
}

static struct inode *stdio_inode_new(int fd, const struct stat *st)
{
    struct stdio_inode *si = cache_new(stdio_inode_cache);

    if (si == NULL) {
        host_close(fd);
        return NULL;
    }
    inode_init(&si->inode, stdio_sb, &stdio_inode_ops, st->st_ino, st->st_mode, st->st_uid,
               st->st_gid);
    si->inode.rdev = st->st_rdev;
    si->inode.size = (u64)st->st_size;
    si->fd = fd;
    return &si->inode;
}

static void describe(char *buf, size_t size, int fd, const struct stat *st, bool is_tty)
{
    if (is_tty) {
        snprintf(buf, size, "/dev/tty");
    } else if (S_ISFIFO(st->st_mode)) {
        snprintf(buf, size, "pipe:[%lu]", (unsigned long)st->st_ino);
    } else if (S_ISSOCK(st->st_mode)) {
        snprintf(buf, size, "socket:[%lu]", (unsigned long)st->st_ino);
    } else if (S_ISCHR(st->st_mode) && st->st_rdev == 0x103) {
        snprintf(buf, size, "/dev/null");
    } else {
        snprintf(buf, size, "/host/fd/%d", fd);
    }
}

struct file *stdio_file_new(int fd, const struct cred *cred)
{
    struct stdio_file *s;
    struct inode *inode;
    struct path path = {0};
    struct termios2 tios;
    struct stat st;
    char name[64];
    int flags = host_fcntl(fd, F_GETFL, 0), err = host_fstat(fd, &st);

    if (err != 0 || flags < 0) {
        host_close(fd);
        return ERR_PTR(err != 0 ? err : flags);
    }
    inode = stdio_inode_new(fd, &st);
    s = inode != NULL ? cache_new(stdio_file_cache) : NULL;
    if (s == NULL) {
        inode_put(inode);
        return ERR_PTR(-ENOMEM);
    }
    s->fd = fd;
    s->is_tty = S_ISCHR(st.st_mode) && host_ioctl(fd, TCGETS2, (u64)&tios) == 0;
    waitq_init(&s->wq);
    describe(name, sizeof(name), fd, &st, s->is_tty);
    path.dentry = dentry_new_anon(inode, name);
    if (path.dentry == NULL) {
        cache_del(stdio_file_cache, s);
        inode_put(inode);
        return ERR_PTR(-ENOMEM);
    }
    file_init(&s->f, &stdio_file_ops, inode, &path,
              (u32)flags & (O_ACCMODE | O_APPEND | O_NONBLOCK), cred);
    path_put(&path);
    inode_put(inode);
    s->hp = (struct hostpoll){.fd = fd, .ready = stdio_ready};
    err = hostpoll_add(&s->hp, EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP);
    s->always_ready = err == -EPERM;
    if (!S_ISREG(st.st_mode)) {
        s->f.mode |= FMODE_STREAM | FMODE_NOPOSLOCK;
    }
    return &s->f;
}
