/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The general registers of a guest thread (x86-64), in the order of the host's struct
 * user_regs_struct so that ptrace can fill them in one call. Accessors hide the calling convention.
 */
#ifndef PAVISE_PLATFORM_REGS_H
#define PAVISE_PLATFORM_REGS_H

#include "base/base.h"

struct regs {
    u64 r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8;
    u64 rax, rcx, rdx, rsi, rdi;
    u64 orig_rax; /* the call number after PEXIT_SYSCALL, -1 otherwise */
    u64 rip, cs, eflags, rsp, ss;
    u64 fs_base, gs_base;
    u64 ds, es, fs, gs;
};

#define REGS_USER_CS   0x33
#define REGS_USER_SS   0x2b
#define REGS_EFLAGS_TF 0x100UL
/* Flags a guest may set through sigreturn or ptrace: AC OF DF TF SF ZF AF PF CF RF. */
#define REGS_EFLAGS_USER 0x50dd5UL

static inline u64 regs_syscall_nr(const struct regs *r)
{
    return r->orig_rax;
}
static inline void regs_set_ret(struct regs *r, u64 ret)
{
    r->rax = ret;
}
static inline u64 regs_arg(const struct regs *r, unsigned i)
{
    switch (i) {
    case 0:
        return r->rdi;
    case 1:
        return r->rsi;
    case 2:
        return r->rdx;
    case 3:
        return r->r10;
    case 4:
        return r->r8;
    default:
        return r->r9;
    }
}

#endif
