/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readiness of host descriptors: one thread in epoll_wait, started with the first watch, but not
 * before sched_run: what boots before it must be single-threaded (isolation of the sentry). A watch
 * is found by its id, never by pointer, so a removed one is not touched by an event that was
 * already fetched.
 */
#include "base/sched/hostpoll.h"

#include "base/err.h"
#include "base/host.h"
#include "base/idr.h"
#include "base/panic.h"
#include "base/sched/lock.h"

#include <pthread.h>
#include <sys/epoll.h>

#define MAX_EVENTS  64
#define MAX_WATCHES 65536

static struct {
    struct spinlock lock; /* held while a callback runs */
    int epfd;             /* (lock) 0: not made */
    bool allowed;         /* (lock) threads may be started: sched_run was called */
    bool started;         /* (lock) the thread exists */
    struct idr watches;   /* (lock) id -> struct hostpoll */
} state;

static void *poll_thread(void *arg)
{
    struct epoll_event events[MAX_EVENTS];

    (void)arg;
    for (;;) {
        int n = host_epoll_wait(state.epfd, events, MAX_EVENTS, -1);

        for (int i = 0; i < n; i++) {
            struct hostpoll *p;

            spin_lock(&state.lock);
            p = idr_find(&state.watches, events[i].data.u32);
            if (p != NULL) {
                p->ready(p, events[i].events);
            }
            spin_unlock(&state.lock);
        }
    }
    return NULL;
}

static int start_thread_locked(void)
{
    pthread_t tid;

    if (!state.allowed || state.started) {
        return 0;
    }
    if (pthread_create(&tid, NULL, poll_thread, NULL) != 0) {
        return -EAGAIN;
    }
    state.started = true;
    (void)pthread_detach(tid);
    return 0;
}

static int start_locked(void)
{
    int epfd;

    if (state.epfd <= 0) {
        epfd = host_epoll_create();
        if (epfd < 0) {
            return epfd;
        }
        idr_init(&state.watches);
        state.epfd = epfd;
    }
    return start_thread_locked();
}

void hostpoll_allow(void)
{
    SPIN_GUARD(&state.lock);
    state.allowed = true;
    if (state.epfd > 0) {
        CHECK(start_thread_locked() == 0, "cannot start the host poll thread");
    }
}

int hostpoll_add(struct hostpoll *p, u32 events)
{
    struct epoll_event ev = {.events = events | EPOLLET};
    int ret;

    SPIN_GUARD(&state.lock);
    ret = start_locked();
    if (ret == 0) {
        ret = idr_alloc(&state.watches, p, 1, MAX_WATCHES);
    }
    if (ret < 0) {
        return ret;
    }
    p->id = (u64)ret;
    ev.data.u32 = (u32)ret;
    ret = host_epoll_ctl(state.epfd, EPOLL_CTL_ADD, p->fd, &ev);
    if (ret != 0) {
        (void)idr_remove(&state.watches, (u32)p->id);
        p->id = 0;
    }
    return ret;
}

void hostpoll_remove(struct hostpoll *p)
{
    SPIN_GUARD(&state.lock);
    if (p->id != 0) {
        (void)idr_remove(&state.watches, (u32)p->id);
        (void)!host_epoll_ctl(state.epfd, EPOLL_CTL_DEL, p->fd, NULL);
        p->id = 0;
    }
}
