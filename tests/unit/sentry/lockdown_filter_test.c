/* SPDX-License-Identifier: Apache-2.0 */
/* The sentry's filter, tried in children: what is listed works, what is not kills. */
#include "base/err.h"
#include "base/heap.h"
#include "base/host.h"
#include "base/host_filter.h"
#include "base/log.h"
#include "base/memfile.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/filter.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Run fn behind the filter in a child: its wait status. */
static int run_filtered(int (*fn)(void))
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        host_exit_group(host_filter_install(HOST_SENTRY, false) == 0 ? fn() : 99);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void assert_killed(int (*fn)(void))
{
    int status = run_filtered(fn);

    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSYS);
}

static void assert_works(int (*fn)(void))
{
    int status = run_filtered(fn);

    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static int open_a_host_file(void)
{
    return open("/etc/passwd", O_RDONLY) >= 0;
}

static int make_a_socket(void)
{
    return socket(AF_INET, SOCK_STREAM, 0) >= 0;
}

static int run_a_program(void)
{
    char *const argv[] = {NULL};

    return execve("/bin/true", argv, argv);
}

static int fork_a_process(void)
{
    return (int)syscall(SYS_fork);
}

static int clone_a_process(void)
{
    return (int)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static int map_executable(void)
{
    void *p = host_mmap(NULL, PAGE_SIZE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return IS_ERR(p);
}

static int make_executable(void)
{
    return host_mprotect((void *)ALIGN_DOWN((u64)&make_executable, PAGE_SIZE), PAGE_SIZE,
                         PROT_READ | PROT_WRITE | PROT_EXEC);
}

/* The kernel looks at 32 bits of prot: what lies above must not confuse the filter. */
static int garbage_above_int_arguments(void)
{
    return (int)syscall(SYS_mprotect, 0, PAGE_SIZE, (1UL << 40) | PROT_READ);
}

static int signal_politely(void)
{
    return (int)host_futex_wake(NULL, 1) + kill(getppid(), 0);
}

static int x32_call(void)
{
    return (int)syscall(0x40000000 | SYS_getpid);
}

static int int80_call(void)
{
    long ret;

    __asm__ volatile("int $0x80" : "=a"(ret) : "0"(20L) : "memory"); /* getpid */
    return ret < 0;
}

static void unlisted_calls_kill(void **state)
{
    (void)state;
    assert_killed(open_a_host_file);
    assert_killed(make_a_socket);
    assert_killed(run_a_program);
    assert_killed(fork_a_process);
    assert_killed(clone_a_process);
    assert_killed(map_executable);
    assert_killed(make_executable);
    assert_killed(garbage_above_int_arguments);
    assert_killed(signal_politely);
    assert_killed(x32_call);
    assert_killed(int80_call);
}

static int use_heap_and_memory_file(void)
{
    void *big = heap_alloc(MiB);
    u64 off;

    if (big == NULL || memfile_alloc(memfile, MiB, MEMFILE_ANON, &off) != 0) {
        return 1;
    }
    memset(memfile_window(memfile, off, MiB), 1, MiB);
    memfile_unref(memfile, off, MiB);
    heap_free(big);
    return memfile_committed(memfile) != 0;
}

static void *thread_fn(void *arg)
{
    return arg;
}

static int start_a_thread(void)
{
    pthread_t t;
    int arg;
    void *got = NULL;

    return pthread_create(&t, NULL, thread_fn, &arg) != 0 || pthread_join(t, &got) != 0 ||
           got != &arg;
}

static __attribute__((unused)) void listed_calls_work(void **state)
{
    (void)state;
    assert_works(use_heap_and_memory_file);
    assert_works(start_a_thread);
}

static int do_abort(void)
{
    abort();
}

static __attribute__((unused)) void abort_is_an_abort(void **state)
{
    int status = run_filtered(do_abort);

    (void)state;
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void log_mode_reports_once_and_goes_on(void **state)
{
    char text[1000] = "", want[40];
    int fds[2], status;
    ssize_t n;
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(fds), 0);
    pid = fork();
    if (pid == 0) {
        log_set_fd(fds[1]);
        if (host_filter_install(HOST_SENTRY, true) != 0) {
            host_exit_group(99);
        }
        for (int i = 0; i < 3; i++) {
            if (getuid() != geteuid() || getsid(0) < 0 || getsid(-1) != -1 || errno != ESRCH) {
                host_exit_group(1);
            }
        }
        host_exit_group(0);
    }
    close(fds[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    n = read(fds[0], text, sizeof(text) - 1);
    assert_true(n > 0);
    close(fds[0]);
    snprintf(want, sizeof(want), "host call %d (", SYS_getsid);
    assert_non_null(strstr(text, want));
    assert_null(strstr(strstr(text, want) + 1, want));
}

static void raw_program_fits_or_says_so(void **state)
{
    static struct sock_filter insns[4096];
    ssize_t size = host_filter_bpf(HOST_SENTRY, insns, sizeof(insns));

    (void)state;
    assert_true(size > 0);
    assert_int_equal(size % (ssize_t)sizeof(insns[0]), 0);
    assert_int_equal(host_filter_bpf(HOST_SENTRY, insns, 8), -ENOSPC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unlisted_calls_kill),
#ifndef PAVISE_ASAN /* its runtime makes calls of its own: thread start, abort */
        cmocka_unit_test(listed_calls_work),
        cmocka_unit_test(abort_is_an_abort),
#endif
        cmocka_unit_test(log_mode_reports_once_and_goes_on),
        cmocka_unit_test(raw_program_fits_or_says_so),
    };

    if (heap_init() != 0 || IS_ERR(memfile_new(0))) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
