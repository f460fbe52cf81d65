/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CHECK and BUG: for invariants of our own code, never for anything that a guest, a stub,
 * a packet or an image can cause. A failed CHECK prints the values and a libunwind back
 * trace of every fiber, and ends the sentry.
 */
#ifndef PAVISE_BASE_PANIC_H
#define PAVISE_BASE_PANIC_H

#include "base/base.h"

noreturn_fn cold_fn void panic_at(const char *file, int line, const char *fmt, ...)
    printf_like(3, 4);

#define BUG(...) panic_at(__FILE__, __LINE__, __VA_ARGS__)

#define CHECK(cond, fmt, ...)                                                                      \
    do {                                                                                           \
        if (unlikely(!(cond))) {                                                                   \
            panic_at(__FILE__, __LINE__, "check failed: %s: " fmt, #cond, ##__VA_ARGS__);          \
        }                                                                                          \
    } while (0)

/* Let the fiber code add its back traces without base/panic.c knowing fibers. */
void panic_add_dumper(void (*dump)(void));

#endif
