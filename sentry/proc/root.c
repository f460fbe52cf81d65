/* SPDX-License-Identifier: Apache-2.0 */
/* The files directly in /proc: what the sandbox is told about its machine. */
#include "base/clock.h"
#include "base/heap.h"
#include "base/memfile.h"
#include "base/sched/worker.h"
#include "sentry/kernel/timer.h"
#include "sentry/proc/proc.h"
#include "sentry/proc/proc_priv.h"
#include "vfs/locks.h"

#include <cpuid.h>
#include <linux/magic.h>
#include <stdio.h>

static int show_uptime(struct pseudo_node *n, struct seqbuf *s)
{
    u64 cs = (clock_monotonic() - kernel->boot_time_mono) / CLK_TCK_NS;

    (void)n;
    return seq_printf(s, "%lu.%02lu %lu.%02lu\n", cs / 100, cs % 100, cs * kernel->nr_cpus / 100,
                      cs % 100);
}

static int show_version(struct pseudo_node *n, struct seqbuf *s)
{
    (void)n;
    return seq_puts(s,
                    "Linux version 6.1.0 (pavise@pavise) (gcc (Debian 12.2.0) 12.2.0, GNU ld 2.40) "
                    "#1 SMP PREEMPT_DYNAMIC Pavise\n");
}

static u32 count_running(void)
{
    u32 running = 0, id = 1;
    struct task *t;

    MUTEX_GUARD(&kernel->tasklist);
    for (; (t = idr_next(&kernel->pids, &id)) != NULL; id++) {
        running += t->state == TASK_RUNNING && t->syscall_nr < 0;
    }
    return running;
}

static int show_loadavg(struct pseudo_node *n, struct seqbuf *s)
{
    u32 running = count_running();

    (void)n;
    return seq_printf(s, "0.00 0.00 0.00 %u/%u %u\n", running, kernel->nr_tasks, kernel->pids.next);
}

static int show_meminfo(struct pseudo_node *n, struct seqbuf *s)
{
    u64 total = kernel->total_ram, used = memfile_committed(memfile),
        avail = total > used ? total - used : 0;
    u64 shmem = memfile_kind_bytes(memfile, MEMFILE_SHMEM);

    (void)n;
    return seq_printf(
        s,
        "MemTotal:       %8lu kB\nMemFree:        %8lu kB\nMemAvailable:   %8lu kB\n"
        "Buffers:        %8u kB\nCached:         %8lu kB\nSwapCached:     %8u kB\n"
        "Active:         %8lu kB\nInactive:       %8u kB\nActive(anon):   %8lu kB\n"
        "Inactive(anon): %8u kB\nActive(file):   %8u kB\nInactive(file): %8u kB\n"
        "Unevictable:    %8u kB\nMlocked:        %8u kB\nSwapTotal:      %8u kB\n"
        "SwapFree:       %8u kB\nDirty:          %8u kB\nWriteback:      %8u kB\n"
        "AnonPages:      %8lu kB\nMapped:         %8u kB\nShmem:          %8lu kB\n"
        "KReclaimable:   %8u kB\nSlab:           %8u kB\nSReclaimable:   %8u kB\n"
        "SUnreclaim:     %8u kB\nCommitLimit:    %8lu kB\nCommitted_AS:   %8lu kB\n"
        "VmallocTotal:   34359738367 kB\nVmallocUsed:    %8u kB\nVmallocChunk:   %8u kB\n"
        "HugePages_Total:    %4u\nHugePages_Free:     %4u\nHugepagesize:   %8u kB\n",
        total / KiB, avail / KiB, avail / KiB, 0U, shmem / KiB, 0U, used / KiB, 0U, used / KiB, 0U,
        0U, 0U, 0U, 0U, 0U, 0U, 0U, 0U, used / KiB, 0U, shmem / KiB, 0U, 0U, 0U, 0U, total / KiB,
        used / KiB, 0U, 0U, 0U, 0U, 2048U);
}

/* One CPU's line of /proc/stat: what all tasks used, spread evenly. */
static void stat_line(struct seqbuf *s, const char *name, u64 user, u64 sys, u64 idle)
{
    seq_printf(s, "%s %lu 0 %lu %lu 0 0 0 0 0 0\n", name, user, sys, idle);
}

