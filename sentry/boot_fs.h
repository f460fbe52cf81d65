/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's mount tree as the launcher asked for it. */
#ifndef PAVISE_SENTRY_BOOT_FS_H
#define PAVISE_SENTRY_BOOT_FS_H

#include "sentry/boot.h"
#include "vfs/mount.h"

/* vfs and every file system. After heap_init, memfile_new. */
must_check int boot_fs_init(void);
/* The root and what is mounted on it. ERR_PTR; *what: what could not be mounted. */
must_check struct mnt_ns *boot_fs_mounts(const struct boot_config *b, const char **what);
/* The descriptors the first process starts with. ERR_PTR. */
must_check struct fdtable *boot_fs_fds(const struct boot_config *b, const struct vfs_ctx *ctx);

#endif
