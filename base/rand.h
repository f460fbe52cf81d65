/* SPDX-License-Identifier: Apache-2.0 */
/* Random bytes from the host (getrandom); seeded and repeatable under --sched=seed:N and in tests.
 */
#ifndef PAVISE_BASE_RAND_H
#define PAVISE_BASE_RAND_H

#include "base/base.h"

void rand_bytes(void *buf, size_t len);
u64 rand_u64(void);
/* Uniform in [0, bound); bound > 0. */
u64 rand_below(u64 bound);

/* Repeatable from now on, hash_secret too: before any hash table is filled. */
void rand_seed(u64 seed);

#endif
