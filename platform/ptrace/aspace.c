/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Address spaces: stub processes with their guest threads, and the pool of emptied ones.
 *
 * Life of an address space: born from the zygote (or taken from the pool), used, freed by mm. Freed
 * means: emptied and pooled, threads and all, if it is healthy, small and the pool has room;
 * otherwise killed. While the pool is empty the birth of one more is begun ahead of need. A killed
 * one, or one that dies by itself, is reported by wait4 thread by thread, the leader last; struct
 * aspace goes when it has been both freed and reaped.
 *
 * Reuse is safe because a stub has no state but its memory (unmapped), its control page (not
 * writable by it) and its threads' registers and FP state (set before they run again).
 *
 * A guest thread without a context waits on its address space's idle list, unborn or stopped.
 *
 * Locking: kids_lock (leaf spin lock) for lists and states; the stub's own mutex for orders.
 */
#include "platform/ptrace/ptrace_priv.h"

#include "base/err.h"
#include "base/heap.h"
#include "base/log.h"
#include "base/sched/lock.h"

DEFINE_CACHE(aspace_cache, struct aspace);
DEFINE_CACHE(tracee_cache, struct tracee);

#define POOL_MAX         16
#define POOL_MAX_THREADS 4

static LIST_HEAD(, aspace) pool; /* (k) */
static u32 pool_size;            /* (k) */
static struct aspace *ahead;     /* (k) its birth is posted but not finished */
static bool ahead_begun;         /* (k) somebody is at it */

static struct aspace *pool_take(void)
{
    struct aspace *as;
    SPIN_GUARD(&kids_lock);

    as = LIST_FIRST(&pool);
    if (as != NULL) {
        LIST_REMOVE(as, pool);
        pool_size--;
        as->pooled = false;
    }
    return as;
}

static bool pool_has_room_for(struct aspace *as)
{
    SPIN_GUARD(&kids_lock);
    return pool_size < POOL_MAX && as->threads <= POOL_MAX_THREADS && !atomic_load(&as->stub.dead);
}

/* False: full by now, or the stub has died. */
static bool pool_add(struct aspace *as)
{
    SPIN_GUARD(&kids_lock);
    if (pool_size >= POOL_MAX || atomic_load(&as->stub.dead)) {
        return false;
    }
    LIST_INSERT_HEAD(&pool, as, pool);
    pool_size++;
    as->pooled = true;
    return true;
}

/* Begin the birth of a new one. */
static struct aspace *birth_post(void)
{
    struct aspace *as = cache_new(aspace_cache);
    int ret;

    if (as == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    LIST_INIT(&as->idle);
    kids_begin_birth();
    ret = stub_post_start(&as->stub);
    if (ret < 0) {
        (void)kids_end_birth(NULL);
        cache_del(aspace_cache, as);
        return ERR_PTR(ret);
    }
    return as;
}

static struct aspace *birth_finish(struct aspace *as)
{
    int ret = stub_start(&as->stub);

    if (ret < 0) {
        (void)kids_end_birth(NULL);
        cache_del(aspace_cache, as);
        return ERR_PTR(ret);
    }
    as->kid.pid = as->stub.pid;
    as->kid.is_stub = true;
    if (!kids_end_birth(&as->kid)) {
        log_warn(LOG_PLATFORM, "stub process %d died at birth", as->stub.pid);
        stub_fini(&as->stub);
        cache_del(aspace_cache, as);
        return ERR_PTR(-EAGAIN);
    }
    stub_post_thread(&as->stub);
    return as;
}

/* The one whose birth was begun ahead, or NULL. */
static struct aspace *ahead_take(void)
{
    struct aspace *as;
    SPIN_GUARD(&kids_lock);

    as = ahead;
    ahead = NULL;
    return as;
}

/* See to it that the next one is there or on its way. */
void aspace_look_ahead(void)
{
    struct aspace *as;
    bool wanted;

    spin_lock(&kids_lock);
    wanted = ahead == NULL && !ahead_begun && LIST_EMPTY(&pool);
    ahead_begun = ahead_begun || wanted;
    spin_unlock(&kids_lock);
    if (!wanted) {
        return;
    }
    as = birth_post();
    spin_lock(&kids_lock);
    ahead = IS_ERR(as) ? NULL : as;
    ahead_begun = false;
    spin_unlock(&kids_lock);
}

struct aspace *ptrace_aspace_new(void)
{
    struct aspace *as = pool_take();

