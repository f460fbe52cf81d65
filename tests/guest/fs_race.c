/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that work on the same names, descriptors and content at once: nothing may crash, hang, or
 * give an answer that no order of the calls could give. */
#include "tests/guest/fs.h"

#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <time.h>

#define THREADS 4
#define MILLIS  700

static volatile bool stop;
static int shared_fd;

static void run_threads(void *(*fn)(void *))
{
    pthread_t t[THREADS];

    stop = false;
    for (long i = 0; i < THREADS; i++) {
        EXPECT_EQ(pthread_create(&t[i], NULL, fn, (void *)i), 0);
    }
    usleep(MILLIS * 1000);
    stop = true;
    for (int i = 0; i < THREADS; i++) {
        EXPECT_EQ(pthread_join(t[i], NULL), 0);
    }
}

/* a/b, d1/x... one of a few names, so that the threads meet. */
static const char *pick(unsigned *seed, char *buf)
{
    static const char *const names[] = {"a",     "a/b", "a/b/c", "d", "d/x",
                                        "d/x/y", "a/d", "d/a",   "f"};

    strcpy(buf, names[(unsigned)rand_r(seed) % (sizeof(names) / sizeof(names[0]))]);
    return buf;
}

static void list(const char *name)
{
    DIR *d = opendir(name);

    if (d != NULL) {
        while (readdir(d) != NULL) {
        }
        closedir(d);
    }
}

static void one_op(unsigned *seed)
{
    char from[32], to[32];
    struct stat st;
    int fd;

    pick(seed, from);
    pick(seed, to);
    switch (rand_r(seed) % 10) {
    case 0:
    case 1:
        (void)!mkdir(from, 0755);
        break;
    case 2:
        (void)!rmdir(from);
        break;
    case 3:
        fd = open(from, O_CREAT | O_RDWR, 0644);
        if (fd >= 0) {
            EXPECT_EQ(write(fd, "x", 1), 1);
            EXPECT_EQ(close(fd), 0);
        }
        break;
    case 4:
        (void)!unlink(from);
        break;
    case 5:
    case 6:
        (void)!rename(from, to);
        break;
    case 7:
        (void)!renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE);
        break;
    case 8:
        list(from);
        (void)!link(from, to);
        break;
    default:
        (void)!stat(from, &st);
        break;
    }
}

static void *names_thread(void *arg)
{
    unsigned seed = (unsigned)(long)arg + 1;

    while (!stop) {
        for (int i = 0; i < 20; i++) {
            one_op(&seed);
        }
    }
    return NULL;
}

/* Every directory is still reached once, and its links add up. */
static void check_tree(const char *name, int depth)
{
    char inner[4096];
    struct dirent *e;
    struct stat st;
    nlink_t dirs = 2;
    DIR *d = opendir(name);

    EXPECT(d != NULL && depth < 1500);
    while ((e = readdir(d)) != NULL) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) {
            continue;
        }
        (void)snprintf(inner, sizeof(inner), "%s/%s", name, e->d_name);
        EXPECT_EQ(lstat(inner, &st), 0);
        if (S_ISDIR(st.st_mode)) {
            dirs++;
            check_tree(inner, depth + 1);
        }
    }
    closedir(d);
    EXPECT_EQ(lstat(name, &st), 0);
    if (st.st_nlink != 1) { /* some file systems do not count */
        EXPECT_EQ(st.st_nlink, dirs);
    }
}

TEST(names_change_under_each_other)
{
    enter_temp_dir();
    run_threads(names_thread);
    check_tree(".", 0);
}

static void *fds_thread(void *arg)
{
    unsigned seed = (unsigned)(long)arg + 1;
    char c;

    while (!stop) {
        int fd = 50 + rand_r(&seed) % 4;

        switch (rand_r(&seed) % 5) {
        case 0:
            (void)!dup2(shared_fd, fd);
            break;
        case 1:
            close(fd);
            break;
        case 2: {
            int p[2];

            EXPECT_EQ(pipe(p), 0);
            (void)!dup2(p[0], fd);
            close(p[0]);
            close(p[1]);
            break;
        }
        default: {
            ssize_t n = pread(fd, &c, 1, 0);

            EXPECT(n == 1 ? c == 'q' : (n == -1 && (errno == EBADF || errno == ESPIPE)));
            break;
        }
        }
    }
    return NULL;
}

