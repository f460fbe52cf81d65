/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Overlay directories: look-up, merging, readdir.
 *
 * A directory starts as a view: names are looked up in its lower directories, topmost first. The
 * first readdir or change merges it: all lower names are read into two trees (by name, by cookie),
 * which from then on are what the directory contains. A removed name is then simply absent, so
 * there are no whiteouts above; those that lower layers hold (character device 0/0, "opaque"
 * directories) are honoured while several layers are merged.
 *
 * Cookies only grow: readdir goes on behind the last entry it gave, whatever happened meanwhile.
 *
 * Locking: the directory's inode.lock by the wrappers (reading in lookup and readdir, else
 * writing); merging also takes fill_lock, as two readers may both want it. `merged` is set last:
 *
 *     filler (inode.lock read, fill_lock)      look-up (inode.lock read)
 *     build the trees
 *     merged = true (release)                  merged? (acquire) -> trees complete
 *
 * The wrong case: merged set before the trees are whole; a look-up misses a name.
 */
#include "base/hash.h"
#include "vfs/overlay/overlay_priv.h"

#include <dirent.h>

#define FIRST_COOKIE 2U /* 0 is ".", 1 is ".." */

static int name_compare(const struct overlay_entry *a, const struct overlay_entry *b)
{
    if (a->hash != b->hash) {
        return a->hash < b->hash ? -1 : 1;
    }
    if (a->name_len != b->name_len) {
        return a->name_len < b->name_len ? -1 : 1;
    }
    return memcmp(a->name, b->name, a->name_len);
}

static int cookie_compare(const struct overlay_entry *a, const struct overlay_entry *b)
{
    return a->cookie == b->cookie ? 0 : a->cookie < b->cookie ? -1 : 1;
}

RB_GENERATE_STATIC(overlay_names, overlay_entry, by_name, name_compare)
RB_GENERATE_STATIC(overlay_cookies, overlay_entry, by_cookie, cookie_compare)

void overlay_dir_init(struct overlay_inode *dir, bool merged)
{
    RB_INIT(&dir->dir.names);
    RB_INIT(&dir->dir.cookies);
    mutex_init(&dir->dir.fill_lock, LOCK_INODE);
    dir->dir.next_cookie = FIRST_COOKIE;
    atomic_init(&dir->dir.parent_ino, dir->inode.ino);
    atomic_init(&dir->dir.merged, merged);
}

void overlay_dir_fini(struct overlay_inode *dir, struct overlay_inode **dead)
{
    struct overlay_entry *e;

    while ((e = RB_ROOT(&dir->dir.names)) != NULL) {
        RB_REMOVE(overlay_names, &dir->dir.names, e);
        if (e->inode != NULL && ref_put(&e->inode->ref)) {
            overlay_bury(e->inode, dead);
        }
        heap_free(e);
    }
}

/* ---- entries ---- */

/* Room for one name behind the entry that a search compares with. */
struct entry_key {
    struct overlay_entry e;
    char name[NAME_LEN_MAX + 1];
};

struct overlay_entry *overlay_entry_find(struct overlay_inode *dir, struct name name)
{
    struct entry_key key;

    if (name.len > NAME_LEN_MAX) {
        return NULL;
    }
    key.e.hash = (u32)hash_bytes(name.str, name.len, 0);
    key.e.name_len = (u8)name.len;
    memcpy(key.e.name, name.str, name.len);
    return RB_FIND(overlay_names, &dir->dir.names, &key.e);
}

struct overlay_entry *overlay_entry_new(struct name name)
{
    struct overlay_entry *e;

    if (name.len > NAME_LEN_MAX) {
        return NULL;
    }
    e = heap_alloc(sizeof(*e) + name.len + 1);
    if (e != NULL) {
        e->hash = (u32)hash_bytes(name.str, name.len, 0);
        e->name_len = (u8)name.len;
        memcpy(e->name, name.str, name.len);
    }
    return e;
}

static void entry_insert(struct overlay_inode *dir, struct overlay_entry *e)
{
    e->cookie = dir->dir.next_cookie++;
    RB_INSERT(overlay_names, &dir->dir.names, e);
    RB_INSERT(overlay_cookies, &dir->dir.cookies, e);
    dir->dir.nr_entries++;
}

static void entry_take_out(struct overlay_inode *dir, struct overlay_entry *e)
{
    RB_REMOVE(overlay_names, &dir->dir.names, e);
    RB_REMOVE(overlay_cookies, &dir->dir.cookies, e);
    dir->dir.nr_entries--;
}

void overlay_dir_nlink(struct overlay_inode *dir, int step)
{
    if (dir->inode.nlink > 1) {
        dir->inode.nlink += (u32)step;
    }
}

void overlay_dir_touched(struct overlay_inode *dir)
{
    dir->inode.mtime = dir->inode.ctime = inode_now();
    overlay_pin(dir);
}

