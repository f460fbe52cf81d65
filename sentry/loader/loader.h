/* SPDX-License-Identifier: Apache-2.0 */
/* Program images: ELF (static, PIE, dynamic), scripts, and our vDSO (execve(2), elf(5),
 * getauxval(3)). */
#ifndef PAVISE_SENTRY_LOADER_LOADER_H
#define PAVISE_SENTRY_LOADER_LOADER_H

#include "base/base.h"
#include "vfs/vfs.h"

struct mm;

/* Argument and environment strings, copied in from the caller before its address space goes away.
 * Bounded by max(RLIMIT_STACK/4, 128 KiB) in all and 128 KiB a string (-E2BIG). Kernel heap, in
 * chunks. */
struct arg_block;
must_check struct arg_block *arg_block_new(u64 limit); /* NULL: no memory */
void arg_block_free(struct arg_block *b);
must_check int arg_block_add(struct arg_block *b, const char *str, bool env); /* kernel string */
must_check int arg_block_add_user(struct arg_block *b, uaddr vec,
                                  bool env); /* a guest's char *const[]; NULL vec: empty */
u32 arg_block_argc(const struct arg_block *b);

struct exec_image {
    struct mm *mm;           /* out: the new address space, counted */
    uaddr entry, stack;      /* out: first rip and rsp */
    char comm[16];           /* out */
    struct file *exe;        /* out: counted, the program itself (the interpreter for scripts) */
    bool secure;             /* in: AT_SECURE */
    bool fixed_layout;       /* in: ADDR_NO_RANDOMIZE: the same addresses every time */
    const struct cred *cred; /* in: whose ids AT_UID... tell, borrowed; NULL: ctx->cred */
    u32 stack_exec;          /* out */
};

/* Load `file` (already opened for exec; name as given, for #! and AT_EXECFN) into a new mm. Follows
 * #! up to 4 levels, taking interpreters with `ctx`. -ENOEXEC, -ELIBBAD, -EACCES, -ENOMEM, -E2BIG,
 * ... Nothing is left behind on error. cred: ids for AT_UID... */
must_check int loader_load(struct file *file, const char *name, struct arg_block *args,
                           const struct vfs_ctx *ctx, u64 stack_limit, struct exec_image *out);

/* At boot: build the vDSO's memory (needs platform_caps). */
must_check int vdso_boot(void);
/* rt_sigreturn trampoline inside the vDSO of an address space whose vDSO is at `base`. */
uaddr vdso_sigreturn(uaddr base);

#endif
