/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readiness of host descriptors: one thread in epoll_wait, started with the first watch, but not
 * before sched_run: what boots before it must be single-threaded (isolation of the sentry).
 *
 * A watch is found by its id, never by pointer, so a removed one is not touched by an event that
 * was fetched before; a reused id costs its new owner a spurious call. The callback runs without
 * the lock; `running` makes hostpoll_remove wait for it.
 */
#include "base/sched/hostpoll.h"

#include "base/err.h"
#include "base/host.h"
#include "base/idr.h"
#include "base/panic.h"
#include "base/sched/sched_priv.h"

#include <sys/epoll.h>

#define MAX_EVENTS  64
#define MAX_WATCHES 65536

static struct {
    struct spinlock lock;
    int epfd;                 /* (lock) 0: not made */
    bool allowed;             /* (lock) threads may be started: sched_run was called */
    bool started;             /* (lock) the thread exists */
    struct idr watches;       /* (lock) id -> struct hostpoll */
    struct hostpoll *running; /* (lock) whose callback runs */
    struct thread *thread;    /* (lock) where */
} state;

static void call_ready(u32 id, u32 events)
{
    struct hostpoll *p;

    raw_spin_lock(&state.lock);
    p = idr_find(&state.watches, id);
    state.running = p;
    raw_spin_unlock(&state.lock);
    if (p == NULL) {
        return;
    }
    p->ready(p, events);
    raw_spin_lock(&state.lock);
    state.running = NULL;
    raw_spin_unlock(&state.lock);
}

static void *poll_thread(void *arg)
{
    struct epoll_event events[MAX_EVENTS];

    (void)arg;
    raw_spin_lock(&state.lock);
    state.thread = thread_current();
    raw_spin_unlock(&state.lock);
    for (;;) {
        int n = host_epoll_wait(state.epfd, events, MAX_EVENTS, -1);

        for (int i = 0; i < n; i++) {
            call_ready(events[i].data.u32, events[i].events);
        }
    }
    return NULL;
}

static int start_thread_locked(void)
{
    pthread_t tid;
    int ret;

    if (!state.allowed || state.started) {
        return 0;
    }
    ret = sched_create_thread(&tid, poll_thread, NULL);
    if (ret != 0) {
        return ret;
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
    raw_spin_lock(&state.lock);
    state.allowed = true;
    if (state.epfd > 0) {
        CHECK(start_thread_locked() == 0, "cannot start the host poll thread");
    }
    raw_spin_unlock(&state.lock);
}

static int add_locked(struct hostpoll *p, u32 events)
{
    struct epoll_event ev = {.events = events | EPOLLET};
    int ret = start_locked();

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

int hostpoll_add(struct hostpoll *p, u32 events)
{
    int ret;

    raw_spin_lock(&state.lock);
    ret = add_locked(p, events);
    raw_spin_unlock(&state.lock);
    return ret;
}

void hostpoll_remove(struct hostpoll *p)
{
    raw_spin_lock(&state.lock);
    if (p->id != 0) {
        (void)idr_remove(&state.watches, (u32)p->id);
        (void)!host_epoll_ctl(state.epfd, EPOLL_CTL_DEL, p->fd, NULL);
        p->id = 0;
    }
    while (state.running == p && state.thread != thread_current()) {
        raw_spin_unlock(&state.lock);
        host_sched_yield();
        raw_spin_lock(&state.lock);
    }
    raw_spin_unlock(&state.lock);
}
