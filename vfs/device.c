/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Character devices by number: drivers register at boot, open looks the number up. Block devices do
 * not exist here (ENXIO).
 */
#include "base/heap.h"
#include "vfs/vfs_priv.h"

#include <sys/sysmacros.h>

DEFINE_CACHE(chrdev_range_cache, struct chrdev_range);

void chrdev_register(u32 major, u32 minor, u32 count, device_open_fn open)
{
    struct chrdev_range *r = cache_new(chrdev_range_cache);

    CHECK(r != NULL, "out of memory at boot");
    r->major = major;
    r->minor = minor;
    r->count = count;
    r->open = open;
    TAILQ_INSERT_TAIL(&vfs_state->chrdevs, r, link);
}

device_open_fn chrdev_find(u64 rdev)
{
    struct chrdev_range *r;
    u32 maj = major(rdev), min_nr = minor(rdev);

    TAILQ_FOREACH (r, &vfs_state->chrdevs, link) {
        if (r->major == maj && min_nr >= r->minor && min_nr - r->minor < r->count) {
            return r->open;
        }
    }
    return NULL;
}

void chrdev_range_free(struct chrdev_range *r)
{
    cache_del(chrdev_range_cache, r);
}
