/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of `pavise`: one cmd_<name>.c each, listed in the table of main.c. */
#ifndef PAVISE_RUNTIME_COMMAND_H
#define PAVISE_RUNTIME_COMMAND_H

#include "base/base.h"

struct command {
    const char *name;
    const char *summary;               /* NULL: not for users, left out of help */
    int (*run)(int argc, char **argv); /* argv[0] is the command's name; returns the exit status */
};

extern const struct command commands[]; /* ended by a NULL name */

int cmd_do(int argc, char **argv);
int cmd_help(int argc, char **argv);
int cmd_version(int argc, char **argv);

/* `pavise help do`: 0. */
int cmd_do_help(void);

#endif
