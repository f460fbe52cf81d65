/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seccomp filters of a stub process, written as classic BPF: libseccomp cannot say that a
 * range ends below the stub region.
 *
 * Neither filter is what keeps a guest in: the mapper runs read-only code on registers only, and
 * guest threads are traced with SYSEMU, under which no call reaches the host. They are the second
 * lock, for the day one of those two is wrong.
 *
 * The guest filter answers the three calls of the vsyscall page with a trap: the host emulates
 * those without a SYSEMU stop, but asks seccomp first, so they arrive as SIGSYS
 * (platform/ptrace/exit.c) and the sentry answers them.
 */
#include "platform/stubproc/stubproc_priv.h"

#include "base/panic.h"

#include <linux/audit.h>
#include <linux/close_range.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

struct program {
    struct sock_filter *insns;
    u32 len;
    u32 max;
};

static void emit(struct program *p, u16 code, u8 jt, u8 jf, u32 k)
{
    CHECK(p->len < p->max, "filter page full at %u", p->len);
    p->insns[p->len++] = (struct sock_filter){.code = code, .jt = jt, .jf = jf, .k = k};
}

static void load(struct program *p, size_t off)
{
    emit(p, BPF_LD | BPF_W | BPF_ABS, 0, 0, (u32)off);
}

static void load_low(struct program *p, unsigned arg)
{
    load(p, offsetof(struct seccomp_data, args) + 8 * arg);
}

static void load_high(struct program *p, unsigned arg)
{
    load(p, offsetof(struct seccomp_data, args) + 8 * arg + 4);
}

static void answer(struct program *p, u32 action)
{
    emit(p, BPF_RET | BPF_K, 0, 0, action);
}

/* Kill unless the accumulator compares true. */
static void require(struct program *p, u16 jump, u32 k)
{
    emit(p, BPF_JMP | jump | BPF_K, 1, 0, k);
    answer(p, SECCOMP_RET_KILL_PROCESS);
}

static void require_not(struct program *p, u16 jump, u32 k)
{
    emit(p, BPF_JMP | jump | BPF_K, 0, 1, k);
    answer(p, SECCOMP_RET_KILL_PROCESS);
}

static void require_arg(struct program *p, unsigned arg, u64 value)
{
    load_low(p, arg);
    require(p, BPF_JEQ, (u32)value);
    load_high(p, arg);
    require(p, BPF_JEQ, (u32)(value >> 32));
}

/* arg0 + arg1 <= STUB_BASE, without wrapping. */
static void require_guest_range(struct program *p)
{
    /* High halves below 2^15, so that their sum and the carry fit in 32 bits. */
    load_high(p, 1);
    require_not(p, BPF_JGE, 0x8000);
    load_high(p, 0);
    require_not(p, BPF_JGE, 0x8000);
    /* M[0] = low sum; M[1] = carry: the sum is below a summand exactly if it wrapped. */
    load_low(p, 0);
    emit(p, BPF_MISC | BPF_TAX, 0, 0, 0);
    load_low(p, 1);
    emit(p, BPF_ALU | BPF_ADD | BPF_X, 0, 0, 0);
    emit(p, BPF_ST, 0, 0, 0);
    emit(p, BPF_JMP | BPF_JGE | BPF_X, 2, 0, 0);
    emit(p, BPF_LD | BPF_IMM, 0, 0, 1);
    emit(p, BPF_JMP | BPF_JA, 0, 0, 1);
    emit(p, BPF_LD | BPF_IMM, 0, 0, 0);
    emit(p, BPF_ST, 0, 0, 1);
    /* High sum. */
    load_high(p, 0);
    emit(p, BPF_MISC | BPF_TAX, 0, 0, 0);
    load_high(p, 1);
    emit(p, BPF_ALU | BPF_ADD | BPF_X, 0, 0, 0);
    emit(p, BPF_MISC | BPF_TAX, 0, 0, 0);
    emit(p, BPF_LD | BPF_MEM, 0, 0, 1);
    emit(p, BPF_ALU | BPF_ADD | BPF_X, 0, 0, 0);
    require_not(p, BPF_JGT, (u32)(STUB_BASE >> 32));
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 3, (u32)(STUB_BASE >> 32));
    emit(p, BPF_LD | BPF_MEM, 0, 0, 0);
    require_not(p, BPF_JGT, (u32)STUB_BASE);
}

/* Open a rule for a call; close_rule patches the jump past it. */
static u32 open_rule(struct program *p, u32 nr)
{
    load(p, offsetof(struct seccomp_data, nr));
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, nr);
    return p->len - 1;
}

static void close_rule(struct program *p, u32 jump, u32 action)
{
    answer(p, action);
    CHECK(p->len - 1 - jump <= 255, "rule too long");
    p->insns[jump].jf = (u8)(p->len - 1 - jump);
}

static void start(struct program *p)
{
    load(p, offsetof(struct seccomp_data, arch));
    require(p, BPF_JEQ, AUDIT_ARCH_X86_64);
}

static void rule_range(struct program *p, u32 nr)
{
    u32 rule = open_rule(p, nr);

    require_guest_range(p);
    close_rule(p, rule, SECCOMP_RET_ALLOW);
}

