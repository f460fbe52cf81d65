/* SPDX-License-Identifier: Apache-2.0 */
/* What stdio.c (descriptors) and stdio_tty.c (the terminal among them) share. */
#ifndef PAVISE_VFS_HOSTFS_STDIO_PRIV_H
#define PAVISE_VFS_HOSTFS_STDIO_PRIV_H

#include "base/sched/hostpoll.h"
#include "base/sched/waitq.h"
#include "vfs/mappable.h"
#include "vfs/tty.h"
#include "vfs/vfs.h"

/* A donated descriptor: the inode of the files on it, unless they were opened by another name. */
struct stdio_host {
    struct inode inode;
    int fd;                 /* (c) */
    bool is_tty;            /* (c) */
    bool always_ready;      /* (c) a regular file: the host cannot poll it */
    _Atomic bool no_nowait; /* (a) the host does not know RWF_NOWAIT for it */
    struct hostpoll hp;
    struct waitq wq;
    struct mappable map; /* a regular file's */
    struct tty *tty; /* (c) the sandbox's terminal if this is it; uncounted: it stays for ever */
};

struct stdio_file {
    struct file f;
    struct stdio_host *host; /* (c) its inode is counted */
    bool own_pos;            /* (c) a regular file opened again: a position of its own */
};

static inline struct stdio_file *stdio_file_of(struct file *f)
{
    return container_of(f, struct stdio_file, f);
}

static inline struct stdio_host *stdio_host_of(struct inode *inode)
{
    return container_of(inode, struct stdio_host, inode);
}

/* A file on h by the name and inode given. ERR_PTR. */
must_check struct file *stdio_file_on(struct stdio_host *h, struct inode *inode,
                                      const struct path *path, u32 flags, const struct cred *cred);
struct stdio_host *stdio_host_of_file(struct file *f); /* NULL: another kind */

/* ---- stdio_io.c ---- */

u32 stdio_ready_now(struct stdio_host *h);
ssize_t stdio_read(struct file *f, struct uio *u, u64 *pos, u32 rwf);
ssize_t stdio_write(struct file *f, struct uio *u, u64 *pos, u32 rwf);
s64 stdio_seek(struct file *f, s64 off, int whence);
int stdio_fsync(struct file *f, u64 start, u64 end, bool data_only);
struct mappable *stdio_mmap(struct file *f, u32 prot, u32 map_flags);
extern const struct mappable_ops stdio_mappable_ops;

/* ---- stdio_tty.c ---- */

void stdio_tty_boot(void);
/* h is a terminal: the first one becomes the sandbox's. */
void stdio_tty_found(struct stdio_host *h);
/* Job control: as tty_hooks->check_change; 0 for other descriptors. */
int stdio_tty_check(struct stdio_host *h, int sig);
long stdio_tty_ioctl(struct stdio_host *h, struct file *f, u32 cmd, u64 arg,
                     const struct vfs_ctx *ctx);

#endif
