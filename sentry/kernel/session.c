/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Process groups and sessions (credentials(7), setpgid(2), setsid(2)). All under the task list. A
 * group lives as long as it has members (each counts it) or somebody else refers to it (a
 * terminal's foreground).
 */
#include "base/heap.h"
#include "sentry/kernel/kernel_priv.h"

DEFINE_CACHE(pgrp_cache, struct process_group);
DEFINE_CACHE(session_cache, struct session);

struct session *session_get(struct session *s)
{
    ref_get(&s->ref);
    return s;
}

void session_put(struct session *s)
{
    if (s != NULL && ref_put(&s->ref)) {
        if (s->tty !=
            NULL) { /* the leader went without exit.c's leave_session: never, but be sure */
            session_disassociate_tty(s);
        }
        cache_del(session_cache, s);
    }
}

struct session *session_new(struct thread_group *leader)
{
    struct session *s = cache_new(session_cache);

    if (s != NULL) {
        ref_init(&s->ref);
        s->sid = leader->tgid;
        s->leader = leader;
    }
    return s;
}

/* A new empty group; counts the session; the caller owns one reference. */
struct process_group *pgrp_new(s32 pgid, struct session *session)
{
    struct process_group *pg = cache_new(pgrp_cache);

    if (pg != NULL) {
        ref_init(&pg->ref);
        pg->pgid = pgid;
        pg->session = session_get(session);
        TAILQ_INIT(&pg->members);
        TAILQ_INSERT_TAIL(&kernel->pgrps, pg, link);
    }
    return pg;
}

void pgrp_put(struct process_group *pg)
{
    if (pg != NULL && ref_put(&pg->ref)) {
        TAILQ_REMOVE(&kernel->pgrps, pg, link);
        session_put(pg->session);
        cache_del(pgrp_cache, pg);
    }
}

struct process_group *pgrp_find(s32 pgid)
{
    struct process_group *pg;

    TAILQ_FOREACH (pg, &kernel->pgrps, link) {
        if (pg->pgid == pgid && !TAILQ_EMPTY(&pg->members)) {
            return pg;
        }
    }
    return NULL;
}

/* Move tg into pg (counted for it); NULL: leave the old one (reaping). */
void tg_set_pgrp(struct thread_group *tg, struct process_group *pg)
{
    struct process_group *old = tg->pgrp;

    if (pg == old) {
        return;
    }
    if (old != NULL) {
        TAILQ_REMOVE(&old->members, tg, pg_link);
    }
    tg->pgrp = pg;
    if (pg != NULL) {
        ref_get(&pg->ref);
        TAILQ_INSERT_TAIL(&pg->members, tg, pg_link);
    }
    pgrp_put(old);
}

/*
 * POSIX: a group is orphaned when no member has a parent in another group of the same session.
 * `ignore` is a process that is leaving.
 */
bool pgrp_is_orphaned(const struct process_group *pg, const struct thread_group *ignore)
{
    const struct thread_group *tg;

    TAILQ_FOREACH (tg, &pg->members, pg_link) {
        if (tg == ignore || tg->dead || tg->parent == NULL) {
            continue;
        }
        if (tg->parent->pgrp != pg && tg->parent->pgrp != NULL &&
            tg->parent->pgrp->session == pg->session) {
            return false;
        }
    }
    return true;
}

static bool pgrp_has_stopped(const struct process_group *pg)
{
    const struct thread_group *tg;

    TAILQ_FOREACH (tg, &pg->members, pg_link) {
        if (tg->stopped) {
            return true;
        }
    }
    return false;
}

/*
 * tg leaves `parent`'s side: if that orphans tg's group while it holds stopped jobs, they get
 * SIGHUP and SIGCONT (setpgid(2)). `leaving`: tg itself exits.
 */
void pgrp_check_orphans(struct thread_group *tg, struct thread_group *parent)
{
    struct process_group *pg = tg->pgrp;
    const struct thread_group *ignore = parent == tg->parent ? tg : NULL;

    if (pg == NULL || parent == NULL || parent->pgrp == pg || parent->pgrp == NULL ||
        parent->pgrp->session != pg->session) {
        return;
    }
    if (pgrp_is_orphaned(pg, ignore) && pgrp_has_stopped(pg)) {
        signal_kernel_pgrp(pg, SIGHUP);
        signal_kernel_pgrp(pg, SIGCONT);
    }
}
