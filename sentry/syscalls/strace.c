/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tracing: one line a call, in the manner of strace(1). Arguments are written from the left until
 * the first that only means something after the call; the rest follows when the call is over.
 * A call that does not return is written at once.
 *
 * Guest memory is only looked at through copy_in_some: it may change between our look and the
 * handler's, so a trace tells what probably happened, never what surely did. Nothing else depends
 * on a line.
 *
 * Locking: none. A line belongs to the task that makes the call; it goes out in one write.
 */
#include "sentry/syscalls/strace.h"

#include "base/heap.h"
#include "base/host.h"
#include "platform/regs.h"
#include "sentry/kernel/task.h"
#include "sentry/syscalls/strace_priv.h"

#include <stdarg.h>
#include <stdio.h>

DEFINE_CACHE(strace_line_cache, struct strace_line);

#define STRACE_ENTER (1U << 31) /* a pseudo class: also write a line on entry */

_Atomic u32 strace_classes;
static int strace_fd = 2;

static const struct {
    const char *name;
    u32 classes;
} class_names[] = {
    {"all", 0x7fffffff},        {"file", CLASS_FILE},     {"desc", CLASS_DESC},
    {"process", CLASS_PROCESS}, {"memory", CLASS_MEMORY}, {"signal", CLASS_SIGNAL},
    {"network", CLASS_NETWORK}, {"ipc", CLASS_IPC},       {"time", CLASS_TIME},
    {"creds", CLASS_CREDS},     {"other", CLASS_OTHER},   {"enter", STRACE_ENTER},
};

static u32 class_by_name(const char *name, size_t len)
{
    for (size_t i = 0; i < ARRAY_SIZE(class_names); i++) {
        if (strlen(class_names[i].name) == len && memcmp(class_names[i].name, name, len) == 0) {
            return class_names[i].classes;
        }
    }
    return 0;
}

long strace_parse(const char *spec)
{
    u32 classes = 0;

    if (strncmp(spec, "trace=", 6) == 0) {
        spec += 6;
    }
    while (*spec != '\0') {
        size_t len;
        u32 one;

        spec += *spec == '%' ? 1 : 0;
        len = strcspn(spec, ",");
        one = class_by_name(spec, len);
        if (one == 0) {
            return -EINVAL;
        }
        classes |= one;
        spec += len;
        spec += *spec == ',' ? 1 : 0;
    }
    if ((classes & ~STRACE_ENTER) == 0) {
        classes |= 0x7fffffff;
    }
    return (long)classes;
}

void strace_set(u32 classes, int fd)
{
    strace_fd = fd;
    atomic_store_explicit(&strace_classes, classes, memory_order_relaxed);
}

void line_printf(struct strace_line *l, const char *fmt, ...)
{
    size_t room = STRACE_LINE_SIZE - STRACE_TAIL - l->len;
    va_list ap;
    int n;

    if (l->len >= STRACE_LINE_SIZE - STRACE_TAIL) {
        return;
    }
    va_start(ap, fmt);
    n = vsnprintf(l->text + l->len, room, fmt, ap);
    va_end(ap);
    l->len += n < 0 ? 0 : (u32)min((size_t)n, room - 1);
}

static void write_line(const struct strace_line *l)
{
    ssize_t n = host_write(strace_fd, l->text, l->len);

    (void)n; /* a trace that nobody reads is no reason to stop */
}

/* Write the arguments up to the first one that needs the call's result. */
static void write_args_before(struct strace_line *l)
{
    while (l->next_arg < l->d->nr_args && !strace_arg_is_out(&l->d->args[l->next_arg])) {
        line_printf(l, "%s", l->next_arg == 0 ? "" : ", ");
        strace_arg(l, l->next_arg, 0);
        l->next_arg++;
    }
}

static void write_args_after(struct strace_line *l, long ret)
{
    for (; l->next_arg < l->d->nr_args; l->next_arg++) {
        line_printf(l, "%s", l->next_arg == 0 ? "" : ", ");
        strace_arg(l, l->next_arg, ret);
    }
}

/* The line's last part, for which STRACE_TAIL bytes were kept. */
static void write_result(struct strace_line *l, long ret)
{
    char *p = l->text + l->len;
    size_t room = STRACE_LINE_SIZE - l->len;
    int n;

    if (ret <= -ERESTARTSYS && ret >= -ERESTART_RESTARTBLOCK) {
        n = snprintf(p, room, ") = ? (to be restarted, %ld)\n", -ret);
    } else if (ret < 0 && ret >= -MAX_ERRNO) {
        const char *name = strerrorname_np((int)-ret);
        const char *desc = strerrordesc_np((int)-ret);

        n = snprintf(p, room, ") = -1 %s (%s)%s\n", name == NULL ? "E???" : name,
                     desc == NULL ? "unknown error" : desc,
                     l->d->call == NULL ? " [not supported]" : "");
    } else {
        n = snprintf(p, room, l->d->ret == RET_UADDR ? ") = %#lx\n" : ") = %ld\n", ret);
    }
    l->len += (u32)min((size_t)n, room - 1);
}

struct strace_line *strace_enter(struct task *t, const struct syscall_desc *d, const struct regs *r)
{
    struct strace_line *l = cache_new(strace_line_cache);
    bool on_entry = (atomic_load_explicit(&strace_classes, memory_order_relaxed) & STRACE_ENTER);

    if (l == NULL) {
        return NULL;
    }
    l->task = t;
    l->d = d;
    for (unsigned i = 0; i < 6; i++) {
        l->args[i] = regs_arg(r, i);
    }
    line_printf(l, "[%d] %s(", task_tid(t), d->name);
    if (d->call == NULL && d->nr_args == 0) {
        line_printf(l, "nr %d", (int)regs_syscall_nr(r));
    }
    write_args_before(l);
    if (on_entry || d->ret == RET_VOID) {
        u32 len = l->len;

        line_printf(l, d->ret == RET_VOID ? ") = ?\n" : " ...\n");
        write_line(l);
        l->len = len;
    }
    if (d->ret == RET_VOID) {
        cache_del(strace_line_cache, l);
        return NULL;
    }
    return l;
}

void strace_exit(struct strace_line *l, long ret)
{
    write_args_after(l, ret);
    write_result(l, ret);
    write_line(l);
    cache_del(strace_line_cache, l);
}
