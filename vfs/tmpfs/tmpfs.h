/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tmpfs(5) and the unnamed files made of the same stuff: shared anonymous memory, memfd_create(2),
 * System V segments.
 */
#ifndef PAVISE_VFS_TMPFS_TMPFS_H
#define PAVISE_VFS_TMPFS_TMPFS_H

#include "vfs/vfs.h"

#define TMPFS_MAGIC 0x01021994

struct tmpfs_options {
    u64 size;      /* bytes; 0: no limit */
    u64 nr_inodes; /* 0: no limit */
    u32 mode, uid, gid;
};
/* No limits, mode 01777, owned by root. */
extern const struct tmpfs_options tmpfs_default_options;

/* A new empty tree, for the kernel's own mounts. ERR_PTR. */
must_check struct super *tmpfs_super_new(const struct tmpfs_options *options);
/* mount(2): "size=50%,mode=755"... -EINVAL */
must_check int tmpfs_parse_options(const char *data, struct tmpfs_options *out);

/* At boot, after vfs_boot: the file system type and the super of unnamed files; shutdown for tests.
 */
must_check int tmpfs_boot(void);
void tmpfs_shutdown(void);

#define SHMEM_SEALABLE 1U /* seals may be added; otherwise F_SEAL_SEAL is set */
#define SHMEM_EAGER    2U /* a fault allocates all that was asked for in one run */

/* An unnamed file of `size` bytes, open for reading and writing: MAP_SHARED|MAP_ANONYMOUS
 * ("/dev/zero (deleted)"), SysV. `name` is what /proc shows. ERR_PTR. */
must_check struct file *shmem_file_new(const char *name, u64 size, u32 flags,
                                       const struct cred *cred);
/* memfd_create(2); `name` without the "memfd:". MFD_*: -EINVAL for unknown ones. ERR_PTR. */
must_check struct file *memfd_new(const char *name, u32 mfd_flags, const struct cred *cred);

/* fcntl F_ADD_SEALS, F_GET_SEALS: -EINVAL for files that have none, -EPERM, -EBUSY. */
must_check int shmem_add_seals(struct file *f, u32 seals);
must_check int shmem_get_seals(struct file *f);

#endif
