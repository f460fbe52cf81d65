/* SPDX-License-Identifier: Apache-2.0 */
/* pty pairs and the line discipline, as Linux behaves. */
#include "fibers.h"

#include "base/panic.h"
#include "vfs/dev/pty_priv.h"

#include <asm/termbits.h>
#include <stdlib.h>

static struct file *master, *slave;
static struct pty *pty;

static void open_pair(void)
{
    struct super *sb = devpts_super_new(0620, 5, 0666);
    struct path at;
    char name[32];

    tty_boot();
    make_dir("/pts", 0755);
    assert_int_equal(path_lookup(CTX, AT_FDCWD, "/pts", 0, &at), 0);
    assert_int_equal(mount_add(fix.ctx.mnt_ns, sb, &at, 0), 0);
    path_put(&at);
    super_put(sb);
    assert_int_equal(open_error("/pts/0", O_RDWR), -ENOENT);
    master = must_open("/pts/ptmx", O_RDWR | O_NONBLOCK, 0);
    pty = tty_file_of(master)->pty;
    (void)snprintf(name, sizeof(name), "/pts/%u", pty->index);
    assert_int_equal(open_error(name, O_RDWR | O_NOCTTY), -EIO);
    pty->locked = false;
    slave = must_open(name, O_RDWR | O_NONBLOCK | O_NOCTTY, 0);
    assert_int_equal(stat_of(name, 0).gid, 5);
    assert_int_equal(stat_of(name, 0).mode, S_IFCHR | 0620);
}

static void close_pair(void)
{
    file_put(slave);
    file_put(master);
    assert_int_equal(open_error("/pts/0", O_RDWR), -ENOENT);
}

static void type(const char *text)
{
    assert_int_equal(write_file(master, text, strlen(text)), strlen(text));
}

static void expect(struct file *f, const char *text)
{
    char buf[512];
    ssize_t n = read_file(f, buf, sizeof(buf) - 1);

    buf[n > 0 ? n : 0] = '\0';
    assert_string_equal(buf, text);
}

static void expect_error(struct file *f, int err)
{
    char buf[16];

    assert_int_equal(read_file(f, buf, sizeof(buf)), err);
}

static void lines_are_edited_and_echoed(void **state)
{
    open_pair();
    expect_error(slave, -EAGAIN);
    type("ab");
    expect_error(slave, -EAGAIN);
    expect(master, "ab");
    type("\177c\r");
    expect(master, "\b \bc\r\n");
    assert_int_equal(file_poll(slave, NULL), POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM);
    expect(slave, "ac\n");
    type("one two\027x\025y\n");
    expect(slave, "y\n");
    expect(master, "one two\b \b\b \b\b \bx\b \b\b \b\b \b\b \b\b \by\r\n");
    type("a\026\003b\001\n");
    expect(slave, "a\003b\001\n");
    expect(master, "a^\b^Cb^A\r\n");
    type("first\nsecond\n");
    expect(slave, "first\n");
    expect(slave, "second\n");
    expect(master, "first\r\nsecond\r\n");
    close_pair();
}

static void end_of_file_is_a_line(void **state)
{
    char buf[4];

    open_pair();
    type("\004");
    expect_error(slave, 0);
    expect_error(slave, -EAGAIN);
    type("abcd\004");
    assert_int_equal(read_file(slave, buf, 4), 4); /* and the end of file right behind it */
    expect_error(slave, -EAGAIN);
    type("xyz\n");
    assert_int_equal(read_file(slave, buf, 2), 2);
    expect(slave, "z\n");
    close_pair();
}

static void output_is_processed(void **state)
{
    open_pair();
    assert_int_equal(write_file(slave, "a\nb\tc", 5), 5);
    expect(master, "a\r\nb\tc");
    pty->termios.oflag |= XTABS;
    assert_int_equal(write_file(slave, "\r1\t2", 4), 4);
    expect(master, "\r1       2");
    pty->termios.oflag = 0;
    assert_int_equal(write_file(slave, "a\nb", 3), 3);
    expect(master, "a\nb");
    close_pair();
}

