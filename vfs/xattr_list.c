/* SPDX-License-Identifier: Apache-2.0 */
/* Extended attributes kept in memory: see the header. Newest first; an entry is one heap buffer. */
#include "vfs/xattr_list.h"

#include "base/err.h"
#include "base/heap.h"

#include <sys/xattr.h>

#define XATTR_TOTAL_MAX (128 * KiB) /* names and values of one inode */

struct xattr_entry {
    TAILQ_ENTRY(xattr_entry) link;
    u32 name_len, size;
    char data[]; /* the name with its NUL, then the value */
};

void xattr_list_init(struct xattr_list *l)
{
    *l = (struct xattr_list){.bytes = 0};
    TAILQ_INIT(&l->entries);
}

static void entry_drop(struct xattr_list *l, struct xattr_entry *x)
{
    TAILQ_REMOVE(&l->entries, x, link);
    l->bytes -= x->name_len + x->size;
    heap_free(x);
}

void xattr_list_fini(struct xattr_list *l)
{
    while (!TAILQ_EMPTY(&l->entries)) {
        entry_drop(l, TAILQ_FIRST(&l->entries));
    }
}

bool xattr_list_supports(const char *name)
{
    return strncmp(name, "user.", 5) == 0 || strncmp(name, "trusted.", 8) == 0 ||
           strncmp(name, "security.", 9) == 0;
}

static struct xattr_entry *entry_find(const struct xattr_list *l, const char *name)
{
    struct xattr_entry *x;

    TAILQ_FOREACH (x, &l->entries, link) {
        if (strcmp(x->data, name) == 0) {
            return x;
        }
    }
    return NULL;
}

ssize_t xattr_list_get(const struct xattr_list *l, const char *name, void *buf, size_t size)
{
    const struct xattr_entry *x;

    if (!xattr_list_supports(name)) {
        return -EOPNOTSUPP;
    }
    x = entry_find(l, name);
    if (x == NULL) {
        return -ENODATA;
    }
    if (size == 0) {
        return x->size;
    }
    if (size < x->size) {
        return -ERANGE;
    }
    memcpy(buf, x->data + x->name_len + 1, x->size);
    return x->size;
}

static int entry_add(struct xattr_list *l, const char *name, const void *value, size_t size)
{
    size_t name_len = strlen(name);
    struct xattr_entry *x;

    if (size > XATTR_TOTAL_MAX || l->bytes + name_len + size > XATTR_TOTAL_MAX) {
        return -ENOSPC;
    }
    x = heap_alloc(sizeof(*x) + name_len + 1 + size);
    if (x == NULL) {
        return -ENOMEM;
    }
    x->name_len = (u32)name_len;
    x->size = (u32)size;
    memcpy(x->data, name, name_len + 1);
    memcpy(x->data + name_len + 1, value, size);
    TAILQ_INSERT_HEAD(&l->entries, x, link);
    l->bytes += x->name_len + x->size;
    return 0;
}

int xattr_list_set(struct xattr_list *l, const char *name, const void *value, size_t size,
                   int flags)
{
    struct xattr_entry *old;
    int err;

    if (!xattr_list_supports(name)) {
        return -EOPNOTSUPP;
    }
    old = entry_find(l, name);
    if ((flags & XATTR_CREATE) != 0 && old != NULL) {
        return -EEXIST;
    }
    if ((flags & XATTR_REPLACE) != 0 && old == NULL) {
        return -ENODATA;
    }
    err = entry_add(l, name, value, size);
    if (err == 0 && old != NULL) {
        entry_drop(l, old);
    }
    return err;
}

ssize_t xattr_list_names(const struct xattr_list *l, char *buf, size_t size)
{
    const struct xattr_entry *x;
    size_t n = 0;

    TAILQ_FOREACH (x, &l->entries, link) {
        size_t len = (size_t)x->name_len + 1;

        if (size != 0) {
            if (len > size - n) {
                return -ERANGE;
            }
            memcpy(buf + n, x->data, len);
        }
        n += len;
    }
    return (ssize_t)n;
}

int xattr_list_remove(struct xattr_list *l, const char *name)
{
    struct xattr_entry *x;

    if (!xattr_list_supports(name)) {
        return -EOPNOTSUPP;
    }
    x = entry_find(l, name);
    if (x == NULL) {
        return -ENODATA;
    }
    entry_drop(l, x);
    return 0;
}
