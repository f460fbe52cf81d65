/* SPDX-License-Identifier: Apache-2.0 */
/* The launcher while the sandbox runs: signals go in, stops and the result come out. */
#ifndef PAVISE_RUNTIME_MONITOR_H
#define PAVISE_RUNTIME_MONITOR_H

#include "base/base.h"

struct error;
struct sandbox;
struct spec;

/* Before the sandbox starts: from here on signals wait for monitor_run. */
int monitor_prepare(struct error *err);
/* The signals that were ignored and blocked before that, for the guest. Bit n-1 is signal n. */
void monitor_inherited_signals(u64 *ignored, u64 *blocked);
/* Until the sandbox is gone: the exit status, or -1. */
int monitor_run(struct sandbox *sandbox, const struct spec *spec, struct error *err);

#endif
