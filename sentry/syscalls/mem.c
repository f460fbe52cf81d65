/* SPDX-License-Identifier: Apache-2.0 */
/* Memory: mmap(2) and its kin, brk(2), memfd_create(2), process_vm_readv(2), process_madvise(2).
 * The work is in sentry/mm. */
#include "base/heap.h"
#include "base/usermem.h"
#include "sentry/kernel/pidfd.h"
#include "sentry/kernel/process.h"
#include "sentry/mm/mm.h"
#include "sentry/syscalls/syscalls.h"
#include "vfs/dev/dev.h"
#include "vfs/fdtable.h"
#include "vfs/tmpfs/tmpfs.h"

#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/personality.h>

#ifndef MAP_UNINITIALIZED
#define MAP_UNINITIALIZED 0x4000000
#endif
#define MAP_ABOVE4G_FLAG 0x80
#define MAP_HUGE_BITS    (0x3fU << 26)
#define MAP_KNOWN                                                                                  \
    (MAP_TYPE | MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_ANONYMOUS | MAP_DENYWRITE | MAP_EXECUTABLE | \
     MAP_UNINITIALIZED | MAP_GROWSDOWN | MAP_LOCKED | MAP_NORESERVE | MAP_POPULATE |               \
     MAP_NONBLOCK | MAP_STACK | MAP_HUGETLB | MAP_32BIT | MAP_ABOVE4G_FLAG | MAP_HUGE_BITS)

#define MEMFD_NAME_SIZE 250 /* "memfd:" and the name fit in NAME_MAX */
#define VM_IOV_MAX      1024UL
#define VM_BOUNCE       (32 * KiB)

static void limits_of(struct task *t, struct mm_limits *l)
{
    task_mm_limits(t, l);
}

/* What only the flags decide. */
static int mmap_check(unsigned long flags, bool has_file)
{
    if ((flags & MAP_TYPE) == MAP_SHARED_VALIDATE && (flags & ~(unsigned long)MAP_KNOWN) != 0) {
        return -EOPNOTSUPP;
    }
    if ((flags & MAP_HUGETLB) != 0) {
        return has_file ? -EINVAL : -ENOMEM; /* no huge pages are reserved here */
    }
    return 0;
}

long sys_mmap(struct task *t, uaddr addr, size_t len, unsigned long prot, unsigned long flags,
              int fd, unsigned long off)
{
    bool has_file = (flags & MAP_ANONYMOUS) == 0;
    AUTOPUT_FILE f = has_file ? fd_get(t->vfs.fdt, fd) : NULL;
    struct mm_limits l;
    struct mmap_args a = {.addr = addr,
                          .len = len,
                          .prot = (u32)prot & (PROT_READ | PROT_WRITE | PROT_EXEC),
                          .flags = (u32)flags & MAP_KNOWN,
                          .file = f,
                          .off = has_file ? off : 0,
                          .limits = &l,
                          .cred = t->vfs.cred};
    int err;

    if (!IS_ALIGNED(off, PAGE_SIZE)) {
        return -EINVAL;
    }
    if (has_file && f == NULL) {
        return -EBADF;
    }
    err = mmap_check(flags, has_file);
    if (err != 0) {
        return err;
    }
    if (has_file && file_is_dev_zero(f) && (f->mode & FMODE_READ) != 0 &&
        ((prot & PROT_WRITE) == 0 || (flags & MAP_TYPE) == MAP_PRIVATE ||
         (f->mode & FMODE_WRITE) != 0)) {
        a.file = NULL; /* /dev/zero is the old way to say anonymous */
        a.flags |= MAP_ANONYMOUS;
        a.off = 0;
    }
    limits_of(t, &l);
    if ((flags & MAP_LOCKED) != 0 && !l.may_lock && l.memlock == 0) {
        return -EPERM;
    }
    if ((t->personality & READ_IMPLIES_EXEC) != 0 && (prot & PROT_READ) != 0) {
        a.prot |= PROT_EXEC;
    }
    return mm_map(t->mm, &a);
}

long sys_munmap(struct task *t, uaddr addr, size_t len)
{
    return mm_unmap(t->mm, addr, len);
}

long sys_mprotect(struct task *t, uaddr addr, size_t len, unsigned long prot)
{
    struct mm_limits l;

    if (prot > UINT32_MAX) {
        return -EINVAL;
    }
    if ((t->personality & READ_IMPLIES_EXEC) != 0 && (prot & PROT_READ) != 0) {
        prot |= PROT_EXEC;
    }
    limits_of(t, &l);
    return mm_protect(t->mm, addr, len, (u32)prot, &l);
}

long sys_pkey_mprotect(struct task *t, uaddr addr, size_t len, unsigned long prot, int pkey)
{
    /* Without protection keys only "none" exists. */
    return pkey == -1 ? sys_mprotect(t, addr, len, prot) : -EINVAL;
}

