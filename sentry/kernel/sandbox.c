/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Boot and end of a sandbox. Process 1 is an init of ours that runs no guest code: it ignores every
 * signal and lets go of orphans at once (it ignores SIGCHLD). The command is process 2, in init's
 * session and in a group of its own, as a job of an interactive shell would be. When the command
 * ends, the sandbox ends.
 */
#include "sentry/kernel/sandbox.h"

#include "base/clock.h"
#include "base/heap.h"
#include "base/log.h"
#include "base/rand.h"
#include "base/sched/worker.h"
#include "sentry/kernel/creds.h"
#include "sentry/kernel/futex.h"
#include "sentry/kernel/kernel_priv.h"
#include "sentry/kernel/namespace.h"
#include "sentry/loader/loader.h"
#include "vfs/fdtable.h"
#include "vfs/hostfs/stdio.h"
#include "vfs/namei.h"

#include <stdio.h>

DEFINE_CACHE(kernel_cache, struct kernel);

static const struct sandbox_hooks *hooks;
static const struct first_config *first_config;

void sandbox_set_hooks(const struct sandbox_hooks *h)
{
    hooks = h;
}

/* ---- init ---- */

static void default_rlimits(struct rlimit *r)
{
    for (unsigned i = 0; i < RLIM_NLIMITS; i++) {
        r[i] = (struct rlimit){RLIM_INFINITY, RLIM_INFINITY};
    }
    r[RLIMIT_STACK].rlim_cur = 8 * MiB;
    r[RLIMIT_CORE].rlim_cur = 0;
    r[RLIMIT_NOFILE] = (struct rlimit){1024, 1048576};
    r[RLIMIT_MEMLOCK] = (struct rlimit){8 * MiB, 8 * MiB};
    r[RLIMIT_MSGQUEUE] = (struct rlimit){819200, 819200};
    r[RLIMIT_NICE] = r[RLIMIT_RTPRIO] = (struct rlimit){0, 0};
    r[RLIMIT_SIGPENDING] = (struct rlimit){95000, 95000};
}

static int make_init(void)
{
    struct thread_group *tg = tg_new();
    struct task *t = tg != NULL ? task_new(tg) : NULL;
    struct session *s;
    struct process_group *pg;
    const s32 one = 1;
    int err;

    if (t == NULL) {
        return -ENOMEM;
    }
    tg->sighand = sighand_new();
    if (tg->sighand == NULL) {
        return -ENOMEM;
    }
    tg->sighand->action[SIGCHLD - 1].handler = SIG_IGNORE;
    default_rlimits(tg->rlimits);
    t->vfs.cred = cred_new(0, 0, NULL, 0, true);
    snprintf(t->comm, sizeof(t->comm), "init");
    MUTEX_GUARD(&kernel->tasklist);
    err = task_publish(t, &one);
    if (err != 0) {
        return err;
    }
    t->state = TASK_RUNNING;
    kernel->init = tg;
    s = session_new(tg);
    pg = s != NULL ? pgrp_new(1, s) : NULL;
    if (pg == NULL || t->vfs.cred == NULL) {
        return -ENOMEM;
    }
    tg_set_pgrp(tg, pg);
    pgrp_put(pg);
    session_put(s);
    return 0;
}

int kernel_boot(const struct kernel_config *config)
{
    int err;

    kernel = cache_new(kernel_cache);
    if (kernel == NULL) {
        return -ENOMEM;
    }
    heap_set_root(kernel);
    session_tty_boot();
    vfs_hooks_boot();
    mutex_init(&kernel->tasklist, LOCK_TASKLIST);
    idr_init(&kernel->pids);
    TAILQ_INIT(&kernel->pgrps);
    kernel->next_low_pid = 2;
    kernel->max_tasks = config->max_tasks != 0 ? config->max_tasks + 1 : PID_LIMIT;
    rand_bytes(kernel->boot_id, sizeof(kernel->boot_id));
    kernel->boot_id[6] = (u8)((kernel->boot_id[6] & 0x0f) | 0x40); /* a version 4 UUID */
    kernel->boot_id[8] = (u8)((kernel->boot_id[8] & 0x3f) | 0x80);
    kernel->nr_cpus = config->nr_cpus;
    kernel->total_ram = config->total_ram;
    kernel->boot_time_mono = clock_monotonic();
    kernel->boot_time_real = clock_realtime();
    kernel->boot_time_boot = clock_boottime();
    kernel->uts_ns = uts_ns_new(config->hostname, "(none)");
    kernel->ipc_ns = ipc_ns_new();
    if (kernel->uts_ns == NULL || kernel->ipc_ns == NULL) {
        return -ENOMEM;
    }
    err = futex_boot();
    return err != 0 ? err : make_init();
}

