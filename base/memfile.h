/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory file (DESIGN 4): a sparse memfd from which every page of guest memory and of
 * tmpfs comes, mapped in the sentry as one linear window. A frame is named by file and
 * offset. Offsets are cheap (16 TiB of them), memory is used when a page is touched.
 *
 * It lives in base, not in sentry/mm, because tmpfs and pipes hold frames too.
 *
 * Locking: one internal lock (leaf rank). Nothing here parks. All offsets and lengths are
 * multiples of PAGE_SIZE. Reference counts are kept per range, not per page, so that a
 * 1 GiB mapping costs one node.
 */
#ifndef PAVISE_BASE_MEMFILE_H
#define PAVISE_BASE_MEMFILE_H

#include "base/base.h"

struct memfile;

/* What the memory of a frame is for: shown by debug --slabs and /proc/meminfo. */
enum memfile_kind { MEMFILE_ANON, MEMFILE_SHMEM, MEMFILE_PIPE, MEMFILE_KINDS };

/* Create the memfd and its window; once, at boot, before lock-down. `limit` is the most bytes that
 * may be in use (the --memory option), 0 for no limit. */
must_check struct memfile *memfile_new(u64 limit);

int memfile_fd(const struct memfile *mf);

/* `len` bytes of zeroes, contiguous, one reference each; 2 MiB-aligned from 2 MiB on. -ENOMEM when
 * out of offsets or bookkeeping. It charges nothing: ask memfile_charge_check before. */
must_check int memfile_alloc(struct memfile *mf, u64 len, enum memfile_kind kind, u64 *off);

/* Another owner of [off, off+len). -ENOMEM if the bookkeeping cannot grow. */
must_check int memfile_ref(struct memfile *mf, u64 off, u64 len);

/* One owner less; pages left without one are given back to the host (punched). Never fails. */
void memfile_unref(struct memfile *mf, u64 off, u64 len);

/* How many owners has the frame at `off`, and how far does the same count reach?
 * *run is set to the length (<= max_len) over which the count is the same. */
u32 memfile_refs(struct memfile *mf, u64 off, u64 max_len, u64 *run);

/* Make [off, off+len) read as zeroes and give its memory back; the references stay. */
void memfile_decommit(struct memfile *mf, u64 off, u64 len);

/* The sentry's view of [off, off+len): plain memory, valid while a reference is held. */
void *memfile_window(const struct memfile *mf, u64 off, u64 len);

/* The one memory file of this sandbox (set by memfile_new). */
extern struct memfile *memfile;

/*
 * May `more` bytes be touched without passing the limit? 0 or -ENOMEM. An estimate: guest threads
 * touch pages without our knowing, so what they commit between two looks comes on top. Cheap enough
 * for every fault and every write.
 */
must_check int memfile_charge_check(const struct memfile *mf, u64 more);

/* Bytes with memory behind them (the host's st_blocks, at most 10 ms old) and the limit; for
 * meminfo and OOM. */
u64 memfile_committed(const struct memfile *mf);
u64 memfile_limit(const struct memfile *mf);
u64 memfile_kind_bytes(const struct memfile *mf, enum memfile_kind kind);

#endif