long sys_brk(struct task *t, uaddr brk)
{
    struct mm_limits l;

    limits_of(t, &l);
    return (long)mm_brk(t->mm, brk, &l);
}

long sys_mremap(struct task *t, uaddr addr, size_t old_len, size_t new_len, unsigned long flags,
                uaddr new_addr)
{
    struct mm_limits l;

    if (flags > UINT32_MAX) {
        return -EINVAL;
    }
    limits_of(t, &l);
    return mm_remap(t->mm, addr, old_len, new_len, (u32)flags, new_addr, &l);
}

long sys_msync(struct task *t, uaddr addr, size_t len, int flags)
{
    return mm_sync(t->mm, addr, len, (u32)flags);
}

long sys_mincore(struct task *t, uaddr addr, size_t len, uaddr vec)
{
    return mm_mincore(t->mm, addr, len, vec);
}

long sys_madvise(struct task *t, uaddr addr, size_t len, int advice)
{
    return mm_advise(t->mm, addr, len, advice);
}

/* ---- locking ---- */

long sys_mlock2(struct task *t, uaddr addr, size_t len, int flags)
{
    struct mm_limits l;

    limits_of(t, &l);
    return mm_lock_range(t->mm, addr, len, (u32)flags, &l);
}

long sys_mlock(struct task *t, uaddr addr, size_t len)
{
    return sys_mlock2(t, addr, len, 0);
}

long sys_munlock(struct task *t, uaddr addr, size_t len)
{
    return mm_unlock_range(t->mm, addr, len);
}

long sys_mlockall(struct task *t, int flags)
{
    struct mm_limits l;

    limits_of(t, &l);
    return mm_lock_all(t->mm, (u32)flags, &l);
}

long sys_munlockall(struct task *t)
{
    return mm_unlock_all(t->mm);
}

/* ---- memfd ---- */

long sys_memfd_create(struct task *t, uaddr name, unsigned int flags)
{
    char kname[MEMFD_NAME_SIZE];
    struct file *f;
    ssize_t n;

    if ((flags & MFD_HUGETLB) != 0) {
        return -EINVAL;
    }
    n = copy_in_str(kname, name, sizeof(kname));
    if (n < 0) {
        return n == -ENAMETOOLONG ? -EINVAL : n;
    }
    f = memfd_new(kname, flags, t->vfs.cred);
    if (IS_ERR(f)) {
        return PTR_ERR(f);
    }
    return fd_install(t->vfs.fdt, f, 0, task_rlimit(t, RLIMIT_NOFILE), (flags & MFD_CLOEXEC) != 0);
}

/* ---- another process's memory ---- */

/* The address space of a process that t may inspect: counted, ERR_PTR. */
static struct mm *other_mm(struct task *t, struct task *other)
{
    int err = task_may_inspect(t, other);
    struct mm *mm;

    if (err != 0) {
        return ERR_PTR(err);
    }
    mm = task_mm_get(other);
    return mm != NULL ? mm : ERR_PTR(-ESRCH);
}

static struct mm *mm_of_pid(struct task *t, int pid)
{
    struct task *other = task_find(pid);
    struct mm *mm;

    if (other == NULL) {
        return ERR_PTR(-ESRCH);
    }
    mm = other_mm(t, other);
    task_put(other);
    return mm;
}

/* A guest's iovec array in kernel memory: heap, NULL for none, ERR_PTR. */
static struct iovec *iov_in(uaddr vec, unsigned long count)
{
    struct iovec *iov;
    u64 total = 0;

