/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tasks: a guest thread and its process. As in Linux a process is a thread group; its id (tgid) is
 * the leader's tid.
 *
 * Life of a task: task_new (clone.c or the first task) -> running its fiber (run.c: switch to the
 * guest, serve what it came back with) -> exit.c (zombie) -> reaped (wait.c) -> last reference
 * freed.
 *
 * Locks: kernel->tasklist (LOCK_TASKLIST) covers parents, children, groups, sessions, pid tables,
 * exit states and ptrace links; tg->siglock (LOCK_SIGHAND, inside it) covers signals, handlers,
 * stops and the group's flags. Key: (c) const after creation (t) tasklist (s) tg->siglock (o) owner
 * fiber only (a) atomic
 */
#ifndef PAVISE_SENTRY_KERNEL_TASK_H
#define PAVISE_SENTRY_KERNEL_TASK_H

#include "abi/signal.h"
#include "base/base.h"
#include "base/idr.h"
#include "base/ref.h"
#include "base/sched/fiber.h"
#include "base/sched/lock.h"
#include "base/sched/timer.h"
#include "base/sched/waitq.h"
#include "platform/platform.h"
#include "sentry/mm/mm.h"
#include "vfs/mount.h"
#include "vfs/vfs.h"

#include <sys/queue.h>
#include <sys/resource.h>

struct session;
struct itimer_set;
struct pid_ns;
struct uts_ns;
struct ipc_ns;

#define TASK_COMM_LEN 16
#define PID_LIMIT     4194304

/* ---- signals (signal.c) ---- */

typedef u64 sigmask_t; /* bit n-1 is signal n */
#define SIG_BIT(n) (1ULL << ((n)-1))

/* A queued signal; heap object, counted against RLIMIT_SIGPENDING. */
struct sigqueue {
    TAILQ_ENTRY(sigqueue) link;
    struct abi_siginfo info;
};

struct sigpending {
    sigmask_t set;                         /* (s) */
    TAILQ_HEAD(sigqueues, sigqueue) queue; /* (s) */
};

/* Handlers: shared by CLONE_SIGHAND. */
struct sighand {
    struct ref ref;
    struct abi_sigaction action[64]; /* (s of the group) */
};

/* ---- a process ---- */

struct process_group {
    struct ref ref;
    s32 pgid;                                     /* (c) */
    struct session *session;                      /* (c) counted */
    TAILQ_HEAD(pg_members, thread_group) members; /* (t) */
    TAILQ_ENTRY(process_group) link;              /* (t) all groups */
};

struct session {
    struct ref ref;
    s32 sid;                          /* (c) */
    struct tty *tty;                  /* (t) controlling terminal, counted by the tty layer */
    struct process_group *foreground; /* (t) counted or NULL */
    struct thread_group *leader;      /* (t) NULL once it exited */
};

struct thread_group {
    struct ref ref;
    s32 tgid;                          /* (c) */
    struct task *leader;               /* (t) changes in exec */
    TAILQ_HEAD(threads, task) threads; /* (t) live and zombie threads, leader first */
    u32 nr_threads;                    /* (t) */
    u32 nr_live;                       /* (t) not yet exited */

    struct thread_group *parent;                    /* (t) NULL for the first process */
    TAILQ_HEAD(tg_children, thread_group) children; /* (t) */
    TAILQ_ENTRY(thread_group) sibling;              /* (t) */
    s32 exit_signal;                                /* (t) to the parent; SIGCHLD, 0 none */
    struct task
        *parent_task; /* (t) the thread that forked it, for __WNOTHREAD; borrowed, may be NULL */

    struct process_group *pgrp;        /* (t) counted */
    TAILQ_ENTRY(thread_group) pg_link; /* (t) */

    struct spinlock siglock; /* short sections only: timers send from contexts that cannot park */
    struct sighand *sighand; /* (s) counted */
    struct sigpending shared_pending; /* (s) */
    u32 nr_sigqueued;                 /* (a) */
    bool group_exit;                  /* (s) exit_group or fatal signal under way */
    int exit_code;              /* (s) wait status of the group, once group_exit or all dead */
    struct task *exec_task;     /* (s) a thread in exec that kills the others */
    bool stopped;               /* (s) job control stop complete */
    int stop_sig;               /* (s) 0: none under way */
    u32 stop_pending;           /* (s) threads that have yet to stop */
    int cld_notify;             /* (s) CLD_* the next thread through stop.c tells the parent */
    u32 wait_flags;             /* (t) TG_WAIT_*: stopped / continued not yet reported */
    struct waitq child_wait;    /* (t) wait4 of the parent's threads sleeps on the parent's queue */
    struct waitq stop_wait;     /* stopped threads sleep here */
    struct waitq signalfd_wait; /* signalfd pollers */
    struct waitq pidfd_wait;    /* pidfd pollers: the group became a zombie */
    bool dead;                  /* (t) all threads exited: a zombie, or reaped */
    bool did_exec;              /* (t) for setpgid's EACCES */
    bool no_tty;                /* (t) gave up its controlling terminal alone (TIOCNOTTY) */
    bool is_child_subreaper;    /* (t) */
    bool has_child_subreaper;   /* (t) */
    u32 membarrier_registered;  /* (a) MEMBARRIER_CMD_REGISTER_* seen */
    s32 oom_score_adj;          /* (a) */
    u32 dumpable;               /* (a) */

