/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ptrace platform: works wherever a process may trace its children, and is the reference for
 * correctness. Guest threads are threads of stub processes (platform/stub); the tracer thread
 * (tracer.c) drives them with PTRACE_SYSEMU, under which no system call of theirs is executed.
 *
 * This file is the face: probing, boot, contexts, and the table.
 */
#include "platform/ptrace/ptrace.h"

#include "base/err.h"
#include "base/heap.h"
#include "base/host.h"
#include "base/host_trace.h"
#include "base/log.h"
#include "platform/ptrace/ptrace_priv.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

DEFINE_CACHE(pcontext_cache, struct pcontext);

#define MAX_MAP_COUNT_DFL 65530U
#define MAP_COUNT_SLACK   16U /* the stub region, and splits in progress */
#define YAMA_NO_ATTACH    3

/* A number from a one-line file, or `dfl`. */
static long read_number(const char *path, long dfl)
{
    char buf[32] = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0) {
        return dfl;
    }
    n = host_read(fd, buf, sizeof(buf) - 1);
    (void)host_close(fd);
    return n > 0 ? strtol(buf, NULL, 10) : dfl;
}

static int ptrace_probe(const char **why_not)
{
    if (read_number("/proc/sys/kernel/yama/ptrace_scope", 0) >= YAMA_NO_ATTACH) {
        *why_not = "kernel.yama.ptrace_scope forbids tracing";
        return -EPERM;
    }
    return 0;
}

static int ptrace_boot(int memfd, struct platform_caps *caps)
{
    int ret = stub_boot(caps);

    if (ret == 0) {
        ret = fp_boot();
    }
    if (ret == 0) {
        ret = place_boot();
    }
    if (ret == 0) {
        ret = tracer_boot();
    }
    if (ret < 0) {
        return ret;
    }
    exit_boot();
    stub_set_stall_hook(tracer_stalled);
    aspace_look_ahead();
    caps->max_mappings =
        (u64)read_number("/proc/sys/vm/max_map_count", MAX_MAP_COUNT_DFL) - MAP_COUNT_SLACK;
    caps->knows_access = false;
    return 0;
}

static struct pcontext *context_new(struct aspace *as)
{
    struct pcontext *c = cache_new(pcontext_cache);
    struct tracee *t;

    if (c == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    t = aspace_take_thread(as, c);
    if (IS_ERR(t)) {
        cache_del(pcontext_cache, c);
        return (struct pcontext *)t;
    }
    c->tracee = t;
    c->regs.orig_rax = (u64)-1;
    fp_reset(c);
    return c;
}

static void context_free(struct pcontext *c)
{
    aspace_give_thread(c->tracee);
    heap_free(c->fp);
    cache_del(pcontext_cache, c);
}

static int context_set_aspace(struct pcontext *c, struct aspace *as)
{
    struct tracee *t = aspace_take_thread(as, c);

    if (IS_ERR(t)) {
        return (int)PTR_ERR(t);
    }
    aspace_give_thread(c->tracee);
    c->tracee = t;
    fp_reset(c);
    return 0;
}

static void context_switch(struct pcontext *c, struct pexit *out)
{
    memset(out, 0, sizeof(*out));
    if (fiber_is_interrupted()) {
        atomic_store(&c->interrupt, 0);
        out->kind = PEXIT_INTERRUPT;
        return;
    }
    c->out = out;
    tracer_switch(c);
}

static void context_interrupt(struct pcontext *c)
{
    u64 target;

    atomic_store(&c->interrupt, 1);
    if (atomic_load(&c->state) != CONTEXT_GUEST) {
        return;
    }
    target = atomic_load(&c->target);
    (void)!host_tgkill((pid_t)(target >> 32), (pid_t)target, PTRACE_BELL);
}

static struct regs *context_regs(struct pcontext *c)
{
    return &c->regs;
}

static void context_single_step(struct pcontext *c, bool on)
{
    c->step = on;
}

const struct platform_ops ptrace_platform_ops = {
    .name = "ptrace",
    .probe = ptrace_probe,
    .boot = ptrace_boot,
    .aspace_new = ptrace_aspace_new,
    .aspace_free = ptrace_aspace_free,
    .aspace_apply = ptrace_aspace_apply,
    .context_new = context_new,
    .context_free = context_free,
    .context_set_aspace = context_set_aspace,
    .context_switch = context_switch,
    .context_interrupt = context_interrupt,
    .context_regs = context_regs,
    .fp_size = ptrace_fp_size,
    .fp_get = ptrace_fp_get,
    .fp_set = ptrace_fp_set,
    .context_single_step = context_single_step,
};
