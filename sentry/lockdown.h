/* SPDX-License-Identifier: Apache-2.0 */
/* Giving up everything that a sentry does not need. */
#ifndef PAVISE_SENTRY_LOCKDOWN_H
#define PAVISE_SENTRY_LOCKDOWN_H

#include "sentry/boot.h"

/* First thing: nothing but what was donated, and limits that fit a kernel. */
void lockdown_begin(const struct boot_config *b);
/* Last thing before guest code, single-threaded, when all is made that needs rights. */
void lockdown_finish(const struct boot_config *b);

#endif