static int show_stat_file(struct pseudo_node *n, struct seqbuf *s)
{
    u64 user = 0, sys = 0, up = (clock_monotonic() - kernel->boot_time_mono) / CLK_TCK_NS, idle;
    u32 id = 1, cpus = kernel->nr_cpus, procs = 0;
    struct task *t;
    char name[16];

    (void)n;
    mutex_lock(&kernel->tasklist);
    for (; (t = idr_next(&kernel->pids, &id)) != NULL; id++) {
        user += t->utime;
        sys += t->stime;
        procs += t->state == TASK_RUNNING && t->syscall_nr < 0;
    }
    user += kernel->init->child_utime;
    sys += kernel->init->child_stime;
    mutex_unlock(&kernel->tasklist);
    user /= CLK_TCK_NS;
    sys /= CLK_TCK_NS;
    idle = up * cpus > user + sys ? up * cpus - user - sys : 0;
    stat_line(s, "cpu ", user, sys, idle);
    for (u32 i = 0; i < cpus; i++) {
        snprintf(name, sizeof(name), "cpu%u", i);
        stat_line(s, name, user / cpus, sys / cpus, idle / cpus);
    }
    return seq_printf(s,
                      "intr 0\nctxt %lu\nbtime %lu\nprocesses %lu\nprocs_running %u\nprocs_blocked "
                      "0\nsoftirq 0\n",
                      kernel->ctxt_switches, kernel->boot_time_real / NSEC_PER_SEC,
                      kernel->total_forks, procs);
}

/* ---- cpuinfo ---- */

/* Flags by CPUID leaf, register and bit: those that programs look for. */
struct cpu_flag {
    const char *name;
    u32 leaf, sub;
    u8 reg, bit; /* reg: 0 a, 1 b, 2 c, 3 d */
};
static const struct cpu_flag cpu_flags[] = {
    {"fpu", 1, 0, 3, 0},
    {"tsc", 1, 0, 3, 4},
    {"cx8", 1, 0, 3, 8},
    {"cmov", 1, 0, 3, 15},
    {"clflush", 1, 0, 3, 19},
    {"mmx", 1, 0, 3, 23},
    {"fxsr", 1, 0, 3, 24},
    {"sse", 1, 0, 3, 25},
    {"sse2", 1, 0, 3, 26},
    {"ht", 1, 0, 3, 28},
    {"syscall", 0x80000001, 0, 3, 11},
    {"nx", 0x80000001, 0, 3, 20},
    {"rdtscp", 0x80000001, 0, 3, 27},
    {"lm", 0x80000001, 0, 3, 29},
    {"pni", 1, 0, 2, 0},
    {"pclmulqdq", 1, 0, 2, 1},
    {"ssse3", 1, 0, 2, 9},
    {"fma", 1, 0, 2, 12},
    {"cx16", 1, 0, 2, 13},
    {"sse4_1", 1, 0, 2, 19},
    {"sse4_2", 1, 0, 2, 20},
    {"movbe", 1, 0, 2, 22},
    {"popcnt", 1, 0, 2, 23},
    {"aes", 1, 0, 2, 25},
    {"xsave", 1, 0, 2, 26},
    {"avx", 1, 0, 2, 28},
    {"f16c", 1, 0, 2, 29},
    {"rdrand", 1, 0, 2, 30},
    {"hypervisor", 1, 0, 2, 31},
    {"lahf_lm", 0x80000001, 0, 2, 0},
    {"abm", 0x80000001, 0, 2, 5},
    {"sse4a", 0x80000001, 0, 2, 6},
    {"fsgsbase", 7, 0, 1, 0},
    {"bmi1", 7, 0, 1, 3},
    {"avx2", 7, 0, 1, 5},
    {"bmi2", 7, 0, 1, 8},
    {"erms", 7, 0, 1, 9},
    {"avx512f", 7, 0, 1, 16},
    {"avx512dq", 7, 0, 1, 17},
    {"rdseed", 7, 0, 1, 18},
    {"adx", 7, 0, 1, 19},
    {"clflushopt", 7, 0, 1, 23},
    {"clwb", 7, 0, 1, 24},
    {"avx512cd", 7, 0, 1, 28},
    {"sha_ni", 7, 0, 1, 29},
    {"avx512bw", 7, 0, 1, 30},
    {"avx512vl", 7, 0, 1, 31},
    {"gfni", 7, 0, 2, 8},
    {"vaes", 7, 0, 2, 9},
    {"vpclmulqdq", 7, 0, 2, 10},
    {"avx512_vnni", 7, 0, 2, 11},
};

