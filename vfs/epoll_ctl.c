/* SPDX-License-Identifier: Apache-2.0 */
/*
 * epoll(7), the interest half: EPOLL_CTL_*, what happens when a watched file ends, and the rules
 * for epolls that watch epolls.
 *
 * Nesting: an edge between epolls is added with the graph lock held, after a walk that finds loops
 * (ELOOP), chains of more than EP_MAX_NESTS + 2 epolls (ELOOP), and epolls with too many watchers
 * (EINVAL): a wake runs up every path, so their number is bounded. The walk remembers what it found
 * at each epoll (visit), so it is linear. It goes from key to key instead of holding two
 * LOCK_EPOLL.
 */
#include "base/heap.h"
#include "vfs/epoll.h"
#include "vfs/epoll_priv.h"

#include <limits.h>

#define EP_MAX_NESTS    4
#define EP_MAX_WATCHERS 32 /* of one epoll */

DEFINE_CACHE(epitem_cache, struct epitem);
DEFINE_CACHE(ep_wait_cache, struct ep_wait);

static struct mutex graph_lock = MUTEX_INIT(LOCK_EPOLL_GRAPH);
static u64 graph_visit; /* (graph_lock) number of the present walk */

static int epitem_cmp(const struct epitem *a, const struct epitem *b)
{
    if (a->file != b->file) {
        return (uintptr_t)a->file < (uintptr_t)b->file ? -1 : 1;
    }
    return a->fd < b->fd ? -1 : a->fd > b->fd;
}
RB_GENERATE(epitem_tree, epitem, node, epitem_cmp)

void epitem_put(struct epitem *item)
{
    struct ep_wait *w;

    if (!ref_put(&item->ref)) {
        return;
    }
    while ((w = item->waits) != NULL) {
        item->waits = w->next;
        if (w != &item->first) {
            cache_del(ep_wait_cache, w);
        }
    }
    epoll_put(item->ep);
    cache_del(epitem_cache, item);
}

/* ---- the graph of epolls; graph_lock held ---- */

/* The next watched epoll behind *after (a key; file NULL: the first), counted. */
static struct file *next_nested(struct epoll *ep, struct epitem *after)
{
    struct epitem *item;

    MUTEX_GUARD(&ep->lock);
    if (ep->nr_nested == 0) {
        return NULL;
    }
    item = after->file == NULL ? RB_MIN(epitem_tree, &ep->items)
                               : RB_NFIND(epitem_tree, &ep->items, after);
    for (; item != NULL; item = RB_NEXT(epitem_tree, &ep->items, item)) {
        if (file_is_epoll(item->file) && ref_get_unless_zero(&item->file->ref)) {
            after->file = item->file;
            after->fd = item->fd + 1;
            return item->file;
        }
    }
    return NULL;
}

/* How many epolls does the longest chain below ep have, ep included? -ELOOP when it leads to
 * `to`, or is too long. */
static int graph_height(struct epoll *ep, const struct epoll *to, int depth)
{
    struct epitem key = {0};
    struct file *child;
    int height = 1;

    if (ep == to || depth > EP_MAX_NESTS) {
        return -ELOOP;
    }
    if (ep->visit == graph_visit) {
        return ep->visit_height;
    }
    while ((child = next_nested(ep, &key)) != NULL) {
        int below = graph_height(epoll_of(child), to, depth + 1);

        file_put(child);
        if (below < 0) {
            return below;
        }
        height = max(height, below + 1);
    }
    ep->visit = graph_visit;
    ep->visit_height = height;
    return height;
}

/* How many epolls does the longest chain of watchers of f have? An item on f's list cannot leave it
 * without f->lock, so its epoll's file is still there. Spin locks up an acyclic graph. */
static int graph_depth(struct file *f)
{
    struct epoll *ep = epoll_of(f);
    struct epitem *item;
    int depth = 0;

    if (ep->visit_up == graph_visit) {
        return ep->visit_depth;
    }
    spin_lock(&f->lock);
    LIST_FOREACH (item, &f->epitems, watch) {
        int above = graph_depth(item->ep->file) + 1;

        depth = max(depth, above);
    }
    spin_unlock(&f->lock);
    ep->visit_up = graph_visit;
    ep->visit_depth = depth;
    return depth;
}

