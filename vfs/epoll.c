/* SPDX-License-Identifier: Apache-2.0 */
/*
 * epoll(7), the waiting half: the ready list and who is told about it.
 *
 * A file's change of readiness calls epoll_wake, which puts the item on the ready list in O(1).
 * epoll_wait takes items off the list one by one and asks each file: a level-triggered item that is
 * still ready goes back to the end of the list, an edge-triggered one waits for its next wake. So
 * the cost is that of the ready items, not of the watched ones.
 *
 * Locking. Files' poll ops take the locks of pipes, sockets and terminals, all ranked below
 * LOCK_EPOLL; so no epoll lock is held while a file is polled, only "busy" (one ctl or scan at a
 * time), the item's reference and a reference to the file. ep->lock covers the interest list and is
 * held for short steps. ep->ready_lock is a spin lock inside the source's wait queue lock:
 *
 *     source wq lock -> ep->ready_lock;   source wq lock -> ep->wait lock -> (a parent epoll's)
 *
 * Life of an item: counted by the tree and by whoever works on it. While an item is in the tree its
 * file's memory is valid even if the last reference is going: the file's end (epoll_file_released)
 * needs ep->lock to take the item out first.
 */
#include "vfs/epoll.h"

#include "base/heap.h"
#include "vfs/epoll_priv.h"

#include <stdio.h>

DEFINE_CACHE(epoll_cache, struct epoll);
DEFINE_CACHE(epoll_file_cache, struct epoll_file);

static const struct file_ops epoll_file_ops;

bool file_is_epoll(const struct file *f)
{
    return f->ops == &epoll_file_ops;
}

struct epoll *epoll_of(const struct file *f)
{
    return container_of(f, struct epoll_file, f)->ep;
}

void epoll_put(struct epoll *ep)
{
    if (ref_put(&ep->ref)) {
        waitq_fini(&ep->wait);
        waitq_fini(&ep->busy_wait);
        cache_del(epoll_cache, ep);
    }
}

/* ---- busy ---- */

static bool try_busy(struct epoll *ep)
{
    MUTEX_GUARD(&ep->lock);
    if (ep->busy) {
        return false;
    }
    ep->busy = true;
    return true;
}

void epoll_busy_begin(struct epoll *ep)
{
    int err = 0;

    if (!try_busy(ep)) {
        err = waitq_wait_event(&ep->busy_wait, try_busy(ep), PARK_UNINTERRUPTIBLE, CLOCK_NEVER);
    }
    CHECK(err == 0, "an uninterruptible wait ended with %d", err);
}

void epoll_busy_end(struct epoll *ep)
{
    mutex_lock(&ep->lock);
    ep->busy = false;
    mutex_unlock(&ep->lock);
    (void)waitq_wake(&ep->busy_wait, 0, 1);
}

/* ---- the ready list ---- */

/* Put it there unless it is. ready_lock held. */
static void ready_add(struct epoll *ep, struct epitem *item, bool front)
{
    if (item->is_ready) {
        return;
    }
    item->is_ready = true;
    ep->nr_ready++;
    if (front) {
        TAILQ_INSERT_HEAD(&ep->ready, item, ready);
    } else {
        TAILQ_INSERT_TAIL(&ep->ready, item, ready);
    }
}

static void ready_remove(struct epoll *ep, struct epitem *item)
{
    if (item->is_ready) {
        TAILQ_REMOVE(&ep->ready, item, ready);
        item->is_ready = false;
        ep->nr_ready--;
    }
}

static bool ready_is_empty(struct epoll *ep)
{
    SPIN_GUARD(&ep->ready_lock);
    return TAILQ_EMPTY(&ep->ready);
}

/* Does this wake satisfy an EPOLLEXCLUSIVE watch (Linux ep_poll_callback)? */
static bool counts_as_exclusive(u32 watched, u32 events)
{
    u32 inout = watched & (EPOLLIN | EPOLLOUT);

    return inout == 0 || (inout & events) != 0 || events == 0;
}

bool epoll_wake(struct waiter *w, u32 events)
{
    struct epitem *item = container_of(w, struct ep_wait, w)->item;
    struct epoll *ep = item->ep;
    u32 watched;

    spin_lock(&ep->ready_lock);
    watched = item->event.events;
    if ((watched & ~EP_PRIVATE_BITS) == 0 || (events != 0 && (events & watched) == 0)) {
        spin_unlock(&ep->ready_lock); /* a spent EPOLLONESHOT, or nothing that is watched */
        return false;
    }
    ready_add(ep, item, false);
    spin_unlock(&ep->ready_lock);
    (void)waitq_wake(&ep->wait, EP_EVENTS, 1);
    return (watched & EPOLLEXCLUSIVE) == 0 || counts_as_exclusive(watched, events);
}

