/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sentry's side of stub processes: boot, birth, orders, end.
 *
 * Hand-over of a batch (both words in the control page, which only the sentry maps writable):
 *
 *     sentry                                  mapper
 *     write orders, count, done_next          [a] sleep while seq == last
 *     [b] seq = n (release)                   run the orders
 *     FUTEX_WAKE seq                          [c] done = n (pwrite: a full barrier)
 *     [d] waiting = 1 (seq_cst)               [e] if (waiting) FUTEX_WAKE done
 *     [f] sleep while done != n
 *
 * [c] before [e] and [d] before [f]: either the mapper sees waiting, or the sentry sees done.
 * The wake after [b] may come before the mapper sleeps: its FUTEX_WAIT compares seq.
 *
 * The answer is written through a descriptor that guest threads do not have, so it can be
 * believed: "unmapped" means that no guest thread can reach the page any more, and its frame may
 * be given to somebody else. A dead mapper never answers; whoever waits looks at `dead` now and
 * then, and the stall hook lets a platform find out.
 *
 * What nobody needs the answer of at once (emptying, births) is posted and left; the next batch
 * takes the answer first.
 *
 * All stubs share one descriptor table with the sentry (CLONE_FILES), so orders name the sentry's
 * descriptors. The sentry must not unshare its table after boot.
 */
#include "platform/stubproc/stubproc.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/heap.h"
#include "base/host.h"
#include "base/host_trace.h"
#include "base/log.h"
#include "base/panic.h"
#include "platform/stubproc/stubproc_priv.h"

#include <fcntl.h>
#include <linux/mman.h>
#include <signal.h>
#include <stdio.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CTL_PAGES    65536U
#define ZYGOTE_STACK (256 * KiB)
#define STALL_NS     (20 * NSEC_PER_MSEC)

/* Host resources of the process, made at boot; not guest state, hence not in the kernel heap. */
static struct {
    int ctl_fd;             /* (c) */
    int blob_fd;            /* (c) */
    struct stub_ctl *pages; /* (c) the sentry's window on the control memfd, CTL_PAGES long */
    struct stub zygote;     /* its lock serialises births */
    struct spinlock lock;   /* guards used and next */
    u64 *used;              /* (lock) bitmap of control pages */
    u32 next;               /* (lock) where to look for a free one */
    pid_t sentry;           /* (c) */
    void (*stalled)(struct stub *s);
} stubs = {.ctl_fd = -1, .blob_fd = -1, .lock = SPINLOCK_INIT};

/* Control pages are 4 KiB apart; the struct is smaller. */
static struct stub_ctl *ctl_page(u32 slot)
{
    return (struct stub_ctl *)((char *)stubs.pages + (u64)slot * PAGE_SIZE);
}

static int slot_alloc(void)
{
    SPIN_GUARD(&stubs.lock);
    for (u32 i = 0; i < CTL_PAGES; i++) {
        u32 slot = (stubs.next + i) % CTL_PAGES;

        if (!(stubs.used[slot / 64] & (1UL << (slot % 64)))) {
            stubs.used[slot / 64] |= 1UL << (slot % 64);
            stubs.next = slot + 1;
            return (int)slot;
        }
    }
    return -EAGAIN;
}

static void slot_free(u32 slot)
{
    SPIN_GUARD(&stubs.lock);
    stubs.used[slot / 64] &= ~(1UL << (slot % 64));
    if (slot < stubs.next) {
        stubs.next = slot;
    }
}

static void ctl_init(struct stub *s, u32 slot)
{
    s->slot = slot;
    s->seq = 0;
    s->ctl = ctl_page(slot);
    memset(s->ctl, 0, PAGE_SIZE);
    s->ctl->fd = stubs.ctl_fd;
    s->ctl->done_off = (u64)slot * PAGE_SIZE + CTL_DONE;
    s->ctl->ppid = (u32)stubs.sentry;
}

void stub_set_stall_hook(void (*stalled)(struct stub *s))
{
    stubs.stalled = stalled;
}

static bool answered(const struct stub *s)
{
    return (u32)atomic_load_explicit(&s->ctl->done, memory_order_acquire) == s->seq;
}

/* No spinning: with it a map order took 21 to 28 us between system calls, without it 18. */
static int wait_for_answer(struct stub *s)
{
    atomic_store(&s->ctl->waiting, 1);
    while (!answered(s)) {
        long ret;

        if (atomic_load(&s->dead)) {
            return -ESRCH;
        }
        ret = host_futex_wait_shared((_Atomic u32 *)&s->ctl->done, s->seq - 1,
                                     clock_monotonic() + STALL_NS);
        if (ret == -ETIMEDOUT && !answered(s) && stubs.stalled != NULL) {
            stubs.stalled(s);
        }
    }
    return 0;
}

