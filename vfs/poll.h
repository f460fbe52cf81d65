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

#define POLL_DEFAULT (POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM) /* a file without a poll op */

#endif
