/* SPDX-License-Identifier: Apache-2.0 */
/* On panic: the stack of every switched-out fiber, walked from its saved frame by frame pointers
 * (libunwind needs a running context). */
#include "base/panic.h"
#include "base/sched/sched_priv.h"

#include <libunwind.h>
#include <stdio.h>
#include <unistd.h>

static void print_frame(unsigned depth, u64 ip)
{
    dprintf(STDERR_FILENO, "    #%-2u %#lx\n", depth, (unsigned long)ip);
}

static bool on_stack(const struct fiber *f, u64 p)
{
    return (p & 7) == 0 && p >= (u64)f->stack && p <= (u64)f->stack + FIBER_STACK_SIZE - 16;
}

static void dump_fiber(struct fiber *f, void *arg)
{
    const struct switch_frame *frame = f->sp;
    u64 rbp;

    (void)arg;
    dprintf(STDERR_FILENO, "  fiber %s (%p) state %#x\n", f->name, (void *)f, f->state);
    if (f == fiber_current() || frame == NULL || !on_stack(f, (u64)frame)) {
        return;
    }
    print_frame(0, frame->rip);
    rbp = frame->rbp;
    for (unsigned depth = 1; depth < 32 && on_stack(f, rbp); depth++) {
        const u64 *p = (const u64 *)rbp;

        print_frame(depth, p[1]);
        if (p[0] <= rbp) {
            break;
        }
        rbp = p[0];
    }
}

static void dump_all(void)
{
    fiber_for_each(dump_fiber, NULL);
}

void sched_dump_init(void)
{
    static bool done;

    if (!done) {
        done = true;
        panic_add_dumper(dump_all);
    }
}
