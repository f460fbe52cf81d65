/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A saturating reference count. An overflow pins the object for ever instead of freeing
 * it under somebody: a leak is a smaller evil than a use after free.
 */
#ifndef PAVISE_BASE_REF_H
#define PAVISE_BASE_REF_H

#include "base/base.h"
#include "base/panic.h"

#include <stdatomic.h>

#define REF_SATURATED 0xc0000000U

struct ref {
    _Atomic u32 count;
};

static inline void ref_init(struct ref *r)
{
    atomic_store_explicit(&r->count, 1, memory_order_relaxed);
}

static inline u32 ref_read(const struct ref *r)
{
    return atomic_load_explicit(&r->count, memory_order_relaxed);
}

/* The caller already owns a reference. */
static inline void ref_get(struct ref *r)
{
    u32 old = atomic_fetch_add_explicit(&r->count, 1, memory_order_relaxed);

    CHECK(old != 0, "ref_get on a dead object");
    if (unlikely(old >= REF_SATURATED)) {
        atomic_store_explicit(&r->count, REF_SATURATED, memory_order_relaxed);
    }
}

/* For look-ups that race with the last put: false when the object is already dying. */
static inline must_check bool ref_get_unless_zero(struct ref *r)
{
    u32 old = atomic_load_explicit(&r->count, memory_order_relaxed);

    do {
        if (old == 0) {
            return false;
        }
        if (unlikely(old >= REF_SATURATED)) {
            return true;
        }
    } while (!atomic_compare_exchange_weak_explicit(&r->count, &old, old + 1, memory_order_acquire,
                                                    memory_order_relaxed));
    return true;
}

/* True when this was the last reference: the caller then frees the object. */
static inline must_check bool ref_put(struct ref *r)
{
    u32 old = atomic_load_explicit(&r->count, memory_order_relaxed);

    if (unlikely(old >= REF_SATURATED)) {
        return false;
    }
    old = atomic_fetch_sub_explicit(&r->count, 1, memory_order_acq_rel);
    CHECK(old != 0, "ref_put on a dead object");
    return old == 1;
}

#endif
