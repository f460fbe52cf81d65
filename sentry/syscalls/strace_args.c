/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How strace writes one argument, by its kind. Every read of guest memory is short, bounded and
 * allowed to fail: then the bare address is written.
 */
#include "abi/xlat_gen.h"
#include "base/usermem.h"
#include "sentry/syscalls/strace_priv.h"

#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#define MAX_ITEMS 16 /* elements shown of an array */

static void line_addr(struct strace_line *l, uaddr addr)
{
    line_printf(l, addr == 0 ? "NULL" : "%#" PRIx64, addr);
}

/* All of an object, or nothing; NULL and bad addresses are written as such. */
static bool read_or_print(struct strace_line *l, void *dst, uaddr addr, size_t len)
{
    if (addr == 0 || copy_in_some(dst, addr, len) != (ssize_t)len) {
        line_addr(l, addr);
        return false;
    }
    return true;
}

void line_quote(struct strace_line *l, const char *data, size_t len, bool cut)
{
    static const char names[] = "\aa\bb\tt\nn\vv\ff\rr\"\"\\\\";

    line_printf(l, "\"");
    for (size_t i = 0; i < len; i++) {
        u8 c = (u8)data[i];
        const char *esc = c == 0 ? NULL : strchr(names, c);

        if (esc != NULL && (esc - names) % 2 == 0) {
            line_printf(l, "\\%c", esc[1]);
        } else if (c >= ' ' && c < 0x7f) {
            line_printf(l, "%c", c);
        } else if (i + 1 < len && data[i + 1] >= '0' && data[i + 1] <= '9') {
            line_printf(l, "\\%03o", c);
        } else {
            line_printf(l, "\\%o", c);
        }
    }
    line_printf(l, cut ? "\"..." : "\"");
}

void line_buffer(struct strace_line *l, uaddr addr, u64 len)
{
    char data[STRACE_STR_MAX];
    ssize_t n;

    if (addr == 0) {
        line_addr(l, addr);
        return;
    }
    n = len == 0 ? 0 : copy_in_some(data, addr, min(len, (u64)sizeof(data)));
    if (n < 0) {
        line_addr(l, addr);
        return;
    }
    line_quote(l, data, (size_t)n, len > (u64)n);
}

void line_string(struct strace_line *l, uaddr addr)
{
    char data[STRACE_PATH_MAX];
    ssize_t n = addr == 0 ? -1 : copy_in_some(data, addr, sizeof(data));

    if (n < 0) {
        line_addr(l, addr);
        return;
    }
    line_quote(l, data, strnlen(data, (size_t)n), memchr(data, '\0', (size_t)n) == NULL);
}

void line_xlat(struct strace_line *l, const struct xlat *x, u64 value)
{
    char text[256];

    xlat_format(x, value, text, sizeof(text));
    line_printf(l, "%s", text);
}

void line_signal(struct strace_line *l, u64 sig)
{
    const char *name = xlat_name(&xlat_signal, sig);

    if (name != NULL) {
        line_printf(l, "%s", name);
    } else if (sig >= 32 && sig <= 64) {
        line_printf(l, "SIGRT_%" PRIu64, sig - 32);
    } else {
        line_printf(l, "%d", (int)sig);
    }
}

void line_sigset(struct strace_line *l, u64 set)
{
    bool inverted = __builtin_popcountll(set) > 32;
    const char *sep = "";

    line_printf(l, inverted ? "~[" : "[");
    set = inverted ? ~set : set;
    for (unsigned i = 0; i < 64; i++) {
        if ((set >> i & 1) != 0) {
            const char *name = xlat_name(&xlat_signal, i + 1);

            line_printf(l, "%s", sep);
            if (name != NULL) {
                line_printf(l, "%s", name + 3); /* without SIG, as strace does */
            } else {
                line_printf(l, "RT_%u", i + 1 - 32);
            }
            sep = " ";
        }
    }
    line_printf(l, "]");
}