void epoll_make_ready(struct epitem *item)
{
    struct epoll *ep = item->ep;

    spin_lock(&ep->ready_lock);
    ready_add(ep, item, false);
    spin_unlock(&ep->ready_lock);
    (void)waitq_wake(&ep->wait, EP_EVENTS, 1);
}

void epitem_remove_locked(struct epitem *item)
{
    struct epoll *ep = item->ep;

    ASSERT_HELD(&ep->lock);
    for (struct ep_wait *w = item->waits; w != NULL; w = w->next) {
        waitq_remove(&w->w); /* no callback of it runs any more */
    }
    spin_lock(&ep->ready_lock);
    ready_remove(ep, item);
    spin_unlock(&ep->ready_lock);
    spin_lock(&item->file->lock);
    if (item->is_linked) {
        LIST_REMOVE(item, watch);
        item->is_linked = false;
    }
    spin_unlock(&item->file->lock);
    RB_REMOVE(epitem_tree, &ep->items, item);
    item->in_tree = false;
    ep->nr_nested -= file_is_epoll(item->file) ? 1 : 0;
    epitem_put(item);
}

u32 epitem_poll(struct file *file, const struct epoll_event *event, struct poller *p)
{
    return file_poll(file, p) & event->events;
}

/* ---- scanning ---- */

/* An item taken off the ready list, with what is needed to ask its file. */
struct taken {
    struct epitem *item; /* counted */
    struct file *file;   /* counted */
    struct epoll_event event;
};

/* The first ready item whose file still lives; false: there is none. */
static bool take_ready(struct epoll *ep, struct taken *out)
{
    struct epitem *item;

    MUTEX_GUARD(&ep->lock);
    SPIN_GUARD(&ep->ready_lock);
    while ((item = TAILQ_FIRST(&ep->ready)) != NULL) {
        ready_remove(ep, item);
        if (ref_get_unless_zero(&item->file->ref)) {
            ref_get(&item->ref);
            *out = (struct taken){.item = item, .file = item->file, .event = item->event};
            return true;
        }
    }
    return false;
}

/* After the event was given: what becomes of the item (epoll(7), level and edge). */
static void settle(struct epoll *ep, const struct taken *t)
{
    MUTEX_GUARD(&ep->lock);
    SPIN_GUARD(&ep->ready_lock);
    if (!t->item->in_tree) {
        return;
    }
    if ((t->event.events & EPOLLONESHOT) != 0) {
        t->item->event.events &= EP_PRIVATE_BITS;
    } else if ((t->event.events & EPOLLET) == 0) {
        ready_add(ep, t->item, false);
    }
}

static void put_back(struct epoll *ep, const struct taken *t)
{
    MUTEX_GUARD(&ep->lock);
    SPIN_GUARD(&ep->ready_lock);
    if (t->item->in_tree) {
        ready_add(ep, t->item, true);
    }
}

typedef int (*epoll_emit)(void *arg, u32 index, const struct epoll_event *ev);

/* Give up to `max` events. Items that become ready meanwhile are left for the next scan. */
static int scan(struct epoll *ep, int max, epoll_emit emit, void *arg)
{
    struct taken t;
    int given = 0, err = 0;
    u32 budget;

    epoll_busy_begin(ep);
    spin_lock(&ep->ready_lock);
    budget = ep->nr_ready;
    spin_unlock(&ep->ready_lock);
    while (given < max && budget-- > 0 && take_ready(ep, &t)) {
        struct epoll_event ev = {.events = epitem_poll(t.file, &t.event, NULL),
                                 .data = t.event.data};

        if (ev.events != 0) {
            err = emit(arg, (u32)given, &ev);
            if (err != 0) {
                put_back(ep, &t);
            } else {
                settle(ep, &t);
                given++;
            }
        }
        file_put(t.file);
        epitem_put(t.item);
        if (err != 0) {
            break;
        }
    }
    epoll_busy_end(ep);
    if (!ready_is_empty(ep)) {
        (void)waitq_wake(&ep->wait, EP_EVENTS, 1);
    }
    return given > 0 ? given : err;
}

