/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Per-process timers: the three interval timers (setitimer(2)), POSIX timers (timer_create(2)) and
 * RLIMIT_CPU.
 *
 * Timers on wall clocks are ktimers; their callbacks only send a signal, which needs no more than
 * siglock. Timers on CPU time are checked by run.c after each stay in the guest (timers_cpu_tick)
 * and by a ktimer that interrupts a long one: while any is armed, it kicks the group's running
 * threads when the earliest could expire.
 *
 * A timer whose signal is still pending counts overruns instead of queueing again
 * (timer_getoverrun(2)).
 *
 * Locking: set->lock, a spin lock taken before siglock. A ktimer callback runs without locks and
 * takes set->lock.
 */
#include "sentry/kernel/timer.h"

#include "base/clock.h"
#include "base/heap.h"
#include "sentry/kernel/kernel_priv.h"
#include "sentry/kernel/timer_priv.h"

#include <sys/time.h>

DEFINE_CACHE(itimer_set_cache, struct itimer_set);

/* ---- CPU time ---- */

u64 task_cpu_time(const struct task *t)
{
    return t->utime + t->stime;
}

static void tg_cpu_sum(struct thread_group *tg, u64 *utime, u64 *stime)
{
    struct task *t;

    *utime = tg->dead_utime;
    *stime = tg->dead_stime;
    TAILQ_FOREACH (t, &tg->threads, tg_link) {
        if (t->state == TASK_RUNNING || t->state == TASK_NEW) {
            *utime += t->utime;
            *stime += t->stime;
        }
    }
}

u64 tg_cpu_time(struct thread_group *tg, u64 *utime, u64 *stime)
{
    u64 u, s;

    SPIN_GUARD(&tg->siglock);
    tg_cpu_sum(tg, &u, &s);
    if (utime != NULL) {
        *utime = u;
    }
    if (stime != NULL) {
        *stime = s;
    }
    return u + s;
}

/* ---- the set ---- */

static void real_fire(struct ktimer *kt);
static void cpu_fire(struct ktimer *kt);

struct itimer_set *itimer_set_of(struct thread_group *tg)
{
    struct itimer_set *set = __atomic_load_n(&tg->timers, __ATOMIC_ACQUIRE), *seen = NULL;

    if (set != NULL) {
        return set;
    }
    set = cache_new(itimer_set_cache);
    if (set == NULL) {
        return NULL;
    }
    set->tg = tg;
    idr_init(&set->posix);
    ktimer_init(&set->real.kt, real_fire);
    ktimer_init(&set->cpu_kick, cpu_fire);
    if (!__atomic_compare_exchange_n(&tg->timers, &seen, set, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE)) {
        cache_del(itimer_set_cache, set);
        set = seen;
    }
    return set;
}

static void delete_all_posix(struct itimer_set *set)
{
    for (;;) {
        u32 id = 0;
        struct posix_timer *pt;

        spin_lock(&set->lock);
        pt = idr_next(&set->posix, &id);
        if (pt != NULL) {
            idr_remove(&set->posix, id);
        }
        spin_unlock(&set->lock);
        if (pt == NULL) {
            return;
        }
        posix_timer_free(pt);
    }
}

void itimer_set_free(struct itimer_set *set)
{
    if (set != NULL) {
        ktimer_cancel_sync(&set->real.kt);
        ktimer_cancel_sync(&set->cpu_kick);
        delete_all_posix(set);
        idr_fini(&set->posix);
        cache_del(itimer_set_cache, set);
    }
}

void timers_exec(struct thread_group *tg)
{
    if (tg->timers != NULL) {
        delete_all_posix(tg->timers);
    }
}

/* The last thread is gone. tasklist is held, so nothing may wait here: disarm; the set is freed
 * with the group. */
void timers_exit(struct thread_group *tg)
{
    struct itimer_set *set = tg->timers;
    struct posix_timer *pt;
    u32 id = 0;

    if (set == NULL) {
        return;
    }
    SPIN_GUARD(&set->lock);
    set->real.expires = 0;
    (void)ktimer_cancel(&set->real.kt);
    (void)ktimer_cancel(&set->cpu_kick);
    for (; (pt = idr_next(&set->posix, &id)) != NULL; id++) {
        pt->expires = 0;
        (void)ktimer_cancel(&pt->kt);
    }
}

