/* SPDX-License-Identifier: Apache-2.0 */
/* Memory and others: fork, shared mappings, mapped files, memfd_create(2) and its seals,
 * process_vm_readv(2). */
#include "tests/guest/guest.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define PAGE 4096L
#define RW   (PROT_READ | PROT_WRITE)

static char *map(long n, int prot, int flags, int fd)
{
    char *p = mmap(NULL, (size_t)(n * PAGE), prot, flags, fd, 0);

    EXPECT(p != MAP_FAILED);
    return p;
}

static void read_it(void *p)
{
    (void)*(volatile char *)p;
}

/* ---- fork ---- */

static void change_all(void *arg)
{
    char *p = arg;

    for (long i = 0; i < 100; i++) {
        EXPECT_EQ(p[i * PAGE], (char)i);
        p[i * PAGE] = 99;
    }
}

TEST(fork_copies_private_memory)
{
    char *p = map(100, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1);

    for (long i = 0; i < 100; i++) {
        p[i * PAGE] = (char)i;
    }
    EXPECT_EQ(guest_in_child(change_all, p), 0);
    for (long i = 0; i < 100; i++) {
        EXPECT_EQ(p[i * PAGE], (char)i);
    }
}

TEST(the_child_does_not_see_later_writes)
{
    char *p = map(20, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    int go[2], status;
    char c;

    EXPECT_EQ(pipe(go), 0);
    p[5 * PAGE] = 1;
    pid_t pid = fork();

    EXPECT(pid >= 0);
    if (pid == 0) {
        EXPECT_EQ(read(go[0], &c, 1), 1);
        _exit(p[5 * PAGE] == 1 && p[6 * PAGE] == 0 ? 0 : 1);
    }
    p[5 * PAGE] = 2;
    p[6 * PAGE] = 3;
    EXPECT_EQ(write(go[1], "x", 1), 1);
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
}

static void set_seven(void *arg)
{
    *(char *)arg = 7;
}

TEST(shared_anonymous_memory_is_shared)
{
    char *p = map(3, RW, MAP_SHARED | MAP_ANONYMOUS, -1);

    EXPECT_EQ(guest_in_child(set_seven, p + 2 * PAGE), 0);
    EXPECT_EQ(p[2 * PAGE], 7);
    EXPECT_EQ(p[0], 0);
}

static void generations(void *arg)
{
    int *counter = arg;
    static int level;

    (*counter)++;
    if (++level < 5) {
        EXPECT_EQ(guest_in_child(generations, arg), 0);
    }
}

TEST(five_generations_share)
{
    int *counter = (int *)(void *)map(1, RW, MAP_SHARED | MAP_ANONYMOUS, -1);

    EXPECT_EQ(guest_in_child(generations, counter), 0);
    EXPECT_EQ(*counter, 5);
}

/* ---- files ---- */

TEST(a_shared_mapping_and_write_see_each_other)
{
    int fd = guest_temp_file();
    char buf[4], *p;

    EXPECT_EQ(ftruncate(fd, 2 * PAGE), 0);
    p = map(2, RW, MAP_SHARED, fd);
    memcpy(p + 10, "abc", 3);
    EXPECT_EQ(pread(fd, buf, 3, 10), 3);
    EXPECT_EQ(memcmp(buf, "abc", 3), 0);
    EXPECT_EQ(pwrite(fd, "xyz", 3, PAGE + 5), 3);
    EXPECT_EQ(memcmp(p + PAGE + 5, "xyz", 3), 0);
    EXPECT_EQ(msync(p, 2 * PAGE, MS_SYNC), 0);
}

TEST(a_private_mapping_leaves_the_file_alone)
{
    int fd = guest_temp_file();
    char c = 'x', *p;

    EXPECT_EQ(pwrite(fd, "0123456789", 10, 0), 10);
    p = map(1, RW, MAP_PRIVATE, fd);
    EXPECT_EQ(p[3], '3');
    EXPECT_EQ(p[10], 0);
    p[3] = 'w';
    EXPECT_EQ(pread(fd, &c, 1, 3), 1);
    EXPECT_EQ(c, '3');
    EXPECT_EQ(p[3], 'w');
}

TEST(pages_behind_the_end_are_sigbus)
{
    int fd = guest_temp_file();
    char *p;

    EXPECT_EQ(ftruncate(fd, PAGE + 1), 0);
    p = map(4, RW, MAP_SHARED, fd);
    EXPECT_EQ(guest_signal_of(read_it, p + PAGE + 100), 0);
    EXPECT_EQ(guest_signal_of(read_it, p + 2 * PAGE), SIGBUS);
    EXPECT_EQ(ftruncate(fd, 3 * PAGE), 0); /* it grew: now it is there */
    EXPECT_EQ(guest_signal_of(read_it, p + 2 * PAGE), 0);
    EXPECT_EQ(p[2 * PAGE], 0);
}

TEST(truncation_takes_mapped_pages_away)
{
    int fd = guest_temp_file();
    char *s, *p;

    EXPECT_EQ(ftruncate(fd, 4 * PAGE), 0);
    s = map(4, RW, MAP_SHARED, fd);
    p = map(4, RW, MAP_PRIVATE, fd);
    s[3 * PAGE] = 1;
    s[2 * PAGE + 50] = 9;
    p[3 * PAGE] = 2; /* even the private copy goes */
    EXPECT_EQ(ftruncate(fd, 2 * PAGE + 10), 0);
    EXPECT_EQ(guest_signal_of(read_it, s + 3 * PAGE), SIGBUS);
    EXPECT_EQ(guest_signal_of(read_it, p + 3 * PAGE), SIGBUS);
    EXPECT_EQ(s[2 * PAGE + 50], 0); /* the rest of the last page is cleared */
    EXPECT_EQ(s[0], 0);
}

TEST(system_calls_meet_the_end_of_a_mapped_file)
{
    int fd = guest_temp_file(), null = open("/dev/null", O_WRONLY), pipes[2];
    char *p;

    EXPECT_EQ(ftruncate(fd, PAGE), 0);
    p = map(2, RW, MAP_SHARED, fd);
    EXPECT(null >= 0);
    EXPECT_EQ(pipe(pipes), 0);
    CALL_FAILS(write(pipes[1], p + PAGE, 10), EFAULT);
    EXPECT_EQ(write(pipes[1], p + PAGE - 10, 10), 10);
}

TEST(a_program_maps_itself)
{
    int fd = open("/proc/self/exe", O_RDONLY);
    char *p = map(1, PROT_READ, MAP_PRIVATE, fd), *s = map(1, PROT_READ, MAP_SHARED, fd);

    EXPECT_EQ(memcmp(p, "\177ELF", 4), 0);
    EXPECT_EQ(memcmp(s, "\177ELF", 4), 0);
    EXPECT_EQ(mprotect(p, PAGE, RW), 0);
    p[0] = 1;
    EXPECT_EQ(s[0], 0x7f);
}

TEST(a_mapping_outlives_its_descriptor)
{
    int fd = guest_temp_file();
    char *p;

    EXPECT_EQ(pwrite(fd, "hello", 5, 0), 5);
    p = map(1, RW, MAP_SHARED, fd);
    EXPECT_EQ(close(fd), 0);
    EXPECT_EQ(memcmp(p, "hello", 5), 0);
    p[0] = 'j';
    EXPECT_EQ(p[0], 'j');
}

/* ---- memfd ---- */

TEST(memfd_is_a_file_of_memory)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    char *p;

    EXPECT(fd >= 0);
    EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    EXPECT_EQ(ftruncate(fd, 3 * PAGE), 0);
    p = map(3, RW, MAP_SHARED, fd);
    p[2 * PAGE] = 4;
    EXPECT_EQ(guest_in_child(set_seven, p), 0);
    EXPECT_EQ(p[0], 7);
    CALL_FAILS(memfd_create("x", 0x8000), EINVAL);
    CALL_FAILS(memfd_create((char *)8, 0), EFAULT);
    char name[300] = {0};

    memset(name, 'n', 250);
    CALL_FAILS(memfd_create(name, 0), EINVAL);
}

