/* SPDX-License-Identifier: Apache-2.0 */
/* Hashing for tables that a guest can fill: keyed by a boot-time secret against collisions by
 * intent. */
#ifndef PAVISE_BASE_HASH_H
#define PAVISE_BASE_HASH_H

#include "base/base.h"

extern u64 hash_secret; /* set before main by base/rand.c, and again by rand_seed */

static inline u64 hash_mix(u64 x)
{
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93ULL;
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93ULL;
    x ^= x >> 32;
    return x;
}

static inline u64 hash_u64(u64 x)
{
    return hash_mix(x ^ hash_secret);
}

u64 hash_bytes(const void *p, size_t len, u64 seed);

#endif