void overlay_entry_add(struct overlay_inode *dir, struct overlay_entry *e, struct inode *inode)
{
    e->inode = inode_get(inode);
    entry_insert(dir, e);
    if (S_ISDIR(inode->mode)) {
        overlay_dir_nlink(dir, 1);
        atomic_store(&overlay_i(inode)->dir.parent_ino, dir->inode.ino);
    }
    overlay_dir_touched(dir);
}

void overlay_entry_remove(struct overlay_inode *dir, struct overlay_entry *e)
{
    bool is_dir = e->inode != NULL ? S_ISDIR(e->inode->mode) : e->type == DT_DIR;

    entry_take_out(dir, e);
    if (is_dir) {
        overlay_dir_nlink(dir, -1);
    }
    overlay_dir_touched(dir);
    inode_put(e->inode);
    heap_free(e);
}

/* ---- the layers ---- */

static struct inode *dir_layer(const struct overlay_inode *dir, u32 i)
{
    return i == 0 ? dir->lower : dir->dir.more[i - 1];
}

static u32 nr_layers(const struct overlay_inode *dir)
{
    return dir->lower == NULL ? 0 : dir->dir.nr_more + 1;
}

static bool is_whiteout(const struct inode *inode)
{
    return S_ISCHR(inode->mode) && inode->rdev == 0;
}

static bool is_opaque(struct inode *dir)
{
    char value;

    return inode_getxattr(dir, "trusted.overlay.opaque", &value, 1) == 1 && value == 'y';
}

/* What a look-up found so far. */
struct found {
    struct inode *top;
    struct inode **more;
    u32 nr_more;
};

static void found_drop(struct found *f)
{
    inode_put(f->top);
    for (u32 i = 0; i < f->nr_more; i++) {
        inode_put(f->more[i]);
    }
    heap_free(f->more);
}

/* Takes `inode` over. 1: look no further down, 0: go on, -ENOMEM. */
static int found_add(struct found *f, struct inode *inode, u32 max_more)
{
    overlay_rank_below(inode);
    if (f->top == NULL) {
        f->top = inode;
    } else if (!S_ISDIR(inode->mode)) {
        inode_put(inode);
        return 1;
    } else {
        if (f->more == NULL) {
            f->more = heap_alloc(max_more * sizeof(struct inode *));
            if (f->more == NULL) {
                inode_put(inode);
                return -ENOMEM;
            }
        }
        f->more[f->nr_more++] = inode;
    }
    return !S_ISDIR(inode->mode) || (max_more != 0 && is_opaque(inode)) ? 1 : 0;
}

static int find_in_layers(struct overlay_inode *dir, struct name name, struct found *f)
{
    u32 nr = nr_layers(dir);
    int stop = 0;

    for (u32 i = 0; i < nr && stop == 0; i++) {
        struct inode *inode = dir_lookup(dir_layer(dir, i), name);

        if (IS_ERR(inode)) {
            stop = PTR_ERR(inode) == -ENOENT ? 0 : (int)PTR_ERR(inode);
        } else if (overlay_sb(dir->inode.sb)->nr_lowers > 1 && is_whiteout(inode)) {
            inode_put(inode);
            stop = 1;
        } else {
            stop = found_add(f, inode, nr - 1);
        }
    }
    return min(stop, 0);
}

static struct inode *lookup_below(struct overlay_inode *dir, struct name name)
{
    struct found f = {0};
    int err = find_in_layers(dir, name, &f);

    if (err != 0 || f.top == NULL) {
        found_drop(&f);
        return ERR_PTR(err != 0 ? err : -ENOENT);
    }
    return overlay_iget(overlay_sb(dir->inode.sb), f.top, f.more, f.nr_more);
}

struct inode *overlay_lookup(struct inode *inode, struct name name)
{
    struct overlay_inode *dir = overlay_i(inode);
    struct inode *child;

    if (atomic_load_explicit(&dir->dir.merged, memory_order_acquire)) {
        struct overlay_entry *e = overlay_entry_find(dir, name);

        if (e == NULL) {
            return ERR_PTR(-ENOENT);
        }
        if (e->inode != NULL) {
            return inode_get(e->inode);
        }
    }
    child = lookup_below(dir, name);
    if (!IS_ERR(child) && S_ISDIR(child->mode)) {
        atomic_store(&overlay_i(child)->dir.parent_ino, inode->ino);
    }
    return child;
}

/* ---- merging ---- */

struct filling {
    struct dir_context ctx; /* first */
    struct overlay_inode *dir;
    struct inode *layer;
    bool is_multi;
    bool moved; /* an entry came since the last look */
    int err;
};

static bool is_dot(struct name name)
{
    return name.str[0] == '.' && (name.len == 1 || (name.len == 2 && name.str[1] == '.'));
}

