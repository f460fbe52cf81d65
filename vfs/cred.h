/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credentials (credentials(7), capabilities(7)): immutable once published and reference-counted; a
 * change copies. Passed in by callers: vfs never asks who is calling.
 */
#ifndef PAVISE_VFS_CRED_H
#define PAVISE_VFS_CRED_H

#include "base/base.h"
#include "base/ref.h"

#define CRED_MAX_GROUPS 65536

/* A user namespace of the guest: ids are mapped to the sandbox's own ids. Details in sentry/kernel.
 */
struct user_ns;

struct cred {
    struct ref ref;
    u32 uid, euid, suid, fsuid; /* ids as the sandbox's initial user namespace sees them */
    u32 gid, egid, sgid, fsgid;
    u64 cap_permitted, cap_effective, cap_inheritable, cap_bounding, cap_ambient;
    u32 securebits;
    bool no_new_privs;
    struct user_ns *user_ns; /* counted; NULL: the initial one */
    u32 nr_groups;
    u32 *groups; /* heap, sorted */
};

/* Id 0 with every capability, no groups; unpublished. NULL: no memory. */
must_check struct cred *cred_new_root(void);
/* How to count user namespaces (sentry/kernel, at boot). */
void cred_set_user_ns_hooks(struct user_ns *(*get)(struct user_ns *),
                            void (*put)(struct user_ns *));
/* A private copy to change, unpublished (count 1), or NULL. */
must_check struct cred *cred_copy(const struct cred *old);
struct cred *cred_get(const struct cred *c);
void cred_put(const struct cred *c);

/* Has c capability `cap` (CAP_*) in effect, relative to the initial user namespace? */
bool cred_capable(const struct cred *c, int cap);
/* Is `gid` the fsgid or one of the supplementary groups? */
bool cred_in_group(const struct cred *c, u32 gid);

#endif
