/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Generated trees: inodes made from the tables of pseudo.h, and files whose text is made by a
 * function.
 *
 * Life: pseudo_super_new makes the root; each look-up makes a node, which the dentry cache keeps as
 * long as revalidate says that the directory would still choose the same object. The tables are
 * static and never freed.
 *
 * Reading: struct pseudo_file holds one counted text. A read at offset 0, or the first one, makes a
 * new text without any lock and then puts it in place of the old under file->lock; readers copy
 * from a text they counted, so that a concurrent read at 0 cannot pull it away. Two threads that
 * share the file and its position may see each other's position, as on Linux they would wait; the
 * file is marked FMODE_NOPOSLOCK because show may take locks that rank below LOCK_FILE_POS.
 *
 * Not done: windows over texts larger than PSEUDO_TEXT_MAX (ENOMEM).
 */
#include "vfs/pseudo.h"

#include "base/heap.h"

#include <dirent.h>
#include <stdio.h>

#define ROOT_INO   1UL
#define COOKIE_DYN (1UL << 32) /* readdir cookies from here on are the dynamic part's, shifted */
/* A text larger than this is not kept once its end was read. */
#define TEXT_KEEP_MAX (64 * KiB)

struct pseudo_super {
    struct super sb;
    void *arg; /* (c) */
};

struct pseudo_text {
    struct ref ref;
    struct seqbuf s; /* (c) */
};

struct pseudo_file {
    struct file f;
    struct spinlock lock;     /* leaf */
    struct pseudo_text *text; /* (lock) counted or NULL */
    u64 seen;                 /* for entry->poll; races only with itself */
};

DEFINE_CACHE(pseudo_super_cache, struct pseudo_super);
DEFINE_CACHE(pseudo_node_cache, struct pseudo_node);
DEFINE_CACHE(pseudo_text_cache, struct pseudo_text);
DEFINE_CACHE(pseudo_file_cache, struct pseudo_file);

static const struct inode_ops pseudo_inode_ops;
static const struct inode_ops pseudo_magic_ops;
static const struct file_ops pseudo_file_ops;
static const struct file_ops pseudo_dir_file_ops;

struct pseudo_node *pseudo_node_of(struct inode *inode)
{
    return container_of(inode, struct pseudo_node, inode);
}

void *pseudo_super_arg(const struct super *sb)
{
    return container_of(sb, struct pseudo_super, sb)->arg;
}

/* ---- nodes ---- */

/* FNV-1a over the parent's number and the name: the same after every boot. */
static u64 child_ino(u64 parent, struct name name)
{
    u64 h = 0xcbf29ce484222325ULL ^ parent;

    for (u32 i = 0; i < name.len; i++) {
        h = (h ^ (u8)name.str[i]) * 0x100000001b3ULL;
    }
    h = (h ^ (h >> 29)) & INT64_MAX;
    return h > ROOT_INO ? h : h + 2;
}

static u32 count_links(const struct pseudo_entry *entry)
{
    u32 nlink = 1;

    if (S_ISDIR(entry->mode)) {
        nlink = 2;
        for (const struct pseudo_entry *e = entry->children; e != NULL && e->name != NULL; e++) {
            nlink += S_ISDIR(e->mode) ? 1 : 0;
        }
    }
    return nlink;
}

/* A node for what `c` says (takes over the reference to c->obj, also on error). */
static struct pseudo_node *node_new(struct super *sb, const struct pseudo_child *c, u64 ino,
                                    u64 parent_ino)
{
    struct pseudo_node *n = cache_new(pseudo_node_cache);

    if (n == NULL) {
        if (c->obj != NULL) {
            c->obj_ops->put(c->obj);
        }
        return ERR_PTR(-ENOMEM);
    }
    inode_init(&n->inode, sb, c->entry->follow != NULL ? &pseudo_magic_ops : &pseudo_inode_ops, ino,
               c->entry->mode, 0, 0);
    n->inode.nlink = count_links(c->entry);
    n->inode.size = c->entry->size;
    n->entry = c->entry;
    n->obj = c->obj;
    n->obj_ops = c->obj_ops;
    n->num = c->num;
    n->parent_ino = parent_ino;
    return n;
}

