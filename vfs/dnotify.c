/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dnotify: a request belongs to an open directory and a descriptor table, and goes when a
 * descriptor of that file is closed there, so it borrows the file. There are few if any: one list
 * for all.
 */
#include "vfs/dnotify.h"

#include "base/heap.h"
#include "vfs/fsnotify.h"
#include "vfs/hooks.h"

#include <signal.h>

#define DN_ALL (DN_ACCESS | DN_MODIFY | DN_CREATE | DN_DELETE | DN_RENAME | DN_ATTRIB)

struct dnotify {
    LIST_ENTRY(dnotify) link; /* (lock) */
    struct file *f;           /* (c) borrowed */
    const void *fdt;          /* (c) identity only */
    int fd;                   /* (lock) */
    u32 events;               /* (lock) DN_* still wanted */
};
DEFINE_CACHE(dnotify_cache, struct dnotify);

static struct spinlock lock; /* leaf */
static LIST_HEAD(dnotify_list, dnotify) requests = LIST_HEAD_INITIALIZER(requests);
static _Atomic u32 nr_requests;

static u32 events_of(u32 mask)
{
    static const struct {
        u32 in, dn;
    } map[] = {
        {IN_ACCESS, DN_ACCESS},
        {IN_MODIFY, DN_MODIFY},
        {IN_CREATE | IN_MOVED_TO, DN_CREATE},
        {IN_DELETE | IN_MOVED_FROM, DN_DELETE},
        {IN_MOVED_FROM | IN_MOVED_TO, DN_RENAME},
        {IN_ATTRIB, DN_ATTRIB},
    };
    u32 events = 0;

    for (size_t i = 0; i < ARRAY_SIZE(map); i++) {
        events |= (mask & map[i].in) != 0 ? map[i].dn : 0;
    }
    return events;
}

/* lock held */
static void dnotify_remove(struct dnotify *d)
{
    LIST_REMOVE(d, link);
    atomic_fetch_sub(&nr_requests, 1);
    atomic_fetch_sub(&inotify_nr_marks, 1);
    cache_del(dnotify_cache, d);
}

static struct dnotify *dnotify_find(const struct file *f, const void *fdt)
{
    struct dnotify *d;

    LIST_FOREACH (d, &requests, link) {
        if (d->f == f && (fdt == NULL || d->fdt == fdt)) {
            return d;
        }
    }
    return NULL;
}

int dnotify_set(struct file *f, int fd, u32 events, const void *fdt)
{
    struct dnotify *d, *fresh;

    if ((events & DN_ALL) == 0) {
        dnotify_close(f, fdt);
        return 0;
    }
    if ((events & ~(u32)(DN_ALL | DN_MULTISHOT)) != 0) {
        return -EINVAL;
    }
    if (!S_ISDIR(f->inode->mode)) {
        return -ENOTDIR;
    }
    fresh = cache_new(dnotify_cache);
    if (fresh == NULL) {
        return -ENOMEM;
    }
    SPIN_GUARD(&lock);
    d = dnotify_find(f, fdt);
    if (d == NULL) {
        d = fresh;
        d->f = f;
        d->fdt = fdt;
        LIST_INSERT_HEAD(&requests, d, link);
        atomic_fetch_add(&nr_requests, 1);
        atomic_fetch_add(&inotify_nr_marks, 1);
    } else {
        cache_del(dnotify_cache, fresh);
    }
    d->fd = fd;
    d->events |= events;
    return 0;
}

void dnotify_close(const struct file *f, const void *fdt)
{
    struct dnotify *d;

    if (likely(atomic_load_explicit(&nr_requests, memory_order_relaxed) == 0)) {
        return;
    }
    SPIN_GUARD(&lock);
    while ((d = dnotify_find(f, fdt)) != NULL) {
        dnotify_remove(d);
    }
}

void dnotify_event(const struct inode *dir, u32 mask)
{
    u32 events = events_of(mask);
    struct dnotify *d, *next;

    if (events == 0 || atomic_load_explicit(&nr_requests, memory_order_relaxed) == 0) {
        return;
    }
    SPIN_GUARD(&lock);
    for (d = LIST_FIRST(&requests); d != NULL; d = next) {
        struct file_owner owner;

        next = LIST_NEXT(d, link);
        if (d->f->inode != dir || (d->events & events) == 0) {
            continue;
        }
        spin_lock(&d->f->lock);
        owner = d->f->owner;
        spin_unlock(&d->f->lock);
        vfs_hooks->send_sigio(&owner, d->fd, POLL_MSG, 0);
        if ((d->events & DN_MULTISHOT) == 0) {
            d->events &= ~events;
            if ((d->events & DN_ALL) == 0) {
                dnotify_remove(d);
            }
        }
    }
}
