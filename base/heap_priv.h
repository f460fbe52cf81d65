/* SPDX-License-Identifier: Apache-2.0 */
/* Between heap.c (caches and slabs) and heap_chunk.c (the region and its 64 KiB chunks). */
#ifndef PAVISE_BASE_HEAP_PRIV_H
#define PAVISE_BASE_HEAP_PRIV_H

#include "base/base.h"

#ifdef PAVISE_TSAN
#define HEAP_BASE 0x7e9000000000UL
#else
#define HEAP_BASE 0x200000000000UL
#endif
#define HEAP_SIZE  (64 * GiB)
#define CHUNK_SIZE (64 * KiB)

must_check int chunk_init(void);
/* `count` adjacent chunks, zeroed (fresh or given back to the host before); NULL: full. Aligned to
 * CHUNK_SIZE. */
must_check void *chunk_alloc(size_t count);
void chunk_free(void *p, size_t count);
bool chunk_contains(const void *p);

#endif
