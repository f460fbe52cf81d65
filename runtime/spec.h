/* SPDX-License-Identifier: Apache-2.0 */
/* What is to be run and in which surroundings: filled by a command, used by sandbox.c. */
#ifndef PAVISE_RUNTIME_SPEC_H
#define PAVISE_RUNTIME_SPEC_H

#include "base/base.h"
#include "sentry/boot.h"

struct error;

struct spec_tree {
    char *host;  /* as the caller wrote it: resolved by the child */
    char *guest; /* absolute */
    enum boot_tree_mode mode;
};

struct spec {
    char **argv;
    char **envp;
    char *cwd;
    u32 uid, gid;
    u32 nr_groups;
    u32 *groups;
    char *hostname;

    struct spec_tree *trees; /* [0] is the root */
    u32 nr_trees;
    char **tmpfs;       /* NULL-terminated */
    bool stdio_open[3]; /* which of 0, 1, 2 the caller had open */
    int *pass_fds;
    u32 nr_pass_fds;

    u64 memory_limit;
    u32 cpus;
    u32 pids;
    u64 timeout_ns; /* 0: none */

    char *platform;
    char *strace; /* NULL: off */
    char *log;
    u64 sched_seed;
    bool count_unsupported;
    bool filter_log;
    bool json;
};

/* What `pavise do` starts from: the caller's identity, directory, environment, root. */
int spec_init(struct spec *spec, struct error *err);
/* PATH[:GUEST] */
int spec_add_tree(struct spec *spec, const char *arg, enum boot_tree_mode mode, struct error *err);
int spec_add_tmpfs(struct spec *spec, const char *arg, struct error *err);
int spec_add_pass_fd(struct spec *spec, const char *arg, struct error *err);
/* NAME=VALUE, or NAME for the caller's own value. */
int spec_set_env(struct spec *spec, const char *arg, struct error *err);
void spec_clear_env(struct spec *spec);
/* UID[:GID] */
int spec_set_user(struct spec *spec, const char *arg, struct error *err);

/* Numbers of options: a plain one, "64M" in bytes, "1.5s" in nanoseconds. */
int parse_u64(const char *text, u64 min, u64 max, u64 *out);
int parse_bytes(const char *text, u64 *out);
int parse_duration(const char *text, u64 *out);

#endif
