/* SPDX-License-Identifier: Apache-2.0 */
/* AF_UNIX sockets, below the system calls. */
#include "tests/unit/vfs/fibers.h"

#include "base/panic.h"
#include "sentry/socket/socket.h"
#include "sentry/socket/unix_priv.h"
#include "vfs/poll.h"

static struct file *a, *b;

static void pair(int type, u32 flags)
{
    struct file *f[2];

    assert_int_equal(socket_create_pair(AF_UNIX, type, 0, flags, fix.ctx.cred, f), 0);
    a = f[0];
    b = f[1];
}

static void drop(void)
{
    file_put(a);
    file_put(b);
    a = b = NULL;
}

static struct file *sock(int type)
{
    struct file *f = socket_create(AF_UNIX, type, 0, O_NONBLOCK, fix.ctx.cred);

    assert_false(IS_ERR(f));
    return f;
}

static struct sock_addr addr_of(const char *path, u32 len)
{
    struct sock_addr addr = {.len = (u32)offsetof(struct sockaddr_un, sun_path) + len};

    addr.family = AF_UNIX;
    memcpy(((struct sockaddr_un *)&addr.ss)->sun_path, path, len);
    return addr;
}

static int do_bind(struct file *f, const char *path, u32 len)
{
    struct sock_addr addr = addr_of(path, len);

    return socket_of(f)->ops->bind(socket_of(f), &addr, CTX);
}

static int do_connect(struct file *f, const char *path, u32 len)
{
    struct sock_addr addr = addr_of(path, len);

    return socket_of(f)->ops->connect(socket_of(f), &addr, true, CTX);
}

static struct file *do_accept(struct file *f)
{
    return socket_of(f)->ops->accept(socket_of(f), true, O_NONBLOCK);
}

static ssize_t send_files(struct file *f, const char *text, struct file **files, u32 count)
{
    struct scm scm = {0};
    struct uio u;
    struct sock_msg m = {.data = &u, .scm = &scm, .flags = MSG_DONTWAIT};
    ssize_t n;

    uio_init_kernel(&u, (void *)(uintptr_t)text, strlen(text));
    if (count > 0) {
        scm.files = scm_files_new();
        for (u32 i = 0; i < count; i++) {
            scm.files->files[scm.files->count++] = file_get(files[i]);
        }
    }
    n = socket_of(f)->ops->send(socket_of(f), &m, CTX);
    scm_files_put(scm.files);
    return n;
}

static ssize_t recv_files(struct file *f, char *buf, size_t len, u32 flags, struct scm *scm,
                          u32 *out_flags)
{
    struct uio u;
    struct sock_msg m = {.data = &u, .scm = scm, .flags = flags | MSG_DONTWAIT};
    ssize_t n;

    uio_init_kernel(&u, buf, len);
    n = socket_of(f)->ops->recv(socket_of(f), &m);
    if (out_flags != NULL) {
        *out_flags = m.out_flags;
    }
    return n;
}

static void stream_joins_and_ends(void **state)
{
    char buf[16] = {0};

    pair(SOCK_STREAM, O_NONBLOCK);
    assert_int_equal(read_file(a, buf, 4), -EAGAIN);
    assert_int_equal(file_poll(a, NULL), POLLOUT | POLLWRNORM | POLLWRBAND);
    assert_int_equal(write_file(b, "abc", 3), 3);
    assert_int_equal(write_file(b, "def", 3), 3);
    assert_int_equal(read_file(a, buf, 2), 2);
    assert_int_equal(read_file(a, buf + 2, 14), 4);
    assert_string_equal(buf, "abcdef");
    assert_int_equal(socket_of(b)->ops->shutdown(socket_of(b), SHUT_WR), 0);
    assert_int_equal(read_file(a, buf, 4), 0);
    assert_int_equal(write_file(b, "x", 1), -EPIPE);
    assert_int_equal(write_file(a, "x", 1), 1);
    assert_int_equal(file_poll(a, NULL),
                     POLLIN | POLLRDNORM | POLLRDHUP | POLLOUT | POLLWRNORM | POLLWRBAND);
    file_put(b); /* with a byte unread: reset */
    assert_int_equal(read_file(a, buf, 4), -ECONNRESET);
    assert_int_equal(read_file(a, buf, 4), 0);
    assert_int_equal(write_file(a, "x", 1), -EPIPE);
    file_put(a);
}

