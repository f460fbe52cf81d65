/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a spec to a running sentry:
 *
 *   launcher                               child (process 1 of a new pid namespace)
 *   clone3: new user, mount, pid, net,     waits for one byte
 *     ipc, uts, cgroup namespaces
 *   writes the id maps, then the byte      builds the mount tree (rootfs.c)
 *                                          writes the boot document
 *                                          executes `pavise sentry --boot-fd N`
 *   monitor.c                              sentry/main.c
 *
 * The child dies with the launcher (parent death signal, and end of file on the byte's pipe before
 * that is armed); everything in the pid namespace dies with the child. So nothing is ever left
 * behind, whatever is killed when.
 *
 * The sentry inherits exactly the descriptors that the boot document names; all others are
 * close-on-exec.
 */
#include "runtime/sandbox.h"

#include "runtime/error.h"
#include "runtime/idmap.h"
#include "runtime/monitor.h"
#include "runtime/rootfs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What the child needs of what the launcher had before the clone. */
struct start {
    const struct spec *spec;
    int go[2];      /* the byte */
    int control_fd; /* the child's end */
    int exe_fd;     /* our own program */
};

static noreturn_fn void child_fail(const struct start *s, const struct error *err)
{
    struct control_msg msg = {.kind = CONTROL_FAILED, .value = err->status};

    snprintf(msg.text, sizeof(msg.text), "%.500s", err->text);
    if (send(s->control_fd, &msg, sizeof(msg), MSG_NOSIGNAL) < 0) {
        _exit(EXIT_PAVISE); /* nobody listens any more */
    }
    _exit(err->status);
}

/* A donated descriptor: survives the exec, keeps its number. */
static int donate(int fd)
{
    if (fd >= 0) {
        fcntl(fd, F_SETFD, 0);
    }
    return fd;
}

static int fill_limits(struct boot_config *b, struct error *err)
{
    struct rlimit lim;

    b->rlimits = calloc(RLIM_NLIMITS, 2 * sizeof(u64));
    if (b->rlimits == NULL) {
        return error_set(err, "no memory");
    }
    b->nr_rlimits = 2 * RLIM_NLIMITS;
    for (int i = 0; i < RLIM_NLIMITS; i++) {
        if (getrlimit((__rlimit_resource_t)i, &lim) != 0) {
            return error_sys(err, "cannot read resource limit %d", i);
        }
        b->rlimits[2 * i] = lim.rlim_cur;
        b->rlimits[2 * i + 1] = lim.rlim_max;
    }
    return 0;
}

static int fill_fds(struct boot_config *b, const struct spec *spec, struct error *err)
{
    b->fds = calloc(3 + spec->nr_pass_fds, sizeof(b->fds[0]));
    if (b->fds == NULL) {
        return error_set(err, "no memory");
    }
    for (int fd = 0; fd < 3; fd++) {
        if (spec->stdio_open[fd]) {
            b->fds[b->nr_fds++] = (struct boot_fd){fd, fd};
        }
    }
    for (u32 i = 0; i < spec->nr_pass_fds; i++) {
        b->fds[b->nr_fds++] = (struct boot_fd){spec->pass_fds[i], donate(spec->pass_fds[i])};
    }
    return 0;
}

static void fill_plain(struct boot_config *b, const struct spec *spec)
{
    b->argv = spec->argv;
    b->envp = spec->envp;
    b->cwd = spec->cwd;
    b->uid = spec->uid;
    b->gid = spec->gid;
    b->nr_groups = spec->nr_groups;
    b->groups = spec->groups;
    b->umask = umask(0);
    b->hostname = spec->hostname;
    b->tmpfs = spec->tmpfs;
    b->memory_limit = spec->memory_limit;
    b->cpus = spec->cpus;
    b->pids = spec->pids;
    b->platform = spec->platform;
    b->strace = spec->strace;
    b->log = spec->log;
    b->sched_seed = spec->sched_seed;
    b->count_unsupported = spec->count_unsupported;
    b->filter_log = spec->filter_log;
    monitor_inherited_signals(&b->sig_ignored, &b->sig_blocked);
}

/* Keep, across the exec, the capabilities that the child got with its user namespace: without this
 * only user 0 would. The sentry drops what it does not need (sentry/lockdown.c). */
