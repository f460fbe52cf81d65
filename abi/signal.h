/* SPDX-License-Identifier: Apache-2.0 */
/* Signals as the guest sees them (x86-64): asm/signal.h, asm/siginfo.h, asm/sigcontext.h. Constants
 * are libc's. */
#ifndef PAVISE_ABI_SIGNAL_H
#define PAVISE_ABI_SIGNAL_H

#include "base/base.h"

#include <signal.h>

#define ABI_NSIG           64
#define ABI_SA_RESTORER    0x04000000UL
#define SS_AUTODISARM_FLAG (1U << 31)

struct abi_sigaction {
    u64 handler; /* guest address, or SIG_DFL 0, SIG_IGN 1 */
    u64 flags;
    u64 restorer;
    u64 mask;
};
_Static_assert(sizeof(struct abi_sigaction) == 32, "struct sigaction");

struct abi_stack {
    u64 ss_sp;
    s32 ss_flags;
    u32 pad;
    u64 ss_size;
};
_Static_assert(sizeof(struct abi_stack) == 24, "stack_t");

/* siginfo_t: 128 bytes; the union starts at 16. */
struct abi_siginfo {
    s32 si_signo;
    s32 si_errno;
    s32 si_code;
    s32 pad0;
    union {
        struct {
            s32 pid;
            u32 uid;
        } kill;
        struct {
            s32 tid;
            s32 overrun;
            u64 value;
            s32 sys_private;
        } timer;
        struct {
            s32 pid;
            u32 uid;
            u64 value;
        } rt;
        struct {
            s32 pid;
            u32 uid;
            s32 status;
            s32 pad;
            u64 utime, stime;
        } chld;
        struct {
            u64 addr;
            s16 addr_lsb;
            u16 pad[3];
            u64 lower, upper;
        } fault;
        struct {
            s64 band;
            s32 fd;
        } poll;
        struct {
            u64 call_addr;
            s32 syscall;
            u32 arch;
        } sys;
        u8 pad[112];
    } u;
};
_Static_assert(sizeof(struct abi_siginfo) == 128, "siginfo_t");

#endif
