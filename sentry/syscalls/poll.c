/* SPDX-License-Identifier: Apache-2.0 */
/*
 * poll(2), ppoll(2), select(2), pselect6(2): decode, hold the files, and vfs/poll.c waits.
 *
 * Arrays are bounded by RLIMIT_NOFILE and the size of the descriptor table. An interrupted poll is
 * restarted through restart_syscall(2) with its old deadline; the others are restarted only when no
 * handler ran, with the time that is left written back before.
 */
#include "vfs/poll.h"
#include "base/heap.h"
#include "sentry/syscalls/syscalls.h"
#include "sentry/syscalls/wait_mask.h"
#include "vfs/fdtable.h"

#include <poll.h>
#include <sys/time.h>

/* ---- poll ---- */

/* Hold the files behind fds; entries are made for those with fd >= 0. Their number. */
static u32 entries_get(struct fdtable *fdt, const struct pollfd *fds, u32 nfds,
                       struct poll_entry *entries)
{
    u32 count = 0;

    for (u32 i = 0; i < nfds; i++) {
        if (fds[i].fd >= 0) {
            entries[count++] =
                (struct poll_entry){.file = fd_get(fdt, fds[i].fd), .events = (u16)fds[i].events};
        }
    }
    return count;
}

static void entries_put(struct poll_entry *entries, u32 count)
{
    for (u32 i = 0; i < count; i++) {
        file_put(entries[i].file);
    }
}

/* Write back the revents that changed. */
static int revents_out(uaddr ufds, const struct pollfd *fds, u32 nfds,
                       const struct poll_entry *entries)
{
    u32 k = 0;

    for (u32 i = 0; i < nfds; i++) {
        short revents = fds[i].fd >= 0 ? (short)entries[k++].revents : 0;

        if (revents != fds[i].revents &&
            copy_out(ufds + i * sizeof(*fds) + offsetof(struct pollfd, revents), &revents,
                     sizeof(revents)) != 0) {
            return -EFAULT;
        }
    }
    return 0;
}

/* The number ready, 0, -EFAULT, -ENOMEM or -ERESTARTSYS. */
static long poll_arrays(struct task *t, uaddr ufds, u32 nfds, u64 deadline, struct pollfd *fds,
                        struct poll_entry *entries)
{
    u32 count;
    long ret;

    if (copy_in(fds, ufds, nfds * sizeof(*fds)) != 0) {
        return -EFAULT;
    }
    count = entries_get(t->vfs.fdt, fds, nfds, entries);
    ret = poll_files(entries, count, deadline);
    entries_put(entries, count);
    if (ret >= 0 && revents_out(ufds, fds, nfds, entries) != 0) {
        return -EFAULT;
    }
    return ret;
}

#define SMALL_POLL 8U

static long do_poll(struct task *t, uaddr ufds, u32 nfds, u64 deadline)
{
    struct pollfd small_fds[SMALL_POLL], *fds;
    struct poll_entry small_entries[SMALL_POLL], *entries;
    long ret = -ENOMEM;

    if (nfds > task_rlimit(t, RLIMIT_NOFILE)) {
        return -EINVAL;
    }
    if (nfds <= SMALL_POLL) {
        return poll_arrays(t, ufds, nfds, deadline, small_fds, small_entries);
    }
    fds = heap_alloc(nfds * sizeof(*fds));
    entries = heap_alloc(nfds * sizeof(*entries));
    if (fds != NULL && entries != NULL) {
        ret = poll_arrays(t, ufds, nfds, deadline, fds, entries);
    }
    heap_free(fds);
    heap_free(entries);
    return ret;
}

static long poll_restart(struct task *t);

static long poll_until(struct task *t, uaddr ufds, u32 nfds, u64 deadline)
{
    long ret = do_poll(t, ufds, nfds, deadline);

    if (ret == -ERESTARTSYS) {
        t->restart = (struct restart_block){
            .fn = poll_restart, .deadline = deadline, .addr = ufds, .value = nfds};
        return -ERESTART_RESTARTBLOCK;
    }
    return ret;
}

