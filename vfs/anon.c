/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Anonymous inodes: one inode, shared by all files that have no place in any tree (eventfd, epoll,
 * pidfd...), as on Linux. Their dentries tell them apart ("anon_inode:[eventfd]").
 */
#include "base/heap.h"
#include "vfs/fsnotify.h"
#include "vfs/locks.h"
#include "vfs/vfs_priv.h"

#include <stdio.h>

#define ANON_INODE_FS_MAGIC 0x09041934

DEFINE_CACHE(anon_super_cache, struct super);
DEFINE_CACHE(anon_inode_cache, struct inode);

void inode_hooks_fini(struct inode *inode)
{
    locks_inode_fini(inode);
    inotify_inode_fini(inode);
}

static void anon_inode_release(struct inode *inode)
{
    inode_fini(inode);
    cache_del(anon_inode_cache, inode);
}

static const struct inode_ops anon_inode_ops = {.name = "anon_inode",
                                                .release = anon_inode_release};
HEAP_OPS(anon_inode_ops);

static void anon_super_release(struct super *sb)
{
    cache_del(anon_super_cache, sb);
}

static const struct super_ops anon_super_ops = {.name = "anon_inodefs",
                                                .release = anon_super_release};
HEAP_OPS(anon_super_ops);

int anon_boot(void)
{
    struct super *sb = cache_new(anon_super_cache);
    struct inode *inode = cache_new(anon_inode_cache);

    if (sb == NULL || inode == NULL) {
        cache_del(anon_super_cache, sb);
        cache_del(anon_inode_cache, inode);
        return -ENOMEM;
    }
    super_init(sb, &anon_super_ops, "anon_inodefs", ANON_INODE_FS_MAGIC);
    inode_init(inode, sb, &anon_inode_ops, 1, S_IRUSR | S_IWUSR, 0, 0);
    sb->root = inode;
    vfs_state->anon_sb = sb;
    vfs_state->anon_inode = inode;
    return 0;
}

void anon_shutdown(void)
{
    super_put(vfs_state->anon_sb);
}

int file_init_anon(struct file *f, const struct file_ops *ops, const char *name, u32 flags,
                   const struct cred *cred)
{
    char text[64];
    struct path path = {0};

    (void)snprintf(text, sizeof(text), "anon_inode:%s", name);
    path.dentry = dentry_new_anon(vfs_state->anon_inode, text);
    if (path.dentry == NULL) {
        return -ENOMEM;
    }
    file_init(f, ops, vfs_state->anon_inode, &path, flags, cred);
    path_put(&path);
    return 0;
}
