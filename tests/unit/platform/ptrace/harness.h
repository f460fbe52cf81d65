/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the tests of the ptrace platform: guests made of the code in guest_x86_64.S, and bodies that
 * run in a fiber. Expectations are recorded there and asserted outside, as cmocka cannot unwind a
 * fiber.
 */
#ifndef PAVISE_TESTS_PTRACE_HARNESS_H
#define PAVISE_TESTS_PTRACE_HARNESS_H

#include "base/base.h"
#include "base/err.h"
#include "base/memfile.h"
#include "platform/platform.h"
#include "platform/ptrace/ptrace_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <cmocka.h>

#define CODE 0x100000UL
#define DATA 0x200000UL
#define HOLE 0x300000UL

extern const char guest_start[], guest_end[], guest_getpid[], guest_count[], guest_spin[],
    guest_read[], guest_write[], guest_jump[], guest_call[], guest_div0[], guest_ud2[],
    guest_int3[], guest_gp[], guest_int80[], guest_step[], guest_sse[], guest_avx512[],
    guest_read_sse[], guest_turn[];

extern char failure[256];

#define expect(cond)                                                                               \
    do {                                                                                           \
        if (!(cond) && failure[0] == '\0') {                                                       \
            (void)snprintf(failure, sizeof(failure), "%s:%d: %s", __func__, __LINE__, #cond);      \
        }                                                                                          \
    } while (0)

/* One guest thread in an address space with CODE and DATA. */
struct guest {
    struct aspace *as;
    struct pcontext *c;
    struct regs *regs;
    struct pexit exit;
    u64 frames; /* CODE, then DATA */
};

/* Heap, memory file, scheduler, platform: once a process, before all else. */
must_check int boot_platform(void);
void the_platform_boots(void **state);
/* Run `body` in a fiber, with the scheduler to itself, on one worker. */
void in_fiber(void (*body)(void));
void fail_if_unexpected(void);

u64 at(const char *label);
struct guest guest_new(const char *entry);
void guest_map(struct guest *g);
void guest_thread(struct guest *g, const char *entry);
void guest_free(struct guest *g);
u64 *guest_data(struct guest *g);
enum pexit_kind run(struct guest *g);
bool called_getpid(struct guest *g);

#endif
