/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sentry's filter: the rules that tools/gen_host_calls.py makes from base/host_calls.tbl,
 * compiled by libseccomp. Default: kill the process. Also killed: the 32-bit entries and x32.
 *
 * Log mode (see the header) answers with SIGSYS instead. The handler reports the call and makes it
 * from one place, host_filter_bypass, which a prefix of the filter lets through by its instruction
 * pointer. libseccomp cannot test that, so the prefix is put in front of its program by hand. Log
 * mode is no protection and never meant as one. clone and rt_sigreturn cannot be made from within a
 * handler; they are listed anyhow.
 */
#include "base/host_filter.h"

#include "base/err.h"
#include "base/host.h"
#include "base/log.h"

#include <asm/termbits.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/falloc.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

struct host_rule {
    int nr;
    u16 error; /* 0: allow */
    u32 count;
    struct scmp_arg_cmp args[6];
};

#include "sentry/host_rules.h"

#define PREFIX_LEN     5
#define MAX_INSNS      4096 /* BPF_MAXINSNS */
#define MAX_REPORTS_NR 512

/* A system call as the handler of log mode makes it: rdi number, rsi six arguments. */
extern const char host_filter_bypass_end[];
long host_filter_bypass(long nr, const u64 *args);
__asm__(".text\n"
        ".globl host_filter_bypass, host_filter_bypass_end\n"
        ".hidden host_filter_bypass, host_filter_bypass_end\n"
        ".type host_filter_bypass, @function\n"
        "host_filter_bypass:\n"
        "    mov %rdi, %rax\n"
        "    mov %rsi, %r11\n"
        "    mov 0(%r11), %rdi\n"
        "    mov 8(%r11), %rsi\n"
        "    mov 16(%r11), %rdx\n"
        "    mov 24(%r11), %r10\n"
        "    mov 32(%r11), %r8\n"
        "    mov 40(%r11), %r9\n"
        "    syscall\n"
        "host_filter_bypass_end:\n"
        "    ret\n"
        ".size host_filter_bypass, . - host_filter_bypass\n");

static int add_rules(scmp_filter_ctx ctx)
{
    int err = 0;

    for (size_t i = 0; i < ARRAY_SIZE(sentry_rules) && err == 0; i++) {
        const struct host_rule *r = &sentry_rules[i];
        u32 action = r->error != 0 ? SCMP_ACT_ERRNO(r->error) : SCMP_ACT_ALLOW;

        err = seccomp_rule_add_exact_array(ctx, action, r->nr, r->count, r->args);
    }
    return err;
}

/* The compiled program of `who` in a memfd; its size in *size. */
static int compile(enum host_process who, u32 default_action, u64 *size)
{
    scmp_filter_ctx ctx;
    int fd, err;
    off_t end;

    if (who != HOST_SENTRY) {
        return -EINVAL;
    }
    ctx = seccomp_init(default_action);
    if (ctx == NULL) {
        return -ENOMEM;
    }
    fd = memfd_create("filter", MFD_CLOEXEC);
    err = fd < 0 ? -errno : 0;
    if (err == 0) {
        err = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a binary tree */
    }
    if (err == 0) {
        err = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    }
    if (err == 0) {
        err = add_rules(ctx);
    }
    if (err == 0) {
        err = seccomp_export_bpf(ctx, fd);
    }
    seccomp_release(ctx);
    end = err == 0 ? lseek(fd, 0, SEEK_END) : 0;
    if (err == 0 && end > 0) {
        *size = (u64)end;
        return fd;
    }
    if (fd >= 0) {
        host_close(fd);
    }
    return err != 0 ? err : -EIO;
}

static ssize_t compile_into(enum host_process who, u32 default_action, void *buf, size_t max)
{
    u64 size = 0;
    int fd = compile(who, default_action, &size);
    ssize_t n;

    if (fd < 0) {
        return fd;
    }
    n = size <= max ? host_pread(fd, buf, size, 0) : -ENOSPC;
    host_close(fd);
    if (n >= 0 && (u64)n != size) {
        return -EIO;
    }
    return n;
}

ssize_t host_filter_bpf(enum host_process who, void *buf, size_t size)
{
    return compile_into(who, SCMP_ACT_KILL_PROCESS, buf, size);
}

/* Let the call behind host_filter_bypass_end through, whatever it is. */
static void make_prefix(struct sock_filter *f)
{
    u64 ip = (u64)host_filter_bypass_end;
    u32 low = offsetof(struct seccomp_data, instruction_pointer);

    f[0] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, low);
    f[1] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (u32)ip, 0, 3);
    f[2] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, low + 4);
    f[3] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (u32)(ip >> 32), 0, 1);
    f[4] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
}

static void report_unlisted(int nr, const u64 *args)
{
    static atomic_bool reported[MAX_REPORTS_NR];

    if (nr >= 0 && nr < MAX_REPORTS_NR && !atomic_exchange(&reported[nr], true)) {
        log_error(LOG_BASE, "host call %d (%#lx, %#lx, %#lx, %#lx, %#lx, %#lx) is not listed", nr,
                  (unsigned long)args[0], (unsigned long)args[1], (unsigned long)args[2],
                  (unsigned long)args[3], (unsigned long)args[4], (unsigned long)args[5]);
    }
}

static void on_sigsys(int sig, siginfo_t *info, void *context)
{
    greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
    u64 args[6] = {(u64)r[REG_RDI], (u64)r[REG_RSI], (u64)r[REG_RDX],
                   (u64)r[REG_R10], (u64)r[REG_R8],  (u64)r[REG_R9]};

    (void)sig;
    report_unlisted(info->si_syscall, args);
    r[REG_RAX] = host_filter_bypass(info->si_syscall, args);
}

static int take_sigsys(void)
{
    struct sigaction sa = {.sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO | SA_NODEFER};

    return sigaction(SIGSYS, &sa, NULL) == 0 ? 0 : -errno;
}

int host_filter_install(enum host_process who, bool log_only)
{
    static struct sock_filter insns[PREFIX_LEN + MAX_INSNS];
    struct sock_filter *start = log_only ? insns : insns + PREFIX_LEN;
    u32 action = log_only ? SCMP_ACT_TRAP : SCMP_ACT_KILL_PROCESS;
    ssize_t size = compile_into(who, action, insns + PREFIX_LEN, MAX_INSNS * sizeof(insns[0]));
    struct sock_fprog program;
    int err = log_only && size >= 0 ? take_sigsys() : 0;
    long ret;

    if (size < 0 || err != 0) {
        return size < 0 ? (int)size : err;
    }
    make_prefix(insns);
    program.filter = start;
    program.len = (u16)((size_t)size / sizeof(insns[0]) + (log_only ? PREFIX_LEN : 0));
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return -errno;
    }
    ret = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
    if (ret != 0) {
        return ret < 0 ? -errno : -EBUSY; /* > 0: a thread with a filter of its own */
    }
    return 0;
}
