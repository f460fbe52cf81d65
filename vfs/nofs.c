/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pipefs and sockfs: two super blocks that are never mounted and only give inodes a device number
 * and a name. The inode owns nothing: the object belongs to the open files.
 */
#include "vfs/nofs.h"

#include "base/heap.h"
#include "vfs/dentry.h"

#include <linux/magic.h>
#include <stdio.h>

#ifndef PIPEFS_MAGIC
#define PIPEFS_MAGIC 0x50495045
#endif
#ifndef SOCKFS_MAGIC
#define SOCKFS_MAGIC 0x534F434B
#endif

struct nofs {
    struct super sb[NOFS_KINDS];
    _Atomic u64 next_ino;
};

DEFINE_CACHE(nofs_cache, struct nofs);
DEFINE_CACHE(nofs_inode_cache, struct inode);

static struct nofs *nofs; /* the one; reached from nowhere else */

static void nofs_inode_release(struct inode *inode)
{
    inode_fini(inode);
    cache_del(nofs_inode_cache, inode);
}

static int nofs_setattr(struct inode *inode, const struct setattr *set)
{
    inode_set_fields(inode, set);
    return 0;
}

static const struct inode_ops nofs_inode_ops = {
    .name = "nofs",
    .setattr = nofs_setattr,
    .release = nofs_inode_release,
};
HEAP_OPS(nofs_inode_ops);

static void nofs_super_release(struct super *sb)
{
}

static const struct super_ops nofs_super_ops = {.name = "nofs", .release = nofs_super_release};
HEAP_OPS(nofs_super_ops);

static const char *const type_names[NOFS_KINDS] = {"pipefs", "sockfs"};
static const char *const name_prefix[NOFS_KINDS] = {"pipe", "socket"};

static struct inode *inode_new(enum nofs_kind kind, u32 mode, u32 uid, u32 gid)
{
    struct inode *inode = cache_new(nofs_inode_cache);

    if (inode != NULL) {
        inode_init(inode, &nofs->sb[kind], &nofs_inode_ops,
                   atomic_fetch_add_explicit(&nofs->next_ino, 1, memory_order_relaxed), mode, uid,
                   gid);
    }
    return inode;
}

int nofs_boot(void)
{
    static const u64 magic[NOFS_KINDS] = {PIPEFS_MAGIC, SOCKFS_MAGIC};

    nofs = cache_new(nofs_cache);
    if (nofs == NULL) {
        return -ENOMEM;
    }
    atomic_store(&nofs->next_ino, 4000);
    for (u32 i = 0; i < NOFS_KINDS; i++) {
        super_init(&nofs->sb[i], &nofs_super_ops, type_names[i], magic[i]);
        nofs->sb[i].root = inode_new((enum nofs_kind)i, S_IFDIR | 0555, 0, 0);
        if (nofs->sb[i].root == NULL) {
            return -ENOMEM;
        }
    }
    return 0;
}

void nofs_shutdown(void)
{
    for (u32 i = 0; i < NOFS_KINDS; i++) {
        super_put(&nofs->sb[i]);
    }
    cache_del(nofs_cache, nofs);
    nofs = NULL;
}

int nofs_inode_new(enum nofs_kind kind, u32 mode, const struct cred *cred, struct path *path,
                   struct inode **inode)
{
    struct inode *i = inode_new(kind, mode, cred->fsuid, cred->fsgid);
    char name[40];

    if (i == NULL) {
        return -ENOMEM;
    }
    (void)snprintf(name, sizeof(name), "%s:[%lu]", name_prefix[kind], (unsigned long)i->ino);
    *path = (struct path){.dentry = dentry_new_anon(i, name)};
    if (path->dentry == NULL) {
        inode_put(i);
        return -ENOMEM;
    }
    *inode = i;
    return 0;
}
