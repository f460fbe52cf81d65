/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POSIX timers: timer_create(2), timer_settime(2) and kin. Wall clocks run on ktimers (absolute
 * CLOCK_REALTIME times are turned into monotonic ones when armed), CPU clocks on timer.c's tick.
 */
#include "base/clock.h"
#include "base/heap.h"
#include "sentry/kernel/kernel_priv.h"
#include "sentry/kernel/timer_priv.h"

#include <linux/capability.h>
#include <time.h>

#define DELAYTIMER_MAX_COUNT INT32_MAX

DEFINE_CACHE(posix_timer_cache, struct posix_timer);

static struct posix_timer *posix_timer_alloc(void)
{
    return cache_new(posix_timer_cache);
}

void posix_timer_free(struct posix_timer *pt)
{
    ktimer_cancel_sync(&pt->kt);
    task_put(pt->target);
    cache_del(posix_timer_cache, pt);
}

/* Is this timer's last signal still queued? siglock not held; set->lock held. */
static bool signal_is_queued(struct posix_timer *pt)
{
    struct thread_group *tg = pt->set->tg;
    struct sigpending *p = pt->notify_thread ? &pt->target->pending : &tg->shared_pending;
    struct sigqueue *q;

    SPIN_GUARD(&tg->siglock);
    TAILQ_FOREACH (q, &p->queue, link) {
        if (q->info.si_code == SI_TIMER && q->info.u.timer.tid == pt->id &&
            q->info.si_signo == pt->signo) {
            return true;
        }
    }
    return false;
}

void posix_timer_signal(struct posix_timer *pt)
{
    struct abi_siginfo info = {.si_signo = pt->signo, .si_code = SI_TIMER};

    if (pt->notify_none) {
        return;
    }
    if (signal_is_queued(pt)) {
        pt->overrun_pending++;
        return;
    }
    info.u.timer.tid = pt->id;
    info.u.timer.value = pt->sigval;
    if (pt->notify_thread) {
        (void)!signal_send_task(pt->target, &info);
    } else {
        (void)!signal_send_tg(pt->set->tg, &info);
    }
}

static void posix_fire(struct ktimer *kt)
{
    struct posix_timer *pt = container_of(kt, struct posix_timer, kt);
    u64 now = clock_monotonic();

    SPIN_GUARD(&pt->set->lock);
    if (pt->expires == 0 || pt->expires > now) {
        return;
    }
    if (pt->interval != 0) {
        u64 missed = (now - pt->expires) / pt->interval;

        pt->expires += (missed + 1) * pt->interval;
        pt->overrun_pending += missed;
        ktimer_arm(kt, pt->expires);
    } else {
        pt->expires = 0;
    }
    posix_timer_signal(pt);
}

int posix_timer_delivered(struct thread_group *tg, int id)
{
    struct itimer_set *set = tg->timers;
    struct posix_timer *pt;

    if (set == NULL) {
        return 0;
    }
    SPIN_GUARD(&set->lock);
    pt = idr_find(&set->posix, (u32)id);
    if (pt == NULL) {
        return 0;
    }
    pt->overrun_last = min(pt->overrun_pending, (u64)DELAYTIMER_MAX_COUNT);
    pt->overrun_pending = 0;
    return (int)pt->overrun_last;
}

/* Which clocks can drive a timer; 0 or -EINVAL/-EOPNOTSUPP/-EPERM. Fills the clock kind. */
static int resolve_clock(struct task *t, int clock, struct posix_timer *pt)
{
    pt->clock = clock;
    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_MONOTONIC:
    case CLOCK_BOOTTIME:
    case CLOCK_TAI:
        return 0;
    case CLOCK_REALTIME_ALARM:
    case CLOCK_BOOTTIME_ALARM:
        return cred_capable(t->vfs.cred, CAP_WAKE_ALARM) ? 0 : -EPERM;
    case CLOCK_PROCESS_CPUTIME_ID:
        pt->cpu_clock = true;
        return 0;
    case CLOCK_THREAD_CPUTIME_ID:
        pt->cpu_clock = pt->thread_clock = true;
        return 0;
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_REALTIME_COARSE:
    case CLOCK_MONOTONIC_COARSE:
        return -EOPNOTSUPP;
    default:
        return -EINVAL;
    }
}

/* SIGEV_THREAD_ID's target must be a thread of this process. */
static int resolve_target(struct task *t, const struct sigevent_args *ev, struct posix_timer *pt)
{
    struct task *target;

    pt->notify_none = ev->notify == SIGEV_NONE;
    pt->signo = ev->signo;
    pt->sigval = ev->value;
    if (ev->notify == (SIGEV_SIGNAL | SIGEV_THREAD_ID)) {
        target = task_find(ev->tid);
        if (target == NULL || target->tg != t->tg) {
            task_put(target);
            return -EINVAL;
        }
        pt->notify_thread = true;
        pt->target = target;
    } else if (ev->notify != SIGEV_NONE && ev->notify != SIGEV_SIGNAL) {
        return -EINVAL;
    }
    if (!pt->notify_none && (ev->signo < 1 || ev->signo > ABI_NSIG)) {
        return -EINVAL;
    }
    if (pt->thread_clock && pt->target == NULL) {
        pt->target = task_get(t);
    }
    return 0;
}