/* Post what is queued. */
static void post(struct stub *s)
{
    struct stub_ctl *ctl = s->ctl;

    s->seq++;
    ctl->count = s->queued;
    ctl->done_next = s->seq;
    atomic_store_explicit(&ctl->waiting, 0, memory_order_relaxed);
    atomic_store_explicit(&ctl->part[0], 0, memory_order_relaxed);
    atomic_store_explicit(&ctl->seq, s->seq, memory_order_release);
    (void)host_futex_wake_shared(&ctl->seq, 1);
    s->queued = 0;
}

/* The answer to what was posted: 0 or -errno. */
static int collect(struct stub *s)
{
    int ret = wait_for_answer(s);

    if (ret == 0 && atomic_load_explicit(&s->ctl->part[0], memory_order_relaxed) != 0) {
        ret = -(int)atomic_load_explicit(&s->ctl->part[1], memory_order_relaxed);
    }
    return ret;
}

/* As collect, of a clone: the id of the newborn or -errno. */
static int collect_id(struct stub *s)
{
    struct stub_ctl *ctl = s->ctl;
    int ret = collect(s);

    if (ret < 0) {
        return ret;
    }
    return (int)(atomic_load(&ctl->part[1]) | atomic_load(&ctl->part[2]) << STUB_TABLE_BITS |
                 atomic_load(&ctl->part[3]) << 2 * STUB_TABLE_BITS);
}

static void flush(struct stub *s)
{
    if (s->queued == 0 || s->error != 0) {
        s->queued = 0;
        return;
    }
    post(s);
    s->error = collect(s);
}

void stub_kill(struct stub *s)
{
    /* Not reaped yet, so the pid is still its own. */
    (void)!host_kill(s->pid, SIGKILL);
}

/* Take the answer to what was posted without waiting. */
static void settle(struct stub *s)
{
    enum stub_pending pending = s->pending;
    int ret;

    s->pending = STUB_PENDING_NONE;
    switch (pending) {
    case STUB_PENDING_NONE:
        break;
    case STUB_PENDING_CLEAR:
        ret = collect(s);
        if (ret < 0 && ret != -ESRCH) { /* out of memory: its guest must not go on */
            log_warn(LOG_PLATFORM, "stub process %d cannot be emptied: error %d", s->pid, -ret);
            stub_kill(s);
            s->error = -ESRCH;
        }
        break;
    case STUB_PENDING_THREAD:
        ret = collect_id(s);
        s->spare_tid = ret < 0 ? 0 : ret;
        break;
    case STUB_PENDING_BIRTH:
        s->newborn->pid = collect_id(s);
        s->newborn = NULL;
        break;
    default:
        BUG("pending %d", (int)pending);
    }
}

void stub_begin(struct stub *s)
{
    mutex_lock(&s->lock);
    CHECK(s->queued == 0, "orders left over: %u", s->queued);
    s->error = atomic_load(&s->dead) ? -ESRCH : 0;
    settle(s);
}

/* Instead of stub_end: the answer is taken by the next stub_begin. */
static void end_pending(struct stub *s, enum stub_pending pending)
{
    if (s->error == 0) {
        post(s);
        s->pending = pending;
    }
    s->queued = 0;
    mutex_unlock(&s->lock);
}

void stub_add(struct stub *s, const struct stub_order *order)
{
    ASSERT_HELD(&s->lock);
    s->ctl->orders[s->queued++] = *order;
    if (s->queued == STUB_MAX_ORDERS) {
        flush(s);
    }
}

int stub_end(struct stub *s)
{
    int ret;

    ASSERT_HELD(&s->lock);
    flush(s);
    ret = s->error;
    mutex_unlock(&s->lock);
    return ret;
}

static struct stub_order order_of(const struct map_op *op)
{
    struct stub_order o = {.args = {op->addr, op->len}};

