/* SPDX-License-Identifier: Apache-2.0 */
/*
 * On panic: the back trace of every fiber that is switched out, by libunwind from the frame that
 * fiber_switch left. Running fibers are seen in the traces of their threads.
 *
 * The world is not stopped: a fiber may begin to run while it is walked. libunwind checks what it
 * reads; a wrong frame costs a wrong line.
 */
#define UNW_LOCAL_ONLY
#include "base/panic.h"
#include "base/sched/sched_priv.h"

#include <libunwind.h>
#include <stdio.h>
#include <ucontext.h>
#include <unistd.h>

#define MAX_DEPTH 32

static bool is_on_stack(const struct fiber *f, const struct switch_frame *frame)
{
    return (char *)frame >= f->stack &&
           (char *)frame <= f->stack + FIBER_STACK_SIZE - sizeof(*frame);
}

/* What the registers will be when fiber_switch returns into the fiber. */
static void context_of(const struct switch_frame *frame, unw_context_t *context)
{
    greg_t *regs;

    memset(context, 0, sizeof(*context));
    regs = context->uc_mcontext.gregs;
    regs[REG_RSP] = (greg_t)(frame + 1);
    regs[REG_RIP] = (greg_t)frame->rip;
    regs[REG_RBP] = (greg_t)frame->rbp;
    regs[REG_RBX] = (greg_t)frame->rbx;
    regs[REG_R12] = (greg_t)frame->r12;
    regs[REG_R13] = (greg_t)frame->r13;
    regs[REG_R14] = (greg_t)frame->r14;
    regs[REG_R15] = (greg_t)frame->r15;
}

static void print_frame(unsigned depth, unw_cursor_t *cursor)
{
    unw_word_t ip = 0;
    unw_word_t off = 0;
    char name[128];

    (void)unw_get_reg(cursor, UNW_REG_IP, &ip);
    if (unw_get_proc_name(cursor, name, sizeof(name), &off) != 0) {
        (void)snprintf(name, sizeof(name), "?");
    }
    dprintf(STDERR_FILENO, "    #%-2u %#lx %s+%#lx\n", depth, (unsigned long)ip, name,
            (unsigned long)off);
}

static void dump_fiber(struct fiber *f, void *arg)
{
    const struct switch_frame *frame = f->sp;
    unw_context_t context;
    unw_cursor_t cursor;
    unsigned depth = 0;

    (void)arg;
    dprintf(STDERR_FILENO, "  fiber %s (%p) state %#x%s\n", f->name, (void *)f,
            atomic_load_explicit(&f->state, memory_order_relaxed), frame == NULL ? " running" : "");
    for (u32 i = 0; i < min(f->held.nr, (u32)HELD_MAX); i++) {
        dprintf(STDERR_FILENO, "    holds %s %p\n", lock_rank_name(f->held.held[i].rank),
                f->held.held[i].lock);
    }
    if (frame == NULL || !is_on_stack(f, frame)) {
        return;
    }
    context_of(frame, &context);
    if (unw_init_local(&cursor, &context) != 0) {
        return;
    }
    do {
        print_frame(depth, &cursor);
    } while (++depth < MAX_DEPTH && unw_step(&cursor) > 0);
}

static void dump_all(void)
{
    fiber_for_each(dump_fiber, NULL);
}

void sched_dump_init(void)
{
    static bool is_done;

    if (!is_done) {
        is_done = true;
        panic_add_dumper(dump_all);
    }
}