TEST(seals_hold)
{
    int fd = memfd_create("test", MFD_ALLOW_SEALING), plain = memfd_create("plain", 0);
    char *p;

    EXPECT_EQ(ftruncate(fd, 2 * PAGE), 0);
    EXPECT_EQ(fcntl(fd, F_GET_SEALS), 0);
    EXPECT_EQ(fcntl(plain, F_GET_SEALS), F_SEAL_SEAL);
    EXPECT_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    CALL_FAILS(ftruncate(fd, PAGE), EPERM);
    CALL_FAILS(ftruncate(fd, 3 * PAGE), EPERM);
    p = map(2, RW, MAP_SHARED, fd);
    CALL_FAILS(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EBUSY);
    EXPECT_EQ(munmap(p, 2 * PAGE), 0);
    EXPECT_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
    CALL_FAILS(write(fd, "x", 1), EPERM);
    CALL_FAILS(mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0), EPERM);
    p = map(1, RW, MAP_PRIVATE, fd);
    p[0] = 1;
    EXPECT_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL), 0);
    CALL_FAILS(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), EPERM);
}

TEST(future_write_keeps_what_is_mapped)
{
    int fd = memfd_create("test", MFD_ALLOW_SEALING);
    char *p;

    EXPECT_EQ(ftruncate(fd, 3 * PAGE), 0);
    p = map(3, RW, MAP_SHARED, fd);
    EXPECT_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0);
    CALL_FAILS(mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0), EPERM);
    p[0] = 1;
    EXPECT_EQ(mprotect(p + PAGE, PAGE, PROT_READ), 0); /* splits, and goes through fork */
    EXPECT_EQ(guest_in_child(set_seven, p), 0);
    EXPECT_EQ(p[0], 7);
}

