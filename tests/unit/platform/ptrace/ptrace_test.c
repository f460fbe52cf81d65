/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ptrace platform runs guest code as the processor would: calls, faults, traps, interrupts,
 * steps, FP state, threads, moves between address spaces.
 */
#include "tests/unit/platform/ptrace/harness.h"

#include "base/host_trace.h"
#include "base/sched/fiber.h"
#include "base/sched/worker.h"

#include <cpuid.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static int trap_of(const char *entry)
{
    struct guest g = guest_new(entry);
    int sig = run(&g) == PEXIT_TRAP ? g.exit.sig : -1;

    guest_free(&g);
    return sig;
}

static void body_syscalls(void)
{
    struct guest g = guest_new(guest_count);

    for (u64 i = 1; i <= 100; i++) {
        expect(called_getpid(&g));
        expect(g.regs->rbx == i * (i - 1) / 2);
        regs_set_ret(g.regs, i);
    }
    guest_free(&g);
}

static void guest_calls_reach_the_sentry_and_get_their_results(void **state)
{
    in_fiber(body_syscalls);
}

/* What the host would take for its own restart code must reach the guest as it is. */
static void body_restart(void)
{
    struct guest g = guest_new(guest_count);
    u64 sum = 0;

    for (u64 code = 512; code <= 516; code++) {
        expect(called_getpid(&g));
        regs_set_ret(g.regs, -code);
        sum -= code;
        platform->context_interrupt(g.c);
        expect(run(&g) == PEXIT_INTERRUPT);
        expect(host_tgkill(g.as->stub.pid, g.c->tracee->kid.pid, SIGUSR1) == 0);
    }
    expect(called_getpid(&g));
    expect(g.regs->rbx == sum);
    guest_free(&g);
}

static void restart_codes_are_not_interpreted_by_the_host(void **state)
{
    in_fiber(body_restart);
}

static void body_faults(void)
{
    struct guest g = guest_new(guest_read);
    struct map_op op = {.kind = MAP_OP_MAP, .addr = HOLE, .len = PAGE_SIZE, .prot = PROT_READ};

    op.fd = memfile_fd(memfile);
    op.offset = g.frames + PAGE_SIZE;
    g.regs->r8 = HOLE + 8;
    expect(run(&g) == PEXIT_FAULT);
    expect(g.exit.addr == HOLE + 8 && g.exit.access == (ACCESS_READ | ACCESS_UNKNOWN));
    expect(platform->aspace_apply(g.as, &op, 1) == 0);
    guest_data(&g)[1] = 4711;
    expect(called_getpid(&g));
    expect(g.regs->rbx == 4711);

    g.regs->rip = at(guest_write);
    g.regs->r9 = 4712;
    expect(run(&g) == PEXIT_FAULT);
    expect(g.exit.addr == HOLE + 8);
    expect(g.exit.access == (ACCESS_MAPPED | ACCESS_WRITE | ACCESS_UNKNOWN));
    op.kind = MAP_OP_PROTECT;
    op.prot = PROT_READ | PROT_WRITE;
    expect(platform->aspace_apply(g.as, &op, 1) == 0);
    expect(called_getpid(&g));
    expect(guest_data(&g)[1] == 4712);

    op.kind = MAP_OP_UNMAP;
    expect(platform->aspace_apply(g.as, &op, 1) == 0);
    g.regs->rip = at(guest_read);
    expect(run(&g) == PEXIT_FAULT && !(g.exit.access & ACCESS_MAPPED));

    g.regs->rip = at(guest_jump);
    g.regs->r8 = HOLE + 1;
    expect(run(&g) == PEXIT_FAULT);
    expect(g.exit.addr == HOLE + 1 && (g.exit.access & ACCESS_EXEC));
    g.regs->rip = at(guest_jump);
    g.regs->r8 = DATA;
    expect(run(&g) == PEXIT_FAULT);
    expect(g.exit.addr == DATA && (g.exit.access & ACCESS_EXEC) && (g.exit.access & ACCESS_MAPPED));
    guest_free(&g);
}

