/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `pavise do`: run one command in a sandbox of its own. Here are only its options: one table for
 * getopt and help, one function that files an option in the spec.
 */
#include "runtime/command.h"
#include "runtime/error.h"
#include "runtime/monitor.h"
#include "runtime/sandbox.h"
#include "runtime/spec.h"

#include <getopt.h>
#include <stdio.h>

enum option_id {
    OPT_FIRST = 256,
    OPT_ROOT,
    OPT_RW,
    OPT_RO,
    OPT_TMPFS,
    OPT_CWD,
    OPT_ENV,
    OPT_CLEAR_ENV,
    OPT_USER,
    OPT_HOSTNAME,
    OPT_PASS_FD,
    OPT_MEMORY,
    OPT_CPUS,
    OPT_PIDS,
    OPT_TIMEOUT,
    OPT_PLATFORM,
    OPT_STRACE,
    OPT_LOG,
    OPT_SCHED,
    OPT_UNSUPPORTED,
    OPT_JSON,
    OPT_FILTER_LOG,
    OPT_HELP
};

static const struct {
    const char *name;
    int has_arg;
    enum option_id id;
    const char *arg;
    const char *help;
} option_table[] = {
    {"root", required_argument, OPT_ROOT, "DIR", "the guest's root instead of /"},
    {"rw", required_argument, OPT_RW, "DIR[:GUEST]", "share DIR with the guest, writable"},
    {"ro", required_argument, OPT_RO, "DIR[:GUEST]", "show DIR to the guest, read-only"},
    {"tmpfs", required_argument, OPT_TMPFS, "DIR", "an empty memory file system on DIR"},
    {"cwd", required_argument, OPT_CWD, "DIR", "start in DIR (default: here)"},
    {"env", required_argument, OPT_ENV, "NAME[=VALUE]", "set a variable (or pass this one on)"},
    {"clear-env", no_argument, OPT_CLEAR_ENV, "", "begin with an empty environment"},
    {"user", required_argument, OPT_USER, "UID[:GID]", "run as this user (default: yourself)"},
    {"hostname", required_argument, OPT_HOSTNAME, "NAME", "the guest's host name"},
    {"pass-fd", required_argument, OPT_PASS_FD, "N", "give descriptor N to the guest too"},
    {"memory", required_argument, OPT_MEMORY, "SIZE", "the most memory, such as 512M"},
    {"cpus", required_argument, OPT_CPUS, "N", "how many CPUs to use"},
    {"pids", required_argument, OPT_PIDS, "N", "the most threads and processes"},
    {"timeout", required_argument, OPT_TIMEOUT, "TIME", "end it after TIME, such as 10s or 5m"},
    {"platform", required_argument, OPT_PLATFORM, "NAME", "how to run guest code (auto, ptrace)"},
    {"strace", optional_argument, OPT_STRACE, "=CLASS,...",
     "trace system calls: file desc process memory signal network ipc time creds all"},
    {"log", required_argument, OPT_LOG, "CHANNEL:LEVEL,...", "what the sentry logs"},
    {"sched", required_argument, OPT_SCHED, "seed:N", "a repeatable order of all threads"},
    {"unsupported", no_argument, OPT_UNSUPPORTED, "", "list the calls it asked for in vain"},
    {"json", no_argument, OPT_JSON, "", "print result and resource use on standard error"},
    {"filter-log", no_argument, OPT_FILTER_LOG, "", "for tests: log unlisted host calls, unsafe"},
    {"help", no_argument, OPT_HELP, "", "this text"},
};

int cmd_do_help(void)
{
    char head[64];

    printf("usage: pavise do [OPTION...] [--] CMD [ARG...]\n\n"
           "Run CMD in a sandbox. It sees this machine's files read-only, with a layer in memory "
           "over them\nthat takes what it writes and is gone afterwards, and has no network.\n\n");
    for (size_t i = 0; i < ARRAY_SIZE(option_table); i++) {
        const char *sep = option_table[i].has_arg == required_argument ? " " : "";

        snprintf(head, sizeof(head), "--%s%s%s", option_table[i].name, sep, option_table[i].arg);
        printf("  %-26s %s\n", head, option_table[i].help);
    }
    printf("\nThe exit status is CMD's, 128+N when signal N ended it, 127 when it was not found, "
           "126 when it\ncould not be run, 124 on --timeout, 125 when pavise itself failed.\n");
    return 0;
}

/* A number option; the message names the option and what was given. */
static int set_number(const char *name, const char *arg, u64 max, u32 *out, struct error *err)
{
    u64 v;

    if (parse_u64(arg, 1, max, &v) != 0) {
        return error_set(err, "--%s: '%s' is not a number from 1 to %llu", name, arg,
                         (unsigned long long)max);
    }
    *out = (u32)v;
    return 0;
}

static int set_sched(struct spec *spec, const char *arg, struct error *err)
{
    if (strncmp(arg, "seed:", 5) != 0 ||
        parse_u64(arg + 5, 1, UINT64_MAX, &spec->sched_seed) != 0) {
        return error_set(err, "--sched: '%s' is not seed:N", arg);
    }
    return 0;
}

