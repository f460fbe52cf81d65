/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Super blocks, the list of file system types, and the birth of the vfs state.
 *
 * Life of a super: super_init by the file system's mount op (count 1) -> counted by each mount and
 * by whoever stacks on it -> the last put drops its dentries, its root, and calls ops->release.
 * Paths and open files count mounts, so none is left by then.
 */
#include "base/heap.h"
#include "base/log.h"
#include "vfs/fsnotify.h"
#include "vfs/nofs.h"
#include "vfs/vfs_priv.h"

#include <sys/sysmacros.h>

#define MAX_DEVS (1U << 20)

DEFINE_CACHE(vfs_state_cache, struct vfs_state);

struct vfs_state *vfs_state;

void super_init(struct super *sb, const struct super_ops *ops, const char *type, u64 magic)
{
    int minor;

    ref_init(&sb->ref);
    sb->ops = ops;
    sb->type = type;
    sb->magic = magic;
    mutex_init(&sb->rename, LOCK_RENAME);
    spin_lock(&vfs_state->lock);
    minor = idr_alloc_cyclic(&vfs_state->devs, sb, 1, MAX_DEVS);
    spin_unlock(&vfs_state->lock);
    sb->dev = makedev(0, minor > 0 ? (unsigned)minor : 0U); /* out of memory: shares number 0 */
}

void super_fini(struct super *sb)
{
    spin_lock(&vfs_state->lock);
    if (minor(sb->dev) != 0) {
        (void)idr_remove(&vfs_state->devs, minor(sb->dev));
    }
    spin_unlock(&vfs_state->lock);
    heap_free(sb->source);
    sb->source = NULL;
}

struct super *super_get(struct super *sb)
{
    ref_get(&sb->ref);
    return sb;
}

void super_put(struct super *sb)
{
    if (sb == NULL || !ref_put(&sb->ref)) {
        return;
    }
    fsnotify_unmount(sb);
    if (sb->root_dentry != NULL) {
        dentry_prune_children(sb->root_dentry);
        dentry_put(sb->root_dentry);
    }
    super_fini(sb);
    inode_put(sb->root);
    sb->ops->release(sb);
}

int super_statfs(struct super *sb, struct statfs_info *out)
{
    int err;

    *out = (struct statfs_info){.type = sb->magic,
                                .bsize = PAGE_SIZE,
                                .namelen = NAME_LEN_MAX,
                                .frsize = PAGE_SIZE,
                                .fsid = sb->dev};
    if (sb->ops->statfs == NULL) {
        return 0;
    }
    err = sb->ops->statfs(sb, out);
    if (out->frsize == 0) {
        out->frsize = out->bsize;
    }
    return err;
}

int super_sync(struct super *sb)
{
    return sb->ops->sync != NULL ? sb->ops->sync(sb) : 0;
}

/* sync(2): errors are nobody's; a super that is going away needs no sync. */
void super_sync_all(void)
{
    struct super *sb;
    u32 minor_nr = 0;

    for (;;) {
        spin_lock(&vfs_state->lock);
        do {
            minor_nr++;
            sb = idr_next(&vfs_state->devs, &minor_nr);
        } while (sb != NULL && !ref_get_unless_zero(&sb->ref));
        spin_unlock(&vfs_state->lock);
        if (sb == NULL) {
            return;
        }
        if (super_sync(sb) != 0) {
            log_debug(LOG_VFS, "sync of a %s failed", sb->type);
        }
        super_put(sb);
    }
}

int super_set_source(struct super *sb, const char *source)
{
    char *copy = heap_strdup(source);

    if (copy == NULL) {
        return -ENOMEM;
    }
    heap_free(sb->source);
    sb->source = copy;
    return 0;
}

void fs_type_register(struct fs_type *type)
{
    TAILQ_INSERT_TAIL(&vfs_state->types, type, link);
}

struct fs_type *fs_type_find(const char *name)
{
    struct fs_type *t;

    TAILQ_FOREACH (t, &vfs_state->types, link) {
        if (strcmp(t->name, name) == 0) {
            return t;
        }
    }
    return NULL;
}

void fs_type_for_each(void (*fn)(const struct fs_type *t, void *arg), void *arg)
{
    struct fs_type *t;

    TAILQ_FOREACH (t, &vfs_state->types, link) {
        fn(t, arg);
    }
}

int vfs_boot(void)
{
    struct vfs_state *s = cache_new(vfs_state_cache);
    int err;

    if (s == NULL) {
        return -ENOMEM;
    }
    vfs_state = s;
    rwlock_init(&s->mounts, LOCK_MOUNTS);
    TAILQ_INIT(&s->mount_list);
    TAILQ_INIT(&s->fs_list);
    s->next_mount_id = 20; /* ids below look odd to nobody, but Linux never shows them either */
    s->next_ns_ino = 0xf0000100U;
    idr_init(&s->devs);
    TAILQ_INIT(&s->types);
    TAILQ_INIT(&s->chrdevs);
    err = dcache_boot();
    if (err == 0) {
        err = anon_boot();
    }
    return err != 0 ? err : nofs_boot();
}

void vfs_shutdown(void)
{
    struct vfs_state *s = vfs_state;
    struct chrdev_range *r;

    nofs_shutdown();
    anon_shutdown();
    defer_flush();
    while ((r = TAILQ_FIRST(&s->chrdevs)) != NULL) {
        TAILQ_REMOVE(&s->chrdevs, r, link);
        chrdev_range_free(r);
    }
    CHECK(TAILQ_EMPTY(&s->mount_list), "mounts are left");
    CHECK(s->nr_lru == 0, "%lu dentries are left", (unsigned long)s->nr_lru);
    idr_fini(&s->devs);
    cache_del(vfs_state_cache, s);
    vfs_state = NULL;
}
