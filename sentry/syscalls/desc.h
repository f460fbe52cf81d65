/* SPDX-License-Identifier: Apache-2.0 */
/* What the generated table (syscalls_gen.c) says about a system call. */
#ifndef PAVISE_SENTRY_SYSCALLS_DESC_H
#define PAVISE_SENTRY_SYSCALLS_DESC_H

#include "abi/xlat.h"
#include "base/base.h"
#include "sentry/syscalls_gen.h"

struct regs;
struct task;

/* How strace shows an argument; the names are those of syscalls.tbl. OUT kinds are read after the
 * call, all others before it. */
enum arg_kind {
    ARG_NONE,
    ARG_INT,
    ARG_UINT,
    ARG_LONG,
    ARG_ULONG,
    ARG_HEX,
    ARG_MODE,
    ARG_UID,
    ARG_FD,
    ARG_DIRFD,
    ARG_SIG,
    ARG_ADDR,
    ARG_XLAT,
    ARG_STR,
    ARG_STR_OUT,
    ARG_ARGV,
    ARG_BUF_IN,
    ARG_BUF_OUT,
    ARG_IOV_IN,
    ARG_IOV_OUT,
    ARG_IOV_ADDR,
    ARG_STRUCT_IN,
    ARG_STRUCT_OUT,
    ARG_STRUCT_INOUT,
    ARG_INT_OUT,
    ARG_UINT_OUT,
    ARG_LONG_OUT,
    ARG_INT_INOUT,
    ARG_OFF_INOUT,
    ARG_FD2_OUT,
    ARG_SIGSET_IN,
    ARG_SIGSET_OUT,
    ARG_FDSET,
    ARG_BITS_IN,
    ARG_BITS_OUT,
    ARG_POLLFDS,
    ARG_EPOLL_EVENTS,
    ARG_SOCKADDR_IN,
    ARG_SOCKADDR_OUT,
    ARG_MSGHDR_IN,
    ARG_MSGHDR_OUT
};

struct arg_desc {
    u8 kind;                 /* enum arg_kind */
    u8 ref;                  /* the argument that holds the length or count */
    u8 type;                 /* enum strace_struct */
    bool is_32;              /* only the lower half of the register counts */
    const struct xlat *xlat; /* ARG_XLAT */
};

enum syscall_ret { RET_INT, RET_SIZE, RET_OFF, RET_LONG, RET_UADDR, RET_FD, RET_PID, RET_VOID };
enum syscall_support { SUPPORT_NONE, SUPPORT_PARTIAL, SUPPORT_FULL };

#define CLASS_FILE    1U
#define CLASS_DESC    2U
#define CLASS_PROCESS 4U
#define CLASS_MEMORY  8U
#define CLASS_SIGNAL  16U
#define CLASS_NETWORK 32U
#define CLASS_IPC     64U
#define CLASS_TIME    128U
#define CLASS_CREDS   256U
#define CLASS_OTHER   512U /* calls that are in no class */

struct syscall_desc {
    const char *name;                                   /* NULL: no such number */
    long (*call)(struct task *t, const struct regs *r); /* NULL: not supported, see err */
    u16 err;
    u16 classes; /* CLASS_* */
    u8 support;  /* enum syscall_support */
    u8 ret;      /* enum syscall_ret */
    u8 nr_args;
    struct arg_desc args[6];
};

extern const struct syscall_desc syscall_table[SYSCALL_TABLE_SIZE];

#endif
