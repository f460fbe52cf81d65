/* SPDX-License-Identifier: Apache-2.0 */
/* eventfd(2). */
#ifndef PAVISE_VFS_EVENTFD_H
#define PAVISE_VFS_EVENTFD_H

#include "vfs/vfs.h"

/* flags: EFD_*. ERR_PTR. */
must_check struct file *eventfd_new(u32 initial, int flags, const struct cred *cred);
bool file_is_eventfd(const struct file *f);
/* From the kernel (aio): add n, never parks, stops below the overflow value. */
void eventfd_signal(struct file *f, u64 n);

#endif