static long poll_restart(struct task *t)
{
    return poll_until(t, t->restart.addr, (u32)t->restart.value, t->restart.deadline);
}

long sys_poll(struct task *t, uaddr fds, unsigned int nfds, int timeout)
{
    u64 deadline = timeout < 0 ? CLOCK_NEVER : wait_deadline((u64)timeout * NSEC_PER_MSEC);

    return poll_until(t, fds, nfds, deadline);
}

/* ---- what is left of a time-out ---- */

static u64 time_left(u64 deadline)
{
    u64 now = clock_monotonic();

    return deadline > now ? deadline - now : 0;
}

/* Write the rest back. If that fails an interrupted call cannot be restarted (poll_select_finish).
 */
static long finish(long ret, u64 deadline, uaddr utime, bool is_timeval)
{
    u64 left = time_left(deadline);
    struct timespec ts = ns_timespec(left);
    struct timeval tv = {ts.tv_sec, ts.tv_nsec / 1000};
    int err;

    if (ret == -ERESTARTSYS) {
        ret = -ERESTARTNOHAND;
    }
    if (utime == 0 || deadline == CLOCK_NEVER) {
        return ret;
    }
    err = is_timeval ? copy_out(utime, &tv, sizeof(tv)) : copy_out(utime, &ts, sizeof(ts));
    return err != 0 && ret == -ERESTARTNOHAND ? -EINTR : ret;
}

long sys_ppoll(struct task *t, uaddr fds, unsigned int nfds, uaddr timeout, uaddr mask,
               size_t sigsetsize)
{
    u64 deadline;
    long ret = wait_deadline_in(timeout, &deadline);

    if (ret == 0) {
        ret = wait_mask_begin(t, mask, sigsetsize);
    }
    if (ret != 0) {
        return ret;
    }
    ret = do_poll(t, fds, nfds, deadline);
    wait_mask_end(t, ret == -ERESTARTSYS);
    return finish(ret, deadline, timeout, false);
}

/* ---- select ---- */

#define SET_IN  (POLLRDNORM | POLLRDBAND | POLLIN | POLLHUP | POLLERR)
#define SET_OUT (POLLWRBAND | POLLWRNORM | POLLOUT | POLLERR)
#define SET_EX  POLLPRI

enum { IN, OUT, EX, NR_SETS };
static const u32 set_masks[NR_SETS] = {SET_IN, SET_OUT, SET_EX};

struct select_call {
    u32 nfds;
    size_t words;        /* u64 words of one set */
    uaddr user[NR_SETS]; /* 0: not given */
    u64 *set[NR_SETS];   /* words each, in one allocation */
    struct poll_entry *entries;
    u32 count;
};

static bool set_has(const u64 *set, u32 fd)
{
    return (set[fd / 64] >> (fd % 64) & 1) != 0;
}

static u32 wanted_events(const struct select_call *c, u32 fd)
{
    u32 events = 0;

    for (u32 i = 0; i < NR_SETS; i++) {
        events |= set_has(c->set[i], fd) ? set_masks[i] : 0;
    }
    return events;
}

static int sets_in(struct select_call *c)
{
    for (u32 i = 0; i < NR_SETS; i++) {
        if (c->user[i] != 0 && copy_in(c->set[i], c->user[i], c->words * 8) != 0) {
            return -EFAULT;
        }
    }
    return 0;
}

static int sets_out(struct select_call *c)
{
    for (u32 i = 0; i < NR_SETS; i++) {
        if (c->user[i] != 0 && copy_out(c->user[i], c->set[i], c->words * 8) != 0) {
            return -EFAULT;
        }
    }
    return 0;
}

/* Hold every file that a set names: -EBADF when there is none. */
static int select_get(struct task *t, struct select_call *c)
{
    for (u32 fd = 0; fd < c->nfds; fd++) {
        u32 events = wanted_events(c, fd);
        struct poll_entry *e = &c->entries[c->count];

        if (events == 0) {
            continue;
        }
        *e = (struct poll_entry){.file = fd_get(t->vfs.fdt, (int)fd), .events = events};
        if (e->file == NULL) {
            return -EBADF;
        }
        c->count++;
    }
    return 0;
}