static void line_argv(struct strace_line *l, uaddr argv)
{
    u64 p = 0;

    if (argv == 0) {
        line_addr(l, argv);
        return;
    }
    line_printf(l, "[");
    for (unsigned i = 0; i < MAX_ITEMS; i++) {
        if (copy_in_some(&p, argv + i * 8, 8) != 8) {
            line_printf(l, "%s???", i == 0 ? "" : ", ");
            p = 0;
            break;
        }
        if (p == 0) {
            break;
        }
        line_printf(l, "%s", i == 0 ? "" : ", ");
        line_string(l, p);
    }
    line_printf(l, p != 0 ? ", ...]" : "]");
}

/* `content`: the buffers' bytes, of which `bytes` count; else only where they are. */
void line_iov(struct strace_line *l, uaddr iov, u64 count, bool content, u64 bytes)
{
    struct iovec v;

    if (iov == 0) {
        line_addr(l, iov);
        return;
    }
    line_printf(l, "[");
    for (u64 i = 0; i < min(count, (u64)MAX_ITEMS); i++) {
        line_printf(l, "%s", i == 0 ? "" : ", ");
        if (copy_in_some(&v, iov + i * sizeof(v), sizeof(v)) != (ssize_t)sizeof(v)) {
            line_printf(l, "???");
            break;
        }
        line_printf(l, "{iov_base=");
        if (content) {
            u64 n = min((u64)v.iov_len, bytes);

            line_buffer(l, (uaddr)(uintptr_t)v.iov_base, n);
            bytes -= n;
        } else {
            line_addr(l, (uaddr)(uintptr_t)v.iov_base);
        }
        line_printf(l, ", iov_len=%zu}", v.iov_len);
    }
    line_printf(l, count > MAX_ITEMS ? ", ...]" : "]");
}

void line_sockaddr(struct strace_line *l, uaddr addr, u64 len)
{
    union {
        struct sockaddr sa;
        struct sockaddr_un un;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } a = {0};
    ssize_t n = addr == 0 || len < sizeof(a.sa.sa_family)
                    ? -1
                    : copy_in_some(&a, addr, min(len, (u64)sizeof(a.un)));

    if (n < (ssize_t)sizeof(a.sa.sa_family)) {
        line_addr(l, addr);
        return;
    }
    line_printf(l, "{sa_family=");
    line_xlat(l, &xlat_af, a.sa.sa_family);
    if (a.sa.sa_family == AF_UNIX) {
        size_t size = (size_t)n - offsetof(struct sockaddr_un, sun_path);
        bool abstract = size > 0 && a.un.sun_path[0] == '\0';

        line_printf(l, ", sun_path=%s", abstract ? "@" : "");
        line_quote(l, a.un.sun_path + abstract, abstract ? size - 1 : strnlen(a.un.sun_path, size),
                   false);
    } else if (a.sa.sa_family == AF_INET) {
        const u8 *ip = (const u8 *)&a.in.sin_addr;

        line_printf(l, ", sin_port=%u, sin_addr=%u.%u.%u.%u", ntohs(a.in.sin_port), ip[0], ip[1],
                    ip[2], ip[3]);
    } else if (a.sa.sa_family == AF_INET6) {
        line_printf(l, ", sin6_port=%u, sin6_addr=", ntohs(a.in6.sin6_port));
        for (unsigned i = 0; i < 8; i++) {
            line_printf(l, "%s%x", i == 0 ? "" : ":", ntohs(a.in6.sin6_addr.s6_addr16[i]));
        }
    }
    line_printf(l, "}");
}

void line_msghdr(struct strace_line *l, uaddr addr, bool out, u64 bytes)
{
    struct msghdr m;

    if (!read_or_print(l, &m, addr, sizeof(m))) {
        return;
    }
    line_printf(l, "{msg_name=");
    line_sockaddr(l, (uaddr)(uintptr_t)m.msg_name, m.msg_namelen);
    line_printf(l, ", msg_iov=");
    line_iov(l, (uaddr)(uintptr_t)m.msg_iov, m.msg_iovlen, true, bytes);
    line_printf(l, ", msg_controllen=%zu", m.msg_controllen);
    if (out) {
        line_printf(l, ", msg_flags=");
        line_xlat(l, &xlat_msg, (u32)m.msg_flags);
    }
    line_printf(l, "}");
}

