/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flock(2), POSIX record locks and open file description locks.
 *
 * An inode gets a struct file_lock_ctx with its first lock and keeps it until it is freed. One
 * mutex covers all locks of the sandbox: they are few and held for long, and finding deadlocks
 * needs a view of all. Owners are compared, never dereferenced: a descriptor table for POSIX locks,
 * an open file for the other two kinds.
 *
 * Waiting: a request that meets another owner's lock enters the list of blocked requests and sleeps
 * on the inode's queue; whoever removes or weakens a lock wakes all of it, and each tries again.
 * Before a POSIX request sleeps, the chain "I wait for A, who waits for B, ..." must not lead back
 * (EDEADLK).
 *
 * Record locks of one owner never overlap: setting one cuts or joins those it touches.
 *
 * Not done: leases (fcntl F_SETLEASE) are refused with EINVAL, as by a Linux file system without
 * them; mandatory locks.
 */
#include "vfs/locks.h"

#include "base/heap.h"
#include "vfs/hooks.h"
#include "vfs/locks_priv.h"

#include <linux/capability.h>
#include <sys/file.h>

#define LOCKS_MAX      200000U /* in the sandbox: ENOLCK */
#define DEADLOCK_STEPS 64

/* A request, on its fiber's stack. */
struct lock_request {
    struct file_lock_ctx *ctx;
    struct file_lock want;
    bool nowait;
    int err;
    const void *waits_for; /* owner; (locks_mutex) while blocked */
    bool is_blocked;       /* (locks_mutex) on the list */
    LIST_ENTRY(lock_request) blocked;
};

DEFINE_CACHE(file_lock_cache, struct file_lock);
DEFINE_CACHE(file_lock_ctx_cache, struct file_lock_ctx);

/* All state of this file that is not reached from an inode: empty whenever no lock is held. */
struct mutex locks_mutex = MUTEX_INIT(LOCK_LEAF);
struct all_lock_ctx locks_all = TAILQ_HEAD_INITIALIZER(locks_all);
static LIST_HEAD(blocked_requests, lock_request) blocked = LIST_HEAD_INITIALIZER(blocked);
static u32 nr_locks;

/* ---- contexts ---- */

static struct file_lock_ctx *ctx_of(const struct inode *inode)
{
    return atomic_load_explicit(&inode->locks, memory_order_acquire);
}

static struct file_lock_ctx *ctx_make(struct inode *inode)
{
    struct file_lock_ctx *ctx = ctx_of(inode);

    if (ctx != NULL) {
        return ctx;
    }
    ctx = cache_new(file_lock_ctx_cache);
    if (ctx == NULL) {
        return NULL;
    }
    ctx->inode = inode;
    TAILQ_INIT(&ctx->flocks);
    TAILQ_INIT(&ctx->posix);
    waitq_init(&ctx->wait);
    MUTEX_GUARD(&locks_mutex);
    if (ctx_of(inode) != NULL) {
        waitq_fini(&ctx->wait);
        cache_del(file_lock_ctx_cache, ctx);
        return ctx_of(inode);
    }
    TAILQ_INSERT_TAIL(&locks_all, ctx, all);
    atomic_store_explicit(&inode->locks, ctx, memory_order_release);
    return ctx;
}

static void lock_drop(struct file_lock_list *list, struct file_lock *l)
{
    TAILQ_REMOVE(list, l, link);
    nr_locks--;
    cache_del(file_lock_cache, l);
}

void locks_inode_fini(struct inode *inode)
{
    struct file_lock_ctx *ctx = ctx_of(inode);
    struct file_lock *l;

    if (ctx == NULL) {
        return;
    }
    mutex_lock(&locks_mutex);
    while ((l = TAILQ_FIRST(&ctx->flocks)) != NULL) {
        lock_drop(&ctx->flocks, l);
    }
    while ((l = TAILQ_FIRST(&ctx->posix)) != NULL) {
        lock_drop(&ctx->posix, l);
    }
    TAILQ_REMOVE(&locks_all, ctx, all);
    mutex_unlock(&locks_mutex);
    waitq_fini(&ctx->wait);
    cache_del(file_lock_ctx_cache, ctx);
}

/* ---- conflicts and waiting; locks_mutex held ---- */

static bool same_owner(const struct file_lock *a, const struct file_lock *b)
{
    return a->kind == b->kind && a->owner == b->owner;
}

static struct file_lock *find_conflict(struct file_lock_list *list, const struct file_lock *want)
{
    struct file_lock *l;

