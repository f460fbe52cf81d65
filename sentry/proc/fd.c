/* SPDX-License-Identifier: Apache-2.0 */
/* /proc/PID/fd and fdinfo: open descriptors as magic links. node->num is the descriptor. */
#include "base/heap.h"
#include "sentry/kernel/process.h"
#include "sentry/proc/proc_priv.h"
#include "vfs/fdtable.h"
#include "vfs/mount.h"

#include <stdio.h>

/* The file behind a descriptor of the node's task, counted; NULL: none. */
static struct file *node_file(struct task *t, int fd)
{
    struct fdtable *fdt = task_fdtable_get(t);
    struct file *f = fdt != NULL ? fd_get_any(fdt, fd) : NULL;

    if (fdt != NULL) {
        fdtable_put(fdt);
    }
    return f;
}

static ssize_t fd_readlink(struct pseudo_node *n, const struct vfs_ctx *ctx, char *buf, size_t size)
{
    AUTOPUT_FILE f = node_file(node_task(n), (int)n->num);

    if (task_may_inspect(task_current(), node_task(n)) != 0) {
        return -EACCES;
    }
    if (f == NULL) {
        return -ENOENT;
    }
    (void)ctx;
    return proc_path_text(&f->path, buf, size);
}

static int fd_follow(struct pseudo_node *n, const struct vfs_ctx *ctx, struct path *out)
{
    AUTOPUT_FILE f = node_file(node_task(n), (int)n->num);

    (void)ctx;
    if (task_may_inspect(task_current(), node_task(n)) != 0) {
        return -EACCES;
    }
    if (f == NULL) {
        return -ENOENT;
    }
    *out = f->path;
    path_get(out);
    return 0;
}

static int show_fdinfo(struct pseudo_node *n, struct seqbuf *s)
{
    AUTOPUT_FILE f = node_file(node_task(n), (int)n->num);
    char extra[512] = "";
    u32 flags;

    if (f == NULL) {
        return -ENOENT;
    }
    flags = f->flags;
    seq_printf(s, "pos:\t%lu\nflags:\t0%o\nmnt_id:\t%u\nino:\t%lu\n", f->pos, flags | O_LARGEFILE,
               f->path.mnt != NULL ? f->path.mnt->id : 15, f->inode->ino);
    if (f->ops->show_fdinfo != NULL) {
        f->ops->show_fdinfo(f, extra, sizeof(extra));
        seq_puts(s, extra);
    }
    return s->err;
}

static const struct pseudo_entry fd_entry = {
    .name = "fd",
    .mode = S_IFLNK | 0700,
    .readlink = fd_readlink,
    .follow = fd_follow,
};
static const struct pseudo_entry fdinfo_entry = PSEUDO_FILE("fdinfo", 0400, show_fdinfo);

static int lookup(struct pseudo_node *dir, struct name name, const struct pseudo_entry *entry,
                  struct pseudo_child *out)
{
    int fd = proc_parse_number(name);
    struct file *f = fd >= 0 ? node_file(node_task(dir), fd) : NULL;

    if (f == NULL) {
        return -ENOENT;
    }
    file_put(f);
    *out = (struct pseudo_child){
        .entry = entry, .obj = task_get(node_task(dir)), .obj_ops = &task_obj_ops, .num = (u64)fd};
    return 0;
}

static int fd_lookup(struct pseudo_node *dir, struct name name, struct pseudo_child *out)
{
    return lookup(dir, name, &fd_entry, out);
}

static int fdinfo_lookup(struct pseudo_node *dir, struct name name, struct pseudo_child *out)
{
    return lookup(dir, name, &fdinfo_entry, out);
}

static bool fd_still_open(struct pseudo_node *dir, struct name name, struct pseudo_node *child)
{
    struct file *f = node_file(node_task(dir), (int)child->num);

    (void)name;
    file_put(f);
    return f != NULL;
}

static int list(struct pseudo_node *dir, u64 pos, struct pseudo_emit *e,
                const struct pseudo_entry *entry)
{
    struct fdtable *fdt = task_fdtable_get(node_task(dir));
    char name[16];
    int fd;

    if (fdt == NULL) {
        return 0;
    }
    for (fd = fd_next(fdt, (int)pos); fd >= 0; fd = fd_next(fdt, fd + 1)) {
        snprintf(name, sizeof(name), "%d", fd);
        if (!pseudo_emit(e, name, entry, (u64)fd + 1)) {
            break;
        }
    }
    fdtable_put(fdt);
    return 0;
}

static int fd_readdir(struct pseudo_node *dir, u64 pos, struct pseudo_emit *e)
{
    return list(dir, pos, e, &fd_entry);
}

static int fdinfo_readdir(struct pseudo_node *dir, u64 pos, struct pseudo_emit *e)
{
    return list(dir, pos, e, &fdinfo_entry);
}

const struct pseudo_dir_ops fd_dir_ops = {
    .lookup = fd_lookup, .readdir = fd_readdir, .revalidate = fd_still_open};
HEAP_OPS(fd_dir_ops);
const struct pseudo_dir_ops fdinfo_dir_ops = {
    .lookup = fdinfo_lookup,
    .readdir = fdinfo_readdir,
    .revalidate = fd_still_open,
};
HEAP_OPS(fdinfo_dir_ops);