    struct spinlock rlimit_lock;
    struct rlimit rlimits[RLIM_NLIMITS]; /* (rlimit_lock) */

    struct itimer_set *timers;    /* (c) timer.c: itimers and POSIX timers, made on first use */
    u64 dead_utime, dead_stime;   /* (t) ns of threads that are gone */
    u64 child_utime, child_stime; /* (t) ns of reaped children */
    u64 maxrss;                   /* (t) bytes, at exit or exec */
    u32 exit_uid;                 /* (t) for SIGCHLD */
    u64 child_maxrss;             /* (t) */
    u64 start_time;               /* (c) boottime ns */
    u64 nr_syscalls;              /* (a) */
};

#define TG_WAIT_STOPPED   1U
#define TG_WAIT_CONTINUED 2U

/* ---- a thread ---- */

enum task_state { TASK_NEW, TASK_RUNNING, TASK_ZOMBIE, TASK_DEAD };

struct restart_block {
    long (*fn)(struct task *t); /* restart_syscall(2); NULL: EINTR */
    u64 deadline;
    uaddr addr;
    u64 value;
    u32 flags;
};

struct task {
    struct ref ref;
    s32 tid;                   /* (c) but exec's de_thread, under tasklist */
    struct thread_group *tg;   /* (c) counted */
    TAILQ_ENTRY(task) tg_link; /* (t) */
    enum task_state state;     /* (t) */
    int exit_code;             /* (t) wait status */

    struct fiber *fiber;   /* (c) */
    struct pcontext *pctx; /* (o) */
    struct mm *mm;         /* (o) writes, under mm_lock; others task_mm_get */
    struct spinlock mm_lock;
    struct vfs_ctx vfs;       /* (o) cred, fs, fdt, mnt_ns: the task's own counted references */
    struct spinlock vfs_lock; /* taken to change vfs.*; others read through task_*_get */

    sigmask_t blocked;            /* (s) writes by owner only */
    sigmask_t saved_blocked;      /* (o) restored after sigsuspend & co. when restore_blocked */
    bool restore_blocked;         /* (o) */
    struct sigpending pending;    /* (s) */
    _Atomic bool sigpending_hint; /* (a) something may be deliverable; set under siglock */
    struct abi_stack altstack;    /* (o) */
    sigmask_t sigwait;            /* (s) rt_sigtimedwait is waiting for these */
    bool stop_wanted;             /* (s) must join the group stop */
    bool stopped;                 /* (s) has joined it */
    int pdeath_signal;            /* (o) */

    struct restart_block restart;            /* (o) */
    u64 fault_addr, fault_err, fault_trapno; /* (o) of the last fault, for the signal frame */
    long syscall_nr;                         /* (o) -1 outside a call */

    uaddr set_child_tid, clear_child_tid; /* (o) */
    uaddr robust_list;                    /* (o) */
    uaddr rseq;                           /* (o) */
    u32 rseq_len, rseq_sig;               /* (o) */
    bool rseq_refresh;                    /* (o) the thread was away: look at its rseq area */
    struct task *vfork_parent;            /* (t) parked until this task execs or exits; borrowed */
    struct waitq vfork_wait;              /* the parent sleeps on its child's */
    bool vfork_done;                      /* (t) */

    char comm[TASK_COMM_LEN]; /* (vfs_lock) */
    u64 start_time;           /* (c) */
    _Atomic u64 utime, stime; /* ns; run.c */
    _Atomic u64 nvcsw, nivcsw, minflt, majflt;
    u64 cpu_affinity[16];                   /* (vfs_lock) bit mask of up to 1024 CPUs */
    int sched_policy, sched_priority, nice; /* (vfs_lock) accepted and reported */
    int ioprio;                             /* (a) accepted and reported */
    u64 timer_slack;                        /* (o) ns */
    u32 personality;                        /* (o) */

    struct uts_ns *uts_ns;      /* (o) counted */
    struct ipc_ns *ipc_ns;      /* (o) counted */
    struct task_ptrace *ptrace; /* (t) guest debugger state, made on first use */
};

/* ---- the kernel: the root object ---- */