static void rule_futex(struct program *p)
{
    u32 rule = open_rule(p, SYS_futex);

    load_high(p, 1);
    require(p, BPF_JEQ, 0);
    load_low(p, 1);
    require_not(p, BPF_JGT, FUTEX_WAKE);
    close_rule(p, rule, SECCOMP_RET_ALLOW);
}

static void rule_plain(struct program *p, u32 nr, u32 action)
{
    close_rule(p, open_rule(p, nr), action);
}

/* Guest memory, at a fixed place below the stub region; or the control page of a new stub. */
static void rule_mmap(struct program *p, int ctl_fd)
{
    u32 rule = open_rule(p, SYS_mmap);
    u32 other;

    load_low(p, 0);
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, (u32)STUB_CTL);
    other = p->len - 1;
    load_high(p, 0);
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, (u32)(STUB_CTL >> 32));
    emit(p, BPF_JMP | BPF_JA, 0, 0, 0);
    require_arg(p, 1, PAGE_SIZE);
    require_arg(p, 2, PROT_READ);
    require_arg(p, 3, MAP_SHARED | MAP_FIXED | MAP_POPULATE);
    require_arg(p, 4, (u32)ctl_fd);
    answer(p, SECCOMP_RET_ALLOW);
    /* Two jumps to here. */
    p->insns[other].jf = (u8)(p->len - 1 - other);
    p->insns[other + 3].k = p->len - 1 - (other + 3);
    load_low(p, 3);
    require(p, BPF_JSET, MAP_FIXED);
    require_guest_range(p);
    close_rule(p, rule, SECCOMP_RET_ALLOW);
}

static void build_mapper(struct program *p, int ctl_fd)
{
    u32 rule;

    start(p);
    rule_mmap(p, ctl_fd);
    rule_range(p, SYS_munmap);
    rule_range(p, SYS_mprotect);
    rule_range(p, SYS_madvise);
    rule_futex(p);
    rule = open_rule(p, SYS_pwrite64);
    require_arg(p, 0, (u32)ctl_fd);
    close_rule(p, rule, SECCOMP_RET_ALLOW);
    rule = open_rule(p, SYS_clone);
    load_high(p, 0);
    require(p, BPF_JEQ, 0);
    load_low(p, 0);
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, 2, 0, STUB_THREAD_FLAGS);
    require(p, BPF_JEQ, STUB_PROCESS_FLAGS);
    close_rule(p, rule, SECCOMP_RET_ALLOW);
    rule = open_rule(p, SYS_prctl);
    require_arg(p, 0, PR_SET_PDEATHSIG);
    require_arg(p, 1, SIGKILL);
    close_rule(p, rule, SECCOMP_RET_ALLOW);
    rule_plain(p, SYS_getppid, SECCOMP_RET_ALLOW);
    rule = open_rule(p, SYS_close_range);
    require_arg(p, 0, 0);
    require_arg(p, 1, UINT32_MAX);
    require_arg(p, 2, CLOSE_RANGE_UNSHARE);
    close_rule(p, rule, SECCOMP_RET_ALLOW);
    rule = open_rule(p, SYS_seccomp);
    require_arg(p, 0, SECCOMP_SET_MODE_FILTER);
    require_arg(p, 1, 0);
    require_arg(p, 2, STUB_FILTERS + FILTERS_GUEST);
    close_rule(p, rule, SECCOMP_RET_ALLOW);
    rule_plain(p, SYS_exit_group, SECCOMP_RET_ALLOW);
    /* A guest thread has this filter too; the strictest answer counts, so leave its traps be. */
    rule_plain(p, SYS_gettimeofday, SECCOMP_RET_TRAP);
    rule_plain(p, SYS_time, SECCOMP_RET_TRAP);
    rule_plain(p, SYS_getcpu, SECCOMP_RET_TRAP);
    answer(p, SECCOMP_RET_KILL_PROCESS);
}

static void build_guest(struct program *p)
{
    start(p);
    rule_futex(p);
    rule_plain(p, SYS_gettimeofday, SECCOMP_RET_TRAP);
    rule_plain(p, SYS_time, SECCOMP_RET_TRAP);
    rule_plain(p, SYS_getcpu, SECCOMP_RET_TRAP);
    answer(p, SECCOMP_RET_KILL_PROCESS);
}

static void publish(struct sock_fprog *header, const struct program *p, u32 first)
{
    header->len = (u16)p->len;
    header->filter = (struct sock_filter *)(STUB_FILTERS + offsetof(struct stub_filters, insns) +
                                            first * sizeof(struct sock_filter));
}

void stub_build_filters(struct stub_filters *f, int ctl_fd)
{
    struct program p = {.insns = f->insns, .max = ARRAY_SIZE(f->insns)};
    u32 used;

    build_mapper(&p, ctl_fd);
    publish(&f->mapper, &p, 0);
    used = p.len;
    p = (struct program){.insns = f->insns + used, .max = (u32)ARRAY_SIZE(f->insns) - used};
    build_guest(&p);
    publish(&f->guest, &p, used);
}