static u32 count_watchers(struct file *f)
{
    struct epitem *item;
    u32 count = 0;

    SPIN_GUARD(&f->lock);
    LIST_FOREACH (item, &f->epitems, watch) {
        count++;
    }
    return count;
}

/* May `ep` (whose file is ep_file) watch the epoll `target`? */
static int check_nesting(struct file *ep_file, struct file *target)
{
    int height;

    graph_visit++;
    height = graph_height(epoll_of(target), epoll_of(ep_file), 0);
    if (height < 0) {
        return height;
    }
    if (height + 1 + graph_depth(ep_file) > EP_MAX_NESTS + 2) {
        return -ELOOP;
    }
    return count_watchers(target) >= EP_MAX_WATCHERS ? -EINVAL : 0;
}

/* ---- adding ---- */

struct ep_poller {
    struct poller p;
    struct epitem *item;
    bool failed;
};

/* From a poll op, which may hold locks ranked below LOCK_EPOLL. */
static void ep_queue(struct poller *p, struct waitq *wq)
{
    struct ep_poller *pt = container_of(p, struct ep_poller, p);
    struct epitem *item = pt->item;
    struct ep_wait *w;

    MUTEX_GUARD(&item->ep->lock);
    w = item->waits == NULL ? &item->first : cache_new(ep_wait_cache);
    if (w == NULL || !item->in_tree) {
        pt->failed = w == NULL;
        if (w != NULL && w != &item->first) {
            cache_del(ep_wait_cache, w);
        }
        return;
    }
    w->item = item;
    w->next = item->waits;
    item->waits = w;
    waiter_init_callback(&w->w, epoll_wake);
    if ((item->event.events & EPOLLEXCLUSIVE) != 0) {
        waitq_add_exclusive(wq, &w->w, 0);
    } else {
        waitq_add(wq, &w->w, 0); /* MOD changes what is watched: the callback filters */
    }
}

static struct epitem *find(struct epoll *ep, struct file *file, int fd)
{
    struct epitem key = {.file = file, .fd = fd};

    ASSERT_HELD(&ep->lock);
    return RB_FIND(epitem_tree, &ep->items, &key);
}

/* Enter the item in the tree and in the file's list. The caller owns one more reference. */
static int insert(struct epoll *ep, struct epitem *item)
{
    MUTEX_GUARD(&ep->lock);
    if (find(ep, item->file, item->fd) != NULL) {
        return -EEXIST;
    }
    ref_get(&item->ref);
    (void)RB_INSERT(epitem_tree, &ep->items, item);
    item->in_tree = true;
    ep->nr_nested += file_is_epoll(item->file) ? 1 : 0;
    spin_lock(&item->file->lock);
    LIST_INSERT_HEAD(&item->file->epitems, item, watch);
    item->is_linked = true;
    spin_unlock(&item->file->lock);
    return 0;
}

static int insert_nested(struct file *ep_file, struct epitem *item)
{
    int err;

    MUTEX_GUARD(&graph_lock);
    err = check_nesting(ep_file, item->file);
    return err != 0 ? err : insert(item->ep, item);
}

static struct epitem *item_new(struct epoll *ep, struct file *target, int fd,
                               const struct epoll_event *event)
{
    struct epitem *item = cache_new(epitem_cache);

    if (item != NULL) {
        ref_init(&item->ref);
        ref_get(&ep->ref);
        item->ep = ep;
        item->file = target;
        item->fd = fd;
        item->event = *event;
    }
    return item;
}

static int ctl_add(struct file *ep_file, struct file *target, int fd,
                   const struct epoll_event *event)
{
    struct epoll *ep = epoll_of(ep_file);
    struct epitem *item = item_new(ep, target, fd, event);
    struct ep_poller pt = {.p.queue = ep_queue, .item = item};
    u32 revents;
    int err;

    if (item == NULL) {
        return -ENOMEM;
    }
    err = file_is_epoll(target) ? insert_nested(ep_file, item) : insert(ep, item);
    if (err == 0) {
        revents = epitem_poll(target, event, &pt.p);
        if (pt.failed) {
            err = -ENOMEM;
            mutex_lock(&ep->lock);
            epitem_remove_locked(item);
            mutex_unlock(&ep->lock);
        } else if (revents != 0) {
            epoll_make_ready(item);
        }
    }
    epitem_put(item);
    return err;
}

