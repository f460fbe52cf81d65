/* SPDX-License-Identifier: Apache-2.0 */
/*
 * O_ASYNC registrations. One struct fasync an open file, on the list of the object it is about;
 * f->fasync points to it. The pointer and the link change under the list's lock, which fasync_send
 * holds while it calls the hook (the hook never parks), the pointer also under f->lock inside it.
 */
#include "vfs/fasync.h"

#include "base/heap.h"
#include "vfs/hooks.h"

#include <signal.h>

struct fasync {
    LIST_ENTRY(fasync) link; /* (list->lock) */
    struct file *file;       /* (c) borrowed: release takes the entry off first */
    int fd;                  /* (file->lock) */
};
DEFINE_CACHE(fasync_cache, struct fasync);

/* The band of si_band for each code (kernel/signal: band_table of fs/fcntl). */
static u32 code_band(int code)
{
    switch (code) {
    case POLL_IN:
        return POLLIN | POLLRDNORM;
    case POLL_OUT:
        return POLLOUT | POLLWRNORM | POLLWRBAND;
    case POLL_MSG:
        return POLLIN | POLLRDNORM | POLLMSG;
    case POLL_ERR:
        return POLLERR;
    case POLL_PRI:
        return POLLPRI | POLLRDBAND;
    default:
        return POLLHUP | POLLERR;
    }
}

void fasync_init(struct fasync_list *list)
{
    LIST_INIT(&list->entries);
}

static void fasync_drop(struct file *f, struct fasync_list *list)
{
    struct fasync *fa;

    spin_lock(&list->lock);
    fa = atomic_load_explicit(&f->fasync, memory_order_relaxed);
    if (fa != NULL) {
        LIST_REMOVE(fa, link);
        spin_lock(&f->lock);
        atomic_store_explicit(&f->fasync, NULL, memory_order_relaxed);
        spin_unlock(&f->lock);
    }
    spin_unlock(&list->lock);
    cache_del(fasync_cache, fa);
}

int fasync_set(struct file *f, bool on, struct fasync_list *list)
{
    struct fasync *fa;

    if (!on) {
        if (atomic_load_explicit(&f->fasync, memory_order_relaxed) != NULL) {
            fasync_drop(f, list);
        }
        return 0;
    }
    fa = cache_new(fasync_cache);
    if (fa == NULL) {
        return -ENOMEM;
    }
    fa->file = f;
    fa->fd = -1;
    spin_lock(&list->lock);
    if (atomic_load_explicit(&f->fasync, memory_order_relaxed) == NULL) {
        LIST_INSERT_HEAD(&list->entries, fa, link);
        spin_lock(&f->lock);
        atomic_store_explicit(&f->fasync, fa, memory_order_relaxed);
        spin_unlock(&f->lock);
        fa = NULL;
    }
    spin_unlock(&list->lock);
    cache_del(fasync_cache, fa);
    return 0;
}

void fasync_set_fd(struct file *f, int fd)
{
    struct fasync *fa;

    spin_lock(&f->lock);
    fa = atomic_load_explicit(&f->fasync, memory_order_relaxed);
    if (fa != NULL) {
        fa->fd = fd;
    }
    spin_unlock(&f->lock);
}

void fasync_send(struct fasync_list *list, int code)
{
    struct fasync *fa;

    if (LIST_EMPTY(&list->entries)) { /* racy: as Linux, a late registration may miss this one */
        return;
    }
    spin_lock(&list->lock);
    LIST_FOREACH (fa, &list->entries, link) {
        struct file_owner owner;
        int fd;

        spin_lock(&fa->file->lock);
        owner = fa->file->owner;
        fd = fa->fd;
        spin_unlock(&fa->file->lock);
        if (owner.pid != 0) {
            vfs_hooks->send_sigio(&owner, fd, code, code_band(code));
        }
    }
    spin_unlock(&list->lock);
}
