/* SPDX-License-Identifier: Apache-2.0 */
/* UTS and IPC namespaces of the guest (namespaces(7)); mount namespaces are in vfs/mount.h. */
#ifndef PAVISE_SENTRY_KERNEL_NAMESPACE_H
#define PAVISE_SENTRY_KERNEL_NAMESPACE_H

#include "base/base.h"
#include "base/ref.h"
#include "base/sched/lock.h"

struct uts_ns {
    struct ref ref;
    struct spinlock lock;
    char nodename[65];   /* (lock) */
    char domainname[65]; /* (lock) */
    u64 ino;             /* (c) */
};

must_check struct uts_ns *uts_ns_new(const char *nodename, const char *domainname);
must_check struct uts_ns *uts_ns_copy(struct uts_ns *ns);
struct uts_ns *uts_ns_get(struct uts_ns *ns);
void uts_ns_put(struct uts_ns *ns);

/* A fresh inode number for a namespace file. */
u64 namespace_new_ino(void);

struct ipc_ns;
must_check struct ipc_ns *ipc_ns_new(void);
struct ipc_ns *ipc_ns_get(struct ipc_ns *ns);
void ipc_ns_put(struct ipc_ns *ns);

#endif
