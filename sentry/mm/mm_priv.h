/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to sentry/mm: VMAs, PMAs and the batch of host changes.
 *
 * Key: (c) const after creation (m) mm->lock (p) mm->pma_lock (m+p) written under both, read under
 * either (a) atomic
 *
 * The order of every change: (1) the trees, (2) the host (host_flush), (3) frames that nobody maps
 * any more are given back. A frame is never freed while a host page table may still show it.
 */
#ifndef PAVISE_SENTRY_MM_MM_PRIV_H
#define PAVISE_SENTRY_MM_MM_PRIV_H

#include "base/err.h"
#include "base/heap.h"
#include "base/memfile.h"
#include "base/panic.h"
#include "base/tree.h"
#include "sentry/mm/mm.h"
#include "vfs/mappable.h"

#include <sys/mman.h>
#include <sys/queue.h>

#define VMA_SHARED      1U
#define VMA_GROWSDOWN   2U
#define VMA_NORESERVE   4U
#define VMA_LOCKED      8U
#define VMA_ONFAULT     16U /* locked, but not populated */
#define VMA_DONTFORK    32U
#define VMA_WIPEONFORK  64U
#define VMA_DONTDUMP    128U
#define VMA_MAYREAD     256U
#define VMA_MAYWRITE    512U
#define VMA_MAYEXEC     1024U
#define VMA_SPECIAL     2048U /* vDSO: never merged, no mremap growth, no DONTNEED */
#define VMA_ANON_SHARED 4096U /* MAP_SHARED | MAP_ANONYMOUS: file is an unnamed shmem file */
#define VMA_MAYANY      (VMA_MAYREAD | VMA_MAYWRITE | VMA_MAYEXEC)

#define MAX_VMAS        65530U            /* vm.max_map_count's default */
#define STACK_GUARD_GAP (256 * PAGE_SIZE) /* kept free below a growing stack */
#define STACK_GROW_STEP (16 * PAGE_SIZE)
#define EAGER_MAX       GiB /* larger private anonymous mappings get frames by faults */
#define LAZY_CHUNK      (2 * MiB)
#define COW_CHUNK       (16 * PAGE_SIZE)
#define FILE_AROUND     (16 * PAGE_SIZE) /* fault-around of file mappings starts this aligned */
#define EAGER_COW_MAX   (16 * PAGE_SIZE) /* writable private file mappings copied at mmap */
#define COPY_CHUNK      (64 * KiB)       /* most bytes moved under pma_lock at once */
#define POPULATE_ANON   (32 * KiB)       /* most that is filled ahead of use; see hostmap.c */
#define POPULATE_FILE   (2 * MiB)
#define EAGER_EXTENTS   64 /* most pieces of a file that mmap maps at once */
#define BATCH_OPS       128

/* One piece of the guest's address space as it asked for it. */
struct vma {
    RB_ENTRY(vma) link;        /* (m) */
    struct mm *mm;             /* (c) */
    uaddr start, end;          /* (m+p) */
    u64 off;                   /* (m+p) of start, into mappable; 0 if there is none */
    u32 prot;                  /* (m+p) PROT_* */
    u32 flags;                 /* (m+p) VMA_* */
    struct file *file;         /* (c) counted; NULL: private anonymous */
    struct mappable *mappable; /* (c) of file */
    const char *name;          /* (c) static storage or NULL */
    struct mapping_link mlink; /* on mappable->links while linked */
    bool linked;               /* (m) */
    bool uncounted;            /* (c) mapping_added refused: no mapping_removed */
    bool gone;                 /* (p) out of the tree: invalidation must leave its range alone */
    SLIST_ENTRY(vma) dead;     /* waits for vma_list_put */
};
SLIST_HEAD(vma_list, vma);

/* Frames behind a range. Lies in VMAs completely, perhaps in several. */
struct pma {
    RB_ENTRY(pma) link;    /* (p) */
    uaddr start, end;      /* (p) */
    u64 off;               /* (p) of start, in fd or the memory file */
    int fd;                /* (p) host file, or -1: the memory file, with a reference held */
    bool need_cow;         /* (p) a write first copies (private, and seen by others too) */
    bool writable;         /* (p) may be written in place; else, if !need_cow, ask the mappable */
    bool owned;            /* (p) this address space's own (anonymous or copied), not a file's */
    bool mapped;           /* (p) the host has a mapping for all of it */
    SLIST_ENTRY(pma) dead; /* (p) */
};

