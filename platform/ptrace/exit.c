/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why a guest thread stopped, in the platform's words.
 *
 * System calls: SYSEMU stops at every way into the host's kernel for calls, the 32-bit ones
 * (int $0x80, and syscall/sysenter in 32-bit code) included. Only the 64-bit `syscall` may be
 * served. The processor marks it: it leaves the return address in rcx and the flags in r11. A guest
 * can forge the marks before an int $0x80, but gains nothing: its call is then served as the 64-bit
 * call of that number. Under FRED the processor leaves rcx and r11 alone (tested at boot); then
 * PTRACE_GET_SYSCALL_INFO tells, at the price of a host call.
 *
 * The vsyscall page never makes a SYSEMU stop. The guest filter turns its three calls into SIGSYS,
 * raised after the host has emulated the `ret`, and they are reported as the calls they are. The
 * guest cannot make a SIGSYS otherwise.
 *
 * Faults: signals that the host raises become exits; signals somebody sends (si_code <= 0) are
 * none of the guest's business and are dropped, but for the bell. ptrace does not tell reads from
 * writes, nor the vector and error code; see ACCESS_UNKNOWN.
 */
#include "platform/ptrace/ptrace_priv.h"

#include "base/err.h"
#include "base/host_trace.h"

#include <linux/audit.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#ifndef SEGV_PKUERR
#define SEGV_PKUERR 4
#endif

#define X86_TRAP_DE 0
#define X86_TRAP_DB 1
#define X86_TRAP_BP 3
#define X86_TRAP_UD 6
#define X86_TRAP_SS 12
#define X86_TRAP_GP 13
#define X86_TRAP_PF 14
#define X86_TRAP_MF 16
#define X86_TRAP_AC 17

#define PF_PROT  1U
#define PF_WRITE 2U
#define PF_USER  4U
#define PF_INSTR 16U

#define EFLAGS_RF     0x10000UL
#define MAX_INSN      15
#define INT80_LEN     2
#define SYS_SECCOMP_C 1 /* si_code SYS_SECCOMP; <signal.h> hides it from us */

static bool syscall_marks; /* (c) the processor marks `syscall` in rcx and r11 */

/* Does `syscall` leave the return address in rcx here? */
static bool probe_marks(void)
{
    u64 rcx, rip;
    long ret;

    __asm__ volatile("xor %%ecx, %%ecx\n"
                     "syscall\n"
                     "1: lea 1b(%%rip), %2\n"
                     : "=a"(ret), "=&c"(rcx), "=&r"(rip)
                     : "0"((long)SYS_getpid)
                     : "r11", "memory");
    return rcx == rip;
}

void exit_boot(void)
{
    syscall_marks = probe_marks();
}

static bool is_syscall64(const struct tracee *t, const struct regs *r)
{
    struct __ptrace_syscall_info info;

    if (r->cs != REGS_USER_CS) {
        return false;
    }
    if (syscall_marks) {
        return r->rcx == r->rip && ((r->r11 ^ r->eflags) & ~(REGS_EFLAGS_TF | EFLAGS_RF)) == 0;
    }
    if (host_ptrace(PTRACE_GET_SYSCALL_INFO, t->kid.pid, (void *)sizeof(info), &info) < 0) {
        return false;
    }
    return info.arch == AUDIT_ARCH_X86_64;
}

void exit_trap(struct pexit *out, int sig, int code, u64 trapno)
{
    out->kind = PEXIT_TRAP;
    out->sig = sig;
    out->code = code;
    out->trapno = trapno;
}

static bool exit_syscall(struct tracee *t, struct pcontext *c)
{
    if (is_syscall64(t, &c->regs)) {
        c->out->kind = PEXIT_SYSCALL;
        return true;
    }
    /* As on a kernel without 32-bit calls: a general protection fault at the instruction. */
    c->regs.rax = c->regs.orig_rax;
    c->regs.orig_rax = (u64)-1;
    c->regs.rip -= INT80_LEN;
    exit_trap(c->out, SIGSEGV, SI_KERNEL, X86_TRAP_GP);
    return true;
}