    TAILQ_FOREACH (l, list, link) {
        if (!same_owner(l, want) && (l->type == F_WRLCK || want->type == F_WRLCK) &&
            l->start <= want->end && want->start <= l->end) {
            return l;
        }
    }
    return NULL;
}

/* Would `owner` waiting for `other` close a circle? */
static bool would_deadlock(const void *owner, const void *other)
{
    for (int i = 0; i < DEADLOCK_STEPS; i++) {
        struct lock_request *r, *next = NULL;

        if (other == owner) {
            return true;
        }
        LIST_FOREACH (r, &blocked, blocked) {
            if (r->want.kind == KIND_POSIX && r->want.owner == other) {
                next = r;
                break;
            }
        }
        if (next == NULL) {
            return false;
        }
        other = next->waits_for;
    }
    return false;
}

static void request_unblock(struct lock_request *r)
{
    if (r->is_blocked) {
        LIST_REMOVE(r, blocked);
        r->is_blocked = false;
    }
}

/* The request met `by`: an error to return now, or 0 after noting that it waits. */
static int request_block(struct lock_request *r, const struct file_lock *by)
{
    if (r->nowait) {
        return -EAGAIN;
    }
    if (r->want.kind == KIND_POSIX && by->kind == KIND_POSIX &&
        would_deadlock(r->want.owner, by->owner)) {
        return -EDEADLK;
    }
    r->waits_for = by->owner;
    if (!r->is_blocked) {
        LIST_INSERT_HEAD(&blocked, r, blocked);
        r->is_blocked = true;
    }
    return 0;
}

/* Run try(r), which says whether the request is finished (r->err), until it is. */
static int request_run(struct lock_request *r, bool (*try)(struct lock_request *r))
{
    int err = 0;

    if (!try(r)) {
        err = waitq_wait_event(&r->ctx->wait, try(r), PARK_INTERRUPTIBLE, CLOCK_NEVER);
    }
    mutex_lock(&locks_mutex);
    request_unblock(r);
    mutex_unlock(&locks_mutex);
    return err != 0 ? err : r->err;
}

/* ---- flock ---- */

static struct file_lock *find_flock(struct file_lock_ctx *ctx, const struct file_lock *want)
{
    struct file_lock *l;

    TAILQ_FOREACH (l, &ctx->flocks, link) {
        if (same_owner(l, want)) {
            return l;
        }
    }
    return NULL;
}

/* Changing the kind of a flock is not atomic: the old one goes first (flock(2)). */
static bool flock_try(struct lock_request *r)
{
    struct file_lock *l, *by;
    bool weaker = false;

    mutex_lock(&locks_mutex);
    l = find_flock(r->ctx, &r->want);
    r->err = 0;
    if (l != NULL && l->type != r->want.type) {
        lock_drop(&r->ctx->flocks, l);
        l = NULL;
        weaker = true;
    }
    if (l == NULL && r->want.type != F_UNLCK) {
        by = find_conflict(&r->ctx->flocks, &r->want);
        if (by != NULL) {
            r->err = request_block(r, by);
            mutex_unlock(&locks_mutex);
            if (weaker) {
                waitq_wake_all(&r->ctx->wait);
            }
            return r->err != 0;
        }
        l = nr_locks < LOCKS_MAX ? cache_new(file_lock_cache) : NULL;
        if (l == NULL) {
            r->err = -ENOLCK;
        } else {
            *l = r->want;
            nr_locks++;
            TAILQ_INSERT_TAIL(&r->ctx->flocks, l, link);
        }
    }
    request_unblock(r);
    mutex_unlock(&locks_mutex);
    if (weaker) {
        waitq_wake_all(&r->ctx->wait);
    }
    return true;
}

int flock_set(struct file *f, int op)
{
    struct lock_request r = {.want = {.owner = f, .kind = KIND_FLOCK, .end = INT64_MAX}};

    if ((op & LOCK_MAND) != 0) {
        return 0; /* never worked, and since 5.15 is just not an error (fs/locks.c, flock) */
    }
    switch (op & ~LOCK_NB) {
    case LOCK_SH:
        r.want.type = F_RDLCK;
        break;
    case LOCK_EX:
        r.want.type = F_WRLCK;
        break;
    case LOCK_UN:
        r.want.type = F_UNLCK;
        break;
    default:
        return -EINVAL;
    }
    if (r.want.type == F_UNLCK && ctx_of(f->inode) == NULL) {
        return 0;
    }
    r.ctx = ctx_make(f->inode);
    if (r.ctx == NULL) {
        return -ENOLCK;
    }
    r.want.pid = vfs_hooks->current_tgid();
    r.nowait = (op & LOCK_NB) != 0;
    return request_run(&r, flock_try);
}

