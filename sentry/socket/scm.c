/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors in messages. Putting them is serialised through one list: the release of a socket
 * frees the messages in its queue, which may hold the last reference to another socket, and so on
 * for as long a chain as a guest likes to build. Whoever finds the list without a worker works it
 * off; all others only append.
 */
#include "base/heap.h"
#include "sentry/socket/socket.h"

DEFINE_CACHE(scm_files_cache, struct scm_files);

static struct {
    struct spinlock lock; /* leaf */
    struct scm_files *list;
    bool has_worker;
} pending;

struct scm_files *scm_files_new(void)
{
    return cache_new(scm_files_cache);
}

struct scm_files *scm_files_dup(const struct scm_files *files)
{
    struct scm_files *copy;

    if (files == NULL) {
        return NULL;
    }
    copy = cache_new(scm_files_cache);
    if (copy == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    copy->count = files->count;
    for (u32 i = 0; i < files->count; i++) {
        copy->files[i] = file_get(files->files[i]);
    }
    return copy;
}

static void put_all(struct scm_files *files)
{
    for (u32 i = 0; i < files->count; i++) {
        file_put(files->files[i]);
    }
    cache_del(scm_files_cache, files);
}

void scm_files_put(struct scm_files *files)
{
    if (files == NULL) {
        return;
    }
    spin_lock(&pending.lock);
    files->next = pending.list;
    pending.list = files;
    if (pending.has_worker) {
        spin_unlock(&pending.lock);
        return;
    }
    pending.has_worker = true;
    while ((files = pending.list) != NULL) {
        pending.list = files->next;
        spin_unlock(&pending.lock);
        put_all(files);
        spin_lock(&pending.lock);
    }
    pending.has_worker = false;
    spin_unlock(&pending.lock);
}
