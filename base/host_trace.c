/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host calls of the platforms (see the header). These bypass libc: several run in the zygote, whose
 * libc state is a copy that is about to vanish, and all must leave errno alone.
 */
#include "base/host_trace.h"

#include "base/err.h"
#include "base/host_priv.h"

#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

long host_clone_fn(int (*fn)(void *arg), void *stack_top, u64 flags, void *arg)
{
    int saved = errno;
    long pid = clone(fn, stack_top, (int)flags, arg);

    if (pid < 0) {
        pid = -errno;
    }
    errno = saved;
    return pid;
}

long host_ptrace(long request, pid_t tid, void *addr, void *data)
{
    return call6(SYS_ptrace, (u64)request, (u64)tid, (u64)addr, (u64)data, 0, 0);
}

long host_wait4(pid_t pid, int *status, int options)
{
    return call6(SYS_wait4, (u64)pid, (u64)status, (u64)options, 0, 0, 0);
}

long host_kill(pid_t pid, int sig)
{
    return call6(SYS_kill, (u64)pid, (u64)sig, 0, 0, 0, 0);
}

long host_tgkill(pid_t tgid, pid_t tid, int sig)
{
    return call6(SYS_tgkill, (u64)tgid, (u64)tid, (u64)sig, 0, 0, 0);
}

pid_t host_getppid(void)
{
    return (pid_t)call6(SYS_getppid, 0, 0, 0, 0, 0, 0);
}

long host_timer_create(int clock, struct sigevent *ev, int *id)
{
    return call6(SYS_timer_create, (u64)clock, (u64)ev, (u64)id, 0, 0, 0);
}

long host_timer_settime(int id, int flags, const struct itimerspec *value)
{
    return call6(SYS_timer_settime, (u64)id, (u64)flags, (u64)value, 0, 0, 0);
}

long host_sched_setaffinity(pid_t tid, size_t size, const void *mask)
{
    return call6(SYS_sched_setaffinity, (u64)tid, size, (u64)mask, 0, 0, 0);
}

long host_sched_getaffinity(pid_t tid, size_t size, void *mask)
{
    return call6(SYS_sched_getaffinity, (u64)tid, size, (u64)mask, 0, 0, 0);
}

long host_mremap(u64 old, u64 old_len, u64 new_len, int flags, u64 to)
{
    return call6(SYS_mremap, old, old_len, new_len, (u64)flags, to, 0);
}

long host_prctl(int op, u64 a, u64 b, u64 c, u64 d)
{
    return call6(SYS_prctl, (u64)op, a, b, c, d, 0);
}

long host_setsid(void)
{
    return call6(SYS_setsid, 0, 0, 0, 0, 0, 0);
}

long host_rseq(void *area, u32 len, int flags, u32 sig)
{
    return call6(SYS_rseq, (u64)area, len, (u64)flags, sig, 0, 0);
}

long host_capset(void *header, const void *data)
{
    return call6(SYS_capset, (u64)header, (u64)data, 0, 0, 0, 0);
}

long host_reset_signals(void)
{
    struct {
        u64 handler, flags, restorer, mask;
    } dfl = {0};
    stack_t off = {.ss_flags = SS_DISABLE};
    u64 none = 0;
    long ret;

    for (int sig = 1; sig <= 64; sig++) {
        if (sig != SIGKILL && sig != SIGSTOP) {
            ret = call6(SYS_rt_sigaction, (u64)sig, (u64)&dfl, 0, sizeof(none), 0, 0);
            if (ret < 0) {
                return ret;
            }
        }
    }
    ret = call6(SYS_sigaltstack, (u64)&off, 0, 0, 0, 0, 0);
    if (ret < 0) {
        return ret;
    }
    return call6(SYS_rt_sigprocmask, SIG_SETMASK, (u64)&none, 0, sizeof(none), 0, 0);
}

/*
 * The restartable window: from the look at *stop to the system call. A signal that lands in it
 * has set *stop too late, so its handler moves the instruction pointer to the abort path.
 */
extern const char host_wait4_window[], host_wait4_window_end[], host_wait4_abort[];

__asm__(".text\n"
        ".globl host_wait4_raw, host_wait4_window, host_wait4_window_end, host_wait4_abort\n"
        ".hidden host_wait4_raw, host_wait4_window, host_wait4_window_end, host_wait4_abort\n"
        ".type host_wait4_raw, @function\n"
        "host_wait4_raw:\n" /* rdi status, rsi stop */
        "    mov %rsi, %r8\n"
        "    mov %rdi, %rsi\n"
        "    mov $-1, %rdi\n"
        "    mov $0x40000000, %edx\n" /* __WALL */
        "    xor %r10d, %r10d\n"
        "    mov $61, %eax\n"
        "host_wait4_window:\n"
        "    cmpl $0, (%r8)\n"
        "    jne host_wait4_abort\n"
        "    syscall\n"
        "host_wait4_window_end:\n"
        "    ret\n"
        "host_wait4_abort:\n"
        "    mov $-4, %eax\n"
        "    cltq\n"
        "    ret\n"
        ".size host_wait4_raw, . - host_wait4_raw\n");
long host_wait4_raw(int *status, const _Atomic u32 *stop);

long host_wait4_unless(int *status, const _Atomic u32 *stop)
{
    return host_wait4_raw(status, stop);
}

u64 host_wait4_fixup(u64 rip)
{
    if (rip >= (u64)host_wait4_window && rip < (u64)host_wait4_window_end) {
        return (u64)host_wait4_abort;
    }
    return rip;
}
