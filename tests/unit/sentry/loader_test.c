/* SPDX-License-Identifier: Apache-2.0 */
/* The loader: what the first stack holds, "#!" lines, and ELF headers that lie. */
#include "sentry/loader/loader_priv.h"

#include "base/heap.h"
#include "base/rand.h"
#include "base/uio.h"
#include "tests/unit/sentry/fake_platform.h"
#include "vfs/tmpfs/tmpfs.h"
#include "vfs/vfs_priv.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define IMAGE_SIZE 12288
#define CODE_AT    0x1000
#define DATA_AT    0x2000

static struct cred root_cred;
static struct vfs_ctx ctx = {.cred = &root_cred, .fsize_limit = UINT64_MAX};
static u64 objects_before;

static int setup(void **state)
{
    objects_before = heap_objects_in_use();
    return 0;
}

static int teardown(void **state)
{
    defer_flush();
    assert_int_equal(fake_aspaces, 0);
    assert_int_equal(memfile_kind_bytes(memfile, MEMFILE_ANON), 0);
    assert_int_equal(heap_objects_in_use(), objects_before);
    return 0;
}

/* A small position-dependent program: headers, a page of code, a page of data with bss. */
struct image {
    Elf64_Ehdr eh;
    Elf64_Phdr ph[4];
    u8 rest[IMAGE_SIZE - sizeof(Elf64_Ehdr) - 4 * sizeof(Elf64_Phdr)];
};

static void image_init(struct image *im)
{
    memset(im, 0, sizeof(*im));
    memcpy(im->eh.e_ident, ELFMAG, SELFMAG);
    im->eh.e_ident[EI_CLASS] = ELFCLASS64;
    im->eh.e_ident[EI_DATA] = ELFDATA2LSB;
    im->eh.e_ident[EI_VERSION] = EV_CURRENT;
    im->eh.e_type = ET_EXEC;
    im->eh.e_machine = EM_X86_64;
    im->eh.e_version = EV_CURRENT;
    im->eh.e_entry = 0x401000;
    im->eh.e_phoff = sizeof(Elf64_Ehdr);
    im->eh.e_ehsize = sizeof(Elf64_Ehdr);
    im->eh.e_phentsize = sizeof(Elf64_Phdr);
    im->eh.e_phnum = 4;
    im->ph[0] = (Elf64_Phdr){PT_LOAD, PF_R, 0, 0x400000, 0x400000, 0x200, 0x200, 0x1000};
    im->ph[1] =
        (Elf64_Phdr){PT_LOAD, PF_R | PF_X, CODE_AT, 0x401000, 0x401000, 0x100, 0x100, 0x1000};
    im->ph[2] =
        (Elf64_Phdr){PT_LOAD, PF_R | PF_W, DATA_AT, 0x402000, 0x402000, 0x80, 0x3000, 0x1000};
    im->ph[3] = (Elf64_Phdr){PT_GNU_STACK, PF_R | PF_W, 0, 0, 0, 0, 0, 16};
    memset((char *)im + DATA_AT, 0x77, IMAGE_SIZE - DATA_AT);
}

static struct file *file_of(const void *bytes, size_t len)
{
    struct file *f = shmem_file_new("program", 0, 0, &root_cred);
    struct uio u;

    assert_false(IS_ERR(f));
    uio_init_kernel(&u, (void *)(uintptr_t)bytes, len);
    assert_int_equal(file_pwrite(f, &u, 0, 0, &ctx), len);
    return f;
}

static int load(const void *bytes, size_t len, struct arg_block *args, struct exec_image *out)
{
    struct file *f = file_of(bytes, len);
    int err;

    *out = (struct exec_image){0};
    err = loader_load(f, "/bin/program", args, &ctx, 8 * MiB, out);
    file_put(f);
    return err;
}

static void image_put(struct exec_image *x)
{
    mm_put(x->mm);
    file_put(x->exe);
}

static struct arg_block *some_args(void)
{
    struct arg_block *b = arg_block_new(MiB);

