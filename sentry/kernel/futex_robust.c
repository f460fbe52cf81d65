/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Robust futexes (get_robust_list(2), Documentation/locking/robust-futexes.rst): what an exiting
 * thread still holds, by the list it keeps in its own memory, is marked FUTEX_OWNER_DIED and one
 * waiter is woken. The list is guest data: at most ROBUST_LIST_LIMIT entries are followed, every
 * word is read once.
 */
#include "base/usermem.h"
#include "sentry/kernel/futex_priv.h"

#define ROBUST_LIMIT 2048

struct robust_head {
    u64 list;
    s64 futex_offset;
    u64 list_op_pending;
};

int futex_handle_death(struct task *t, uaddr addr, bool pi, bool pending)
{
    u32 value, new;
    int err;

    if ((addr & 3) != 0) {
        return -EINVAL;
    }
    err = mm_load_u32(t->mm, addr, &value);
    while (err == 0) {
        u32 seen = value;

        if (pending && !pi && value == 0) {
            futex_wake_addr(t, addr, 1); /* it unlocked, but died before it could wake */
            return 0;
        }
        if ((value & FUTEX_TID_MASK) != (u32)t->tid) {
            return 0;
        }
        new = (value & FUTEX_WAITERS) | FUTEX_OWNER_DIED;
        err = mm_cmpxchg_u32(t->mm, addr, &seen, new);
        if (err == 0 && seen == value) {
            if (!pi && (value & FUTEX_WAITERS) != 0) {
                futex_wake_addr(t, addr, 1);
            } else if (pi) {
                futex_pi_owner_died(t, addr);
            }
            return 0;
        }
        value = seen;
    }
    return err;
}

/* One entry: the low bit says PI. */
static int fetch(uaddr at, u64 *entry, bool *pi)
{
    u64 raw;

    if (copy_in(&raw, at, sizeof(raw)) != 0) {
        return -EFAULT;
    }
    *pi = (raw & 1) != 0;
    *entry = raw & ~1UL;
    return 0;
}

void futex_exit_robust(struct task *t)
{
    struct robust_head head;
    uaddr head_addr = t->robust_list;
    u64 entry, next, pending;
    bool pi, next_pi, pending_pi;

    t->robust_list = 0;
    if (head_addr == 0 || t->mm == NULL || copy_in(&head, head_addr, sizeof(head)) != 0) {
        return;
    }
    entry = head.list & ~1UL;
    pi = (head.list & 1) != 0;
    pending = head.list_op_pending & ~1UL;
    pending_pi = (head.list_op_pending & 1) != 0;
    for (unsigned i = 0; i < ROBUST_LIMIT && entry != head_addr; i++) {
        int err = fetch(entry, &next, &next_pi);

        if (entry != pending &&
            futex_handle_death(t, entry + (u64)head.futex_offset, pi, false) != 0) {
            return;
        }
        if (err != 0) {
            return;
        }
        entry = next;
        pi = next_pi;
    }
    if (pending != 0) {
        (void)futex_handle_death(t, pending + (u64)head.futex_offset, pending_pi, true);
    }
}
