/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ELF programs (elf(5)): check every field of the headers, then map the segments as Linux does, and
 * those of the interpreter that PT_INTERP names.
 *
 * The file is hostile: headers are read once into kernel memory and every sum is checked before it
 * is made. A file that lies about its content hurts only the program that is made from it.
 */
#include "base/heap.h"
#include "base/rand.h"
#include "sentry/loader/loader_priv.h"
#include "vfs/namei.h"

#include <sys/mman.h>

#define PHDRS_MAX    (64 * KiB)
#define DYN_RND_BITS 28

/* The headers of a file. */
struct elf_file {
    struct file *file; /* borrowed */
    Elf64_Ehdr eh;
    Elf64_Phdr *ph; /* heap */
    uaddr low, end; /* of all PT_LOAD, unbiased, whole pages */
    u64 align;      /* largest p_align */
};

/* ---- headers ---- */

static int read_all(struct file *f, void *buf, size_t len, u64 pos)
{
    ssize_t n = file_kernel_read(f, buf, len, pos);

    if (n < 0) {
        return (int)n;
    }
    return (size_t)n == len ? 0 : -ENOEXEC;
}

static int check_ehdr(const Elf64_Ehdr *eh)
{
    if (memcmp(eh->e_ident, ELFMAG, SELFMAG) != 0 || eh->e_ident[EI_CLASS] != ELFCLASS64 ||
        eh->e_ident[EI_DATA] != ELFDATA2LSB || eh->e_machine != EM_X86_64) {
        return -ENOEXEC;
    }
    if ((eh->e_type != ET_EXEC && eh->e_type != ET_DYN) || eh->e_phentsize != sizeof(Elf64_Phdr) ||
        eh->e_phnum == 0 || eh->e_phnum > PHDRS_MAX / sizeof(Elf64_Phdr)) {
        return -ENOEXEC;
    }
    return eh->e_phoff <= INT64_MAX - PHDRS_MAX ? 0 : -ENOEXEC;
}

/* A PT_LOAD whose sums all fit. */
static int check_load(const Elf64_Phdr *p)
{
    u64 limit = platform_caps.task_size;

    if (p->p_filesz > p->p_memsz || !range_ok(p->p_vaddr, p->p_memsz, limit - PAGE_SIZE) ||
        p->p_offset > INT64_MAX - limit) {
        return -ENOEXEC;
    }
    if (((p->p_vaddr ^ p->p_offset) & ~PAGE_MASK) != 0) {
        return -ENOEXEC;
    }
    return 0;
}

/* Check the segments and find out where they lie. */
static int check_segments(struct elf_file *e)
{
    bool any = false;

    e->low = UINT64_MAX;
    e->align = PAGE_SIZE;
    for (u32 i = 0; i < e->eh.e_phnum; i++) {
        const Elf64_Phdr *p = &e->ph[i];

        if (p->p_type != PT_LOAD || p->p_memsz == 0) {
            continue;
        }
        if (check_load(p) != 0) {
            return -ENOEXEC;
        }
        any = true;
        e->low = min(e->low, ALIGN_DOWN(p->p_vaddr, PAGE_SIZE));
        e->end = max(e->end, ALIGN_UP(p->p_vaddr + p->p_memsz, PAGE_SIZE));
        if (p->p_align > e->align && p->p_align <= GiB && (p->p_align & (p->p_align - 1)) == 0) {
            e->align = p->p_align;
        }
    }
    return any ? 0 : -ENOEXEC;
}

static void elf_close(struct elf_file *e)
{
    heap_free(e->ph);
    e->ph = NULL;
}

static int elf_open(struct elf_file *e, struct file *file)
{
    size_t size;
    int err;

    *e = (struct elf_file){.file = file};
    err = read_all(file, &e->eh, sizeof(e->eh), 0);
    if (err != 0) {
        return err;
    }
    err = check_ehdr(&e->eh);
    if (err != 0) {
        return err;
    }
    size = (size_t)e->eh.e_phnum * sizeof(Elf64_Phdr);
    e->ph = heap_alloc(size);
    if (e->ph == NULL) {
        return -ENOMEM;
    }
    err = read_all(file, e->ph, size, e->eh.e_phoff);
    if (err == 0) {
        err = check_segments(e);
    }
    if (err != 0) {
        elf_close(e);
    }
    return err;
}

