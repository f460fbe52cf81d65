/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system call instruction, for base/host*.c. Debug builds note which numbers were called: the
 * test suite proves with it that no row of host_calls.tbl is unused.
 */
#ifndef PAVISE_BASE_HOST_PRIV_H
#define PAVISE_BASE_HOST_PRIV_H

#include "base/base.h"

#include <stdatomic.h>

#define HOST_CALLS_MAX 512

#ifdef PAVISE_DEBUG
extern _Atomic bool host_calls_used[HOST_CALLS_MAX];

static inline void host_note_call(long nr)
{
    if (!atomic_load_explicit(&host_calls_used[nr], memory_order_relaxed)) {
        atomic_store_explicit(&host_calls_used[nr], true, memory_order_relaxed);
    }
}
#else
static inline void host_note_call(long nr)
{
    (void)nr;
}
#endif

/* Nothing may be called between the assignments and the instruction: calls clobber r8 to r10. */
static inline long raw_call6(long nr, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
{
    register u64 r10 __asm__("r10") = d;
    register u64 r8 __asm__("r8") = e;
    register u64 r9 __asm__("r9") = f;
    long ret;

    __asm__ volatile("syscall"
                     : "=a"(ret)
                     : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return ret;
}

static inline long call6(long nr, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
{
    host_note_call(nr);
    return raw_call6(nr, a, b, c, d, e, f);
}

#endif