    if (count == 0) {
        return NULL;
    }
    if (count > VM_IOV_MAX) {
        return ERR_PTR(-EINVAL);
    }
    iov = heap_alloc(count * sizeof(*iov));
    if (iov == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    if (copy_in(iov, vec, count * sizeof(*iov)) != 0) {
        heap_free(iov);
        return ERR_PTR(-EFAULT);
    }
    for (unsigned long i = 0; i < count; i++) {
        if (iov[i].iov_len > (u64)INT64_MAX - total) {
            heap_free(iov);
            return ERR_PTR(-EINVAL);
        }
        total += iov[i].iov_len;
    }
    return iov;
}

/* A walk over one of the two vectors. */
struct vec {
    const struct iovec *iov;
    unsigned long count;
    size_t done; /* of iov[0] */
};

/* Bytes at the front of the vector; skips empty segments. 0: the end. */
static size_t vec_front(struct vec *v, uaddr *addr)
{
    while (v->count > 0 && v->done == v->iov->iov_len) {
        v->iov++;
        v->count--;
        v->done = 0;
    }
    if (v->count == 0) {
        return 0;
    }
    *addr = (uaddr)v->iov->iov_base + v->done;
    return v->iov->iov_len - v->done;
}

/* Move bytes between the caller's memory and `mm`; bytes done, or -EFAULT if none. */
static ssize_t vm_transfer(struct mm *mm, struct vec *local, struct vec *remote, bool write,
                           char *bounce)
{
    ssize_t done = 0;

    for (;;) {
        uaddr la = 0, ra = 0;
        size_t len = min(vec_front(local, &la), vec_front(remote, &ra));
        ssize_t n;

        len = min(len, VM_BOUNCE);
        if (len == 0) {
            return done;
        }
        n = write ? copy_in_some(bounce, la, len) : mm_copy_in(mm, bounce, ra, len, false);
        if (n > 0) {
            n = write ? mm_copy_out(mm, ra, bounce, (size_t)n, false)
                      : copy_out_some(la, bounce, (size_t)n);
        }
        if (n <= 0) {
            return done != 0 ? done : -EFAULT;
        }
        done += n;
        local->done += (size_t)n;
        remote->done += (size_t)n;
        if ((size_t)n < len) {
            return done;
        }
    }
}

static long vm_rw_vecs(struct task *t, int pid, struct vec *local, struct vec *remote, bool write)
{
    struct mm *mm = mm_of_pid(t, pid);
    char *bounce;
    long ret;

    if (IS_ERR(mm)) {
        return PTR_ERR(mm);
    }
    bounce = heap_alloc(VM_BOUNCE);
    ret = bounce != NULL ? vm_transfer(mm, local, remote, write, bounce) : -ENOMEM;
    heap_free(bounce);
    mm_put(mm);
    return ret;
}

static long vm_rw(struct task *t, int pid, uaddr lvec, unsigned long lcount, uaddr rvec,
                  unsigned long rcount, unsigned long flags, bool write)
{
    struct iovec *liov, *riov;
    long ret = 0;

    if (flags != 0) {
        return -EINVAL;
    }
    liov = iov_in(lvec, lcount);
    if (IS_ERR(liov)) {
        return PTR_ERR(liov);
    }
    riov = iov_in(rvec, rcount);
    if (IS_ERR(riov)) {
        heap_free(liov);
        return PTR_ERR(riov);
    }
    if (liov != NULL && riov != NULL) {
        struct vec local = {liov, lcount, 0}, remote = {riov, rcount, 0};

        ret = vm_rw_vecs(t, pid, &local, &remote, write);
    }
    heap_free(liov);
    heap_free(riov);
    return ret;
}

long sys_process_vm_readv(struct task *t, int pid, uaddr lvec, unsigned long lcount, uaddr rvec,
                          unsigned long rcount, unsigned long flags)
{
    return vm_rw(t, pid, lvec, lcount, rvec, rcount, flags, false);
}

long sys_process_vm_writev(struct task *t, int pid, uaddr lvec, unsigned long lcount, uaddr rvec,
                           unsigned long rcount, unsigned long flags)
{
    return vm_rw(t, pid, lvec, lcount, rvec, rcount, flags, true);
}

/* The mm a pidfd stands for, counted; ERR_PTR. */
static struct mm *mm_of_pidfd(struct task *t, int pidfd)
{
    AUTOPUT_FILE f = fd_get(t->vfs.fdt, pidfd);
    struct thread_group *tg = f != NULL ? pidfd_tg(f) : NULL;
    struct mm *mm;

    if (tg == NULL) {
        return ERR_PTR(-EBADF);
    }
    mm = mm_of_pid(t, tg->tgid);
    tg_put(tg);
    return mm;
}

static bool advice_for_others(int advice)
{
    return advice == MADV_COLD || advice == MADV_PAGEOUT || advice == MADV_WILLNEED;
}

static long advise_iov(struct mm *mm, const struct iovec *iov, size_t count, int advice)
{
    long done = 0;

    for (size_t i = 0; i < count; i++) {
        int err = mm_advise(mm, (uaddr)iov[i].iov_base, iov[i].iov_len, advice);

        if (err != 0) {
            return done != 0 ? done : err;
        }
        done += (long)iov[i].iov_len;
    }
    return done;
}

long sys_process_madvise(struct task *t, int pidfd, uaddr iov, size_t count, int advice,
                         unsigned int flags)
{
    struct iovec *kiov;
    struct mm *mm;
    long ret;

    if (flags != 0) {
        return -EINVAL;
    }
    kiov = iov_in(iov, count);
    if (IS_ERR(kiov)) {
        return PTR_ERR(kiov);
    }
    mm = mm_of_pidfd(t, pidfd);
    if (IS_ERR(mm)) {
        heap_free(kiov);
        return PTR_ERR(mm);
    }
    ret = advice_for_others(advice) ? advise_iov(mm, kiov, kiov != NULL ? count : 0, advice)
                                    : -EINVAL;
    mm_put(mm);
    heap_free(kiov);
    return ret;
}
