/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AF_UNIX: descriptors in flight, and the garbage they can make.
 *
 * A socket whose file is only referred to by messages that lie in queues of sockets that are in the
 * same position can never be read again: a cycle that reference counts do not free. The collector
 * finds them as Linux's first one did:
 *
 *   1. candidates: sockets in flight whose file has as many references as flights;
 *   2. for each candidate's queue (and those of its embryos), take one off each candidate in it;
 *   3. a candidate that has some left is referred to from outside: it and everything in its queue,
 * and so on, is reachable;
 *   4. the queues of the others are emptied, which drops the last references.
 *
 * gc_lock is held from 1 to 4 and by everybody who puts descriptors in flight or takes them out, so
 * the counts stand still. A queue may change meanwhile; a descriptor that was just taken out of one
 * is still counted as in flight and not found in any, which makes it reachable: safe. It runs
 * whenever a socket is closed while something is in flight; a pass is linear in what is in flight.
 */
#include "base/heap.h"
#include "sentry/socket/unix_priv.h"
#include "vfs/hooks.h"

#include <linux/capability.h>
#include <sys/resource.h>

static struct mutex gc_lock = MUTEX_INIT(LOCK_SOCKET_GC);
static LIST_HEAD(flying_socks, unix_sock) flying = LIST_HEAD_INITIALIZER(flying);
static _Atomic u32 nr_inflight; /* descriptors of any kind */
TAILQ_HEAD(gc_list, unix_sock);

static struct unix_sock *sock_of_file(struct file *f)
{
    return file_is_unix(f) ? unix_of(socket_of(f)) : NULL;
}

int unix_inflight_add(const struct scm_files *files, const struct cred *cred)
{
    MUTEX_GUARD(&gc_lock);
    if (nr_inflight > vfs_hooks->current_rlimit(RLIMIT_NOFILE) &&
        !cred_capable(cred, CAP_SYS_RESOURCE) && !cred_capable(cred, CAP_SYS_ADMIN)) {
        return -ETOOMANYREFS;
    }
    for (u32 i = 0; i < files->count; i++) {
        struct unix_sock *u = sock_of_file(files->files[i]);

        if (u != NULL && u->inflight++ == 0) {
            LIST_INSERT_HEAD(&flying, u, flying);
        }
        nr_inflight++;
    }
    return 0;
}

void unix_inflight_remove(const struct scm_files *files)
{
    MUTEX_GUARD(&gc_lock);
    for (u32 i = 0; i < files->count; i++) {
        struct unix_sock *u = sock_of_file(files->files[i]);

        if (u != NULL && --u->inflight == 0) {
            LIST_REMOVE(u, flying);
        }
        nr_inflight--;
    }
}

/* Call fn for u and each of its embryos. They are counted in batches, since only one socket may be
 * locked at a time; accepting one meanwhile needs a file of u, and then u is no candidate. */
static void for_each_queue(struct unix_sock *u, void (*fn)(struct unix_sock *q, void *arg),
                           void *arg)
{
    struct unix_sock *e, *batch[32];
    u32 skip = 0, n;

    fn(u, arg);
    do {
        u32 i = 0;

        n = 0;
        mutex_lock(&u->lock);
        TAILQ_FOREACH (e, &u->embryos, embryo) {
            if (i++ >= skip && n < ARRAY_SIZE(batch)) {
                batch[n++] = unix_get(e);
            }
        }
        mutex_unlock(&u->lock);
        skip += n;
        for (i = 0; i < n; i++) {
            fn(batch[i], arg);
            unix_put(batch[i]);
        }
    } while (n == ARRAY_SIZE(batch));
}

struct visit {
    void (*fn)(struct unix_sock *child, struct gc_list *work);
    struct gc_list *work;
};

/* Call v->fn for every candidate in q's queue. */
static void visit_queue(struct unix_sock *q, void *arg)
{
    struct visit *v = arg;
    struct unix_buf *b;

    MUTEX_GUARD(&q->lock);
    TAILQ_FOREACH (b, &q->queue, link) {
        for (u32 i = 0; b->files != NULL && i < b->files->count; i++) {
            struct unix_sock *child = sock_of_file(b->files->files[i]);

            if (child != NULL && child->gc_candidate) {
                v->fn(child, v->work);
            }
        }
    }
}

static void visit_count_down(struct unix_sock *child, struct gc_list *work)
{
    child->gc_refs--;
}

static void visit_reach(struct unix_sock *child, struct gc_list *work)
{
    if (!child->gc_reachable) {
        child->gc_reachable = true;
        TAILQ_INSERT_TAIL(work, child, gc_work);
    }
}

static void mark_candidates(void)
{
    struct unix_sock *u;

    LIST_FOREACH (u, &flying, flying) {
        u->gc_candidate = ref_read(&u->file->ref) == u->inflight;
        u->gc_reachable = false;
        u->gc_refs = u->inflight;
    }
}

static void mark_reachable(void)
{
    struct gc_list work = TAILQ_HEAD_INITIALIZER(work);
    struct visit v = {.fn = visit_reach, .work = &work};
    struct unix_sock *u;

    LIST_FOREACH (u, &flying, flying) {
        if (u->gc_candidate && u->gc_refs > 0) {
            visit_reach(u, &work);
        }
    }
    while ((u = TAILQ_FIRST(&work)) != NULL) {
        TAILQ_REMOVE(&work, u, gc_work);
        for_each_queue(u, visit_queue, &v);
    }
}

/* Move what lies in q to the list of garbage. */
static void steal_queue(struct unix_sock *q, void *arg)
{
    struct unix_queue *garbage = arg;

    MUTEX_GUARD(&q->lock);
    TAILQ_CONCAT(garbage, &q->queue, link);
    q->queue_len = q->queue_bytes = 0;
}

void unix_gc(void)
{
    struct unix_queue garbage = TAILQ_HEAD_INITIALIZER(garbage);
    struct visit count = {.fn = visit_count_down};
    struct unix_sock *u;

    if (atomic_load_explicit(&nr_inflight, memory_order_relaxed) == 0) {
        return;
    }
    mutex_lock(&gc_lock);
    mark_candidates();
    LIST_FOREACH (u, &flying, flying) {
        if (u->gc_candidate) {
            for_each_queue(u, visit_queue, &count);
        }
    }
    mark_reachable();
    LIST_FOREACH (u, &flying, flying) {
        if (u->gc_candidate && !u->gc_reachable) {
            for_each_queue(u, steal_queue, &garbage);
        }
    }
    mutex_unlock(&gc_lock);
    unix_purge(&garbage);
}
