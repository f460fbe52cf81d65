/* SPDX-License-Identifier: Apache-2.0 */
/* A keyed hash of bytes: eight at a time through hash_mix. */
#include "base/hash.h"

u64 hash_bytes(const void *p, size_t len, u64 seed)
{
    const u8 *b = p;
    u64 h = seed ^ hash_secret ^ (len * 0x9e3779b97f4a7c15ULL), word;

    while (len >= 8) {
        memcpy(&word, b, 8);
        h = hash_mix(h ^ word);
        b += 8;
        len -= 8;
    }
    word = 0;
    memcpy(&word, b, len);
    return hash_mix(h ^ word);
}
