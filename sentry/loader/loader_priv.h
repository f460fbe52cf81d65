/* SPDX-License-Identifier: Apache-2.0 */
/* Private to sentry/loader: what its files tell each other while a program is loaded. */
#ifndef PAVISE_SENTRY_LOADER_LOADER_PRIV_H
#define PAVISE_SENTRY_LOADER_LOADER_PRIV_H

#include "base/err.h"
#include "sentry/loader/loader.h"
#include "sentry/mm/mm.h"

#include <elf.h>

#define LOADER_HEAD_SIZE 256 /* BINPRM_BUF_SIZE: what of a file decides its kind */
#define SCRIPT_MAX_DEPTH 5   /* interpreters in a row before -ELOOP */

/* An ELF file that was mapped. */
struct elf_loaded {
    uaddr bias;     /* added to the file's addresses */
    uaddr low, end; /* of its segments, pages */
    uaddr entry;    /* biased */
    uaddr phdr;     /* biased address of the program headers in memory, 0: not mapped */
    u32 phnum;
    uaddr brk; /* end of its bss, biased */
    uaddr start_code, end_code, start_data, end_data;
};

/* The result of the ELF part. */
struct elf_program {
    struct elf_loaded prog;
    uaddr interp_base; /* AT_BASE, 0 without interpreter */
    uaddr entry;       /* where to begin: the interpreter's or the program's */
    bool exec_stack;
};

/* elf.c: map `file` and its interpreter into mm. */
must_check int elf_load(struct mm *mm, struct file *file, const struct vfs_ctx *ctx, bool randomise,
                        struct elf_program *out);

/* script.c: is `head` a "#!" line? Splits it in place: *interp, *arg (NULL: none). 0, -ENOEXEC. */
bool script_is(const char *head, size_t len);
must_check int script_parse(char head[LOADER_HEAD_SIZE + 1], size_t len, char **interp, char **arg);

/* args.c */
struct arg_stream {
    struct arg_chunk *first, *last;
    u64 len;   /* bytes, NULs included */
    u32 count; /* strings */
    u64 skip;  /* bytes at the front that were dropped (a script's argv[0]) */
};

struct arg_block {
    u64 limit, used;
    char *front[3 * SCRIPT_MAX_DEPTH + 1]; /* strings before args, last first; heap */
    u32 nr_front;
    struct arg_stream args, envs;
};

/* Replace argv[0] by interp, arg (if any) and name. */
must_check int arg_block_interpret(struct arg_block *b, const char *interp, const char *arg,
                                   const char *name);
u64 arg_block_bytes(const struct arg_block *b, bool env);
/* Write the strings to `at`, and at `vec` the pointers to them with a NULL behind. */
must_check int arg_block_store(const struct arg_block *b, bool env, struct mm *mm, uaddr at,
                               uaddr vec);

/* stack.c: the stack mapping, filled. *sp: the first stack pointer. */
struct stack_args {
    const struct arg_block *args;
    const struct cred *cred;
    const char *execfn;
    const struct elf_program *elf;
    uaddr vdso;
    u64 stack_limit;
    bool secure, randomise;
};
must_check int stack_build(struct mm *mm, const struct stack_args *a, uaddr *sp);

/* vdso.c: map it; its address or -errno. */
must_check s64 vdso_map(struct mm *mm);

#endif