    assert_int_equal(arg_block_add(b, "zero", false), 0);
    assert_int_equal(arg_block_add(b, "", false), 0);
    assert_int_equal(arg_block_add(b, "two", false), 0);
    assert_int_equal(arg_block_add(b, "A=1", true), 0);
    assert_int_equal(arg_block_add(b, "B=", true), 0);
    return b;
}

static u64 word(struct mm *mm, uaddr at)
{
    u64 v = 0;

    assert_int_equal(mm_copy_in(mm, &v, at, sizeof(v), false), sizeof(v));
    return v;
}

static void has_string(struct mm *mm, uaddr at, const char *want)
{
    char buf[64] = {0};

    assert_true(mm_copy_in(mm, buf, at, strlen(want) + 1, false) > 0);
    assert_string_equal(buf, want);
}

static u64 aux(struct mm *mm, uaddr at, u64 type)
{
    for (;; at += 16) {
        if (word(mm, at) == type || word(mm, at) == AT_NULL) {
            return word(mm, at + 8);
        }
    }
}

static void the_stack_is_as_the_abi_says(void **state)
{
    struct arg_block *args = some_args();
    struct exec_image x;
    static struct image im;
    uaddr sp, auxv;

    image_init(&im);
    assert_int_equal(load(&im, sizeof(im), args, &x), 0);
    sp = x.stack;
    assert_int_equal(sp % 16, 0);
    assert_int_equal(x.entry, 0x401000);
    assert_int_equal(word(x.mm, sp), 3);
    has_string(x.mm, word(x.mm, sp + 8), "zero");
    has_string(x.mm, word(x.mm, sp + 16), "");
    has_string(x.mm, word(x.mm, sp + 24), "two");
    assert_int_equal(word(x.mm, sp + 32), 0);
    has_string(x.mm, word(x.mm, sp + 40), "A=1");
    has_string(x.mm, word(x.mm, sp + 48), "B=");
    assert_int_equal(word(x.mm, sp + 56), 0);
    auxv = sp + 64;
    assert_int_equal(aux(x.mm, auxv, AT_PHDR), 0x400040);
    assert_int_equal(aux(x.mm, auxv, AT_PHNUM), 4);
    assert_int_equal(aux(x.mm, auxv, AT_ENTRY), 0x401000);
    assert_int_equal(aux(x.mm, auxv, AT_BASE), 0);
    assert_int_equal(aux(x.mm, auxv, AT_PAGESZ), 4096);
    has_string(x.mm, aux(x.mm, auxv, AT_EXECFN), "/bin/program");
    has_string(x.mm, aux(x.mm, auxv, AT_PLATFORM), "x86_64");
    has_string(x.mm, aux(x.mm, auxv, AT_SYSINFO_EHDR) + 1, "ELF\2\1\1");
    assert_true(aux(x.mm, auxv, AT_RANDOM) != 0);
    assert_string_equal(x.comm, "program");
    image_put(&x);
    arg_block_free(args);
}

static void bss_is_zero(void **state)
{
    struct arg_block *args = some_args();
    struct exec_image x;
    static struct image im;

    image_init(&im);
    assert_int_equal(load(&im, sizeof(im), args, &x), 0);
    assert_int_equal(word(x.mm, 0x402078), 0x7777777777777777UL);
    assert_int_equal(word(x.mm, 0x402080), 0);
    assert_int_equal(word(x.mm, 0x402ff8), 0);
    assert_int_equal(word(x.mm, 0x404ff8), 0);
    assert_true(mm_layout(x.mm)->start_brk >= 0x405000);
    image_put(&x);
    arg_block_free(args);
}

static void pie_goes_elsewhere_each_time(void **state)
{
    struct arg_block *args = some_args();
    struct exec_image x, y;
    static struct image im;

    image_init(&im);
    im.eh.e_type = ET_DYN;
    assert_int_equal(load(&im, sizeof(im), args, &x), 0);
    assert_int_equal(load(&im, sizeof(im), args, &y), 0);
    assert_true(x.entry != y.entry || x.stack != y.stack);
    assert_int_equal(x.entry % PAGE_SIZE, 0);
    image_put(&x);
    image_put(&y);
    arg_block_free(args);
}

