/* SPDX-License-Identifier: Apache-2.0 */
/*
 * devpts, and opening pty pairs: /dev/ptmx, /dev/pts/N, /dev/tty.
 *
 * Every mount of devpts is an instance of its own (as since Linux 4.7). Opening ptmx makes a pair
 * in the instance that is mounted on "pts" beside the ptmx that was opened, or that it lies in. The
 * instance knows its pairs by number while their masters are open; fs->lock (leaf) covers the table
 * and each pair's node.
 *
 * A pair counts its instance's super; its inode counts the pair; the pair counts its inode until
 * the master is closed.
 */
#include "base/heap.h"
#include "base/idr.h"
#include "vfs/dentry.h"
#include "vfs/dev/pty_priv.h"
#include "vfs/mount.h"

#include <dirent.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sysmacros.h>

#define ROOT_INO 1U
#define PTMX_INO 2U
#define PTS_INO  3U /* + number */

struct devpts {
    struct super sb;
    struct inode *ptmx;  /* (c) counted */
    u32 mode, ptmx_mode; /* (c) */
    u32 uid, gid;        /* (c) UINT32_MAX: the opener's */
    u32 max;             /* (c) */
    struct spinlock lock;
    struct idr ptys; /* (lock) number -> struct pty */
};

struct devpts_node {
    struct inode inode;
    struct pty *pty; /* (c) counted; NULL: the root and ptmx */
};

DEFINE_CACHE(devpts_cache, struct devpts);
DEFINE_CACHE(devpts_node_cache, struct devpts_node);
DEFINE_CACHE(pty_cache, struct pty);

static const struct inode_ops devpts_inode_ops;
static const struct super_ops devpts_super_ops;

static struct devpts *devpts_of(const struct super *sb)
{
    return container_of(sb, struct devpts, sb);
}

static struct devpts_node *node_of(struct inode *inode)
{
    return container_of(inode, struct devpts_node, inode);
}

static struct inode *node_new(struct devpts *fs, u64 ino, u32 mode, u32 uid, u32 gid)
{
    struct devpts_node *n = cache_new(devpts_node_cache);

    if (n == NULL) {
        return NULL;
    }
    inode_init(&n->inode, &fs->sb, &devpts_inode_ops, ino, mode, uid, gid);
    return &n->inode;
}

/* ---- pairs ---- */

void pty_free(struct pty *p)
{
    struct super *sb = &p->fs->sb;

    waitq_fini(&p->slave_read);
    waitq_fini(&p->slave_write);
    waitq_fini(&p->master_read);
    waitq_fini(&p->master_write);
    cache_del(pty_cache, p);
    super_put(sb);
}

static void pty_release(struct tty *tty)
{
    pty_free(pty_of_tty(tty));
}

static struct file *pty_open_slave(struct tty *tty, struct inode *inode, const struct path *path,
                                   u32 flags, const struct cred *cred)
{
    struct tty_open_args args = {.may_exclusive = cred_capable(cred, CAP_SYS_ADMIN),
                                 .inode = inode,
                                 .path = path,
                                 .flags = flags | O_NOCTTY,
                                 .cred = cred};

    return tty_file_new(pty_of_tty(tty), &args);
}

static const struct tty_ops pty_ops = {.release = pty_release, .open = pty_open_slave};
HEAP_OPS(pty_ops);

/* A pair without number and inode; counts fs. */
static struct pty *pty_alloc(struct devpts *fs)
{
    struct pty *p = cache_new(pty_cache);

    if (p == NULL) {
        return NULL;
    }
    tty_init(&p->tty, &pty_ops, 0);
    mutex_init(&p->lock, LOCK_TTY);
    (void)super_get(&fs->sb);
    p->fs = fs;
    p->locked = true;
    p->master_open = true;
    ldisc_init(p);
    waitq_init(&p->slave_read);
    waitq_init(&p->slave_write);
    waitq_init(&p->master_read);
    waitq_init(&p->master_write);
    fasync_init(&p->slave_fasync);
    fasync_init(&p->master_fasync);
    return p;
}

