/* SPDX-License-Identifier: Apache-2.0 */
/* The uio cursor over a small fake guest memory, of which a part is missing. */
#include "base/err.h"
#include "base/uio.h"
#include "base/usermem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define GUEST      0x10000UL /* the guest's bytes are [GUEST, GUEST + GUEST_SIZE) */
#define GUEST_SIZE 256UL
#define HOLE       (GUEST + 100) /* [HOLE, HOLE + 20) faults */
#define HOLE_END   (HOLE + 20)

static u8 guest[GUEST_SIZE];
static int pins;

/* How many of the bytes at addr are there? */
static size_t present(uaddr addr, size_t len)
{
    if (addr < GUEST || addr >= GUEST + GUEST_SIZE || (addr >= HOLE && addr < HOLE_END)) {
        return 0;
    }
    return min(len, (addr < HOLE ? HOLE : GUEST + GUEST_SIZE) - addr);
}

static ssize_t fake_in_some(void *dst, uaddr src, size_t len)
{
    size_t n = present(src, len);

    if (n == 0 && len > 0) {
        return -EFAULT;
    }
    memcpy(dst, guest + (src - GUEST), n);
    return (ssize_t)n;
}

static ssize_t fake_out_some(uaddr dst, const void *src, size_t len)
{
    size_t n = present(dst, len);

    if (n == 0 && len > 0) {
        return -EFAULT;
    }
    memcpy(guest + (dst - GUEST), src, n);
    return (ssize_t)n;
}

static ssize_t fake_zero_some(uaddr dst, size_t len)
{
    size_t n = present(dst, len);

    if (n == 0 && len > 0) {
        return -EFAULT;
    }
    memset(guest + (dst - GUEST), 0, n);
    return (ssize_t)n;
}

static int fake_pin(uaddr addr, size_t len, bool write, struct iovec *iov, int max)
{
    size_t n = present(addr, len);

    (void)write;
    if (n == 0) {
        return -EFAULT;
    }
    assert_true(max > 0);
    iov[0] = (struct iovec){guest + (addr - GUEST), n};
    pins++;
    return 1;
}

static void fake_unpin(const struct iovec *iov, int count)
{
    (void)iov;
    pins -= count;
}

static const struct usermem_ops fake_ops = {
    .copy_in_some = fake_in_some,
    .copy_out_some = fake_out_some,
    .zero_out_some = fake_zero_some,
    .pin = fake_pin,
    .unpin = fake_unpin,
};

static int fill_guest(void **state)
{
    (void)state;
    for (u32 i = 0; i < GUEST_SIZE; i++) {
        guest[i] = (u8)i;
    }
    return 0;
}

static void kernel_buffer_there_and_back(void **state)
{
    char mem[10] = "0123456789", got[8] = "";
    struct uio u;

    (void)state;
    uio_init_kernel(&u, mem, sizeof(mem));
    assert_int_equal(uio_take(&u, got, 4), 4);
    assert_memory_equal(got, "0123", 4);
    assert_int_equal(uio_put(&u, "ab", 2), 2);
    assert_int_equal(uio_put_zeroes(&u, 1), 1);
    assert_int_equal(uio_left(&u), 3);
    assert_int_equal(uio_put(&u, "xyzzy", 5), 3);
    assert_int_equal(uio_put(&u, "x", 1), 0);
    assert_memory_equal(mem, "0123ab\0xyz", 10);
}

static void fault_in_the_middle_is_a_short_copy(void **state)
{
    u8 buf[64];
    struct uio u;

    (void)state;
    uio_init_user(&u, HOLE - 10, 64);
    assert_int_equal(uio_take(&u, buf, 64), 10);
    assert_int_equal(buf[9], 99);
    assert_int_equal(uio_left(&u), 54);
    assert_int_equal(uio_take(&u, buf, 64), -EFAULT);
    assert_int_equal(uio_put(&u, buf, 1), -EFAULT);
    assert_int_equal(uio_put_zeroes(&u, 1), -EFAULT);
    assert_int_equal(uio_left(&u), 54);
    uio_advance(&u, 20);
    assert_int_equal(uio_take(&u, buf, 64), 34);
    assert_int_equal(buf[0], 120);
}

