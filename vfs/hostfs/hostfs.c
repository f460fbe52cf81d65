/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host files as inodes. An inode is one host object (device and inode number: hard links are one
 * inode) and holds an O_PATH descriptor of it. Names are opened one component at a time, by openat2
 * with RESOLVE_BENEATH and no links, relative to the parent's descriptor: nothing the guest or a
 * hostile host process does leads out of the donated tree.
 *
 * Device nodes, FIFOs and sockets of the host are never opened on the host: the guest gets its own
 * devices by number and its own FIFOs (vfs/open.c).
 *
 * Locking: hs->lock (spin) for the inode table. An inode in the table whose count has dropped to
 * zero is passed over.
 */
#include "base/heap.h"
#include "base/host.h"
#include "vfs/dentry.h"
#include "vfs/hostfs/hostfs_priv.h"

#include <linux/openat2.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

DEFINE_CACHE(hostfs_inode_cache, struct hostfs_inode);
DEFINE_CACHE(hostfs_super_cache, struct hostfs_super);

static int inode_cmp(const struct hostfs_inode *a, const struct hostfs_inode *b)
{
    if (a->host_dev != b->host_dev) {
        return a->host_dev < b->host_dev ? -1 : 1;
    }
    return a->host_ino < b->host_ino ? -1 : a->host_ino > b->host_ino;
}
RB_GENERATE_STATIC(hostfs_tree, hostfs_inode, link, inode_cmp)

static const struct inode_ops hostfs_inode_ops;

static void fill(struct hostfs_inode *hi, const struct stat *st)
{
    struct inode *i = &hi->inode;

    i->mode = st->st_mode;
    i->uid = st->st_uid;
    i->gid = st->st_gid;
    i->nlink = (u32)st->st_nlink;
    i->rdev = st->st_rdev;
    __atomic_store_n(&i->size, (u64)st->st_size, __ATOMIC_RELAXED);
    i->atime = st->st_atim;
    i->mtime = st->st_mtim;
    i->ctime = st->st_ctim;
    hi->blocks = (u64)st->st_blocks;
}

int hostfs_refresh(struct hostfs_inode *hi)
{
    struct stat st;
    int err = host_fstat(hi->path_fd, &st);

    if (err == 0) {
        fill(hi, &st);
    }
    return err;
}

/* Numbers of different host devices must not collide within our one st_dev. */
static u64 guest_ino(const struct hostfs_super *hs, const struct stat *st)
{
    return st->st_dev == hs->root_dev
               ? st->st_ino
               : st->st_ino ^ ((u64)st->st_dev << 48) ^ ((u64)st->st_dev << 32);
}

static struct hostfs_inode *find_locked(struct hostfs_super *hs, const struct stat *st)
{
    struct hostfs_inode key = {.host_dev = st->st_dev, .host_ino = st->st_ino};
    struct hostfs_inode *hi = RB_FIND(hostfs_tree, &hs->inodes, &key);

    return hi != NULL && ref_get_unless_zero(&hi->inode.ref) ? hi : NULL;
}

static void inode_free(struct hostfs_inode *hi)
{
    host_close(hi->path_fd);
    if (hi->read_fd >= 0) {
        host_close(hi->read_fd);
    }
    if (hi->write_fd >= 0) {
        host_close(hi->write_fd);
    }
    heap_free(hi->name);
    mappable_fini(&hi->map);
    inode_fini(&hi->inode);
    cache_del(hostfs_inode_cache, hi);
}

/* The inode for a host object; takes over fd. `parent` and `name`: how it was reached. */
static struct inode *inode_for(struct hostfs_super *hs, int fd, struct hostfs_inode *parent,
                               struct name name)
{
    struct hostfs_inode *hi, *old;
    struct stat st;
    int err = host_fstat(fd, &st);

    hi = err == 0 ? cache_new(hostfs_inode_cache) : NULL;
    if (hi == NULL) {
        host_close(fd);
        return ERR_PTR(err != 0 ? err : -ENOMEM);
    }
    inode_init(&hi->inode, &hs->sb, &hostfs_inode_ops, guest_ino(hs, &st), st.st_mode, st.st_uid,
               st.st_gid);
    mappable_init(&hi->map, &hostfs_mappable_ops, &hi->inode);
    mutex_init(&hi->data_lock, LOCK_LEAF);
    hi->host_dev = st.st_dev;
    hi->host_ino = st.st_ino;
    hi->path_fd = fd;
    hi->read_fd = hi->write_fd = -1;
    hi->inode.btime.tv_nsec = -1;
    fill(hi, &st);
    hi->name = heap_alloc(name.len + 1);
    if (hi->name == NULL) {
        inode_free(hi);
        return ERR_PTR(-ENOMEM);
    }
    memcpy(hi->name, name.str, name.len);
    spin_lock(&hs->lock);
    old = find_locked(hs, &st);
    if (old == NULL) {
        struct hostfs_inode *dying = RB_INSERT(hostfs_tree, &hs->inodes, hi);

        if (dying != NULL) { /* its last reference went, its release has not come here yet */
            RB_REMOVE(hostfs_tree, &hs->inodes, dying);
            dying->off_table = true;
            RB_INSERT(hostfs_tree, &hs->inodes, hi);
        }
    }
    spin_unlock(&hs->lock);
    if (old != NULL) {
        inode_free(hi);
        return &old->inode;
    }
    if (parent != NULL) {
        hi->parent = hostfs_i(inode_get(&parent->inode));
    }
    return &hi->inode;
}

