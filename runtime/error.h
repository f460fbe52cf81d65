/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors of the command line tools: one text for the user, with context added on the way up, and
 * the exit status that goes with it. A function that can fail returns int (0 or -1) and takes a
 * struct error.
 */
#ifndef PAVISE_RUNTIME_ERROR_H
#define PAVISE_RUNTIME_ERROR_H

#include "base/base.h"

/* Exit statuses, as env(1) has them. */
#define EXIT_PAVISE     125 /* we failed, not the command */
#define EXIT_CANNOT_RUN 126 /* the command is there but cannot be run */
#define EXIT_NOT_FOUND  127
#define EXIT_TIMEOUT    124 /* as timeout(1) */

struct error {
    int status;
    char text[1024];
};

/* Set the text; returns -1. */
int error_set(struct error *err, const char *fmt, ...) printf_like(2, 3);
/* The same, with ": " and what errno means behind it. */
int error_sys(struct error *err, const char *fmt, ...) printf_like(2, 3);
/* "pavise: TEXT" on standard error; returns the exit status. */
int error_report(const struct error *err);

#endif
