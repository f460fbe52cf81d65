/* SPDX-License-Identifier: Apache-2.0 */
/*
 * getdents64(2) and its old form. Entries are gathered in kernel memory, since the directory is
 * locked while they are given, and copied out after that.
 */
#include "base/heap.h"
#include "base/usermem.h"
#include "sentry/syscalls/file_args.h"

#include <dirent.h>

#define DIRENTS_MAX (32 * KiB)

/* linux/dirent.h; the name follows, and padding to 8 bytes. In the old form the type is the last
 * byte of the padding. */
struct abi_dirent64 {
    u64 ino;
    s64 off;
    u16 reclen;
    u8 type;
    char name[];
} packed_struct;
struct abi_dirent {
    u64 ino;
    s64 off;
    u16 reclen;
    char name[];
} packed_struct;
_Static_assert(offsetof(struct abi_dirent64, name) == 19, "struct linux_dirent64");
_Static_assert(offsetof(struct abi_dirent, name) == 18, "struct linux_dirent");

struct gather {
    struct dir_context ctx;
    bool old_form;
    bool full; /* an entry did not fit */
    char *buf;
    size_t size, used;
};

static bool gather_emit(struct dir_context *ctx, struct name name, u64 ino, u32 dt_type, u64 next)
{
    struct gather *g = container_of(ctx, struct gather, ctx);
    size_t head =
        g->old_form ? offsetof(struct abi_dirent, name) + 1 : offsetof(struct abi_dirent64, name);
    size_t len = ALIGN_UP(head + name.len + 1, 8UL);
    char *at = g->buf + g->used;

    if (len > g->size - g->used) {
        g->full = true;
        return false;
    }
    memset(at, 0, len);
    if (g->old_form) {
        struct abi_dirent *d = (struct abi_dirent *)at;

        *d = (struct abi_dirent){.ino = ino, .off = (s64)next, .reclen = (u16)len};
        memcpy(d->name, name.str, name.len);
        at[len - 1] = (char)dt_type;
    } else {
        struct abi_dirent64 *d = (struct abi_dirent64 *)at;

        *d = (struct abi_dirent64){
            .ino = ino, .off = (s64)next, .reclen = (u16)len, .type = (u8)dt_type};
        memcpy(d->name, name.str, name.len);
    }
    g->used += len;
    return true;
}

static long do_getdents(struct task *t, int fd, uaddr buf, unsigned int count, bool old_form)
{
    AUTOPUT_FILE f = fd_get(t->vfs.fdt, fd);
    struct gather g = {.ctx.emit = gather_emit, .old_form = old_form};
    u64 start;
    long ret;

    if (f == NULL) {
        return -EBADF;
    }
    g.size = min((size_t)count, DIRENTS_MAX);
    g.buf = heap_alloc(max(g.size, (size_t)1));
    if (g.buf == NULL) {
        return -ENOMEM;
    }
    start = f->pos;
    ret = file_readdir(f, &g.ctx);
    if (ret == 0 || g.used != 0) {
        ret = g.used == 0 && g.full ? -EINVAL : (long)g.used;
    }
    if (ret > 0 && copy_out(buf, g.buf, g.used) != 0) {
        (void)!file_seek(f, (s64)start, SEEK_SET); /* nothing was given */
        ret = -EFAULT;
    }
    heap_free(g.buf);
    return ret;
}

long sys_getdents64(struct task *t, int fd, uaddr buf, unsigned int count)
{
    return do_getdents(t, fd, buf, count, false);
}

long sys_getdents(struct task *t, int fd, uaddr buf, unsigned int count)
{
    return do_getdents(t, fd, buf, count, true);
}