/* Change one thing; the answer must be an error and nothing may be left. */
#define REFUSED(change, error)                                                                     \
    do {                                                                                           \
        image_init(&im);                                                                           \
        change;                                                                                    \
        assert_int_equal(load(&im, sizeof(im), args, &x), error);                                  \
    } while (0)

static void wrong_headers_are_refused(void **state)
{
    struct arg_block *args = some_args();
    struct exec_image x;
    static struct image im;

    REFUSED(im.eh.e_ident[0] = 'x', -ENOEXEC);
    REFUSED(im.eh.e_ident[EI_CLASS] = ELFCLASS32, -ENOEXEC);
    REFUSED(im.eh.e_machine = EM_AARCH64, -ENOEXEC);
    REFUSED(im.eh.e_type = ET_REL, -ENOEXEC);
    REFUSED(im.eh.e_phentsize = 55, -ENOEXEC);
    REFUSED(im.eh.e_phnum = 0, -ENOEXEC);
    REFUSED(im.eh.e_phoff = UINT64_MAX - 10, -ENOEXEC);
    REFUSED(im.eh.e_phoff = IMAGE_SIZE - 10, -ENOEXEC);
    REFUSED(im.ph[1].p_filesz = 0x200, -ENOEXEC);
    REFUSED(im.ph[1].p_vaddr = UINT64_MAX - 0xfff, -ENOEXEC);
    REFUSED(im.ph[2].p_memsz = UINT64_MAX, -ENOEXEC);
    REFUSED(im.ph[1].p_offset = CODE_AT + 1, -ENOEXEC);
    REFUSED(im.ph[0].p_type = im.ph[1].p_type = im.ph[2].p_type = PT_NULL, -ENOEXEC);
    REFUSED(im.ph[3] = ((Elf64_Phdr){PT_INTERP, PF_R, 0, 0, 0, 1, 1, 1}), -ENOEXEC);
    REFUSED(im.ph[3] = ((Elf64_Phdr){PT_INTERP, PF_R, DATA_AT, 0, 0, 16, 16, 1}), -ENOEXEC);
    assert_int_equal(load("\177ELF", 4, args, &x), -ENOEXEC);
    assert_int_equal(load("", 0, args, &x), -ENOEXEC);
    arg_block_free(args);
}

/* Random damage: no crash, no leak, whatever the answer. */
static void damaged_headers_do_no_harm(void **state)
{
    static struct image im;
    u32 loaded = 0;

    for (int i = 0; i < 3000; i++) {
        struct arg_block *args = some_args();
        struct exec_image x;

        image_init(&im);
        im.eh.e_type = i % 2 == 0 ? ET_EXEC : ET_DYN;
        for (u64 n = 1 + rand_below(3); n > 0; n--) {
            u64 at = rand_below(sizeof(im.eh) + sizeof(im.ph));
            u8 *byte = (u8 *)&im + at;

            *byte = rand_below(3) == 0 ? (u8)rand_u64() : (u8)(*byte ^ (1U << rand_below(8)));
        }
        /* an interpreter would need a file system */
        for (int p = 0; p < 4; p++) {
            im.ph[p].p_type = im.ph[p].p_type == PT_INTERP ? PT_NULL : im.ph[p].p_type;
        }
        if (load(&im, sizeof(im), args, &x) == 0) {
            image_put(&x);
            loaded++;
        }
        arg_block_free(args);
    }
    assert_true(loaded > 100);
}

static void long_arguments_keep_their_order(void **state)
{
    static char big[100 * KiB];
    struct arg_block *args = arg_block_new(4 * MiB);
    struct exec_image x;
    static struct image im;
    char tail[8];

    memset(big, 'b', sizeof(big) - 1);
    for (int i = 0; i < 5; i++) {
        big[0] = (char)('0' + i);
        assert_int_equal(arg_block_add(args, big, false), 0);
        assert_int_equal(arg_block_add(args, "s", false), 0);
    }
    image_init(&im);
    assert_int_equal(load(&im, sizeof(im), args, &x), 0);
    assert_int_equal(word(x.mm, x.stack), 10);
    for (u64 i = 0; i < 5; i++) {
        uaddr at = word(x.mm, x.stack + 8 + i * 16);

        assert_int_equal(mm_copy_in(x.mm, tail, at, 2, false), 2);
        assert_int_equal(tail[0], '0' + (char)i);
        assert_int_equal(mm_copy_in(x.mm, tail, at + sizeof(big) - 2, 3, false), 3);
        assert_int_equal(memcmp(tail, "b\0s", 3), 0);
    }
    image_put(&x);
    arg_block_free(args);
}

