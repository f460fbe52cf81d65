/* SPDX-License-Identifier: Apache-2.0 */
/* Hashing and random numbers: spread, keys, repeatability. */
#include "base/hash.h"
#include "base/rand.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define BUCKETS 256

static void secret_is_set_before_main(void **state)
{
    (void)state;
    assert_true(hash_secret != 0);
}

/* Sequential keys, as pids and addresses are, must fill the buckets about evenly. */
static void sequential_keys_spread(void **state)
{
    u32 low[BUCKETS] = {0}, bytes[BUCKETS] = {0};

    (void)state;
    for (u64 i = 0; i < BUCKETS * 64; i++) {
        u64 key = i * PAGE_SIZE;

        low[hash_u64(key) % BUCKETS]++;
        bytes[hash_bytes(&key, sizeof(key), 0) % BUCKETS]++;
    }
    for (int i = 0; i < BUCKETS; i++) {
        assert_in_range(low[i], 16, 160);
        assert_in_range(bytes[i], 16, 160);
    }
}

static void length_seed_and_secret_matter(void **state)
{
    const char zeroes[32] = {0};
    u64 saved = hash_secret, with_secret;

    (void)state;
    for (size_t a = 0; a < sizeof(zeroes); a++) {
        for (size_t b = a + 1; b <= sizeof(zeroes); b++) {
            assert_true(hash_bytes(zeroes, a, 0) != hash_bytes(zeroes, b, 0));
        }
    }
    assert_true(hash_bytes("name", 4, 1) != hash_bytes("name", 4, 2));
    with_secret = hash_bytes("name", 4, 0);
    assert_true(hash_bytes("name", 4, 0) == with_secret);
    hash_secret++;
    assert_true(hash_bytes("name", 4, 0) != with_secret);
    hash_secret = saved;
}

static void random_numbers_stay_below_their_bound(void **state)
{
    bool seen[7] = {false};

    (void)state;
    for (int i = 0; i < 1000; i++) {
        u64 x = rand_below(7);

        assert_true(x < 7);
        seen[x] = true;
        assert_int_equal(rand_below(1), 0);
    }
    for (int i = 0; i < 7; i++) {
        assert_true(seen[i]);
    }
    (void)rand_below(UINT64_MAX);
}

static void long_random_bytes_are_filled_to_the_end(void **state)
{
    static u8 buf[10000];
    u32 zeroes = 0;

    (void)state;
    rand_bytes(buf, sizeof(buf));
    for (size_t i = sizeof(buf) - 1000; i < sizeof(buf); i++) {
        zeroes += buf[i] == 0;
    }
    assert_true(zeroes < 100);
}

static void same_seed_same_numbers(void **state)
{
    u64 first, secret;

    (void)state;
    rand_seed(42);
    secret = hash_secret;
    first = rand_u64();
    (void)rand_u64();
    rand_seed(42);
    assert_true(rand_u64() == first);
    assert_true(hash_secret == secret);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(secret_is_set_before_main),
        cmocka_unit_test(sequential_keys_spread),
        cmocka_unit_test(length_seed_and_secret_matter),
        cmocka_unit_test(random_numbers_stay_below_their_bound),
        cmocka_unit_test(long_random_bytes_are_filled_to_the_end),
        cmocka_unit_test(same_seed_same_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