/* ---- ITIMER_REAL ---- */

/* Periods that have passed: move the expiry past now. Returns how many were skipped beyond the
 * first. */
static u64 advance(u64 *expires, u64 interval, u64 now)
{
    u64 missed;

    if (interval == 0) {
        *expires = 0;
        return 0;
    }
    missed = now > *expires ? (now - *expires) / interval : 0;
    *expires += (missed + 1) * interval;
    return missed;
}

static void real_fire(struct ktimer *kt)
{
    struct itimer_set *set = container_of(kt, struct itimer_set, real.kt);
    bool due = false;

    spin_lock(&set->lock);
    if (set->real.expires != 0 && set->real.expires <= clock_monotonic()) {
        due = true;
        (void)advance(&set->real.expires, set->real.interval, clock_monotonic());
        if (set->real.expires != 0) {
            ktimer_arm(kt, set->real.expires);
        }
    }
    spin_unlock(&set->lock);
    if (due) {
        signal_kernel_tg(set->tg, SIGALRM);
    }
}

/* ---- CPU timers ---- */

/* The clock an itimer of kind `which` counts. */
static u64 cpu_clock(struct thread_group *tg, int which)
{
    u64 u, s;

    tg_cpu_time(tg, &u, &s);
    return which == ITIMER_VIRTUAL ? u : u + s;
}

static u64 posix_cpu_clock(struct itimer_set *set, const struct posix_timer *pt)
{
    return pt->target != NULL && pt->thread_clock ? task_cpu_time(pt->target)
                                                  : cpu_clock(set->tg, ITIMER_PROF);
}

/* Wall time until `left` ns of CPU time can have passed: n threads use it n times as fast. */
static u64 cpu_delay(const struct itimer_set *set, u64 left)
{
    u64 threads = max(set->tg->nr_live, 1U);

    return max(left / threads, NSEC_PER_MSEC);
}

/* Wake the threads when the earliest CPU timer could be due. set->lock. */
void cpu_timers_rearm(struct itimer_set *set)
{
    u64 soonest = CLOCK_NEVER;
    struct posix_timer *pt;
    u32 id = 0;

    for (int i = 0; i < 2; i++) {
        if (set->cpu[i].expires != 0) {
            u64 now = cpu_clock(set->tg, i == 0 ? ITIMER_VIRTUAL : ITIMER_PROF);

            soonest = min(soonest, set->cpu[i].expires > now ? set->cpu[i].expires - now : 0);
        }
    }
    for (; (pt = idr_next(&set->posix, &id)) != NULL; id++) {
        if (pt->cpu_clock && pt->expires != 0) {
            u64 now = posix_cpu_clock(set, pt);

            soonest = min(soonest, pt->expires > now ? pt->expires - now : 0);
        }
    }
    if (set->rlimit_cpu != 0) {
        u64 now = cpu_clock(set->tg, ITIMER_PROF);

        soonest = min(soonest, set->rlimit_cpu > now ? set->rlimit_cpu - now : 0);
    }
    set->cpu_armed = soonest != CLOCK_NEVER;
    if (set->cpu_armed) {
        ktimer_arm(&set->cpu_kick, clock_monotonic() + cpu_delay(set, soonest));
    }
}

/* A long stay in the guest: make the threads come back so that their time is counted. */
static void cpu_fire(struct ktimer *kt)
{
    struct itimer_set *set = container_of(kt, struct itimer_set, cpu_kick);
    struct thread_group *tg = set->tg;
    struct task *t;

    spin_lock(&tg->siglock);
    TAILQ_FOREACH (t, &tg->threads, tg_link) {
        if (t->state == TASK_RUNNING && t->pctx != NULL) {
            platform->context_interrupt(t->pctx);
        }
    }
    spin_unlock(&tg->siglock);
    spin_lock(&set->lock);
    if (set->cpu_armed) {
        ktimer_arm(kt, clock_monotonic() + 4 * NSEC_PER_MSEC);
    }
    spin_unlock(&set->lock);
}

