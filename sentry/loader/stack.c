/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first stack of a program (System V ABI, getauxval(3)), from the top down: eight zero bytes,
 * the program's name, environment and argument strings, the platform string, 16 random bytes, then
 * the auxiliary vector, the two pointer arrays and argc at the stack pointer.
 */
#include "base/rand.h"
#include "sentry/loader/loader_priv.h"

#include <sys/auxv.h>
#include <sys/mman.h>

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif
#define STACK_RND_PAGES 0x400000UL /* 22 bits, as Linux */
#define STACK_EXTRA     (128 * KiB)
#define CLOCK_TICKS     100
#define PLATFORM        "x86_64"

/* Addresses of the parts. */
struct stack_plan {
    uaddr top, name, envs, args, platform, random;
    uaddr auxv, envp, argv, sp;
};

static int store(struct mm *mm, uaddr at, const void *src, size_t len)
{
    return mm_copy_out(mm, at, src, len, false) == (ssize_t)len ? 0 : -EFAULT;
}

static int plan_stack(const struct stack_args *a, u32 nr_aux, struct stack_plan *p)
{
    const struct arg_block *b = a->args;
    u64 range = min(STACK_RND_PAGES, platform_caps.task_size / PAGE_SIZE / 16);
    u64 rnd = a->randomise ? rand_below(range) << PAGE_SHIFT : 0;

    p->top = ALIGN_DOWN(platform_caps.task_size - rnd, PAGE_SIZE);
    p->name = p->top - 8 - (strlen(a->execfn) + 1);
    p->envs = p->name - arg_block_bytes(b, true);
    p->args = p->envs - arg_block_bytes(b, false);
    p->platform = p->args - sizeof(PLATFORM);
    p->random = ALIGN_DOWN(p->platform - 16, 16);
    if (a->randomise) {
        p->random -= 16 * rand_below(PAGE_SIZE / 2 / 16); /* cache colouring, as Linux */
    }
    /* argc, argv, NULL, envp, NULL, auxv: argc lies on 16 bytes. */
    p->sp = p->random - 8 * (1 + arg_block_argc(b) + 1 + b->envs.count + 1) - 8UL * nr_aux;
    p->sp = ALIGN_DOWN(p->sp, 16);
    p->argv = p->sp + 8;
    p->envp = p->argv + 8 * (arg_block_argc(b) + 1UL);
    p->auxv = p->envp + 8 * (b->envs.count + 1UL);
    return 0;
}

static int map_stack(struct mm *mm, const struct stack_args *a, const struct stack_plan *p)
{
    uaddr low = ALIGN_DOWN(p->sp, PAGE_SIZE);
    u64 need = p->top - low, extra = STACK_EXTRA;
    struct mmap_args m = {.prot = PROT_READ | PROT_WRITE,
                          .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN,
                          .name = "[stack]"};
    s64 ret;

    if (need + PAGE_SIZE > a->stack_limit) {
        return -E2BIG;
    }
    extra = min(extra, ALIGN_DOWN(a->stack_limit - need, PAGE_SIZE));
    m.addr = low - extra;
    m.len = need + extra;
    if (a->elf->exec_stack) {
        m.prot |= PROT_EXEC;
    }
    ret = mm_map(mm, &m);
    return ret < 0 ? (int)ret : 0;
}

static void aux_add(struct mm_layout *l, u64 type, u64 value)
{
    l->auxv[l->auxv_len++] = type;
    l->auxv[l->auxv_len++] = value;
}

static void build_auxv(struct mm_layout *l, const struct stack_args *a, const struct stack_plan *p)
{
    const struct elf_loaded *prog = &a->elf->prog;

    l->auxv_len = 0;
    if (a->vdso != 0) {
        aux_add(l, AT_SYSINFO_EHDR, a->vdso);
    }
    aux_add(l, AT_MINSIGSTKSZ, getauxval(AT_MINSIGSTKSZ));
    aux_add(l, AT_HWCAP, getauxval(AT_HWCAP));
    aux_add(l, AT_PAGESZ, PAGE_SIZE);
    aux_add(l, AT_CLKTCK, CLOCK_TICKS);
    aux_add(l, AT_PHDR, prog->phdr);
    aux_add(l, AT_PHENT, sizeof(Elf64_Phdr));
    aux_add(l, AT_PHNUM, prog->phnum);
    aux_add(l, AT_BASE, a->elf->interp_base);
    aux_add(l, AT_FLAGS, 0);
    aux_add(l, AT_ENTRY, prog->entry);
    aux_add(l, AT_UID, a->cred->uid);
    aux_add(l, AT_EUID, a->cred->euid);
    aux_add(l, AT_GID, a->cred->gid);
    aux_add(l, AT_EGID, a->cred->egid);
    aux_add(l, AT_SECURE, a->secure);
    aux_add(l, AT_RANDOM, p->random);
    aux_add(l, AT_HWCAP2, getauxval(AT_HWCAP2));
    aux_add(l, AT_EXECFN, p->name);
    aux_add(l, AT_PLATFORM, p->platform);
    aux_add(l, AT_NULL, 0);
}

static int fill_stack(struct mm *mm, const struct stack_args *a, const struct stack_plan *p)
{
    struct mm_layout *l = mm_layout(mm);
    u64 argc = arg_block_argc(a->args);
    u8 random[16];
    int err;

    rand_bytes(random, sizeof(random));
    build_auxv(l, a, p);
    err = store(mm, p->name, a->execfn, strlen(a->execfn) + 1);
    err = err != 0 ? err : store(mm, p->platform, PLATFORM, sizeof(PLATFORM));
    err = err != 0 ? err : store(mm, p->random, random, sizeof(random));
    err = err != 0 ? err : store(mm, p->auxv, l->auxv, l->auxv_len * sizeof(u64));
    err = err != 0 ? err : store(mm, p->sp, &argc, sizeof(argc));
    err = err != 0 ? err : arg_block_store(a->args, false, mm, p->args, p->argv);
    return err != 0 ? err : arg_block_store(a->args, true, mm, p->envs, p->envp);
}

int stack_build(struct mm *mm, const struct stack_args *a, uaddr *sp)
{
    struct mm_layout *l = mm_layout(mm);
    struct stack_plan p;
    int err = plan_stack(a, ARRAY_SIZE(l->auxv), &p);

    if (err == 0) {
        err = map_stack(mm, a, &p);
    }
    if (err == 0) {
        err = fill_stack(mm, a, &p);
    }
    if (err != 0) {
        return err;
    }
    l->start_stack = p.sp;
    l->arg_start = p.args;
    l->arg_end = l->env_start = p.envs;
    l->env_end = p.name;
    *sp = p.sp;
    return 0;
}
