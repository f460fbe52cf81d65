/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sentry's boot, in order: the boot document, isolation of what needs no rights, the heap, the
 * kernel's parts, the rest of isolation, the first program. Everything up to lockdown_finish is
 * trusted input; everything behind it may come from the guest.
 */
#include "base/heap.h"
#include "base/host.h"
#include "base/log.h"
#include "base/memfile.h"
#include "base/sched/worker.h"
#include "platform/platform.h"
#include "sentry/boot.h"
#include "sentry/boot_fs.h"
#include "sentry/kernel/creds.h"
#include "sentry/kernel/sandbox.h"
#include "sentry/launcher.h"
#include "sentry/loader/loader.h"
#include "sentry/lockdown.h"
#include "sentry/syscalls/strace.h"
#include "sentry/syscalls/syscalls.h"
#include "vfs/fdtable.h"
#include "vfs/namei.h"

#include <signal.h>
#include <unistd.h>

static void boot_log(const struct boot_config *b)
{
    long classes;

    log_set_fd(b->log_fd);
    if (b->log != NULL && log_parse(b->log) != 0) {
        launcher_fail(125, "--log: '%s' is not CHANNEL:LEVEL,...", b->log);
    }
    if (b->strace == NULL) {
        return;
    }
    classes = strace_parse(b->strace);
    if (classes < 0) {
        launcher_fail(125, "--strace: '%s' names no class of calls", b->strace);
    }
    strace_set((u32)classes, b->log_fd);
}

/* A step of the boot that must not fail. */
static void must(int err, const char *what)
{
    if (err != 0) {
        launcher_fail(125, "%s: %s", what, strerror(-err));
    }
}

static void boot_platform(const struct boot_config *b)
{
    const char *why = NULL;
    struct memfile *mf = memfile_new(b->memory_limit);
    struct sched_config sched = {.workers = b->cpus > 1 ? b->cpus : 2, .seed = b->sched_seed};

    must(IS_ERR(mf) ? (int)PTR_ERR(mf) : 0, "memory file");
    if (platform_choose(b->platform, &why) != 0) {
        launcher_fail(125, "platform %s: %s", b->platform, why);
    }
    must(sched_init(&sched), "workers");
    must(platform->boot(memfile_fd(mf), &platform_caps), "platform");
}

static struct mm *current_mm(void)
{
    return task_current()->mm;
}

static void boot_kernel(const struct boot_config *b)
{
    struct kernel_config config = {
        .hostname = b->hostname,
        .nr_cpus = b->cpus,
        .max_tasks = b->pids,
        .total_ram = b->memory_limit != 0 ? b->memory_limit : host_total_ram(),
    };

    must(vdso_boot(), "vDSO");
    must(syscalls_boot(), "system call counters");
    must(boot_fs_init(), "file systems");
    mm_boot(current_mm);
    must(kernel_boot(&config), "kernel");
}

/* ---- the end ---- */

static void count_unsupported(const struct syscall_count *c, void *arg)
{
    (void)arg;
    if (!c->supported) {
        launcher_unsupported(c->nr, c->name, c->count);
    }
}

static struct control_result result;
static int result_status = -1;

static void count_call(const struct syscall_count *c, void *arg)
{
    (void)arg;
    result.syscalls += c->count;
}

static void on_failed(int status, const char *why)
{
    launcher_fail(status, "%s", why);
}

/* tasklist is held. */
static void on_ended(int status)
{
    const struct thread_group *tg = kernel->first;

    result.utime_ns = tg->dead_utime + tg->child_utime;
    result.stime_ns = tg->dead_stime + tg->child_stime;
    result.maxrss = tg->maxrss > tg->child_maxrss ? tg->maxrss : tg->child_maxrss;
    result.tasks = kernel->total_forks;
    result_status = status;
}

static const struct sandbox_hooks hooks = {
    .failed = on_failed,
    .stopped = launcher_stopped,
    .continued = launcher_continued,
    .ended = on_ended,
};

static void boot_first(const struct boot_config *b, struct first_config *first)
{
    const char *what = "/";
    struct mnt_ns *ns = boot_fs_mounts(b, &what);
    struct path root;

    must(IS_ERR(ns) ? (int)PTR_ERR(ns) : 0, what);
    *first = (struct first_config){.argv = b->argv,
                                   .envp = b->envp,
                                   .mnt_ns = ns,
                                   .ignored = b->sig_ignored,
                                   .blocked = b->sig_blocked};
    first->cred = cred_new(b->uid, b->gid, b->groups, b->nr_groups, b->uid == 0);
    must(first->cred == NULL ? -ENOMEM : 0, "credentials");
    mnt_ns_root(ns, &root);
    first->fs = fs_context_new(&root, &root, b->umask);
    path_put(&root);
    must(first->fs == NULL ? -ENOMEM : 0, "working directory");
    struct vfs_ctx ctx = {
        .cred = first->cred, .fs = first->fs, .mnt_ns = ns, .fsize_limit = RLIM_INFINITY};
    first->fdt = boot_fs_fds(b, &ctx);
    must(IS_ERR(first->fdt) ? (int)PTR_ERR(first->fdt) : 0, "standard streams");
    for (u32 i = 0; i < RLIM_NLIMITS; i++) {
        bool given = 2 * i + 1 < b->nr_rlimits; /* words, not pairs */

        first->rlimits[i].rlim_cur = given ? b->rlimits[2 * i] : RLIM_INFINITY;
        first->rlimits[i].rlim_max = given ? b->rlimits[2 * i + 1] : RLIM_INFINITY;
    }
    ctx.fdt = first->fdt;
    if (vfs_chdir(&ctx, b->cwd) != 0) {
        log_info(LOG_KERNEL, "working directory %s is not there: /", b->cwd);
    }
}

static void watch_launcher(void *arg)
{
    (void)arg;
    must(launcher_watch(sandbox_signal), "control socket");
}

void sentry_main(int boot_fd)
{
    const struct boot_config *b = boot_decode(boot_fd);
    static struct first_config first;

    if (b == NULL) {
        static const char text[] = "pavise: the boot document is damaged\n";

        (void)!write(2, text, sizeof(text) - 1);
        _exit(125);
    }
    launcher_init(b->control_fd);
    signal(SIGPIPE, SIG_IGN); /* a reader that went away is an error code, not our end */
    lockdown_begin(b);
    boot_log(b);
    must(heap_init(), "kernel heap");
    boot_platform(b);
    boot_kernel(b);
    boot_first(b, &first);
    sandbox_set_hooks(&hooks);
    must(sandbox_run_first(&first), "first process");
    must(sched_defer(watch_launcher, NULL), "control socket");
    lockdown_finish(b);
    sched_run();
    syscall_for_each_count(count_call, NULL);
    if (b->count_unsupported) {
        syscall_for_each_count(count_unsupported, NULL);
    }
    result.heap_objects = heap_objects_in_use();
    launcher_result(result_status, &result);
}
