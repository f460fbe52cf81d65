/* SPDX-License-Identifier: Apache-2.0 */
/* /proc/PID/{status,stat,statm,limits,io,sched}: what ps, top and libc read of a task. */
#include "sentry/kernel/signal.h"
#include "sentry/kernel/timer.h"
#include "sentry/proc/proc_priv.h"
#include "vfs/fdtable.h"
#include "vfs/tty.h"

#include <linux/capability.h>
#include <stdio.h>

struct ids { /* one consistent picture under tasklist */
    s32 ppid, pgid, sid, tracer;
    u32 nr_threads;
    char state;
    s32 tpgid;
    u64 tty; /* device number of the controlling terminal, 0: none */
    u64 cutime, cstime;
};

static char state_of(const struct task *t)
{
    if (t->state == TASK_ZOMBIE || t->state == TASK_DEAD) {
        return 'Z';
    }
    if (t->stopped || t->tg->stopped) {
        return 'T';
    }
    if (t->fiber == NULL) {
        return 'S';
    }
    return t == task_current() || t->syscall_nr < 0 ? 'R' : 'S';
}

static void get_ids(struct task *t, struct ids *out)
{
    struct thread_group *tg = t->tg;

    MUTEX_GUARD(&kernel->tasklist);
    *out = (struct ids){.nr_threads = tg->nr_live, .state = state_of(t), .tpgid = -1};
    out->ppid = tg->parent != NULL ? tg->parent->tgid : 0;
    if (tg->pgrp != NULL) {
        out->pgid = tg->pgrp->pgid;
        out->sid = tg->pgrp->session->sid;
        if (tg->pgrp->session->foreground != NULL) {
            out->tpgid = tg->pgrp->session->foreground->pgid;
        }
        if (tg->pgrp->session->tty != NULL && !tg->no_tty) {
            out->tty = tg->pgrp->session->tty->rdev;
        }
    }
    out->cutime = tg->child_utime;
    out->cstime = tg->child_stime;
}

static const char *state_name(char c)
{
    switch (c) {
    case 'R':
        return "R (running)";
    case 'T':
        return "T (stopped)";
    case 'Z':
        return "Z (zombie)";
    default:
        return "S (sleeping)";
    }
}

static bool get_usage(struct task *t, struct mm_usage *u)
{
    struct mm *mm = task_mm_get(t);

    memset(u, 0, sizeof(*u));
    if (mm == NULL) {
        return false;
    }
    mm_get_usage(mm, u);
    mm_put(mm);
    return true;
}

struct sigsets {
    sigmask_t pending, shared, blocked, ignored, caught;
    u32 queued;
};

static void get_signals(struct task *t, struct sigsets *s)
{
    SPIN_GUARD(&t->tg->siglock);
    *s = (struct sigsets){.pending = t->pending.set,
                          .shared = t->tg->shared_pending.set,
                          .blocked = t->blocked,
                          .queued = t->tg->nr_sigqueued};
    for (int i = 0; i < ABI_NSIG; i++) {
        u64 h = t->tg->sighand->action[i].handler;

        s->ignored |= h == SIG_IGNORE ? 1ULL << i : 0;
        s->caught |= h > SIG_IGNORE ? 1ULL << i : 0;
    }
}

static void status_creds(struct task *t, struct seqbuf *s)
{
    const struct cred *c = task_cred_get(t);
    struct fdtable *fdt = task_fdtable_get(t);

    if (c == NULL) {
        return;
    }
    seq_printf(s, "Uid:\t%u\t%u\t%u\t%u\nGid:\t%u\t%u\t%u\t%u\nFDSize:\t%u\nGroups:\t", c->uid,
               c->euid, c->suid, c->fsuid, c->gid, c->egid, c->sgid, c->fsgid,
               fdt != NULL ? fdtable_size(fdt) : 0);
    for (u32 i = 0; i < c->nr_groups; i++) {
        seq_printf(s, "%u ", c->groups[i]);
    }
    seq_puts(s, "\n");
    if (fdt != NULL) {
        fdtable_put(fdt);
    }
    cred_put(c);
}

static void status_caps(struct task *t, struct seqbuf *s)
{
    const struct cred *c = task_cred_get(t);

    if (c != NULL) {
        seq_printf(s,
                   "CapInh:\t%016lx\nCapPrm:\t%016lx\nCapEff:\t%016lx\nCapBnd:\t%016lx\nCapAmb:\t%"
                   "016lx\nNoNewPrivs:\t%d\n",
                   c->cap_inheritable, c->cap_permitted, c->cap_effective, c->cap_bounding,
                   c->cap_ambient, c->no_new_privs);
        cred_put(c);
    }
}

