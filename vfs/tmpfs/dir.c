/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tmpfs directories: names in two trees, one by name, one by the cookie each got when it was made.
 * Cookies only grow, so readdir goes on behind the last entry it gave whatever happened meanwhile:
 * an entry that stays is given once, one that was removed not again.
 *
 * The directory's inode.lock is held by the wrappers (reading in lookup and readdir, writing else).
 */
#include "base/hash.h"
#include "base/tree.h"
#include "vfs/tmpfs/tmpfs_priv.h"

#include <dirent.h>
#include <linux/fs.h>
#include <sys/sysmacros.h>

#define DIRENT_SIZE  20U /* what Linux's tmpfs counts for a name in a directory's size */
#define FIRST_COOKIE 2U  /* 0 is ".", 1 is ".." */
#define SYMLINK_MAX  4095U

static int name_compare(const struct tmpfs_entry *a, const struct tmpfs_entry *b)
{
    if (a->hash != b->hash) {
        return a->hash < b->hash ? -1 : 1;
    }
    if (a->name_len != b->name_len) {
        return a->name_len < b->name_len ? -1 : 1;
    }
    return memcmp(a->name, b->name, a->name_len);
}

static int cookie_compare(const struct tmpfs_entry *a, const struct tmpfs_entry *b)
{
    return a->cookie == b->cookie ? 0 : a->cookie < b->cookie ? -1 : 1;
}

RB_GENERATE_STATIC(tmpfs_names, tmpfs_entry, by_name, name_compare)
RB_GENERATE_STATIC(tmpfs_cookies, tmpfs_entry, by_cookie, cookie_compare)

void tmpfs_dir_init(struct tmpfs_inode *dir)
{
    RB_INIT(&dir->dir.names);
    RB_INIT(&dir->dir.cookies);
    dir->dir.next_cookie = FIRST_COOKIE;
    atomic_init(&dir->dir.parent_ino, dir->inode.ino);
    dir->inode.nlink = 2;
}

/* ---- entries ---- */

/* The names are compared through a key that has room for one. */
struct entry_key {
    struct tmpfs_entry e;
    char name[NAME_LEN_MAX + 1];
};

static struct tmpfs_entry *entry_find(struct tmpfs_inode *dir, struct name name)
{
    struct entry_key key;

    if (name.len > NAME_LEN_MAX) {
        return NULL;
    }
    key.e.hash = (u32)hash_bytes(name.str, name.len, 0);
    key.e.name_len = name.len;
    memcpy(key.e.name, name.str, name.len);
    return RB_FIND(tmpfs_names, &dir->dir.names, &key.e);
}

static struct tmpfs_entry *entry_new(struct name name)
{
    struct tmpfs_entry *e = heap_alloc(sizeof(*e) + name.len + 1);

    if (e != NULL) {
        e->hash = (u32)hash_bytes(name.str, name.len, 0);
        e->name_len = name.len;
        memcpy(e->name, name.str, name.len);
    }
    return e;
}

static void dir_touched(struct tmpfs_inode *dir)
{
    dir->inode.mtime = dir->inode.ctime = inode_now();
    dir->inode.size = dir->dir.nr_entries * DIRENT_SIZE;
}

/* Give the entry to dir; it counts inode from now on. */
static void entry_add(struct tmpfs_inode *dir, struct tmpfs_entry *e, struct inode *inode)
{
    e->inode = inode_get(inode);
    e->cookie = dir->dir.next_cookie++;
    RB_INSERT(tmpfs_names, &dir->dir.names, e);
    RB_INSERT(tmpfs_cookies, &dir->dir.cookies, e);
    dir->dir.nr_entries++;
    dir_touched(dir);
    if (S_ISDIR(inode->mode)) {
        dir->inode.nlink++;
        atomic_store(&tmpfs_i(inode)->dir.parent_ino, dir->inode.ino);
    }
}

/* Take the entry out and free it; the count of its inode is dropped. */
static void entry_remove(struct tmpfs_inode *dir, struct tmpfs_entry *e)
{
    RB_REMOVE(tmpfs_names, &dir->dir.names, e);
    RB_REMOVE(tmpfs_cookies, &dir->dir.cookies, e);
    dir->dir.nr_entries--;
    if (S_ISDIR(e->inode->mode)) {
        dir->inode.nlink--;
    }
    dir_touched(dir);
    inode_put(e->inode);
    heap_free(e);
}

void tmpfs_dir_fini(struct tmpfs_inode *dir, struct tmpfs_inode **dead)
{
    struct tmpfs_entry *e;

    while ((e = RB_ROOT(&dir->dir.names)) != NULL) {
        RB_REMOVE(tmpfs_names, &dir->dir.names, e);
        if (ref_put(&e->inode->ref)) {
            tmpfs_inode_bury(e->inode, dead);
        }
        heap_free(e);
    }
}

/* ---- making and taking names ---- */

static struct inode *tmpfs_lookup(struct inode *dir, struct name name)
{
    struct tmpfs_entry *e = entry_find(tmpfs_i(dir), name);

