/* SPDX-License-Identifier: Apache-2.0 */
/* Names: open(2) and its kin, directories, links, rename(2), where a task stands. */
#include "base/heap.h"
#include "base/usermem.h"
#include "sentry/syscalls/file_args.h"
#include "vfs/dentry.h"
#include "vfs/mount.h"

#include <linux/openat2.h>
#include <sys/sysmacros.h>

#define KERNEL_O_LARGEFILE 0100000U
#define OPEN_KNOWN                                                                                 \
    (O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_SYNC |          \
     O_ASYNC | O_DIRECT | KERNEL_O_LARGEFILE | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC |  \
     O_PATH | O_TMPFILE)
#define RESOLVE_KNOWN                                                                              \
    (RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH |             \
     RESOLVE_IN_ROOT | RESOLVE_CACHED)

/* ---- open ---- */

static long do_open(struct task *t, int dirfd, uaddr name, u32 flags, u32 mode, u32 resolve)
{
    struct open_how_args how = {.flags = flags, .mode = mode, .resolve = resolve};

    PATH_ARG(path, name);
    if (path.err != 0) {
        return path.err;
    }
    return install_file(t, vfs_open(&t->vfs, dirfd, path.str, &how), (flags & O_CLOEXEC) != 0);
}

long sys_openat(struct task *t, int dirfd, uaddr name, int flags, unsigned int mode)
{
    u32 known = (u32)flags & OPEN_KNOWN; /* others were always ignored */

    return do_open(t, dirfd, name, known | KERNEL_O_LARGEFILE, mode & 07777U, 0);
}

long sys_open(struct task *t, uaddr name, int flags, unsigned int mode)
{
    return sys_openat(t, AT_FDCWD, name, flags, mode);
}

