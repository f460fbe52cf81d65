/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host calls that may sleep. worker_block_begin moves the fiber from its worker to a spare thread,
 * which has no run queue and may be stuck as long as it likes; worker_block_end moves it back. The
 * worker goes on with other fibers meanwhile. That costs two host switches, so callers first try
 * the way that cannot sleep (RWF_NOWAIT, RESOLVE_CACHED) and bracket only the rest.
 *
 * Spares wait for the next fiber on their futex word; a new one is made when none waits.
 *
 * Under the seeded order the fiber stays on the one worker, so that runs repeat.
 */
#include "base/err.h"
#include "base/host.h"
#include "base/panic.h"
#include "base/sched/sched_priv.h"

#include <urcu-qsbr.h>

static void *spare_thread(void *arg)
{
    struct thread *t = thread_current();
    struct fiber *f = arg;

    t->is_spare = true;
    t->tid = pthread_self();
    raw_spin_lock(&sched.lock);
    LIST_INSERT_HEAD(&sched.all_spares, t, all_link);
    raw_spin_unlock(&sched.lock);
    rcu_register_thread();
    for (;;) {
        if (f != NULL) {
            fiber_run(t, f);
            CHECK(t->op == SWITCH_RETURN, "%s switches inside a bracket (%d)", f->name, t->op);
            sched_make_runnable_outside(f);
        }
        rcu_thread_offline();
        raw_spin_lock(&sched.lock);
        t->handed = NULL;
        atomic_store(&t->word, 0);
        TAILQ_INSERT_HEAD(&sched.spares, t, spare_link);
        raw_spin_unlock(&sched.lock);
        while (atomic_load(&t->word) == 0) {
            (void)!host_futex_wait(&t->word, 0, UINT64_MAX);
        }
        rcu_thread_online();
        f = t->handed;
        if (f == NULL) {
            break; /* spares_stop */
        }
    }
    rcu_unregister_thread();
    return NULL;
}

void spare_run(struct fiber *f)
{
    struct thread *t;
    pthread_t tid;

    raw_spin_lock(&sched.lock);
    t = TAILQ_FIRST(&sched.spares);
    if (t != NULL) {
        TAILQ_REMOVE(&sched.spares, t, spare_link);
        t->handed = f;
    }
    raw_spin_unlock(&sched.lock);
    if (t != NULL) {
        atomic_store(&t->word, 1);
        (void)host_futex_wake(&t->word, 1);
        return;
    }
    atomic_fetch_add(&sched.stat_spares, 1);
    CHECK(pthread_create(&tid, NULL, spare_thread, f) == 0, "cannot start a spare thread");
    (void)pthread_detach(tid);
}

/* End the spares that wait. One stuck in a host call is left alone. */
void spares_stop(void)
{
    struct thread *t;

    for (;;) {
        raw_spin_lock(&sched.lock);
        t = TAILQ_FIRST(&sched.spares);
        if (t != NULL) {
            TAILQ_REMOVE(&sched.spares, t, spare_link);
            LIST_REMOVE(t, all_link);
        }
        raw_spin_unlock(&sched.lock);
        if (t == NULL) {
            return;
        }
        atomic_store(&t->word, 1);
        (void)host_futex_wake(&t->word, 1);
    }
}

void worker_block_begin(void)
{
    struct thread *t = thread_current();

    if (t->current == NULL || t->worker == NULL || sched.seed != 0) {
        return;
    }
    CHECK(t->spin_depth == 0, "%s blocks with a spin lock held", t->current->name);
    fiber_switch_out(t, SWITCH_HAND);
}

void worker_block_end(void)
{
    struct thread *t = thread_current();

    if (t->current == NULL || !t->is_spare) {
        return;
    }
    fiber_switch_out(t, SWITCH_RETURN);
}