    return e != NULL ? inode_get(e->inode) : ERR_PTR(-ENOENT);
}

static struct inode *tmpfs_make(struct inode *dir, struct name name, u32 mode, u64 rdev,
                                const struct cred *cred)
{
    struct tmpfs_entry *e;
    struct inode *inode;
    u32 uid, gid;

    inode_init_owner(dir, cred, &mode, &uid, &gid);
    inode = tmpfs_inode_new(tmpfs_sb(dir->sb), mode, rdev, uid, gid);
    if (IS_ERR(inode)) {
        return inode;
    }
    e = entry_new(name);
    if (e == NULL) {
        inode_put(inode);
        return ERR_PTR(-ENOMEM);
    }
    entry_add(tmpfs_i(dir), e, inode);
    return inode;
}

static struct inode *tmpfs_create(struct inode *dir, struct name name, u32 mode,
                                  const struct cred *cred)
{
    return tmpfs_make(dir, name, mode, 0, cred);
}

static struct inode *tmpfs_symlink(struct inode *dir, struct name name, const char *target,
                                   const struct cred *cred)
{
    size_t len = strlen(target);
    char *copy = len <= SYMLINK_MAX ? heap_memdup(target, len + 1) : NULL;
    struct inode *inode;

    if (copy == NULL) {
        return ERR_PTR(len <= SYMLINK_MAX ? -ENOMEM : -ENAMETOOLONG);
    }
    inode = tmpfs_make(dir, name, S_IFLNK | 0777, 0, cred);
    if (IS_ERR(inode)) {
        heap_free(copy);
        return inode;
    }
    tmpfs_i(inode)->target = copy;
    inode->size = len;
    return inode;
}

static ssize_t tmpfs_readlink(struct inode *inode, const struct vfs_ctx *ctx, char *buf,
                              size_t size)
{
    size_t n = min(size, (size_t)inode->size);

    memcpy(buf, tmpfs_i(inode)->target, n);
    return (ssize_t)n;
}

static int tmpfs_link(struct inode *dir, struct name name, struct inode *inode)
{
    struct tmpfs_entry *e = entry_new(name);

    if (e == NULL) {
        return -ENOMEM;
    }
    write_lock(&inode->lock);
    inode->nlink++;
    inode->ctime = inode_now();
    write_unlock(&inode->lock);
    entry_add(tmpfs_i(dir), e, inode);
    return 0;
}

/* One name less. Directories: locked by the wrapper. */
static void tmpfs_drop_link(struct inode *inode)
{
    if (S_ISDIR(inode->mode)) {
        inode->nlink = 0;
        inode->ctime = inode_now();
        return;
    }
    write_lock(&inode->lock);
    inode->nlink--;
    inode->ctime = inode_now();
    write_unlock(&inode->lock);
}

static int tmpfs_unlink(struct inode *dir, struct name name, struct inode *inode)
{
    struct tmpfs_entry *e = entry_find(tmpfs_i(dir), name);

    if (e == NULL) {
        return -ENOENT;
    }
    tmpfs_drop_link(inode);
    entry_remove(tmpfs_i(dir), e);
    return 0;
}

static int tmpfs_rmdir(struct inode *dir, struct name name, struct inode *inode)
{
    return tmpfs_i(inode)->dir.nr_entries != 0 ? -ENOTEMPTY : tmpfs_unlink(dir, name, inode);
}

static struct inode *tmpfs_tmpfile(struct inode *dir, u32 mode, const struct cred *cred)
{
    struct inode *inode;
    u32 uid, gid;

    inode_init_owner(dir, cred, &mode, &uid, &gid);
    inode = tmpfs_inode_new(tmpfs_sb(dir->sb), mode, 0, uid, gid);
    if (!IS_ERR(inode)) {
        inode->nlink = 0;
    }
    return inode;
}

/* ---- rename ---- */

/* Swap what two entries name; both directories are locked. */
static void exchange_entries(struct tmpfs_inode *dir_a, struct tmpfs_entry *a,
                             struct tmpfs_inode *dir_b, struct tmpfs_entry *b)
{
    struct inode *inode = a->inode;
    bool is_dir_a = S_ISDIR(a->inode->mode), is_dir_b = S_ISDIR(b->inode->mode);

    a->inode = b->inode;
    b->inode = inode;
    if (is_dir_a) {
        atomic_store(&tmpfs_i(b->inode)->dir.parent_ino, dir_b->inode.ino);
    }
    if (is_dir_b) {
        atomic_store(&tmpfs_i(a->inode)->dir.parent_ino, dir_a->inode.ino);
    }
    if (is_dir_a != is_dir_b) {
        dir_a->inode.nlink += is_dir_b ? 1U : -1U;
        dir_b->inode.nlink += is_dir_a ? 1U : -1U;
    }
    dir_touched(dir_a);
    dir_touched(dir_b);
    a->inode->ctime = b->inode->ctime = dir_a->inode.ctime;
}

static struct inode *whiteout_new(struct tmpfs_super *ts)
{
    return tmpfs_inode_new(ts, S_IFCHR, makedev(0, 0), 0, 0);
}

