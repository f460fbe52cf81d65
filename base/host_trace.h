/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host calls of the platforms: processes, tracing, and what the zygote needs to shed its copy of
 * the sentry. Rules as in base/host.h, of which this is a part: -errno, libc's errno untouched.
 */
#ifndef PAVISE_BASE_HOST_TRACE_H
#define PAVISE_BASE_HOST_TRACE_H

#include "base/base.h"

struct itimerspec;
struct sigevent;

/* A child that runs fn(arg) on `stack_top`, in a copy of this address space; returns its pid. */
must_check long host_clone_fn(int (*fn)(void *arg), void *stack_top, u64 flags, void *arg);
must_check long host_ptrace(long request, pid_t tid, void *addr, void *data);
must_check long host_wait4(pid_t pid, int *status, int options);
/*
 * wait4(-1, status, __WALL) unless *stop is non-zero; -EINTR when a signal interrupts it or arrives
 * between the look at *stop and the call: the handler of that signal must pass its context's
 * instruction pointer through host_wait4_fixup.
 */
must_check long host_wait4_unless(int *status, const _Atomic u32 *stop);
u64 host_wait4_fixup(u64 rip);
must_check long host_kill(pid_t pid, int sig);
must_check long host_tgkill(pid_t tgid, pid_t tid, int sig);
pid_t host_getppid(void);
must_check long host_timer_create(int clock, struct sigevent *ev, int *id);
must_check long host_timer_settime(int id, int flags, const struct itimerspec *value);
must_check long host_sched_setaffinity(pid_t tid, size_t size, const void *mask);
must_check long host_sched_getaffinity(pid_t tid, size_t size, void *mask);

must_check long host_mremap(u64 old, u64 old_len, u64 new_len, int flags, u64 to);

/* For the zygote on its way out of the sentry. */
must_check long host_prctl(int op, u64 a, u64 b, u64 c, u64 d);
must_check long host_setsid(void);
must_check long host_rseq(void *area, u32 len, int flags, u32 sig);
must_check long host_capset(void *header, const void *data);
/* Every signal's default action, no alternate stack, empty mask. */
must_check long host_reset_signals(void);

#endif
