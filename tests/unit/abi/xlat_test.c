/* SPDX-License-Identifier: Apache-2.0 */
/* Names of flags: bits, fields, alternatives, unknown rests and short buffers. */
#include "abi/xlat.h"
#include "abi/xlat_gen.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <cmocka.h>

static void expect(const struct xlat *x, u64 value, const char *want)
{
    char buf[128];
    size_t len = xlat_format(x, value, buf, sizeof(buf));

    assert_string_equal(buf, want);
    assert_int_equal(len, strlen(want));
}

static void open_flags_name_the_access_mode_first(void **state)
{
    (void)state;
    expect(&xlat_open, O_RDONLY, "O_RDONLY");
    expect(&xlat_open, O_RDWR | O_CREAT | O_CLOEXEC, "O_RDWR|O_CREAT|O_CLOEXEC");
    expect(&xlat_open, O_TMPFILE | O_WRONLY, "O_WRONLY|O_TMPFILE");
}

static void zero_has_its_own_name_or_is_0(void **state)
{
    (void)state;
    expect(&xlat_prot, PROT_NONE, "PROT_NONE");
    expect(&xlat_prot, PROT_READ | PROT_EXEC, "PROT_READ|PROT_EXEC");
    expect(&xlat_msg, 0, "0");
}

static void unknown_bits_are_shown_as_a_number(void **state)
{
    (void)state;
    expect(&xlat_prot, PROT_READ | 0x100, "PROT_READ|0x100");
    expect(&xlat_whence, 77, "0x4d");
}

static void negative_names_match_32_bit_words(void **state)
{
    (void)state;
    expect(&xlat_rusage, (u32)RUSAGE_CHILDREN, "RUSAGE_CHILDREN");
}

static void long_text_is_cut_to_the_buffer(void **state)
{
    char buf[8];

    (void)state;
    assert_int_equal(xlat_format(&xlat_open, O_RDWR | O_CREAT, buf, sizeof(buf)), 7);
    assert_string_equal(buf, "O_RDWR|");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open_flags_name_the_access_mode_first),
        cmocka_unit_test(zero_has_its_own_name_or_is_0),
        cmocka_unit_test(unknown_bits_are_shown_as_a_number),
        cmocka_unit_test(negative_names_match_32_bit_words),
        cmocka_unit_test(long_text_is_cut_to_the_buffer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
