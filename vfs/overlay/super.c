/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Overlay super blocks: the layers, statfs, the end.
 *
 * Life: overlay_super_new counts the layers -> mounts count the overlay -> the last put drops the
 * dentries and the root; release then unpins what the index still holds, which takes the rest of
 * the tree with it, and gives the layers back.
 */
#include "base/host.h"
#include "base/memfile.h"
#include "vfs/overlay/overlay_priv.h"

DEFINE_CACHE(overlay_super_cache, struct overlay_super);

/* Where the upper sets no limit, the sandbox's memory is one. */
static int overlay_statfs(struct super *sb, struct statfs_info *out)
{
    struct overlay_super *os = overlay_sb(sb);
    int err = super_statfs(os->upper, out);
    u64 limit = memfile_limit(memfile), used = memfile_committed(memfile);

    out->type = OVERLAY_MAGIC;
    out->fsid = sb->dev;
    if (err == 0 && out->blocks == 0) {
        limit = limit != 0 ? limit : host_total_ram();
        out->bsize = out->frsize = PAGE_SIZE;
        out->blocks = limit / PAGE_SIZE;
        out->bfree = out->bavail = limit > used ? (limit - used) / PAGE_SIZE : 0;
    }
    if (err == 0 && out->files == 0) {
        u64 nr = atomic_load_explicit(&os->nr_new, memory_order_relaxed);

        out->files = os->options.max_inodes != 0 ? os->options.max_inodes : UINT32_MAX;
        out->ffree = out->files > nr ? out->files - nr : 0;
    }
    return err;
}

/* What is still in the index is pinned, or below something pinned. */
static void drop_pinned(struct overlay_super *os)
{
    struct inode *inode;

    while ((inode = icache_pop(&os->inodes)) != NULL) {
        struct overlay_inode *oi = overlay_i(inode);

        if (oi->pinned) {
            oi->pinned = false;
            inode_put(inode);
        }
        inode_put(inode);
    }
}

static void give_layers_back(struct overlay_super *os)
{
    for (u32 i = 0; i < os->nr_lowers; i++) {
        super_put(os->lowers[i]);
    }
    heap_free(os->lowers);
    super_put(os->upper);
    cred_put(os->cred);
}

static void overlay_super_release(struct super *sb)
{
    struct overlay_super *os = overlay_sb(sb);

    drop_pinned(os);
    CHECK(atomic_load(&os->nr_inodes) == 0, "%lu overlay inodes are left",
          (unsigned long)atomic_load(&os->nr_inodes));
    icache_fini(&os->inodes);
    give_layers_back(os);
    cache_del(overlay_super_cache, os);
}

static const struct super_ops overlay_super_ops = {
    .name = "overlay",
    .statfs = overlay_statfs,
    .release = overlay_super_release,
};
HEAP_OPS(overlay_super_ops);

static int take_layers(struct overlay_super *os, struct super *upper, struct super *const *lowers,
                       u32 nr)
{
    os->lowers = heap_alloc(nr * sizeof(struct super *));
    os->cred = cred_new_root();
    if (os->lowers == NULL || os->cred == NULL) {
        return -ENOMEM;
    }
    for (u32 i = 0; i < nr; i++) {
        os->lowers[i] = super_get(lowers[i]);
    }
    os->nr_lowers = nr;
    os->upper = super_get(upper);
    overlay_rank_below(upper->root);
    return icache_init(&os->inodes);
}

static struct inode *overlay_root(struct overlay_super *os)
{
    u32 nr_more = os->nr_lowers - 1;
    struct inode **more = NULL;

    if (nr_more != 0) {
        more = heap_alloc(nr_more * sizeof(struct inode *));
        if (more == NULL) {
            return ERR_PTR(-ENOMEM);
        }
        for (u32 i = 0; i < nr_more; i++) {
            more[i] = inode_get(os->lowers[i + 1]->root);
        }
    }
    return overlay_iget(os, inode_get(os->lowers[0]->root), more, nr_more);
}

struct super *overlay_super_new(struct super *upper, struct super *const *lowers, u32 nr_lowers,
                                const struct overlay_options *options)
{
    struct overlay_super *os;
    struct inode *root;
    int err;

    if (nr_lowers == 0 || nr_lowers > OVERLAY_MAX_LOWERS) {
        return ERR_PTR(-EINVAL);
    }
    os = cache_new(overlay_super_cache);
    if (os == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    os->options = *options;
    super_init(&os->sb, &overlay_super_ops, "overlay", OVERLAY_MAGIC);
    err = take_layers(os, upper, lowers, nr_lowers);
    if (err == 0) {
        root = overlay_root(os);
        if (!IS_ERR(root)) {
            os->sb.root = root;
            return &os->sb;
        }
        err = (int)PTR_ERR(root);
        icache_fini(&os->inodes);
    }
    super_fini(&os->sb);
    give_layers_back(os);
    cache_del(overlay_super_cache, os);
    return ERR_PTR(err);
}
