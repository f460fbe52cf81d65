/* SPDX-License-Identifier: Apache-2.0 */
/* UTS namespaces (uts_namespaces(7)) and the containers of System V objects (ipc_namespaces(7)). */
#include "sentry/kernel/namespace.h"

#include "base/heap.h"

#include <stdio.h>

struct ipc_ns {
    struct ref ref;
    u64 ino; /* (c) */
};

DEFINE_CACHE(uts_ns_cache, struct uts_ns);
DEFINE_CACHE(ipc_ns_cache, struct ipc_ns);

/* Namespace inode numbers of /proc/PID/ns; Linux begins them here. */
static _Atomic u64 next_ino = 0xf0000010;

u64 namespace_new_ino(void)
{
    return next_ino++;
}

struct uts_ns *uts_ns_new(const char *nodename, const char *domainname)
{
    struct uts_ns *ns = cache_new(uts_ns_cache);

    if (ns != NULL) {
        ref_init(&ns->ref);
        snprintf(ns->nodename, sizeof(ns->nodename), "%s", nodename);
        snprintf(ns->domainname, sizeof(ns->domainname), "%s", domainname);
        ns->ino = namespace_new_ino();
    }
    return ns;
}

struct uts_ns *uts_ns_copy(struct uts_ns *ns)
{
    char node[65], domain[65];

    spin_lock(&ns->lock);
    memcpy(node, ns->nodename, sizeof(node));
    memcpy(domain, ns->domainname, sizeof(domain));
    spin_unlock(&ns->lock);
    return uts_ns_new(node, domain);
}

struct uts_ns *uts_ns_get(struct uts_ns *ns)
{
    ref_get(&ns->ref);
    return ns;
}

void uts_ns_put(struct uts_ns *ns)
{
    if (ref_put(&ns->ref)) {
        cache_del(uts_ns_cache, ns);
    }
}

struct ipc_ns *ipc_ns_new(void)
{
    struct ipc_ns *ns = cache_new(ipc_ns_cache);

    if (ns != NULL) {
        ref_init(&ns->ref);
        ns->ino = namespace_new_ino();
    }
    return ns;
}

struct ipc_ns *ipc_ns_get(struct ipc_ns *ns)
{
    ref_get(&ns->ref);
    return ns;
}

void ipc_ns_put(struct ipc_ns *ns)
{
    if (ref_put(&ns->ref)) {
        cache_del(ipc_ns_cache, ns);
    }
}