static int set_hostname(struct spec *spec, char *arg, struct error *err)
{
    if (arg[0] == '\0' || strlen(arg) > 64) {
        return error_set(err, "--hostname: 1 to 64 characters");
    }
    spec->hostname = arg;
    return 0;
}

/* Options that take a value of their own syntax. */
static int set_limit(struct spec *spec, enum option_id id, const char *arg, struct error *err)
{
    if (id == OPT_MEMORY && parse_bytes(arg, &spec->memory_limit) != 0) {
        return error_set(err, "--memory: '%s' is not a size such as 512M", arg);
    }
    if (id == OPT_TIMEOUT && parse_duration(arg, &spec->timeout_ns) != 0) {
        return error_set(err, "--timeout: '%s' is not a time such as 10s", arg);
    }
    return 0;
}

static int set_root(struct spec *spec, char *arg)
{
    spec->trees[0].host = arg;
    return 0;
}

static char all_classes[] = "";

static int set_option(struct spec *spec, int id, char *arg, struct error *err)
{
    switch ((enum option_id)id) {
    case OPT_ROOT:
        return set_root(spec, arg);
    case OPT_RW:
        return spec_add_tree(spec, arg, BOOT_TREE_RW, err);
    case OPT_RO:
        return spec_add_tree(spec, arg, BOOT_TREE_RO, err);
    case OPT_TMPFS:
        return spec_add_tmpfs(spec, arg, err);
    case OPT_CWD:
        spec->cwd = arg;
        return arg[0] == '/' ? 0 : error_set(err, "--cwd: '%s' is not an absolute path", arg);
    case OPT_ENV:
        return spec_set_env(spec, arg, err);
    case OPT_CLEAR_ENV:
        spec_clear_env(spec);
        return 0;
    case OPT_USER:
        return spec_set_user(spec, arg, err);
    case OPT_HOSTNAME:
        return set_hostname(spec, arg, err);
    case OPT_PASS_FD:
        return spec_add_pass_fd(spec, arg, err);
    case OPT_MEMORY:
    case OPT_TIMEOUT:
        return set_limit(spec, (enum option_id)id, arg, err);
    case OPT_CPUS:
        return set_number("cpus", arg, 1024, &spec->cpus, err);
    case OPT_PIDS:
        return set_number("pids", arg, 4194304, &spec->pids, err);
    case OPT_PLATFORM:
        spec->platform = arg;
        return 0;
    case OPT_STRACE:
        spec->strace = arg != NULL ? arg : all_classes;
        return 0;
    case OPT_LOG:
        spec->log = arg;
        return 0;
    case OPT_SCHED:
        return set_sched(spec, arg, err);
    case OPT_UNSUPPORTED:
        spec->count_unsupported = true;
        return 0;
    case OPT_JSON:
        spec->json = true;
        return 0;
    case OPT_FILTER_LOG:
        spec->filter_log = true;
        return 0;
    case OPT_FIRST:
    case OPT_HELP:
        break;
    }
    return error_set(err, "see 'pavise help do'");
}

/* Fill the spec from the arguments. 0, 1: only help was asked for, -1. */
static int parse_options(int argc, char **argv, struct spec *spec, struct error *err)
{
    struct option options[ARRAY_SIZE(option_table) + 1] = {{0}};
    int id;

    for (size_t i = 0; i < ARRAY_SIZE(option_table); i++) {
        options[i].name = option_table[i].name;
        options[i].has_arg = option_table[i].has_arg;
        options[i].val = option_table[i].id;
    }
    opterr = 0;
    while ((id = getopt_long(argc, argv, "+:h", options, NULL)) != -1) {
        if (id == OPT_HELP || id == 'h') {
            return 1;
        }
        if (id == ':') {
            return error_set(err, "do: option '%s' needs an argument", argv[optind - 1]);
        }
        if (id == '?') {
            return error_set(err, "do: unknown option '%s': see 'pavise help do'",
                             argv[optind - 1]);
        }
        if (set_option(spec, id, optarg, err) != 0) {
            return -1;
        }
    }
    if (optind == argc) {
        return error_set(err, "do: which command? See 'pavise help do'");
    }
    spec->argv = argv + optind;
    return 0;
}

int cmd_do(int argc, char **argv)
{
    struct error err = {0};
    struct spec spec;
    struct sandbox sandbox;
    int parsed, status;

    if (spec_init(&spec, &err) != 0) {
        return error_report(&err);
    }
    parsed = parse_options(argc, argv, &spec, &err);
    if (parsed != 0) {
        return parsed > 0 ? cmd_do_help() : error_report(&err);
    }
    if (monitor_prepare(&err) != 0 || sandbox_launch(&sandbox, &spec, &err) != 0) {
        return error_report(&err);
    }
    status = monitor_run(&sandbox, &spec, &err);
    return status < 0 ? error_report(&err) : status;
}
