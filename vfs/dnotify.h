/* SPDX-License-Identifier: Apache-2.0 */
/* fcntl F_NOTIFY: a signal when something in a directory changes (what inotify(7) replaced). */
#ifndef PAVISE_VFS_DNOTIFY_H
#define PAVISE_VFS_DNOTIFY_H

#include "vfs/vfs.h"

/* Ask for DN_* of the directory f, as descriptor `fd` of the table `fdt`; no events: ask no more.
 * -ENOTDIR, -EINVAL, -ENOMEM. */
must_check int dnotify_set(struct file *f, int fd, u32 events, const void *fdt);
/* A descriptor of f in fdt (NULL: in any) is closed. */
void dnotify_close(const struct file *f, const void *fdt);
/* A name in dir saw IN_* events. From anywhere: takes a spin lock only. */
void dnotify_event(const struct inode *dir, u32 mask);

#endif
