/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ptrace platform on its own: guest code mapped through aspace_apply and run by a fiber. Each
 * test gets the scheduler for itself and runs its body in one fiber; expectations are
 * recorded there and asserted outside, as cmocka cannot unwind a fiber.
 */
#include "base/clock.h"
#include "base/err.h"
#include "base/heap.h"
#include "base/host_trace.h"
#include "base/memfile.h"
#include "base/sched/fiber.h"
#include "base/sched/worker.h"
#include "platform/platform.h"
#include "platform/ptrace/ptrace_priv.h"

#include <cpuid.h>
#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#define CODE     0x100000UL
#define DATA     0x200000UL
#define HOLE     0x300000UL
#define USEC(ns) ((double)(ns) / NSEC_PER_USEC)

extern const char guest_start[], guest_end[], guest_getpid[], guest_count[], guest_spin[],
    guest_read[], guest_write[], guest_jump[], guest_call[], guest_div0[], guest_ud2[],
    guest_int3[], guest_gp[], guest_int80[], guest_step[], guest_sse[], guest_avx512[],
    guest_read_sse[], guest_turn[];

static char failure[256];

#define expect(cond)                                                                               \
    do {                                                                                           \
        if (!(cond) && failure[0] == '\0') {                                                       \
            (void)snprintf(failure, sizeof(failure), "%s:%d: %s", __func__, __LINE__, #cond);      \
        }                                                                                          \
    } while (0)

static void run_body(void *arg)
{
    ((void (*)(void))arg)();
    sched_stop();
}

static void run_in_fiber(void (*body)(void), unsigned workers)
{
    struct sched_config config = {.workers = workers};
    struct fiber *f;

    assert_int_equal(sched_init(&config), 0);
    sched_set_idle_ops(&tracer_idle_ops);
    f = fiber_new("test", run_body, (void *)body);
    assert_non_null(f);
    failure[0] = '\0';
    fiber_start(f);
    sched_run();
    if (failure[0] != '\0') {
        fail_msg("%s", failure);
    }
}

static void in_fiber(void (*body)(void))
{
    run_in_fiber(body, 1);
}

/* One guest thread in an address space with CODE and DATA. */
struct guest {
    struct aspace *as;
    struct pcontext *c;
    struct regs *regs;
    struct pexit exit;
    u64 frames; /* CODE, then DATA */
};

static u64 at(const char *label)
{
    return CODE + (u64)(label - guest_start);
}

static void guest_map(struct guest *g)
{
    int fd = memfile_fd(memfile);
    struct map_op ops[2] = {
        {.kind = MAP_OP_MAP,
         .addr = CODE,
         .len = PAGE_SIZE,
         .prot = PROT_READ | PROT_EXEC,
         .fd = fd},
        {.kind = MAP_OP_MAP,
         .addr = DATA,
         .len = PAGE_SIZE,
         .prot = PROT_READ | PROT_WRITE,
         .fd = fd},
    };

    expect(memfile_alloc(memfile, 2 * PAGE_SIZE, MEMFILE_ANON, &g->frames) == 0);
    memcpy(memfile_window(memfile, g->frames, PAGE_SIZE), guest_start,
           (size_t)(guest_end - guest_start));
    ops[0].offset = g->frames;
    ops[1].offset = g->frames + PAGE_SIZE;
    expect(platform->aspace_apply(g->as, ops, 2) == 0);
}

static void guest_thread(struct guest *g, const char *entry)
{
    g->c = platform->context_new(g->as);
    expect(!IS_ERR(g->c));
    g->regs = platform->context_regs(g->c);
    g->regs->rip = at(entry);
}

static struct guest guest_new(const char *entry)
{
    struct guest g = {.as = platform->aspace_new()};

    expect(!IS_ERR(g.as));
    guest_map(&g);
    guest_thread(&g, entry);
    return g;
}

static void guest_free(struct guest *g)
{
    platform->context_free(g->c);
    platform->aspace_free(g->as);
    memfile_unref(memfile, g->frames, 2 * PAGE_SIZE);
}

static u64 *guest_data(struct guest *g)
{
    return memfile_window(memfile, g->frames + PAGE_SIZE, PAGE_SIZE);
}

static enum pexit_kind run(struct guest *g)
{
    platform->context_switch(g->c, &g->exit);
    return g->exit.kind;
}

static bool called_getpid(struct guest *g)
{
    return run(g) == PEXIT_SYSCALL && regs_syscall_nr(g->regs) == SYS_getpid;
}

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
    if (failure[0] != '\0') {
        fail_msg("%s", failure);
    }
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

static int boot(void)
{
    struct sched_config config = {.workers = 2};
    const char *why;

    return heap_init() == 0 && memfile_new(0) != NULL && sched_init(&config) == 0 &&
                   platform_choose("ptrace", &why) == 0 &&
                   platform->boot(memfile_fd(memfile), &platform_caps) == 0
               ? 0
               : -1;
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
        if (boot() == 0) {
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

static void the_platform_boots(void **state)
{
    assert_int_equal(boot(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stubs_die_with_the_sentry),
        cmocka_unit_test(the_platform_boots), /* for all that follow */
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
        cmocka_unit_test(address_spaces_leave_no_process),
        cmocka_unit_test(a_killed_stub_is_reported_dead),
        cmocka_unit_test(the_mapper_is_killed_for_a_call_that_is_not_its_own),
        cmocka_unit_test(the_stub_region_gives_a_guest_nothing),
        cmocka_unit_test(a_guest_thread_has_no_descriptors_and_no_rights),
        cmocka_unit_test(registers_the_host_refuses_are_the_guests_fault),
        cmocka_unit_test(fibers_may_switch_from_any_worker),
        cmocka_unit_test(costs_are_reported),
    };

    (void)alarm(100);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
