/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What mm needs from a file to map it. A mappable is embedded in an inode (of tmpfs, hostfs, memfd,
 * shared anonymous memory); a VMA holds the struct file, which keeps the inode alive.
 *
 * Frames are named by host file and offset: pages of tmpfs lie in the memory file (extent.memfile),
 * pages of host files in the host file itself (mapped directly, page cache shared with the host).
 *
 * A shared mapping and read/write see the same frames. When pages go away or change place
 * (truncate, hole punch, overlay copy-up) the file system calls mappable_invalidate after it
 * changed its own tables, and mm drops the frames it holds in that range; the next touch asks
 * again.
 *
 * Locking: LOCK_MAPPING protects the list and is held while callbacks run; mm's callbacks take
 * LOCK_MM_PMA inside it. mappable_invalidate must be called with no lock ranked at or above
 * LOCK_MM held. get_extent runs under LOCK_MM_PMA.
 */
#ifndef PAVISE_VFS_MAPPABLE_H
#define PAVISE_VFS_MAPPABLE_H

#include "base/base.h"
#include "base/sched/lock.h"

#include <sys/queue.h>

struct inode;
struct mappable;

/* Where a run of pages lies. */
struct extent {
    bool memfile;  /* in the memory file, with one reference taken for the caller (memfile_unref) */
    int fd;        /* !memfile: host descriptor, valid while the inode lives */
    u64 off;       /* into either */
    u64 len;       /* bytes; multiple of PAGE_SIZE */
    bool writable; /* may be mapped writable (shared) as it is */
};

struct mappable_ops {
    /*
     * The frames of [off, off+len), page-aligned. Fills one extent that covers at least the page at
     * `off` and at most len. `write`: will be written through the mapping (allocate, copy up).
     * Returns 0, -ENXIO for a page beyond the end of file (SIGBUS), -ENOMEM, -ENOSPC, -EIO. May
     * park.
     */
    int (*get_extent)(struct mappable *m, u64 off, u64 len, bool write, struct extent *out);
    /* A mapping comes or goes (counts writers for seals and ETXTBSY). -EPERM: sealed. May be NULL.
     */
    int (*mapping_added)(struct mappable *m, bool shared_writable);
    void (*mapping_removed)(struct mappable *m, bool shared_writable);
    /* Write [off, off+len) of the file back (msync MS_SYNC). May be NULL. */
    int (*sync)(struct mappable *m, u64 off, u64 len);
};

/* One mapping of the file, embedded in mm's VMA. */
struct mapping_link {
    LIST_ENTRY(mapping_link) link; /* (m->lock) */
    /* Drop the frames of file range [off, off+len) from the page tables. `even_private`: also
     * copies made by private writes (truncate), else only frames of the file itself. */
    void (*invalidate)(struct mapping_link *l, u64 off, u64 len, bool even_private);
};

struct mappable {
    const struct mappable_ops *ops;              /* (c) */
    struct inode *inode;                         /* (c) owner */
    struct mutex lock;                           /* LOCK_MAPPING */
    LIST_HEAD(mapping_list, mapping_link) links; /* (lock) */
};

void mappable_init(struct mappable *m, const struct mappable_ops *ops, struct inode *inode);
void mappable_fini(struct mappable *m);
void mappable_link(struct mappable *m, struct mapping_link *l);
void mappable_unlink(struct mappable *m, struct mapping_link *l);
void mappable_invalidate(struct mappable *m, u64 off, u64 len, bool even_private);

#endif
