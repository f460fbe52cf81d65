/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines, their levels, and what a panic says before it ends the process. */
#include "base/err.h"
#include "base/log.h"
#include "base/panic.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static int out[2]; /* a pipe that collects what is written */

static void read_all(char *text, size_t size)
{
    size_t len = 0;
    ssize_t n;

    close(out[1]);
    while ((n = read(out[0], text + len, size - 1 - len)) > 0) {
        len += (size_t)n;
    }
    text[len] = '\0';
    close(out[0]);
}

static void lines_have_channel_and_level(void **state)
{
    char text[4000], want[2000];

    (void)state;
    assert_int_equal(pipe(out), 0);
    log_set_fd(out[1]);
    assert_int_equal(log_parse("error,mm:info"), 0);
    log_info(LOG_MM, "%d frames", 3);
    log_debug(LOG_MM, "not this");
    log_warn(LOG_VFS, "nor this");
    memset(want, 'x', sizeof(want) - 1);
    want[sizeof(want) - 1] = '\0';
    log_error(LOG_VFS, "%s", want);
    log_set_fd(2);
    read_all(text, sizeof(text));
    assert_memory_equal(text, "pavise: mm: info: 3 frames\npavise: vfs: error: xxx", 49);
    assert_int_equal(text[strlen(text) - 1], '\n'); /* too long a line is cut, not run on */
    assert_true(strlen(text) < 1200);
}

static void bad_levels_are_refused(void **state)
{
    (void)state;
    assert_int_equal(log_parse("mm:debug,vfs:error"), 0);
    assert_int_equal(log_levels[LOG_MM], LOG_DEBUG);
    assert_int_equal(log_levels[LOG_VFS], LOG_ERROR);
    assert_int_equal(log_parse("loud"), -EINVAL);
    assert_int_equal(log_parse("mm:loud"), -EINVAL);
    assert_int_equal(log_parse("nothing:debug"), -EINVAL);
    assert_int_equal(log_parse("mm:"), -EINVAL);
    assert_int_equal(log_parse(":debug"), -EINVAL);
    assert_int_equal(log_parse("warn"), 0);
    assert_int_equal(log_levels[LOG_MM], LOG_WARN);
}

static void dumper(void)
{
    (void)!write(2, "the dumper\n", 11);
}

noinline_fn static void fail_a_check(int value)
{
    CHECK(value == 1, "the value is %d", value);
}

static void panic_says_what_and_where(void **state)
{
    char text[20000];
    int status;
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(out), 0);
    pid = fork();
    if (pid == 0) {
        dup2(out[1], 2);
        panic_add_dumper(dumper);
        fail_a_check(1);
        fail_a_check(7);
        _exit(0);
    }
    read_all(text, sizeof(text));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_non_null(strstr(text, "log_test.c"));
    assert_non_null(strstr(text, "value == 1"));
    assert_non_null(strstr(text, "the value is 7"));
    assert_non_null(strstr(text, "main+")); /* the back trace */
    assert_non_null(strstr(text, "the dumper"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_have_channel_and_level),
        cmocka_unit_test(bad_levels_are_refused),
        cmocka_unit_test(panic_says_what_and_where),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
