/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a sentry in namespaces of its own. */
#ifndef PAVISE_RUNTIME_SANDBOX_H
#define PAVISE_RUNTIME_SANDBOX_H

#include "runtime/spec.h"

struct sandbox {
    pid_t pid;      /* of the sentry, which is process 1 of its own pid namespace */
    int pidfd;      /* readable when it ended */
    int control_fd; /* struct control_msg packets */
};

/* Start it; the command itself may still fail to run (CONTROL_FAILED). */
int sandbox_launch(struct sandbox *sandbox, const struct spec *spec, struct error *err);

#endif
