/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stub processes: one a guest address space. A stub's leader is the mapper thread, which makes
 * system calls on the sentry's orders (platform/shared.h); further threads are guest threads, of
 * which only the birth is handled here. Platforms embed struct stub.
 */
#ifndef PAVISE_PLATFORM_STUBPROC_STUBPROC_H
#define PAVISE_PLATFORM_STUBPROC_STUBPROC_H

#include "base/base.h"
#include "base/sched/lock.h"
#include "platform/platform.h"
#include "platform/shared.h"

#include <stdatomic.h>

/* What the mapper was told to do with nobody waiting. */
enum stub_pending {
    STUB_PENDING_NONE,
    STUB_PENDING_CLEAR,
    STUB_PENDING_THREAD,
    STUB_PENDING_BIRTH /* the zygote only */
};

struct stub {
    /* (c) const after stub_start  (l) lock  (a) atomic */
    pid_t pid;                 /* (c) of the leader, the mapper */
    u32 slot;                  /* (c) page of the control memfd */
    struct stub_ctl *ctl;      /* (c) */
    struct mutex lock;         /* LOCK_PLATFORM: one batch at a time */
    u32 seq;                   /* (l) */
    u32 queued;                /* (l) orders written, not yet posted */
    int error;                 /* (l) of the batches since stub_begin */
    enum stub_pending pending; /* (l) */
    pid_t spare_tid;           /* (l) an unborn thread, 0: none */
    struct stub *newborn;      /* (l) zygote: whose pid the pending answer is */
    _Atomic bool dead;         /* (a) set by whoever learns that the process is gone */
};

/*
 * At boot, single-threaded: create the control memfd and the zygote, a child that shares the
 * descriptor table. Fills task_size, min_addr, host_vdso and host_vdso_addr.
 */
must_check int stub_boot(struct platform_caps *caps);

/* `stalled` is called while an answer is overdue, on the waiting thread; it may set s->dead. */
void stub_set_stall_hook(void (*stalled)(struct stub *s));

/*
 * A new process, empty but for the stub region: post begins its birth, start waits for it. -EAGAIN:
 * no control page or the host refuses; nothing is left then.
 */
must_check int stub_post_start(struct stub *s);
must_check int stub_start(struct stub *s);
/* SIGKILL; the leader is then reaped by whoever calls wait4. */
void stub_kill(struct stub *s);
/* The process has been reaped: give the control page back. */
void stub_fini(struct stub *s);

/* Batches: begin, add any number, end. The first error ends the batch and is returned. */
void stub_begin(struct stub *s);
void stub_add(struct stub *s, const struct stub_order *order);
must_check int stub_end(struct stub *s);

/* The orders of a list of map_ops, in one batch. */
must_check int stub_apply(struct stub *s, const struct map_op *ops, size_t count);
/* A new guest thread, unborn: its tid or -errno. */
must_check int stub_new_thread(struct stub *s);
/* Begin the birth of a thread; stub_new_thread will then have it ready. */
void stub_post_thread(struct stub *s);
/* Unmap all guest memory before the next batch. No guest thread may be running. */
void stub_post_clear(struct stub *s);

/* Whoever calls wait4 says when the zygote has gone: births then fail. */
pid_t stub_zygote_pid(void);
void stub_zygote_died(void);

#endif
