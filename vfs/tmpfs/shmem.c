/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unnamed files in memory: shared anonymous mappings, memfd_create(2) and its seals, System V
 * shared memory. They are tmpfs inodes of an internal super that is never mounted and has no limits
 * of its own (the memory file's holds).
 */
#include "vfs/dentry.h"
#include "vfs/tmpfs/tmpfs_priv.h"

#include <linux/memfd.h>
#include <stdio.h>
#include <sys/mman.h>

#define MEMFD_NAME_MAX 249 /* NAME_MAX less "memfd:" */
#define ALL_SEALS                                                                                  \
    (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE | F_SEAL_EXEC)
#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x20
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x8U
#define MFD_EXEC        0x10U
#endif

static struct file *shmem_open(const char *name, u64 size, u32 mode, u32 flags,
                               const struct cred *cred)
{
    struct inode *inode;
    struct path path = {0};
    struct file *f;

    if (size > (u64)INT64_MAX) {
        return ERR_PTR(-EINVAL);
    }
    inode = tmpfs_inode_new(tmpfs_sb(shmem_super), S_IFREG | mode, 0, cred->fsuid, cred->fsgid);
    if (IS_ERR(inode)) {
        return (struct file *)inode;
    }
    inode->nlink = 0;
    inode->size = size;
    tmpfs_i(inode)->file.shmem_flags = flags;
    if ((flags & SHMEM_SEALABLE) != 0) {
        tmpfs_i(inode)->file.seals = 0;
    }
    path.dentry = dentry_new_anon(inode, name);
    f = path.dentry != NULL ? file_new_plain(&tmpfs_file_ops, inode, &path, O_RDWR, cred)
                            : ERR_PTR(-ENOMEM);
    path_put(&path);
    inode_put(inode);
    return f;
}

struct file *shmem_file_new(const char *name, u64 size, u32 flags, const struct cred *cred)
{
    return shmem_open(name, size, 0777, flags, cred);
}

struct file *memfd_new(const char *name, u32 mfd_flags, const struct cred *cred)
{
    char text[MEMFD_NAME_MAX + 32];
    struct file *f;

    if ((mfd_flags & ~(MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL | MFD_EXEC)) != 0 ||
        (mfd_flags & (MFD_NOEXEC_SEAL | MFD_EXEC)) == (MFD_NOEXEC_SEAL | MFD_EXEC) ||
        strlen(name) > MEMFD_NAME_MAX) {
        return ERR_PTR(-EINVAL);
    }
    (void)snprintf(text, sizeof(text), "/memfd:%s (deleted)", name);
    if ((mfd_flags & MFD_NOEXEC_SEAL) != 0) {
        f = shmem_open(text, 0, 0666, SHMEM_SEALABLE, cred);
        if (!IS_ERR(f)) {
            tmpfs_i(f->inode)->file.seals = F_SEAL_EXEC;
        }
        return f;
    }
    return shmem_open(text, 0, 0777, (mfd_flags & MFD_ALLOW_SEALING) != 0 ? SHMEM_SEALABLE : 0,
                      cred);
}

static bool file_is_shmem(const struct file *f)
{
    return f->ops == &tmpfs_file_ops;
}

int shmem_add_seals(struct file *f, u32 seals)
{
    struct tmpfs_inode *ti;

    if ((f->mode & FMODE_WRITE) == 0) {
        return -EPERM;
    }
    if ((seals & ~(u32)ALL_SEALS) != 0 || !file_is_shmem(f)) {
        return -EINVAL;
    }
    ti = tmpfs_i(f->inode);
    WRITE_GUARD(&ti->inode.lock);
    MUTEX_GUARD(&ti->file.pages_lock);
    if ((ti->file.seals & F_SEAL_SEAL) != 0) {
        return -EPERM;
    }
    if ((seals & F_SEAL_WRITE) != 0 && (ti->file.seals & F_SEAL_WRITE) == 0 &&
        ti->file.nr_writable_maps != 0) {
        return -EBUSY;
    }
    if ((seals & F_SEAL_EXEC) != 0 && (ti->inode.mode & 0111U) != 0) {
        seals |= F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;
    }
    ti->file.seals |= seals;
    return 0;
}

int shmem_get_seals(struct file *f)
{
    return file_is_shmem(f) ? (int)tmpfs_i(f->inode)->file.seals : -EINVAL;
}
