/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the sentry and the code inside a stub process agree on: where things lie in a stub's
 * address space and the layout of its control page. Included by C and by assembly; no other header
 * of ours may be needed here (the stub has no libc and no base).
 *
 * Everything of ours lies in [STUB_BASE, STUB_TOP), above all guest addresses:
 *
 *     STUB_TEXT     r-x  the blob of stub_x86_64.S            \  one memfd, the same
 *     STUB_TABLE    r-x  u64 table[512], table[i] == i         | pages for every stub
 *     STUB_FILTERS  r-x  struct stub_filters                  /
 *     STUB_CTL      r--  struct stub_ctl, one page a stub, of the control memfd
 *     STUB_VDSO     r-x  the host's vvar and vdso, as at boot
 *
 * Nothing of it is writable in the stub, so a guest can neither change what the mapper does nor
 * forge its answers: the mapper answers with pwrite(2) into the control memfd, and guest threads
 * have no descriptors (and, being traced with SYSEMU, no system calls). All sources of those
 * writes are read-only too: results are written as entries of `table`.
 */
#ifndef PAVISE_PLATFORM_SHARED_H
#define PAVISE_PLATFORM_SHARED_H

#define STUB_BASE       0x7ffffc000000
#define STUB_TEXT       STUB_BASE
#define STUB_TABLE      0x7ffffc001000
#define STUB_FILTERS    0x7ffffc002000
#define STUB_BLOB_PAGES 3
#define STUB_CTL        0x7ffffc010000
#define STUB_VDSO       0x7ffffc100000
#define STUB_TOP        0x7ffffffff000

#define STUB_TABLE_ENTRIES 512
#define STUB_TABLE_BITS    9

/* Offsets in struct stub_ctl and struct stub_order for assembly; asserted below. */
#define CTL_SEQ       0
#define CTL_COUNT     4
#define CTL_WAITING   8
#define CTL_FD        12
#define CTL_DONE_OFF  16
#define CTL_DONE_NEXT 24
#define CTL_PPID      32
#define CTL_NEVER     36
#define CTL_DONE      64
#define CTL_PART      72
#define CTL_ORDERS    128
#define ORDER_NR      0
#define ORDER_LENIENT 4
#define ORDER_ARGS    8
#define ORDER_SIZE    56

/* Offsets in struct stub_filters. */
#define FILTERS_MAPPER 0
#define FILTERS_GUEST  16

#ifndef __ASSEMBLER__

#include <linux/filter.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* One system call for the mapper to make. */
struct stub_order {
    uint32_t nr;
    uint32_t lenient; /* go on with the next order even if this one fails */
    uint64_t args[6]; /* clone: args[5] is the new stub's control page, 0 for a thread */
};

#define STUB_MAX_ORDERS 70

/*
 * A stub's control page. The sentry writes everything but the answer, which the mapper writes
 * through the descriptor. Orders are posted by raising `seq` (a futex word); the answer to seq n
 * is complete when done == n.
 */
struct stub_ctl {
    _Atomic uint32_t seq;
    uint32_t count;           /* orders in this batch */
    _Atomic uint32_t waiting; /* the sentry sleeps on `done`: wake it */
    int32_t fd;               /* the control memfd, in the shared descriptor table */
    uint64_t done_off;        /* where `done` is in the memfd; the parts follow it */
    uint64_t done_next;       /* what to write there: seq */
    uint32_t ppid;            /* the sentry; a stub born to another parent exits */
    _Atomic uint32_t never;   /* unborn threads sleep here */
    uint64_t pad[3];

    /* The answer. part[0]: index + 1 of the failed order; part[1]: its errno, or after a clone
     * part[1..3]: the thread id in pieces of STUB_TABLE_BITS. */
    _Atomic uint64_t done;
    _Atomic uint64_t part[4];
    /* Of the zygote only, written before it has given up its copy of the sentry. */
    _Atomic int32_t boot_error;
    _Atomic uint32_t boot_vdso;
    uint64_t pad2[2];

    struct stub_order orders[STUB_MAX_ORDERS];
};

_Static_assert(sizeof(struct stub_ctl) <= 4096, "one page");
_Static_assert(offsetof(struct stub_ctl, seq) == CTL_SEQ, "");
_Static_assert(offsetof(struct stub_ctl, count) == CTL_COUNT, "");
_Static_assert(offsetof(struct stub_ctl, waiting) == CTL_WAITING, "");
_Static_assert(offsetof(struct stub_ctl, fd) == CTL_FD, "");
_Static_assert(offsetof(struct stub_ctl, done_off) == CTL_DONE_OFF, "");
_Static_assert(offsetof(struct stub_ctl, done_next) == CTL_DONE_NEXT, "");
_Static_assert(offsetof(struct stub_ctl, ppid) == CTL_PPID, "");
_Static_assert(offsetof(struct stub_ctl, never) == CTL_NEVER, "");
_Static_assert(offsetof(struct stub_ctl, done) == CTL_DONE, "");
_Static_assert(offsetof(struct stub_ctl, part) == CTL_PART, "");
_Static_assert(offsetof(struct stub_ctl, orders) == CTL_ORDERS, "");
_Static_assert(offsetof(struct stub_order, lenient) == ORDER_LENIENT, "");
_Static_assert(offsetof(struct stub_order, args) == ORDER_ARGS, "");
_Static_assert(sizeof(struct stub_order) == ORDER_SIZE, "");

/* The page of filters; the programs follow the two headers. */
struct stub_filters {
    struct sock_fprog mapper;
    struct sock_fprog guest;
    struct sock_filter insns[(4096 - 32) / sizeof(struct sock_filter)];
};
_Static_assert(sizeof(struct stub_filters) <= 4096, "one page");
_Static_assert(offsetof(struct stub_filters, guest) == FILTERS_GUEST, "");

/* The blob, as bytes in the sentry, and places in it (addresses when mapped at STUB_TEXT are
 * STUB_TEXT + (place - stub_blob_start)). */
extern const char stub_blob_start[], stub_blob_end[];
extern const char stub_entry[], stub_unborn[], stub_unborn_trap[], stub_unborn_end[];

static inline uint64_t stub_place(const char *place)
{
    return STUB_TEXT + (uint64_t)(place - stub_blob_start);
}

#endif
#endif