/* ---- record locks ---- */

/* fcntl_locking(2): l_whence, l_start and l_len to an inclusive range. */
static int range_of(struct file *f, const struct flock *fl, u64 *start, u64 *end)
{
    struct attr attr;
    s64 base = 0, first, last;
    int err;

    if (fl->l_whence == SEEK_CUR) {
        base = (s64)f->pos;
    } else if (fl->l_whence == SEEK_END) {
        err = inode_getattr(f->inode, &attr);
        if (err != 0) {
            return err;
        }
        base = (s64)attr.size;
    } else if (fl->l_whence != SEEK_SET) {
        return -EINVAL;
    }
    if (__builtin_add_overflow(base, (s64)fl->l_start, &first)) {
        return -EOVERFLOW;
    }
    if (first < 0) {
        return -EINVAL;
    }
    last = INT64_MAX;
    if (fl->l_len > 0) {
        if (__builtin_add_overflow(first, (s64)fl->l_len - 1, &last)) {
            return -EOVERFLOW;
        }
    } else if (fl->l_len < 0) {
        last = first - 1;
        if (first + fl->l_len < 0) {
            return -EINVAL;
        }
        first += fl->l_len;
    }
    *start = (u64)first;
    *end = (u64)last;
    return 0;
}

/* Roughly by start, for those who read /proc/locks. */
static void insert_sorted(struct file_lock_list *list, struct file_lock *lock)
{
    struct file_lock *l;

    nr_locks++;
    TAILQ_FOREACH (l, list, link) {
        if (l->start > lock->start) {
            TAILQ_INSERT_BEFORE(l, lock, link);
            return;
        }
    }
    TAILQ_INSERT_TAIL(list, lock, link);
}

/* Cut [start, end] out of l, which belongs to the same owner and overlaps. `spare` is used when a
 * piece is left on both sides. */
static void cut(struct file_lock_list *list, struct file_lock *l, u64 start, u64 end,
                struct file_lock **spare)
{
    if (l->start < start && l->end > end) {
        struct file_lock *right = *spare;

        *spare = NULL;
        *right = *l;
        right->start = end + 1;
        l->end = start - 1;
        insert_sorted(list, right);
    } else if (l->start < start) {
        l->end = start - 1;
    } else if (l->end > end) {
        l->start = end + 1;
    } else {
        lock_drop(list, l);
    }
}

static bool touches(const struct file_lock *l, const struct file_lock *w)
{
    u64 l_end = l->end == INT64_MAX ? l->end : l->end + 1;
    u64 w_end = w->end == INT64_MAX ? w->end : w->end + 1;

    return l->start <= w_end && w->start <= l_end;
}

/* Set or clear `want`: no conflict is left. `lock` becomes the new entry, `spare` helps to cut. */
static void posix_apply(struct file_lock_list *list, struct file_lock want, struct file_lock **lock,
                        struct file_lock **spare)
{
    struct file_lock *l, *next;

    for (l = TAILQ_FIRST(list); l != NULL; l = next) {
        next = TAILQ_NEXT(l, link);
        if (!same_owner(l, &want)) {
            continue;
        }
        if (l->type == want.type && touches(l, &want)) {
            want.start = min(want.start, l->start);
            want.end = max(want.end, l->end);
            lock_drop(list, l);
        } else if (l->start <= want.end && want.start <= l->end) {
            cut(list, l, want.start, want.end, spare);
        }
    }
    if (want.type != F_UNLCK) {
        **lock = want;
        insert_sorted(list, *lock);
        *lock = NULL;
    }
}

static bool posix_try(struct lock_request *r)
{
    struct file_lock *lock = cache_new(file_lock_cache), *spare = cache_new(file_lock_cache), *by;

    mutex_lock(&locks_mutex);
    r->err = 0;
    by = r->want.type == F_UNLCK ? NULL : find_conflict(&r->ctx->posix, &r->want);
    if (by != NULL) {
        r->err = request_block(r, by);
    } else if (lock == NULL || spare == NULL ||
               (nr_locks >= LOCKS_MAX && r->want.type != F_UNLCK)) {
        r->err = -ENOLCK;
    } else {
        posix_apply(&r->ctx->posix, r->want, &lock, &spare);
        request_unblock(r);
    }
    mutex_unlock(&locks_mutex);
    cache_del(file_lock_cache, lock);
    cache_del(file_lock_cache, spare);
    if (by == NULL) {
        waitq_wake_all(&r->ctx->wait); /* unlocked, or made weaker */
    }
    return by == NULL || r->err != 0;
}