static void faults_tell_address_and_access(void **state)
{
    in_fiber(body_faults);
}

static void body_traps(void)
{
    struct guest g = guest_new(guest_int80);

    expect(trap_of(guest_div0) == SIGFPE);
    expect(trap_of(guest_ud2) == SIGILL);
    expect(trap_of(guest_int3) == SIGTRAP);
    expect(trap_of(guest_gp) == SIGSEGV);
    expect(run(&g) == PEXIT_TRAP && g.exit.sig == SIGSEGV && g.exit.code == SI_KERNEL);
    expect(g.regs->rip == at(guest_int80) + 5 && g.regs->rax == 20);
    guest_free(&g);
}

static void exceptions_and_32_bit_calls_are_traps(void **state)
{
    in_fiber(body_traps);
}

/* The host emulates the vsyscall page behind SYSEMU's back. */
static void body_vsyscall(void)
{
    struct guest g = guest_new(guest_call);
    static const long nr[] = {SYS_gettimeofday, SYS_time, SYS_getcpu};

    for (u64 i = 0; i < ARRAY_SIZE(nr); i++) {
        g.regs->rip = at(guest_call);
        g.regs->r8 = 0xffffffffff600000 + i * 0x400;
        g.regs->rdi = g.regs->rsi = g.regs->rdx = 0;
        if (run(&g) == PEXIT_FAULT) { /* a host with vsyscall=none */
            expect(g.exit.addr == g.regs->r8);
            continue;
        }
        expect(g.exit.kind == PEXIT_SYSCALL && (long)regs_syscall_nr(g.regs) == nr[i]);
        regs_set_ret(g.regs, 77 + i);
        expect(called_getpid(&g));
        expect(g.regs->rbx == 77 + i);
    }
    guest_free(&g);
}

static void vsyscalls_are_served_by_the_sentry(void **state)
{
    in_fiber(body_vsyscall);
}

static atomic_bool interrupts_wanted;

/* Interrupts that come close together count as one, so there is no number of them. */
static void *interrupter(void *arg)
{
    while (atomic_load(&interrupts_wanted)) {
        (void)usleep(2000);
        platform->context_interrupt(arg);
    }
    return NULL;
}

static void body_interrupt(void)
{
    struct guest g = guest_new(guest_spin);
    pthread_t thread;

    atomic_store(&interrupts_wanted, true);
    expect(pthread_create(&thread, NULL, interrupter, g.c) == 0);
    for (int i = 0; i < 20; i++) {
        expect(run(&g) == PEXIT_INTERRUPT);
    }
    atomic_store(&interrupts_wanted, false);
    (void)pthread_join(thread, NULL);
    /* One that comes outside of switch is for the next. */
    platform->context_interrupt(g.c);
    expect(run(&g) == PEXIT_INTERRUPT);
    g.regs->rip = at(guest_getpid);
    for (int i = 0; i < 100; i++) {
        expect(called_getpid(&g));
    }
    guest_free(&g);
}

static void a_busy_guest_can_be_interrupted(void **state)
{
    in_fiber(body_interrupt);
}

static void body_step(void)
{
    struct guest g = guest_new(guest_step);
    u64 lengths[] = {1, 1, 5};
    u64 rip = g.regs->rip;

    platform->context_single_step(g.c, true);
    for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
        rip += lengths[i];
        expect(run(&g) == PEXIT_TRAP && g.exit.sig == SIGTRAP && g.exit.code == TRAP_TRACE);
        expect(g.regs->rip == rip && !(g.regs->eflags & REGS_EFLAGS_TF));
    }
    expect(called_getpid(&g));
    expect(run(&g) == PEXIT_TRAP && g.exit.sig == SIGTRAP);
    platform->context_single_step(g.c, false);
    g.regs->rip = at(guest_getpid);
    expect(called_getpid(&g));
    guest_free(&g);
}

