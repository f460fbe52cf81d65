/* SPDX-License-Identifier: Apache-2.0 */
/* Pipes, FIFOs and splice. */
#include "vfs/pipe.h"

#include "fibers.h"

#include "base/panic.h"

static struct file *rd, *wr;

static void make_pipe(u32 flags)
{
    assert_int_equal(pipe_new(fix.ctx.cred, flags, &rd, &wr), 0);
}

static void drop_pipe(void)
{
    file_put(rd);
    file_put(wr);
    rd = wr = NULL;
}

static void pipe_moves_bytes_in_order(void **state)
{
    char buf[16] = {0};

    make_pipe(O_NONBLOCK);
    assert_int_equal(read_file(rd, buf, 4), -EAGAIN);
    assert_int_equal(write_file(wr, "abc", 3), 3);
    assert_int_equal(write_file(wr, "def", 3), 3);
    assert_int_equal(read_file(rd, buf, 2), 2);
    assert_int_equal(read_file(rd, buf + 2, 14), 4);
    assert_string_equal(buf, "abcdef");
    assert_int_equal(read_file(rd, buf, 0), 0);
    drop_pipe();
}

static void pipe_ends(void **state)
{
    char c;

    make_pipe(0);
    assert_int_equal(file_poll(wr, NULL), POLLOUT | POLLWRNORM);
    file_put(rd);
    assert_int_equal(write_file(wr, "x", 1), -EPIPE);
    assert_int_equal(write_file(wr, "x", 0), 0);
    assert_int_equal(file_poll(wr, NULL), POLLOUT | POLLWRNORM | POLLERR);
    file_put(wr);
    make_pipe(0);
    assert_int_equal(write_file(wr, "x", 1), 1);
    file_put(wr);
    assert_int_equal(file_poll(rd, NULL), POLLIN | POLLRDNORM | POLLHUP);
    assert_int_equal(read_file(rd, &c, 1), 1);
    assert_int_equal(read_file(rd, &c, 1), 0);
    assert_int_equal(file_poll(rd, NULL), POLLHUP);
    file_put(rd);
}

static void pipe_capacity(void **state)
{
    static char page[4096];
    long size = 65536;

    make_pipe(O_NONBLOCK);
    assert_int_equal(pipe_get_size(rd), size);
    for (int i = 0; i < 16; i++) {
        assert_int_equal(write_file(wr, page, sizeof(page)), sizeof(page));
    }
    assert_int_equal(write_file(wr, page, 1), -EAGAIN);
    assert_int_equal(file_poll(wr, NULL), 0);
    assert_int_equal(pipe_set_size(wr, 4096, fix.ctx.cred), -EBUSY);
    assert_int_equal(pipe_set_size(wr, 65537, fix.ctx.cred), 131072);
    assert_int_equal(write_file(wr, page, 1), 1);
    assert_int_equal(read_file(rd, page, 100), 100);
    become(1000, 1000);
    assert_int_equal(pipe_set_size(wr, 2 << 20, fix.ctx.cred), -EPERM);
    become(0, 0);
    assert_int_equal(pipe_set_size(wr, 1UL << 32, fix.ctx.cred), -EINVAL);
    drop_pipe();
}

static void packets_keep_their_ends(void **state)
{
    char buf[16];

    make_pipe(O_NONBLOCK | O_DIRECT);
    assert_int_equal(write_file(wr, "abc", 3), 3);
    assert_int_equal(write_file(wr, "defg", 4), 4);
    assert_int_equal(read_file(rd, buf, 16), 3);
    assert_int_equal(read_file(rd, buf, 2), 2);
    assert_int_equal(read_file(rd, buf, 16), -EAGAIN);
    drop_pipe();
}

#define STREAM_BYTES (4UL << 20)

static void stream_writer(void)
{
    static u8 chunk[10007];
    u64 done = 0;

    while (done < STREAM_BYTES) {
        size_t n = min(sizeof(chunk), STREAM_BYTES - done);

        for (size_t i = 0; i < n; i++) {
            chunk[i] = (u8)((done + i) * 7);
        }
        CHECK(write_file(wr, chunk, n) == (ssize_t)n, "short write");
        done += n;
    }
    file_put(wr);
}

static void stream_reader(void)
{
    static u8 chunk[7001];
    u64 done = 0;
    ssize_t n;

    while ((n = read_file(rd, chunk, sizeof(chunk))) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            CHECK(chunk[i] == (u8)((done + (u64)i) * 7), "wrong byte at %lu", done + (u64)i);
        }
        done += (u64)n;
    }
    CHECK(n == 0 && done == STREAM_BYTES, "ended with %ld after %lu", n, done);
    file_put(rd);
}

static void blocking_stream(void **state)
{
    for (unsigned workers = 1; workers <= 2; workers++) {
        make_pipe(0);
        RUN_FIBERS(workers, stream_writer, stream_reader);
    }
}