static void stream_fills_up(void **state)
{
    static char chunk[65536];
    size_t sent = 0;
    ssize_t n;

    pair(SOCK_STREAM, O_NONBLOCK);
    while ((n = write_file(a, chunk, sizeof(chunk))) > 0) {
        sent += (size_t)n;
    }
    assert_int_equal(n, -EAGAIN);
    assert_true(sent > 150000 && sent < 300000);
    assert_int_equal(file_poll(a, NULL) & POLLOUT, 0);
    while ((n = read_file(b, chunk, sizeof(chunk))) > 0) {
        sent -= (size_t)n;
    }
    assert_int_equal(sent, 0);
    assert_true((file_poll(a, NULL) & POLLOUT) != 0);
    drop();
}

static void datagrams_keep_their_ends(void **state)
{
    char buf[16];
    struct scm scm = {0};
    u32 flags;

    pair(SOCK_DGRAM, O_NONBLOCK);
    assert_int_equal(write_file(a, "one", 3), 3);
    assert_int_equal(write_file(a, "", 0), 0);
    assert_int_equal(write_file(a, "three", 5), 5);
    assert_int_equal(recv_files(b, buf, 16, MSG_PEEK, &scm, NULL), 3);
    assert_int_equal(recv_files(b, buf, 2, MSG_TRUNC, &scm, &flags), 3);
    assert_int_equal(flags, MSG_TRUNC);
    assert_int_equal(recv_files(b, buf, 16, 0, &scm, NULL), 0);
    assert_int_equal(recv_files(b, buf, 16, 0, &scm, NULL), 5);
    assert_int_equal(recv_files(b, buf, 16, 0, &scm, NULL), -EAGAIN);
    file_put(b);
    assert_int_equal(write_file(a, "x", 1), -ECONNREFUSED);
    assert_int_equal(write_file(a, "x", 1), -ENOTCONN);
    file_put(a);
}

static void listeners_and_names(void **state)
{
    struct file *l = sock(SOCK_STREAM), *c = sock(SOCK_STREAM), *s, *d = sock(SOCK_DGRAM);
    struct sock_addr name;
    char buf[8];

    assert_int_equal(do_connect(c, "/s", 3), -ENOENT);
    assert_int_equal(do_bind(l, "/s", 3), 0);
    assert_int_equal(do_bind(l, "/t", 3), -EINVAL);
    assert_int_equal(do_bind(d, "/s", 3), -EADDRINUSE);
    assert_int_equal(stat_of("/s", 0).mode, S_IFSOCK | 0755);
    assert_int_equal(do_connect(c, "/s", 3), -ECONNREFUSED);
    assert_int_equal(do_connect(d, "/s", 3), -EPROTOTYPE);
    assert_int_equal(socket_of(l)->ops->listen(socket_of(l), 0), 0);
    assert_int_equal(PTR_ERR(do_accept(l)), -EAGAIN);
    assert_int_equal(do_connect(c, "/s", 3), 0);
    assert_int_equal(do_connect(c, "/s", 3), -EISCONN);
    assert_int_equal(write_file(c, "early", 5), 5);
    assert_true((file_poll(l, NULL) & POLLIN) != 0);
    s = do_accept(l);
    assert_false(IS_ERR(s));
    assert_int_equal(read_file(s, buf, 8), 5);
    assert_int_equal(socket_of(c)->ops->getname(socket_of(c), &name, true), 0);
    assert_int_equal(name.len, 2 + 3);
    assert_int_equal(socket_of(s)->ops->getname(socket_of(s), &name, true), 0);
    assert_int_equal(name.len, 2);
    file_put(c);
    c = sock(SOCK_STREAM);
    assert_int_equal(do_connect(c, "/s", 3), 0);
    file_put(l); /* with an embryo */
    assert_int_equal(read_file(c, buf, 8), -ECONNRESET);
    file_put(c);
    c = sock(SOCK_STREAM);
    assert_int_equal(do_connect(c, "/s", 3), -ECONNREFUSED);
    file_put(c);
    file_put(s);
    file_put(d);
}