/* Give the pair a number and an inode owned by the opener. */
static int pts_register(struct pty *p, const struct cred *cred)
{
    struct devpts *fs = p->fs;
    u32 uid = fs->uid != UINT32_MAX ? fs->uid : cred->fsuid;
    u32 gid = fs->gid != UINT32_MAX ? fs->gid : cred->fsgid;
    struct inode *node = node_new(fs, 0, S_IFCHR | fs->mode, uid, gid);
    int index;

    if (node == NULL) {
        return -ENOMEM;
    }
    spin_lock(&fs->lock);
    index = idr_alloc(&fs->ptys, p, 0, fs->max);
    if (index >= 0) {
        node->ino = PTS_INO + (u32)index;
        node->rdev = makedev(PTY_MAJOR, (u32)index);
        node_of(node)->pty = pty_of_tty(tty_get(&p->tty));
        p->index = (u32)index;
        p->tty.rdev = node->rdev;
        p->node = node;
    }
    spin_unlock(&fs->lock);
    if (index < 0) {
        inode_put(node);
    }
    return index < 0 ? index : 0;
}

void pts_unregister(struct pty *p)
{
    struct inode *node;

    spin_lock(&p->fs->lock);
    node = p->node;
    p->node = NULL;
    (void)idr_remove(&p->fs->ptys, p->index);
    spin_unlock(&p->fs->lock);
    inode_put(node);
}

/* ---- inodes ---- */

static struct inode *devpts_lookup(struct inode *dir, struct name name)
{
    struct devpts *fs = devpts_of(dir->sb);
    struct inode *found = NULL;
    struct pty *p;
    u32 index = 0;

    if (name.len == 4 && memcmp(name.str, "ptmx", 4) == 0) {
        return inode_get(fs->ptmx);
    }
    if (name.len == 0 || name.len > 7 || (name.len > 1 && name.str[0] == '0')) {
        return ERR_PTR(-ENOENT);
    }
    for (u32 i = 0; i < name.len; i++) {
        if (name.str[i] < '0' || name.str[i] > '9') {
            return ERR_PTR(-ENOENT);
        }
        index = index * 10 + (u32)(name.str[i] - '0');
    }
    spin_lock(&fs->lock);
    p = idr_find(&fs->ptys, index);
    if (p != NULL) {
        found = inode_get(p->node);
    }
    spin_unlock(&fs->lock);
    return found != NULL ? found : ERR_PTR(-ENOENT);
}

static bool devpts_revalidate(struct inode *dir, struct name name, struct inode *inode)
{
    struct pty *p = node_of(inode)->pty;
    bool is_there;

    if (p == NULL) {
        return true;
    }
    spin_lock(&p->fs->lock);
    is_there = p->node == inode;
    spin_unlock(&p->fs->lock);
    return is_there;
}

static int devpts_setattr(struct inode *inode, const struct setattr *set)
{
    inode_set_fields(inode, set);
    return 0;
}

static int devpts_readdir(struct file *f, struct dir_context *ctx)
{
    struct devpts *fs = devpts_of(f->inode->sb);
    static const char *const fixed[] = {".", "..", "ptmx"};

    for (; ctx->pos < ARRAY_SIZE(fixed); ctx->pos++) {
        struct name name = {fixed[ctx->pos], (u32)strlen(fixed[ctx->pos])};

        if (!ctx->emit(ctx, name, ctx->pos == 2 ? PTMX_INO : ROOT_INO,
                       ctx->pos == 2 ? DT_CHR : DT_DIR, ctx->pos + 1)) {
            return 0;
        }
    }
    for (;;) {
        u32 index = (u32)(ctx->pos - ARRAY_SIZE(fixed));
        char text[16];
        struct name name = {.str = text};
        bool found;

        spin_lock(&fs->lock);
        found = idr_next(&fs->ptys, &index) != NULL;
        spin_unlock(&fs->lock);
        if (!found) {
            return 0;
        }
        name.len = (u32)snprintf(text, sizeof(text), "%u", index);
        if (!ctx->emit(ctx, name, PTS_INO + index, DT_CHR, ARRAY_SIZE(fixed) + index + 1)) {
            return 0;
        }
        ctx->pos = ARRAY_SIZE(fixed) + index + 1;
    }
}

static const struct file_ops devpts_dir_ops = {
    .name = "devpts directory",
    .readdir = devpts_readdir,
    .release = file_release_plain,
};
HEAP_OPS(devpts_dir_ops);

static struct file *devpts_open(struct inode *inode, const struct path *path, u32 flags,
                                const struct cred *cred)
{
    return file_new_plain(&devpts_dir_ops, inode, path, flags, cred);
}

