/* SPDX-License-Identifier: Apache-2.0 */
/* /proc/sys: the values that programs read (sysctl(8), proc(5)); those a program may set are kept
 * in the kernel object. */
#include "base/rand.h"
#include "sentry/kernel/namespace.h"
#include "sentry/proc/proc_priv.h"

#include <stdio.h>

/* A constant value. */
#define CONST_FILE(fn, text)                                                                       \
    static int fn(struct pseudo_node *n, struct seqbuf *s)                                         \
    {                                                                                              \
        (void)n;                                                                                   \
        return seq_puts(s, text "\n");                                                             \
    }

CONST_FILE(show_osrelease, "6.1.0")
CONST_FILE(show_ostype, "Linux")
CONST_FILE(show_version, "#1 SMP PREEMPT_DYNAMIC Pavise")
CONST_FILE(show_pid_max, "4194304")
CONST_FILE(show_threads_max, "190000")
CONST_FILE(show_cap_last_cap, "40")
CONST_FILE(show_ngroups_max, "65536")
CONST_FILE(show_core_pattern, "core")
CONST_FILE(show_zero, "0")
CONST_FILE(show_one, "1")
CONST_FILE(show_two, "2")
CONST_FILE(show_aslr, "2")
CONST_FILE(show_yama, "1")
CONST_FILE(show_shmmax, "18446744073692774399")
CONST_FILE(show_shmall, "18446744073692774399")
CONST_FILE(show_shmmni, "4096")
CONST_FILE(show_sem, "32000\t1024000000\t500\t32000")
CONST_FILE(show_msgmax, "8192")
CONST_FILE(show_msgmnb, "16384")
CONST_FILE(show_msgmni, "32000")
CONST_FILE(show_max_map_count, "65530")
CONST_FILE(show_mmap_min_addr, "65536")
CONST_FILE(show_overcommit_ratio, "50")
CONST_FILE(show_swappiness, "60")
CONST_FILE(show_file_max, "9223372036854775807")
CONST_FILE(show_nr_open, "1048576")
CONST_FILE(show_file_nr, "0\t0\t9223372036854775807")
CONST_FILE(show_pipe_max, "1048576")
CONST_FILE(show_pipe_soft, "16384")
CONST_FILE(show_inotify_instances, "128")
CONST_FILE(show_inotify_queued, "16384")
CONST_FILE(show_inotify_watches, "65536")
CONST_FILE(show_epoll_watches, "1048576")
CONST_FILE(show_somaxconn, "4096")
CONST_FILE(show_entropy, "256")
CONST_FILE(show_poolsize, "256")

static int show_hostname(struct pseudo_node *n, struct seqbuf *s)
{
    (void)n;
    return seq_printf(s, "%s\n", task_current()->uts_ns->nodename);
}

static int show_domainname(struct pseudo_node *n, struct seqbuf *s)
{
    (void)n;
    return seq_printf(s, "%s\n", task_current()->uts_ns->domainname);
}

static void uuid_text(struct seqbuf *s, const u8 b[16])
{
    seq_printf(s, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x\n", b[0],
               b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
               b[14], b[15]);
}

static int show_uuid(struct pseudo_node *n, struct seqbuf *s)
{
    u8 b[16];

    (void)n;
    rand_bytes(b, sizeof(b));
    b[6] = (u8)((b[6] & 0x0f) | 0x40);
    b[8] = (u8)((b[8] & 0x3f) | 0x80);
    uuid_text(s, b);
    return s->err;
}

static int show_boot_id(struct pseudo_node *n, struct seqbuf *s)
{
    (void)n;
    uuid_text(s, kernel->boot_id);
    return s->err;
}

static const struct pseudo_entry random_entries[] = {
    PSEUDO_FILE("boot_id", 0444, show_boot_id),
    PSEUDO_FILE("entropy_avail", 0444, show_entropy),
    PSEUDO_FILE("poolsize", 0444, show_poolsize),
    PSEUDO_FILE("uuid", 0444, show_uuid),
    PSEUDO_END,
};

static const struct pseudo_entry yama_entries[] = {PSEUDO_FILE("ptrace_scope", 0444, show_yama),
                                                   PSEUDO_END};

