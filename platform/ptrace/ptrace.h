/* SPDX-License-Identifier: Apache-2.0 */
/* The ptrace platform, for platform/platform.c. */
#ifndef PAVISE_PLATFORM_PTRACE_PTRACE_H
#define PAVISE_PLATFORM_PTRACE_PTRACE_H

#include "platform/platform.h"

extern const struct platform_ops ptrace_platform_ops;

#endif