static bool fill_entry(struct dir_context *ctx, struct name name, u64 ino, u32 dt_type, u64 next)
{
    struct filling *fl = container_of(ctx, struct filling, ctx);
    struct overlay_entry *e;

    fl->moved = true;
    if (name.len == 0 || name.len > NAME_LEN_MAX || is_dot(name) ||
        overlay_entry_find(fl->dir, name) != NULL) {
        return true; /* a layer above has the name */
    }
    e = overlay_entry_new(name);
    if (e == NULL) {
        fl->err = -ENOMEM;
        return false;
    }
    e->ino = ino;
    e->type = (u8)dt_type;
    if (fl->is_multi && dt_type == DT_CHR) {
        struct inode *inode = fl->layer->ops->lookup(fl->layer, name); /* it is locked */

        e->is_whiteout = !IS_ERR(inode) && is_whiteout(inode);
        inode_put(IS_ERR(inode) ? NULL : inode);
    }
    entry_insert(fl->dir, e);
    return true;
}

static int fill_from(struct filling *fl)
{
    struct overlay_super *os = overlay_sb(fl->dir->inode.sb);
    struct file *f = overlay_open_real(os, fl->layer, O_RDONLY | O_DIRECTORY);
    int err = 0;

    if (IS_ERR(f)) {
        return (int)PTR_ERR(f);
    }
    if (f->ops->readdir == NULL) {
        err = -ENOTDIR;
    }
    fl->ctx = (struct dir_context){.emit = fill_entry};
    do {
        fl->moved = false;
        if (err == 0) {
            err = f->ops->readdir(f, &fl->ctx);
        }
    } while (err == 0 && fl->err == 0 && fl->moved);
    file_put(f);
    return err != 0 ? err : fl->err;
}

static void drop_whiteouts(struct overlay_inode *dir, bool all)
{
    struct overlay_entry *e, *next;

    RB_FOREACH_SAFE (e, overlay_names, &dir->dir.names, next) {
        if (e->is_whiteout || all) {
            entry_take_out(dir, e);
            heap_free(e);
        }
    }
}

/* Merge dir unless it is. Its lock is held. */
int overlay_fill(struct overlay_inode *dir)
{
    struct filling fl = {.dir = dir, .is_multi = overlay_sb(dir->inode.sb)->nr_lowers > 1};
    int err = 0;

    if (atomic_load_explicit(&dir->dir.merged, memory_order_acquire)) {
        return 0;
    }
    MUTEX_GUARD(&dir->dir.fill_lock);
    if (atomic_load_explicit(&dir->dir.merged, memory_order_acquire)) {
        return 0;
    }
    for (u32 i = 0; i < nr_layers(dir) && err == 0; i++) {
        fl.layer = dir_layer(dir, i);
        read_lock(&fl.layer->lock);
        err = fill_from(&fl);
        read_unlock(&fl.layer->lock);
    }
    drop_whiteouts(dir, err != 0);
    if (err == 0) {
        atomic_store_explicit(&dir->dir.merged, true, memory_order_release);
    }
    return err;
}

/* ---- readdir ---- */

static bool emit_dots(struct overlay_inode *dir, struct dir_context *ctx)
{
    if (ctx->pos == 0) {
        if (!ctx->emit(ctx, (struct name){".", 1}, dir->inode.ino, DT_DIR, 1)) {
            return false;
        }
        ctx->pos = 1;
    }
    if (ctx->pos == 1) {
        u64 up = atomic_load(&dir->dir.parent_ino);

        if (!ctx->emit(ctx, (struct name){"..", 2}, up, DT_DIR, 2)) {
            return false;
        }
        ctx->pos = 2;
    }
    return true;
}

static int overlay_readdir(struct file *f, struct dir_context *ctx)
{
    struct overlay_inode *dir = overlay_i(f->inode);
    struct overlay_entry key = {.cookie = 0}, *e;
    int err = overlay_fill(dir);

    if (err != 0 || !emit_dots(dir, ctx)) {
        return err;
    }
    key.cookie = ctx->pos;
    for (e = RB_NFIND(overlay_cookies, &dir->dir.cookies, &key); e != NULL;
         e = RB_NEXT(overlay_cookies, &dir->dir.cookies, e)) {
        u64 ino = e->inode != NULL ? e->inode->ino : e->ino;
        u32 type = e->inode != NULL ? IFTODT(e->inode->mode) : e->type;

        if (!ctx->emit(ctx, (struct name){e->name, e->name_len}, ino, type, e->cookie + 1)) {
            return 0;
        }
        ctx->pos = e->cookie + 1;
    }
    return 0;
}

static ssize_t overlay_dir_read(struct file *f, struct uio *u, u64 *pos, u32 rwf)
{
    return -EISDIR;
}

static int overlay_dir_fsync(struct file *f, u64 start, u64 end, bool data_only)
{
    return 0;
}

const struct file_ops overlay_dir_ops = {
    .name = "overlay directory",
    .read = overlay_dir_read,
    .readdir = overlay_readdir,
    .fsync = overlay_dir_fsync,
    .release = file_release_plain,
};
HEAP_OPS(overlay_dir_ops);
