/* SPDX-License-Identifier: Apache-2.0 */
/* Memory changed by several threads at once: no page is lost, none shows another's bytes. */
#include "tests/guest/guest.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define PAGE    4096L
#define RW      (PROT_READ | PROT_WRITE)
#define ANON    (MAP_PRIVATE | MAP_ANONYMOUS)
#define THREADS 4
#define ROUNDS  150

static void run_threads(void *(*fn)(void *arg))
{
    pthread_t t[THREADS];

    for (long i = 0; i < THREADS; i++) {
        EXPECT_EQ(pthread_create(&t[i], NULL, fn, (void *)(i + 1)), 0);
    }
    for (long i = 0; i < THREADS; i++) {
        EXPECT_EQ(pthread_join(t[i], NULL), 0);
    }
}

/* Map, fill, check, protect, unmap: with a value of one's own. */
static void *map_and_unmap(void *arg)
{
    char value = (char)(intptr_t)arg;

    for (int i = 0; i < ROUNDS; i++) {
        long n = 1 + i % 20;
        char *p = mmap(NULL, (size_t)(n * PAGE), RW, ANON, -1, 0);

        EXPECT(p != MAP_FAILED);
        for (long j = 0; j < n; j++) {
            EXPECT_EQ(p[j * PAGE], 0);
            p[j * PAGE] = value;
        }
        EXPECT_EQ(mprotect(p, PAGE, PROT_READ), 0);
        EXPECT_EQ(p[0], value);
        EXPECT_EQ(mprotect(p, PAGE, RW), 0);
        p = mremap(p, (size_t)(n * PAGE), (size_t)((n + 4) * PAGE), MREMAP_MAYMOVE);
        EXPECT(p != MAP_FAILED);
        EXPECT_EQ(p[(n - 1) * PAGE], value);
        EXPECT_EQ(p[n * PAGE], 0);
        EXPECT_EQ(munmap(p, (size_t)((n + 4) * PAGE)), 0);
    }
    return NULL;
}

TEST(threads_map_and_unmap)
{
    run_threads(map_and_unmap);
}

static char *shared_area;
static volatile int stop;

/* Everybody counts in words of his own, spread over the same pages. */
static void *count_in_place(void *arg)
{
    long me = (long)arg;

    for (int i = 0; i < 20000; i++) {
        int *word = (int *)(void *)(shared_area + (i % 64) * PAGE + me * 64);

        (*word)++;
    }
    return NULL;
}

static void *fork_meanwhile(void *arg)
{
    (void)arg;
    while (!stop) {
        pid_t pid = fork();

        EXPECT(pid >= 0);
        if (pid == 0) {
            _exit(0);
        }
        EXPECT_EQ(waitpid(pid, NULL, 0), pid);
    }
    return NULL;
}

TEST(no_write_is_lost_while_another_thread_forks)
{
    pthread_t forker;
    long sum = 0;

    shared_area = mmap(NULL, 64 * PAGE, RW, ANON, -1, 0);
    EXPECT(shared_area != MAP_FAILED);
    EXPECT_EQ(pthread_create(&forker, NULL, fork_meanwhile, NULL), 0);
    run_threads(count_in_place);
    stop = 1;
    EXPECT_EQ(pthread_join(forker, NULL), 0);
    for (long page = 0; page < 64; page++) {
        for (long me = 1; me <= THREADS; me++) {
            sum += *(int *)(void *)(shared_area + page * PAGE + me * 64);
        }
    }
    EXPECT_EQ(sum, THREADS * 20000L);
}

/* A pipe carries bytes out of and into memory that another thread maps away and back. */
static void *remap_meanwhile(void *arg)
{
    (void)arg;
    while (!stop) {
        EXPECT(mmap(shared_area, 16 * PAGE, RW, ANON | MAP_FIXED, -1, 0) == shared_area);
        EXPECT_EQ(munmap(shared_area + 4 * PAGE, 4 * PAGE), 0);
        EXPECT_EQ(mprotect(shared_area, PAGE, PROT_NONE), 0);
    }
    return NULL;
}

TEST(system_calls_on_memory_that_vanishes)
{
    int p[2];
    pthread_t t;

    shared_area = mmap(NULL, 16 * PAGE, RW, ANON, -1, 0);
    EXPECT_EQ(pipe(p), 0);
    stop = 0;
    EXPECT_EQ(pthread_create(&t, NULL, remap_meanwhile, NULL), 0);
    for (int i = 0; i < 400; i++) {
        ssize_t n = write(p[1], shared_area + (i % 12) * PAGE + 100, 2 * PAGE);

        EXPECT(n > 0 || errno == EFAULT);
        while (n > 0) {
            ssize_t got = read(p[0], shared_area + (i % 7) * PAGE, (size_t)n);

            if (got < 0) { /* nothing was taken out: into safe memory then */
                char buf[256];

                EXPECT_EQ(errno, EFAULT);
                got = read(p[0], buf, (size_t)n < sizeof(buf) ? (size_t)n : sizeof(buf));
                EXPECT(got > 0);
            }
            n -= got;
        }
    }
    stop = 1;
    EXPECT_EQ(pthread_join(t, NULL), 0);
}

static void *touch_lazily(void *arg)
{
    char *p = shared_area;
    long me = (long)arg;

    for (long i = 0; i < 2000; i++) {
        p[i * 16 * PAGE + me] = (char)me;
    }
    return NULL;
}

TEST(threads_fault_the_same_pages)
{
    shared_area = mmap(NULL, 3L << 30, RW, ANON | MAP_NORESERVE, -1, 0);
    EXPECT(shared_area != MAP_FAILED);
    run_threads(touch_lazily);
    for (long i = 0; i < 2000; i++) {
        for (long me = 1; me <= THREADS; me++) {
            EXPECT_EQ(shared_area[i * 16 * PAGE + me], me);
        }
    }
}
