/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The zygote's first minute: a copy of the sentry (fork, but with the descriptor table shared)
 * takes off everything that ties it to the sentry and ends as an empty address space that holds
 * only the stub region, running stub_entry. It answers orders as a mapper does; the only ones it
 * gets are clones of itself: stub processes.
 *
 * Steps, in order, each undoing something inherited:
 *  1. signal handlers, alternate stack and mask: none may point into memory that will be gone;
 *  2. rseq: the host writes to the registered area at every preemption;
 *  3. the session, since a terminal's signals would end or stop the mappers; privileges: no
 *     capability and no way to gain any; PDEATHSIG, so that nothing outlives the sentry. It stays
 *     dumpable: tracing it must not need a capability;
 *  4. the host's vvar and vdso move (in two hops, since both places may overlap) into the stub
 *     region, everything else that lies there (the sentry's stack, perhaps) goes;
 *  5. the blob and the control page are mapped;
 *  6. stub_entry unmaps the rest, this code included.
 *
 * It runs on a stack of its own, mapped low, because of step 4. Errors are reported through the
 * control page, which the sentry sees at once.
 */
#include "platform/stubproc/stubproc_priv.h"

#include "base/err.h"
#include "base/host.h"
#include "base/host_trace.h"

#include <linux/capability.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/rseq.h>

static long drop_rseq(void)
{
    char *area;

    if (__rseq_size == 0) {
        return 0;
    }
    area = (char *)__builtin_thread_pointer() + __rseq_offset;
    /* glibc registers the original 32 bytes even where it announces a smaller feature size. */
    return host_rseq(area, 32, RSEQ_FLAG_UNREGISTER, RSEQ_SIG);
}

static long drop_rights(const struct zygote_args *a)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    long ret;

    ret = host_setsid();
    if (ret < 0) {
        return ret;
    }
    ret = host_prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (ret == 0) {
        ret = host_capset(&header, none);
    }
    if (ret == 0) {
        ret = host_prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    }
    if (ret == 0) {
        ret = host_prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    }
    if (ret == 0) {
        ret = host_prctl(PR_SET_NAME, (u64) "pavise-stub", 0, 0, 0);
    }
    if (ret == 0 && host_getppid() != a->sentry) {
        ret = -ESRCH;
    }
    return ret;
}

/* Move the pages of [start, start + len) one mapping at a time: mremap takes only one. */
static long move_pages_to(u64 start, u64 len, u64 to)
{
    for (u64 off = 0; off < len;) {
        u64 piece = len - off;
        long ret = -EFAULT;

        /* The longest piece that is one mapping; there are at most three (vvar, vclock, vdso). */
        for (; piece > 0; piece -= PAGE_SIZE) {
            ret = host_mremap(start + off, piece, piece, MREMAP_MAYMOVE | MREMAP_FIXED, to + off);
            if (ret >= 0) {
                break;
            }
        }
        if (piece == 0) {
            return ret;
        }
        off += piece;
    }
    return 0;
}

static bool move_vdso(const struct zygote_args *a, u64 parking)
{
    return move_pages_to(a->vdso_start, a->vdso_end - a->vdso_start, parking) == 0;
}

static long map_fixed(u64 addr, u64 len, int prot, int fd, u64 off)
{
    void *p = host_mmap((void *)addr, len, prot, MAP_SHARED | MAP_FIXED, fd, off);

    return IS_ERR(p) ? PTR_ERR(p) : 0;
}

static long map_region(const struct zygote_args *a)
{
    u64 len = a->vdso_end - a->vdso_start;
    bool vdso = false;
    long parking = 0;
    long ret;

    if (len != 0) {
        parking = (long)host_mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (IS_ERR((void *)parking)) {
            return parking;
        }
        vdso = move_vdso(a, (u64)parking);
    }
    ret = host_munmap((void *)STUB_BASE, STUB_TOP - STUB_BASE);
    if (ret < 0) {
        return ret;
    }
    if (vdso) {
        vdso = move_pages_to((u64)parking, len, STUB_VDSO) == 0;
    }
    atomic_store(&a->ctl->boot_vdso, vdso);
    /* One mapping: text, table and filters come with one page fault in each new stub. */
    ret = map_fixed(STUB_TEXT, STUB_BLOB_PAGES * PAGE_SIZE, PROT_READ | PROT_EXEC, a->blob_fd, 0);
    if (ret == 0) {
        ret = map_fixed(STUB_CTL, PAGE_SIZE, PROT_READ, a->ctl_fd, a->ctl_off);
    }
    return ret;
}

int zygote_main(void *args)
{
    struct zygote_args copy = *(const struct zygote_args *)args; /* the sentry's stack may go */
    const struct zygote_args *a = &copy;
    long ret;

    ret = host_reset_signals();
    if (ret == 0) {
        ret = drop_rseq();
    }
    if (ret == 0) {
        ret = drop_rights(a);
    }
    if (ret == 0) {
        ret = map_region(a);
    }
    if (ret < 0) {
        atomic_store(&a->ctl->boot_error, (s32)ret);
        host_exit_group(1);
    }
    ((void (*)(void))stub_place(stub_entry))();
    __builtin_unreachable();
}