static const struct pseudo_entry kernel_entries[] = {
    PSEUDO_FILE("cap_last_cap", 0444, show_cap_last_cap),
    PSEUDO_FILE("core_pattern", 0444, show_core_pattern),
    PSEUDO_FILE("core_uses_pid", 0444, show_zero),
    PSEUDO_FILE("dmesg_restrict", 0444, show_one),
    PSEUDO_FILE("domainname", 0444, show_domainname),
    PSEUDO_FILE("hostname", 0444, show_hostname),
    PSEUDO_FILE("kptr_restrict", 0444, show_one),
    PSEUDO_FILE("msgmax", 0444, show_msgmax),
    PSEUDO_FILE("msgmnb", 0444, show_msgmnb),
    PSEUDO_FILE("msgmni", 0444, show_msgmni),
    PSEUDO_FILE("ngroups_max", 0444, show_ngroups_max),
    PSEUDO_FILE("osrelease", 0444, show_osrelease),
    PSEUDO_FILE("ostype", 0444, show_ostype),
    PSEUDO_FILE("perf_event_paranoid", 0444, show_two),
    PSEUDO_FILE("pid_max", 0444, show_pid_max),
    PSEUDO_DIR("random", 0555, random_entries),
    PSEUDO_FILE("randomize_va_space", 0444, show_aslr),
    PSEUDO_FILE("sem", 0444, show_sem),
    PSEUDO_FILE("shmall", 0444, show_shmall),
    PSEUDO_FILE("shmmax", 0444, show_shmmax),
    PSEUDO_FILE("shmmni", 0444, show_shmmni),
    PSEUDO_FILE("tainted", 0444, show_zero),
    PSEUDO_FILE("threads-max", 0444, show_threads_max),
    PSEUDO_FILE("version", 0444, show_version),
    PSEUDO_DIR("yama", 0555, yama_entries),
    PSEUDO_END,
};

static const struct pseudo_entry vm_entries[] = {
    PSEUDO_FILE("max_map_count", 0444, show_max_map_count),
    PSEUDO_FILE("mmap_min_addr", 0444, show_mmap_min_addr),
    PSEUDO_FILE("overcommit_memory", 0444, show_zero),
    PSEUDO_FILE("overcommit_ratio", 0444, show_overcommit_ratio),
    PSEUDO_FILE("swappiness", 0444, show_swappiness),
    PSEUDO_END,
};

static const struct pseudo_entry inotify_entries[] = {
    PSEUDO_FILE("max_queued_events", 0444, show_inotify_queued),
    PSEUDO_FILE("max_user_instances", 0444, show_inotify_instances),
    PSEUDO_FILE("max_user_watches", 0444, show_inotify_watches),
    PSEUDO_END,
};

static const struct pseudo_entry epoll_entries[] = {
    PSEUDO_FILE("max_user_watches", 0444, show_epoll_watches), PSEUDO_END};

static const struct pseudo_entry fs_entries[] = {
    PSEUDO_DIR("epoll", 0555, epoll_entries),
    PSEUDO_FILE("file-max", 0444, show_file_max),
    PSEUDO_FILE("file-nr", 0444, show_file_nr),
    PSEUDO_DIR("inotify", 0555, inotify_entries),
    PSEUDO_FILE("nr_open", 0444, show_nr_open),
    PSEUDO_FILE("pipe-max-size", 0444, show_pipe_max),
    PSEUDO_FILE("pipe-user-pages-soft", 0444, show_pipe_soft),
    PSEUDO_FILE("protected_hardlinks", 0444, show_one),
    PSEUDO_FILE("protected_symlinks", 0444, show_one),
    PSEUDO_FILE("suid_dumpable", 0444, show_zero),
    PSEUDO_END,
};

static const struct pseudo_entry core_entries[] = {PSEUDO_FILE("somaxconn", 0444, show_somaxconn),
                                                   PSEUDO_END};
static const struct pseudo_entry sysnet_entries[] = {PSEUDO_DIR("core", 0555, core_entries),
                                                     PSEUDO_END};

const struct pseudo_entry sys_entries[] = {
    PSEUDO_DIR("fs", 0555, fs_entries),
    PSEUDO_DIR("kernel", 0555, kernel_entries),
    PSEUDO_DIR("net", 0555, sysnet_entries),
    PSEUDO_DIR("vm", 0555, vm_entries),
    PSEUDO_END,
};