/* The owner may have changed (setuid of the task that the node is about). */
static void node_refresh_owner(struct pseudo_node *n)
{
    u32 uid = 0, gid = 0;

    if (n->obj != NULL && n->obj_ops->owner != NULL) {
        n->obj_ops->owner(n->obj, &uid, &gid);
        __atomic_store_n(&n->inode.uid, uid, __ATOMIC_RELAXED);
        __atomic_store_n(&n->inode.gid, gid, __ATOMIC_RELAXED);
    }
}

static const struct pseudo_entry *find_static(struct pseudo_node *dir, struct name name)
{
    for (const struct pseudo_entry *e = dir->entry->children; e != NULL && e->name != NULL; e++) {
        if (strlen(e->name) == name.len && memcmp(e->name, name.str, name.len) == 0) {
            return dir->entry->hide != NULL && dir->entry->hide(dir, e) ? NULL : e;
        }
    }
    return NULL;
}

/* What `name` is now; the caller owns c->obj. */
static int find_child(struct pseudo_node *dir, struct name name, struct pseudo_child *c)
{
    int err = 0;

    *c = (struct pseudo_child){.entry = find_static(dir, name)};
    if (c->entry == NULL) {
        if (dir->entry->dir == NULL) {
            return -ENOENT;
        }
        err = dir->entry->dir->lookup(dir, name, c);
    }
    if (err == 0 && c->obj == NULL && dir->obj != NULL) {
        c->obj = dir->obj_ops->get(dir->obj);
        c->obj_ops = dir->obj_ops;
    }
    if (err == 0 && c->num == 0) {
        c->num = dir->num;
    }
    return err;
}

/* ---- inode operations ---- */

static struct inode *pseudo_lookup(struct inode *inode, struct name name)
{
    struct pseudo_node *dir = pseudo_node_of(inode), *n;
    struct pseudo_child c;
    int err = find_child(dir, name, &c);

    if (err != 0) {
        return ERR_PTR(err);
    }
    n = node_new(inode->sb, &c, child_ino(inode->ino, name), inode->ino);
    if (IS_ERR(n)) {
        return ERR_PTR(PTR_ERR(n));
    }
    n->is_static = dir->entry->hide == NULL && find_static(dir, name) != NULL;
    node_refresh_owner(n);
    return &n->inode;
}

static bool pseudo_revalidate(struct inode *inode, struct name name, struct inode *child)
{
    struct pseudo_node *dir = pseudo_node_of(inode), *n = pseudo_node_of(child);
    struct pseudo_child c;
    bool same;

    if (n->is_static) {
        return true;
    }
    if (dir->entry->dir != NULL && dir->entry->dir->revalidate != NULL &&
        find_static(dir, name) == NULL) {
        return dir->entry->dir->revalidate(dir, name, n);
    }
    if (find_child(dir, name, &c) != 0) {
        return false;
    }
    same = c.entry == n->entry && c.obj == n->obj && c.num == n->num;
    if (c.obj != NULL) {
        c.obj_ops->put(c.obj);
    }
    return same;
}

static ssize_t pseudo_readlink(struct inode *inode, const struct vfs_ctx *ctx, char *buf,
                               size_t size)
{
    struct pseudo_node *n = pseudo_node_of(inode);
    size_t len;

    if (n->entry->readlink != NULL) {
        return n->entry->readlink(n, ctx, buf, size);
    }
    if (n->entry->target == NULL) {
        return -EINVAL;
    }
    len = min(strlen(n->entry->target), size);
    memcpy(buf, n->entry->target, len);
    return (ssize_t)len;
}