    switch (op->kind) {
    case MAP_OP_MAP:
        o.nr = SYS_mmap;
        o.args[2] = op->prot;
        o.args[3] = MAP_FIXED | MAP_NORESERVE | (op->private_ro ? MAP_PRIVATE : MAP_SHARED) |
                    (op->populate ? MAP_POPULATE : 0);
        o.args[4] = (u64)op->fd;
        o.args[5] = op->offset;
        break;
    case MAP_OP_UNMAP:
        o.nr = SYS_munmap;
        break;
    case MAP_OP_PROTECT:
        o.nr = SYS_mprotect;
        o.args[2] = op->prot;
        break;
    case MAP_OP_POPULATE:
        o.nr = SYS_madvise;
        o.lenient = 1; /* a hint: a page that cannot be had now faults later */
        o.args[2] = op->prot & PROT_WRITE ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;
        break;
    default:
        BUG("map_op kind %d", (int)op->kind);
    }
    return o;
}

int stub_apply(struct stub *s, const struct map_op *ops, size_t count)
{
    stub_begin(s);
    for (size_t i = 0; i < count; i++) {
        struct stub_order o = order_of(&ops[i]);

        CHECK(range_ok(ops[i].addr, ops[i].len, STUB_BASE), "map_op at %#lx+%#lx", ops[i].addr,
              ops[i].len);
        stub_add(s, &o);
    }
    return stub_end(s);
}

void stub_post_clear(struct stub *s)
{
    struct stub_order o = {.nr = SYS_munmap, .args = {0, STUB_BASE}};

    stub_begin(s);
    stub_add(s, &o);
    end_pending(s, STUB_PENDING_CLEAR);
}

static const struct stub_order thread_order = {.nr = SYS_clone, .args = {STUB_THREAD_FLAGS}};

void stub_post_thread(struct stub *s)
{
    stub_begin(s);
    if (s->spare_tid == 0) {
        stub_add(s, &thread_order);
        end_pending(s, STUB_PENDING_THREAD);
    } else {
        mutex_unlock(&s->lock);
    }
}

int stub_new_thread(struct stub *s)
{
    int tid;

    stub_begin(s);
    tid = s->spare_tid;
    s->spare_tid = 0;
    if (s->error != 0) {
        tid = s->error;
    } else if (tid == 0) {
        stub_add(s, &thread_order);
        post(s);
        tid = collect_id(s);
    }
    mutex_unlock(&s->lock);
    return tid;
}

int stub_post_start(struct stub *s)
{
    struct stub *z = &stubs.zygote;
    struct stub_order o = {.nr = SYS_clone, .args = {STUB_PROCESS_FLAGS}};
    int slot;

    memset(s, 0, sizeof(*s));
    mutex_init(&s->lock, LOCK_PLATFORM);
    stub_begin(z);
    slot = z->error != 0 ? z->error : slot_alloc();
    if (slot < 0) {
        mutex_unlock(&z->lock);
        return -EAGAIN;
    }
    ctl_init(s, (u32)slot);
    o.args[5] = (u64)slot * PAGE_SIZE;
    stub_add(z, &o);
    z->newborn = s;
    end_pending(z, STUB_PENDING_BIRTH);
    return 0;
}

int stub_start(struct stub *s)
{
    stub_begin(&stubs.zygote);
    mutex_unlock(&stubs.zygote.lock);
    if (s->pid < 0) {
        log_warn(LOG_PLATFORM, "no new stub process: error %d", -s->pid);
        slot_free(s->slot);
        return -EAGAIN;
    }
    return 0;
}

void stub_fini(struct stub *s)
{
    slot_free(s->slot);
}

void stub_zygote_died(void)
{
    atomic_store(&stubs.zygote.dead, true);
}

pid_t stub_zygote_pid(void)
{
    return stubs.zygote.pid;
}

/* Where the host's vvar and vdso lie: [*start, *end), empty if they cannot be told. */
static void find_vdso(u64 *start, u64 *end)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512];
    char name[64];
    u64 lo, hi;

    *start = *end = 0;
    if (maps == NULL) {
        return;
    }
    while (fgets(line, sizeof(line), maps) != NULL) {
        name[0] = '\0';
        if (sscanf(line, "%lx-%lx %*s %*s %*s %*s %63s", &lo, &hi, name) < 2) {
            continue;
        }
        if (strncmp(name, "[vvar", 5) == 0 || strcmp(name, "[vdso]") == 0) {
            if (*end != 0 && *end != lo) { /* not one block: leave it alone */
                *start = *end = 0;
                break;
            }
            *start = *end == 0 ? lo : *start;
            *end = hi;
        }
    }
    (void)fclose(maps);
    if (*end - *start > STUB_TOP - STUB_VDSO ||
        getauxval(AT_SYSINFO_EHDR) - *start >= *end - *start) {
        *start = *end = 0;
    }
}

