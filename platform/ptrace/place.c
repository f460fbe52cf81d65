/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Placement: which CPU guest threads run on.
 */
#include "platform/ptrace/ptrace_priv.h"

int place_boot(void)
{
    return 0;
}

void place_resume(struct tracee *t)
{
}

void place_stop(struct tracee *t)
{
}

void place_idle(void)
{
}