static int check_mode(const struct file *f, short type)
{
    switch (type) {
    case F_RDLCK:
        return (f->mode & FMODE_READ) != 0 ? 0 : -EBADF;
    case F_WRLCK:
        return (f->mode & FMODE_WRITE) != 0 ? 0 : -EBADF;
    case F_UNLCK:
        return 0;
    default:
        return -EINVAL;
    }
}

/* The lock that fl asks for. */
static int want_of(struct file *f, const void *owner, s32 pid, const struct flock *fl,
                   struct file_lock *want)
{
    if (owner == NULL && fl->l_pid != 0) {
        return -EINVAL;
    }
    *want = (struct file_lock){.owner = owner != NULL ? owner : f,
                               .kind = owner != NULL ? KIND_POSIX : KIND_OFD,
                               .type = fl->l_type,
                               .pid = owner != NULL ? pid : -1};
    return range_of(f, fl, &want->start, &want->end);
}

int posix_lock_set(struct file *f, const void *owner, s32 pid, const struct flock *fl, bool wait)
{
    struct lock_request r = {.nowait = !wait};
    int err = want_of(f, owner, pid, fl, &r.want);

    if (err == 0) {
        err = check_mode(f, fl->l_type);
    }
    if (err != 0) {
        return err;
    }
    if (fl->l_type == F_UNLCK && ctx_of(f->inode) == NULL) {
        return 0;
    }
    r.ctx = ctx_make(f->inode);
    if (r.ctx == NULL) {
        return -ENOLCK;
    }
    return request_run(&r, posix_try);
}

int posix_lock_get(struct file *f, const void *owner, struct flock *fl)
{
    struct file_lock_ctx *ctx = ctx_of(f->inode);
    struct file_lock want, *by = NULL;
    int err;

    if (fl->l_type != F_RDLCK && fl->l_type != F_WRLCK) {
        return -EINVAL;
    }
    err = want_of(f, owner, 0, fl, &want);
    if (err != 0) {
        return err;
    }
    MUTEX_GUARD(&locks_mutex);
    if (ctx != NULL) {
        by = find_conflict(&ctx->posix, &want);
    }
    if (by == NULL) {
        fl->l_type = F_UNLCK;
        return 0;
    }
    fl->l_type = by->type;
    fl->l_whence = SEEK_SET;
    fl->l_start = (off_t)by->start;
    fl->l_len = by->end == INT64_MAX ? 0 : (off_t)(by->end - by->start + 1);
    fl->l_pid = by->pid;
    return 0;
}

/* ---- leases ---- */

int lease_set(struct file *f, int type)
{
    if (f->cred->fsuid != f->inode->uid && !cred_capable(f->cred, CAP_LEASE)) {
        return -EACCES;
    }
    if (!S_ISREG(f->inode->mode)) {
        return -EINVAL;
    }
    return type == F_UNLCK ? -EAGAIN : -EINVAL;
}

int lease_get(struct file *f)
{
    return F_UNLCK;
}

/* ---- the end of owners ---- */

static void remove_owned(struct file_lock_ctx *ctx, struct file_lock_list *list,
                         enum lock_kind kind, const void *owner)
{
    struct file_lock *l, *next;
    bool any = false;

    mutex_lock(&locks_mutex);
    for (l = TAILQ_FIRST(list); l != NULL; l = next) {
        next = TAILQ_NEXT(l, link);
        if (l->kind == kind && l->owner == owner) {
            lock_drop(list, l);
            any = true;
        }
    }
    mutex_unlock(&locks_mutex);
    if (any) {
        waitq_wake_all(&ctx->wait);
    }
}

void locks_remove_posix(struct file *f, const void *owner)
{
    struct file_lock_ctx *ctx = ctx_of(f->inode);

    if (ctx != NULL) {
        remove_owned(ctx, &ctx->posix, KIND_POSIX, owner);
    }
}

void locks_remove_file(struct file *f)
{
    struct file_lock_ctx *ctx = ctx_of(f->inode);

    if (ctx != NULL) {
        remove_owned(ctx, &ctx->flocks, KIND_FLOCK, f);
        remove_owned(ctx, &ctx->posix, KIND_OFD, f);
    }
}