static int write_blob(void)
{
    size_t text = (size_t)(stub_blob_end - stub_blob_start);
    char *blob;
    void *map;

    CHECK(text <= PAGE_SIZE, "stub text of %zu bytes", text);
    stubs.blob_fd = host_memfd_create("pavise-stub", MFD_CLOEXEC);
    if (stubs.blob_fd < 0 || host_ftruncate(stubs.blob_fd, STUB_BLOB_PAGES * PAGE_SIZE) < 0) {
        return -ENOMEM;
    }
    map = host_mmap(NULL, STUB_BLOB_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
                    stubs.blob_fd, 0);
    if (IS_ERR(map)) {
        return (int)PTR_ERR(map);
    }
    blob = map;
    memcpy(blob, stub_blob_start, text);
    for (u64 i = 0; i < STUB_TABLE_ENTRIES; i++) {
        ((u64 *)(blob + PAGE_SIZE))[i] = i;
    }
    stub_build_filters((struct stub_filters *)(blob + 2 * PAGE_SIZE), stubs.ctl_fd);
    return host_munmap(map, STUB_BLOB_PAGES * PAGE_SIZE);
}

static int make_control(void)
{
    void *map;

    stubs.ctl_fd = host_memfd_create("pavise-ctl", MFD_CLOEXEC);
    if (stubs.ctl_fd < 0 || host_ftruncate(stubs.ctl_fd, CTL_PAGES * PAGE_SIZE) < 0) {
        return -ENOMEM;
    }
    map = host_mmap(NULL, CTL_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                    stubs.ctl_fd, 0);
    if (IS_ERR(map)) {
        return (int)PTR_ERR(map);
    }
    stubs.pages = map;
    stubs.used = heap_alloc(CTL_PAGES / 8);
    return stubs.used == NULL ? -ENOMEM : 0;
}

/* Fork the zygote and wait until it answers an empty batch. */
static int start_zygote(u64 vdso_start, u64 vdso_end)
{
    struct stub *z = &stubs.zygote;
    struct stub_order nop = {.nr = SYS_getppid};
    struct zygote_args args = {.blob_fd = stubs.blob_fd,
                               .ctl_fd = stubs.ctl_fd,
                               .vdso_start = vdso_start,
                               .vdso_end = vdso_end,
                               .sentry = stubs.sentry};
    char *stack;
    long pid;
    int ret;

    mutex_init(&z->lock, LOCK_PLATFORM);
    ctl_init(z, (u32)slot_alloc());
    args.ctl = z->ctl;
    args.ctl_off = (u64)z->slot * PAGE_SIZE;
    stack =
        host_mmap(NULL, ZYGOTE_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (IS_ERR(stack)) {
        return (int)PTR_ERR(stack);
    }
    pid = host_clone_fn(zygote_main, stack + ZYGOTE_STACK, CLONE_FILES | SIGCHLD, &args);
    ret = host_munmap(stack, ZYGOTE_STACK);
    if (pid < 0 || ret < 0) {
        return pid < 0 ? (int)pid : ret;
    }
    z->pid = (pid_t)pid;
    stub_begin(z);
    stub_add(z, &nop);
    ret = stub_end(z);
    return ret;
}

/* While the zygote is born nobody else can reap it. */
static void zygote_stalled(struct stub *z)
{
    int status;

    if (host_wait4(z->pid, &status, 0x40000001 /* __WALL | WNOHANG */) == z->pid) {
        atomic_store(&z->dead, true);
    }
}

int stub_boot(struct platform_caps *caps)
{
    u64 vdso_start, vdso_end;
    int ret;

    stubs.sentry = host_getpid();
    ret = make_control();
    if (ret == 0) {
        ret = write_blob();
    }
    if (ret != 0) {
        return ret;
    }
    find_vdso(&vdso_start, &vdso_end);
    stubs.stalled = zygote_stalled;
    ret = start_zygote(vdso_start, vdso_end);
    stubs.stalled = NULL;
    if (ret != 0) {
        int why = atomic_load(&stubs.zygote.ctl->boot_error);

        return why != 0 ? why : ret;
    }
    caps->task_size = STUB_BASE;
    caps->min_addr = 0x10000;
    caps->host_vdso = atomic_load(&stubs.zygote.ctl->boot_vdso) != 0;
    caps->host_vdso_addr =
        caps->host_vdso ? STUB_VDSO + (getauxval(AT_SYSINFO_EHDR) - vdso_start) : 0;
    return 0;
}
