/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading a program: follow "#!" lines to an ELF file, build a new address space from it, and say
 * where it begins. The caller's own address space is not touched, so an error leaves it as it was.
 */
#include "sentry/loader/loader.h"

#include "base/heap.h"
#include "base/rand.h"
#include "sentry/loader/loader_priv.h"
#include "vfs/namei.h"

#define BRK_RANDOM (32 * MiB)

/* Follow one "#!": *file (counted) becomes the interpreter, *path (heap) its name. */
static int script_step(struct file **file, char **path, char *head, size_t len,
                       struct arg_block *args, const struct vfs_ctx *ctx)
{
    char *interp, *arg, *copy;
    struct file *next;
    int err = script_parse(head, len, &interp, &arg);

    if (err != 0) {
        return err;
    }
    err = arg_block_interpret(args, interp, arg, *path);
    if (err != 0) {
        return err;
    }
    copy = heap_strdup(interp);
    if (copy == NULL) {
        return -ENOMEM;
    }
    next = vfs_open_exec(ctx, AT_FDCWD, interp, 0);
    if (IS_ERR(next)) {
        heap_free(copy);
        return (int)PTR_ERR(next);
    }
    file_put(*file);
    *file = next;
    heap_free(*path);
    *path = copy;
    return 0;
}

/* Until *file is no script. */
static int follow_scripts(struct file **file, char **path, struct arg_block *args,
                          const struct vfs_ctx *ctx)
{
    char head[LOADER_HEAD_SIZE + 1];

    for (int depth = 0;; depth++) {
        ssize_t n = file_kernel_read(*file, head, LOADER_HEAD_SIZE, 0);
        int err;

        if (n < 0) {
            return (int)n;
        }
        head[n] = '\0';
        if (!script_is(head, (size_t)n)) {
            return 0;
        }
        if (depth == SCRIPT_MAX_DEPTH) {
            return -ELOOP;
        }
        err = script_step(file, path, head, (size_t)n, args, ctx);
        if (err != 0) {
            return err;
        }
    }
}

/* Where the heap begins: a random distance behind the program (PIE and EXEC alike). */
static void place_brk(struct mm *mm, const struct elf_program *elf, bool randomise)
{
    struct mm_layout *l = mm_layout(mm);
    uaddr brk = ALIGN_UP(elf->prog.brk, PAGE_SIZE);

    if (elf->interp_base == 0 && elf->prog.bias != 0) {
        brk = ALIGN_DOWN(platform_caps.task_size / 3 * 2, PAGE_SIZE); /* away from the mappings */
    }
    if (randomise) {
        brk += ALIGN_DOWN(rand_below(BRK_RANDOM), PAGE_SIZE);
    }
    l->start_brk = l->brk = brk;
    l->start_code = elf->prog.start_code;
    l->end_code = elf->prog.end_code;
    l->start_data = elf->prog.start_data;
    l->end_data = elf->prog.end_data;
}

/* Fill out->mm from an ELF file. */
static int load_image(struct file *file, const char *name, struct arg_block *args,
                      const struct vfs_ctx *ctx, u64 stack_limit, struct exec_image *out)
{
    struct mm *mm = out->mm;
    bool randomise = !out->fixed_layout;
    struct elf_program elf;
    struct stack_args sa = {.args = args,
                            .cred = out->cred != NULL ? out->cred : ctx->cred,
                            .execfn = name,
                            .elf = &elf,
                            .stack_limit = stack_limit,
                            .secure = out->secure,
                            .randomise = randomise};
    s64 vdso;
    int err;

    mm_place(mm, stack_limit, randomise);
    err = elf_load(mm, file, ctx, randomise, &elf);
    if (err != 0) {
        return err;
    }
    vdso = vdso_map(mm);
    if (vdso < 0) {
        return (int)vdso;
    }
    mm_layout(mm)->vdso = sa.vdso = (uaddr)vdso;
    place_brk(mm, &elf, randomise);
    err = stack_build(mm, &sa, &out->stack);
    out->entry = elf.entry;
    out->stack_exec = elf.exec_stack;
    return err;
}

static void set_comm(struct exec_image *out, const char *name)
{
    const char *base = strrchr(name, '/');

    base = base != NULL ? base + 1 : name;
    memset(out->comm, 0, sizeof(out->comm));
    memcpy(out->comm, base, min(strlen(base), sizeof(out->comm) - 1));
}

/* With the final file; takes no reference over. */
static int load_final(struct file *file, const char *name, struct arg_block *args,
                      const struct vfs_ctx *ctx, u64 stack_limit, struct exec_image *out)
{
    int err = inode_deny_write(file->inode);

    if (err != 0) {
        return err;
    }
    out->mm = mm_new();
    if (IS_ERR(out->mm)) {
        inode_allow_write(file->inode);
        return (int)PTR_ERR(out->mm);
    }
    err = load_image(file, name, args, ctx, stack_limit, out);
    if (err == 0) {
        err = mm_ready(out->mm);
    }
    if (err == 0) {
        mm_set_exe_file(out->mm, file);
        out->exe = file_get(file);
        set_comm(out, name);
    } else {
        mm_put(out->mm);
        out->mm = NULL;
    }
    inode_allow_write(file->inode); /* the address space holds its own denial */
    return err;
}

int loader_load(struct file *file, const char *name, struct arg_block *args,
                const struct vfs_ctx *ctx, u64 stack_limit, struct exec_image *out)
{
    char *path = heap_strdup(name);
    struct file *f = file_get(file);
    int err = path != NULL ? 0 : -ENOMEM;

    if (err == 0) {
        err = follow_scripts(&f, &path, args, ctx);
    }
    if (err == 0 && arg_block_argc(args) == 0) {
        err = arg_block_add(args, "", false); /* Linux: a program always has an argv[0] */
    }
    if (err == 0) {
        err = load_final(f, name, args, ctx, stack_limit, out);
    }
    heap_free(path);
    file_put(f);
    return err;
}
