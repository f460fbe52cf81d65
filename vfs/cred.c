/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credentials: counted, immutable once published. The user namespace pointer is copied and dropped
 * through hooks, since its layout is sentry/kernel's affair.
 */
#include "vfs/cred.h"

#include "base/heap.h"

#include "vfs/vfs_priv.h"

#include <linux/capability.h>

DEFINE_CACHE(cred_cache, struct cred);

static struct user_ns *(*user_ns_get_fn)(struct user_ns *ns);
static void (*user_ns_put_fn)(struct user_ns *ns);

void cred_set_user_ns_hooks(struct user_ns *(*get)(struct user_ns *), void (*put)(struct user_ns *))
{
    user_ns_get_fn = get;
    user_ns_put_fn = put;
}

void user_ns_drop(struct user_ns *ns)
{
    if (ns != NULL && user_ns_put_fn != NULL) {
        user_ns_put_fn(ns);
    }
}

struct cred *cred_new_root(void)
{
    struct cred *c = cache_new(cred_cache);

    if (c == NULL) {
        return NULL;
    }
    ref_init(&c->ref);
    c->cap_permitted = c->cap_effective = c->cap_bounding = (1ULL << (CAP_LAST_CAP + 1)) - 1;
    return c;
}

struct cred *cred_copy(const struct cred *old)
{
    struct cred *c = cache_new(cred_cache);

    if (c == NULL) {
        return NULL;
    }
    *c = *old;
    ref_init(&c->ref);
    if (old->nr_groups != 0) {
        c->groups = heap_memdup(old->groups, old->nr_groups * sizeof(u32));
        if (c->groups == NULL) {
            cache_del(cred_cache, c);
            return NULL;
        }
    }
    if (c->user_ns != NULL && user_ns_get_fn != NULL) {
        c->user_ns = user_ns_get_fn(c->user_ns);
    }
    return c;
}

struct cred *cred_get(const struct cred *c)
{
    struct cred *mut = (struct cred *)c; /* the count is not part of the value */

    ref_get(&mut->ref);
    return mut;
}

void cred_put(const struct cred *c)
{
    struct cred *mut = (struct cred *)c;

    if (mut == NULL || !ref_put(&mut->ref)) {
        return;
    }
    user_ns_drop(mut->user_ns);
    heap_free(mut->groups);
    cache_del(cred_cache, mut);
}

/* A cred in a namespace of its own has no power over the initial one. */
bool cred_capable(const struct cred *c, int cap)
{
    return c->user_ns == NULL && (c->cap_effective & (1ULL << cap)) != 0;
}

bool cred_in_group(const struct cred *c, u32 gid)
{
    u32 low = 0, high = c->nr_groups;

    if (c->fsgid == gid) {
        return true;
    }
    while (low < high) {
        u32 mid = low + (high - low) / 2;

        if (c->groups[mid] == gid) {
            return true;
        }
        if (c->groups[mid] < gid) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return false;
}
