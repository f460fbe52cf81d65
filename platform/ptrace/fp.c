/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FP state: the XSAVE image in the standard format, as the host's NT_X86_XSTATE register set. It
 * stays in the guest thread until asked for. An image set by the kernel (sigreturn, clone) waits in
 * the context and is loaded by the tracer before the thread runs next.
 *
 * Images come from guest memory (signal frames): all that the processor or the host would refuse is
 * refused here, so that loading cannot fail later: bits in XSTATE_BV beyond what exists, a
 * compacted format, reserved header bytes, reserved MXCSR bits.
 */
#include "platform/ptrace/ptrace_priv.h"

#include "base/err.h"
#include "base/heap.h"
#include "base/host_trace.h"

#include <cpuid.h>
#include <elf.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#define MXCSR_OFF      24
#define MXCSR_MASK_OFF 28
#define MXCSR_INIT     0x1f80U
#define MXCSR_MASK_DFL 0xffbfU
#define FCW_INIT       0x37fU
#define HEADER_OFF     512
#define HEADER_BV      0
#define HEADER_XCOMP   8
#define HEADER_RSVD    16
#define HEADER_END     64
#define XFEATURE_FP    1UL
#define XFEATURE_SSE   2UL

static struct {
    size_t size;   /* (c) */
    u64 mask;      /* (c) features an image may have */
    u32 mxcsr;     /* (c) valid bits */
    void *initial; /* (c) */
} fp;

static u64 get64(const void *image, size_t off)
{
    u64 v;

    memcpy(&v, (const char *)image + off, sizeof(v));
    return v;
}

static u32 get32(const void *image, size_t off)
{
    u32 v;

    memcpy(&v, (const char *)image + off, sizeof(v));
    return v;
}

static void write_initial(void *image)
{
    u16 fcw = FCW_INIT;
    u32 mxcsr = MXCSR_INIT;
    u64 bv = XFEATURE_FP | XFEATURE_SSE;

    memset(image, 0, fp.size);
    memcpy(image, &fcw, sizeof(fcw));
    memcpy((char *)image + MXCSR_OFF, &mxcsr, sizeof(mxcsr));
    memcpy((char *)image + MXCSR_MASK_OFF, &fp.mxcsr, sizeof(fp.mxcsr));
    memcpy((char *)image + HEADER_OFF + HEADER_BV, &bv, sizeof(bv));
}

int fp_boot(void)
{
    u8 fx[HEADER_OFF] __attribute__((aligned(16))) = {0};
    u32 a, b, c, d;

    /* Leaf 0xd, sub-leaf 0: what the host has enabled, and the size of an image of all that. */
    if (__get_cpuid_count(0xd, 0, &a, &b, &c, &d) == 0) {
        return -ENOSYS;
    }
    fp.size = b;
    fp.mask = (u64)d << 32 | a;
    __asm__ volatile("fxsave64 %0" : "=m"(fx));
    fp.mxcsr = get32(fx, MXCSR_MASK_OFF);
    if (fp.mxcsr == 0) {
        fp.mxcsr = MXCSR_MASK_DFL;
    }
    fp.initial = heap_alloc(fp.size);
    if (fp.initial == NULL) {
        return -ENOMEM;
    }
    write_initial(fp.initial);
    return 0;
}

size_t ptrace_fp_size(void)
{
    return fp.size;
}

static bool image_is_valid(const void *image)
{
    const char *header = (const char *)image + HEADER_OFF;

    if ((get64(header, HEADER_BV) & ~fp.mask) != 0 || get64(header, HEADER_XCOMP) != 0) {
        return false;
    }
    for (size_t off = HEADER_RSVD; off < HEADER_END; off += sizeof(u64)) {
        if (get64(header, off) != 0) {
            return false;
        }
    }
    return (get32(image, MXCSR_OFF) & ~fp.mxcsr) == 0;
}

/* The context's own buffer, allocated at first use. */
static void *pending_image(struct pcontext *c)
{
    if (c->fp == NULL) {
        c->fp = heap_alloc(fp.size);
    }
    return c->fp;
}

int ptrace_fp_set(struct pcontext *c, const void *buf, size_t size)
{
    if (buf == NULL) {
        fp_reset(c);
        return 0;
    }
    if (size != fp.size || !image_is_valid(buf)) {
        return -EINVAL;
    }
    if (pending_image(c) == NULL) {
        return -ENOMEM;
    }
    memcpy(c->fp, buf, size);
    c->fp_pending = true;
    c->fp_initial = false;
    return 0;
}

/* The initial state: loaded before the thread runs next. What it has now may be another process's
 * that had the thread before, or the sentry's own at boot, so a new context begins with this. */
void fp_reset(struct pcontext *c)
{
    c->fp_pending = false;
    c->fp_initial = true;
}

struct fp_request {
    struct request r;
    pid_t tid;
    struct iovec iov;
    long ret;
};

static void fp_read(struct request *r)
{
    struct fp_request *f = container_of(r, struct fp_request, r);

    f->ret = host_ptrace(PTRACE_GETREGSET, f->tid, (void *)NT_X86_XSTATE, &f->iov);
}

int ptrace_fp_get(struct pcontext *c, void *buf, size_t size)
{
    struct fp_request f = {.r = {.run = fp_read}, .iov = {.iov_base = buf, .iov_len = fp.size}};

    if (size < fp.size) {
        return -EINVAL;
    }
    if (c->fp_pending) {
        memcpy(buf, c->fp, fp.size);
        return 0;
    }
    if (c->fp_initial) {
        memcpy(buf, fp.initial, fp.size);
        return 0;
    }
    f.tid = c->tracee->kid.pid;
    tracer_call(&f.r);
    return f.ret < 0 ? -ESRCH : 0;
}

/* On the tracer, with the thread stopped. */
int fp_load(struct pcontext *c)
{
    struct iovec iov = {.iov_len = fp.size};
    long ret;

    if (!c->fp_pending && !c->fp_initial) {
        return 0;
    }
    iov.iov_base = c->fp_pending ? c->fp : fp.initial;
    ret = host_ptrace(PTRACE_SETREGSET, c->tracee->kid.pid, (void *)NT_X86_XSTATE, &iov);
    if (ret == -ESRCH) {
        return (int)ret;
    }
    c->fp_pending = false; /* also when refused: the fault is reported once */
    c->fp_initial = false;
    return (int)ret;
}
