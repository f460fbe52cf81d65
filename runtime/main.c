/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `pavise`: the command line. Finds the command in the table and runs it; `sentry` is the one that
 * the launcher's child executes.
 */
#include "runtime/command.h"
#include "runtime/error.h"
#include "runtime/spec.h"
#include "sentry/boot.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int cmd_sentry(int argc, char **argv)
{
    struct error err = {0};
    u64 fd;

    if (argc != 3 || strcmp(argv[1], "--boot-fd") != 0 ||
        parse_u64(argv[2], 0, INT32_MAX, &fd) != 0) {
        error_set(&err, "'sentry' is started by other commands, not by hand");
        return error_report(&err);
    }
    sentry_main((int)fd);
}

const struct command commands[] = {
    {"do", "run a command in a sandbox", cmd_do},
    {"help", "explain a command", cmd_help},
    {"version", "print the version", cmd_version},
    {"sentry", NULL, cmd_sentry},
    {NULL, NULL, NULL},
};

static const struct command *find_command(const char *name)
{
    for (const struct command *c = commands; c->name != NULL; c++) {
        if (strcmp(c->name, name) == 0) {
            return c;
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct error err = {0};
    const char *name = argc < 2 ? "help" : argv[1];
    const struct command *c;

    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        name = "help";
    } else if (strcmp(name, "--version") == 0) {
        name = "version";
    }
    c = find_command(name);
    if (c == NULL) {
        error_set(&err, "'%s' is not a command: see 'pavise help'", name);
        return error_report(&err);
    }
    if (argc < 2) {
        cmd_help(0, NULL);
        return EXIT_PAVISE;
    }
    return c->run(argc - 1, argv + 1);
}
