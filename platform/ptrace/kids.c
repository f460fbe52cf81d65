/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of host processes and threads that wait4 may report: stub leaders and tracees.
 *
 * A stub can die before its creator has learned its pid (the zygote tells it after the clone), and
 * the tracer on another thread may reap it meanwhile. Such deaths are remembered while a birth is
 * under way, and looked up when it ends. Births are few at a time and each can bring one death, so
 * the list is short; if it overflows all births under way are given up.
 */
#include "platform/ptrace/ptrace_priv.h"

#include "base/sched/lock.h"

#define KIDS_BUCKETS 4096
#define MAX_UNKNOWN  64

struct spinlock kids_lock = SPINLOCK_INIT;

static LIST_HEAD(, kid) kids[KIDS_BUCKETS];
static pid_t unknown[MAX_UNKNOWN]; /* (k) */
static u32 nr_unknown;             /* (k) ever */
static u32 births;                 /* (k) under way */

static u32 bucket_of(pid_t pid)
{
    return (u32)pid % KIDS_BUCKETS;
}

static void add_locked(struct kid *k)
{
    LIST_INSERT_HEAD(&kids[bucket_of(k->pid)], k, hash);
}

void kids_add(struct kid *k)
{
    SPIN_GUARD(&kids_lock);
    add_locked(k);
}

void kids_remove_locked(struct kid *k)
{
    LIST_REMOVE(k, hash);
}

struct kid *kids_find(pid_t pid)
{
    struct kid *k;
    SPIN_GUARD(&kids_lock);

    LIST_FOREACH (k, &kids[bucket_of(pid)], hash) {
        if (k->pid == pid) {
            return k;
        }
    }
    return NULL;
}

void kids_begin_birth(void)
{
    SPIN_GUARD(&kids_lock);
    if (births++ == 0) {
        memset(unknown, 0, sizeof(unknown));
    }
}

bool kids_end_birth(struct kid *k)
{
    SPIN_GUARD(&kids_lock);
    births--;
    if (k == NULL) {
        return true;
    }
    for (u32 i = 0; i < MAX_UNKNOWN; i++) {
        if (unknown[i] == k->pid) {
            unknown[i] = 0;
            return false;
        }
    }
    add_locked(k);
    return true;
}

void kids_unknown_death(pid_t pid)
{
    SPIN_GUARD(&kids_lock);
    if (births != 0) {
        unknown[nr_unknown++ % MAX_UNKNOWN] = pid;
    }
}