/* "Cpus_allowed" in Linux's form: 32-bit groups, and the list. */
static void status_cpus(struct task *t, struct seqbuf *s)
{
    s32 first = -1;
    bool any = false;

    seq_printf(s, "Cpus_allowed:\t%lx\nCpus_allowed_list:\t", t->cpu_affinity[0] & 0xffffffff);
    for (u32 cpu = 0; cpu <= kernel->nr_cpus; cpu++) {
        bool on = cpu < kernel->nr_cpus && (t->cpu_affinity[cpu / 64] & (1ULL << (cpu % 64))) != 0;

        if (on && first < 0) {
            first = (s32)cpu;
        } else if (!on && first >= 0) {
            seq_printf(s, "%s%d", any ? "," : "", first);
            if ((s32)cpu - 1 > first) {
                seq_printf(s, "-%u", cpu - 1);
            }
            any = true;
            first = -1;
        }
    }
    seq_puts(s, "\nMems_allowed:\t1\nMems_allowed_list:\t0\n");
}

int show_status(struct pseudo_node *n, struct seqbuf *s)
{
    struct task *t = node_task(n);
    struct sigsets sig;
    struct mm_usage u;
    struct ids ids;

    get_ids(t, &ids);
    get_signals(t, &sig);
    seq_puts(s, "Name:\t");
    seq_escape(s, t->comm, "\n\\");
    seq_printf(
        s, "\nUmask:\t%04o\nState:\t%s\nTgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\nTracerPid:\t%d\n",
        t->vfs.fs != NULL ? t->vfs.fs->umask : 0, state_name(ids.state), t->tg->tgid, t->tid,
        ids.ppid, ids.tracer);
    status_creds(t, s);
    seq_printf(s, "NStgid:\t%d\nNSpid:\t%d\nNSpgid:\t%d\nNSsid:\t%d\n", t->tg->tgid, t->tid,
               ids.pgid, ids.sid);
    if (get_usage(t, &u)) {
        u64 rss = u.rss_anon + u.rss_file + u.rss_shmem;

        seq_printf(s,
                   "VmPeak:\t%8lu kB\nVmSize:\t%8lu kB\nVmLck:\t%8lu kB\nVmPin:\t%8u "
                   "kB\nVmHWM:\t%8lu kB\nVmRSS:\t%8lu kB\n"
                   "RssAnon:\t%8lu kB\nRssFile:\t%8lu kB\nRssShmem:\t%8lu kB\nVmData:\t%8lu "
                   "kB\nVmStk:\t%8lu kB\n"
                   "VmExe:\t%8lu kB\nVmLib:\t%8lu kB\nVmPTE:\t%8lu kB\nVmSwap:\t%8u kB\n",
                   u.peak_vm / KiB, u.total_vm / KiB, u.locked / KiB, 0U, u.peak_rss / KiB,
                   rss / KiB, u.rss_anon / KiB, u.rss_file / KiB, u.rss_shmem / KiB, u.data / KiB,
                   u.stack / KiB, u.exec / KiB, u.lib / KiB, u.pte / KiB, 0U);
    }
    seq_printf(s,
               "CoreDumping:\t0\nThreads:\t%u\nSigQ:\t%u/"
               "%lu\nSigPnd:\t%016lx\nShdPnd:\t%016lx\nSigBlk:\t%016lx\n"
               "SigIgn:\t%016lx\nSigCgt:\t%016lx\n",
               ids.nr_threads, sig.queued, task_rlimit(t, RLIMIT_SIGPENDING), sig.pending,
               sig.shared, sig.blocked, sig.ignored, sig.caught);
    status_caps(t, s);
    seq_puts(s, "Seccomp:\t0\nSeccomp_filters:\t0\nSpeculation_Store_Bypass:\tthread vulnerable\n");
    status_cpus(t, s);
    return seq_printf(s, "voluntary_ctxt_switches:\t%lu\nnonvoluntary_ctxt_switches:\t%lu\n",
                      t->nvcsw, t->nivcsw);
}

/* The 52 fields of proc(5) "/proc/[pid]/stat". whole: of the group, else of the thread. */
static int stat_line(struct task *t, struct seqbuf *s, bool whole)
{
    u64 utime = t->utime, stime = t->stime;
    struct mm_layout l = {0};
    struct sigsets sig;
    struct mm_usage u;
    struct ids ids;
    struct mm *mm = task_mm_get(t);

    get_ids(t, &ids);
    get_signals(t, &sig);
    (void)get_usage(t, &u);
    if (mm != NULL) {
        l = *mm_layout(mm);
        mm_put(mm);
    }
    if (whole) {
        (void)tg_cpu_time(t->tg, &utime, &stime);
    }
    seq_printf(s, "%d (%.15s) %c %d %d %d %d %d %u ", t->tid, t->comm, ids.state, ids.ppid,
               ids.pgid, ids.sid, (int)ids.tty, ids.tty != 0 ? ids.tpgid : -1,
               t->tg->did_exec ? 0x400000U : 0x400040U);
    seq_printf(s, "%lu 0 %lu 0 %lu %lu %lu %lu %d %d %u 0 %lu %lu %lu %lu ", t->minflt, t->majflt,
               utime / CLK_TCK_NS, stime / CLK_TCK_NS, ids.cutime / CLK_TCK_NS,
               ids.cstime / CLK_TCK_NS, 20 + t->nice, t->nice, ids.nr_threads,
               (t->start_time - kernel->boot_time_boot) / CLK_TCK_NS, u.total_vm,
               (u.rss_anon + u.rss_file + u.rss_shmem) / PAGE_SIZE, task_rlimit(t, RLIMIT_RSS));
    seq_printf(s, "%lu %lu %lu 0 0 %lu %lu %lu %lu 0 0 0 %d %u %d %d 0 0 0 ", l.start_code,
               l.end_code, l.start_stack, sig.pending & 0x7fffffff, sig.blocked & 0x7fffffff,
               sig.ignored & 0x7fffffff, sig.caught & 0x7fffffff, t->tg->exit_signal, task_cpu(t),
               t->sched_priority, t->sched_policy);
    return seq_printf(s, "%lu %lu %lu %lu %lu %lu %lu %d\n", l.start_data, l.end_data, l.start_brk,
                      l.arg_start, l.arg_end, l.env_start, l.env_end,
                      ids.state == 'Z' ? t->exit_code : 0);
}

