/* SPDX-License-Identifier: Apache-2.0 */
/* What strace writes for arguments, over a guest memory of one buffer; bad addresses stay numbers.
 */
#include "sentry/syscalls/strace.h"

#include "base/err.h"
#include "base/usermem.h"
#include "sentry/syscalls/strace_priv.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>

#include <cmocka.h>

#define GUEST_BASE 0x10000UL

static _Alignas(16) char guest[4096];

static ssize_t fake_copy_in_some(void *dst, uaddr src, size_t len)
{
    if (src < GUEST_BASE || src >= GUEST_BASE + sizeof(guest)) {
        return -EFAULT;
    }
    len = min(len, (size_t)(GUEST_BASE + sizeof(guest) - src));
    memcpy(dst, guest + (src - GUEST_BASE), len);
    return (ssize_t)len;
}

static const struct usermem_ops fake_ops = {.copy_in_some = fake_copy_in_some};

static int set_up(void **state)
{
    (void)state;
    memset(guest, 0, sizeof(guest));
    usermem_set_ops(&fake_ops);
    return 0;
}

/* The arguments of call `nr` as they are written after it returned `ret`. */
static const char *arguments(long nr, const u64 *args, long ret)
{
    static struct strace_line line;

    memset(&line, 0, sizeof(line));
    line.d = &syscall_table[nr];
    memcpy(line.args, args, sizeof(line.args));
    for (unsigned i = 0; i < line.d->nr_args; i++) {
        line_printf(&line, "%s", i == 0 ? "" : ", ");
        strace_arg(&line, i, ret);
    }
    return line.text;
}
#define ARGS(...) ((const u64[6]){__VA_ARGS__})

static void strings_are_quoted_and_escaped(void **state)
{
    (void)state;
    memcpy(guest, "a\n\"\\\1x\0012", 8);
    assert_string_equal(arguments(SYS_write, ARGS(1, GUEST_BASE, 8), 8),
                        "1, \"a\\n\\\"\\\\\\1x\\0012\", 8");
}

static void long_buffers_are_cut(void **state)
{
    (void)state;
    memset(guest, 'z', 100);
    assert_string_equal(arguments(SYS_write, ARGS(1, GUEST_BASE, 100), 100),
                        "1, \"zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz\"..., 100");
}

static void output_is_what_was_returned(void **state)
{
    (void)state;
    memcpy(guest, "abcdef", 6);
    assert_string_equal(arguments(SYS_read, ARGS(3, GUEST_BASE, 512), 3), "3, \"abc\", 512");
    assert_string_equal(arguments(SYS_read, ARGS(3, GUEST_BASE, 512), -EBADF), "3, 0x10000, 512");
}

static void bad_addresses_are_numbers(void **state)
{
    (void)state;
    assert_string_equal(arguments(SYS_write, ARGS(1, 0x20, 5), -EFAULT), "1, 0x20, 5");
    assert_string_equal(arguments(SYS_open, ARGS(0, O_RDWR, 0), -EFAULT), "NULL, O_RDWR, 0");
    assert_string_equal(arguments(SYS_execve, ARGS(0x30, 0x40, 0), -EFAULT), "0x30, [???], NULL");
}

static void a_string_may_end_where_memory_ends(void **state)
{
    (void)state;
    memset(guest + sizeof(guest) - 3, 'q', 3);
    assert_string_equal(arguments(SYS_chdir, ARGS(GUEST_BASE + sizeof(guest) - 3), 0),
                        "\"qqq\"...");
}

static void descriptors_and_flags_are_32_bits(void **state)
{
    (void)state;
    strcpy(guest, "/x");
    assert_string_equal(arguments(SYS_openat,
                                  ARGS(0xffffffff00000000UL | (u32)AT_FDCWD, GUEST_BASE,
                                       0xabc00000000UL | O_CREAT, 0644),
                                  3),
                        "AT_FDCWD, \"/x\", O_RDONLY|O_CREAT, 0644");
}

static void structures_are_shown(void **state)
{
    const struct timespec ts = {5, 7};

    (void)state;
    memcpy(guest, &ts, sizeof(ts));
    assert_string_equal(arguments(SYS_nanosleep, ARGS(GUEST_BASE, 0), 0),
                        "{tv_sec=5, tv_nsec=7}, NULL");
}

static void signals_have_names(void **state)
{
    (void)state;
    assert_string_equal(arguments(SYS_kill, ARGS(1, SIGTERM), 0), "1, SIGTERM");
    assert_string_equal(arguments(SYS_kill, ARGS((u64)-1, 34), 0), "-1, SIGRT_2");
}

static void classes_are_parsed(void **state)
{
    (void)state;
    assert_int_equal(strace_parse("file,process"), CLASS_FILE | CLASS_PROCESS);
    assert_int_equal(strace_parse("trace=%desc"), CLASS_DESC);
    assert_true(strace_parse("") > CLASS_OTHER);
    assert_int_equal(strace_parse("shoes"), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(strings_are_quoted_and_escaped, set_up),
        cmocka_unit_test_setup(long_buffers_are_cut, set_up),
        cmocka_unit_test_setup(output_is_what_was_returned, set_up),
        cmocka_unit_test_setup(bad_addresses_are_numbers, set_up),
        cmocka_unit_test_setup(a_string_may_end_where_memory_ends, set_up),
        cmocka_unit_test_setup(descriptors_and_flags_are_32_bits, set_up),
        cmocka_unit_test_setup(structures_are_shown, set_up),
        cmocka_unit_test_setup(signals_have_names, set_up),
        cmocka_unit_test_setup(classes_are_parsed, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
