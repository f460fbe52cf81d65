/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host calls of host trees; see base/host_fs.h. Every call takes its flags in registers, where the
 * filter checks them, but openat2: what its struct says is decided here alone, the same for all.
 */
#include "base/host_fs.h"

#include "base/host_priv.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define ITSELF (AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)

int host_open_beneath(int dirfd, const char *name, u32 flags, u32 mode)
{
    struct open_how how = {
        .flags = flags | O_CLOEXEC | O_NOFOLLOW,
        .mode = mode,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };

    return (int)call6(SYS_openat2, (u64)dirfd, (u64)name, (u64)&how, sizeof(how), 0, 0);
}

int host_statx(int dirfd, const char *name, u32 at_flags, u32 mask, struct statx *out)
{
    return (int)call6(SYS_statx, (u64)dirfd, (u64)name, at_flags | AT_SYMLINK_NOFOLLOW, mask,
                      (u64)out, 0);
}

int host_mkdirat(int dirfd, const char *name, u32 mode)
{
    return (int)call6(SYS_mkdirat, (u64)dirfd, (u64)name, mode, 0, 0, 0);
}

int host_mknodat(int dirfd, const char *name, u32 mode, u64 dev)
{
    return (int)call6(SYS_mknodat, (u64)dirfd, (u64)name, mode, dev, 0, 0);
}

int host_symlinkat(const char *target, int dirfd, const char *name)
{
    return (int)call6(SYS_symlinkat, (u64)target, (u64)dirfd, (u64)name, 0, 0, 0);
}

int host_linkat(int old_dirfd, const char *old, int new_dirfd, const char *new)
{
    return (int)call6(SYS_linkat, (u64)old_dirfd, (u64)old, (u64)new_dirfd, (u64) new, 0, 0);
}

int host_unlinkat(int dirfd, const char *name, u32 at_flags)
{
    return (int)call6(SYS_unlinkat, (u64)dirfd, (u64)name, at_flags, 0, 0, 0);
}

int host_renameat2(int old_dirfd, const char *old, int new_dirfd, const char *new, u32 flags)
{
    return (int)call6(SYS_renameat2, (u64)old_dirfd, (u64)old, (u64)new_dirfd, (u64) new, flags, 0);
}

int host_fchmod(int fd, u32 mode)
{
    return (int)call6(SYS_fchmod, (u64)fd, mode, 0, 0, 0, 0);
}

int host_fchown_path(int fd, u32 uid, u32 gid)
{
    return (int)call6(SYS_fchownat, (u64)fd, (u64) "", uid, gid, ITSELF, 0);
}

int host_utimens_path(int fd, const struct timespec times[2])
{
    return (int)call6(SYS_utimensat, (u64)fd, (u64) "", (u64)times, ITSELF, 0, 0);
}

u32 host_geteuid(void)
{
    return (u32)call6(SYS_geteuid, 0, 0, 0, 0, 0, 0);
}

int host_fsync(int fd)
{
    return (int)call6(SYS_fsync, (u64)fd, 0, 0, 0, 0, 0);
}

int host_fdatasync(int fd)
{
    return (int)call6(SYS_fdatasync, (u64)fd, 0, 0, 0, 0, 0);
}

int host_syncfs(int fd)
{
    return (int)call6(SYS_syncfs, (u64)fd, 0, 0, 0, 0, 0);
}

ssize_t host_pwritev2(int fd, const struct iovec *iov, int count, u64 off, u32 rwf)
{
    return call6(SYS_pwritev2, (u64)fd, (u64)iov, (u64)count, off, 0, rwf);
}

ssize_t host_fgetxattr(int fd, const char *name, void *buf, size_t size)
{
    return call6(SYS_fgetxattr, (u64)fd, (u64)name, (u64)buf, size, 0, 0);
}

int host_fsetxattr(int fd, const char *name, const void *value, size_t size, int flags)
{
    return (int)call6(SYS_fsetxattr, (u64)fd, (u64)name, (u64)value, size, (u64)flags, 0);
}

ssize_t host_flistxattr(int fd, char *buf, size_t size)
{
    return call6(SYS_flistxattr, (u64)fd, (u64)buf, size, 0, 0, 0);
}

int host_fremovexattr(int fd, const char *name)
{
    return (int)call6(SYS_fremovexattr, (u64)fd, (u64)name, 0, 0, 0, 0);
}
