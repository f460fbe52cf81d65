/* SPDX-License-Identifier: Apache-2.0 */
/* Donated host descriptors (standard streams) as guest files. */
#ifndef PAVISE_VFS_HOSTFS_STDIO_H
#define PAVISE_VFS_HOSTFS_STDIO_H

#include "vfs/vfs.h"

struct tty;

/* At boot, after vfs_boot. */
must_check int stdio_boot(void);
/* `fd` is taken over, also on error. Its O_NONBLOCK flag is never changed: others share it.
 * ERR_PTR. */
must_check struct file *stdio_file_new(int fd, const struct cred *cred);
/* The sandbox's terminal if f is on it, borrowed for ever; else NULL. */
struct tty *stdio_tty(struct file *f);

#endif
