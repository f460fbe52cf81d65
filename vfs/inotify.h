/* SPDX-License-Identifier: Apache-2.0 */
/* inotify(7): the instance's side. What is reported comes through vfs/fsnotify.h. */
#ifndef PAVISE_VFS_INOTIFY_H
#define PAVISE_VFS_INOTIFY_H

#include "vfs/vfs.h"

/* flags: IN_NONBLOCK, IN_CLOEXEC. ERR_PTR. */
must_check struct file *inotify_new(int flags, const struct cred *cred);
bool file_is_inotify(const struct file *f);
/* The watch descriptor, or -errno. `inode` was looked up and checked for MAY_READ by the caller. */
must_check int inotify_add(struct file *f, struct inode *inode, u32 mask);
must_check int inotify_remove(struct file *f, int wd);

#endif
