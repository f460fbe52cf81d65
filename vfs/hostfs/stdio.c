/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host descriptors as guest files: what the sandbox was started with. Here is their life; what
 * moves through them is in stdio_io.c, terminals are in stdio_tty.c.
 */
#include "vfs/hostfs/stdio.h"

#include "base/heap.h"
#include "base/host.h"
#include "base/sched/worker.h"
#include "base/usermem.h"
#include "vfs/dentry.h"
#include "vfs/hostfs/stdio_priv.h"

#include <asm/termbits.h>
#include <stdio.h>
#include <sys/ioctl.h>

DEFINE_CACHE(stdio_host_cache, struct stdio_host);
DEFINE_CACHE(stdio_file_cache, struct stdio_file);
DEFINE_CACHE(stdio_super_cache, struct super);

static struct super *stdio_sb;

static struct stdio_host *to_host(struct file *f)
{
    return stdio_file_of(f)->host;
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
    mappable_fini(&h->map);
    inode_fini(inode);
    cache_del(stdio_host_cache, h);
}

/* Again through /proc/self/fd/N or /dev/stdin: nothing may be done that the donated descriptor does
 * not allow. */
static struct file *stdio_open(struct inode *inode, const struct path *path, u32 flags,
                               const struct cred *cred)
{
    struct stdio_host *h = stdio_host_of(inode);
    int host_flags = host_fcntl(h->fd, F_GETFL, 0);
    u32 want = flags & O_ACCMODE, has = (u32)host_flags & O_ACCMODE;
    struct file *f;

    if (host_flags < 0 || S_ISSOCK(inode->mode)) {
        return ERR_PTR(-ENXIO);
    }
    if (want != has && has != O_RDWR) {
        return ERR_PTR(-EACCES);
    }
    f = stdio_file_on(h, inode, path, flags, cred);
    if (!IS_ERR(f)) {
        stdio_file_of(f)->own_pos = S_ISREG(inode->mode);
    }
    return f;
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

static u32 stdio_poll(struct file *f, struct poller *p)
{
    struct stdio_host *h = to_host(f);

    poller_add(p, &h->wq);
    return stdio_ready_now(h);
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
    .mmap = stdio_mmap,
    .fsync = stdio_fsync,
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
    mappable_init(&h->map, &stdio_mappable_ops, &h->inode);
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
