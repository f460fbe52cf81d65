/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a sentry whose invariants do not hold: the message, the back trace of this thread by
 * libunwind, the dumps that others registered (every fiber), abort. Works without the heap and
 * without locks. A panic inside a panic ends it at once; other threads that fail meanwhile wait for
 * the first one's abort.
 */
#define UNW_LOCAL_ONLY
#include "base/panic.h"

#include "base/host.h"

#include <libunwind.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MAX_DUMPERS 8

static void (*dumpers[MAX_DUMPERS])(void);
static unsigned nr_dumpers;
static _Atomic int panicking; /* the thread that panics */

void panic_add_dumper(void (*dump)(void))
{
    if (nr_dumpers < MAX_DUMPERS) {
        dumpers[nr_dumpers++] = dump;
    }
}

static void dump_this_thread(void)
{
    unw_context_t context;
    unw_cursor_t cursor;
    char name[128];

    if (unw_getcontext(&context) != 0 || unw_init_local(&cursor, &context) != 0) {
        return;
    }
    for (unsigned depth = 0; depth < 64 && unw_step(&cursor) > 0; depth++) {
        unw_word_t ip = 0, off = 0;

        (void)unw_get_reg(&cursor, UNW_REG_IP, &ip);
        if (unw_get_proc_name(&cursor, name, sizeof(name), &off) != 0) {
            name[0] = '?';
            name[1] = '\0';
        }
        dprintf(STDERR_FILENO, "  #%-2u %#lx %s+%#lx\n", depth, (unsigned long)ip, name,
                (unsigned long)off);
    }
}

void panic_at(const char *file, int line, const char *fmt, ...)
{
    int me = host_gettid(), first = 0;
    va_list ap;

    if (!atomic_compare_exchange_strong(&panicking, &first, me)) {
        while (first != me) {
            host_sched_yield();
        }
        abort();
    }
    dprintf(STDERR_FILENO, "pavise: panic at %s:%d: ", file, line);
    va_start(ap, fmt);
    vdprintf(STDERR_FILENO, fmt, ap);
    va_end(ap);
    dprintf(STDERR_FILENO, "\n");
    dump_this_thread();
    for (unsigned i = 0; i < nr_dumpers; i++) {
        dumpers[i]();
    }
    abort();
}