static bool has_flag(const struct cpu_flag *f)
{
    u32 r[4] = {0};

    return __get_cpuid_count(f->leaf, f->sub, &r[0], &r[1], &r[2], &r[3]) != 0 &&
           (r[f->reg] & (1U << f->bit)) != 0;
}

static void brand(char out[49], char vendor[13], u32 *family, u32 *model, u32 *stepping)
{
    u32 r[4] = {0};

    memset(out, 0, 49);
    for (u32 i = 0; i < 3 && __get_cpuid(0x80000002 + i, &r[0], &r[1], &r[2], &r[3]) != 0; i++) {
        memcpy(out + 16 * i, r, 16);
    }
    (void)__get_cpuid(0, &r[0], &r[1], &r[2], &r[3]);
    memcpy(vendor, &r[1], 4);
    memcpy(vendor + 4, &r[3], 4);
    memcpy(vendor + 8, &r[2], 4);
    vendor[12] = '\0';
    (void)__get_cpuid(1, &r[0], &r[1], &r[2], &r[3]);
    *stepping = r[0] & 15;
    *model = ((r[0] >> 4) & 15) | ((r[0] >> 12) & 0xf0);
    *family = ((r[0] >> 8) & 15) + ((r[0] >> 20) & 0xff);
}

static int show_cpuinfo(struct pseudo_node *n, struct seqbuf *s)
{
    char name[49], vendor[13];
    u32 family, model, stepping;

    (void)n;
    brand(name, vendor, &family, &model, &stepping);
    for (u32 cpu = 0; cpu < kernel->nr_cpus; cpu++) {
        seq_printf(
            s,
            "processor\t: %u\nvendor_id\t: %s\ncpu family\t: %u\nmodel\t\t: %u\nmodel name\t: "
            "%s\nstepping\t: %u\n"
            "microcode\t: 0x1\ncpu MHz\t\t: 2000.000\ncache size\t: 512 KB\nphysical id\t: "
            "0\nsiblings\t: %u\n"
            "core id\t\t: %u\ncpu cores\t: %u\napicid\t\t: %u\ninitial apicid\t: %u\nfpu\t\t: yes\n"
            "fpu_exception\t: yes\ncpuid level\t: 13\nwp\t\t: yes\nflags\t\t:",
            cpu, vendor, family, model, name, stepping, kernel->nr_cpus, cpu, kernel->nr_cpus, cpu,
            cpu);
        for (size_t i = 0; i < ARRAY_SIZE(cpu_flags); i++) {
            if (has_flag(&cpu_flags[i])) {
                seq_printf(s, " %s", cpu_flags[i].name);
            }
        }
        seq_puts(s, "\nbugs\t\t:\nbogomips\t: 4000.00\nclflush size\t: 64\ncache_alignment\t: 64\n"
                    "address sizes\t: 48 bits physical, 48 bits virtual\npower management:\n\n");
    }
    return s->err;
}

static void show_type(const struct fs_type *t, void *arg)
{
    seq_printf(arg, "%s\t%s\n", t->no_dev ? "nodev" : "", t->name);
}

static int show_filesystems(struct pseudo_node *n, struct seqbuf *s)
{
    (void)n;
    fs_type_for_each(show_type, s);
    return s->err;
}

static int show_cmdline_file(struct pseudo_node *n, struct seqbuf *s)
{
    (void)n;
    return seq_puts(s, "quiet\n");
}

