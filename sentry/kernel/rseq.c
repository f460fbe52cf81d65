/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Restartable sequences (rseq(2)): before each entry to the guest after its thread was away, the
 * CPU number in its area is refreshed, and if it was inside a critical section it continues at the
 * abort handler. All of the area is guest data.
 */
#include "sentry/kernel/rseq.h"

#include "base/usermem.h"

#include <linux/rseq.h>

struct rseq_area { /* struct rseq, first 32 bytes */
    u32 cpu_id_start, cpu_id;
    u64 rseq_cs;
    u32 flags, node_id, mm_cid, pad;
};

struct rseq_section { /* struct rseq_cs */
    u32 version, flags;
    u64 start_ip, post_commit_offset, abort_ip;
};

static void rseq_fail(struct task *t)
{
    struct abi_siginfo info = {.si_signo = SIGSEGV, .si_code = SI_KERNEL};

    signal_force(t, &info);
}

/* In a critical section: go to the abort handler. 0 or -EFAULT. */
static int rseq_abort_section(struct task *t, u64 at)
{
    struct rseq_section cs;
    struct regs *r = task_regs(t);
    u64 zero = 0;
    u32 sig;

    if (copy_in(&cs, at, sizeof(cs)) != 0 || cs.version != 0 ||
        cs.start_ip + cs.post_commit_offset < cs.start_ip ||
        cs.abort_ip - cs.start_ip < cs.post_commit_offset) {
        return -EFAULT;
    }
    if (copy_out(t->rseq + offsetof(struct rseq_area, rseq_cs), &zero, sizeof(zero)) != 0) {
        return -EFAULT;
    }
    if (r->rip - cs.start_ip >= cs.post_commit_offset) {
        return 0;
    }
    if (copy_in(&sig, cs.abort_ip - sizeof(sig), sizeof(sig)) != 0 || sig != t->rseq_sig) {
        return -EFAULT;
    }
    r->rip = cs.abort_ip;
    return 0;
}

void rseq_before_guest(struct task *t)
{
    struct rseq_area area;
    u32 cpu = task_cpu(t);

    if (likely(t->rseq == 0) || !t->rseq_refresh) {
        return;
    }
    t->rseq_refresh = false;
    if (copy_in(&area, t->rseq, sizeof(area)) != 0) {
        rseq_fail(t);
        return;
    }
    if (area.cpu_id != cpu) {
        u32 ids[2] = {cpu, cpu};

        if (copy_out(t->rseq, ids, sizeof(ids)) != 0) {
            rseq_fail(t);
            return;
        }
    }
    if (area.rseq_cs != 0 && rseq_abort_section(t, area.rseq_cs) != 0) {
        rseq_fail(t);
    }
}