static void abstract_names(void **state)
{
    struct file *l = sock(SOCK_DGRAM), *c = sock(SOCK_DGRAM);
    struct sock_addr name;

    assert_int_equal(do_bind(l, "\0x", 2), 0);
    assert_int_equal(do_bind(c, "\0x", 2), -EADDRINUSE);
    assert_int_equal(do_connect(c, "\0y", 2), -ECONNREFUSED);
    assert_int_equal(do_connect(c, "\0x", 2), 0);
    assert_int_equal(do_bind(c, "", 0), 0);
    assert_int_equal(socket_of(c)->ops->getname(socket_of(c), &name, false), 0);
    assert_int_equal(name.len, 8);
    for (int i = 0; i < 11; i++) {
        assert_int_equal(write_file(c, "x", 1), 1);
    }
    assert_int_equal(write_file(c, "x", 1), -EAGAIN);
    assert_int_equal(file_poll(c, NULL) & POLLOUT, 0);
    file_put(l);
    file_put(c);
}

/* ---- descriptors ---- */

static void descriptors_travel(void **state)
{
    struct file *f = must_open("/", O_RDONLY | O_DIRECTORY, 0);
    struct scm scm = {0};
    char buf[8];

    pair(SOCK_STREAM, O_NONBLOCK);
    assert_int_equal(write_file(a, "12", 2), 2);
    assert_int_equal(send_files(a, "3", &f, 1), 1);
    assert_int_equal(write_file(a, "4", 1), 1);
    assert_int_equal(recv_files(b, buf, 8, MSG_PEEK, &scm, NULL), 3);
    assert_int_equal(scm.files->count, 1);
    scm_files_put(scm.files);
    scm = (struct scm){0};
    assert_int_equal(recv_files(b, buf, 8, 0, &scm, NULL), 3); /* ends where the files were */
    assert_int_equal(scm.files->count, 1);
    assert_ptr_equal(scm.files->files[0], f);
    scm_files_put(scm.files);
    assert_int_equal(send_files(a, "lost", &f, 1), 4);
    file_put(f);
    drop();
}

static void cycles_are_collected(void **state)
{
    struct file *files[2];

    pair(SOCK_STREAM, O_NONBLOCK);
    files[0] = a;
    files[1] = b;
    assert_int_equal(send_files(a, "x", files, 2), 1);
    assert_int_equal(send_files(b, "x", files, 2), 1);
    drop();
    unix_gc(); /* as the next close of any socket does; fixture_stop proves that nothing is left */
}

static void a_listener_in_its_own_embryo_is_collected(void **state)
{
    struct file *l = sock(SOCK_STREAM), *c = sock(SOCK_STREAM);

    assert_int_equal(do_bind(l, "\0l", 2), 0);
    assert_int_equal(socket_of(l)->ops->listen(socket_of(l), 5), 0);
    assert_int_equal(do_connect(c, "\0l", 2), 0);
    assert_int_equal(send_files(c, "x", &l, 1), 1);
    file_put(l);
    file_put(c);
    unix_gc();
}

static void reachable_flights_stay(void **state)
{
    struct file *outer_a, *outer_b;
    struct scm scm = {0};
    char buf[8];

    pair(SOCK_STREAM, O_NONBLOCK);
    outer_a = a;
    outer_b = b;
    pair(SOCK_STREAM, O_NONBLOCK);
    assert_int_equal(write_file(a, "inner", 5), 5);
    assert_int_equal(send_files(outer_a, "x", &b, 1), 1);
    file_put(b);
    unix_gc();
    assert_int_equal(recv_files(outer_b, buf, 8, 0, &scm, NULL), 1);
    assert_int_equal(read_file(scm.files->files[0], buf, 8), 5);
    scm_files_put(scm.files);
    file_put(a);
    file_put(outer_a);
    file_put(outer_b);
}

static void long_chains_need_no_stack(void **state)
{
    struct file *prev_a, *prev_b;

    pair(SOCK_STREAM, O_NONBLOCK);
    for (int i = 0; i < 2000; i++) {
        struct file *ends[2];

        prev_a = a;
        prev_b = b;
        ends[0] = prev_a;
        ends[1] = prev_b;
        pair(SOCK_STREAM, O_NONBLOCK);
        assert_int_equal(send_files(a, "x", ends, 2), 1);
        file_put(prev_a);
        file_put(prev_b);
    }
    drop();
}