/* Turn revents into sets: the number of bits. */
static int select_results(struct select_call *c)
{
    u32 k = 0;
    int bits = 0;

    for (u32 fd = 0; fd < c->nfds; fd++) {
        u64 bit = 1UL << (fd % 64);
        u32 revents;

        if (wanted_events(c, fd) == 0) {
            continue;
        }
        revents = c->entries[k++].revents;
        for (u32 i = 0; i < NR_SETS; i++) {
            u64 *word = &c->set[i][fd / 64];

            if ((*word & bit) != 0 && (revents & set_masks[i]) != 0) {
                bits++;
            } else {
                *word &= ~bit;
            }
        }
    }
    return bits;
}

static long select_run(struct task *t, struct select_call *c, u64 deadline)
{
    long ret = sets_in(c);

    if (ret == 0) {
        ret = select_get(t, c);
    }
    if (ret == 0) {
        ret = poll_files(c->entries, c->count, deadline);
    }
    entries_put(c->entries, c->count);
    if (ret < 0) {
        return ret;
    }
    ret = select_results(c);
    return sets_out(c) != 0 ? -EFAULT : ret;
}

static long do_select(struct task *t, int nfds, const uaddr user[NR_SETS], u64 deadline)
{
    struct select_call c = {.user = {user[IN], user[OUT], user[EX]}};
    u32 max_fds = fdtable_size(t->vfs.fdt);
    long ret = -ENOMEM;

    if (nfds < 0) {
        return -EINVAL;
    }
    c.nfds = min((u32)nfds, max_fds);
    c.words = (c.nfds + 63) / 64;
    c.set[IN] = heap_alloc((c.words + 1) * 8 * NR_SETS);
    c.entries = heap_alloc((c.nfds + 1) * sizeof(*c.entries));
    if (c.set[IN] != NULL && c.entries != NULL) {
        c.set[OUT] = c.set[IN] + c.words;
        c.set[EX] = c.set[OUT] + c.words;
        ret = select_run(t, &c, deadline);
    }
    heap_free(c.set[IN]);
    heap_free(c.entries);
    return ret;
}

long sys_select(struct task *t, int nfds, uaddr rd, uaddr wr, uaddr ex, uaddr timeout)
{
    uaddr user[NR_SETS] = {rd, wr, ex};
    u64 deadline = CLOCK_NEVER, ns;
    struct timeval tv;

    if (timeout != 0) {
        struct timespec ts;

        if (copy_in(&tv, timeout, sizeof(tv)) != 0) {
            return -EFAULT;
        }
        ts.tv_sec = tv.tv_sec + tv.tv_usec / 1000000;
        ts.tv_nsec = tv.tv_usec % 1000000 * 1000;
        if (timespec_in(&ts, &ns) != 0) {
            return -EINVAL;
        }
        deadline = wait_deadline(ns);
    }
    return finish(do_select(t, nfds, user, deadline), deadline, timeout, true);
}

long sys_pselect6(struct task *t, int nfds, uaddr rd, uaddr wr, uaddr ex, uaddr timeout,
                  uaddr sigmask)
{
    uaddr user[NR_SETS] = {rd, wr, ex};
    u64 mask[2] = {0}; /* struct { const sigset_t *ss; size_t len; } */
    u64 deadline;
    long ret;

    if (sigmask != 0 && copy_in(mask, sigmask, sizeof(mask)) != 0) {
        return -EFAULT;
    }
    ret = wait_deadline_in(timeout, &deadline);
    if (ret == 0) {
        ret = wait_mask_begin(t, mask[0], mask[1]);
    }
    if (ret != 0) {
        return ret;
    }
    ret = do_select(t, nfds, user, deadline);
    wait_mask_end(t, ret == -ERESTARTSYS);
    return finish(ret, deadline, timeout, false);
}