static int show_swaps(struct pseudo_node *n, struct seqbuf *s)
{
    (void)n;
    return seq_puts(s, "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
}

static int show_vmstat(struct pseudo_node *n, struct seqbuf *s)
{
    u64 used = memfile_committed(memfile) / PAGE_SIZE, total = kernel->total_ram / PAGE_SIZE;

    (void)n;
    return seq_printf(
        s,
        "nr_free_pages %lu\nnr_anon_pages %lu\nnr_mapped 0\nnr_file_pages 0\nnr_shmem %lu\n"
        "pgpgin 0\npgpgout 0\npswpin 0\npswpout 0\npgfault 0\npgmajfault 0\noom_kill 0\n",
        total > used ? total - used : 0, used,
        memfile_kind_bytes(memfile, MEMFILE_SHMEM) / PAGE_SIZE);
}

static int show_devices(struct pseudo_node *n, struct seqbuf *s)
{
    (void)n;
    return seq_puts(
        s, "Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/ptmx\n136 pts\n\nBlock devices:\n");
}

static int show_empty(struct pseudo_node *n, struct seqbuf *s)
{
    (void)n;
    return s->err;
}

static ssize_t self_readlink(struct pseudo_node *n, const struct vfs_ctx *ctx, char *buf,
                             size_t size)
{
    (void)n;
    (void)ctx;
    return min(snprintf(buf, size, "%d", task_current()->tg->tgid), (int)size);
}

static ssize_t thread_self_readlink(struct pseudo_node *n, const struct vfs_ctx *ctx, char *buf,
                                    size_t size)
{
    struct task *t = task_current();

    (void)n;
    (void)ctx;
    return min(snprintf(buf, size, "%d/task/%d", t->tg->tgid, t->tid), (int)size);
}

static int show_locks(struct pseudo_node *n, struct seqbuf *s)
{
    (void)n;
    return locks_show(s);
}

static const struct pseudo_entry root_entries[] = {
    PSEUDO_FILE("cmdline", 0444, show_cmdline_file),
    PSEUDO_FILE("cpuinfo", 0444, show_cpuinfo),
    PSEUDO_FILE("devices", 0444, show_devices),
    PSEUDO_FILE("filesystems", 0444, show_filesystems),
    PSEUDO_FILE("interrupts", 0444, show_empty),
    PSEUDO_FILE("loadavg", 0444, show_loadavg),
    PSEUDO_FILE("locks", 0444, show_locks),
    PSEUDO_FILE("meminfo", 0444, show_meminfo),
    PSEUDO_FILE("modules", 0444, show_empty),
    PSEUDO_LINK("mounts", "self/mounts"),
    PSEUDO_LINK("net", "self/net"),
    PSEUDO_FILE("partitions", 0444, show_empty),
    PSEUDO_FILE("stat", 0444, show_stat_file),
    PSEUDO_FILE("swaps", 0444, show_swaps),
    PSEUDO_FILE("uptime", 0444, show_uptime),
    PSEUDO_FILE("version", 0444, show_version),
    PSEUDO_FILE("vmstat", 0444, show_vmstat),
    PSEUDO_DIR("sys", 0555, sys_entries),
    {.name = "self", .mode = S_IFLNK | 0777, .readlink = self_readlink},
    {.name = "thread-self", .mode = S_IFLNK | 0777, .readlink = thread_self_readlink},
    PSEUDO_END,
};

static const struct pseudo_entry proc_root = {
    .name = "",
    .mode = S_IFDIR | 0555,
    .children = root_entries,
    .dir = &pid_dir_ops,
};

static struct super *proc_mount(const struct fs_type *type, const char *source, u32 flags,
                                const char *data, const struct vfs_ctx *ctx)
{
    struct super *sb = pseudo_super_new(type->name, PROC_SUPER_MAGIC, &proc_root, NULL);

    (void)flags;
    (void)data;
    (void)ctx;
    if (!IS_ERR(sb) && super_set_source(sb, source) != 0) {
        super_put(sb);
        return ERR_PTR(-ENOMEM);
    }
    return sb;
}

static struct fs_type proc_type = {.name = "proc", .mount = proc_mount, .no_dev = true};

int proc_boot(void)
{
    fs_type_register(&proc_type);
    return 0;
}
