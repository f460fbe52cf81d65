/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signal frames (x86-64): what a handler finds on its stack and what rt_sigreturn(2) takes back.
 * The layout is the kernel's (abi/sigframe.h):
 *
 *     high   | FP state: XSAVE image, then FP_XSTATE_MAGIC2 |  64-byte aligned
 *            | siginfo                                       |
 *            | ucontext                                      |
 *     rsp -> | return address (sa_restorer)                  |  rsp % 16 == 8
 *
 * The guest may write anything into a frame: sigframe_pop takes only flags a user may set,
 * canonical segment registers, and an FP image the platform accepts.
 */
#include "abi/sigframe.h"
#include "base/heap.h"
#include "base/usermem.h"
#include "sentry/kernel/kernel_priv.h"
#include "sentry/loader/loader.h"

#define REDZONE 128

static bool on_altstack(const struct task *t, u64 sp)
{
    const struct abi_stack *s = &t->altstack;

    return (s->ss_flags & SS_AUTODISARM_FLAG) == 0 && s->ss_size != 0 && sp > s->ss_sp &&
           sp - s->ss_sp <= s->ss_size;
}

/* Where the frame ends; 0 when the alternate stack is too small for it. */
static u64 frame_top(struct task *t, const struct abi_sigaction *action, u64 frame_size)
{
    u64 sp = task_regs(t)->rsp - REDZONE;

    if ((action->flags & SA_ONSTACK) != 0 && t->altstack.ss_size != 0 &&
        (t->altstack.ss_flags & SS_DISABLE) == 0 && !on_altstack(t, task_regs(t)->rsp)) {
        if (frame_size + 64 > t->altstack.ss_size) {
            return 0;
        }
        sp = t->altstack.ss_sp + t->altstack.ss_size;
    } else if (on_altstack(t, task_regs(t)->rsp) && sp - frame_size - 64 < t->altstack.ss_sp) {
        return 0; /* overflow of the alternate stack */
    }
    return sp;
}

static void context_save(struct task *t, struct abi_sigcontext *sc, u64 mask, u64 fpstate)
{
    const struct regs *r = task_regs(t);

    *sc = (struct abi_sigcontext){
        .r8 = r->r8,
        .r9 = r->r9,
        .r10 = r->r10,
        .r11 = r->r11,
        .r12 = r->r12,
        .r13 = r->r13,
        .r14 = r->r14,
        .r15 = r->r15,
        .rdi = r->rdi,
        .rsi = r->rsi,
        .rbp = r->rbp,
        .rbx = r->rbx,
        .rdx = r->rdx,
        .rax = r->rax,
        .rcx = r->rcx,
        .rsp = r->rsp,
        .rip = r->rip,
        .eflags = r->eflags,
        .cs = REGS_USER_CS,
        .ss = REGS_USER_SS,
        .oldmask = mask,
        .fpstate = fpstate,
        .err = t->fault_err,
        .trapno = t->fault_trapno,
        .cr2 = t->fault_addr,
    };
}

static void context_restore(struct task *t, const struct abi_sigcontext *sc)
{
    struct regs *r = task_regs(t);

    r->r8 = sc->r8;
    r->r9 = sc->r9;
    r->r10 = sc->r10;
    r->r11 = sc->r11;
    r->r12 = sc->r12;
    r->r13 = sc->r13;
    r->r14 = sc->r14;
    r->r15 = sc->r15;
    r->rdi = sc->rdi;
    r->rsi = sc->rsi;
    r->rbp = sc->rbp;
    r->rbx = sc->rbx;
    r->rdx = sc->rdx;
    r->rax = sc->rax;
    r->rcx = sc->rcx;
    r->rsp = sc->rsp;
    r->rip = sc->rip;
    r->eflags = (r->eflags & ~REGS_EFLAGS_USER) | (sc->eflags & REGS_EFLAGS_USER);
    r->orig_rax = (u64)-1;
}

