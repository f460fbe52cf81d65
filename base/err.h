/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The error rule: kernel code returns >= 0 for success and -EXXX otherwise; a function
 * returning a pointer returns NULL only for "none" and ERR_PTR(-EXXX) for an error.
 */
#ifndef PAVISE_BASE_ERR_H
#define PAVISE_BASE_ERR_H

#include "base/base.h"

#include <errno.h>

#define MAX_ERRNO 4095

/*
 * Internal results of an interrupted wait (linux/errno.h). They never reach the guest:
 * sentry/kernel/signal.c turns them into EINTR or restarts the call.
 */
#define ERESTARTSYS           512 /* restart if the handler has SA_RESTART or no handler ran */
#define ERESTARTNOINTR        513 /* always restart */
#define ERESTARTNOHAND        514 /* restart only if no handler ran */
#define ERESTART_RESTARTBLOCK 516 /* restart through restart_syscall(2) */

static inline void *ERR_PTR(long err)
{
    return (void *)err;
}

static inline long PTR_ERR(const void *p)
{
    return (long)p;
}

static inline bool IS_ERR(const void *p)
{
    return (unsigned long)p >= (unsigned long)-MAX_ERRNO;
}

static inline bool IS_ERR_OR_NULL(const void *p)
{
    return p == NULL || IS_ERR(p);
}

#endif