static void exit_fault(struct pcontext *c, u64 addr, u32 access)
{
    struct pexit *out = c->out;
    u64 rip = c->regs.rip;

    /* A fetch: the instruction begins there, or begins before the page and reaches into it. */
    if (addr == rip || (IS_ALIGNED(addr, PAGE_SIZE) && addr > rip && addr - rip < MAX_INSN)) {
        access = (access & ACCESS_MAPPED) | ACCESS_EXEC | ACCESS_UNKNOWN;
    }
    out->kind = PEXIT_FAULT;
    out->addr = addr;
    out->access = access;
    out->trapno = X86_TRAP_PF;
    out->err = PF_USER | (access & ACCESS_MAPPED ? PF_PROT : 0) |
               (access & ACCESS_WRITE ? PF_WRITE : 0) | (access & ACCESS_EXEC ? PF_INSTR : 0);
}

static bool exit_segv(struct pcontext *c, const siginfo_t *si)
{
    u64 addr = (u64)si->si_addr;

    if (si->si_code == SEGV_MAPERR) {
        exit_fault(c, addr, ACCESS_READ | ACCESS_UNKNOWN);
    } else if (si->si_code == SEGV_ACCERR) {
        exit_fault(c, addr, ACCESS_MAPPED | ACCESS_WRITE | ACCESS_UNKNOWN);
    } else {
        exit_trap(c->out, SIGSEGV, si->si_code,
                  si->si_code == SEGV_PKUERR ? X86_TRAP_PF : X86_TRAP_GP);
        c->out->addr = addr;
    }
    return true;
}

static bool exit_bus(struct pcontext *c, const siginfo_t *si)
{
    if (si->si_code == BUS_ADRERR) {
        exit_fault(c, (u64)si->si_addr, ACCESS_MAPPED | ACCESS_READ | ACCESS_UNKNOWN);
        return true;
    }
    exit_trap(c->out, SIGBUS, si->si_code, si->si_code == BUS_ADRALN ? X86_TRAP_AC : X86_TRAP_SS);
    c->out->addr = (u64)si->si_addr;
    return true;
}

static u64 trapno_of(const siginfo_t *si)
{
    switch (si->si_signo) {
    case SIGTRAP:
        return si->si_code == SI_KERNEL ? X86_TRAP_BP : X86_TRAP_DB;
    case SIGFPE:
        return si->si_code == FPE_INTDIV ? X86_TRAP_DE : X86_TRAP_MF;
    default:
        return X86_TRAP_UD;
    }
}

static bool exit_vsyscall(struct pcontext *c, const siginfo_t *si)
{
    long nr = si->si_syscall;

    if (si->si_code != SYS_SECCOMP_C ||
        (nr != SYS_gettimeofday && nr != SYS_time && nr != SYS_getcpu)) {
        exit_trap(c->out, SIGSEGV, SI_KERNEL, X86_TRAP_GP);
        return true;
    }
    c->regs.orig_rax = (u64)nr;
    c->out->kind = PEXIT_SYSCALL;
    return true;
}

static bool exit_signal(struct tracee *t, struct pcontext *c, int sig)
{
    siginfo_t si;

    if (sig == PTRACE_BELL) {
        return false; /* the resume looks at the flag */
    }
    if (host_ptrace(PTRACE_GETSIGINFO, t->kid.pid, NULL, &si) < 0 || si.si_code <= 0) {
        return false;
    }
    switch (sig) {
    case SIGSEGV:
        return exit_segv(c, &si);
    case SIGBUS:
        return exit_bus(c, &si);
    case SIGSYS:
        return exit_vsyscall(c, &si);
    case SIGTRAP:
    case SIGILL:
    case SIGFPE:
        exit_trap(c->out, sig, si.si_code, trapno_of(&si));
        c->out->addr = (u64)si.si_addr;
        return true;
    default:
        return false;
    }
}

/* c->regs hold the registers of the stop. */
bool exit_classify(struct tracee *t, struct pcontext *c, int status)
{
    int sig = (status >> 8) & 0xff;

    memset(c->out, 0, sizeof(*c->out));
    if (status >> 16 != 0) { /* PTRACE_EVENT_STOP: a group stop from outside, or our interrupt */
        return false;
    }
    if (sig == (SIGTRAP | 0x80)) {
        return exit_syscall(t, c);
    }
    return exit_signal(t, c, sig);
}