static void too_many_arguments_are_refused(void **state)
{
    static char big[140 * KiB];
    struct arg_block *args = arg_block_new(0);
    int err = 0;

    memset(big, 'b', sizeof(big) - 1);
    assert_int_equal(arg_block_add(args, big, false), -E2BIG);
    for (int i = 0; i < 20000 && err == 0; i++) {
        err = arg_block_add(args, "x", true);
    }
    assert_int_equal(err, -E2BIG);
    arg_block_free(args);
}

static void interpreters_replace_the_first_argument(void **state)
{
    struct arg_block *args = some_args();
    struct exec_image x;
    static struct image im;

    assert_int_equal(arg_block_interpret(args, "/bin/sh", "-x y", "./script"), 0);
    assert_int_equal(arg_block_interpret(args, "/bin/outer", NULL, "/bin/sh"), 0);
    assert_int_equal(arg_block_argc(args), 6);
    image_init(&im);
    assert_int_equal(load(&im, sizeof(im), args, &x), 0);
    static const char *const want[] = {"/bin/outer", "/bin/sh", "-x y", "./script", "", "two"};

    for (u64 i = 0; i < 6; i++) {
        has_string(x.mm, word(x.mm, x.stack + 8 + i * 8), want[i]);
    }
    image_put(&x);
    arg_block_free(args);
}

static void expect_script(const char *text, const char *interp, const char *arg)
{
    char head[LOADER_HEAD_SIZE + 1] = {0}, *i, *a;
    size_t len = min(strlen(text), (size_t)LOADER_HEAD_SIZE);
    int err;

    memcpy(head, text, len);
    assert_true(script_is(head, len));
    err = script_parse(head, len, &i, &a);
    if (interp == NULL) {
        assert_int_equal(err, -ENOEXEC);
        return;
    }
    assert_int_equal(err, 0);
    assert_string_equal(i, interp);
    if (arg == NULL) {
        assert_null(a);
    } else {
        assert_string_equal(a, arg);
    }
}

static void script_lines_are_split(void **state)
{
    char deep[400];

    expect_script("#!/bin/sh\n", "/bin/sh", NULL);
    expect_script("#!/bin/sh", "/bin/sh", NULL);
    expect_script("#! \t/bin/sh  \nmore", "/bin/sh", NULL);
    expect_script("#!/bin/sh -e -x \n", "/bin/sh", "-e -x");
    expect_script("#!/bin/env\tpython3\n", "/bin/env", "python3");
    expect_script("#!\n", NULL, NULL);
    expect_script("#!   \nx", NULL, NULL);
    memset(deep, 'a', sizeof(deep));
    memcpy(deep, "#!/", 3);
    deep[399] = '\0';
    expect_script(deep, NULL, NULL); /* the path may be cut */
    memcpy(deep, "#!/bin/sh ", 10);
    deep[LOADER_HEAD_SIZE] = '\0';
    expect_script(deep, "/bin/sh", deep + 10); /* an argument may */
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_stack_is_as_the_abi_says),   CASE(bss_is_zero),
        CASE(pie_goes_elsewhere_each_time),   CASE(wrong_headers_are_refused),
        CASE(damaged_headers_do_no_harm),     CASE(long_arguments_keep_their_order),
        CASE(too_many_arguments_are_refused), CASE(interpreters_replace_the_first_argument),
        CASE(script_lines_are_split),
    };

    if (heap_init() != 0 || IS_ERR(memfile_new(0)) || vfs_boot() != 0 || tmpfs_boot() != 0) {
        return 1;
    }
    ref_init(&root_cred.ref);
    root_cred.cap_effective = ~0UL;
    fake_platform_set();
    if (vdso_boot() != 0) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