static void single_steps_trap_after_each_instruction(void **state)
{
    in_fiber(body_step);
}

static void body_fp(void)
{
    struct guest g = guest_new(guest_sse);
    size_t size = platform->fp_size();
    u64 *image = calloc(1, size);
    u32 mxcsr = 0xffffffff;

    g.regs->r8 = 0x1122334455667788;
    expect(called_getpid(&g));
    expect(platform->fp_get(g.c, image, size) == 0);
    expect(image[20] == 0x1122334455667788 && image[21] == image[20]);
    image[20] = 99;
    expect(platform->fp_set(g.c, image, size) == 0);
    expect(called_getpid(&g));
    expect(g.regs->rbx == 99);

    /* What a guest could have put there. */
    expect(platform->fp_set(g.c, image, size - 8) == -EINVAL);
    image[64] |= 1UL << 62;
    expect(platform->fp_set(g.c, image, size) == -EINVAL);
    image[64] = 3;
    image[65] = 1UL << 63;
    expect(platform->fp_set(g.c, image, size) == -EINVAL);
    image[65] = 0;
    image[66] = 1;
    expect(platform->fp_set(g.c, image, size) == -EINVAL);
    image[66] = 0;
    memcpy((char *)image + 24, &mxcsr, sizeof(mxcsr));
    expect(platform->fp_set(g.c, image, size) == -EINVAL);

    /* A reset state, and a thread that somebody else had. */
    expect(platform->fp_set(g.c, NULL, 0) == 0);
    g.regs->rip = at(guest_read_sse);
    expect(called_getpid(&g) && g.regs->rbx == 0);
    g.regs->rip = at(guest_sse);
    expect(called_getpid(&g));
    platform->context_free(g.c);
    guest_thread(&g, guest_read_sse);
    expect(called_getpid(&g) && g.regs->rbx == 0);
    free(image);
    guest_free(&g);
}

static void fp_state_is_kept_reset_and_checked(void **state)
{
    in_fiber(body_fp);
}

static void body_avx512(void)
{
    struct guest g = guest_new(guest_avx512);
    size_t size = platform->fp_size();
    char *image = calloc(1, size);
    u32 a, off, c, d;
    u64 value;

    (void)__get_cpuid_count(0xd, 7, &a, &off, &c, &d); /* Hi16_ZMM: zmm16 and up, 64 bytes each */
    g.regs->r8 = 0x8877665544332211;
    expect(called_getpid(&g));
    expect(platform->fp_get(g.c, image, size) == 0);
    memcpy(&value, image + off + 15 * 64 + 56, sizeof(value));
    expect(value == 0x8877665544332211);
    value = 1234;
    memcpy(image + off + 15 * 64 + 56, &value, sizeof(value));
    expect(platform->fp_set(g.c, image, size) == 0);
    expect(called_getpid(&g) && g.regs->rbx == 1234);
    free(image);
    guest_free(&g);
}

static void avx512_state_is_kept(void **state)
{
    if (!__builtin_cpu_supports("avx512f")) {
        skip();
    }
    in_fiber(body_avx512);
}

static void body_two_threads(void)
{
    struct guest g = guest_new(guest_turn);
    struct guest h = g;

    guest_thread(&h, guest_turn);
    for (u64 i = 0; i < 20; i++) {
        struct guest *turn = i % 2 ? &h : &g;

        turn->regs->rip = at(guest_turn);
        turn->regs->r8 = i;
        turn->regs->r9 = i + 1;
        expect(called_getpid(turn));
    }
    expect(*guest_data(&g) == 20);
    platform->context_free(h.c);
    guest_free(&g);
}

static void threads_share_their_address_space(void **state)
{
    in_fiber(body_two_threads);
}

