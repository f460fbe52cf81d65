/* SPDX-License-Identifier: Apache-2.0 */
/* The boot document: what is written is read back; damage of any kind is refused. */
#include "sentry/boot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static char ls[] = "ls", dash_l[] = "-l", empty[] = "", a_is_1[] = "A=1", slash[] = "/";
static char data[] = "/data", tmp[] = "/tmp", box[] = "box", ptrace_name[] = "ptrace";
static char *args[] = {ls, dash_l, empty, NULL};
static char *env[] = {a_is_1, NULL};
static char *none[] = {NULL};
static u32 groups[] = {0, 27};
static u64 limits[] = {1, 2, 3, UINT64_MAX};
static struct boot_tree trees[] = {{5, BOOT_TREE_OVERLAY, slash}, {6, BOOT_TREE_RW, data}};
static struct boot_fd fds[] = {{0, 0}, {2, 9}};

static struct boot_config sample(void)
{
    return (struct boot_config){
        .argv = args,
        .envp = env,
        .cwd = tmp,
        .uid = 1000,
        .gid = 100,
        .nr_groups = 2,
        .groups = groups,
        .umask = 022,
        .sig_ignored = 1,
        .rlimits = limits,
        .nr_rlimits = 4,
        .hostname = box,
        .nr_trees = 2,
        .trees = trees,
        .tmpfs = none,
        .nr_fds = 2,
        .fds = fds,
        .memory_limit = 99,
        .cpus = 2,
        .platform = ptrace_name,
        .sched_seed = 7,
        .root_fd = 11,
        .control_fd = 12,
        .log_fd = -1,
        .sig_blocked = 256,
        .strace = empty,
    };
}

static void what_is_written_is_read_back(void **state)
{
    struct boot_config in = sample();
    int fd = boot_encode(&in);
    struct boot_config *out = boot_decode(fd);

    (void)state;
    assert_true(fd >= 0);
    assert_non_null(out);
    assert_string_equal(out->argv[1], "-l");
    assert_string_equal(out->argv[2], "");
    assert_null(out->argv[3]);
    assert_string_equal(out->envp[0], "A=1");
    assert_null(out->tmpfs[0]);
    assert_int_equal(out->groups[1], 27);
    assert_true(out->rlimits[3] == UINT64_MAX);
    assert_string_equal(out->trees[1].guest_path, "/data");
    assert_int_equal(out->trees[1].mode, BOOT_TREE_RW);
    assert_int_equal(out->fds[1].fd, 9);
    assert_string_equal(out->strace, "");
    assert_null(out->log);
    assert_int_equal(out->log_fd, -1);
    assert_int_equal(out->control_fd, 12);
    close(fd);
}

/* Decode the first `len` bytes of a good document, one byte changed when `flip` is inside. */
static struct boot_config *decode_damaged(int good, size_t len, size_t flip)
{
    int fd = memfd_create("damaged", MFD_CLOEXEC);
    u8 *buf = malloc(len + 1);
    struct boot_config *out;

    assert_int_equal(pread(good, buf, len, 0), len);
    if (flip < len) {
        buf[flip] ^= 0xff;
    }
    assert_int_equal(write(fd, buf, len), len);
    out = boot_decode(fd);
    free(buf);
    close(fd);
    return out;
}

static void a_cut_document_is_refused(void **state)
{
    struct boot_config in = sample();
    int fd = boot_encode(&in);
    off_t size = lseek(fd, 0, SEEK_END);

    (void)state;
    for (off_t len = 0; len < size; len++) {
        assert_null(decode_damaged(fd, (size_t)len, SIZE_MAX));
    }
    close(fd);
}

static void a_changed_byte_never_crashes_the_reader(void **state)
{
    struct boot_config in = sample();
    int fd = boot_encode(&in);
    off_t size = lseek(fd, 0, SEEK_END);

    (void)state;
    for (off_t i = 0; i < size; i++) {
        (void)!decode_damaged(fd, (size_t)size, (size_t)i);
    }
    close(fd);
}

static void a_document_without_a_command_is_refused(void **state)
{
    struct boot_config in = sample();
    int fd;

    (void)state;
    in.argv = none;
    fd = boot_encode(&in);
    assert_null(boot_decode(fd));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(a_cut_document_is_refused),
        cmocka_unit_test(a_changed_byte_never_crashes_the_reader),
        cmocka_unit_test(a_document_without_a_command_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