/* ---- segments ---- */

static u32 segment_prot(const Elf64_Phdr *p)
{
    return ((p->p_flags & PF_R) != 0 ? PROT_READ : 0U) |
           ((p->p_flags & PF_W) != 0 ? PROT_WRITE : 0U) |
           ((p->p_flags & PF_X) != 0 ? PROT_EXEC : 0U);
}

/* The pages that come from the file. */
static int map_file_part(struct mm *mm, struct file *f, const Elf64_Phdr *p, uaddr bias)
{
    uaddr start = ALIGN_DOWN(p->p_vaddr, PAGE_SIZE);
    const struct mmap_args a = {.addr = bias + start,
                                .len = p->p_vaddr + p->p_filesz - start,
                                .prot = segment_prot(p),
                                .flags = MAP_PRIVATE | MAP_FIXED,
                                .file = f,
                                .off = ALIGN_DOWN(p->p_offset, PAGE_SIZE)};
    s64 ret;

    if (p->p_filesz == 0) {
        return 0;
    }
    ret = mm_map(mm, &a);
    return ret < 0 ? (int)ret : 0;
}

/* Behind the file's bytes: zeroes to the end of the page, then anonymous pages. */
static int map_zero_part(struct mm *mm, const Elf64_Phdr *p, uaddr bias)
{
    static const char zeroes[PAGE_SIZE];
    uaddr from = bias + p->p_vaddr + p->p_filesz, page = ALIGN_UP(from, PAGE_SIZE);
    uaddr end = ALIGN_UP(bias + p->p_vaddr + p->p_memsz, PAGE_SIZE);
    struct mmap_args a = {.addr = page,
                          .len = end - page,
                          .prot = segment_prot(p),
                          .flags = MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS};
    s64 ret;

    if (p->p_memsz == p->p_filesz) {
        return 0;
    }
    if (p->p_filesz == 0) {
        a.addr = ALIGN_DOWN(from, PAGE_SIZE);
        a.len = end - a.addr;
    } else if (from < page && (p->p_flags & PF_W) != 0 &&
               mm_copy_out(mm, from, zeroes, page - from, false) < 0) {
        return -EFAULT;
    }
    ret = a.len != 0 ? mm_map(mm, &a) : 0;
    return ret < 0 ? (int)ret : 0;
}

static void note_segment(const struct elf_file *e, const Elf64_Phdr *p, uaddr bias,
                         struct elf_loaded *l)
{
    uaddr start = bias + p->p_vaddr, end = start + p->p_filesz;

    if ((p->p_flags & PF_X) != 0) {
        l->start_code = min(l->start_code, start);
        l->end_code = max(l->end_code, end);
    }
    l->start_data = max(l->start_data, start);
    l->end_data = max(l->end_data, end);
    l->brk = max(l->brk, start + p->p_memsz);
    if (e->eh.e_phoff >= p->p_offset && e->eh.e_phoff - p->p_offset < p->p_filesz) {
        l->phdr = start + (e->eh.e_phoff - p->p_offset);
    }
}

/* Map all segments, moved by bias. */
static int map_segments(struct mm *mm, const struct elf_file *e, uaddr bias, struct elf_loaded *l)
{
    *l = (struct elf_loaded){.bias = bias,
                             .low = bias + e->low,
                             .end = bias + e->end,
                             .entry = bias + e->eh.e_entry,
                             .phnum = e->eh.e_phnum,
                             .start_code = UINT64_MAX};
    for (u32 i = 0; i < e->eh.e_phnum; i++) {
        const Elf64_Phdr *p = &e->ph[i];
        int err;

        if (p->p_type != PT_LOAD || p->p_memsz == 0) {
            continue;
        }
        err = map_file_part(mm, e->file, p, bias);
        if (err == 0) {
            err = map_zero_part(mm, p, bias);
        }
        if (err != 0) {
            return err;
        }
        note_segment(e, p, bias, l);
    }
    return 0;
}

/* A free place for all of e, as near `hint` as mmap finds (0: anywhere): the bias. */
static s64 find_place(struct mm *mm, const struct elf_file *e, uaddr hint)
{
    u64 size = e->end - e->low;
    const struct mmap_args a = {.addr = hint,
                                .len = size + e->align - PAGE_SIZE,
                                .prot = PROT_NONE,
                                .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE};
    s64 at = mm_map(mm, &a);
    int err;

    if (at < 0) {
        return at;
    }
    err = mm_unmap(mm, (uaddr)at, a.len);
    return err != 0 ? err : (s64)(ALIGN_UP((uaddr)at, e->align) - e->low);
}