int show_stat(struct pseudo_node *n, struct seqbuf *s)
{
    return stat_line(node_task(n), s, true);
}

int show_task_stat(struct pseudo_node *n, struct seqbuf *s)
{
    return stat_line(node_task(n), s, false);
}

int show_statm(struct pseudo_node *n, struct seqbuf *s)
{
    struct mm_usage u;

    (void)get_usage(node_task(n), &u);
    return seq_printf(s, "%lu %lu %lu %lu 0 %lu 0\n", u.total_vm / PAGE_SIZE,
                      (u.rss_anon + u.rss_file + u.rss_shmem) / PAGE_SIZE,
                      (u.rss_file + u.rss_shmem) / PAGE_SIZE, u.exec / PAGE_SIZE,
                      (u.data + u.stack) / PAGE_SIZE);
}

static void limit_text(char *buf, size_t size, u64 v)
{
    if (v == RLIM_INFINITY) {
        snprintf(buf, size, "unlimited");
    } else {
        snprintf(buf, size, "%lu", v);
    }
}

int show_limits(struct pseudo_node *n, struct seqbuf *s)
{
    static const struct {
        const char *name, *unit;
    } names[RLIM_NLIMITS] = {
        [RLIMIT_CPU] = {"Max cpu time", "seconds"},
        [RLIMIT_FSIZE] = {"Max file size", "bytes"},
        [RLIMIT_DATA] = {"Max data size", "bytes"},
        [RLIMIT_STACK] = {"Max stack size", "bytes"},
        [RLIMIT_CORE] = {"Max core file size", "bytes"},
        [RLIMIT_RSS] = {"Max resident set", "bytes"},
        [RLIMIT_NPROC] = {"Max processes", "processes"},
        [RLIMIT_NOFILE] = {"Max open files", "files"},
        [RLIMIT_MEMLOCK] = {"Max locked memory", "bytes"},
        [RLIMIT_AS] = {"Max address space", "bytes"},
        [RLIMIT_LOCKS] = {"Max file locks", "locks"},
        [RLIMIT_SIGPENDING] = {"Max pending signals", "signals"},
        [RLIMIT_MSGQUEUE] = {"Max msgqueue size", "bytes"},
        [RLIMIT_NICE] = {"Max nice priority", ""},
        [RLIMIT_RTPRIO] = {"Max realtime priority", ""},
        [RLIMIT_RTTIME] = {"Max realtime timeout", "us"},
    };
    struct thread_group *tg = node_task(n)->tg;
    char soft[24], hard[24];

    seq_printf(s, "%-25s %-20s %-20s %-10s\n", "Limit", "Soft Limit", "Hard Limit", "Units");
    for (u32 i = 0; i < RLIM_NLIMITS; i++) {
        limit_text(soft, sizeof(soft), tg->rlimits[i].rlim_cur);
        limit_text(hard, sizeof(hard), tg->rlimits[i].rlim_max);
        seq_printf(s, "%-25s %-20s %-20s %-10s\n", names[i].name, soft, hard, names[i].unit);
    }
    return s->err;
}

int show_io(struct pseudo_node *n, struct seqbuf *s)
{
    if (task_current()->tg != node_task(n)->tg &&
        !cred_capable(task_current()->vfs.cred, CAP_SYS_PTRACE)) {
        return -EACCES;
    }
    return seq_puts(s, "rchar: 0\nwchar: 0\nsyscr: 0\nsyscw: 0\nread_bytes: 0\nwrite_bytes: "
                       "0\ncancelled_write_bytes: 0\n");
}

int show_sched(struct pseudo_node *n, struct seqbuf *s)
{
    struct task *t = node_task(n);

    return seq_printf(
        s,
        "%s (%d, #threads: %u)\n---------------------------------------------------------\n"
        "nr_voluntary_switches                        : %20lu\n"
        "nr_involuntary_switches                      : %20lu\n",
        t->comm, t->tid, t->tg->nr_live, t->nvcsw, t->nivcsw);
}

int show_schedstat(struct pseudo_node *n, struct seqbuf *s)
{
    struct task *t = node_task(n);

    return seq_printf(s, "%lu 0 %lu\n", task_cpu_time(t), t->nvcsw + t->nivcsw);
}
