/* SPDX-License-Identifier: Apache-2.0 */
/* Errors of the command line tools: filling and printing struct error. */
#include "runtime/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static void set_text(struct error *err, const char *fmt, va_list ap)
{
    vsnprintf(err->text, sizeof(err->text), fmt, ap);
    if (err->status == 0) {
        err->status = EXIT_PAVISE;
    }
}

int error_set(struct error *err, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    set_text(err, fmt, ap);
    va_end(ap);
    return -1;
}

int error_sys(struct error *err, const char *fmt, ...)
{
    int saved = errno;
    va_list ap;
    size_t len;

    va_start(ap, fmt);
    set_text(err, fmt, ap);
    va_end(ap);
    len = strlen(err->text);
    snprintf(err->text + len, sizeof(err->text) - len, ": %s", strerror(saved));
    return -1;
}

int error_report(const struct error *err)
{
    fprintf(stderr, "pavise: %s\n", err->text);
    return err->status != 0 ? err->status : EXIT_PAVISE;
}
