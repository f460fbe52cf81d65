/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idr: small integers to pointers (pids, watch descriptors, timer ids). Cyclic or lowest-first
 * allocation in O(log n), look-up in a radix tree. The caller locks.
 */
#ifndef PAVISE_BASE_IDR_H
#define PAVISE_BASE_IDR_H

#include "base/base.h"

struct idr {
    struct idr_node *root;
    u32 levels;
    u32 next; /* where the next cyclic search starts */
    u32 count;
};

void idr_init(struct idr *idr);
void idr_fini(struct idr *idr); /* frees the nodes; the idr must be empty */

/* The lowest free id in [low, high): the id, -ENOSPC or -ENOMEM. `ptr` must not be NULL. */
must_check int idr_alloc(struct idr *idr, void *ptr, u32 low, u32 high);
/* As idr_alloc, but starts after the last id given out and wraps (pids). */
must_check int idr_alloc_cyclic(struct idr *idr, void *ptr, u32 low, u32 high);
/* Exactly `id`: 0, -EEXIST or -ENOMEM. */
must_check int idr_insert(struct idr *idr, void *ptr, u32 id);

void *idr_find(const struct idr *idr, u32 id);
void *idr_remove(struct idr *idr, u32 id);
void *idr_replace(struct idr *idr, void *ptr, u32 id);
/* The first entry with an id >= *id (which is set to it), or NULL. */
void *idr_next(const struct idr *idr, u32 *id);

#endif