/* ---- process_vm_* ---- */

struct peer {
    pid_t pid;
    int end;
};

static struct peer peer_start(void)
{
    int p[2];
    struct peer peer;
    char c;

    EXPECT_EQ(pipe(p), 0);
    fflush(stdout);
    peer.pid = fork();
    EXPECT(peer.pid >= 0);
    if (peer.pid == 0) {
        close(p[1]);
        _exit((int)read(p[0], &c, 1));
    }
    close(p[0]);
    peer.end = p[1];
    return peer;
}

static void peer_stop(struct peer peer)
{
    close(peer.end);
    EXPECT_EQ(waitpid(peer.pid, NULL, 0), peer.pid);
}

TEST(process_vm_moves_bytes_between_processes)
{
    char *p = map(3, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1), buf[2 * PAGE];
    struct iovec local[2] = {{buf, 100}, {buf + 100, PAGE}}, remote = {p + PAGE - 50, PAGE + 100};
    struct peer peer;

    memset(p, 'p', 3 * PAGE);
    peer = peer_start();
    memset(p, 'q', 3 * PAGE);
    EXPECT_EQ(process_vm_readv(peer.pid, local, 2, &remote, 1, 0), PAGE + 100);
    EXPECT_EQ(buf[0], 'p');
    EXPECT_EQ(buf[PAGE + 99], 'p');
    memset(buf, 'r', sizeof(buf));
    EXPECT_EQ(process_vm_writev(peer.pid, local, 1, &remote, 1, 0), 100);
    memset(buf, 0, sizeof(buf));
    EXPECT_EQ(process_vm_readv(peer.pid, local, 2, &remote, 1, 0), PAGE + 100);
    EXPECT_EQ(buf[99], 'r');
    EXPECT_EQ(buf[100], 'p');
    EXPECT_EQ(p[PAGE], 'q');
    peer_stop(peer);
}

TEST(process_vm_errors)
{
    char buf[16];
    struct iovec local = {buf, 16}, remote = {(void *)8, 16}, many = {buf, SIZE_MAX};
    struct peer peer = peer_start();

    CALL_FAILS(process_vm_readv(peer.pid, &local, 1, &remote, 1, 0), EFAULT);
    CALL_FAILS(process_vm_readv(peer.pid, &local, 1, &local, 1, 1), EINVAL);
    CALL_FAILS(process_vm_readv(peer.pid, &local, IOV_MAX + 1, &local, 1, 0), EINVAL);
    CALL_FAILS(process_vm_readv(peer.pid, &many, 1, &local, 1, 0), EINVAL);
    CALL_FAILS(process_vm_readv(peer.pid, (void *)8, 1, &local, 1, 0), EFAULT);
    peer_stop(peer);
    CALL_FAILS(process_vm_readv(peer.pid, &local, 1, &local, 1, 0), ESRCH);
}