/* ---- waiting ---- */

#define TOTAL (4UL << 20)

static void writer(void)
{
    static char chunk[9000];
    size_t done = 0;

    while (done < TOTAL) {
        size_t n = min(sizeof(chunk), TOTAL - done);

        CHECK(write_file(a, chunk, n) == (ssize_t)n, "write");
        done += n;
    }
    file_put(a);
}

static void reader(void)
{
    static char chunk[7000];
    size_t done = 0;
    ssize_t n;

    while ((n = read_file(b, chunk, sizeof(chunk))) > 0) {
        done += (size_t)n;
    }
    CHECK(n == 0 && done == TOTAL, "ended with %ld after %lu", n, done);
    file_put(b);
}

static void streams_block(void **state)
{
    for (unsigned workers = 1; workers <= 2; workers++) {
        pair(SOCK_STREAM, 0);
        RUN_FIBERS(workers, writer, reader);
    }
}

static void dgram_writer(void)
{
    for (int i = 0; i < 1000; i++) {
        CHECK(write_file(a, &i, sizeof(i)) == sizeof(i), "write");
    }
}

static void dgram_reader(void)
{
    for (int i = 0; i < 1000; i++) {
        int got;

        CHECK(read_file(b, &got, sizeof(got)) == sizeof(got) && got == i, "read %d", i);
    }
}

static void datagrams_block(void **state)
{
    pair(SOCK_DGRAM, 0);
    RUN_FIBERS(2, dgram_writer, dgram_reader);
    drop();
    pair(SOCK_SEQPACKET, 0);
    RUN_FIBERS(2, dgram_reader, dgram_writer);
    drop();
}

static void options_as_linux(void **state)
{
    struct socket *s;
    int v = 10000;
    u32 len = sizeof(v);

    pair(SOCK_STREAM, 0);
    s = socket_of(a);
    assert_int_equal(socket_setsockopt(s, SOL_SOCKET, SO_SNDBUF, &v, sizeof(v), fix.ctx.cred), 0);
    assert_int_equal(socket_getsockopt(s, SOL_SOCKET, SO_SNDBUF, &v, &len), 0);
    assert_int_equal(v, 20000);
    assert_int_equal(socket_getsockopt(s, SOL_SOCKET, SO_TYPE, &v, &len), 0);
    assert_int_equal(v, SOCK_STREAM);
    assert_int_equal(socket_setsockopt(s, SOL_SOCKET, SO_TYPE, &v, sizeof(v), fix.ctx.cred),
                     -ENOPROTOOPT);
    assert_int_equal(socket_setsockopt(s, SOL_SOCKET, SO_SNDBUF, &v, 2, fix.ctx.cred), -EINVAL);
    assert_int_equal(socket_setsockopt(s, 6, 1, &v, 4, fix.ctx.cred), -EOPNOTSUPP);
    assert_int_equal(PTR_ERR(socket_create(AF_INET, SOCK_STREAM, 0, 0, fix.ctx.cred)),
                     -EAFNOSUPPORT);
    assert_int_equal(PTR_ERR(socket_create(AF_UNIX, SOCK_RDM, 0, 0, fix.ctx.cred)),
                     -ESOCKTNOSUPPORT);
    assert_int_equal(PTR_ERR(socket_create(AF_UNIX, SOCK_STREAM, 9, 0, fix.ctx.cred)),
                     -EPROTONOSUPPORT);
    drop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        vfs_unit_test(stream_joins_and_ends),
        vfs_unit_test(stream_fills_up),
        vfs_unit_test(datagrams_keep_their_ends),
        vfs_unit_test(listeners_and_names),
        vfs_unit_test(abstract_names),
        vfs_unit_test(descriptors_travel),
        vfs_unit_test(cycles_are_collected),
        vfs_unit_test(a_listener_in_its_own_embryo_is_collected),
        vfs_unit_test(reachable_flights_stay),
        vfs_unit_test(long_chains_need_no_stack),
        vfs_unit_test(streams_block),
        vfs_unit_test(datagrams_block),
        vfs_unit_test(options_as_linux),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
