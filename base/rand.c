/* SPDX-License-Identifier: Apache-2.0 */
/* Random bytes: the host's generator, or splitmix64 from a seed when a run must repeat. */
#include "base/rand.h"

#include "base/hash.h"
#include "base/host.h"
#include "base/panic.h"

#include <stdatomic.h>

static _Atomic u64 seeded_state;
static bool seeded;

u64 hash_secret; /* (c) after boot */

static u64 seeded_next(void)
{
    u64 x = atomic_fetch_add_explicit(&seeded_state, 0x9e3779b97f4a7c15ULL, memory_order_relaxed);

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
}

void rand_bytes(void *buf, size_t len)
{
    u8 *p = buf;

    while (len > 0) {
        ssize_t n;

        if (seeded) {
            u64 x = seeded_next();

            n = (ssize_t)min(len, sizeof(x));
            memcpy(p, &x, (size_t)n);
        } else {
            /* Calls of at most 256 bytes are never interrupted (getrandom(2)). */
            n = host_getrandom(p, min(len, (size_t)256), 0);
            CHECK(n > 0, "getrandom: %zd", n);
        }
        p += n;
        len -= (size_t)n;
    }
}

u64 rand_u64(void)
{
    u64 x;

    rand_bytes(&x, sizeof(x));
    return x;
}

u64 rand_below(u64 bound)
{
    u64 limit = UINT64_MAX - UINT64_MAX % bound, x;

    do {
        x = rand_u64();
    } while (x >= limit);
    return x % bound;
}

void rand_seed(u64 seed)
{
    atomic_store_explicit(&seeded_state, seed, memory_order_relaxed);
    seeded = true;
    hash_secret = rand_u64();
}

/* Before any table is filled, so that nobody can forget it; rand_seed sets it again. */
__attribute__((constructor)) static void hash_secret_init(void)
{
    hash_secret = rand_u64();
}
