/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A platform without processes, for tests of sentry/mm: an address space is a table of pages that
 * says what the host would show. Orders are checked as a real host would (alignment, bounds,
 * PROTECT of what is not mapped). fake_fail_nth makes an apply fail.
 */
#ifndef PAVISE_TESTS_UNIT_SENTRY_FAKE_PLATFORM_H
#define PAVISE_TESTS_UNIT_SENTRY_FAKE_PLATFORM_H

#include "base/err.h"
#include "base/memfile.h"
#include "platform/platform.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define FAKE_TASK_SIZE (1 * GiB)
#define FAKE_MIN_ADDR  0x10000UL
#define FAKE_PAGES     (FAKE_TASK_SIZE / PAGE_SIZE)

struct fake_pte {
    int fd; /* -1: not mapped */
    u32 prot;
    u64 off;
    bool private_ro;
};

struct aspace {
    struct fake_pte *ptes;
};

static u32 fake_aspaces;      /* alive */
static u64 fake_applies;      /* calls */
static u32 fake_fail_nth = 0; /* the n-th apply from now on fails */

static struct aspace *fake_aspace_new(void)
{
    struct aspace *as = malloc(sizeof(*as));

    as->ptes = mmap(NULL, FAKE_PAGES * sizeof(struct fake_pte), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert(as->ptes != MAP_FAILED);
    fake_aspaces++;
    return as;
}

static void fake_aspace_free(struct aspace *as)
{
    munmap(as->ptes, FAKE_PAGES * sizeof(struct fake_pte));
    free(as);
    fake_aspaces--;
}

/* fd is stored plus one, so that a zeroed table is empty. */
unused_arg static bool fake_is_mapped(const struct aspace *as, u64 page)
{
    return as->ptes[page].fd != 0;
}

static int fake_apply_one(struct aspace *as, const struct map_op *op)
{
    u64 page = op->addr / PAGE_SIZE, count = op->len / PAGE_SIZE;

    assert(IS_ALIGNED(op->addr | op->len, PAGE_SIZE) && op->len > 0);
    assert(range_ok(op->addr, op->len, FAKE_TASK_SIZE));
    for (u64 i = page; i < page + count; i++) {
        struct fake_pte *pte = &as->ptes[i];

        switch (op->kind) {
        case MAP_OP_MAP:
            assert(op->fd >= 0 && IS_ALIGNED(op->offset, PAGE_SIZE));
            *pte = (struct fake_pte){op->fd + 1, op->prot, op->offset + (i - page) * PAGE_SIZE,
                                     op->private_ro};
            assert(!op->private_ro || (op->prot & PROT_WRITE) == 0);
            break;
        case MAP_OP_UNMAP:
            *pte = (struct fake_pte){0};
            break;
        case MAP_OP_PROTECT:
            if (pte->fd == 0) {
                return -ENOMEM;
            }
            assert(!pte->private_ro || (op->prot & PROT_WRITE) == 0);
            pte->prot = op->prot;
            break;
        case MAP_OP_POPULATE:
            assert(pte->fd != 0);
            break;
        }
    }
    return 0;
}

static int fake_aspace_apply(struct aspace *as, const struct map_op *ops, size_t count)
{
    fake_applies++;
    for (size_t i = 0; i < count; i++) {
        int err;

        if (fake_fail_nth != 0 && --fake_fail_nth == 0) {
            return -ENOMEM;
        }
        err = fake_apply_one(as, &ops[i]);
        if (err != 0) {
            return err;
        }
    }
    return 0;
}

static const struct platform_ops fake_platform = {
    .name = "fake",
    .aspace_new = fake_aspace_new,
    .aspace_free = fake_aspace_free,
    .aspace_apply = fake_aspace_apply,
};

static void fake_platform_set(void)
{
    platform = &fake_platform;
    platform_caps = (struct platform_caps){
        .task_size = FAKE_TASK_SIZE, .min_addr = FAKE_MIN_ADDR, .max_mappings = 60000};
}

/*
 * What guest code would see at addr: 1 and the byte, 0: a fault. For a write the byte is stored.
 */
unused_arg static bool fake_access(struct aspace *as, uaddr addr, bool write, u8 *byte)
{
    struct fake_pte *pte = &as->ptes[addr / PAGE_SIZE];
    u64 off = pte->off + addr % PAGE_SIZE;
    u32 need = write ? PROT_WRITE : PROT_READ;

    if (pte->fd == 0 || (pte->prot & need) == 0) {
        return false;
    }
    if (pte->fd - 1 == memfile_fd(memfile)) {
        u8 *p = memfile_window(memfile, off, 1);

        if (write) {
            *p = *byte;
        } else {
            *byte = *p;
        }
    } else if (write) {
        assert(pwrite(pte->fd - 1, byte, 1, (off_t)off) == 1);
    } else if (pread(pte->fd - 1, byte, 1, (off_t)off) != 1) {
        *byte = 0; /* behind the end, in the last page */
    }
    return true;
}

#endif
