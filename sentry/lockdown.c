/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Isolation of the sentry, in numbered steps. What goes before: the launcher's child made empty
 * user, mount, pid, net, ipc, uts and cgroup namespaces and a mount tree of the container's files
 * only (runtime/sandbox.c, runtime/rootfs.c), then executed us. What stands behind: even a sentry
 * that a guest took over entirely reaches those files and nothing else.
 *
 *   1. donated descriptors only        lockdown_begin, before anything of ours is opened
 *   2. limits that fit a kernel
 *   3. die with the launcher           lockdown_finish, when boot needs no more rights
 *   4. only the container's trees
 *   5. the fewest capabilities
 *   6. no new privileges
 *   7. not dumpable
 *   8. the vetted host calls only
 *
 * A step that fails ends the boot: there is no running with less isolation. These are the only host
 * calls outside base/host.c and the platforms.
 */
#include "sentry/lockdown.h"

#include "base/host_filter.h"
#include "sentry/launcher.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CAP_BIT(cap) (1ULL << (cap))

static noreturn_fn void step_failed(const char *what)
{
    launcher_fail(125, "cannot isolate the sandbox: %s: %s", what, strerror(errno));
}

static bool is_donated(const struct boot_config *b, int fd)
{
    bool yes = fd <= 2 || fd == b->root_fd || fd == b->control_fd || fd == b->log_fd;

    for (u32 i = 0; i < b->nr_trees && !yes; i++) {
        yes = fd == b->trees[i].fd;
    }
    for (u32 i = 0; i < b->nr_fds && !yes; i++) {
        yes = fd == b->fds[i].fd;
    }
    return yes;
}

/*
 * Step 1: close what was not donated. The launcher marked everything else close-on-exec, so this
 * finds nothing; it is here because one descriptor of the host's would undo all that follows.
 */
static void close_undonated(const struct boot_config *b)
{
    int max = 2;

    for (u32 i = 0; i < b->nr_trees; i++) {
        max = max(max, b->trees[i].fd);
    }
    for (u32 i = 0; i < b->nr_fds; i++) {
        max = max(max, b->fds[i].fd);
    }
    max = max(max, max(b->root_fd, max(b->control_fd, b->log_fd)));
    for (int fd = 3; fd < max; fd++) {
        if (!is_donated(b, fd)) {
            close(fd);
        }
    }
    if (close_range((unsigned)max + 1, ~0U, 0) != 0) {
        step_failed("closing descriptors");
    }
}

/*
 * Step 2: the caller's limits are the guest's (they are in the boot document). Ours are as high as
 * allowed for descriptors, address space and files, and there are no core dumps: they would hold
 * the guest's memory.
 */
static void fit_limits(void)
{
    static const int raised[] = {RLIMIT_NOFILE, RLIMIT_AS,  RLIMIT_DATA,
                                 RLIMIT_FSIZE,  RLIMIT_CPU, RLIMIT_NPROC};
    const struct rlimit no_core = {0, 0};
    struct rlimit lim;

    for (size_t i = 0; i < ARRAY_SIZE(raised); i++) {
        if (getrlimit((__rlimit_resource_t)raised[i], &lim) != 0) {
            step_failed("reading a limit");
        }
        lim.rlim_cur = lim.rlim_max;
        if (setrlimit((__rlimit_resource_t)raised[i], &lim) != 0) {
            step_failed("raising a limit");
        }
    }
    if (setrlimit(RLIMIT_CORE, &no_core) != 0) {
        step_failed("forbidding core dumps");
    }
}

/*
 * Step 3: the kernel forgets the parent death signal at changes of credentials, so it is set again
 * after them; a launcher that died before that has closed its end of the control socket.
 */
static void die_with_launcher(const struct boot_config *b)
{
    struct pollfd p = {.fd = b->control_fd, .events = POLLIN};

    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
        step_failed("dying with the launcher");
    }
    if (poll(&p, 1, 0) > 0 && (p.revents & POLLHUP) != 0) {
        _exit(125);
    }
}

/*
 * Step 4: make the container's trees the whole mount tree. The old root is stacked below the new
 * one and then taken away lazily: our own program and libraries stay mapped, no name leads there.
 */
static void enter_trees(const struct boot_config *b)
{
    if (fchdir(b->root_fd) != 0 || syscall(SYS_pivot_root, ".", ".") != 0) {
        step_failed("entering the container's trees");
    }
    if (umount2(".", MNT_DETACH) != 0 || chdir("/") != 0) {
        step_failed("leaving the host's trees");
    }
    close(b->root_fd);
}

/*
 * Step 5: which capabilities the trees need. They only count inside our own user namespace, over
 * files whose owners are mapped there. An ordinary user's sentry needs none. Root's must read what
 * only root can read; in shared trees it acts for all the users that the guest knows.
 */
static u64 needed_capabilities(const struct boot_config *b)
{
    u64 caps = 0;

    if (geteuid() != 0) {
        return 0;
    }
    caps |= CAP_BIT(CAP_DAC_READ_SEARCH);
    for (u32 i = 0; i < b->nr_trees; i++) {
        if (b->trees[i].mode == BOOT_TREE_RW) {
            caps |= CAP_BIT(CAP_DAC_OVERRIDE) | CAP_BIT(CAP_CHOWN) | CAP_BIT(CAP_FOWNER) |
                    CAP_BIT(CAP_FSETID);
        }
    }
    return caps;
}

static void drop_capabilities(u64 keep)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {
        {.effective = (u32)keep, .permitted = (u32)keep},
        {.effective = (u32)(keep >> 32), .permitted = (u32)(keep >> 32)},
    };

    /* User 0 must not get them back by any means, and neither may ambient ones return. */
    if (prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
                                     SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
                                     SECBIT_NO_CAP_AMBIENT_RAISE |
                                     SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED) != 0) {
        step_failed("locking capabilities");
    }
    for (int cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++) {
        if ((keep >> cap & 1) == 0 && prctl(PR_CAPBSET_DROP, cap) != 0) {
            step_failed("dropping a capability");
        }
    }
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0 ||
        syscall(SYS_capset, &header, data) != 0) {
        step_failed("dropping capabilities");
    }
}

void lockdown_begin(const struct boot_config *b)
{
    close_undonated(b);
    fit_limits();
}

void lockdown_finish(const struct boot_config *b)
{
    u64 keep = needed_capabilities(b);
    int err;

    enter_trees(b);
    drop_capabilities(keep);
    die_with_launcher(b);
    /* Step 6: no exec could raise our rights; it is also what an unprivileged filter asks for. */
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        step_failed("refusing new privileges");
    }
    /* Step 7: no other process of the user may read our memory or trace us. */
    if (prctl(PR_SET_DUMPABLE, 0) != 0) {
        step_failed("becoming undumpable");
    }
    /* Step 8: last, since the steps above make calls that are not on the list (host_calls.tbl). */
    err = host_filter_install(HOST_SENTRY, b->filter_log != 0);
    if (err != 0) {
        errno = -err;
        step_failed("installing the filter of host calls");
    }
}
