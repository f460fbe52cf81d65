/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest tests: ordinary C programs that state what Linux does. Each passes on Linux first, then in
 * the sandbox. TEST(name) { ... } runs in a process of its own; main (guest.c) prints TAP.
 *
 * CALL_FAILS(call, EXXX) and EXPECT(condition) end the test when they do not hold. SKIP ends it as
 * not applicable (no right, no such kernel feature).
 */
#ifndef PAVISE_TESTS_GUEST_GUEST_H
#define PAVISE_TESTS_GUEST_GUEST_H

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

struct guest_test {
    const char *name;
    void (*fn)(void);
};

#define TEST(test_name)                                                                            \
    static void test_name(void);                                                                   \
    static const struct guest_test test_name##_entry = {#test_name, test_name};                    \
    static const struct guest_test *const test_name##_link                                         \
        __attribute__((used, section("guest_tests"))) = &test_name##_entry;                        \
    static void test_name(void)

/* Print why and end the test process. */
__attribute__((noreturn, format(printf, 3, 4))) void guest_fail(const char *file, int line,
                                                                const char *fmt, ...);
__attribute__((noreturn)) void guest_skip(const char *why);

#define SKIP(why) guest_skip(why)

#define EXPECT(cond)                                                                               \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            guest_fail(__FILE__, __LINE__, "%s (errno %d)", #cond, errno);                         \
        }                                                                                          \
    } while (0)

#define EXPECT_EQ(a, b)                                                                            \
    do {                                                                                           \
        long long expect_a = (long long)(a), expect_b = (long long)(b);                            \
        if (expect_a != expect_b) {                                                                \
            guest_fail(__FILE__, __LINE__, "%s is %lld, not %s (%lld); errno %d", #a, expect_a,    \
                       #b, expect_b, errno);                                                       \
        }                                                                                          \
    } while (0)

/* The call returns -1 (or MAP_FAILED) and errno is `err`. */
#define CALL_FAILS(call, err)                                                                      \
    do {                                                                                           \
        errno = 0;                                                                                 \
        long long fails_ret = (long long)(call);                                                   \
        if (fails_ret != -1 || errno != (err)) {                                                   \
            guest_fail(__FILE__, __LINE__, "%s: %lld, errno %d, not errno %s", #call, fails_ret,   \
                       errno, #err);                                                               \
        }                                                                                          \
    } while (0)

/* Run fn(arg) in a child: its wait status. */
int guest_in_child(void (*fn)(void *arg), void *arg);
/* The signal that fn(arg) dies of, 0 if it returns. */
int guest_signal_of(void (*fn)(void *arg), void *arg);
/* A new empty file, open for reading and writing, already unlinked. */
int guest_temp_file(void);

#endif
