/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An address space (DESIGN 4). Two trees over guest addresses:
 *
 * - VMAs: what the guest asked for (range, protection, flags, file).
 * - PMAs: which frames are behind it so far (range, host file, offset, "needs copy before write").
 * A page without a PMA has never been touched or was dropped; a fault makes one.
 *
 * The host's page tables (platform aspace) are a cache of VMA protection over PMAs.
 *
 * Locking: mm->lock (LOCK_MM) protects the VMA tree: read for look-ups, write for changes.
 * mm->pma_lock (LOCK_MM_PMA) protects the PMA tree and the order of platform calls; taken inside
 * mm->lock. Never hold either while copying to or from a guest, or calling a file's op other than
 * mappable get_extent.
 *
 * Errors of faults: -EFAULT no mapping (SEGV_MAPERR), -EACCES not with this access (SEGV_ACCERR),
 * -ENXIO beyond the end of the mapped file (SIGBUS/BUS_ADRERR), -ENOMEM out of memory (OOM kill).
 */
#ifndef PAVISE_SENTRY_MM_MM_H
#define PAVISE_SENTRY_MM_MM_H

#include "base/base.h"
#include "base/ref.h"
#include "base/sched/lock.h"
#include "platform/platform.h"

#include <sys/resource.h>

struct cred;
struct file;
struct mappable;
struct mm;

/* The caller's limits, copied by value (sentry/kernel reads them under its own lock). */
struct mm_limits {
    u64 as;        /* RLIMIT_AS */
    u64 data;      /* RLIMIT_DATA */
    u64 stack;     /* RLIMIT_STACK */
    u64 memlock;   /* RLIMIT_MEMLOCK */
    bool may_lock; /* CAP_IPC_LOCK */
};

/* Where things lie, for /proc/PID/{stat,maps,cmdline,environ,auxv} and prctl(PR_SET_MM). */
struct mm_layout {
    uaddr start_code, end_code, start_data, end_data;
    uaddr start_brk, brk; /* (mm->lock) */
    uaddr start_stack;
    uaddr arg_start, arg_end, env_start, env_end;
    uaddr vdso;
    u64 auxv[64]; /* pairs, ended by AT_NULL */
    u32 auxv_len; /* u64 words in use */
};

must_check struct mm *mm_new(void); /* ERR_PTR; empty, layout randomised */
must_check struct mm *
mm_fork(struct mm *mm); /* ERR_PTR; copy on write; DONTFORK, WIPEONFORK honoured */
/* For the loader, before the first mapping: where mmap goes, given RLIMIT_STACK. */
void mm_place(struct mm *mm, u64 stack_limit, bool randomise);
/* From mm_new until mm_ready nobody runs in the address space, and its mappings are only gathered;
 * mm_ready gives them to the platform in one go. mm_fork's result is ready. -ENOMEM. */
must_check int mm_ready(struct mm *mm);
struct mm *mm_get(struct mm *mm);
void mm_put(struct mm *mm);
/* False when the address space is already being torn down (for /proc and process_vm_readv). */
must_check bool mm_get_unless_dead(struct mm *mm);
struct aspace *mm_aspace(const struct mm *mm);
struct mm_layout *mm_layout(struct mm *mm);
struct file *mm_exe_file(struct mm *mm); /* counted; NULL if none */
void mm_set_exe_file(struct mm *mm, struct file *f);

struct mmap_args {
    uaddr addr; /* hint or MAP_FIXED address */
    u64 len;
    u32 prot, flags; /* PROT_*, MAP_* as of mmap(2); unknown MAP bits were refused by the caller for
                      * MAP_SHARED_VALIDATE */
    struct file *file;         /* borrowed; NULL: anonymous */
    struct mappable *mappable; /* instead of file: an object that is never freed (the vDSO) */
    u64 off;                   /* bytes, page-aligned */
    const char *name;          /* shown in maps ("[vdso]", "[stack]") or NULL; static storage */
    const struct mm_limits *limits; /* NULL: unlimited (loader) */
    const struct cred *cred;        /* MAP_SHARED | MAP_ANONYMOUS: whose object it is; borrowed */
    bool special;                   /* the vDSO and its data: never merged, moved whole only */
};
must_check s64 mm_map(struct mm *mm, const struct mmap_args *args); /* the address or -errno */
must_check int mm_unmap(struct mm *mm, uaddr addr, u64 len);
must_check int mm_protect(struct mm *mm, uaddr addr, u64 len, u32 prot,
                          const struct mm_limits *l); /* PROT_GROWSDOWN too */