struct kernel {
    struct mutex tasklist;   /* LOCK_TASKLIST */
    struct idr pids;         /* (t) tid -> struct task; tgids and pgids, sids share the numbers */
    u32 next_low_pid;        /* (t) where the pid search begins (300 after a wrap, as Linux) */
    u32 nr_tasks, max_tasks; /* (t) */
    TAILQ_HEAD(pgrps, process_group) pgrps;             /* (t) */
    struct thread_group *first;                         /* (c) counted: the sandbox's command */
    struct thread_group *init;                          /* (t) counted */
    u64 total_ram;                                      /* (c) bytes the sandbox is told it has */
    u64 boot_time_mono, boot_time_real, boot_time_boot; /* (c) ns on each clock */
    struct futex_table *futexes;                        /* (c) futex.c */
    u8 boot_id[16];                                     /* (c) random UUID */
    u32 nr_cpus;                                        /* (c) */
    struct uts_ns *uts_ns;                              /* (c) the initial ones, counted */
    struct ipc_ns *ipc_ns;
    _Atomic u64 total_forks, ctxt_switches;
};
extern struct kernel *kernel; /* = heap_root() */

/* ---- life ---- */

/* The running task; only inside a task's fiber. */
struct task *task_current(void);
static inline struct regs *task_regs(struct task *t)
{
    return platform->context_regs(t->pctx);
}
static inline s32 task_tid(const struct task *t)
{
    return t->tid;
}

struct task *task_get(struct task *t);
void task_put(struct task *t);
struct thread_group *tg_get(struct thread_group *tg);
void tg_put(struct thread_group *tg);

/* The CPU the guest is told it runs on (one its affinity allows). */
u32 task_cpu(const struct task *t);

/* By id, counted or NULL. tasklist need not be held; the _locked ones borrow under it. */
must_check struct task *task_find(s32 tid);
must_check struct thread_group *tg_find(s32 tgid);
struct task *task_find_locked(s32 tid);
struct thread_group *tg_find_locked(s32 tgid);
/* The first task with tid >= *tid, counted; for /proc readdir and dumps. */
must_check struct task *task_next(s32 *tid);

/* References to what another task may be changing. NULL after exit. */
must_check struct mm *task_mm_get(struct task *t);
must_check struct fdtable *task_fdtable_get(struct task *t);
must_check struct fs_context *task_fs_get(struct task *t);
must_check const struct cred *task_cred_get(struct task *t);
/* Replace the running task's credentials (takes over the reference). */
void task_set_cred(struct task *t, const struct cred *cred);

u64 task_rlimit(struct task *t, int resource); /* the soft limit */
void task_mm_limits(struct task *t, struct mm_limits *out);

/* exit.c; status as of wait(2). Never return to the guest. */
noreturn_fn void task_exit(struct task *t, int status);
noreturn_fn void task_exit_group(struct task *t, int status);

/* Make the task look at its signals soon, wherever it is. siglock held. */
void task_kick(struct task *t, bool kill);

/* ---- signals (signal.c) ---- */

/* Is there a signal to deliver (or an exit, or a stop)? Owner. */
bool task_has_work(struct task *t);
/* Before going back to the guest: stops, deliver, restart decisions. Owner. */
void task_do_signals(struct task *t);

/* Send to a process (shared) or a thread. info->si_signo is the signal. 0, -EAGAIN (real-time queue
 * full). Rights are the caller's business. */
must_check int signal_send_tg(struct thread_group *tg, const struct abi_siginfo *info);
must_check int signal_send_task(struct task *t, const struct abi_siginfo *info);
/* A kernel signal without details; errors do not matter. tasklist may be held. */
void signal_kernel_tg(struct thread_group *tg, int sig);
void signal_kernel_pgrp(struct process_group *pg, int sig); /* tasklist held */
/* A synchronous signal that cannot be ignored or blocked away (faults). Owner. */
void signal_force(struct task *t, const struct abi_siginfo *info);
must_check int signal_may_send(struct task *sender, struct task *target,
                               int sig); /* kill(2) rights: 0 or -EPERM */

/* Change the blocked mask; the owner only. */
void task_set_blocked(struct task *t, sigmask_t set);
/* For ppoll & co: install mask until the call ends (restored after the handler). */
void task_set_temp_mask(struct task *t, sigmask_t set);

/* ---- run.c ---- */

void task_main(void *task); /* the fiber function */
/* First act of a new task: CLONE_CHILD_SETTID. clone.c */
void task_started(struct task *t);
/* Serve one system call: sentry/syscalls/dispatch.c. */
void syscall_dispatch(struct task *t);

/* ---- clone.c, exec.c ---- */

struct clone_args_k {
    u64 flags;
    s32 exit_signal;
    uaddr stack, tls, parent_tid, child_tid, pidfd;
    uaddr set_tid;
    u32 set_tid_size;
};
must_check long task_clone(struct task *t, const struct clone_args_k *args); /* the child's tid */
struct arg_block;
must_check long task_exec_file(struct task *t, struct file *file, const char *name,
                               struct arg_block *args);
must_check long task_execve(struct task *t, int dirfd, const char *name, uaddr argv, uaddr envp,
                            u32 at_flags);

#endif
