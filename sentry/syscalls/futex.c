/* SPDX-License-Identifier: Apache-2.0 */
/* futex(2), futex_waitv, robust lists: decoding of operations and time-outs. */
#include "sentry/kernel/futex.h"

#include "base/clock.h"
#include "base/usermem.h"
#include "sentry/kernel/process.h"
#include "sentry/syscalls/syscalls.h"

#include <linux/futex.h>
#include <time.h>

/* An absolute or relative guest time-out as a monotonic deadline. */
static int timeout_in(uaddr utimeout, bool absolute, bool realtime, u64 *deadline)
{
    struct timespec ts;
    u64 ns, now;

    *deadline = CLOCK_NEVER;
    if (utimeout == 0) {
        return 0;
    }
    if (copy_in(&ts, utimeout, sizeof(ts)) != 0) {
        return -EFAULT;
    }
    if (!timespec_valid(&ts)) {
        return -EINVAL;
    }
    if (!absolute) {
        *deadline = clock_deadline(&ts);
        return 0;
    }
    ns = timespec_ns(&ts);
    if (!realtime) {
        *deadline = ns;
        return 0;
    }
    now = clock_realtime();
    *deadline = ns > now ? clock_monotonic() + (ns - now) : 0;
    return 0;
}

static long restart_wait(struct task *t)
{
    struct restart_block *r = &t->restart;
    long ret = futex_wait(t, r->addr, (r->flags & 1) != 0, (u32)r->value, (u32)(r->value >> 32),
                          r->deadline);

    if (ret == -ERESTARTSYS) {
        r->fn = restart_wait;
        return -ERESTART_RESTARTBLOCK;
    }
    return ret;
}

/* An interrupted wait with a time-out goes on to the same deadline after a stop or a handler with
 * SA_RESTART. */
static long wait_op(struct task *t, uaddr addr, bool shared, u32 val, u32 bitset, u64 deadline)
{
    long ret = futex_wait(t, addr, shared, val, bitset, deadline);

    if (ret == -ERESTARTSYS && deadline != CLOCK_NEVER) {
        t->restart = (struct restart_block){.fn = restart_wait,
                                            .deadline = deadline,
                                            .addr = addr,
                                            .value = val | (u64)bitset << 32,
                                            .flags = shared};
        return -ERESTART_RESTARTBLOCK;
    }
    return ret;
}

long sys_futex(struct task *t, uaddr addr, int op, unsigned int val, uaddr timeout, uaddr addr2,
               unsigned int val3)
{
    int cmd = op & FUTEX_CMD_MASK;
    bool shared = (op & FUTEX_PRIVATE_FLAG) == 0, realtime = (op & FUTEX_CLOCK_REALTIME) != 0;
    bool absolute = cmd != FUTEX_WAIT;
    u64 deadline = CLOCK_NEVER;
    int err = 0;

    if (realtime && cmd != FUTEX_WAIT && cmd != FUTEX_WAIT_BITSET && cmd != FUTEX_WAIT_REQUEUE_PI &&
        cmd != FUTEX_LOCK_PI2) {
        return -ENOSYS;
    }
    if (cmd == FUTEX_WAIT || cmd == FUTEX_WAIT_BITSET || cmd == FUTEX_LOCK_PI ||
        cmd == FUTEX_LOCK_PI2 || cmd == FUTEX_WAIT_REQUEUE_PI) {
        err = timeout_in(timeout, absolute, realtime || cmd == FUTEX_LOCK_PI, &deadline);
    }
    if (err != 0) {
        return err;
    }
    switch (cmd) {
    case FUTEX_WAIT:
        return wait_op(t, addr, shared, val, FUTEX_BITSET_MATCH_ANY, deadline);
    case FUTEX_WAIT_BITSET:
        return wait_op(t, addr, shared, val, val3, deadline);
    case FUTEX_WAKE:
        return futex_wake(t, addr, shared, val, FUTEX_BITSET_MATCH_ANY);
    case FUTEX_WAKE_BITSET:
        return futex_wake(t, addr, shared, val, val3);
    case FUTEX_REQUEUE:
        return futex_requeue(t, addr, addr2, shared, val, (u32)timeout, NULL);
    case FUTEX_CMP_REQUEUE:
        return futex_requeue(t, addr, addr2, shared, val, (u32)timeout, &val3);
    case FUTEX_WAKE_OP:
        return futex_wake_op(t, addr, addr2, shared, val, (u32)timeout, val3);
    case FUTEX_LOCK_PI:
    case FUTEX_LOCK_PI2:
        return futex_lock_pi(t, addr, shared, deadline, false);
    case FUTEX_TRYLOCK_PI:
        return futex_lock_pi(t, addr, shared, CLOCK_NEVER, true);
    case FUTEX_UNLOCK_PI:
        return futex_unlock_pi(t, addr, shared);
    case FUTEX_WAIT_REQUEUE_PI:
        return futex_wait_requeue_pi(t, addr, shared, val, deadline, addr2);
    case FUTEX_CMP_REQUEUE_PI:
        return val != 1 ? -EINVAL
                        : futex_cmp_requeue_pi(t, addr, addr2, shared, (u32)timeout, val3);
    default:
        return -ENOSYS;
    }
}

long sys_futex_waitv(struct task *t, uaddr uwaiters, unsigned int count, unsigned int flags,
                     uaddr timeout, int clock)
{
    struct futex_wait_entry entries[FUTEX_WAITV_MAX];
    u64 deadline;
    int err;
    long ret;

    if (flags != 0 || count == 0 || count > FUTEX_WAITV_MAX || uwaiters == 0) {
        return -EINVAL;
    }
    if (timeout != 0 && clock != CLOCK_MONOTONIC && clock != CLOCK_REALTIME) {
        return -EINVAL;
    }
    err = timeout_in(timeout, true, clock == CLOCK_REALTIME, &deadline);
    if (err != 0) {
        return err;
    }
    for (u32 i = 0; i < count; i++) {
        struct futex_waitv w;

        if (copy_in(&w, uwaiters + i * sizeof(w), sizeof(w)) != 0) {
            return -EFAULT;
        }
        if ((w.flags & ~(u32)(FUTEX_32 | FUTEX_PRIVATE_FLAG)) != 0 || w.__reserved != 0 ||
            (w.flags & FUTEX_32) == 0) {
            return -EINVAL;
        }
        entries[i] =
            (struct futex_wait_entry){w.uaddr, (u32)w.val, (w.flags & FUTEX_PRIVATE_FLAG) == 0};
    }
    ret = futex_waitv(t, entries, count, deadline);
    return ret == -ERESTARTSYS && timeout != 0 ? -EINTR : ret;
}

long sys_set_robust_list(struct task *t, uaddr head, size_t len)
{
    if (len != 24) {
        return -EINVAL;
    }
    t->robust_list = head;
    return 0;
}

long sys_get_robust_list(struct task *t, int pid, uaddr uhead, uaddr ulen)
{
    u64 len = 24, head;
    struct task *other = pid == 0 ? task_get(t) : task_find(pid);
    int err;

    if (other == NULL) {
        return -ESRCH;
    }
    err = task_may_inspect(t, other);
    head = other->robust_list;
    task_put(other);
    if (err != 0) {
        return err;
    }
    if (copy_out(ulen, &len, sizeof(len)) != 0) {
        return -EFAULT;
    }
    return copy_out(uhead, &head, sizeof(head));
}