static void rlimit_cpu_check(struct itimer_set *set)
{
    struct thread_group *tg = set->tg;
    u64 now, hard, soft;

    if (set->rlimit_cpu == 0) {
        return;
    }
    now = cpu_clock(tg, ITIMER_PROF);
    spin_lock(&tg->rlimit_lock);
    soft = tg->rlimits[RLIMIT_CPU].rlim_cur;
    hard = tg->rlimits[RLIMIT_CPU].rlim_max;
    spin_unlock(&tg->rlimit_lock);
    if (hard != RLIM_INFINITY && now >= hard * NSEC_PER_SEC) {
        signal_kernel_tg(tg, SIGKILL);
    } else if (soft != RLIM_INFINITY && now >= set->rlimit_cpu) {
        set->rlimit_cpu += NSEC_PER_SEC;
        signal_kernel_tg(tg, SIGXCPU);
    }
}

void timers_cpu_tick(struct task *t)
{
    struct itimer_set *set = t->tg->timers;
    struct posix_timer *pt;
    u32 id = 0;

    if (likely(set == NULL) || !set->cpu_armed) {
        return;
    }
    SPIN_GUARD(&set->lock);
    for (int i = 0; i < 2; i++) {
        u64 now = cpu_clock(t->tg, i == 0 ? ITIMER_VIRTUAL : ITIMER_PROF);

        if (set->cpu[i].expires != 0 && set->cpu[i].expires <= now) {
            (void)advance(&set->cpu[i].expires, set->cpu[i].interval, now);
            signal_kernel_tg(t->tg, i == 0 ? SIGVTALRM : SIGPROF);
        }
    }
    for (; (pt = idr_next(&set->posix, &id)) != NULL; id++) {
        u64 now = pt->cpu_clock ? posix_cpu_clock(set, pt) : 0;

        if (pt->cpu_clock && pt->expires != 0 && pt->expires <= now) {
            pt->overrun_pending += advance(&pt->expires, pt->interval, now);
            posix_timer_signal(pt);
        }
    }
    rlimit_cpu_check(set);
    cpu_timers_rearm(set);
}

void timers_rlimit_cpu_changed(struct thread_group *tg, u64 seconds)
{
    struct itimer_set *set = itimer_set_of(tg);

    if (set != NULL) {
        SPIN_GUARD(&set->lock);
        set->rlimit_cpu = seconds == RLIM_INFINITY ? 0 : max(seconds, 1UL) * NSEC_PER_SEC;
        cpu_timers_rearm(set);
    }
}

/* ---- setitimer, getitimer ---- */

static void read_itimer(struct itimer_set *set, int which, struct itimer_value *out)
{
    struct wall_timer *w = which == ITIMER_REAL ? &set->real : &set->cpu[which == ITIMER_PROF];
    u64 now = which == ITIMER_REAL ? clock_monotonic() : cpu_clock(set->tg, which);

    out->interval = w->interval;
    out->value = w->expires == 0 ? 0 : w->expires > now ? w->expires - now : 1000;
}

int itimer_get(struct thread_group *tg, int which, struct itimer_value *out)
{
    struct itimer_set *set = tg->timers;

    *out = (struct itimer_value){0};
    if (set != NULL) {
        SPIN_GUARD(&set->lock);
        read_itimer(set, which, out);
    }
    return 0;
}

int itimer_set_value(struct thread_group *tg, int which, const struct itimer_value *new,
                     struct itimer_value *old)
{
    struct itimer_set *set = itimer_set_of(tg);
    struct wall_timer *w;
    u64 now;

    if (set == NULL) {
        return -ENOMEM;
    }
    SPIN_GUARD(&set->lock);
    read_itimer(set, which, old);
    w = which == ITIMER_REAL ? &set->real : &set->cpu[which == ITIMER_PROF];
    now = which == ITIMER_REAL ? clock_monotonic() : cpu_clock(tg, which);
    w->interval = new->interval;
    w->expires = new->value == 0 ? 0 : now + new->value;
    if (which != ITIMER_REAL) {
        cpu_timers_rearm(set);
    } else if (w->expires != 0) {
        ktimer_arm(&w->kt, w->expires);
    } else {
        (void)ktimer_cancel(&w->kt);
    }
    return 0;
}
