/* SPDX-License-Identifier: Apache-2.0 */
/* The content of /proc (proc(5)). */
#ifndef PAVISE_SENTRY_PROC_PROC_H
#define PAVISE_SENTRY_PROC_PROC_H

#include "base/base.h"

/* Register the file system type "proc". At boot. */
must_check int proc_boot(void);

#endif
