/* SPDX-License-Identifier: Apache-2.0 */
/* `pavise help [COMMAND]` and `pavise version`. */
#include "runtime/command.h"
#include "runtime/error.h"

#include <stdio.h>

int cmd_help(int argc, char **argv)
{
    struct error err = {0};

    if (argc > 1 && strcmp(argv[1], "do") == 0) {
        return cmd_do_help();
    }
    for (const struct command *c = commands; argc > 1 && c->name != NULL; c++) {
        if (strcmp(c->name, argv[1]) == 0 && c->summary != NULL) {
            printf("pavise %s: %s\n", c->name, c->summary);
            return 0;
        }
    }
    if (argc > 1) {
        error_set(&err, "'%s' is not a command: see 'pavise help'", argv[1]);
        return error_report(&err);
    }
    printf(
        "usage: pavise COMMAND [ARG...]\n\nPavise runs Linux programs on a kernel of its own.\n\n");
    for (const struct command *c = commands; c->name != NULL; c++) {
        if (c->summary != NULL) {
            printf("  %-10s %s\n", c->name, c->summary);
        }
    }
    printf("\n'pavise help COMMAND' tells more.\n");
    return 0;
}

int cmd_version(int argc, char **argv)
{
    printf("pavise %s\n", PAVISE_VERSION);
    return 0;
}
