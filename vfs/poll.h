/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readiness. A file's poll op returns its present POLL* mask and, when given a poller, adds the
 * poller's waiters to the wait queues whose wake could change the answer. The order matters: add
 * first, then compute the mask, so that no change in between is lost.
 */
#ifndef PAVISE_VFS_POLL_H
#define PAVISE_VFS_POLL_H

#include "base/base.h"
#include "base/sched/waitq.h"

#include <poll.h>
#include <sys/epoll.h>

struct file;

struct poller {
    /* Called by poller_add; the implementer (poll(2), epoll) supplies a waiter and queues it. */
    void (*queue)(struct poller *p, struct waitq *wq);
};

/* From a poll op: no-op when p is NULL. */
static inline void poller_add(struct poller *p, struct waitq *wq)
{
    if (p != NULL) {
        p->queue(p, wq);
    }
}

/* One descriptor of a poll(2) or select(2): the file (borrowed; NULL: report POLLNVAL) and masks.
 */
struct poll_entry {
    struct file *file;
    u32 events;  /* POLL* wanted; POLLERR and POLLHUP are always */
    u32 revents; /* out */
};

/*
 * Wait until one of the entries is ready or `deadline` (monotonic ns; CLOCK_NEVER: none; 0: only
 * look). The number of entries with revents, 0 on time-out, -ENOMEM, or -ERESTARTSYS when
 * interrupted (the caller turns it into what its call needs: poll restarts unless a handler ran).
 */
must_check int poll_files(struct poll_entry *entries, u32 count, u64 deadline);

#define POLL_DEFAULT (POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM) /* a file without a poll op */

#endif