static void fault_in_a_later_segment_keeps_what_was_moved(void **state)
{
    struct uio_seg segs[] = {{GUEST, 8}, {GUEST + 50, 0}, {HOLE, 4}, {GUEST + 8, 8}};
    u8 buf[32];
    struct uio u;

    (void)state;
    uio_init_segs(&u, segs, ARRAY_SIZE(segs), false);
    assert_int_equal(uio_left(&u), 20);
    assert_int_equal(uio_take(&u, buf, 32), 8);
    assert_int_equal(uio_take(&u, buf, 32), -EFAULT);
}

/* Any way of cutting a transfer over any segments moves the same bytes. */
static void random_segments_and_steps(void **state)
{
    (void)state;
    srand(3);
    for (int round = 0; round < 2000; round++) {
        struct uio_seg segs[6];
        u8 want[GUEST_SIZE * 2], got[GUEST_SIZE * 2];
        u32 total = 0, done = 0;
        struct uio u, saved;

        for (u32 i = 0; i < ARRAY_SIZE(segs); i++) {
            u32 at = (u32)rand() % 90, len = rand() % 4 == 0 ? 0 : (u32)rand() % (100 - at);

            segs[i] = (struct uio_seg){GUEST + at, min(len, (u32)64)};
            memcpy(want + total, guest + at, segs[i].len);
            total += (u32)segs[i].len;
        }
        uio_init_segs(&u, segs, ARRAY_SIZE(segs), false);
        assert_int_equal(uio_left(&u), total);
        while (done < total) {
            u32 step = 1 + (u32)rand() % 40;
            ssize_t n;

            saved = u;
            n = uio_take(&u, got + done, step);
            assert_int_equal(n, min(step, total - done));
            u = saved; /* going back and skipping comes to the same */
            uio_advance(&u, (size_t)n);
            done += (u32)n;
            assert_int_equal(uio_left(&u), total - done);
        }
        assert_memory_equal(got, want, total);
    }
}

static void truncated_uio_ends_early(void **state)
{
    struct uio_seg segs[] = {{GUEST, 8}, {GUEST + 20, 8}};
    u8 buf[32];
    struct uio u;

    (void)state;
    uio_init_segs(&u, segs, ARRAY_SIZE(segs), false);
    uio_truncate(&u, 10);
    uio_truncate(&u, 100);
    assert_int_equal(uio_take(&u, buf, 32), 10);
    assert_int_equal(buf[9], 21);
    assert_int_equal(uio_left(&u), 0);
}

static void pinning_covers_several_segments(void **state)
{
    struct uio_seg segs[] = {{GUEST, 8}, {GUEST, 0}, {GUEST + 20, 8}, {HOLE - 2, 4}, {GUEST, 8}};
    struct iovec iov[8];
    struct uio u;
    int n;

    (void)state;
    uio_init_segs(&u, segs, ARRAY_SIZE(segs), false);
    uio_advance(&u, 3);
    n = uio_pin(&u, 1000, true, iov, 8);
    assert_int_equal(n, 3); /* and not what lies behind the hole */
    assert_ptr_equal(iov[0].iov_base, guest + 3);
    assert_int_equal(iov[0].iov_len, 5);
    assert_int_equal(iov[1].iov_len, 8);
    assert_int_equal(iov[2].iov_len, 2);
    assert_int_equal(pins, 3);
    uio_unpin(&u, iov, n);
    assert_int_equal(pins, 0);
    assert_int_equal(uio_left(&u), 25);

    n = uio_pin(&u, 6, true, iov, 8);
    assert_int_equal(n, 2);
    assert_int_equal(iov[1].iov_len, 1);
    uio_unpin(&u, iov, n);
    n = uio_pin(&u, 1000, true, iov, 1);
    assert_int_equal(n, 1);
    uio_unpin(&u, iov, n);
    uio_init_user(&u, HOLE, 4);
    assert_int_equal(uio_pin(&u, 4, true, iov, 8), -EFAULT);
    assert_int_equal(pins, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernel_buffer_there_and_back),
        cmocka_unit_test_setup(fault_in_the_middle_is_a_short_copy, fill_guest),
        cmocka_unit_test_setup(fault_in_a_later_segment_keeps_what_was_moved, fill_guest),
        cmocka_unit_test_setup(random_segments_and_steps, fill_guest),
        cmocka_unit_test_setup(truncated_uio_ends_early, fill_guest),
        cmocka_unit_test_setup(pinning_covers_several_segments, fill_guest),
    };

    usermem_set_ops(&fake_ops);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
