/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostfs super blocks: one donated tree each.
 *
 * Life: hostfs_super_new takes the directory's descriptor over -> mounts (or an overlay) count it
 * -> the last put drops the root inode, and release closes the descriptor.
 */
#include "vfs/hostfs/hostfs_priv.h"

#include <sys/sysmacros.h>
#include <sys/vfs.h>

#define DEFAULT_MAX_FDS 8192U
#define MIN_MAX_FDS     16U

DEFINE_CACHE(hostfs_super_cache, struct hostfs_super);

u64 hostfs_ino(struct hostfs_super *hsb, u64 host_dev, u64 host_ino)
{
    u32 i;

    SPIN_GUARD(&hsb->fd_lock);
    for (i = 0; i < hsb->nr_devs && hsb->devs[i] != host_dev; i++) {
    }
    if (i == hsb->nr_devs && i < HOSTFS_MAX_DEVS) {
        hsb->devs[hsb->nr_devs++] = host_dev;
    }
    return host_ino ^ ((u64)i << 48); /* the tree has one st_dev for the guest */
}

static int hostfs_statfs(struct super *sb, struct statfs_info *out)
{
    struct statfs st;
    int err = host_fstatfs(to_hsb(sb)->root_fd, &st);

    if (err == 0) {
        out->bsize = (u64)st.f_bsize;
        out->frsize = (u64)st.f_frsize;
        out->blocks = (u64)st.f_blocks;
        out->bfree = (u64)st.f_bfree;
        out->bavail = (u64)st.f_bavail;
        out->files = (u64)st.f_files;
        out->ffree = (u64)st.f_ffree;
        out->namelen = (u64)st.f_namelen;
    }
    return err;
}

static int hostfs_sync(struct super *sb)
{
    struct hostfs_super *hsb = to_hsb(sb);
    int fd, err;

    if (!hsb->opt.writable) {
        return 0;
    }
    fd = hostfs_fd_get(to_hostfs(sb->root), HFD_MAIN);
    if (fd < 0) {
        return fd;
    }
    worker_block_begin();
    err = host_syncfs(fd);
    worker_block_end();
    hostfs_fd_put(to_hostfs(sb->root), HFD_MAIN);
    return err;
}

static void hostfs_super_release(struct super *sb)
{
    struct hostfs_super *hsb = to_hsb(sb);

    CHECK(hsb->nr_fds == 0 && TAILQ_EMPTY(&hsb->lru), "%u host descriptors are left", hsb->nr_fds);
    icache_fini(&hsb->inodes);
    host_close(hsb->root_fd);
    cache_del(hostfs_super_cache, hsb);
}

static const struct super_ops hostfs_super_ops = {
    .name = "hostfs",
    .statfs = hostfs_statfs,
    .sync = hostfs_sync,
    .release = hostfs_super_release,
};
HEAP_OPS(hostfs_super_ops);

static struct inode *make_root(struct hostfs_super *hsb)
{
    struct statx stx;
    int err = hostfs_statx_fd(hsb->root_fd, &stx);

    return err != 0 ? ERR_PTR(err) : hostfs_iget(hsb, &stx, NULL, NULL);
}

struct super *hostfs_super_new(int dirfd, const struct hostfs_options *options)
{
    struct hostfs_super *hsb = cache_new(hostfs_super_cache);
    struct inode *root = ERR_PTR(-ENOMEM);

    if (hsb == NULL || icache_init(&hsb->inodes) != 0) {
        cache_del(hostfs_super_cache, hsb);
        host_close(dirfd);
        return ERR_PTR(-ENOMEM);
    }
    super_init(&hsb->sb, &hostfs_super_ops, "hostfs", HOSTFS_MAGIC);
    hsb->opt = *options;
    hsb->opt.max_fds = options->max_fds == 0 ? DEFAULT_MAX_FDS : max(options->max_fds, MIN_MAX_FDS);
    hsb->sb.read_only = !options->writable;
    hsb->root_fd = dirfd;
    hsb->uid = host_geteuid();
    if (hsb->uid == HOSTFS_OVERFLOW_ID) {
        hsb->opt.overflow_is_root = false; /* that is us: not to be told apart */
    }
    TAILQ_INIT(&hsb->lru);
    root = make_root(hsb);
    if (IS_ERR(root)) {
        super_fini(&hsb->sb);
        hostfs_super_release(&hsb->sb);
        return ERR_PTR(PTR_ERR(root));
    }
    hsb->sb.root = root;
    return &hsb->sb;
}
