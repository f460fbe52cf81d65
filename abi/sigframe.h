/* SPDX-License-Identifier: Apache-2.0 */
/* The x86-64 signal frame: asm/sigcontext.h, asm/ucontext.h. Offsets are what libc, Go and
 * debuggers rely on. */
#ifndef PAVISE_ABI_SIGFRAME_H
#define PAVISE_ABI_SIGFRAME_H

#include "abi/signal.h"

struct abi_sigcontext {
    u64 r8, r9, r10, r11, r12, r13, r14, r15;
    u64 rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags;
    u16 cs, gs, fs, ss;
    u64 err, trapno, oldmask, cr2;
    u64 fpstate; /* guest address */
    u64 reserved[8];
};
_Static_assert(sizeof(struct abi_sigcontext) == 256, "struct sigcontext_64");

#define ABI_UC_FP_XSTATE         1UL
#define ABI_UC_SIGCONTEXT_SS     2UL
#define ABI_UC_STRICT_RESTORE_SS 4UL

struct abi_ucontext {
    u64 uc_flags;
    u64 uc_link;
    struct abi_stack uc_stack;
    struct abi_sigcontext uc_mcontext;
    u64 uc_sigmask;
};

struct abi_rt_sigframe {
    u64 pretcode; /* return address: the restorer */
    struct abi_ucontext uc;
    struct abi_siginfo info;
    /* the FP state lies above, 64-byte aligned */
};
_Static_assert(offsetof(struct abi_ucontext, uc_mcontext) == 40, "ucontext");
_Static_assert(offsetof(struct abi_ucontext, uc_sigmask) == 296, "ucontext");

/* struct _fpx_sw_bytes at offset 464 of the FXSAVE area, and the word behind the XSAVE image. */
#define ABI_FP_SW_OFFSET     464
#define ABI_FP_XSTATE_MAGIC1 0x46505853U
#define ABI_FP_XSTATE_MAGIC2 0x46505845U
struct abi_fpx_sw {
    u32 magic1, extended_size;
    u64 xfeatures;
    u32 xstate_size, pad[7];
};
_Static_assert(sizeof(struct abi_fpx_sw) == 48, "struct _fpx_sw_bytes");

#endif