static void devpts_release_inode(struct inode *inode)
{
    struct devpts_node *n = node_of(inode);
    struct pty *p = n->pty;

    inode_fini(inode);
    cache_del(devpts_node_cache, n);
    if (p != NULL) {
        tty_put(&p->tty);
    }
}

static const struct inode_ops devpts_inode_ops = {
    .name = "devpts",
    .lookup = devpts_lookup,
    .setattr = devpts_setattr,
    .open = devpts_open,
    .revalidate = devpts_revalidate,
    .release = devpts_release_inode,
};
HEAP_OPS(devpts_inode_ops);

/* ---- opening ---- */

static struct file *pts_open(struct inode *inode, const struct path *path, u32 flags,
                             const struct cred *cred, const struct vfs_ctx *ctx)
{
    struct tty_open_args args = {.check_lock = true,
                                 .may_exclusive = cred_capable(cred, CAP_SYS_ADMIN),
                                 .inode = inode,
                                 .path = path,
                                 .flags = flags,
                                 .cred = cred};

    if (inode->ops != &devpts_inode_ops || node_of(inode)->pty == NULL) {
        return ERR_PTR(-ENXIO); /* somebody's mknod: the number alone says nothing */
    }
    return tty_file_new(node_of(inode)->pty, &args);
}

/* The devpts root that belongs to a ptmx: its own file system, or what is mounted on "pts" beside
 * it. Counted in out. */
static int find_devpts(struct inode *inode, const struct path *path, struct path *out)
{
    struct dentry *dir, *d;

    *out = (struct path){0};
    if (inode->ops == &devpts_inode_ops) {
        d = super_root_dentry(inode->sb);
    } else {
        dir = dentry_parent(path->dentry);
        d = dir != NULL ? lookup_child(dir, (struct name){"pts", 3}, false) : ERR_PTR(-ENODEV);
        dentry_put(dir);
    }
    if (IS_ERR_OR_NULL(d)) {
        return -ENODEV;
    }
    *out = (struct path){.mnt = path->mnt != NULL ? mount_get(path->mnt) : NULL, .dentry = d};
    if (out->mnt != NULL) {
        (void)path_follow_mounts(out);
    }
    if (out->mnt == NULL || dentry_inode(out->dentry) == NULL ||
        dentry_inode(out->dentry)->ops != &devpts_inode_ops) {
        path_put(out);
        return -ENODEV;
    }
    return 0;
}

static struct file *ptmx_open(struct inode *inode, const struct path *path, u32 flags,
                              const struct cred *cred, const struct vfs_ctx *ctx)
{
    struct tty_open_args args = {
        .is_master = true, .inode = inode, .path = path, .flags = flags, .cred = cred};
    struct file *f;
    struct path root;
    struct pty *p;
    int err = find_devpts(inode, path, &root);

    if (err != 0) {
        return ERR_PTR(err);
    }
    p = pty_alloc(devpts_of(dentry_inode(root.dentry)->sb));
    err = p == NULL ? -ENOMEM : pts_register(p, cred);
    f = err != 0 ? ERR_PTR(err) : tty_file_new(p, &args);
    if (IS_ERR(f)) {
        if (err == 0) {
            pts_unregister(p);
        }
        path_put(&root);
    } else {
        tty_file_of(f)->root = root;
    }
    if (p != NULL) {
        tty_put(&p->tty);
    }
    return f;
}

struct file *pts_open_peer(struct tty_file *master, u32 flags, const struct cred *cred)
{
    struct path path = {.mnt = mount_get(master->root.mnt)};
    char text[16];
    struct name name = {.str = text};
    struct file *f;

    name.len = (u32)snprintf(text, sizeof(text), "%u", master->pty->index);
    path.dentry = lookup_child(master->root.dentry, name, false);
    if (IS_ERR(path.dentry)) {
        f = ERR_PTR(PTR_ERR(path.dentry));
        path.dentry = NULL;
    } else if (dentry_inode(path.dentry) == NULL) {
        f = ERR_PTR(-EIO);
    } else {
        f = pts_open(dentry_inode(path.dentry), &path, flags & ~(u32)O_CLOEXEC, cred, NULL);
    }
    path_put(&path);
    return f;
}

static struct file *dev_tty_open(struct inode *inode, const struct path *path, u32 flags,
                                 const struct cred *cred, const struct vfs_ctx *ctx)
{
    struct tty *tty = tty_hooks->controlling();
    struct file *f;

    if (tty == NULL) {
        return ERR_PTR(-ENXIO);
    }
    f = tty->ops->open(tty, inode, path, flags, cred);
    tty_put(tty);
    return f;
}