/* ---- many writers, each write whole ---- */

static void atomic_writer(void)
{
    char line[101];
    static _Atomic int next_id;

    memset(line, 'a' + next_id++ % 26, sizeof(line));
    for (int i = 0; i < 2000; i++) {
        CHECK(write_file(wr, line, sizeof(line)) == sizeof(line), "short write");
    }
}

static void atomic_reader(void)
{
    char line[101];

    for (int i = 0; i < 3 * 2000; i++) {
        ssize_t got = 0;

        while (got < (ssize_t)sizeof(line)) {
            ssize_t n = read_file(rd, line + got, sizeof(line) - (size_t)got);

            CHECK(n > 0, "read: %ld", n);
            got += n;
        }
        for (size_t k = 1; k < sizeof(line); k++) {
            CHECK(line[k] == line[0], "torn write");
        }
    }
}

static void small_writes_are_atomic(void **state)
{
    make_pipe(0);
    RUN_FIBERS(2, atomic_writer, atomic_writer, atomic_writer, atomic_reader);
    drop_pipe();
}

/* ---- FIFOs ---- */

static void fifo_reader(void)
{
    char buf[8];
    struct file *f = try_open("/fifo", O_RDONLY, 0);

    CHECK(!IS_ERR(f), "open");
    CHECK(read_file(f, buf, 8) == 5, "read");
    CHECK(read_file(f, buf, 8) == 0, "end");
    file_put(f);
}

static void fifo_writer(void)
{
    struct file *f = try_open("/fifo", O_WRONLY, 0);

    CHECK(!IS_ERR(f), "open");
    CHECK(write_file(f, "hello", 5) == 5, "write");
    file_put(f);
}

static void fifo_open_waits_for_the_other_end(void **state)
{
    struct file *f;
    char c;

    assert_int_equal(vfs_mknod(CTX, AT_FDCWD, "/fifo", S_IFIFO | 0644, 0), 0);
    RUN_FIBERS(2, fifo_reader, fifo_writer);
    RUN_FIBERS(1, fifo_writer, fifo_reader);
    assert_int_equal(open_error("/fifo", O_WRONLY | O_NONBLOCK), -ENXIO);
    f = must_open("/fifo", O_RDONLY | O_NONBLOCK, 0);
    assert_int_equal(file_poll(f, NULL), 0);
    assert_int_equal(read_file(f, &c, 1), 0);
    assert_int_equal(open_error("/fifo", O_WRONLY | O_NONBLOCK), 0);
    assert_int_equal(file_poll(f, NULL), POLLHUP);
    file_put(f);
    f = must_open("/fifo", O_RDWR, 0);
    assert_int_equal(write_file(f, "x", 1), 1);
    assert_int_equal(read_file(f, &c, 1), 1);
    file_put(f);
}

/* ---- splice ---- */

static void splice_between_files_and_pipes(void **state)
{
    struct file *rd2, *wr2, *f;
    char buf[32] = {0};
    u64 off = 2;

    make_file("/in", "0123456789");
    f = must_open("/in", O_RDWR, 0);
    make_pipe(O_NONBLOCK);
    assert_int_equal(pipe_new(fix.ctx.cred, O_NONBLOCK, &rd2, &wr2), 0);
    assert_int_equal(splice_file_to_pipe(f, &off, wr, 5, 0), 5);
    assert_int_equal(off, 7);
    assert_int_equal(splice_pipe_to_pipe(rd, wr2, 3, 0, true), 3);
    assert_int_equal(splice_pipe_to_pipe(rd, wr2, 100, 0, false), 5);
    assert_int_equal(splice_pipe_to_pipe(rd, wr2, 100, 0, false), -EAGAIN);
    assert_int_equal(write_file(wr2, "zz", 2), 2);
    assert_int_equal(read_file(rd2, buf, 32), 10);
    assert_string_equal(buf, "23423456zz");
    assert_int_equal(write_file(wr, "ABCDEF", 6), 6);
    off = 8;
    assert_int_equal(splice_pipe_to_file(rd, f, &off, 4, 0, CTX), 4);
    assert_int_equal(read_file(rd, buf, 32), 2);
    assert_memory_equal(buf, "EF", 2);
    assert_int_equal(read_file(f, buf, 32), 12);
    assert_memory_equal(buf, "01234567ABCD", 12);
    file_put(f);
    file_put(rd2);
    file_put(wr2);
    drop_pipe();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        vfs_unit_test(pipe_moves_bytes_in_order),
        vfs_unit_test(pipe_ends),
        vfs_unit_test(pipe_capacity),
        vfs_unit_test(packets_keep_their_ends),
        vfs_unit_test(blocking_stream),
        vfs_unit_test(small_writes_are_atomic),
        vfs_unit_test(fifo_open_waits_for_the_other_end),
        vfs_unit_test(splice_between_files_and_pipes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