int epoll_wait_file(struct file *f, int maxevents, u64 deadline, epoll_emit emit, void *arg)
{
    struct epoll *ep = epoll_of(f);
    struct waiter w;
    int err = 0, n;

    if (!ready_is_empty(ep) || deadline == 0) {
        n = scan(ep, maxevents, emit, arg);
        if (n != 0 || deadline == 0) {
            return n;
        }
    }
    waiter_init_current(&w);
    waitq_add_exclusive(&ep->wait, &w, 0);
    for (;;) {
        n = ready_is_empty(ep) ? 0 : scan(ep, maxevents, emit, arg);
        if (n != 0 || err != 0) {
            break;
        }
        err = fiber_park(PARK_INTERRUPTIBLE, deadline); /* and look once more whatever it says */
    }
    waitq_remove(&w);
    /* A wake that came between the last look and the removal was meant for somebody. */
    if (!ready_is_empty(ep)) {
        (void)waitq_wake(&ep->wait, EP_EVENTS, 1);
    }
    if (n != 0 || err == -ETIMEDOUT) {
        return n;
    }
    return -EINTR;
}

/* ---- the epoll as a file ---- */

/* Is any item on the ready list really ready? Those that are not leave the list. */
static u32 epoll_poll(struct file *f, struct poller *p)
{
    struct epoll *ep = epoll_of(f);
    struct taken t;
    u32 mask = 0;

    poller_add(p, &ep->wait);
    if (ready_is_empty(ep)) {
        return 0;
    }
    epoll_busy_begin(ep);
    while (mask == 0 && take_ready(ep, &t)) {
        if (epitem_poll(t.file, &t.event, NULL) != 0) {
            put_back(ep, &t);
            mask = EP_EVENTS;
        }
        file_put(t.file);
        epitem_put(t.item);
    }
    epoll_busy_end(ep);
    return mask;
}

static void epoll_show(struct file *f, char *buf, size_t size)
{
    struct epoll *ep = epoll_of(f);
    struct epitem *item;
    size_t len = 0;

    MUTEX_GUARD(&ep->lock);
    RB_FOREACH (item, epitem_tree, &ep->items) {
        int n = snprintf(buf + len, size - len,
                         "tfd: %8d events: %8x data: %16llx  pos:%lli ino:%lx sdev:%lx\n", item->fd,
                         item->event.events, (unsigned long long)item->event.data.u64,
                         (long long)item->file->pos, (unsigned long)item->file->inode->ino,
                         (unsigned long)item->file->inode->sb->dev);

        if (n < 0 || (size_t)n >= size - len) {
            buf[len] = '\0';
            return;
        }
        len += (size_t)n;
    }
}

static void epoll_release(struct file *f)
{
    struct epoll *ep = epoll_of(f);
    struct epitem *item;

    mutex_lock(&ep->lock);
    while ((item = RB_MIN(epitem_tree, &ep->items)) != NULL) {
        epitem_remove_locked(item);
    }
    mutex_unlock(&ep->lock);
    epoll_put(ep);
    file_fini(f);
    file_free(&epoll_file_cache, f);
}

static const struct file_ops epoll_file_ops = {
    .name = "epoll",
    .poll = epoll_poll,
    .show_fdinfo = epoll_show,
    .release = epoll_release,
};
HEAP_OPS(epoll_file_ops);

static struct epoll *epoll_alloc(void)
{
    struct epoll *ep = cache_new(epoll_cache);

    if (ep != NULL) {
        ref_init(&ep->ref);
        mutex_init(&ep->lock, LOCK_EPOLL);
        RB_INIT(&ep->items);
        TAILQ_INIT(&ep->ready);
        waitq_init(&ep->wait);
        waitq_init(&ep->busy_wait);
    }
    return ep;
}

struct file *epoll_new(int flags, const struct cred *cred)
{
    struct epoll_file *ef;
    int err;

    if ((flags & ~EPOLL_CLOEXEC) != 0) {
        return ERR_PTR(-EINVAL);
    }
    ef = cache_new(epoll_file_cache);
    if (ef == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    ef->ep = epoll_alloc();
    err = ef->ep == NULL ? -ENOMEM
                         : file_init_anon(&ef->f, &epoll_file_ops, "[eventpoll]", O_RDWR, cred);
    if (err != 0) {
        if (ef->ep != NULL) {
            epoll_put(ef->ep);
        }
        cache_del(epoll_file_cache, ef);
        return ERR_PTR(err);
    }
    ef->ep->file = &ef->f;
    return &ef->f;
}
