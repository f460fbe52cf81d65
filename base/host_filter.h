/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system call filters made from base/host_calls.tbl. The implementation is
 * sentry/lockdown_filter.c, so that base does not need libseccomp. (A stub process installs filters
 * of its own, platform/stubproc/filter.c: libseccomp cannot say "the range ends below".)
 */
#ifndef PAVISE_BASE_HOST_FILTER_H
#define PAVISE_BASE_HOST_FILTER_H

#include "base/base.h"

enum host_process { HOST_SENTRY };

/*
 * From here on every thread of this process may make the calls of `who` only; any other kills the
 * process. Sets no_new_privs. Needs no privilege.
 *
 * With log_only an unlisted call is reported on the log ("host call 41 ... is not listed", once a
 * number) and made all the same: for the run of the test suite that proves the table complete. It
 * takes SIGSYS over.
 */
must_check int host_filter_install(enum host_process who, bool log_only);

/* The same filter as an array of struct sock_filter: its size in bytes, or -errno (-ENOSPC: `size`
 * is too small). */
must_check ssize_t host_filter_bpf(enum host_process who, void *buf, size_t size);

#endif
