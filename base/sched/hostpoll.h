/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readiness of host descriptors (standard streams, donated sockets, the control socket). One host
 * thread sleeps in epoll_wait, started with the first watch; callbacks run on it with no lock held
 * and may only wake. Edge-triggered: re-check after adding.
 */
#ifndef PAVISE_BASE_SCHED_HOSTPOLL_H
#define PAVISE_BASE_SCHED_HOSTPOLL_H

#include "base/base.h"

struct hostpoll {
    int fd;                                        /* (c) borrowed */
    void (*ready)(struct hostpoll *p, u32 events); /* (c) EPOLL* bits */
    u64 id;                                        /* (private) */
};

/* Watch p->fd for `events` (EPOLLIN...). -EPERM: the fd is always ready (a regular file). */
must_check int hostpoll_add(struct hostpoll *p, u32 events);
/* By sched_run: from now on threads may be started. */
void hostpoll_allow(void);
/* After it returns, ready does not run any more. */
void hostpoll_remove(struct hostpoll *p);

#endif