static void raw_mode(void **state)
{
    struct abi_termios old;

    open_pair();
    old = pty->termios;
    type("half");
    pty->termios.lflag &= ~(u32)(ICANON | ECHO | ISIG);
    mutex_lock(&pty->lock);
    ldisc_mode_changed(pty, &old);
    mutex_unlock(&pty->lock);
    expect(slave, "half");
    expect(master, "half");
    type("\003\004x\r");
    expect(slave, "\003\004x\n");
    expect_error(master, -EAGAIN);
    pty->termios.cc[VMIN] = 0;
    expect_error(slave, 0);
    close_pair();
}

static void flow_control_stops_output(void **state)
{
    open_pair();
    type("\023");
    assert_int_equal(write_file(slave, "x", 1), -EAGAIN);
    assert_int_equal(file_poll(slave, NULL) & POLLOUT, 0);
    type("\021");
    assert_int_equal(write_file(slave, "x", 1), 1);
    expect(master, "x");
    close_pair();
}

static void interrupt_flushes(void **state)
{
    open_pair();
    type("garbage\003");
    expect(master, "^C");
    type("ok\n");
    expect(slave, "ok\n");
    close_pair();
}

static void overlong_line_keeps_its_end(void **state)
{
    static char big[6000];
    static char got[5000];

    open_pair();
    pty->termios.lflag &= ~(u32)ECHO;
    memset(big, 'x', sizeof(big));
    assert_int_equal(write_file(master, big, sizeof(big)), sizeof(big));
    type("\n");
    assert_int_equal(read_file(slave, got, sizeof(got)), 4096);
    assert_int_equal(got[4095], '\n');
    close_pair();
}

static void either_end_closes(void **state)
{
    char c;

    open_pair();
    assert_int_equal(write_file(slave, "bye", 3), 3);
    file_put(slave);
    assert_int_equal(file_poll(master, NULL), POLLIN | POLLRDNORM | POLLHUP | POLLOUT | POLLWRNORM);
    expect(master, "bye");
    expect_error(master, -EIO);
    slave = must_open("/pts/0", O_RDWR | O_NOCTTY, 0);
    expect_error(master, -EAGAIN);
    file_put(master);
    assert_int_equal(read_file(slave, &c, 1), 0);
    assert_int_equal(write_file(slave, "x", 1), -EIO);
    assert_int_equal(file_poll(slave, NULL) & (POLLHUP | POLLERR | POLLIN),
                     POLLHUP | POLLERR | POLLIN);
    assert_int_equal(open_error("/pts/0", O_RDWR), -ENOENT);
    file_put(slave);
}

static void packet_mode(void **state)
{
    char buf[16];

    open_pair();
    pty->packet = true;
    assert_int_equal(write_file(slave, "hi", 2), 2);
    assert_int_equal(read_file(master, buf, 16), 3);
    assert_memory_equal(buf, "\0hi", 3);
    type("\023");
    assert_int_equal(file_poll(master, NULL) & POLLPRI, POLLPRI);
    assert_int_equal(read_file(master, buf, 16), 1);
    assert_int_equal(buf[0], TIOCPKT_STOP);
    close_pair();
}

static void reader(void)
{
    char buf[16];

    slave->flags &= ~(u32)O_NONBLOCK;
    CHECK(read_file(slave, buf, 16) == 6, "read");
}

static void writer(void)
{
    CHECK(write_file(master, "hel", 3) == 3, "write");
    fiber_yield();
    CHECK(write_file(master, "lo\n", 3) == 3, "write");
}

static void blocking_read(void **state)
{
    open_pair();
    RUN_FIBERS(1, reader, writer);
    RUN_FIBERS(2, reader, writer);
    close_pair();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        vfs_unit_test(lines_are_edited_and_echoed),
        vfs_unit_test(end_of_file_is_a_line),
        vfs_unit_test(output_is_processed),
        vfs_unit_test(raw_mode),
        vfs_unit_test(flow_control_stops_output),
        vfs_unit_test(interrupt_flushes),
        vfs_unit_test(overlong_line_keeps_its_end),
        vfs_unit_test(either_end_closes),
        vfs_unit_test(packet_mode),
        vfs_unit_test(blocking_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