long sys_creat(struct task *t, uaddr name, unsigned int mode)
{
    return sys_openat(t, AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

static int check_open_how(const struct open_how *how)
{
    bool makes = (how->flags & O_CREAT) != 0 || (how->flags & O_TMPFILE) == O_TMPFILE;

    if ((how->flags & ~(u64)OPEN_KNOWN) != 0 || (how->resolve & ~(u64)RESOLVE_KNOWN) != 0 ||
        (how->resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)) ==
            (RESOLVE_BENEATH | RESOLVE_IN_ROOT) ||
        (makes ? (how->mode & ~07777ULL) != 0 : how->mode != 0)) {
        return -EINVAL;
    }
    if ((how->flags & O_PATH) != 0 &&
        (how->flags & ~(u64)(O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) != 0) {
        return -EINVAL;
    }
    /* Whether a look-up needs no disk is not known here beforehand. */
    return (how->resolve & RESOLVE_CACHED) != 0 ? -EAGAIN : 0;
}

/* copy_struct_from_user: what a longer struct adds must be zero. */
static int copy_in_how(struct open_how *how, uaddr src, size_t size)
{
    char tail[64];
    int err;

    if (size < sizeof(*how)) {
        return -EINVAL;
    }
    if (size > PAGE_SIZE) {
        return -E2BIG;
    }
    err = copy_in(how, src, sizeof(*how));
    for (size_t at = sizeof(*how); err == 0 && at < size; at += sizeof(tail)) {
        size_t n = min(sizeof(tail), size - at);

        err = copy_in(tail, src + at, n);
        for (size_t i = 0; err == 0 && i < n; i++) {
            err = tail[i] != 0 ? -E2BIG : 0;
        }
    }
    return err;
}

long sys_openat2(struct task *t, int dirfd, uaddr name, uaddr how_addr, size_t size)
{
    struct open_how how;
    int err = copy_in_how(&how, how_addr, size);

    if (err == 0) {
        err = check_open_how(&how);
    }
    if (err != 0) {
        return err;
    }
    return do_open(t, dirfd, name, (u32)how.flags, (u32)how.mode, (u32)how.resolve);
}

/* ---- making and removing names ---- */

long sys_mkdirat(struct task *t, int dirfd, uaddr name, unsigned int mode)
{
    PATH_ARG(path, name);
    return path.err != 0 ? path.err : vfs_mkdir(&t->vfs, dirfd, path.str, mode);
}

long sys_mkdir(struct task *t, uaddr name, unsigned int mode)
{
    return sys_mkdirat(t, AT_FDCWD, name, mode);
}

long sys_mknodat(struct task *t, int dirfd, uaddr name, unsigned int mode, unsigned int dev)
{
    /* The kernel's 32-bit encoding of a device number. */
    u64 rdev = makedev((dev >> 8) & 0xfffU, (dev & 0xffU) | ((dev >> 12) & 0xfff00U));

    PATH_ARG(path, name);
    return path.err != 0 ? path.err : vfs_mknod(&t->vfs, dirfd, path.str, mode, rdev);
}

long sys_mknod(struct task *t, uaddr name, unsigned int mode, unsigned int dev)
{
    return sys_mknodat(t, AT_FDCWD, name, mode, dev);
}

long sys_unlinkat(struct task *t, int dirfd, uaddr name, int flags)
{
    if ((flags & ~AT_REMOVEDIR) != 0) {
        return -EINVAL;
    }
    PATH_ARG(path, name);
    return path.err != 0 ? path.err : vfs_unlink(&t->vfs, dirfd, path.str, (u32)flags);
}

long sys_unlink(struct task *t, uaddr name)
{
    return sys_unlinkat(t, AT_FDCWD, name, 0);
}

long sys_rmdir(struct task *t, uaddr name)
{
    return sys_unlinkat(t, AT_FDCWD, name, AT_REMOVEDIR);
}

long sys_symlinkat(struct task *t, uaddr target, int dirfd, uaddr name)
{
    PATH_ARG(text, target);
    PATH_ARG(path, name);
    if (text.err != 0 || path.err != 0) {
        return text.err != 0 ? text.err : path.err;
    }
    return vfs_symlink(&t->vfs, text.str, dirfd, path.str);
}

long sys_symlink(struct task *t, uaddr target, uaddr name)
{
    return sys_symlinkat(t, target, AT_FDCWD, name);
}

long sys_linkat(struct task *t, int olddirfd, uaddr old, int newdirfd, uaddr new, int flags)
{
    PATH_ARG(from, old);
    PATH_ARG(to, new);
    if ((flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH)) != 0) {
        return -EINVAL;
    }
    if (from.err != 0 || to.err != 0) {
        return from.err != 0 ? from.err : to.err;
    }
    return vfs_link(&t->vfs, olddirfd, from.str, newdirfd, to.str, (u32)flags);
}

long sys_link(struct task *t, uaddr old, uaddr new)
{
    return sys_linkat(t, AT_FDCWD, old, AT_FDCWD, new, 0);
}

long sys_renameat2(struct task *t, int olddirfd, uaddr old, int newdirfd, uaddr new,
                   unsigned int flags)
{
    PATH_ARG(from, old);
    PATH_ARG(to, new);
    if (from.err != 0 || to.err != 0) {
        return from.err != 0 ? from.err : to.err;
    }
    return vfs_rename(&t->vfs, olddirfd, from.str, newdirfd, to.str, flags);
}

long sys_renameat(struct task *t, int olddirfd, uaddr old, int newdirfd, uaddr new)
{
    return sys_renameat2(t, olddirfd, old, newdirfd, new, 0);
}

long sys_rename(struct task *t, uaddr old, uaddr new)
{
    return sys_renameat2(t, AT_FDCWD, old, AT_FDCWD, new, 0);
}

long sys_truncate(struct task *t, uaddr name, s64 len)
{
    PATH_ARG(path, name);
    return path.err != 0 ? path.err : write_result(t, vfs_truncate(&t->vfs, path.str, len));
}

/* ---- reading links and places ---- */

static long readlink_text(struct task *t, int dirfd, const char *name, uaddr buf, size_t size)
{
    char *text = heap_alloc(PATH_LEN_MAX);
    ssize_t n;

    if (text == NULL) {
        return -ENOMEM;
    }
    n = vfs_readlink(&t->vfs, dirfd, name, text, min(size, (size_t)PATH_LEN_MAX));
    if (n > 0 && copy_out(buf, text, (size_t)n) != 0) {
        n = -EFAULT;
    }
    heap_free(text);
    return n;
}

long sys_readlinkat(struct task *t, int dirfd, uaddr name, uaddr buf, int size)
{
    if (size <= 0) {
        return -EINVAL;
    }
    PATH_ARG(path, name);
    return path.err != 0 ? path.err : readlink_text(t, dirfd, path.str, buf, (size_t)size);
}

long sys_readlink(struct task *t, uaddr name, uaddr buf, int size)
{
    return sys_readlinkat(t, AT_FDCWD, name, buf, size);
}

/* The text of the working directory, in room of PATH_LEN_MAX bytes. */
static const char *cwd_text(struct task *t, char *room)
{
    struct path root, cwd;
    char *text;

    fs_context_paths(t->vfs.fs, &root, &cwd);
    text = cwd.dentry->unhashed ? ERR_PTR(-ENOENT) : path_text(&cwd, &root, room, PATH_LEN_MAX);
    path_put(&cwd);
    path_put(&root);
    return text;
}

long sys_getcwd(struct task *t, uaddr buf, size_t size)
{
    char *room = heap_alloc(PATH_LEN_MAX);
    const char *text;
    long ret;

    if (room == NULL) {
        return -ENOMEM;
    }
    text = cwd_text(t, room);
    if (IS_ERR(text)) {
        ret = PTR_ERR(text);
    } else {
        size_t len = strlen(text) + 1;

        ret = len > size ? -ERANGE : copy_out(buf, text, len);
        ret = ret == 0 ? (long)len : ret;
    }
    heap_free(room);
    return ret;
}

long sys_chdir(struct task *t, uaddr name)
{
    PATH_ARG(path, name);
    return path.err != 0 ? path.err : vfs_chdir(&t->vfs, path.str);
}

long sys_fchdir(struct task *t, int fd)
{
    return vfs_fchdir(&t->vfs, fd);
}

long sys_chroot(struct task *t, uaddr name)
{
    PATH_ARG(path, name);
    return path.err != 0 ? path.err : vfs_chroot(&t->vfs, path.str);
}

long sys_umask(struct task *t, unsigned int mask)
{
    struct fs_context *fs = t->vfs.fs;
    u32 old;

    write_lock(&fs->lock);
    old = fs->umask;
    fs->umask = mask & 0777U;
    write_unlock(&fs->lock);
    return old;
}