static void line_pollfds(struct strace_line *l, uaddr addr, u64 count)
{
    struct pollfd p;

    line_printf(l, "[");
    for (u64 i = 0; i < min(count, (u64)MAX_ITEMS); i++) {
        if (!read_or_print(l, &p, addr + i * sizeof(p), sizeof(p))) {
            break;
        }
        line_printf(l, "%s{fd=%d, events=", i == 0 ? "" : ", ", p.fd);
        line_xlat(l, &xlat_poll, (u16)p.events);
        if (p.revents != 0) {
            line_printf(l, ", revents=");
            line_xlat(l, &xlat_poll, (u16)p.revents);
        }
        line_printf(l, "}");
    }
    line_printf(l, count > MAX_ITEMS ? ", ...]" : "]");
}

static void line_epoll_events(struct strace_line *l, uaddr addr, u64 count)
{
    struct epoll_event e;

    line_printf(l, "[");
    for (u64 i = 0; i < min(count, (u64)MAX_ITEMS); i++) {
        if (!read_or_print(l, &e, addr + i * sizeof(e), sizeof(e))) {
            break;
        }
        line_printf(l, "%s{events=", i == 0 ? "" : ", ");
        line_xlat(l, &xlat_epoll_event, e.events);
        line_printf(l, ", data=%#" PRIx64 "}", (u64)e.data.u64);
    }
    line_printf(l, count > MAX_ITEMS ? ", ...]" : "]");
}

/* Set bits of up to `bits` bits: descriptors of select, CPUs. */
static void line_bits(struct strace_line *l, uaddr addr, u64 bits)
{
    u8 set[128] = {0};
    size_t len = (size_t)min((bits + 7) / 8, (u64)sizeof(set));
    const char *sep = "";

    if (!read_or_print(l, set, addr, len)) {
        return;
    }
    line_printf(l, "[");
    for (unsigned i = 0; i < len * 8 && i < bits; i++) {
        if ((set[i / 8] >> i % 8 & 1) != 0) {
            line_printf(l, "%s%u", sep, i);
            sep = " ";
        }
    }
    line_printf(l, "]");
}

/* A guest word of 4 or 8 bytes behind a pointer. */
static void line_word(struct strace_line *l, uaddr addr, unsigned kind)
{
    bool is_64 = kind == ARG_LONG_OUT || kind == ARG_OFF_INOUT;
    s64 v = 0;

    if (!read_or_print(l, &v, addr, is_64 ? 8 : 4)) {
        return;
    }
    if (is_64) {
        line_printf(l, "[%" PRId64 "]", v);
    } else if (kind == ARG_UINT_OUT) {
        line_printf(l, "[%u]", (u32)v);
    } else {
        line_printf(l, "[%d]", (s32)v);
    }
}

static void line_fd_pair(struct strace_line *l, uaddr addr)
{
    s32 fds[2];

    if (read_or_print(l, fds, addr, sizeof(fds))) {
        line_printf(l, "[%d, %d]", fds[0], fds[1]);
    }
}

static void line_guest_sigset(struct strace_line *l, uaddr addr)
{
    u64 set;

    if (read_or_print(l, &set, addr, sizeof(set))) {
        line_sigset(l, set);
    }
}

/* The length behind an `int *len` argument of the socket calls. */
static u64 socklen_of(uaddr addr)
{
    u32 len;

    return addr != 0 && copy_in_some(&len, addr, 4) == 4 ? len : 0;
}

bool strace_arg_is_out(const struct arg_desc *a)
{
    switch (a->kind) {
    case ARG_STR_OUT:
    case ARG_BUF_OUT:
    case ARG_IOV_OUT:
    case ARG_STRUCT_OUT:
    case ARG_STRUCT_INOUT:
    case ARG_INT_OUT:
    case ARG_UINT_OUT:
    case ARG_LONG_OUT:
    case ARG_INT_INOUT:
    case ARG_OFF_INOUT:
    case ARG_FD2_OUT:
    case ARG_SIGSET_OUT:
    case ARG_FDSET:
    case ARG_BITS_OUT:
    case ARG_POLLFDS:
    case ARG_EPOLL_EVENTS:
    case ARG_SOCKADDR_OUT:
    case ARG_MSGHDR_OUT:
        return true;
    default:
        return false;
    }
}

