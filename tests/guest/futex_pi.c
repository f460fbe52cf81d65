/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting that moves to a PI futex (futex(2) FUTEX_WAIT_REQUEUE_PI, FUTEX_CMP_REQUEUE_PI). */
#include "tests/guest/guest.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#define PAGE 4096L

static uint32_t cond, lock;
static volatile int got_lock;

static long futex(uint32_t *addr, int op, uint32_t val, long val2, uint32_t *addr2, uint32_t val3)
{
    return syscall(SYS_futex, addr, op, val, val2, addr2, val3);
}

static void *wait_and_lock(void *arg)
{
    (void)arg;
    EXPECT_EQ(futex(&cond, FUTEX_WAIT_REQUEUE_PI | FUTEX_PRIVATE_FLAG, 0, 0, &lock, 0), 0);
    EXPECT_EQ(lock & FUTEX_TID_MASK, syscall(SYS_gettid));
    got_lock++;
    EXPECT_EQ(futex(&lock, FUTEX_UNLOCK_PI | FUTEX_PRIVATE_FLAG, 0, 0, NULL, 0), 0);
    return NULL;
}

TEST(waiters_get_the_lock_one_after_the_other)
{
    pthread_t t[3];
    long moved = 0;

    EXPECT_EQ(futex(&lock, FUTEX_LOCK_PI | FUTEX_PRIVATE_FLAG, 0, 0, NULL, 0), 0);
    for (int i = 0; i < 3; i++) {
        EXPECT_EQ(pthread_create(&t[i], NULL, wait_and_lock, NULL), 0);
    }
    while (moved < 3) { /* they may not all be asleep yet */
        long n = futex(&cond, FUTEX_CMP_REQUEUE_PI | FUTEX_PRIVATE_FLAG, 1, 10, &lock, 0);

        EXPECT(n >= 0);
        moved += n;
    }
    EXPECT_EQ(got_lock, 0);
    EXPECT_EQ(futex(&lock, FUTEX_UNLOCK_PI | FUTEX_PRIVATE_FLAG, 0, 0, NULL, 0), 0);
    for (int i = 0; i < 3; i++) {
        EXPECT_EQ(pthread_join(t[i], NULL), 0);
    }
    EXPECT_EQ(got_lock, 3);
    EXPECT_EQ(lock, 0);
}

TEST(requeue_errors)
{
    CALL_FAILS(futex(&cond, FUTEX_CMP_REQUEUE_PI | FUTEX_PRIVATE_FLAG, 1, 1, &cond, 0), EINVAL);
    CALL_FAILS(futex(&cond, FUTEX_CMP_REQUEUE_PI | FUTEX_PRIVATE_FLAG, 2, 1, &lock, 0), EINVAL);
    CALL_FAILS(futex(&cond, FUTEX_CMP_REQUEUE_PI | FUTEX_PRIVATE_FLAG, 1, -1, &lock, 0), EINVAL);
    CALL_FAILS(futex(&cond, FUTEX_CMP_REQUEUE_PI | FUTEX_PRIVATE_FLAG, 1, 1, &lock, 7), EAGAIN);
    CALL_FAILS(futex((uint32_t *)8, FUTEX_CMP_REQUEUE_PI | FUTEX_PRIVATE_FLAG, 1, 1, &lock, 0),
               EFAULT);
}

/* The same word through two mappings is one futex: it cannot be its own target. */
TEST(one_word_at_two_addresses_is_refused)
{
    int fd = guest_temp_file();
    uint32_t *a, *b;

    EXPECT_EQ(ftruncate(fd, PAGE), 0);
    a = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    b = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    EXPECT(a != MAP_FAILED && b != MAP_FAILED);
    CALL_FAILS(futex(a, FUTEX_CMP_REQUEUE_PI, 1, INT32_MAX, b, 0), EINVAL);
    CALL_FAILS(futex(a, FUTEX_WAIT_REQUEUE_PI, 0, 0, b, 0), EINVAL);
}