int posix_timer_create(struct task *t, int clock, const struct sigevent_args *ev)
{
    struct itimer_set *set = itimer_set_of(t->tg);
    struct posix_timer *pt = set != NULL ? posix_timer_alloc() : NULL;
    int id;

    if (pt == NULL) {
        return -ENOMEM;
    }
    ktimer_init(&pt->kt, posix_fire);
    pt->set = set;
    id = resolve_clock(t, clock, pt);
    if (id == 0) {
        id = resolve_target(t, ev, pt);
    }
    if (id == 0) {
        SPIN_GUARD(&set->lock);
        id = idr_alloc(&set->posix, pt, 0, INT32_MAX);
        if (id >= 0) {
            pt->id = id;
            if (ev->is_default) {
                pt->sigval = (u64)id;
            }
        }
    }
    if (id < 0) {
        posix_timer_free(pt);
    }
    return id == -ENOSPC ? -EAGAIN : id;
}

static u64 timer_now(struct posix_timer *pt)
{
    if (!pt->cpu_clock) {
        return clock_monotonic();
    }
    return pt->thread_clock ? task_cpu_time(pt->target) : tg_cpu_time(pt->set->tg, NULL, NULL);
}

static void read_timer(struct posix_timer *pt, struct itimer_value *out)
{
    u64 now = timer_now(pt);

    out->interval = pt->interval;
    out->value = pt->expires == 0 ? 0 : pt->expires > now ? pt->expires - now : 1;
}

/* t's timer `id` with its set locked, or NULL (-EINVAL) with nothing locked. */
static struct posix_timer *timer_lock(struct task *t, int id)
{
    struct itimer_set *set = t->tg->timers;
    struct posix_timer *pt;

    if (set == NULL || id < 0) {
        return NULL;
    }
    spin_lock(&set->lock);
    pt = idr_find(&set->posix, (u32)id);
    if (pt == NULL) {
        spin_unlock(&set->lock);
    }
    return pt;
}

int posix_timer_gettime(struct task *t, int id, struct itimer_value *out)
{
    struct posix_timer *pt = timer_lock(t, id);

    if (pt == NULL) {
        return -EINVAL;
    }
    read_timer(pt, out);
    spin_unlock(&pt->set->lock);
    return 0;
}

/* An absolute time on pt's clock as the time its source counts in. */
static u64 absolute_to_source(const struct posix_timer *pt, u64 value)
{
    u64 now;

    if (pt->cpu_clock || pt->clock == CLOCK_MONOTONIC) {
        return value;
    }
    now = pt->clock == CLOCK_BOOTTIME || pt->clock == CLOCK_BOOTTIME_ALARM ? clock_boottime()
                                                                           : clock_realtime();
    return value > now ? clock_monotonic() + (value - now) : 1;
}

int posix_timer_settime(struct task *t, int id, bool absolute, const struct itimer_value *new,
                        struct itimer_value *old)
{
    struct posix_timer *pt = timer_lock(t, id);

    if (pt == NULL) {
        return -EINVAL;
    }
    read_timer(pt, old);
    pt->interval = new->interval;
    pt->overrun_pending = pt->overrun_last = 0;
    if (new->value == 0) {
        pt->expires = 0;
    } else {
        pt->expires = absolute ? absolute_to_source(pt, new->value) : timer_now(pt) + new->value;
    }
    if (pt->cpu_clock) {
        cpu_timers_rearm(pt->set);
    } else if (pt->expires != 0) {
        ktimer_arm(&pt->kt, pt->expires);
    } else {
        (void)ktimer_cancel(&pt->kt);
    }
    spin_unlock(&pt->set->lock);
    return 0;
}

int posix_timer_getoverrun(struct task *t, int id)
{
    struct posix_timer *pt = timer_lock(t, id);
    int overrun;

    if (pt == NULL) {
        return -EINVAL;
    }
    overrun = (int)pt->overrun_last;
    spin_unlock(&pt->set->lock);
    return overrun;
}

int posix_timer_delete(struct task *t, int id)
{
    struct posix_timer *pt = timer_lock(t, id);

    if (pt == NULL) {
        return -EINVAL;
    }
    pt->expires = 0;
    (void)idr_remove(&pt->set->posix, (u32)id);
    spin_unlock(&pt->set->lock);
    posix_timer_free(pt);
    return 0;
}
