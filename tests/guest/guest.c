/* SPDX-License-Identifier: Apache-2.0 */
/* The main program of every guest test: each TEST in a child of its own, TAP on standard output. */
#include "tests/guest/guest.h"

#include <stdarg.h>
#include <sys/wait.h>

#define EXIT_SKIP    77
#define TEST_SECONDS 30

extern const struct guest_test *const __start_guest_tests[];
extern const struct guest_test *const __stop_guest_tests[];

void guest_fail(const char *file, int line, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    printf("# %s:%d: ", file, line);
    vprintf(fmt, ap);
    printf("\n");
    va_end(ap);
    fflush(stdout);
    _exit(1);
}

void guest_skip(const char *why)
{
    printf("# skipped: %s\n", why);
    fflush(stdout);
    _exit(EXIT_SKIP);
}

int guest_in_child(void (*fn)(void *arg), void *arg)
{
    int status = -1;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        fn(arg);
        fflush(stdout);
        _exit(0);
    }
    EXPECT(pid > 0);
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    return status;
}

int guest_signal_of(void (*fn)(void *arg), void *arg)
{
    int status = guest_in_child(fn, arg);

    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

int guest_temp_file(void)
{
    char name[] = "/tmp/guest-XXXXXX";
    int fd = mkstemp(name);

    EXPECT(fd >= 0);
    EXPECT_EQ(unlink(name), 0);
    return fd;
}

static void run(void *arg)
{
    const struct guest_test *t = arg;

    alarm(TEST_SECONDS);
    t->fn();
}

int main(int argc, char **argv)
{
    long count = __stop_guest_tests - __start_guest_tests;
    int failed = 0;

    printf("1..%ld\n", argc > 1 ? 1 : count);
    for (long i = 0; i < count; i++) {
        const struct guest_test *t = __start_guest_tests[i];
        int status;

        if (argc > 1 && strcmp(argv[1], t->name) != 0) {
            continue;
        }
        status = guest_in_child(run, (void *)(uintptr_t)t);
        if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SKIP) {
            printf("ok %ld - %s # SKIP\n", i + 1, t->name);
        } else if (status == 0) {
            printf("ok %ld - %s\n", i + 1, t->name);
        } else {
            printf("# wait status %#x\nnot ok %ld - %s\n", (unsigned)status, i + 1, t->name);
            failed = 1;
        }
        fflush(stdout);
    }
    return failed;
}
