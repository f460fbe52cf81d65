/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of sentry/kernel share among themselves about tasks, signals and exits. */
#ifndef PAVISE_SENTRY_KERNEL_KERNEL_PRIV_H
#define PAVISE_SENTRY_KERNEL_KERNEL_PRIV_H

#include "sentry/kernel/signal.h"
#include "sentry/kernel/task.h"

/* task.c */
must_check struct thread_group *tg_new(void);
must_check struct task *task_new(struct thread_group *tg); /* counted; no tid, no fiber yet */
must_check int task_publish(struct task *t, const s32 *want_tid); /* tasklist held: tid, lists */
void task_unpublish(struct task *t);                              /* tasklist held */
struct sighand *sighand_new(void);
struct sighand *sighand_get(struct sighand *sh);
void sighand_put(struct sighand *sh);

/* signal.c: all with tg->siglock held unless said otherwise */
void sigpending_init(struct sigpending *p);
void signal_begin_group_exit(struct thread_group *tg, int status);
void signal_retarget_shared(struct task *t, sigmask_t which);

/* stop.c */
void stop_join(struct task *t);              /* nothing held: park while the group is stopped */
void stop_begin(struct task *t, int sig);    /* nothing held: a stop signal's default action */
void stop_cancel(struct thread_group *tg);   /* siglock: SIGKILL ends any stop */
void stop_continue(struct thread_group *tg); /* siglock: SIGCONT */
void stop_notify_parent(struct thread_group *tg, int why); /* nothing held */
void stop_thread_gone(struct task *t); /* siglock: an exiting thread no longer counts */

/* sigframe_x86_64.c: owner; 0, or -EFAULT (the stack is bad: SIGSEGV follows) */
must_check int sigframe_push(struct task *t, const struct abi_siginfo *info,
                             const struct abi_sigaction *action, sigmask_t saved_mask);

/* clone.c, exit.c */
void task_drop_resources(struct task *t); /* files, fs, namespaces: whatever t holds of them */
void task_note_maxrss(struct task *t);
must_check int task_unshare_files(struct task *t); /* process.c */
bool vfork_is_done(struct task *child);
void vfork_finish(struct task *t);              /* exec or exit: let the parent go on */
void tg_notify_parent(struct thread_group *tg); /* tasklist held: a zombie is ready */
void tg_release(struct thread_group *tg);       /* tasklist held: reap */

/* sandbox.c: the first process stopped or went on: the launcher follows (Ctrl-Z) */
void sandbox_stop_changed(struct thread_group *tg, bool stopped);
/* The first process ended: the sandbox ends with its status. tasklist held. */
void sandbox_first_exited(int status);

/* session.c: tasklist held */
must_check struct process_group *pgrp_new(s32 pgid, struct session *session);
void pgrp_put(struct process_group *pg);
struct process_group *pgrp_find(s32 pgid); /* borrowed */
must_check struct session *session_new(struct thread_group *leader);
struct session *session_get(struct session *s);
void session_put(struct session *s);
void tg_set_pgrp(struct thread_group *tg, struct process_group *pg);
bool pgrp_is_orphaned(const struct process_group *pg, const struct thread_group *ignore);
/* An exit or move may have orphaned groups that hold stopped jobs: SIGHUP, SIGCONT (POSIX). */
/* tty.c glue: the session lost its leader; SIGHUP and SIGCONT to the foreground group. tasklist
 * held. */
void session_disassociate_tty(struct session *s);
void session_adopt_tty(struct session *s, struct tty *tty);
void session_tty_boot(void); /* session_tty.c: fills the hooks of vfs/tty.h */
void vfs_hooks_boot(void);   /* vfs_hooks.c: fills those of vfs/hooks.h */
void pgrp_check_orphans(struct thread_group *tg, struct thread_group *parent);

#endif
