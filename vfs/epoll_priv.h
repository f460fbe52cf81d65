/* SPDX-License-Identifier: Apache-2.0 */
/* What epoll.c (waiting, ready list) and epoll_ctl.c (interest list, nesting) share. */
#ifndef PAVISE_VFS_EPOLL_PRIV_H
#define PAVISE_VFS_EPOLL_PRIV_H

#include "base/ref.h"
#include "vfs/epoll.h"
#include "vfs/vfs.h"

#include <bsd/sys/tree.h>

/* Bits of epoll_event.events that are not readiness. */
#define EP_PRIVATE_BITS ((u32)(EPOLLWAKEUP | EPOLLONESHOT | EPOLLET) | EPOLLEXCLUSIVE)
#define EP_EVENTS       (POLLIN | POLLRDNORM)

struct epitem;

/* One wait queue that an item sits on. The first is inside the item. */
struct ep_wait {
    struct waiter w;
    struct epitem *item;  /* (c) */
    struct ep_wait *next; /* (ep->lock) */
};

struct epitem {
    struct ref ref;
    struct epoll *ep;          /* (c) counted */
    struct file *file;         /* (c) borrowed; memory valid while in_tree, under ep->lock */
    int fd;                    /* (c) with file the key */
    RB_ENTRY(epitem) node;     /* (ep->lock) */
    LIST_ENTRY(epitem) watch;  /* (file->lock) f->epitems */
    bool is_linked;            /* (file->lock) */
    bool in_tree;              /* (ep->lock) */
    struct epoll_event event;  /* (ep->ready_lock) */
    TAILQ_ENTRY(epitem) ready; /* (ep->ready_lock) */
    bool is_ready;             /* (ep->ready_lock) */
    struct ep_wait first;      /* (ep->lock) */
    struct ep_wait *waits;     /* (ep->lock) those in use */
};

struct epoll {
    struct ref ref;                         /* the file, and each item */
    struct mutex lock;                      /* LOCK_EPOLL: the interest list */
    RB_HEAD(epitem_tree, epitem) items;     /* (lock) */
    u32 nr_nested;                          /* (lock) items that are epolls */
    bool busy;                              /* (lock) a ctl or a scan is under way */
    struct waitq busy_wait;                 /* for !busy */
    struct spinlock ready_lock;             /* leaf, inside any wait queue's lock */
    TAILQ_HEAD(epitem_ready, epitem) ready; /* (ready_lock) */
    u32 nr_ready;                           /* (ready_lock) */
    struct waitq wait;                      /* epoll_wait (exclusive) and pollers of the epoll */
    struct file *file;             /* (c) borrowed: the epoll's own; gone once no item is left */
    u64 visit, visit_up;           /* (LOCK_EPOLL_GRAPH) last graph walk that came by */
    int visit_height, visit_depth; /* (LOCK_EPOLL_GRAPH) its results */
};

struct epoll_file {
    struct file f;
    struct epoll *ep; /* (c) counted */
};

RB_PROTOTYPE(epitem_tree, epitem, node, epitem_cmp)

struct epoll *epoll_of(const struct file *f);
void epoll_put(struct epoll *ep);
void epitem_put(struct epitem *item);

/* The one sleeping lock that may be held while files are polled: it has no rank because polling a
 * nested epoll takes it again there; the graph has no loops, so neither has the order. */
void epoll_busy_begin(struct epoll *ep);
void epoll_busy_end(struct epoll *ep);

/* The callback of every ep_wait. */
bool epoll_wake(struct waiter *w, u32 events);
/* Put the item on the ready list and wake waiters, without a callback (ADD, MOD found it ready). */
void epoll_make_ready(struct epitem *item);
/* What the item's file is ready for, of what it is watched for. No lock held. */
u32 epitem_poll(struct file *file, const struct epoll_event *event, struct poller *p);

/* Take an item out of everything. ep->lock held; drops the tree's reference. */
void epitem_remove_locked(struct epitem *item);

#endif