/* The XSAVE image with the software words that tell its size. */
static int fp_push(struct task *t, u64 addr, size_t size)
{
    u32 magic2 = ABI_FP_XSTATE_MAGIC2;
    u8 *buf = heap_alloc(size);
    struct abi_fpx_sw sw = {.magic1 = ABI_FP_XSTATE_MAGIC1};
    int err;

    if (buf == NULL) {
        return -ENOMEM;
    }
    err = platform->fp_get(t->pctx, buf, size);
    if (err == 0) {
        sw.extended_size = (u32)(size + sizeof(magic2));
        sw.xstate_size = (u32)size;
        memcpy(&sw.xfeatures, buf + ABI_FP_SW_OFFSET, 8); /* the host's xcr0, if it left it there */
        if (sw.xfeatures == 0) {
            memcpy(&sw.xfeatures, buf + 512, 8);
        }
        memcpy(buf + ABI_FP_SW_OFFSET, &sw, sizeof(sw));
        err = copy_out(addr, buf, size);
    }
    heap_free(buf);
    return err != 0 ? err : copy_out(addr + size, &magic2, sizeof(magic2));
}

static int fp_pop(struct task *t, u64 addr)
{
    size_t size = platform->fp_size();
    u8 *buf;
    int err;

    if (addr == 0) {
        return 0;
    }
    buf = heap_alloc(size);
    if (buf == NULL) {
        return -ENOMEM;
    }
    err = copy_in(buf, addr, size);
    if (err == 0) {
        err = platform->fp_set(t->pctx, buf, size);
    }
    heap_free(buf);
    return err;
}

int sigframe_push(struct task *t, const struct abi_siginfo *info,
                  const struct abi_sigaction *action, sigmask_t saved_mask)
{
    size_t fp_size = platform->fp_size();
    u64 frame_size = sizeof(struct abi_rt_sigframe) + fp_size + 4;
    u64 top = frame_top(t, action, frame_size);
    struct abi_rt_sigframe frame = {0};
    struct regs *r = task_regs(t);
    u64 fp, sp;

    if (top == 0) {
        return -EFAULT;
    }
    fp = ALIGN_DOWN(top - fp_size - 4, 64UL);
    sp = ALIGN_DOWN(fp - sizeof(frame), 16UL) - 8;
    frame.pretcode = (action->flags & ABI_SA_RESTORER) != 0
                         ? action->restorer
                         : vdso_sigreturn(mm_layout(t->mm)->vdso);
    frame.uc.uc_flags = ABI_UC_FP_XSTATE | ABI_UC_SIGCONTEXT_SS | ABI_UC_STRICT_RESTORE_SS;
    frame.uc.uc_stack = t->altstack;
    if (t->altstack.ss_size == 0) {
        frame.uc.uc_stack.ss_flags = SS_DISABLE;
    }
    frame.uc.uc_sigmask = saved_mask;
    frame.info = *info;
    context_save(t, &frame.uc.uc_mcontext, saved_mask, fp);
    if (fp_push(t, fp, fp_size) != 0 || copy_out(sp, &frame, sizeof(frame)) != 0) {
        return -EFAULT;
    }
    if ((t->altstack.ss_flags & (s32)SS_AUTODISARM_FLAG) != 0) {
        t->altstack = (struct abi_stack){.ss_flags = SS_DISABLE};
    }
    r->rsp = sp;
    r->rip = action->handler;
    r->rdi = (u64)info->si_signo;
    r->rsi = sp + offsetof(struct abi_rt_sigframe, info);
    r->rdx = sp + offsetof(struct abi_rt_sigframe, uc);
    r->rax = 0;
    r->orig_rax = (u64)-1;
    r->eflags &= ~(REGS_EFLAGS_TF | 0x400UL /* DF */ | 0x10000UL /* RF */);
    t->syscall_nr = -1;
    return 0;
}

int sigframe_pop(struct task *t)
{
    u64 sp = task_regs(t)->rsp - 8; /* the handler's ret popped the return address */
    struct abi_rt_sigframe frame;
    int err = copy_in(&frame, sp, sizeof(frame));

    if (err != 0) {
        return err;
    }
    err = fp_pop(t, frame.uc.uc_mcontext.fpstate);
    if (err != 0) {
        return err;
    }
    context_restore(t, &frame.uc.uc_mcontext);
    task_set_blocked(t, frame.uc.uc_sigmask);
    if (frame.uc.uc_stack.ss_flags == SS_DISABLE || frame.uc.uc_stack.ss_size >= 2048) {
        t->altstack = frame.uc.uc_stack;
    }
    return 0;
}