u32 task_cpu(const struct task *t)
{
    u32 nth = 0, count = 0;

    for (u32 i = 0; i < ARRAY_SIZE(t->cpu_affinity); i++) {
        count += (u32)__builtin_popcountll(t->cpu_affinity[i]);
    }
    if (count == 0) {
        return 0;
    }
    nth = (u32)t->tid % count;
    for (u32 cpu = 0; cpu < kernel->nr_cpus; cpu++) {
        if ((t->cpu_affinity[cpu / 64] & (1ULL << (cpu % 64))) != 0 && nth-- == 0) {
            return cpu;
        }
    }
    return 0;
}

/* ---- the first process ---- */

static const char *path_variable(char *const *envp)
{
    for (; *envp != NULL; envp++) {
        if (strncmp(*envp, "PATH=", 5) == 0) {
            return *envp + 5;
        }
    }
    return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

/* As execvp(3): the first directory that has it; EACCES only if none does. Leaves the path in buf.
 */
static struct file *open_command(struct task *t, const char *name, char *const *envp, char *buf,
                                 size_t size)
{
    const char *dir = path_variable(envp);
    struct file *f = ERR_PTR(-ENOENT), *denied = NULL;

    if (strchr(name, '/') != NULL || *name == '\0') {
        snprintf(buf, size, "%s", name);
        return vfs_open_exec(&t->vfs, AT_FDCWD, name, 0);
    }
    for (;;) {
        size_t len = strcspn(dir, ":");

        snprintf(buf, size, "%.*s%s%s", (int)len, dir, len > 0 ? "/" : "", name);
        f = vfs_open_exec(&t->vfs, AT_FDCWD, buf, 0);
        if (!IS_ERR(f)) {
            return f;
        }
        if (PTR_ERR(f) == -EACCES) {
            denied = f;
        }
        if (dir[len] == '\0') {
            return denied != NULL ? denied : f;
        }
        dir += len + 1;
    }
}

static int build_args(struct arg_block *args, const struct first_config *c)
{
    int err = 0;

    for (char *const *p = c->argv; *p != NULL && err == 0; p++) {
        err = arg_block_add(args, *p, false);
    }
    for (char *const *p = c->envp; *p != NULL && err == 0; p++) {
        err = arg_block_add(args, *p, true);
    }
    return err;
}

static long exec_first(struct task *t, const struct first_config *c)
{
    char *path = heap_alloc(PATH_LEN_MAX);
    struct arg_block *args = arg_block_new(task_rlimit(t, RLIMIT_STACK));
    struct file *f;
    long err = -ENOMEM;

    if (path != NULL && args != NULL) {
        f = open_command(t, c->argv[0], c->envp, path, PATH_LEN_MAX);
        err = IS_ERR(f) ? PTR_ERR(f) : build_args(args, c);
        if (err == 0) {
            err = task_exec_file(t, f, path, args);
        }
        if (!IS_ERR(f)) {
            file_put(f);
        }
    }
    arg_block_free(args);
    heap_free(path);
    return err;
}

static void first_main(void *arg)
{
    struct task *t = arg;
    const struct first_config *c = first_config;
    char why[256];
    long err = exec_first(t, c);

    if (err != 0) {
        bool missing = err == -ENOENT || err == -ENOTDIR;

        snprintf(why, sizeof(why), "%s: %s", c->argv[0], strerror((int)-err));
        hooks->failed(missing ? 127 : 126, why);
        sched_stop();
        fiber_exit();
    }
    task_main(t);
}

static struct thread_group *make_first_group(const struct first_config *c)
{
    struct thread_group *tg = tg_new();

    if (tg == NULL) {
        return NULL;
    }
    tg->sighand = sighand_new();
    if (tg->sighand == NULL) {
        tg_put(tg);
        return NULL;
    }
    for (int sig = 1; sig <= ABI_NSIG; sig++) {
        if ((c->ignored & SIG_BIT(sig)) != 0) {
            tg->sighand->action[sig - 1].handler = SIG_IGNORE;
        }
    }
    memcpy(tg->rlimits, c->rlimits, sizeof(tg->rlimits));
    tg->exit_signal = SIGCHLD;
    return tg;
}

/* The first standard stream that is the caller's terminal controls the first session. */
static void adopt_terminal(struct session *s, struct fdtable *fdt)
{
    for (int fd = 0; fd < 3 && s->tty == NULL; fd++) {
        AUTOPUT_FILE f = fd_get(fdt, fd);
        struct tty *tty = f != NULL ? stdio_tty(f) : NULL;

        if (tty != NULL) {
            session_adopt_tty(s, tty);
        }
    }
}

static int link_first(struct task *t)
{
    struct thread_group *tg = t->tg;
    struct process_group *pg;
    int err;

    MUTEX_GUARD(&kernel->tasklist);
    err = task_publish(t, NULL);
    if (err != 0) {
        return err;
    }
    kernel->next_low_pid = 2;
    pg = pgrp_new(tg->tgid, kernel->init->pgrp->session);
    if (pg == NULL) {
        return -ENOMEM;
    }
    tg->parent = kernel->init;
    TAILQ_INSERT_TAIL(&kernel->init->children, tg, sibling);
    tg_set_pgrp(tg, pg);
    kernel->init->pgrp->session->foreground = pg; /* keeps the reference */
    adopt_terminal(kernel->init->pgrp->session, t->vfs.fdt);
    kernel->first = tg_get(tg);
    return 0;
}

int sandbox_run_first(const struct first_config *c)
{
    struct thread_group *tg = make_first_group(c);
    struct task *t = tg != NULL ? task_new(tg) : NULL;
    int err;

    if (t == NULL) {
        return -ENOMEM;
    }
    tg_put(tg);
    first_config = c;
    t->vfs = (struct vfs_ctx){.cred = c->cred,
                              .fs = c->fs,
                              .fdt = c->fdt,
                              .mnt_ns = c->mnt_ns,
                              .fsize_limit = c->rlimits[RLIMIT_FSIZE].rlim_cur};
    t->blocked = c->blocked & ~SIGMASK_KILL_STOP;
    t->uts_ns = uts_ns_get(kernel->uts_ns);
    t->ipc_ns = ipc_ns_get(kernel->ipc_ns);
    for (u32 cpu = 0; cpu < kernel->nr_cpus; cpu++) {
        t->cpu_affinity[cpu / 64] |= 1ULL << (cpu % 64);
    }
    t->fiber = fiber_new("first", first_main, t);
    if (t->fiber == NULL) {
        return -ENOMEM;
    }
    fiber_set_local(t->fiber, t);
    err = link_first(t);
    if (err == 0) {
        fiber_start(t->fiber);
    }
    return err;
}

/* ---- what the outside hears and says ---- */

void sandbox_stop_changed(struct thread_group *tg, bool stopped)
{
    if (tg != kernel->first || hooks == NULL) {
        return;
    }
    if (stopped) {
        hooks->stopped((tg->exit_code >> 8) & 0xff);
    } else {
        hooks->continued();
    }
}

void sandbox_first_exited(int status)
{
    hooks->ended(status);
    sched_stop();
}

void sandbox_signal(int sig, bool from_tty)
{
    struct process_group *pg = NULL;

    MUTEX_GUARD(&kernel->tasklist);
    if (kernel->first == NULL || kernel->first->dead) {
        return;
    }
    if (from_tty && kernel->init->pgrp != NULL) {
        pg = kernel->init->pgrp->session->foreground;
    }
    if (pg != NULL && !TAILQ_EMPTY(&pg->members)) {
        signal_kernel_pgrp(pg, sig);
    } else {
        signal_kernel_tg(kernel->first, sig);
    }
}