must_check s64 mm_remap(struct mm *mm, uaddr old, u64 old_len, u64 new_len, u32 flags,
                        uaddr new_addr, const struct mm_limits *l);
must_check uaddr mm_brk(struct mm *mm, uaddr brk, const struct mm_limits *l);
must_check int mm_advise(struct mm *mm, uaddr addr, u64 len, int advice);
must_check int mm_sync(struct mm *mm, uaddr addr, u64 len, u32 flags);
must_check int mm_mincore(struct mm *mm, uaddr addr, u64 len,
                          uaddr vec); /* vec in the current address space */
must_check int mm_lock_range(struct mm *mm, uaddr addr, u64 len, u32 flags,
                             const struct mm_limits *l); /* mlock2 */
must_check int mm_unlock_range(struct mm *mm, uaddr addr, u64 len);
must_check int mm_lock_all(struct mm *mm, u32 flags, const struct mm_limits *l);
must_check int mm_unlock_all(struct mm *mm);

/* A fault reported by the platform: 0 means "run on". */
must_check int mm_fault(struct mm *mm, uaddr addr, u32 access, const struct mm_limits *l);

/* Copies with an explicit address space (the current one's are base/usermem.h, served by the same
 * code). Partial variants return bytes done or -EFAULT. `force`: ignore protection (ptrace,
 * /proc/PID/mem). */
must_check ssize_t mm_copy_in(struct mm *mm, void *dst, uaddr src, size_t len, bool force);
must_check ssize_t mm_copy_out(struct mm *mm, uaddr dst, const void *src, size_t len, bool force);

/* Atomics on aligned guest words, for futex, robust lists and rseq: 0 or -EFAULT. */
must_check int mm_load_u32(struct mm *mm, uaddr addr, u32 *out);
/* Only if the page is already there and no lock must be waited for (futex buckets are held): else
 * -EAGAIN. Takes no lock ranked below LOCK_FUTEX other than by trylock. */
must_check int mm_load_u32_nofault(struct mm *mm, uaddr addr, u32 *out);
must_check int mm_cmpxchg_u32_nofault(struct mm *mm, uaddr addr, u32 *expected, u32 desired);
must_check int mm_cmpxchg_u32(struct mm *mm, uaddr addr, u32 *expected,
                              u32 desired); /* *expected: what was there */

/* What a futex address names: private (mm, address) or shared (mappable or shared anonymous object,
 * offset). */
struct futex_key {
    const void *object; /* identity only */
    u64 offset;
};
must_check int mm_futex_key(struct mm *mm, uaddr addr, bool shared, struct futex_key *out);

/* Numbers for /proc and getrusage, in bytes. */
struct mm_usage {
    u64 total_vm, locked, data, stack, exec, lib, rss_anon, rss_file, rss_shmem, peak_vm, peak_rss,
        pte;
};
void mm_get_usage(struct mm *mm, struct mm_usage *out);

/* One VMA a call, in order, without a lock held during fn: for maps, smaps, pagemap. */
struct vma_info {
    uaddr start, end;
    u32 prot, flags; /* PROT_*, MAP_SHARED/PRIVATE/GROWSDOWN... */
    u64 off;
    struct file *file;                      /* counted for the call; NULL: anonymous */
    const char *name;                       /* "[heap]" "[stack]" "[vdso]" or NULL */
    u64 rss, private_dirty, shared, locked; /* bytes */
    bool dontfork, wipeonfork, noreserve;
};
must_check int mm_next_vma(struct mm *mm, uaddr from,
                           struct vma_info *out); /* first with end > from; -ENOENT */

/* At boot: serve base/usermem.h from the current task's mm, found through `current`. */
void mm_boot(struct mm *(*current_mm)(void));

#endif
