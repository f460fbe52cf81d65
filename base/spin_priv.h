/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A raw spin lock for what lies below the scheduler (heap, memory file). Held for tens of
 * instructions; the holder may be descheduled by the host, so after a while the waiter gives its
 * time slice away.
 */
#ifndef PAVISE_BASE_SPIN_PRIV_H
#define PAVISE_BASE_SPIN_PRIV_H

#include "base/base.h"
#include "base/host.h"

#include <stdatomic.h>

struct raw_spin {
    _Atomic u32 word;
};

static inline void raw_spin_lock(struct raw_spin *l)
{
    unsigned spins = 0;

    while (atomic_exchange_explicit(&l->word, 1, memory_order_acquire) != 0) {
        while (atomic_load_explicit(&l->word, memory_order_relaxed) != 0) {
            if (++spins > 1000) {
                spins = 0;
                host_sched_yield();
            }
            __builtin_ia32_pause();
        }
    }
}

static inline void raw_spin_unlock(struct raw_spin *l)
{
    atomic_store_explicit(&l->word, 0, memory_order_release);
}

#endif
