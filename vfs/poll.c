/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The core of poll(2) and select(2): register the calling fiber on every queue that could change an
 * answer, look at every file, sleep, look again. The first pass registers; once one entry is ready,
 * or the caller does not want to wait, the rest is only looked at.
 *
 * The waiters live in chunks: one on the stack for the usual few descriptors, heap ones behind it.
 */
#include "vfs/poll.h"

#include "base/err.h"
#include "base/heap.h"
#include "vfs/vfs.h"

#define STACK_WAITERS 8U
#define CHUNK_WAITERS 64U

struct poll_chunk {
    struct poll_chunk *next;
    u32 used;
    struct waiter waiters[CHUNK_WAITERS];
};
DEFINE_CACHE(poll_chunk_cache, struct poll_chunk);

struct poll_table {
    struct poller poller;
    u32 events; /* wanted by the entry that is being registered */
    bool failed;
    u32 used;
    struct waiter first[STACK_WAITERS];
    struct poll_chunk *chunks; /* newest first */
};

static struct waiter *table_next_waiter(struct poll_table *t)
{
    struct poll_chunk *c = t->chunks;

    if (t->used < STACK_WAITERS) {
        return &t->first[t->used++];
    }
    if (c == NULL || c->used == CHUNK_WAITERS) {
        c = cache_new(poll_chunk_cache);
        if (c == NULL) {
            return NULL;
        }
        c->next = t->chunks;
        t->chunks = c;
    }
    return &c->waiters[c->used++];
}

static void table_queue(struct poller *p, struct waitq *wq)
{
    struct poll_table *t = container_of(p, struct poll_table, poller);
    struct waiter *w = table_next_waiter(t);

    if (w == NULL) {
        t->failed = true;
        return;
    }
    waiter_init_current(w);
    waitq_add(wq, w, t->events | POLLERR | POLLHUP);
}

static void table_fini(struct poll_table *t)
{
    for (u32 i = 0; i < t->used; i++) {
        waitq_remove(&t->first[i]);
    }
    while (t->chunks != NULL) {
        struct poll_chunk *c = t->chunks;

        for (u32 i = 0; i < c->used; i++) {
            waitq_remove(&c->waiters[i]);
        }
        t->chunks = c->next;
        cache_del(poll_chunk_cache, c);
    }
}

/* One look at every entry; registers while `reg` and nothing is ready. The number that is. */
static u32 poll_pass(struct poll_table *t, struct poll_entry *entries, u32 count, bool reg)
{
    u32 ready = 0;

    for (u32 i = 0; i < count; i++) {
        struct poll_entry *e = &entries[i];

        if (e->file == NULL) {
            e->revents = POLLNVAL;
        } else {
            t->events = e->events;
            e->revents = file_poll(e->file, reg && ready == 0 ? &t->poller : NULL) &
                         (e->events | POLLERR | POLLHUP);
        }
        ready += e->revents != 0 ? 1 : 0;
    }
    return ready;
}

int poll_files(struct poll_entry *entries, u32 count, u64 deadline)
{
    struct poll_table t = {.poller.queue = table_queue};
    bool reg = deadline != 0;
    int err = 0;
    u32 ready;

    for (;;) {
        ready = poll_pass(&t, entries, count, reg);
        reg = false;
        if (ready != 0 || err != 0 || deadline == 0) {
            break;
        }
        if (t.failed) {
            err = -ENOMEM;
            break;
        }
        err = fiber_park(PARK_INTERRUPTIBLE, deadline); /* and look once more whatever it says */
    }
    table_fini(&t);
    if (ready != 0) {
        return (int)ready;
    }
    return err == -ETIMEDOUT ? 0 : err;
}