static int tmpfs_rename(struct inode *old_dir, struct name old_name, struct inode *inode,
                        struct inode *new_dir, struct name new_name, struct inode *target,
                        u32 flags)
{
    struct tmpfs_inode *from = tmpfs_i(old_dir), *to = tmpfs_i(new_dir);
    struct tmpfs_entry *old = entry_find(from, old_name), *new = entry_find(to, new_name);
    struct tmpfs_entry *moved, *left = NULL;
    struct inode *whiteout = NULL;

    if (old == NULL || (target != NULL) != (new != NULL)) {
        return -ENOENT;
    }
    if ((flags & RENAME_EXCHANGE) != 0) {
        exchange_entries(from, old, to, new);
        return 0;
    }
    if (target != NULL && S_ISDIR(target->mode) && tmpfs_i(target)->dir.nr_entries != 0) {
        return -ENOTEMPTY;
    }
    moved = entry_new(new_name);
    if (moved == NULL) {
        return -ENOMEM;
    }
    if ((flags & RENAME_WHITEOUT) != 0) {
        whiteout = whiteout_new(tmpfs_sb(old_dir->sb));
        left = entry_new(old_name);
        if (IS_ERR(whiteout) || left == NULL) {
            int err = IS_ERR(whiteout) ? (int)PTR_ERR(whiteout) : -ENOMEM;

            inode_put(IS_ERR(whiteout) ? NULL : whiteout);
            heap_free(left);
            heap_free(moved);
            return err;
        }
    }
    if (new != NULL) {
        tmpfs_drop_link(target);
        entry_remove(to, new);
    }
    entry_add(to, moved, inode);
    entry_remove(from, old);
    inode->ctime = to->inode.ctime;
    if (whiteout != NULL) {
        entry_add(from, left, whiteout);
        inode_put(whiteout);
    }
    return 0;
}

/* ---- readdir ---- */

static bool emit_dot(struct tmpfs_inode *dir, struct dir_context *ctx)
{
    if (ctx->pos == 0) {
        if (!ctx->emit(ctx, (struct name){".", 1}, dir->inode.ino, DT_DIR, 1)) {
            return false;
        }
        ctx->pos = 1;
    }
    if (ctx->pos == 1) {
        if (!ctx->emit(ctx, (struct name){"..", 2}, atomic_load(&dir->dir.parent_ino), DT_DIR, 2)) {
            return false;
        }
        ctx->pos = 2;
    }
    return true;
}

static int tmpfs_readdir(struct file *f, struct dir_context *ctx)
{
    struct tmpfs_inode *dir = tmpfs_i(f->inode);
    struct tmpfs_entry key = {.cookie = ctx->pos}, *e;

    if (!emit_dot(dir, ctx)) {
        return 0;
    }
    key.cookie = ctx->pos;
    for (e = RB_NFIND(tmpfs_cookies, &dir->dir.cookies, &key); e != NULL;
         e = RB_NEXT(tmpfs_cookies, &dir->dir.cookies, e)) {
        if (!ctx->emit(ctx, (struct name){e->name, e->name_len}, e->inode->ino,
                       IFTODT(e->inode->mode), e->cookie + 1)) {
            return 0;
        }
        ctx->pos = e->cookie + 1;
    }
    return 0;
}

static int tmpfs_fsync(struct file *f, u64 start, u64 end, bool data_only)
{
    return 0;
}

static ssize_t dir_read(struct file *f, struct uio *u, u64 *pos, u32 rwf)
{
    return -EISDIR;
}

static struct file *tmpfs_open(struct inode *inode, const struct path *path, u32 flags,
                               const struct cred *cred)
{
    return file_new_plain(S_ISDIR(inode->mode) ? &tmpfs_dir_ops : &tmpfs_file_ops, inode, path,
                          flags, cred);
}

const struct file_ops tmpfs_dir_ops = {
    .name = "tmpfs directory",
    .read = dir_read,
    .readdir = tmpfs_readdir,
    .fsync = tmpfs_fsync,
    .release = file_release_plain,
};
HEAP_OPS(tmpfs_dir_ops);

const struct inode_ops tmpfs_inode_ops = {
    .name = "tmpfs",
    .lookup = tmpfs_lookup,
    .create = tmpfs_create,
    .mkdir = tmpfs_create,
    .mknod = tmpfs_make,
    .symlink = tmpfs_symlink,
    .link = tmpfs_link,
    .unlink = tmpfs_unlink,
    .rmdir = tmpfs_rmdir,
    .rename = tmpfs_rename,
    .tmpfile = tmpfs_tmpfile,
    .readlink = tmpfs_readlink,
    .getattr = tmpfs_getattr,
    .setattr = tmpfs_setattr,
    .open = tmpfs_open,
    .getxattr = tmpfs_getxattr,
    .setxattr = tmpfs_setxattr,
    .listxattr = tmpfs_listxattr,
    .removexattr = tmpfs_removexattr,
    .release = tmpfs_inode_release,
};
HEAP_OPS(tmpfs_inode_ops);
