/* SPDX-License-Identifier: Apache-2.0 */
/* The id maps of a sandbox's user namespace. */
#ifndef PAVISE_RUNTIME_IDMAP_H
#define PAVISE_RUNTIME_IDMAP_H

#include "base/base.h"

struct error;

/* Map ids to themselves in the namespace of `pid`: all that we have ourselves when we are root,
 * otherwise our own. */
int idmap_write(pid_t pid, struct error *err);

#endif
