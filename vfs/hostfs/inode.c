/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostfs inodes: one for each host object (device, number), however many names it has.
 *
 * Life: made by the first look-up of a name -> counted by dentries, open files, children (whose
 * place it is) and overlays -> the last put closes its descriptors and frees it.
 *
 * The host may give a number to another file once the first is gone. We see that by the type and
 * the time of birth, and the old inode leaves the table; it lives on for those who hold it.
 *
 * An inode knows its place, the directory and name it was seen under last; the name is how a
 * descriptor is opened when one is needed, and is not believed before the result was compared.
 */
#include "vfs/hostfs/hostfs_priv.h"

#include <sys/sysmacros.h>

DEFINE_CACHE(hostfs_inode_cache, struct hostfs_inode);

int hostfs_name(struct name name, char *buf)
{
    if (name.len == 0 || name.len > NAME_LEN_MAX) {
        return name.len == 0 ? -EINVAL : -ENAMETOOLONG;
    }
    if (memchr(name.str, '/', name.len) != NULL || memchr(name.str, '\0', name.len) != NULL ||
        (name.str[0] == '.' && (name.len == 1 || (name.len == 2 && name.str[1] == '.')))) {
        return -EINVAL;
    }
    memcpy(buf, name.str, name.len);
    buf[name.len] = '\0';
    return 0;
}

/* ---- identity and attributes ---- */

static u64 statx_dev(const struct statx *stx)
{
    return makedev(stx->stx_dev_major, stx->stx_dev_minor);
}

/* A directory reached through two mounts is two: other things may be mounted below it. */
static u64 identity(const struct statx *stx)
{
    u64 dev = statx_dev(stx);

    return S_ISDIR(stx->stx_mode) ? dev ^ (stx->stx_mnt_id << 40) : dev;
}

static struct timespec to_timespec(struct statx_timestamp t)
{
    return (struct timespec){.tv_sec = t.tv_sec, .tv_nsec = (long)t.tv_nsec};
}

static struct timespec birth(const struct statx *stx)
{
    return (stx->stx_mask & STATX_BTIME) != 0 ? to_timespec(stx->stx_btime)
                                              : (struct timespec){.tv_nsec = -1};
}

bool hostfs_same(const struct hostfs_inode *hi, const struct statx *stx)
{
    struct timespec b = birth(stx);

    return hi->host_dev == statx_dev(stx) && hi->host_ino == stx->stx_ino &&
           (hi->inode.mode & S_IFMT) == (stx->stx_mode & S_IFMT) &&
           hi->inode.btime.tv_sec == b.tv_sec && hi->inode.btime.tv_nsec == b.tv_nsec;
}

static u32 guest_id(const struct hostfs_super *hsb, u32 id)
{
    return hsb->opt.overflow_is_root && id == HOSTFS_OVERFLOW_ID ? 0 : id;
}

void hostfs_fill(struct hostfs_inode *hi, const struct statx *stx)
{
    struct inode *i = &hi->inode;

    SPIN_GUARD(&hi->lock);
    __atomic_store_n(&i->mode, (i->mode & S_IFMT) | (stx->stx_mode & 07777U), __ATOMIC_RELAXED);
    i->uid = guest_id(hostfs_sb(hi), stx->stx_uid);
    i->gid = guest_id(hostfs_sb(hi), stx->stx_gid);
    i->nlink = stx->stx_nlink;
    __atomic_store_n(&i->size, stx->stx_size, __ATOMIC_RELAXED);
    i->atime = to_timespec(stx->stx_atime);
    i->mtime = to_timespec(stx->stx_mtime);
    i->ctime = to_timespec(stx->stx_ctime);
    hi->blocks = stx->stx_blocks;
    hi->blksize = stx->stx_blksize;
}

/* ---- place ---- */

struct hostfs_inode *hostfs_place(struct hostfs_inode *hi, char *name)
{
    SPIN_GUARD(&hi->lock);
    if (hi->parent == NULL) {
        return NULL;
    }
    strcpy(name, hi->name);
    (void)inode_get(&hi->parent->inode);
    return hi->parent;
}

/* Swap the place; takes the reference to dir over and gives the old ones back. */
static void swap_place(struct hostfs_inode *hi, struct hostfs_inode *dir, char *name)
{
    struct hostfs_inode *old_dir;
    char *old_name;

    spin_lock(&hi->lock);
    old_dir = hi->parent;
    old_name = hi->name;
    hi->parent = dir;
    hi->name = name;
    spin_unlock(&hi->lock);
    heap_free(old_name);
    inode_put(old_dir != NULL ? &old_dir->inode : NULL);
}

static bool is_place(struct hostfs_inode *hi, struct hostfs_inode *dir, const char *name)
{
    SPIN_GUARD(&hi->lock);
    return hi->parent == dir && hi->name != NULL && strcmp(hi->name, name) == 0;
}