RB_HEAD(vma_tree, vma);
RB_HEAD(pma_tree, pma);

struct mm {
    struct ref ref;           /* (a) */
    struct rwlock lock;       /* LOCK_MM */
    struct mutex pma_lock;    /* LOCK_MM_PMA */
    struct vma_tree vmas;     /* (m) */
    struct pma_tree pmas;     /* (p) */
    struct aspace *aspace;    /* (c) its operations are serialised by pma_lock */
    struct pma *spare[2];     /* (p) so that a split in a range cannot fail for want of memory */
    SLIST_HEAD(, pma) dying;  /* (p) frames to give back once the host no longer maps them */
    struct map_op *ops;       /* (p) the batch: BATCH_OPS entries, allocated on use */
    u32 nr_ops;               /* (p) */
    u32 nr_vmas;              /* (m) */
    u32 nr_pmas;              /* (p) */
    int host_err;             /* (p) first error since host_flush */
    bool building;            /* (p) not ready yet: host_flush waits */
    bool host_stale;          /* (p) the host may show frames that are no longer ours to show */
    u64 total_vm;             /* (m) bytes of VMAs */
    u64 data_vm, stack_vm;    /* (m) */
    u64 exec_vm;              /* (m) */
    u64 locked_vm;            /* (m) */
    u64 peak_vm;              /* (m) */
    _Atomic u64 stack_limit;  /* (a) RLIMIT_STACK as of the last fault, for copies by the kernel */
    _Atomic u64 peak_rss;     /* (a) */
    u32 def_flags;            /* (m) VMA_LOCKED / VMA_ONFAULT of mlockall(MCL_FUTURE) */
    uaddr mmap_base;          /* (m) searches go down from here */
    uaddr free_hint;          /* (m) nothing of more than hole_size is free above it */
    u64 hole_size;            /* (m) */
    struct mm_layout layout;  /* fields by mm->lock */
    struct spinlock exe_lock; /* exe */
    struct file *exe;         /* (exe_lock) counted */
    bool exe_denied;          /* (exe_lock) writing to it is denied through us */
};

/* ---- vma.c: the VMA tree. mm->lock held for writing unless said otherwise. ---- */

struct vma *vma_find(struct mm *mm, uaddr addr);  /* first with end > addr (read lock) */
struct vma *vma_at(struct mm *mm, uaddr addr);    /* that holds addr, or NULL (read lock) */
struct vma *vma_next(struct vma *v);              /* (read lock) */
struct vma *vma_before(struct vma *v);            /* (read lock) */
struct vma *vma_first(struct mm *mm);             /* (read lock) */
struct vma *vma_prev(struct mm *mm, uaddr start); /* last with end <= start (read lock) */
/* An unlinked VMA with the same object and flags (file counted, mapping_added told). */
must_check struct vma *vma_clone(struct mm *mm, const struct vma *v);
must_check struct vma *vma_alloc(struct mm *mm);
void vma_insert(struct vma *v); /* into the tree and its mappable's list; accounts */
void vma_remove(struct vma *v, struct vma_list *dead); /* out of the tree; accounts */
void vma_list_put(struct vma_list *dead); /* no lock held: unlink from files and free */
/* Hold invalidations of v's file off, where frames move between two of its VMAs (they would see
 * them in neither). Taken before pma_lock. vma_link_locked: link v meanwhile. */
void vma_lock_file(struct vma *v);
void vma_unlock_file(struct vma *v);
void vma_link_locked(struct vma *v);
must_check int vma_split(struct vma *v, uaddr at); /* v keeps the lower part */
/* Boundaries at both ends: VMAs in the range then lie wholly in it. */
must_check int vma_isolate(struct mm *mm, uaddr start, uaddr end);
void vma_merge(struct mm *mm, uaddr start, uaddr end, struct vma_list *dead);
void vma_set_range(struct vma *v, uaddr start, uaddr end); /* keeps off in step; accounts */
void vma_set_flags(struct vma *v, u32 prot, u32 flags);    /* accounts */
void vma_free(struct vma *v); /* one that was never inserted; no lock held */
bool vma_is_private(const struct vma *v);

/* ---- pma.c: the PMA tree. pma_lock held. ---- */