    if (as == NULL) {
        as = ahead_take();
        if (as == NULL) {
            as = birth_post();
        }
        if (IS_ERR(as)) {
            return as;
        }
        as = birth_finish(as);
    }
    aspace_look_ahead();
    return as;
}

/* Nobody knows `as` any more. Threads left here are unborn ones: traced ones were reaped. */
static void aspace_destroy(struct aspace *as)
{
    struct tracee *t;

    while ((t = LIST_FIRST(&as->idle)) != NULL) {
        LIST_REMOVE(t, idle);
        cache_del(tracee_cache, t);
    }
    stub_fini(&as->stub);
    cache_del(aspace_cache, as);
}

void ptrace_aspace_free(struct aspace *as)
{
    bool reaped;

    if (pool_has_room_for(as)) {
        stub_post_clear(&as->stub);
        if (pool_add(as)) {
            return;
        }
    }
    spin_lock(&kids_lock);
    as->freed = true;
    reaped = as->reaped;
    if (!reaped) {
        stub_kill(&as->stub); /* from here on the reaper may free it */
    }
    spin_unlock(&kids_lock);
    if (reaped) {
        aspace_destroy(as);
    }
}

/* The leader has been reaped (on the tracer), and so have all traced threads. */
void aspace_reaped(struct aspace *as)
{
    bool freed;

    spin_lock(&kids_lock);
    kids_remove_locked(&as->kid);
    atomic_store(&as->stub.dead, true);
    as->reaped = true;
    if (as->pooled) {
        LIST_REMOVE(as, pool);
        pool_size--;
        as->pooled = false;
        as->freed = true;
    }
    freed = as->freed;
    spin_unlock(&kids_lock);
    if (freed) {
        aspace_destroy(as);
    }
}

int ptrace_aspace_apply(struct aspace *as, const struct map_op *ops, size_t count)
{
    int ret = stub_apply(&as->stub, ops, count);

    /* A dead stub shows nothing to anybody; its threads will say PEXIT_DEAD. */
    return ret == -ESRCH ? 0 : ret;
}

static struct tracee *take_idle(struct aspace *as, struct pcontext *c)
{
    struct tracee *t;
    SPIN_GUARD(&kids_lock);

    t = LIST_FIRST(&as->idle);
    if (t != NULL) {
        LIST_REMOVE(t, idle);
        t->context = c;
    }
    return t;
}

/* A thread of `as` for c: an idle one, or a new one, unborn. */
struct tracee *aspace_take_thread(struct aspace *as, struct pcontext *c)
{
    struct tracee *t = take_idle(as, c);
    int tid;

    if (t != NULL) {
        return t;
    }
    t = cache_new(tracee_cache);
    if (t == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    tid = stub_new_thread(&as->stub);
    if (tid < 0) {
        cache_del(tracee_cache, t);
        return ERR_PTR(tid == -ENOMEM ? -ENOMEM : -EAGAIN);
    }
    t->kid.pid = tid;
    t->as = as;
    t->cpu = -1;
    t->context = c;
    atomic_store(&t->state, TRACEE_UNBORN);
    spin_lock(&kids_lock);
    as->threads++;
    spin_unlock(&kids_lock);
    return t;
}

/* The context that had t is done with it. */
void aspace_give_thread(struct tracee *t)
{
    bool dead;

    spin_lock(&kids_lock);
    t->context = NULL;
    dead = atomic_load(&t->state) == TRACEE_DEAD;
    if (!dead) {
        LIST_INSERT_HEAD(&t->as->idle, t, idle);
    }
    spin_unlock(&kids_lock);
    if (dead) {
        cache_del(tracee_cache, t);
    }
}

/* End the process, if there still is one. */
void aspace_kill(struct aspace *as)
{
    SPIN_GUARD(&kids_lock);
    if (!as->reaped) { /* once reaped, the pid may be somebody else's */
        stub_kill(&as->stub);
    }
}

/* A thread has ended, and so has its whole process: nobody can end a single one. */
struct pcontext *tracee_died(struct tracee *t)
{
    struct pcontext *in_switch = NULL;
    bool orphan;

    spin_lock(&kids_lock);
    kids_remove_locked(&t->kid);
    atomic_store(&t->as->stub.dead, true);
    t->as->threads--;
    atomic_store(&t->state, TRACEE_DEAD);
    orphan = t->context == NULL;
    if (orphan) {
        LIST_REMOVE(t, idle);
    } else if (atomic_load(&t->context->state) == CONTEXT_GUEST) {
        in_switch = t->context;
    }
    spin_unlock(&kids_lock);
    if (orphan) {
        cache_del(tracee_cache, t);
    }
    return in_switch;
}