/* Kinds that are all in the register. False: it is another. */
static bool line_scalar(struct strace_line *l, const struct arg_desc *a, u64 v)
{
    switch (a->kind) {
    case ARG_INT:
    case ARG_FD:
        line_printf(l, "%d", (int)v);
        return true;
    case ARG_DIRFD:
        line_printf(l, (int)v == AT_FDCWD ? "AT_FDCWD" : "%d", (int)v);
        return true;
    case ARG_UINT:
    case ARG_UID:
        line_printf(l, (u32)v == UINT32_MAX ? "-1" : "%u", (u32)v);
        return true;
    case ARG_LONG:
        line_printf(l, "%" PRId64, (s64)v);
        return true;
    case ARG_ULONG:
        line_printf(l, "%" PRIu64, v);
        return true;
    case ARG_MODE:
        line_printf(l, "%#o", (u32)v);
        return true;
    case ARG_HEX:
        line_printf(l, "%#" PRIx64, v);
        return true;
    case ARG_ADDR:
        line_addr(l, v);
        return true;
    case ARG_SIG:
        line_signal(l, (u32)v);
        return true;
    case ARG_XLAT:
        line_xlat(l, a->xlat, v);
        return true;
    default:
        return false;
    }
}

/* Kinds behind a pointer that are read before the call, or after a good one. */
static void line_pointed(struct strace_line *l, const struct arg_desc *a, u64 v, u64 ref, long ret)
{
    switch (a->kind) {
    case ARG_STR:
    case ARG_STR_OUT:
        line_string(l, v);
        return;
    case ARG_ARGV:
        line_argv(l, v);
        return;
    case ARG_BUF_IN:
        line_buffer(l, v, ref);
        return;
    case ARG_BUF_OUT:
        line_buffer(l, v, min((u64)ret, ref));
        return;
    case ARG_IOV_IN:
        line_iov(l, v, ref, true, UINT64_MAX);
        return;
    case ARG_IOV_OUT:
        line_iov(l, v, ref, true, (u64)ret);
        return;
    case ARG_IOV_ADDR:
        line_iov(l, v, ref, false, 0);
        return;
    case ARG_STRUCT_IN:
    case ARG_STRUCT_OUT:
    case ARG_STRUCT_INOUT:
        strace_struct(l, a->type, v);
        return;
    case ARG_FD2_OUT:
        line_fd_pair(l, v);
        return;
    case ARG_SIGSET_IN:
    case ARG_SIGSET_OUT:
        line_guest_sigset(l, v);
        return;
    case ARG_FDSET:
        line_bits(l, v, ref);
        return;
    case ARG_BITS_IN:
    case ARG_BITS_OUT:
        line_bits(l, v, min(ref, (u64)128) * 8);
        return;
    case ARG_POLLFDS:
        line_pollfds(l, v, ref);
        return;
    case ARG_EPOLL_EVENTS:
        line_epoll_events(l, v, (u64)ret);
        return;
    case ARG_SOCKADDR_IN:
        line_sockaddr(l, v, (u32)ref);
        return;
    case ARG_SOCKADDR_OUT:
        line_sockaddr(l, v, socklen_of(ref));
        return;
    case ARG_MSGHDR_IN:
    case ARG_MSGHDR_OUT:
        line_msghdr(l, v, a->kind == ARG_MSGHDR_OUT, ret > 0 ? (u64)ret : UINT64_MAX);
        return;
    default:
        line_word(l, v, a->kind);
        return;
    }
}

void strace_arg(struct strace_line *l, unsigned i, long ret)
{
    const struct arg_desc *a = &l->d->args[i];
    u64 v = a->is_32 ? (u32)l->args[i] : l->args[i];
    u64 ref = l->args[a->ref];

    if (line_scalar(l, a, v)) {
        return;
    }
    if (ret < 0 && strace_arg_is_out(a)) {
        line_addr(l, v);
        return;
    }
    line_pointed(l, a, v, ref, ret);
}
