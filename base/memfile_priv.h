/* SPDX-License-Identifier: Apache-2.0 */
/* Between memfile.c (owners) and memfile_free.c (free offsets). */
#ifndef PAVISE_BASE_MEMFILE_PRIV_H
#define PAVISE_BASE_MEMFILE_PRIV_H

#include "base/memfile.h"
#include "base/spin_priv.h"
#include "base/tree.h"

#include <sys/queue.h>

#define HUGE_ALIGN (2 * MiB)
#define MAX_SPARE  32

struct memfile_segment {
    RB_ENTRY(memfile_segment) link; /* in used or free, by offset */
    union {
        RB_ENTRY(memfile_segment) by_size;     /* in free_sizes */
        SLIST_ENTRY(memfile_segment) in_spare; /* in spare */
    };
    u64 off, len;
    u32 refs; /* 0: a free run */
    u32 kind;
};
RB_HEAD(segment_tree, memfile_segment);
RB_HEAD(size_tree, memfile_segment);

/* Key: (c) const after creation, (l) lock, (a) atomic. */
struct memfile {
    int fd;                                        /* (c) */
    char *window;                                  /* (c) */
    u64 size;                                      /* (c) bytes of offsets */
    u64 limit;                                     /* (c) */
    struct raw_spin lock;                          /* takes only the heap's locks */
    struct segment_tree used, free;                /* (l) */
    struct size_tree free_sizes;                   /* (l) */
    SLIST_HEAD(spare_list, memfile_segment) spare; /* (l) for what must not fail */
    u32 nr_spare;                                  /* (l) */
    u64 end;                                       /* (l) */
    _Atomic u64 kind_bytes[MEMFILE_KINDS];         /* (a) bytes of offsets with owners */
    _Atomic u64 committed, committed_at;           /* (a) the last st_blocks and its time */
};

static inline int segment_cmp(const struct memfile_segment *a, const struct memfile_segment *b)
{
    return a->off < b->off ? -1 : a->off > b->off;
}
RB_GENERATE_STATIC(segment_tree, memfile_segment, link, segment_cmp)

/* ---- memfile_free.c; all with the lock held ---- */

/* A segment for a step that must not fail: from the heap, else from the reserve. */
must_check struct memfile_segment *segment_get(struct memfile *mf, bool may_fail);
void segment_drop(struct memfile *mf, struct memfile_segment *s);
void segments_drop_spare(struct memfile *mf);

/* Offsets that nobody owns, 2 MiB-aligned from 2 MiB on. False: there are none, or no memory. */
must_check bool offsets_take(struct memfile *mf, u64 len, u64 *off);
/* [off, off+len), which is punched out already, becomes free; takes over `s`, the node for it. */
void offsets_give(struct memfile *mf, struct memfile_segment *s, u64 off, u64 len);

#endif
