/* SPDX-License-Identifier: Apache-2.0 */
/* /dev: the devtmpfs type and the devices of memory and chance. */
#ifndef PAVISE_VFS_DEV_DEV_H
#define PAVISE_VFS_DEV_DEV_H

#include "vfs/vfs.h"

/* At boot, after tmpfs_boot: registers null, zero, full, random, urandom and the type "devtmpfs",
 * whose mounts hold their nodes, those of tty, ptmx and console (other drivers answer for them),
 * the links fd, stdin, stdout, stderr, and the directories pts, shm, mqueue. */
void dev_boot(void);

/* Is f /dev/zero? A mapping of it is one of anonymous memory. */
bool file_is_dev_zero(const struct file *f);

#endif
