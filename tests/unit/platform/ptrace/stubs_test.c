/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stub processes: that they end, that their death is noticed, that they and the guest in them can
 * do nothing; and what things cost (the last case prints it).
 */
#include "tests/unit/platform/ptrace/harness.h"

#include "base/clock.h"
#include "base/host_trace.h"
#include "base/sched/fiber.h"

#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define USEC(ns) ((double)(ns) / NSEC_PER_USEC)

static int count_dir(const char *fmt, pid_t pid)
{
    char path[64];
    DIR *dir;
    int n = 0;

    (void)snprintf(path, sizeof(path), fmt, pid);
    dir = opendir(path);
    if (dir == NULL) {
        return -1;
    }
    while (readdir(dir) != NULL) {
        n++;
    }
    (void)closedir(dir);
    return n - 2;
}

static int count_children(void)
{
    char path[64];
    int n = 0;
    int pid;
    FILE *f;

    (void)snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    f = fopen(path, "r");
    while (f != NULL && fscanf(f, "%d", &pid) == 1) {
        n++;
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return n;
}

static void body_many(void)
{
    static struct guest g[200];

    for (size_t i = 0; i < ARRAY_SIZE(g); i++) {
        g[i] = guest_new(guest_getpid);
        expect(called_getpid(&g[i]));
    }
    expect(count_children() >= (int)ARRAY_SIZE(g));
    for (size_t i = 0; i < ARRAY_SIZE(g); i++) {
        guest_free(&g[i]);
    }
    /* The dead are reaped while the tracer idles. */
    for (int i = 0; i < 100 && count_children() > 18; i++) {
        (void)!fiber_park(PARK_UNINTERRUPTIBLE, clock_monotonic() + 10 * NSEC_PER_MSEC);
    }
    expect(count_children() <= 18); /* the zygote, the pool, one ahead */
}

static void address_spaces_leave_no_process(void **state)
{
    in_fiber(body_many);
}

static void body_killed(void)
{
    struct guest g = guest_new(guest_getpid);
    struct map_op op = {.kind = MAP_OP_UNMAP, .addr = HOLE, .len = PAGE_SIZE};

    expect(called_getpid(&g));
    expect(host_kill(g.as->stub.pid, SIGKILL) == 0);
    expect(run(&g) == PEXIT_DEAD);
    expect(run(&g) == PEXIT_DEAD);
    expect(platform->aspace_apply(g.as, &op, 1) == 0);
    guest_free(&g);

    /* Before its first run. */
    g = guest_new(guest_getpid);
    expect(host_kill(g.as->stub.pid, SIGKILL) == 0);
    expect(run(&g) == PEXIT_DEAD);
    expect(IS_ERR(platform->context_new(g.as)));
    guest_free(&g);
}

static void a_killed_stub_is_reported_dead(void **state)
{
    in_fiber(body_killed);
}

/* The mapper makes no call but its own, and none that touches the stub region. */
static void body_mapper(void)
{
    struct stub_order orders[] = {
        {.nr = SYS_getpid},
        {.nr = SYS_munmap, .args = {STUB_CTL, PAGE_SIZE}},
        {.nr = SYS_munmap, .args = {STUB_BASE - PAGE_SIZE, 2 * PAGE_SIZE}},
        {.nr = SYS_mprotect, .args = {STUB_TEXT, PAGE_SIZE, PROT_READ | PROT_WRITE}},
        {.nr = SYS_munmap, .args = {(u64)-PAGE_SIZE, 2 * PAGE_SIZE}},
        {.nr = SYS_mmap, .args = {HOLE, PAGE_SIZE, PROT_READ, MAP_SHARED, 0, 0}},
        {.nr = SYS_clone, .args = {CLONE_FILES | SIGCHLD}},
        {.nr = SYS_pwrite64, .args = {1, STUB_TABLE, 8, 0}},
    };

    for (size_t i = 0; i < ARRAY_SIZE(orders); i++) {
        struct guest g = guest_new(guest_getpid);

        stub_begin(&g.as->stub);
        stub_add(&g.as->stub, &orders[i]);
        expect(stub_end(&g.as->stub) == -ESRCH);
        guest_free(&g);
    }
}

static void the_mapper_is_killed_for_a_call_that_is_not_its_own(void **state)
{
    in_fiber(body_mapper);
}

/* A guest that runs the stub's own code is still a guest. */
static void body_stub_code(void)
{
    struct guest g = guest_new(guest_jump);

    g.regs->r8 = stub_place(stub_entry);
    expect(run(&g) == PEXIT_SYSCALL && regs_syscall_nr(g.regs) == SYS_munmap);
    regs_set_ret(g.regs, 0);
    expect(run(&g) == PEXIT_SYSCALL); /* the mapper's loop: waiting for an order */
    g.regs->rip = at(guest_write);
    g.regs->r8 = STUB_CTL;
    expect(run(&g) == PEXIT_FAULT && g.exit.addr == STUB_CTL);
    g.regs->rip = at(guest_write);
    g.regs->r8 = STUB_TEXT;
    expect(run(&g) == PEXIT_FAULT && g.exit.addr == STUB_TEXT);
    guest_free(&g);
}

static void the_stub_region_gives_a_guest_nothing(void **state)
{
    in_fiber(body_stub_code);
}

static bool status_has(pid_t pid, const char *line)
{
    char path[64], buf[4096];
    FILE *f;
    size_t n;

    (void)snprintf(path, sizeof(path), "/proc/%d/status", pid);
    f = fopen(path, "r");
    if (f == NULL) {
        return false;
    }
    n = fread(buf, 1, sizeof(buf) - 1, f);
    (void)fclose(f);
    buf[n] = '\0';
    return strstr(buf, line) != NULL;
}

static void body_rights(void)
{
    struct guest g = guest_new(guest_getpid);
    pid_t tid;

    expect(called_getpid(&g));
    tid = g.c->tracee->kid.pid;
    expect(count_dir("/proc/%d/fd", tid) == 0);
    expect(getsid(tid) == stub_zygote_pid()); /* no terminal's signals */
    expect(status_has(tid, "CapEff:\t0000000000000000"));
    expect(status_has(tid, "CapPrm:\t0000000000000000"));
    expect(status_has(tid, "NoNewPrivs:\t1"));
    expect(status_has(tid, "Seccomp:\t2"));
    expect(status_has(g.as->stub.pid, "Seccomp:\t2"));
    expect(status_has(g.as->stub.pid, "CapEff:\t0000000000000000"));
    guest_free(&g);
}

static void a_guest_thread_has_no_descriptors_and_no_rights(void **state)
{
    in_fiber(body_rights);
}

static bool is_gone(pid_t pid)
{
    return host_kill(pid, 0) == -ESRCH || status_has(pid, "State:\tZ");
}

/* A sentry of its own in a child: whatever kills it takes the stubs along. */
static void stubs_die_with_the_sentry(void **state)
{
    pid_t pids[3] = {0};
    int status;
    int pipefd[2];
    pid_t child;

    assert_int_equal(pipe(pipefd), 0);
    child = fork();
    if (child == 0) {
        if (boot_platform() == 0) {
            struct guest g = {.as = platform->aspace_new()};

            guest_map(&g);
            guest_thread(&g, guest_spin);
            pids[0] = stub_zygote_pid();
            pids[1] = g.as->stub.pid;
            pids[2] = g.c->tracee->kid.pid;
            (void)!write(pipefd[1], pids, sizeof(pids));
        }
        (void)pause();
        _exit(0);
    }
    assert_int_equal(read(pipefd[0], pids, sizeof(pids)), sizeof(pids));
    for (int i = 0; i < 3; i++) {
        assert_false(is_gone(pids[i]));
    }
    assert_int_equal(host_kill(child, SIGKILL), 0);
    assert_int_equal(host_wait4(child, &status, 0), child);
    for (int ms = 0; ms < 2000 && !(is_gone(pids[0]) && is_gone(pids[1]) && is_gone(pids[2]));
         ms++) {
        (void)usleep(1000);
    }
    for (int i = 0; i < 3; i++) {
        assert_true(is_gone(pids[i]));
    }
    (void)close(pipefd[0]);
    (void)close(pipefd[1]);
}

static void measure(const char *what, u64 start, int n)
{
    print_message("           %-40s %8.2f us\n", what, USEC(clock_monotonic() - start) / n);
}

static void measure_maps(struct guest *g)
{
    struct map_op ops[20];
    u64 start = clock_monotonic();

    for (int i = 0; i < 20; i++) {
        ops[i] = (struct map_op){.kind = i % 2 ? MAP_OP_UNMAP : MAP_OP_MAP,
                                 .addr = HOLE,
                                 .len = PAGE_SIZE,
                                 .prot = PROT_READ,
                                 .fd = memfile_fd(memfile),
                                 .offset = g->frames};
    }
    for (int i = 0; i < 500; i++) {
        expect(platform->aspace_apply(g->as, &ops[i % 2], 1) == 0);
    }
    measure("map batch of 1", start, 500);
    start = clock_monotonic();
    for (int i = 0; i < 200; i++) {
        expect(platform->aspace_apply(g->as, ops, 20) == 0);
    }
    measure("map batch of 20", start, 200);
}

static void body_costs(void)
{
    static struct guest g[20];
    u64 start = clock_monotonic();

    for (int i = 0; i < 20; i++) {
        g[i].as = platform->aspace_new();
    }
    measure("aspace_new", start, 20);
    for (int i = 0; i < 20; i++) {
        guest_map(&g[i]);
    }
    start = clock_monotonic();
    for (int i = 0; i < 20; i++) {
        guest_thread(&g[i], guest_getpid);
    }
    measure("context_new", start, 20);
    start = clock_monotonic();
    for (int i = 0; i < 20; i++) {
        expect(called_getpid(&g[i]));
    }
    measure("first switch", start, 20);
    start = clock_monotonic();
    for (int i = 0; i < 5000; i++) {
        expect(called_getpid(&g[0]));
    }
    measure("system call", start, 5000);
    measure_maps(&g[0]);
    start = clock_monotonic();
    for (int i = 0; i < 20; i++) {
        guest_free(&g[i]);
    }
    measure("context_free, aspace_free", start, 20);
}

static void costs_are_reported(void **state)
{
    in_fiber(body_costs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stubs_die_with_the_sentry),
        cmocka_unit_test(the_platform_boots),
        cmocka_unit_test(address_spaces_leave_no_process),
        cmocka_unit_test(a_killed_stub_is_reported_dead),
        cmocka_unit_test(the_mapper_is_killed_for_a_call_that_is_not_its_own),
        cmocka_unit_test(the_stub_region_gives_a_guest_nothing),
        cmocka_unit_test(a_guest_thread_has_no_descriptors_and_no_rights),
        cmocka_unit_test(costs_are_reported),
    };

    (void)alarm(100);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
