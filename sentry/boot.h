/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The start protocol: all that the launcher (runtime/) and the sentry know of each other.
 *
 * The launcher makes a child in new namespaces, which builds the mount tree and executes
 * `pavise sentry --boot-fd N`. N is a memory file holding one struct boot_config; the descriptors
 * it names are inherited. Afterwards both talk over the control socket (SOCK_SEQPACKET), one struct
 * control_msg a packet.
 */
#ifndef PAVISE_SENTRY_BOOT_H
#define PAVISE_SENTRY_BOOT_H

#include "base/base.h"

#include <sys/resource.h>

/* A tree of host files that the guest sees. */
enum boot_tree_mode {
    BOOT_TREE_RO,      /* read-only, for the host too */
    BOOT_TREE_RW,      /* shared and writable */
    BOOT_TREE_OVERLAY, /* read-only for the host, with a memory upper layer for the guest */
    BOOT_TREE_MODES
};

struct boot_tree {
    int fd; /* O_PATH directory, or file */
    u32 mode;
    char *guest_path; /* absolute; "/" for the first */
};

/* A descriptor that the guest starts with. */
struct boot_fd {
    int guest_fd;
    int fd;
};

struct boot_config {
    /* what to run */
    char **argv; /* NULL-terminated, at least one */
    char **envp; /* NULL-terminated */
    char *cwd;   /* absolute, in the guest; "/" when it is not there */
    u32 uid, gid;
    u32 nr_groups;
    u32 *groups;
    u32 umask;
    u64 sig_ignored, sig_blocked; /* bit n-1 is signal n: as the launcher got them */
    u64 *rlimits;                 /* RLIM_NLIMITS pairs of soft and hard */
    u32 nr_rlimits;

    /* what it sees */
    char *hostname;
    u32 nr_trees;
    struct boot_tree *trees; /* the first is the root; others in the order given */
    char **tmpfs;            /* NULL-terminated guest directories */
    u32 nr_fds;
    struct boot_fd *fds;

    /* how much of it: 0 is no limit */
    u64 memory_limit; /* bytes */
    u32 cpus;         /* never 0 */
    u32 pids;

    /* how it is run */
    char *platform; /* "auto", "ptrace", ... */
    char *strace;   /* NULL: off; else classes, "" for all */
    char *log;      /* NULL: default levels */
    u64 sched_seed; /* 0: no seeded order */
    u32 count_unsupported;
    u32 filter_log; /* report host calls that are not listed instead of dying: for tests */

    /* descriptors of the sentry's own */
    int root_fd;    /* the new root of the sentry's mount tree */
    int control_fd; /* to the launcher */
    int log_fd;
};

/* Write `c` to a new sealed memory file: its descriptor (close-on-exec), or -errno. */
must_check int boot_encode(struct boot_config *c);
/* Read what boot_encode wrote: malloc'ed, never freed (it lives as long as the sentry). NULL: not
 * ours, or damaged. */
must_check struct boot_config *boot_decode(int fd);

/* ---- the control socket ---- */

enum control_kind {
    /* launcher -> sentry */
    CONTROL_SIGNAL, /* value: a signal for the guest; from_tty: for the terminal's foreground */
    /* sentry -> launcher */
    CONTROL_STOPPED,     /* the guest's first process stopped; value: by which signal */
    CONTROL_CONTINUED,   /* ... and goes on */
    CONTROL_FAILED,      /* nothing was run; value: exit status 125, 126 or 127; text: why */
    CONTROL_UNSUPPORTED, /* a call that was asked for and refused; value: number; count; text: name
                          */
    CONTROL_RESULT       /* the guest's first process ended; value: wait status; the last packet */
};

struct control_result {
    u64 utime_ns, stime_ns;
    u64 maxrss; /* bytes */
    u64 minflt, majflt, nvcsw, nivcsw;
    u64 syscalls, tasks; /* how many were made */
    u64 heap_objects;
};

struct control_msg {
    u32 kind;
    s32 value;
    u32 from_tty;
    u32 pad;
    u64 count;
    struct control_result result;
    char text[512];
};

/* The sentry's whole life; the launcher's child calls it after exec. Does not return. */
noreturn_fn void sentry_main(int boot_fd);

#endif