static int pseudo_follow(struct inode *inode, const struct vfs_ctx *ctx, struct path *out)
{
    struct pseudo_node *n = pseudo_node_of(inode);

    return n->entry->follow(n, ctx, out);
}

static int pseudo_getattr(struct inode *inode, struct attr *out)
{
    node_refresh_owner(pseudo_node_of(inode));
    out->uid = inode->uid;
    out->gid = inode->gid;
    out->blksize = 1024; /* as proc and sysfs of Linux */
    return 0;
}

/* proc_setattr, proc_sys_setattr: neither mode nor owner, but truncation by O_TRUNC is fine. */
static int pseudo_setattr(struct inode *inode, const struct setattr *set)
{
    return (set->valid & (SETATTR_MODE | SETATTR_UID | SETATTR_GID)) != 0 ? -EPERM : 0;
}

static int pseudo_permission(struct inode *inode, u32 mask, const struct cred *cred)
{
    struct pseudo_node *n = pseudo_node_of(inode);

    node_refresh_owner(n);
    if (n->entry->permission != NULL) {
        return n->entry->permission(n, mask, cred);
    }
    return inode_generic_permission(inode, mask, cred);
}

static struct file *pseudo_open(struct inode *inode, const struct path *path, u32 flags,
                                const struct cred *cred)
{
    struct pseudo_node *n = pseudo_node_of(inode);
    struct pseudo_file *pf;
    int err;

    if (n->entry->open != NULL) {
        return n->entry->open(n, path, flags, cred);
    }
    if (S_ISDIR(inode->mode)) {
        return file_new_plain(&pseudo_dir_file_ops, inode, path, flags, cred);
    }
    err = n->entry->may_open != NULL ? n->entry->may_open(n, flags, cred) : 0;
    if (err != 0) {
        return ERR_PTR(err);
    }
    pf = cache_new(pseudo_file_cache);
    if (pf == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    file_init(&pf->f, &pseudo_file_ops, inode, path, flags, cred);
    pf->f.mode |= FMODE_NOPOSLOCK;
    if (n->entry->poll != NULL) {
        (void)n->entry->poll(n, &pf->seen, NULL);
    }
    return &pf->f;
}

static void pseudo_release_inode(struct inode *inode)
{
    struct pseudo_node *n = pseudo_node_of(inode);

    if (n->obj != NULL) {
        n->obj_ops->put(n->obj);
    }
    inode_fini(inode);
    cache_del(pseudo_node_cache, n);
}

/* Two tables: only inodes of the second one are magic links for the path walk. */
static const struct inode_ops pseudo_inode_ops = {
    .name = "pseudo",
    .lookup = pseudo_lookup,
    .readlink = pseudo_readlink,
    .getattr = pseudo_getattr,
    .setattr = pseudo_setattr,
    .permission = pseudo_permission,
    .open = pseudo_open,
    .revalidate = pseudo_revalidate,
    .release = pseudo_release_inode,
};
HEAP_OPS(pseudo_inode_ops);

static const struct inode_ops pseudo_magic_ops = {
    .name = "pseudo magic link",
    .readlink = pseudo_readlink,
    .follow = pseudo_follow,
    .getattr = pseudo_getattr,
    .setattr = pseudo_setattr,
    .permission = pseudo_permission,
    .release = pseudo_release_inode,
};
HEAP_OPS(pseudo_magic_ops);

/* ---- directories ---- */

struct pseudo_emit {
    struct dir_context *ctx;
    struct pseudo_node *dir;
};

bool pseudo_emit(struct pseudo_emit *e, const char *name, const struct pseudo_entry *entry,
                 u64 next)
{
    struct name nm = {.str = name, .len = (u32)strlen(name)};
    u64 cookie = COOKIE_DYN + next;

    if (!e->ctx->emit(e->ctx, nm, child_ino(e->dir->inode.ino, nm), IFTODT(entry->mode), cookie)) {
        return false;
    }
    e->ctx->pos = cookie;
    return true;
}

/* `.`, `..` and the table; false when the buffer is full. */
static bool readdir_static(struct pseudo_node *dir, struct dir_context *ctx)
{
    const struct pseudo_entry *table = dir->entry->children;
    struct name dots = {.str = "..", .len = 1};

    for (; ctx->pos < 2; ctx->pos++) {
        dots.len = (u32)ctx->pos + 1;
        if (!ctx->emit(ctx, dots, ctx->pos == 0 ? dir->inode.ino : dir->parent_ino, DT_DIR,
                       ctx->pos + 1)) {
            return false;
        }
    }
    for (u64 i = 0; table != NULL && table[i].name != NULL; i++) {
        struct name nm = {.str = table[i].name, .len = (u32)strlen(table[i].name)};

        if (i + 2 < ctx->pos || (dir->entry->hide != NULL && dir->entry->hide(dir, &table[i]))) {
            continue;
        }
        if (!ctx->emit(ctx, nm, child_ino(dir->inode.ino, nm), IFTODT(table[i].mode), i + 3)) {
            return false;
        }
        ctx->pos = i + 3;
    }
    return true;
}

static int pseudo_readdir(struct file *f, struct dir_context *ctx)
{
    struct pseudo_node *dir = pseudo_node_of(f->inode);
    struct pseudo_emit e = {.ctx = ctx, .dir = dir};

    if (ctx->pos < COOKIE_DYN) {
        if (!readdir_static(dir, ctx)) {
            return 0;
        }
        ctx->pos = COOKIE_DYN;
    }
    if (dir->entry->dir == NULL || dir->entry->dir->readdir == NULL) {
        return 0;
    }
    return dir->entry->dir->readdir(dir, ctx->pos - COOKIE_DYN, &e);
}

static const struct file_ops pseudo_dir_file_ops = {
    .name = "pseudo directory",
    .readdir = pseudo_readdir,
    .release = file_release_plain,
};
HEAP_OPS(pseudo_dir_file_ops);

/* ---- files ---- */

static struct pseudo_file *pseudo_file_of(struct file *f)
{
    return container_of(f, struct pseudo_file, f);
}

static void text_put(struct pseudo_text *t)
{
    if (t != NULL && ref_put(&t->ref)) {
        seq_fini(&t->s);
        cache_del(pseudo_text_cache, t);
    }
}

/* Takes over the reference to t (NULL allowed). */
static void file_set_text(struct pseudo_file *pf, struct pseudo_text *t)
{
    struct pseudo_text *old;

    spin_lock(&pf->lock);
    old = pf->text;
    pf->text = t;
    spin_unlock(&pf->lock);
    text_put(old);
}

/* The present text, counted; NULL: none was made yet. */
static struct pseudo_text *file_get_text(struct pseudo_file *pf)
{
    struct pseudo_text *t;

    spin_lock(&pf->lock);
    t = pf->text;
    if (t != NULL) {
        ref_get(&t->ref);
    }
    spin_unlock(&pf->lock);
    return t;
}

/* A new text, counted for the caller and kept in the file. No lock is held. */
static struct pseudo_text *file_make_text(struct pseudo_file *pf)
{
    struct pseudo_node *n = pseudo_node_of(pf->f.inode);
    struct pseudo_text *t = cache_new(pseudo_text_cache);
    int err;

    if (t == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    ref_init(&t->ref);
    err = n->entry->show(n, &t->s);
    if (err >= 0) {
        err = t->s.err;
    }
    if (err < 0) {
        text_put(t);
        return ERR_PTR(err);
    }
    ref_get(&t->ref);
    file_set_text(pf, t);
    return t;
}

static ssize_t pseudo_read(struct file *f, struct uio *u, u64 *pos, u32 rwf)
{
    struct pseudo_file *pf = pseudo_file_of(f);
    struct pseudo_text *t = NULL;
    ssize_t done = 0;
    size_t len;

    if (pseudo_node_of(f->inode)->entry->show == NULL) {
        return -EIO;
    }
    if (*pos != 0) {
        t = file_get_text(pf);
    }
    if (t == NULL) {
        t = file_make_text(pf);
    }
    if (IS_ERR(t)) {
        return PTR_ERR(t);
    }
    len = t->s.len;
    if (*pos < len) {
        done = uio_put(u, t->s.text + *pos, min(uio_left(u), len - *pos));
    }
    if (done > 0) {
        *pos += (u64)done;
    } else if (done == 0 && len > TEXT_KEEP_MAX) {
        file_set_text(pf, NULL);
    }
    text_put(t);
    return done;
}

static ssize_t pseudo_write(struct file *f, struct uio *u, u64 *pos, u32 rwf)
{
    struct pseudo_node *n = pseudo_node_of(f->inode);
    size_t len = min(uio_left(u), PSEUDO_WRITE_MAX);
    ssize_t done;
    char *text;

    if (n->entry->write == NULL) {
        return -EIO;
    }
    text = heap_alloc(PSEUDO_WRITE_MAX + 1);
    if (text == NULL) {
        return -ENOMEM;
    }
    done = uio_take(u, text, len);
    if (done >= 0) {
        text[done] = '\0';
        done = n->entry->write(n, f, text, (size_t)done);
    }
    heap_free(text);
    if (done > 0) {
        *pos += (u64)done;
    }
    return done;
}

/* seq_lseek: there is no end to seek from. */
static s64 pseudo_seek(struct file *f, s64 off, int whence)
{
    s64 base = whence == SEEK_CUR ? (s64)f->pos : 0, to;

    if ((whence != SEEK_SET && whence != SEEK_CUR) || __builtin_add_overflow(base, off, &to) ||
        to < 0) {
        return -EINVAL;
    }
    f->pos = (u64)to;
    return to;
}

static u32 pseudo_poll(struct file *f, struct poller *p)
{
    struct pseudo_node *n = pseudo_node_of(f->inode);

    return n->entry->poll != NULL ? n->entry->poll(n, &pseudo_file_of(f)->seen, p) : POLL_DEFAULT;
}

static void pseudo_release_file(struct file *f)
{
    file_set_text(pseudo_file_of(f), NULL);
    file_fini(f);
    file_free(&pseudo_file_cache, f);
}

static const struct file_ops pseudo_file_ops = {
    .name = "pseudo file",
    .read = pseudo_read,
    .write = pseudo_write,
    .seek = pseudo_seek,
    .poll = pseudo_poll,
    .release = pseudo_release_file,
};
HEAP_OPS(pseudo_file_ops);

/* ---- super blocks ---- */

static void pseudo_super_release(struct super *sb)
{
    cache_del(pseudo_super_cache, container_of(sb, struct pseudo_super, sb));
}

static const struct super_ops pseudo_super_ops = {
    .name = "pseudo",
    .release = pseudo_super_release,
};
HEAP_OPS(pseudo_super_ops);

struct super *pseudo_super_new(const char *type, u64 magic, const struct pseudo_entry *root,
                               void *arg)
{
    struct pseudo_child c = {.entry = root};
    struct pseudo_super *ps = cache_new(pseudo_super_cache);
    struct pseudo_node *n;

    CHECK(S_ISDIR(root->mode), "the root of %s is no directory", type);
    if (ps == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    super_init(&ps->sb, &pseudo_super_ops, type, magic);
    ps->sb.no_dcache_negative = true;
    ps->arg = arg;
    n = node_new(&ps->sb, &c, ROOT_INO, ROOT_INO);
    if (IS_ERR(n)) {
        super_fini(&ps->sb);
        cache_del(pseudo_super_cache, ps);
        return ERR_PTR(-ENOMEM);
    }
    ps->sb.root = &n->inode;
    return &ps->sb;
}
