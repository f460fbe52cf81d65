/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The platform interface (DESIGN 3): what runs guest code and says why it came back.
 *
 * It does not assume that the sentry is another process than the guest, nor that registers lie in
 * shared memory. An address space (aspace) is a guest page table; a context is a guest CPU thread.
 *
 * Life: platform_choose at start-up; ops->boot before lock-down (creates whatever needs more rights
 * or an empty process: zygote, control memory); afterwards only calls of the vetted set are made.
 */
#ifndef PAVISE_PLATFORM_PLATFORM_H
#define PAVISE_PLATFORM_PLATFORM_H

#include "base/base.h"
#include "platform/regs.h"

struct aspace;   /* each platform embeds its own */
struct pcontext; /* likewise */

/* One change of an address space. Addresses and lengths are page-aligned and were checked by mm. */
struct map_op {
    enum { MAP_OP_MAP, MAP_OP_UNMAP, MAP_OP_PROTECT, MAP_OP_POPULATE } kind;
    uaddr addr;
    u64 len;
    u32 prot;      /* PROT_READ | PROT_WRITE | PROT_EXEC of the host mapping (COW pages come without
                      WRITE) */
    int fd;        /* MAP: the sentry's descriptor of the memory file or host file */
    u64 offset;    /* MAP: into it */
    bool populate; /* MAP: touch the pages now */
    bool private_ro; /* MAP: the file is a host file mapped read-only: map it MAP_PRIVATE */
};

enum pexit_kind {
    PEXIT_SYSCALL,   /* regs hold number and arguments; rip is behind the instruction */
    PEXIT_FAULT,     /* a page fault: info.addr, info.access */
    PEXIT_TRAP,      /* SIGTRAP, SIGILL, SIGFPE, SIGBUS (non-page), SIGSEGV without address (general
                      * protection):      info.sig, info.code, info.addr */
    PEXIT_INTERRUPT, /* context_interrupt, or spurious */
    PEXIT_DEAD       /* the host killed the thread (the guest is to get SIGKILL) */
};

/* Bits of pexit.access. A platform that cannot tell sets ACCESS_UNKNOWN and its best guess. */
#define ACCESS_READ    1U
#define ACCESS_WRITE   2U
#define ACCESS_EXEC    4U
#define ACCESS_UNKNOWN 8U /* read/write not distinguished by the platform */
#define ACCESS_MAPPED                                                                              \
    16U /* the host had the page mapped, but not with this right (SEGV_ACCERR)                     \
         */

struct pexit {
    enum pexit_kind kind;
    uaddr addr; /* faulting address */
    u32 access; /* ACCESS_* */
    int sig;    /* PEXIT_TRAP */
    int code;   /* PEXIT_TRAP: si_code */
    u64 trapno; /* x86 vector and error code for the signal frame, 0 if unknown */
    u64 err;
};

struct platform_caps {
    uaddr task_size; /* guest addresses lie in [min_addr, task_size) */
    uaddr min_addr;
    u64 max_mappings;  /* host mappings an address space may use */
    bool knows_access; /* faults tell read from write */
    bool host_vdso;    /* the host's vDSO is reachable in every aspace at host_vdso_addr */
    uaddr host_vdso_addr;
};

struct platform_ops {
    const char *name;

    /* Can this machine run it? 0, or -errno with a one-line reason. Cheap; before boot. */
    int (*probe)(const char **why_not);
    /* Before lock-down, on the thread that will call sched_run. `memfd`: the memory file. May
     * install sched_set_idle_ops. */
    int (*boot)(int memfd, struct platform_caps *caps);

    /* An empty address space / give it back. May block shortly; no lock above LOCK_PLATFORM held by
     * put. */
    struct aspace *(*aspace_new)(void); /* ERR_PTR */
    void (*aspace_free)(struct aspace *as);
    /* Apply a list in order; at latest when it returns the guest sees it. On error (-ENOMEM: out of
     * host mappings) earlier ops stay applied. Callable from any fiber; calls for one aspace are
     * serialised by mm (LOCK_MM_PMA held). */
    int (*aspace_apply)(struct aspace *as, const struct map_op *ops, size_t count);

    /* A guest thread in `as`, registers zero, FP state initial. */
    struct pcontext *(*context_new)(struct aspace *as); /* ERR_PTR */
    void (*context_free)(struct pcontext *c);           /* not while in switch */
    /* Move the thread to another address space (execve), registers kept. */
    int (*context_set_aspace)(struct pcontext *c, struct aspace *as);

    /* Run guest code with c's registers until something happens, parking the calling fiber
     * meanwhile. A fiber's pending interrupt flag makes it return PEXIT_INTERRUPT at once. */
    void (*context_switch)(struct pcontext *c, struct pexit *out);
    /* From any thread: make c's running or next switch return soon. */
    void (*context_interrupt)(struct pcontext *c);

    /* The register file, valid outside of switch. */
    struct regs *(*context_regs)(struct pcontext *c);
    /* XSAVE image in the standard (non-compacted) format; size fp_size(). Kept live until asked. */
    size_t (*fp_size)(void);
    int (*fp_get)(struct pcontext *c, void *buf, size_t size);
    int (*fp_set)(struct pcontext *c, const void *buf,
                  size_t size); /* -EINVAL: malformed (guest data) */
    /* Set by the kernel for guest debuggers: the next switch executes one instruction and returns
     * PEXIT_TRAP with SIGTRAP/TRAP_TRACE. */
    void (*context_single_step)(struct pcontext *c, bool on);
};

/* The running platform and its limits. */
extern const struct platform_ops *platform;
extern struct platform_caps platform_caps;

/* "auto", "ptrace", ...: set `platform`. -EINVAL unknown name, -ENODEV cannot run here (*why set).
 */
must_check int platform_choose(const char *name, const char **why);

#endif
