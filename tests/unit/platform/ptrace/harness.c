/* SPDX-License-Identifier: Apache-2.0 */
/* The harness of the ptrace platform's tests; see the header. */
#include "tests/unit/platform/ptrace/harness.h"

#include "base/heap.h"
#include "base/sched/fiber.h"
#include "base/sched/worker.h"

char failure[256];

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

void fail_if_unexpected(void)
{
    if (failure[0] != '\0') {
        fail_msg("%s", failure);
    }
}

void in_fiber(void (*body)(void))
{
    struct sched_config config = {.workers = 1};
    struct fiber *f;

    assert_int_equal(sched_init(&config), 0);
    sched_set_idle_ops(&tracer_idle_ops);
    f = fiber_new("test", run_body, (void *)body);
    assert_non_null(f);
    failure[0] = '\0';
    fiber_start(f);
    sched_run();
    fail_if_unexpected();
}

u64 at(const char *label)
{
    return CODE + (u64)(label - guest_start);
}

void guest_map(struct guest *g)
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

void guest_thread(struct guest *g, const char *entry)
{
    g->c = platform->context_new(g->as);
    expect(!IS_ERR(g->c));
    g->regs = platform->context_regs(g->c);
    g->regs->rip = at(entry);
}

struct guest guest_new(const char *entry)
{
    struct guest g = {.as = platform->aspace_new()};

    expect(!IS_ERR(g.as));
    guest_map(&g);
    guest_thread(&g, entry);
    return g;
}

void guest_free(struct guest *g)
{
    platform->context_free(g->c);
    platform->aspace_free(g->as);
    memfile_unref(memfile, g->frames, 2 * PAGE_SIZE);
}

u64 *guest_data(struct guest *g)
{
    return memfile_window(memfile, g->frames + PAGE_SIZE, PAGE_SIZE);
}

enum pexit_kind run(struct guest *g)
{
    platform->context_switch(g->c, &g->exit);
    return g->exit.kind;
}

bool called_getpid(struct guest *g)
{
    return run(g) == PEXIT_SYSCALL && regs_syscall_nr(g->regs) == SYS_getpid;
}

int boot_platform(void)
{
    struct sched_config config = {.workers = 2};
    const char *why;

    return heap_init() == 0 && memfile_new(0) != NULL && sched_init(&config) == 0 &&
                   platform_choose("ptrace", &why) == 0 &&
                   platform->boot(memfile_fd(memfile), &platform_caps) == 0
               ? 0
               : -1;
}

void the_platform_boots(void **state)
{
    assert_int_equal(boot_platform(), 0);
}