void hostfs_set_place(struct hostfs_inode *hi, struct hostfs_inode *dir, const char *name)
{
    char *copy;

    if (&hi->inode == hi->inode.sb->root || is_place(hi, dir, name)) {
        return;
    }
    copy = heap_strdup(name);
    if (copy != NULL) {
        (void)inode_get(&dir->inode);
        swap_place(hi, dir, copy);
    }
}

void hostfs_set_dead(struct hostfs_inode *hi)
{
    icache_remove(&hostfs_sb(hi)->inodes, &hi->link);
    swap_place(hi, NULL, NULL);
}

/* ---- life ---- */

static struct hostfs_inode *hostfs_alloc(struct hostfs_super *hsb, const struct statx *stx)
{
    struct hostfs_inode *hi = cache_new(hostfs_inode_cache);

    if (hi == NULL) {
        return NULL;
    }
    hi->host_dev = statx_dev(stx);
    hi->host_ino = stx->stx_ino;
    inode_init(&hi->inode, &hsb->sb,
               hsb->opt.revalidate ? &hostfs_shared_inode_ops : &hostfs_inode_ops,
               hostfs_ino(hsb, hi->host_dev, hi->host_ino), stx->stx_mode, 0, 0);
    hi->inode.rdev = makedev(stx->stx_rdev_major, stx->stx_rdev_minor);
    hi->inode.btime = birth(stx);
    hostfs_fds_init(hi);
    mutex_init(&hi->dir_lock, LOCK_HOSTFS_DIR);
    mappable_init(&hi->map, &hostfs_mappable_ops, &hi->inode);
    hostfs_fill(hi, stx);
    return hi;
}

/* All but the reference to the parent, which is returned. */
static struct hostfs_inode *hostfs_free(struct hostfs_inode *hi)
{
    struct hostfs_inode *parent = hi->parent;

    icache_remove(&hostfs_sb(hi)->inodes, &hi->link);
    hostfs_fds_close(hi);
    heap_free(hi->name);
    heap_free(atomic_load(&hi->target));
    mappable_fini(&hi->map);
    inode_fini(&hi->inode);
    cache_del(hostfs_inode_cache, hi);
    return parent;
}

/* Parents one by one, not inside one another: trees may be deep. */
void hostfs_release(struct inode *inode)
{
    struct hostfs_inode *hi = to_hostfs(inode);

    do {
        hi = hostfs_free(hi);
    } while (hi != NULL && ref_put(&hi->inode.ref));
}

struct inode *hostfs_iget(struct hostfs_super *hsb, const struct statx *stx,
                          struct hostfs_inode *dir, const char *name)
{
    u64 key = identity(stx);
    struct inode *there = icache_find(&hsb->inodes, key, stx->stx_ino);
    struct hostfs_inode *hi;

    if (there != NULL && !hostfs_same(to_hostfs(there), stx)) {
        icache_remove(&hsb->inodes, &to_hostfs(there)->link); /* the number has a new owner */
        inode_put(there);
        there = NULL;
    }
    if (there == NULL) {
        hi = hostfs_alloc(hsb, stx);
        if (hi == NULL) {
            return ERR_PTR(-ENOMEM);
        }
        if (dir != NULL) {
            hi->name = heap_strdup(name);
            if (hi->name == NULL) {
                inode_put(&hi->inode);
                return ERR_PTR(-ENOMEM);
            }
            hi->parent = to_hostfs(inode_get(&dir->inode));
        }
        there = icache_insert(&hsb->inodes, &hi->link, &hi->inode, key, stx->stx_ino);
        if (there == NULL) {
            return &hi->inode;
        }
        inode_put(&hi->inode); /* another look-up was faster */
    }
    if (dir != NULL) {
        hostfs_set_place(to_hostfs(there), dir, name);
    }
    hostfs_fill(to_hostfs(there), stx);
    return there;
}

#define HOSTFS_INODE_OPS                                                                           \
    .lookup = hostfs_lookup, .create = hostfs_create, .mkdir = hostfs_mkdir,                       \
    .mknod = hostfs_mknod, .symlink = hostfs_symlink, .link = hostfs_link,                         \
    .unlink = hostfs_unlink, .rmdir = hostfs_rmdir, .rename = hostfs_rename,                       \
    .readlink = hostfs_readlink, .getattr = hostfs_getattr, .setattr = hostfs_setattr,             \
    .open = hostfs_open, .getxattr = hostfs_getxattr, .setxattr = hostfs_setxattr,                 \
    .listxattr = hostfs_listxattr, .removexattr = hostfs_removexattr, .release = hostfs_release

const struct inode_ops hostfs_inode_ops = {.name = "hostfs", HOSTFS_INODE_OPS};
HEAP_OPS(hostfs_inode_ops);

/* The same for a tree that others change too. */
const struct inode_ops hostfs_shared_inode_ops = {
    .name = "hostfs shared", .revalidate = hostfs_revalidate, HOSTFS_INODE_OPS};
HEAP_OPS(hostfs_shared_inode_ops);