/* ---- mounting ---- */

static void devpts_super_release(struct super *sb)
{
    struct devpts *fs = devpts_of(sb);

    inode_put(fs->ptmx);
    idr_fini(&fs->ptys);
    cache_del(devpts_cache, fs);
}

static void devpts_show(struct super *sb, char *buf, size_t size)
{
    struct devpts *fs = devpts_of(sb);
    int n = 0;

    if (fs->gid != UINT32_MAX) {
        n = snprintf(buf, size, ",gid=%u", fs->gid);
    }
    (void)snprintf(buf + n, size - (size_t)n, ",mode=%03o,ptmxmode=%03o", fs->mode, fs->ptmx_mode);
}

static const struct super_ops devpts_super_ops = {
    .name = "devpts",
    .show_options = devpts_show,
    .release = devpts_super_release,
};
HEAP_OPS(devpts_super_ops);

struct super *devpts_super_new(u32 mode, u32 gid, u32 ptmx_mode)
{
    struct devpts *fs = cache_new(devpts_cache);

    if (fs == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    super_init(&fs->sb, &devpts_super_ops, "devpts", DEVPTS_SUPER_MAGIC);
    fs->sb.no_dcache_negative = true;
    fs->mode = mode & 07777U;
    fs->ptmx_mode = ptmx_mode & 07777U;
    fs->uid = UINT32_MAX;
    fs->gid = gid;
    fs->max = PTY_MAX;
    idr_init(&fs->ptys);
    fs->sb.root = node_new(fs, ROOT_INO, S_IFDIR | 0755, 0, 0);
    fs->ptmx = node_new(fs, PTMX_INO, S_IFCHR | fs->ptmx_mode, 0, 0);
    if (fs->sb.root == NULL || fs->ptmx == NULL) {
        inode_put(fs->sb.root);
        inode_put(fs->ptmx);
        super_fini(&fs->sb);
        cache_del(devpts_cache, fs);
        return ERR_PTR(-ENOMEM);
    }
    fs->sb.root->nlink = 2;
    fs->ptmx->rdev = makedev(5, 2);
    return &fs->sb;
}

/* One "name=number" of the mount options. */
static int parse_option(const char *opt, size_t len, u32 values[5])
{
    static const struct {
        const char *name;
        int base;
    } known[] = {{"mode=", 8}, {"ptmxmode=", 8}, {"gid=", 10}, {"uid=", 10}, {"max=", 10}};
    char *end;

    if (len == 0 || (len == 11 && memcmp(opt, "newinstance", 11) == 0)) {
        return 0;
    }
    for (u32 i = 0; i < ARRAY_SIZE(known); i++) {
        size_t n = strlen(known[i].name);

        if (len > n && memcmp(opt, known[i].name, n) == 0) {
            unsigned long v = strtoul(opt + n, &end, known[i].base);

            if (end != opt + len || v > UINT32_MAX) {
                return -EINVAL;
            }
            values[i] = (u32)v;
            return 0;
        }
    }
    return -EINVAL;
}

static struct super *devpts_mount(const struct fs_type *type, const char *source, u32 ms_flags,
                                  const char *data, const struct vfs_ctx *ctx)
{
    u32 values[5] = {0600, 0, UINT32_MAX, UINT32_MAX, PTY_MAX};
    struct super *sb;

    while (data != NULL && *data != '\0') {
        size_t len = strcspn(data, ",");

        if (parse_option(data, len, values) != 0) {
            return ERR_PTR(-EINVAL);
        }
        data += data[len] == ',' ? len + 1 : len;
    }
    sb = devpts_super_new(values[0], values[2], values[1]);
    if (!IS_ERR(sb)) {
        devpts_of(sb)->uid = values[3];
        devpts_of(sb)->max = min(values[4], PTY_MAX);
    }
    return sb;
}

static struct fs_type devpts_type = {.name = "devpts", .mount = devpts_mount, .no_dev = true};

void tty_boot(void)
{
    chrdev_register(5, 0, 1, dev_tty_open);
    chrdev_register(5, 2, 1, ptmx_open);
    chrdev_register(PTY_MAJOR, 0, PTY_MAX, pts_open);
    fs_type_register(&devpts_type);
}