/* ---- the other operations ---- */

static int ctl_del(struct epoll *ep, struct file *target, int fd)
{
    struct epitem *item;

    MUTEX_GUARD(&ep->lock);
    item = find(ep, target, fd);
    if (item == NULL) {
        return -ENOENT;
    }
    epitem_remove_locked(item);
    return 0;
}

/* The new mask first, then a look at the file: a change in between comes through the callback. */
static int ctl_mod(struct epoll *ep, struct file *target, int fd, const struct epoll_event *event)
{
    struct epitem *item;

    mutex_lock(&ep->lock);
    item = find(ep, target, fd);
    if (item == NULL || (item->event.events & EPOLLEXCLUSIVE) != 0) {
        mutex_unlock(&ep->lock);
        return item == NULL ? -ENOENT : -EINVAL;
    }
    spin_lock(&ep->ready_lock);
    item->event = *event;
    spin_unlock(&ep->ready_lock);
    ref_get(&item->ref);
    mutex_unlock(&ep->lock);
    if (epitem_poll(target, event, NULL) != 0) {
        epoll_make_ready(item);
    }
    epitem_put(item);
    return 0;
}

static int check_exclusive(int op, const struct file *target, u32 events)
{
    const u32 allowed =
        (u32)(EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLET) | EPOLLEXCLUSIVE;

    if ((events & EPOLLEXCLUSIVE) == 0) {
        return 0;
    }
    if (op == EPOLL_CTL_MOD || file_is_epoll(target) || (events & ~allowed) != 0) {
        return -EINVAL;
    }
    return 0;
}

int epoll_ctl_file(struct file *ep_file, int op, struct file *target, int fd,
                   const struct epoll_event *event)
{
    struct epoll_event ev = {0};
    struct epoll *ep;
    int err;

    if (target->ops->poll == NULL) {
        return -EPERM;
    }
    if (target == ep_file || !file_is_epoll(ep_file)) {
        return -EINVAL;
    }
    if (op != EPOLL_CTL_DEL) {
        ev = *event;
        err = check_exclusive(op, target, ev.events);
        if (err != 0) {
            return err;
        }
        ev.events &= ~(u32)EPOLLWAKEUP; /* needs CAP_BLOCK_SUSPEND and a machine that sleeps */
        ev.events |= EPOLLERR | EPOLLHUP;
    }
    ep = epoll_of(ep_file);
    epoll_busy_begin(ep);
    switch (op) {
    case EPOLL_CTL_ADD:
        err = ctl_add(ep_file, target, fd, &ev);
        break;
    case EPOLL_CTL_DEL:
        err = ctl_del(ep, target, fd);
        break;
    case EPOLL_CTL_MOD:
        err = ctl_mod(ep, target, fd, &ev);
        break;
    default:
        err = -EINVAL;
    }
    epoll_busy_end(ep);
    return err;
}

/* The first watch of a dying file, counted, off the file's list. */
static struct epitem *take_watch(struct file *f)
{
    struct epitem *item;

    SPIN_GUARD(&f->lock);
    item = LIST_FIRST(&f->epitems);
    if (item != NULL) {
        /* The item cannot be freed before it is off this list, so it may be counted here. */
        LIST_REMOVE(item, watch);
        item->is_linked = false;
        ref_get(&item->ref);
    }
    return item;
}

void epoll_file_released(struct file *f)
{
    struct epitem *item;

    while ((item = take_watch(f)) != NULL) {
        struct epoll *ep = item->ep;

        mutex_lock(&ep->lock);
        if (item->in_tree) {
            epitem_remove_locked(item);
        }
        mutex_unlock(&ep->lock);
        epitem_put(item);
    }
}