struct pma *pma_find(struct mm *mm, uaddr addr); /* first with end > addr */
struct pma *pma_at(struct mm *mm, uaddr addr);
struct pma *pma_next(struct pma *p);
must_check int pma_isolate(struct mm *mm, uaddr start, uaddr end);
/* A copy of *tmpl in the tree. Takes over its memory file reference, also on error. */
must_check struct pma *pma_add(struct mm *mm, const struct pma *tmpl); /* NULL: no memory */
struct pma *pma_merge_left(struct mm *mm, struct pma *p); /* with the one before; the result */
struct pma *pma_prev(struct mm *mm, uaddr addr);          /* last with end <= addr */
/* Remove [start, end) from the tree and the host; frames go when host_flush succeeded. -ENOMEM:
 * nothing changed. */
must_check int pma_drop(struct mm *mm, uaddr start, uaddr end);
/* Let the frames of [start, end) be behind the free range at `to`. -ENOMEM: nothing changed. */
must_check int pma_move(struct mm *mm, uaddr start, uaddr end, uaddr to);
/* One reference to [off, +len) of the memory file (fd < 0) goes after the next flush. */
must_check int pma_retire(struct mm *mm, int fd, u64 off, u64 len);
void pma_refill(struct mm *mm); /* the spares */
void pma_free_all(struct mm *mm);
void pma_reap(struct mm *mm);

/* ---- hostmap.c: the batch. pma_lock held. ---- */

u32 host_prot(const struct vma *v, const struct pma *p);
void host_add(struct mm *mm, const struct map_op *op);
void host_unmap(struct mm *mm, uaddr start, uaddr end);
/* p in v became copy-on-write: take WRITE away. */
void host_protect_cow(struct mm *mm, const struct vma *v, const struct pma *p);
/* Make the host show [start, end) as the trees say. remap: the frames changed; otherwise only
 * protections did. A PMA that is not mapped yet gets mapped whole. PMAs merge: pointers to any of
 * the range and its neighbours are void afterwards. */
void host_sync(struct mm *mm, uaddr start, uaddr end, bool remap, bool populate);
int host_flush(struct mm *mm);

/* ---- fault.c: frames on demand. mm->lock held (read), pma_lock held. ---- */

/* Frames for [start, end) of v where there are none, as far as is cheap; what fails is left to
 * faults. Host changes are batched, not flushed. */
void fault_eager(struct vma *v, uaddr start, uaddr end, bool populate);
/* The page at addr, ready for a read or a write: its PMA or an error of mm_fault. Host changes are
 * batched, not flushed (nr_ops > 0 if there are any). */
must_check struct pma *fault_page(struct vma *v, uaddr addr, bool write);
/* 0, -EFAULT, -EACCES. */
must_check int fault_check(const struct vma *v, u32 access);
/* Touch every page of the range (MAP_POPULATE, mlock, MADV_POPULATE). Takes the locks itself. */
int mm_populate(struct mm *mm, uaddr start, uaddr end, bool write);
/* Grow the stack VMA above addr down to it. Takes the write lock itself. */
must_check int mm_grow_stack(struct mm *mm, uaddr addr, const struct mm_limits *l);

/* ---- place.c: where new mappings go. mm->lock held for writing. ---- */

must_check s64 place_find(struct mm *mm, uaddr hint, u64 len, u32 flags);
void place_freed(struct mm *mm, uaddr start, uaddr end);
bool place_is_free(struct mm *mm, uaddr start, u64 len);

/* ---- map.c ---- */

/* Remove mappings. mm->lock held for writing. Host changes are batched, not flushed. */
must_check int unmap_locked(struct mm *mm, uaddr start, uaddr end, struct vma_list *dead);
/* host_flush where its error changes nothing: what could not be unmapped stays allocated. */
void flush_quietly(struct mm *mm);

/* ---- limits.c. mm->lock held. ---- */

/* Bytes mapped in [start, end). */
u64 limits_mapped(struct mm *mm, uaddr start, uaddr end);
/* May `grow` more bytes be mapped with these flags? 0, -ENOMEM, -EAGAIN (memlock). */
must_check int limits_check(struct mm *mm, u64 grow, u32 prot, u32 flags, bool is_private,
                            const struct mm_limits *l);
void limits_account(struct mm *mm, const struct vma *v, u64 bytes, bool add);

#endif
