/* SPDX-License-Identifier: Apache-2.0 */
/* Tests that block: give each side a fiber, run them all to their end. */
#ifndef PAVISE_TESTS_FIBERS_H
#define PAVISE_TESTS_FIBERS_H

#include "base/sched/fiber.h"
#include "base/sched/worker.h"
#include "base/uio.h"
#include "tests/unit/vfs/vfs_test.h"

static _Atomic int fibers_left;

static void fiber_body(void *arg)
{
    void (*fn)(void) = (void (*)(void))arg;

    fn();
    if (--fibers_left == 0) {
        sched_stop();
    }
}

/* Run the functions (ended by NULL) as fibers on `workers` workers until all returned. */
static inline void run_fibers(unsigned workers, void (*const *fns)(void))
{
    struct sched_config config = {.workers = workers};
    int count = 0;

    while (fns[count] != NULL) {
        count++;
    }
    fibers_left = count;
    assert_int_equal(sched_init(&config), 0);
    for (int i = 0; i < count; i++) {
        struct fiber *f = fiber_new("test", fiber_body, (void *)fns[i]);

        assert_non_null(f);
        fiber_start(f);
    }
    sched_run();
}
#define RUN_FIBERS(workers, ...)                                                                   \
    do {                                                                                           \
        void (*const fiber_list[])(void) = {__VA_ARGS__, NULL};                                    \
        run_fibers((workers), fiber_list);                                                         \
    } while (0)

static inline ssize_t read_file(struct file *f, void *buf, size_t len)
{
    struct uio u;

    uio_init_kernel(&u, buf, len);
    return file_read(f, &u, 0);
}

static inline ssize_t write_file(struct file *f, const void *buf, size_t len)
{
    struct uio u;

    uio_init_kernel(&u, (void *)(uintptr_t)buf, len);
    return file_write(f, &u, 0, CTX);
}

static inline void set_nonblock(struct file *f)
{
    f->flags |= O_NONBLOCK;
}

#endif
