/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of strace: the line being written, and the printers of arguments and structures. */
#ifndef PAVISE_SENTRY_SYSCALLS_STRACE_PRIV_H
#define PAVISE_SENTRY_SYSCALLS_STRACE_PRIV_H

#include "sentry/syscalls/desc.h"

#define STRACE_LINE_SIZE 3072
#define STRACE_TAIL      160 /* kept free for the result */
#define STRACE_STR_MAX   32  /* bytes shown of a buffer */
#define STRACE_PATH_MAX  256 /* bytes shown of a path or string */

struct strace_line {
    struct task *task;            /* (o) */
    const struct syscall_desc *d; /* (c) */
    u64 args[6];                  /* (c) the registers as they were on entry */
    u32 next_arg;                 /* (o) the first argument not yet written */
    u32 len;                      /* (o) */
    char text[STRACE_LINE_SIZE];  /* (o) */
};

/* Append; what does not fit is dropped. */
void line_printf(struct strace_line *l, const char *fmt, ...) printf_like(2, 3);
/* "abc\n"..., with `cut` saying that there was more. */
void line_quote(struct strace_line *l, const char *data, size_t len, bool cut);
/* The first bytes of guest memory, quoted; the address when it cannot be read. */
void line_buffer(struct strace_line *l, uaddr addr, u64 len);
/* A C string of the guest's. */
void line_string(struct strace_line *l, uaddr addr);
void line_xlat(struct strace_line *l, const struct xlat *x, u64 value);
void line_signal(struct strace_line *l, u64 sig);
void line_sigset(struct strace_line *l, u64 set);
void line_sockaddr(struct strace_line *l, uaddr addr, u64 len);
void line_msghdr(struct strace_line *l, uaddr addr, bool out, u64 bytes);
void line_iov(struct strace_line *l, uaddr iov, u64 count, bool content, u64 bytes);

/* Is the argument only meaningful after the call? */
bool strace_arg_is_out(const struct arg_desc *a);
/* Write argument `i`; `ret` is the call's result, 0 when it was not yet made. */
void strace_arg(struct strace_line *l, unsigned i, long ret);
/* A structure (enum strace_struct) at addr. */
void strace_struct(struct strace_line *l, unsigned type, uaddr addr);

#endif