TEST(descriptors_change_under_each_other)
{
    enter_temp_dir();
    shared_fd = open("f", O_CREAT | O_RDWR, 0644);
    EXPECT_EQ(write(shared_fd, "q", 1), 1);
    run_threads(fds_thread);
}

static void *content_thread(void *arg)
{
    unsigned seed = (unsigned)(long)arg + 1;
    unsigned char buf[20000];

    while (!stop) {
        off_t at = rand_r(&seed) % 100000;
        ssize_t n;

        switch (rand_r(&seed) % 4) {
        case 0:
            EXPECT_EQ(ftruncate(shared_fd, at), 0);
            break;
        case 1:
            memset(buf, 0xab, sizeof(buf));
            EXPECT_EQ(pwrite(shared_fd, buf, sizeof(buf), at), sizeof(buf));
            break;
        case 2:
            (void)!fallocate(shared_fd, 3 /* punch, keep size */, at, 10000);
            break;
        default:
            n = pread(shared_fd, buf, sizeof(buf), at);
            EXPECT(n >= 0);
            for (ssize_t i = 0; i < n; i++) {
                EXPECT(buf[i] == 0 || buf[i] == 0xab);
            }
            break;
        }
    }
    return NULL;
}

TEST(content_changes_under_readers)
{
    enter_temp_dir();
    shared_fd = open("f", O_CREAT | O_RDWR, 0644);
    run_threads(content_thread);
}

static void *append_thread(void *arg)
{
    int fd = open("f", O_WRONLY | O_APPEND);

    for (int i = 0; i < 500; i++) {
        EXPECT_EQ(write(fd, "0123456789", 10), 10);
    }
    return NULL;
}

TEST(appends_do_not_overlap)
{
    char buf[10];
    int fd;

    enter_temp_dir();
    fd = open("f", O_CREAT | O_RDWR, 0644);
    run_threads(append_thread);
    EXPECT_EQ(lseek(fd, 0, SEEK_END), THREADS * 500 * 10);
    EXPECT_EQ(lseek(fd, 0, SEEK_SET), 0);
    for (int i = 0; i < THREADS * 500; i++) {
        EXPECT_EQ(read(fd, buf, 10), 10);
        EXPECT_EQ(memcmp(buf, "0123456789", 10), 0);
    }
}

static void *exclusive_thread(void *arg)
{
    long made = 0;
    char name[16];

    for (int i = 0; i < 300; i++) {
        int fd;

        (void)snprintf(name, sizeof(name), "e%d", i);
        fd = open(name, O_CREAT | O_EXCL | O_RDWR, 0644);
        EXPECT(fd >= 0 || errno == EEXIST);
        if (fd >= 0) {
            made++;
            close(fd);
        }
    }
    __atomic_fetch_add(&shared_fd, made, __ATOMIC_RELAXED);
    return NULL;
}

TEST(exclusive_creation_succeeds_once)
{
    enter_temp_dir();
    shared_fd = 0;
    run_threads(exclusive_thread);
    EXPECT_EQ(shared_fd, 300);
}

static void *mounts_thread(void *arg)
{
    unsigned seed = (unsigned)(long)arg + 1;
    struct stat st;

    while (!stop) {
        switch (rand_r(&seed) % 5) {
        case 0:
            (void)!mount("none", "m", "tmpfs", 0, NULL);
            break;
        case 1:
            (void)!umount2("m", MNT_DETACH);
            break;
        case 2:
            (void)!mount("m", "n", NULL, MS_BIND, NULL);
            (void)!umount2("n", MNT_DETACH);
            break;
        default:
            EXPECT(stat("m/../m/..", &st) == 0 || errno == ENOENT); /* it was detached */
            (void)!close(open("m/f", O_CREAT | O_RDWR, 0644));
            break;
        }
    }
    return NULL;
}

TEST(mounts_change_under_walkers)
{
    if (unshare(0x20000 /* CLONE_NEWNS */) != 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
        SKIP("no right to mount");
    }
    enter_temp_dir();
    EXPECT_EQ(mkdir("m", 0755), 0);
    EXPECT_EQ(mkdir("n", 0755), 0);
    run_threads(mounts_thread);
}
