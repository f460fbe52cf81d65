/* SPDX-License-Identifier: Apache-2.0 */
/* The table of hooks into the kernel above, with answers for those it leaves out. */
#include "vfs/hooks.h"

#include <stddef.h>

static void no_sigio(const struct file_owner *owner, int fd, int code, u32 band)
{
}

static void no_sigurg(const struct file_owner *owner)
{
}

static s32 no_tgid(void)
{
    return 1;
}

static u64 no_rlimit(int resource)
{
    return UINT64_MAX;
}

static struct vfs_hooks table = {
    .send_sigio = no_sigio,
    .send_sigurg = no_sigurg,
    .current_tgid = no_tgid,
    .current_rlimit = no_rlimit,
};

const struct vfs_hooks *vfs_hooks = &table;

void vfs_set_hooks(const struct vfs_hooks *hooks)
{
    table.send_sigio = hooks->send_sigio != NULL ? hooks->send_sigio : no_sigio;
    table.send_sigurg = hooks->send_sigurg != NULL ? hooks->send_sigurg : no_sigurg;
    table.current_tgid = hooks->current_tgid != NULL ? hooks->current_tgid : no_tgid;
    table.current_rlimit = hooks->current_rlimit != NULL ? hooks->current_rlimit : no_rlimit;
}
