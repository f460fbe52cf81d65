/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that lock-free readers (fd look-up) may still be looking at: struct file after its end,
 * descriptor arrays that were outgrown. It waits on one list until every worker went through a
 * quiescent state (QSBR: readers never park inside a look-up), then it is freed.
 *
 *   look-up (a worker)                    last put (another worker)
 *   f = slot                              slot = NULL          (before the put)
 *                                         ref -> 0, release, defer_free(f)
 *   ref_get_unless_zero(f): fails,        ...
 *   memory still there                    grace period: this worker passed between fibers
 *                                         cache_free(f)
 *
 * The wrong case: cache_free at once, f's slot reused, and the look-up counts the reference of a
 * stranger.
 *
 * A batch is flushed by a fiber of its own, so that nobody who closes a descriptor waits.
 */
#include "base/heap.h"
#include "base/sched/worker.h"
#include "vfs/vfs_priv.h"

#include <urcu-qsbr.h>

#define DEFER_BATCH 64U

static void defer_free_list(struct deferred *d)
{
    while (d != NULL) {
        struct deferred *next = d->next;

        if (d->type != NULL) {
            cache_free(d->type, d->obj);
        } else {
            heap_free(d->obj);
        }
        d = next;
    }
}

static struct deferred *defer_take_all(void)
{
    struct deferred *list;

    spin_lock(&vfs_state->deferred_lock);
    list = vfs_state->deferred;
    vfs_state->deferred = NULL;
    vfs_state->nr_deferred = 0;
    spin_unlock(&vfs_state->deferred_lock);
    return list;
}

/* Free all that was deferred before this call. Waits: not with a spin lock held. */
void defer_flush(void)
{
    struct deferred *list = defer_take_all();

    if (list == NULL) {
        return;
    }
    urcu_qsbr_synchronize_rcu();
    defer_free_list(list);
}

static void defer_flush_fiber(void *arg)
{
    struct deferred *list;

    (void)arg;
    spin_lock(&vfs_state->deferred_lock);
    vfs_state->flush_pending = false;
    spin_unlock(&vfs_state->deferred_lock);
    list = defer_take_all();
    worker_block_begin();
    urcu_qsbr_synchronize_rcu();
    worker_block_end();
    defer_free_list(list);
}

void defer_free(struct deferred *d, struct cache_type *type, void *obj)
{
    bool start = false;

    d->type = type;
    d->obj = obj;
    spin_lock(&vfs_state->deferred_lock);
    d->next = vfs_state->deferred;
    vfs_state->deferred = d;
    vfs_state->nr_deferred++;
    if (vfs_state->nr_deferred >= DEFER_BATCH && !vfs_state->flush_pending) {
        vfs_state->flush_pending = start = true;
    }
    spin_unlock(&vfs_state->deferred_lock);
    if (start && (fiber_current() == NULL || sched_defer(defer_flush_fiber, NULL) != 0)) {
        spin_lock(&vfs_state->deferred_lock);
        vfs_state->flush_pending = false; /* the next one tries again */
        spin_unlock(&vfs_state->deferred_lock);
    }
}