static void body_set_aspace(void)
{
    struct guest g = guest_new(guest_count);
    struct guest h = guest_new(guest_getpid);

    expect(called_getpid(&g));
    regs_set_ret(g.regs, 5);
    expect(platform->context_set_aspace(g.c, h.as) == 0);
    expect(called_getpid(&g) && g.regs->rbx == 5);
    *guest_data(&h) = 77;
    g.regs->rip = at(guest_read);
    g.regs->r8 = DATA;
    expect(called_getpid(&g) && g.regs->rbx == 77);
    platform->context_free(g.c);
    platform->aspace_free(g.as);
    guest_free(&h);
}

static void a_context_can_move_to_another_address_space(void **state)
{
    in_fiber(body_set_aspace);
}

static void body_bad_regs(void)
{
    struct guest g = guest_new(guest_getpid);

    expect(called_getpid(&g));
    g.regs->fs_base = 1UL << 63;
    expect(run(&g) == PEXIT_TRAP && g.exit.sig == SIGSEGV);
    g.regs->fs_base = 0;
    g.regs->cs = 0x10;
    expect(run(&g) == PEXIT_TRAP && g.exit.sig == SIGSEGV);
    g.regs->cs = REGS_USER_CS;
    g.regs->rip = 1UL << 63;
    expect(run(&g) == PEXIT_TRAP && g.exit.sig == SIGSEGV);
    g.regs->rip = at(guest_getpid);
    expect(called_getpid(&g));
    guest_free(&g);
}

static void registers_the_host_refuses_are_the_guests_fault(void **state)
{
    in_fiber(body_bad_regs);
}

struct crew {
    struct fiber *fiber;
    int calls;
    _Atomic int *left;
};

/* A fiber that now and then goes to the end of the queue, where another worker may steal it. */
static void crew_member(void *arg)
{
    struct crew *me = arg;
    struct guest g = guest_new(guest_sse);
    size_t size = platform->fp_size();
    u64 *image = calloc(1, size);

    for (int i = 0; i < me->calls; i++) {
        g.regs->rip = at(guest_sse);
        g.regs->r8 = (u64)i;
        expect(called_getpid(&g));
        if (i % 16 == 0) {
            fiber_yield();
            expect(platform->fp_get(g.c, image, size) == 0 && image[20] == (u64)i);
        }
        expect(called_getpid(&g) && g.regs->rbx == (u64)i);
    }
    free(image);
    guest_free(&g);
    if (atomic_fetch_sub(me->left, 1) == 1) {
        sched_stop();
    }
}

static void fibers_may_switch_from_any_worker(void **state)
{
    struct sched_config config = {.workers = 3};
    struct crew crew[8];
    _Atomic int left = ARRAY_SIZE(crew);

    assert_int_equal(sched_init(&config), 0);
    sched_set_idle_ops(&tracer_idle_ops);
    failure[0] = '\0';
    for (size_t i = 0; i < ARRAY_SIZE(crew); i++) {
        crew[i] = (struct crew){.calls = 400, .left = &left};
        crew[i].fiber = fiber_new("crew", crew_member, &crew[i]);
        assert_non_null(crew[i].fiber);
        fiber_start(crew[i].fiber);
    }
    sched_run();
    fail_if_unexpected();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_platform_boots),
        cmocka_unit_test(guest_calls_reach_the_sentry_and_get_their_results),
        cmocka_unit_test(restart_codes_are_not_interpreted_by_the_host),
        cmocka_unit_test(faults_tell_address_and_access),
        cmocka_unit_test(exceptions_and_32_bit_calls_are_traps),
        cmocka_unit_test(vsyscalls_are_served_by_the_sentry),
        cmocka_unit_test(a_busy_guest_can_be_interrupted),
        cmocka_unit_test(single_steps_trap_after_each_instruction),
        cmocka_unit_test(fp_state_is_kept_reset_and_checked),
        cmocka_unit_test(avx512_state_is_kept),
        cmocka_unit_test(threads_share_their_address_space),
        cmocka_unit_test(a_context_can_move_to_another_address_space),
        cmocka_unit_test(registers_the_host_refuses_are_the_guests_fault),
        cmocka_unit_test(fibers_may_switch_from_any_worker),
    };

    (void)alarm(100);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