/* ---- program and interpreter ---- */

/* Where a position-independent program goes: two thirds up, or, without an interpreter (it is one
 * itself), among the mappings, so that the heap of what it loads has room. */
static s64 program_bias(struct mm *mm, const struct elf_file *e, bool has_interp, bool randomise)
{
    uaddr hint = ALIGN_DOWN(platform_caps.task_size / 3 * 2, PAGE_SIZE);

    if (e->eh.e_type == ET_EXEC) {
        return 0;
    }
    if (!has_interp) {
        return find_place(mm, e, 0);
    }
    if (randomise) {
        u64 rnd = rand_below(1UL << DYN_RND_BITS) << PAGE_SHIFT;

        hint += min(rnd, platform_caps.task_size / 8);
    }
    return find_place(mm, e, ALIGN_UP(hint, e->align));
}

/* The path in PT_INTERP: heap memory, NULL if there is none, ERR_PTR. */
static char *interp_path(const struct elf_file *e)
{
    for (u32 i = 0; i < e->eh.e_phnum; i++) {
        const Elf64_Phdr *p = &e->ph[i];
        char *path;
        int err;

        if (p->p_type != PT_INTERP) {
            continue;
        }
        if (p->p_filesz < 2 || p->p_filesz > PATH_LEN_MAX || p->p_offset > INT64_MAX) {
            return ERR_PTR(-ENOEXEC);
        }
        path = heap_alloc(p->p_filesz);
        if (path == NULL) {
            return ERR_PTR(-ENOMEM);
        }
        err = read_all(e->file, path, p->p_filesz, p->p_offset);
        if (err != 0 || path[p->p_filesz - 1] != '\0') {
            heap_free(path);
            return ERR_PTR(err != 0 ? err : -ENOEXEC);
        }
        return path;
    }
    return NULL;
}

static int load_interp(struct mm *mm, const char *path, const struct vfs_ctx *ctx,
                       struct elf_program *out)
{
    AUTOPUT_FILE f = vfs_open_exec(ctx, AT_FDCWD, path, 0);
    struct elf_loaded l;
    struct elf_file e;
    s64 bias;
    int err;

    if (IS_ERR(f)) {
        return (int)PTR_ERR(f);
    }
    err = elf_open(&e, f);
    if (err != 0) {
        return err == -ENOEXEC ? -ELIBBAD : err;
    }
    bias = e.eh.e_type == ET_EXEC ? 0 : find_place(mm, &e, 0);
    err = bias < 0 ? (int)bias : map_segments(mm, &e, (uaddr)bias, &l);
    elf_close(&e);
    if (err == 0) {
        out->interp_base = l.bias + 0;
        out->entry = l.entry;
    }
    return err;
}

static bool wants_exec_stack(const struct elf_file *e)
{
    for (u32 i = 0; i < e->eh.e_phnum; i++) {
        if (e->ph[i].p_type == PT_GNU_STACK) {
            return (e->ph[i].p_flags & PF_X) != 0;
        }
    }
    return false;
}

int elf_load(struct mm *mm, struct file *file, const struct vfs_ctx *ctx, bool randomise,
             struct elf_program *out)
{
    struct elf_file e;
    char *interp;
    s64 bias;
    int err = elf_open(&e, file);

    if (err != 0) {
        return err;
    }
    *out = (struct elf_program){.exec_stack = wants_exec_stack(&e)};
    interp = interp_path(&e);
    if (IS_ERR(interp)) {
        elf_close(&e);
        return (int)PTR_ERR(interp);
    }
    bias = program_bias(mm, &e, interp != NULL, randomise);
    err = bias < 0 ? (int)bias : map_segments(mm, &e, (uaddr)bias, &out->prog);
    elf_close(&e);
    out->entry = out->prog.entry;
    if (err == 0 && interp != NULL) {
        err = load_interp(mm, interp, ctx, out);
    }
    heap_free(interp);
    if (err == 0 && out->entry >= platform_caps.task_size) {
        err = -ENOEXEC;
    }
    return err;
}