static void hostfs_inode_release(struct inode *inode)
{
    struct hostfs_inode *hi = hostfs_i(inode), *parent;
    struct hostfs_super *hs = hostfs_sb(inode->sb);

    /* Parents one by one, not inside one another: trees may be deep. */
    for (;;) {
        parent = hi->parent;
        spin_lock(&hs->lock);
        if (!hi->off_table) {
            RB_REMOVE(hostfs_tree, &hs->inodes, hi);
        }
        spin_unlock(&hs->lock);
        inode_free(hi);
        if (parent == NULL || !ref_put(&parent->inode.ref)) {
            return;
        }
        hi = parent;
    }
}

/* One name below a directory descriptor. */
static int open_name(int dirfd, const char *name, u64 flags)
{
    struct open_how how = {.flags = flags | O_CLOEXEC | O_NOFOLLOW,
                           .resolve =
                               RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};

    return host_openat2(dirfd, name, &how);
}

struct inode *hostfs_lookup(struct inode *dir, struct name name)
{
    struct hostfs_inode *hi = hostfs_i(dir);
    char buf[NAME_LEN_MAX + 1];
    int fd;

    memcpy(buf, name.str, name.len);
    buf[name.len] = '\0';
    fd = open_name(hi->path_fd, buf, O_PATH);
    if (fd == -EMFILE || fd == -ENFILE) {
        dcache_shrink(dir->sb);
        fd = open_name(hi->path_fd, buf, O_PATH);
    }
    if (fd < 0) {
        return ERR_PTR(fd == -ELOOP || fd == -EXDEV ? -ENOENT : fd);
    }
    return inode_for(hostfs_sb(dir->sb), fd, hi, name);
}

int hostfs_reopen(struct hostfs_inode *hi, u32 flags)
{
    struct stat st;
    int fd, err;

    fd = hi->parent == NULL ? open_name(hi->path_fd, ".", flags)
                            : open_name(hi->parent->path_fd, hi->name, flags);
    if (fd < 0) {
        return fd;
    }
    err = host_fstat(fd, &st);
    if (err == 0 && (st.st_dev != hi->host_dev || st.st_ino != hi->host_ino)) {
        err = -ESTALE; /* somebody on the host put another file there */
    }
    if (err != 0) {
        host_close(fd);
        return err;
    }
    return fd;
}

static ssize_t hostfs_readlink(struct inode *inode, const struct vfs_ctx *ctx, char *buf,
                               size_t size)
{
    (void)ctx;
    return host_readlinkat(hostfs_i(inode)->path_fd, "", buf, size);
}

static int hostfs_getattr(struct inode *inode, struct attr *out)
{
    struct hostfs_inode *hi = hostfs_i(inode);
    int err = hostfs_sb(inode->sb)->options.revalidate ? hostfs_refresh(hi) : 0;

    if (err == 0) {
        out->mode = inode->mode;
        out->uid = inode->uid;
        out->gid = inode->gid;
        out->nlink = inode->nlink;
        out->size = inode->size;
        out->atime = inode->atime;
        out->mtime = inode->mtime;
        out->ctime = inode->ctime;
        out->blocks = hi->blocks;
    }
    return err;
}

static bool hostfs_revalidate(struct inode *dir, struct name name, struct inode *inode)
{
    struct hostfs_inode *hi = hostfs_i(dir);
    char buf[NAME_LEN_MAX + 1];
    struct stat st;

    if (!hostfs_sb(dir->sb)->options.revalidate) {
        return true;
    }
    memcpy(buf, name.str, name.len);
    buf[name.len] = '\0';
    if (host_fstatat(hi->path_fd, buf, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return inode == NULL;
    }
    return inode != NULL && st.st_dev == hostfs_i(inode)->host_dev &&
           st.st_ino == hostfs_i(inode)->host_ino;
}

static const struct inode_ops hostfs_inode_ops = {
    .name = "hostfs",
    .lookup = hostfs_lookup,
    .readlink = hostfs_readlink,
    .getattr = hostfs_getattr,
    .revalidate = hostfs_revalidate,
    .open = hostfs_open,
    .release = hostfs_inode_release,
};
HEAP_OPS(hostfs_inode_ops);

static int hostfs_statfs(struct super *sb, struct statfs_info *out)
{
    struct statfs st;
    int err = host_fstatfs(hostfs_i(sb->root)->path_fd, &st);

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

static void hostfs_super_release(struct super *sb)
{
    cache_del(hostfs_super_cache, hostfs_sb(sb));
}

static const struct super_ops hostfs_super_ops = {
    .name = "hostfs",
    .statfs = hostfs_statfs,
    .release = hostfs_super_release,
};
HEAP_OPS(hostfs_super_ops);

struct super *hostfs_super_new(int dirfd, const struct hostfs_options *options)
{
    struct hostfs_super *hs = cache_new(hostfs_super_cache);
    struct inode *root;
    struct stat st;
    int err = host_fstat(dirfd, &st);

    if (hs == NULL || err != 0) {
        cache_del(hostfs_super_cache, hs);
        host_close(dirfd);
        return ERR_PTR(err != 0 ? err : -ENOMEM);
    }
    super_init(&hs->sb, &hostfs_super_ops, "hostfs", HOSTFS_MAGIC);
    hs->options = *options;
    hs->root_dev = st.st_dev;
    hs->sb.read_only = !options->writable;
    RB_INIT(&hs->inodes);
    root = inode_for(hs, dirfd, NULL, (struct name){"", 0});
    if (IS_ERR(root)) {
        super_fini(&hs->sb);
        cache_del(hostfs_super_cache, hs);
        return ERR_PTR(PTR_ERR(root));
    }
    hs->sb.root = root;
    return &hs->sb;
}
