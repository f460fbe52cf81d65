/* SPDX-License-Identifier: Apache-2.0 */
/* Extended attributes: getxattr(2), setxattr(2), listxattr(2), removexattr(2), by path or
 * descriptor. */
#include "vfs/xattr.h"

#include "base/heap.h"
#include "base/usermem.h"
#include "sentry/syscalls/file_args.h"

#include <sys/xattr.h>

/* ---- arguments ---- */

struct name_arg {
    char str[XATTR_NAME_LEN_MAX + 1];
};

static int name_arg_get(struct name_arg *n, uaddr addr)
{
    ssize_t len = copy_in_str(n->str, addr, sizeof(n->str));

    if (len == 0 || len == -ENAMETOOLONG) {
        return -ERANGE;
    }
    return len < 0 ? (int)len : 0;
}

/* What a call is about: a path (followed or not) or an open file. */
static int path_of(struct task *t, uaddr addr, bool follow, struct path *out)
{
    PATH_ARG(path, addr);
    return path.err != 0
               ? path.err
               : path_lookup(&t->vfs, AT_FDCWD, path.str, follow ? LOOKUP_FOLLOW : 0, out);
}

static int path_of_fd(struct task *t, int fd, struct path *out)
{
    AUTOPUT_FILE f = fd_get(t->vfs.fdt, fd);

    if (f == NULL) {
        return -EBADF;
    }
    *out = f->path;
    path_get(out);
    return 0;
}

/* ---- the four acts; `at` is put ---- */

static long do_set(struct task *t, struct path *at, uaddr name, uaddr value, size_t size, int flags)
{
    struct name_arg n;
    void *buf = NULL;
    long err = name_arg_get(&n, name);

    if ((flags & ~(XATTR_CREATE | XATTR_REPLACE)) != 0) {
        err = -EINVAL;
    } else if (err == 0 && size > XATTR_VALUE_MAX) {
        err = -E2BIG;
    }
    if (err == 0) {
        buf = heap_alloc(max(size, (size_t)1));
        err = buf == NULL ? -ENOMEM : copy_in(buf, value, size);
    }
    if (err == 0) {
        err = path_setxattr(at, n.str, buf, size, flags, t->vfs.cred);
    }
    heap_free(buf);
    path_put(at);
    return err;
}

static long do_get(struct task *t, struct path *at, uaddr name, uaddr value, size_t size)
{
    struct name_arg n;
    void *buf = NULL;
    long ret = name_arg_get(&n, name);

    size = min(size, (size_t)XATTR_VALUE_MAX);
    if (ret == 0) {
        buf = heap_alloc(max(size, (size_t)1));
        ret = buf == NULL ? -ENOMEM : path_getxattr(at, n.str, buf, size, t->vfs.cred);
    }
    if (ret > 0 && size != 0 && copy_out(value, buf, (size_t)ret) != 0) {
        ret = -EFAULT;
    }
    heap_free(buf);
    path_put(at);
    return ret;
}

static long do_list(struct task *t, struct path *at, uaddr list, size_t size)
{
    void *buf;
    long ret;

    size = min(size, (size_t)XATTR_LIST_LEN_MAX);
    buf = heap_alloc(max(size, (size_t)1));
    ret = buf == NULL ? -ENOMEM : path_listxattr(at, buf, size, t->vfs.cred);
    if (ret > 0 && size != 0 && copy_out(list, buf, (size_t)ret) != 0) {
        ret = -EFAULT;
    }
    heap_free(buf);
    path_put(at);
    return ret;
}

static long do_remove(struct task *t, struct path *at, uaddr name)
{
    struct name_arg n;
    long err = name_arg_get(&n, name);

    if (err == 0) {
        err = path_removexattr(at, n.str, t->vfs.cred);
    }
    path_put(at);
    return err;
}

/* ---- set ---- */

long sys_setxattr(struct task *t, uaddr path, uaddr name, uaddr value, size_t size, int flags)
{
    struct path at;
    int err = path_of(t, path, true, &at);

    return err != 0 ? err : do_set(t, &at, name, value, size, flags);
}

long sys_lsetxattr(struct task *t, uaddr path, uaddr name, uaddr value, size_t size, int flags)
{
    struct path at;
    int err = path_of(t, path, false, &at);

    return err != 0 ? err : do_set(t, &at, name, value, size, flags);
}

long sys_fsetxattr(struct task *t, int fd, uaddr name, uaddr value, size_t size, int flags)
{
    struct path at;
    int err = path_of_fd(t, fd, &at);

    return err != 0 ? err : do_set(t, &at, name, value, size, flags);
}

/* ---- get ---- */

long sys_getxattr(struct task *t, uaddr path, uaddr name, uaddr value, size_t size)
{
    struct path at;
    int err = path_of(t, path, true, &at);

    return err != 0 ? err : do_get(t, &at, name, value, size);
}

long sys_lgetxattr(struct task *t, uaddr path, uaddr name, uaddr value, size_t size)
{
    struct path at;
    int err = path_of(t, path, false, &at);

    return err != 0 ? err : do_get(t, &at, name, value, size);
}

long sys_fgetxattr(struct task *t, int fd, uaddr name, uaddr value, size_t size)
{
    struct path at;
    int err = path_of_fd(t, fd, &at);

    return err != 0 ? err : do_get(t, &at, name, value, size);
}

/* ---- list ---- */

long sys_listxattr(struct task *t, uaddr path, uaddr list, size_t size)
{
    struct path at;
    int err = path_of(t, path, true, &at);

    return err != 0 ? err : do_list(t, &at, list, size);
}

long sys_llistxattr(struct task *t, uaddr path, uaddr list, size_t size)
{
    struct path at;
    int err = path_of(t, path, false, &at);

    return err != 0 ? err : do_list(t, &at, list, size);
}

long sys_flistxattr(struct task *t, int fd, uaddr list, size_t size)
{
    struct path at;
    int err = path_of_fd(t, fd, &at);

    return err != 0 ? err : do_list(t, &at, list, size);
}

/* ---- remove ---- */

long sys_removexattr(struct task *t, uaddr path, uaddr name)
{
    struct path at;
    int err = path_of(t, path, true, &at);

    return err != 0 ? err : do_remove(t, &at, name);
}

long sys_lremovexattr(struct task *t, uaddr path, uaddr name)
{
    struct path at;
    int err = path_of(t, path, false, &at);

    return err != 0 ? err : do_remove(t, &at, name);
}

long sys_fremovexattr(struct task *t, int fd, uaddr name)
{
    struct path at;
    int err = path_of_fd(t, fd, &at);

    return err != 0 ? err : do_remove(t, &at, name);
}