static int keep_capabilities(struct error *err)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];

    if (syscall(SYS_capget, &header, data) != 0) {
        return error_sys(err, "cannot read capabilities");
    }
    data[0].inheritable = data[0].permitted;
    data[1].inheritable = data[1].permitted;
    if (syscall(SYS_capset, &header, data) != 0) {
        return error_sys(err, "cannot set capabilities");
    }
    for (unsigned cap = 0; cap < 64; cap++) {
        if ((data[cap / 32].permitted >> (cap % 32) & 1) != 0 &&
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) != 0) {
            return error_sys(err, "cannot keep capability %u", cap);
        }
    }
    return 0;
}

static void exec_sentry(const struct start *s, int boot_fd, struct error *err)
{
    char number[16];
    const char *const argv[] = {"pavise", "sentry", "--boot-fd", number, NULL};
    const char *const envp[] = {NULL};
    sigset_t none;

    snprintf(number, sizeof(number), "%d", donate(boot_fd));
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    syscall(SYS_execveat, s->exe_fd, "", argv, envp, AT_EMPTY_PATH);
    error_sys(err, "cannot execute the sentry");
}

static int prepare_boot(const struct start *s, struct boot_config *b, struct error *err)
{
    fill_plain(b, s->spec);
    if (fill_limits(b, err) != 0 || rootfs_build(s->spec, b, err) != 0) {
        return -1;
    }
    if (close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) != 0) {
        return error_sys(err, "cannot mark descriptors close-on-exec");
    }
    if (fill_fds(b, s->spec, err) != 0) {
        return -1;
    }
    for (u32 i = 0; i < b->nr_trees; i++) {
        donate(b->trees[i].fd);
    }
    donate(b->root_fd);
    b->control_fd = donate(s->control_fd);
    b->log_fd = fcntl(2, F_DUPFD, 3);
    return b->log_fd < 0 ? error_sys(err, "cannot duplicate standard error") : 0;
}

static noreturn_fn void child_main(const struct start *s)
{
    struct error err = {0};
    struct boot_config boot = {0};
    char go;
    int boot_fd;

    close(s->go[1]); /* so that the launcher's death is an end of file */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || read(s->go[0], &go, 1) != 1) {
        _exit(EXIT_PAVISE);
    }
    /* A session of its own: the terminal's signals reach the guest through the launcher only. */
    setsid();
    if (prepare_boot(s, &boot, &err) != 0 || keep_capabilities(&err) != 0) {
        child_fail(s, &err);
    }
    boot_fd = boot_encode(&boot);
    if (boot_fd < 0) {
        errno = -boot_fd;
        error_sys(&err, "cannot write the boot document");
        child_fail(s, &err);
    }
    exec_sentry(s, boot_fd, &err);
    child_fail(s, &err);
}

static int clone_child(struct sandbox *sandbox, const struct start *s, struct error *err)
{
    struct clone_args args = {
        .flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC |
                 CLONE_NEWUTS | CLONE_NEWCGROUP | CLONE_PIDFD,
        .pidfd = (u64)(uintptr_t)&sandbox->pidfd,
        .exit_signal = SIGCHLD,
    };
    long pid = syscall(SYS_clone3, &args, sizeof(args));

    if (pid == 0) {
        close(sandbox->control_fd);
        child_main(s);
    }
    sandbox->pid = (pid_t)pid;
    if (pid < 0) {
        return error_sys(err, "cannot create namespaces%s",
                         errno == EPERM || errno == ENOSPC || errno == EUSERS
                             ? " (are user namespaces allowed on this machine?)"
                             : "");
    }
    return 0;
}

int sandbox_launch(struct sandbox *sandbox, const struct spec *spec, struct error *err)
{
    struct start s = {.spec = spec};
    int control[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) != 0 ||
        pipe2(s.go, O_CLOEXEC) != 0) {
        return error_sys(err, "cannot create a socket pair");
    }
    s.exe_fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);
    if (s.exe_fd < 0) {
        return error_sys(err, "cannot open /proc/self/exe (is /proc mounted?)");
    }
    s.control_fd = control[1];
    sandbox->control_fd = control[0];
    if (clone_child(sandbox, &s, err) != 0) {
        return -1;
    }
    close(control[1]);
    close(s.go[0]);
    close(s.exe_fd);
    if (idmap_write(sandbox->pid, err) != 0 || write(s.go[1], "", 1) != 1) {
        kill(sandbox->pid, SIGKILL);
        return err->text[0] != '\0' ? -1 : error_sys(err, "the sandbox did not start");
    }
    close(s.go[1]);
    return 0;
}
