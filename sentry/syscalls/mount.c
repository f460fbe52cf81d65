/* SPDX-License-Identifier: Apache-2.0 */
/* mount(2), umount2(2), pivot_root(2). The descriptor-based calls of Linux 5.2 are not there. */
#include "vfs/mount.h"

#include "base/heap.h"
#include "base/usermem.h"
#include "sentry/syscalls/file_args.h"

/* An optional string of at most a page: NULL for address 0; ERR_PTR. To be freed. */
static char *optional_string(uaddr addr)
{
    char *text;
    ssize_t n;

    if (addr == 0) {
        return NULL;
    }
    text = heap_alloc(PAGE_SIZE);
    if (text == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    n = copy_in_str(text, addr, PAGE_SIZE);
    if (n < 0) {
        heap_free(text);
        return ERR_PTR(n == -ENAMETOOLONG ? -EINVAL : n);
    }
    return text;
}

/* The data of mount(2): a page, of which what cannot be read is zero. */
static char *mount_data(uaddr addr)
{
    char *text;

    if (addr == 0) {
        return NULL;
    }
    text = heap_alloc(PAGE_SIZE);
    if (text == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    if (copy_in_some(text, addr, PAGE_SIZE - 1) < 0) {
        heap_free(text);
        return ERR_PTR(-EFAULT);
    }
    text[PAGE_SIZE - 1] = '\0';
    return text;
}

static void free_string(char *s)
{
    if (!IS_ERR(s)) {
        heap_free(s);
    }
}

long sys_mount(struct task *t, uaddr source, uaddr target, uaddr type, unsigned long flags,
               uaddr data)
{
    char *ktype = optional_string(type), *ksource = optional_string(source);
    char *kdata = mount_data(data);
    const char *bad = IS_ERR(ktype) ? ktype : IS_ERR(ksource) ? ksource : kdata;
    long err;

    PATH_ARG(path, target);
    err = IS_ERR(bad) ? PTR_ERR(bad) : path.err;
    if (err == 0) {
        err = vfs_mount(&t->vfs, ksource, path.str, ktype, flags, kdata);
    }
    free_string(ktype);
    free_string(ksource);
    free_string(kdata);
    return err;
}

long sys_umount2(struct task *t, uaddr target, int flags)
{
    PATH_ARG(path, target);
    return path.err != 0 ? path.err : vfs_umount(&t->vfs, path.str, (u32)flags);
}

long sys_pivot_root(struct task *t, uaddr new_root, uaddr put_old)
{
    PATH_ARG(new, new_root);
    PATH_ARG(old, put_old);
    if (new.err != 0 || old.err != 0) {
        return new.err != 0 ? new.err : old.err;
    }
    return vfs_pivot_root(&t->vfs, new.str, old.str);
}
