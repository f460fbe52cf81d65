/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one checked path of every system call: registers -> number -> table -> wrapper (generated:
 * truncates the registers to the handler's types) -> handler -> result into the registers.
 * Numbers that Linux does not have and calls that we do not support go the same way: they are
 * counted, traced, and answered with the error of the table.
 *
 * A handler returns >= 0, -errno, or -ERESTART*: the latter stays in the result register until
 * sentry/kernel's signal code turns it into a restart or EINTR before the guest sees it. A handler
 * that replaces the registers (execve, rt_sigreturn) returns what is to be the result register.
 *
 * Counters are relaxed atomics in one heap object; they are statistics, nobody decides by them.
 */
#include "base/heap.h"
#include "platform/regs.h"
#include "sentry/kernel/task.h"
#include "sentry/syscalls/desc.h"
#include "sentry/syscalls/strace.h"
#include "sentry/syscalls/syscalls.h"

struct syscall_stats {
    _Atomic u64 count[SYSCALL_TABLE_SIZE + 1]; /* (a) the last: unknown numbers */
};
DEFINE_CACHE(syscall_stats_cache, struct syscall_stats);

static struct syscall_stats *stats;

static const struct syscall_desc unknown_call = {.name = "unknown", .err = ENOSYS};

int syscalls_boot(void)
{
    stats = cache_new(syscall_stats_cache);
    return stats == NULL ? -ENOMEM : 0;
}

/* Linux looks at the lower half of the register only (do_syscall_64). */
static u32 call_index(const struct regs *r)
{
    u32 nr = (u32)regs_syscall_nr(r);

    return nr < SYSCALL_TABLE_SIZE && syscall_table[nr].name != NULL ? nr : SYSCALL_TABLE_SIZE;
}

static const struct syscall_desc *call_desc(u32 index)
{
    return index == SYSCALL_TABLE_SIZE ? &unknown_call : &syscall_table[index];
}

void syscall_dispatch(struct task *t)
{
    const struct regs *r = task_regs(t);
    u32 index = call_index(r);
    const struct syscall_desc *d = call_desc(index);
    struct strace_line *line = NULL;
    long ret;

    atomic_fetch_add_explicit(&stats->count[index], 1, memory_order_relaxed);
    if (unlikely(strace_wants(d))) {
        line = strace_enter(t, d, r);
    }
    ret = likely(d->call != NULL) ? d->call(t, r) : -(long)d->err;
    if (unlikely(line != NULL)) {
        strace_exit(line, ret);
    }
    regs_set_ret(task_regs(t), (u64)ret);
}

void syscall_for_each_count(void (*fn)(const struct syscall_count *c, void *arg), void *arg)
{
    for (u32 i = 0; i <= SYSCALL_TABLE_SIZE; i++) {
        const struct syscall_desc *d = call_desc(i);
        struct syscall_count c = {
            .nr = i == SYSCALL_TABLE_SIZE ? -1 : (int)i,
            .name = d->name,
            .supported = d->call != NULL,
            .count = atomic_load_explicit(&stats->count[i], memory_order_relaxed),
        };

        if (c.count != 0) {
            fn(&c, arg);
        }
    }
}
