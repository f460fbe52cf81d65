/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The path walk (path_resolution(7), openat2(2)).
 *
 * A walk holds two counted paths: `root`, above which ".." never goes, and `cur`. walk_parent takes
 * it to the directory of the last component; walk_last steps on that one. Symbolic links are not
 * followed by recursion: the body of a link in the middle gets a frame that remembers the rest of
 * the path, a link at the end is handed back to the caller's loop as the next string to walk.
 *
 *     body = name;
 *     do {
 *         err = walk_parent(w, body);
 *         ...
 *         err = walk_last(w, &body);
 *     } while (err == 0 && body != NULL);
 *
 * No lock is held between steps. A look-up of a name that is not cached takes the directory's lock
 * for reading around the file system's op and the insertion into the cache.
 *
 * ".." while somebody moves directories could lead out of a scoped walk (RESOLVE_BENEATH and
 * IN_ROOT); it then gives EAGAIN as Linux does: tree_seq grows with each move.
 */
#include "base/heap.h"
#include "vfs/fdtable.h"
#include "vfs/vfs_priv.h"

#include <linux/openat2.h>

/* The body of a link and where to go on behind it. */
struct link_frame {
    struct link_frame *next;
    const char *rest; /* NULL: the link was at the end */
    char body[PATH_LEN_MAX];
};
DEFINE_CACHE(link_frame_cache, struct link_frame);

void fs_get_root(struct fs_context *fs, struct path *out)
{
    READ_GUARD(&fs->lock);
    *out = fs->root;
    path_get(out);
}

void fs_get_cwd(struct fs_context *fs, struct path *out)
{
    READ_GUARD(&fs->lock);
    *out = fs->cwd;
    path_get(out);
}

u32 fs_get_umask(struct fs_context *fs)
{
    READ_GUARD(&fs->lock);
    return fs->umask;
}

/* ---- start and end ---- */

static int walk_base(struct walk *w, int dirfd, struct path *out)
{
    struct file *f;

    if (dirfd == AT_FDCWD) {
        fs_get_cwd(w->ctx->fs, out);
        return 0;
    }
    f = fd_get_any(w->ctx->fdt, dirfd);
    if (f == NULL) {
        return -EBADF;
    }
    *out = f->path;
    path_get(out);
    file_put(f);
    return 0;
}

int walk_start(struct walk *w, const struct vfs_ctx *ctx, int dirfd, const char *name, u32 flags)
{
    bool is_absolute = name[0] == '/';
    int err = 0;

    *w = (struct walk){.ctx = ctx, .flags = flags, .resolve = flags >> LOOKUP_RESOLVE_SHIFT};
    w->is_scoped = (w->resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)) != 0;
    w->seq = atomic_load(&vfs_state->tree_seq);
    if (name[0] == '\0' && (flags & LOOKUP_EMPTY) == 0) {
        return -ENOENT;
    }
    if (is_absolute && (w->resolve & RESOLVE_BENEATH) != 0) {
        return -EXDEV;
    }
    if (w->is_scoped) {
        err = walk_base(w, dirfd, &w->root);
        if (err == 0) {
            w->cur = w->root;
            path_get(&w->cur);
        }
    } else {
        fs_get_root(ctx->fs, &w->root);
        if (is_absolute) {
            w->cur = w->root;
            path_get(&w->cur);
        } else {
            err = walk_base(w, dirfd, &w->cur);
        }
    }
    if (err == 0 && name[0] != '\0' && !dentry_is_dir(w->cur.dentry)) {
        err = -ENOTDIR;
    }
    if (err != 0) {
        walk_end(w);
    }
    return err;
}

static void frames_free(struct link_frame *f)
{
    while (f != NULL) {
        struct link_frame *next = f->next;

        cache_del(link_frame_cache, f);
        f = next;
    }
}

void walk_end(struct walk *w)
{
    frames_free(w->frames);
    frames_free(w->done_frames);
    w->frames = w->done_frames = NULL;
    path_put(&w->cur);
    path_put(&w->root);
}

/* ---- one component ---- */

static struct dentry *lookup_uncached(struct dentry *dir, struct inode *dir_inode, struct name name)
{
    struct dentry *d = dentry_lookup_cached(dir, name);
    struct inode *inode;

    if (d != NULL) {
        return d;
    }
    if (dir_inode->dead) {
        return ERR_PTR(-ENOENT);
    }
    inode = dir_lookup_locked(dir_inode, name);
    if (IS_ERR(inode)) {
        if (PTR_ERR(inode) != -ENOENT) {
            return (struct dentry *)inode;
        }
        if (dir->sb->no_dcache_negative && dir_inode->ops->create == NULL) {
            return ERR_PTR(-ENOENT); /* a generated tree: nothing can be made there either */
        }
        inode = NULL;
    }
    return dentry_add_child(dir, name, inode);
}

struct dentry *lookup_child(struct dentry *dir, struct name name, bool locked)
{
    struct inode *dir_inode = dentry_inode(dir);
    struct dentry *d = dentry_lookup_cached(dir, name);

    if (d != NULL) {
        if (likely(dir_inode->ops->revalidate == NULL) ||
            dir_inode->ops->revalidate(dir_inode, name, dentry_inode(d))) {
            return d;
        }
        dentry_unhash(d);
        dentry_put(d);
    }
    if (locked) {
        return lookup_uncached(dir, dir_inode, name);
    }
    read_lock(&dir_inode->lock);
    d = lookup_uncached(dir, dir_inode, name);
    read_unlock(&dir_inode->lock);
    return d;
}

/* To the root of the walk, for an absolute link. */
static int walk_to_root(struct walk *w)
{
    if ((w->resolve & RESOLVE_BENEATH) != 0) {
        return -EXDEV;
    }
    if ((w->resolve & RESOLVE_NO_XDEV) != 0 && w->cur.mnt != w->root.mnt) {
        return -EXDEV;
    }
    path_put(&w->cur);
    w->cur = w->root;
    path_get(&w->cur);
    return 0;
}

static int walk_cross_mounts(struct walk *w)
{
    if (atomic_load_explicit(&w->cur.dentry->mounts, memory_order_relaxed) != 0 &&
        path_follow_mounts(&w->cur) && (w->resolve & RESOLVE_NO_XDEV) != 0) {
        return -EXDEV;
    }
    return 0;
}

/* A directory of a bind mount that was moved out of what the mount shows has no way back. */
static bool path_is_connected(const struct path *p)
{
    return p->mnt->root == p->mnt->sb->root_dentry || dentry_is_below(p->dentry, p->mnt->root);
}

static int walk_dotdot(struct walk *w)
{
    struct dentry *parent;

    while (!path_equal(&w->cur, &w->root) && w->cur.mnt != NULL &&
           w->cur.dentry == w->cur.mnt->root) {
        if (!path_follow_up(&w->cur)) {
            return walk_cross_mounts(w); /* the top of the namespace is its own parent */
        }
        if ((w->resolve & RESOLVE_NO_XDEV) != 0) {
            return -EXDEV;
        }
    }
    if (path_equal(&w->cur, &w->root)) {
        if ((w->resolve & RESOLVE_BENEATH) != 0) {
            return -EXDEV;
        }
        return walk_cross_mounts(w);
    }
    parent = dentry_parent(w->cur.dentry);
    dentry_put(w->cur.dentry);
    w->cur.dentry = parent;
    if (w->cur.mnt != NULL && !path_is_connected(&w->cur)) {
        return -ENOENT;
    }
    if (w->is_scoped && atomic_load(&vfs_state->tree_seq) != w->seq) {
        return -EAGAIN;
    }
    return walk_cross_mounts(w);
}

/* ---- links ---- */

/* fs.protected_symlinks: a link in a sticky world-writable directory is followed only by its owner,
 * or if it is the directory's owner's. */
static int may_follow_link(const struct walk *w, const struct inode *link)
{
    if (PROTECTED_SYMLINKS == 0 || link->uid == w->ctx->cred->fsuid ||
        (w->dir_mode & (S_ISVTX | S_IWOTH)) != (S_ISVTX | S_IWOTH) || w->dir_uid == link->uid) {
        return 0;
    }
    return -EACCES;
}

static int walk_magic_link(struct walk *w, struct inode *link)
{
    struct path target = {0};
    int err;

    if ((w->resolve & (RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS)) != 0) {
        return -ELOOP;
    }
    err = link->ops->follow(link, w->ctx, &target);
    if (err != 0) {
        return err;
    }
    if (w->is_scoped || ((w->resolve & RESOLVE_NO_XDEV) != 0 && target.mnt != w->cur.mnt)) {
        path_put(&target);
        return -EXDEV;
    }
    path_put(&w->cur);
    w->cur = target;
    return 0;
}

/* The link's body in a new frame; an absolute one has already moved cur to the root. */
static int walk_read_link(struct walk *w, struct inode *link, struct link_frame **out)
{
    struct link_frame *f = cache_new(link_frame_cache);
    ssize_t len;
    int err = 0;

    if (f == NULL) {
        return -ENOMEM;
    }
    len = inode_readlink(link, w->ctx, f->body, sizeof(f->body) - 1);
    if (len <= 0) {
        cache_del(link_frame_cache, f);
        return len < 0 ? (int)len : -ENOENT;
    }
    f->body[len] = '\0';
    if (f->body[0] == '/') {
        err = walk_to_root(w);
    }
    if (err != 0) {
        cache_del(link_frame_cache, f);
        return err;
    }
    *out = f;
    return 0;
}

/* Follow the link d, found in cur. 0 with *frame NULL: a magic link, cur is its target. */
static int walk_link(struct walk *w, struct dentry *d, bool trailing, struct link_frame **frame)
{
    struct inode *link = dentry_inode(d);
    int err = 0;

    *frame = NULL;
    if (w->nr_links++ >= SYMLINK_MAX_FOLLOW) {
        return -ELOOP;
    }
    if (trailing) {
        err = may_follow_link(w, link);
    }
    if (err == 0 &&
        ((w->resolve & RESOLVE_NO_SYMLINKS) != 0 || mount_has(w->cur.mnt, MS_NOSYMFOLLOW))) {
        err = -ELOOP;
    }
    if (err != 0) {
        return err;
    }
    if (link->ops->follow != NULL) {
        err = walk_magic_link(w, link);
        if (err != -EINVAL) { /* EINVAL: this one is to be read and walked */
            return err;
        }
    }
    return walk_read_link(w, link, frame);
}

static int walk_step_into(struct walk *w, struct dentry *d, bool follow, bool trailing,
                          struct link_frame **frame)
{
    struct inode *inode = dentry_inode(d);
    int err;

    *frame = NULL;
    if (inode == NULL) {
        dentry_put(d);
        return -ENOENT;
    }
    if (S_ISLNK(inode->mode) && follow) {
        err = walk_link(w, d, trailing, frame);
        dentry_put(d);
        return err;
    }
    dentry_put(w->cur.dentry);
    w->cur.dentry = d;
    return walk_cross_mounts(w);
}

static enum last_type component_type(struct name name)
{
    if (name.str[0] != '.' || name.len > 2) {
        return LAST_NORM;
    }
    if (name.len == 1) {
        return LAST_DOT;
    }
    return name.str[1] == '.' ? LAST_DOTDOT : LAST_NORM;
}

static int walk_component(struct walk *w, enum last_type type, struct name name, bool follow,
                          bool trailing, struct link_frame **frame)
{
    struct dentry *d;

    *frame = NULL;
    if (type == LAST_DOT || type == LAST_ROOT) {
        return 0;
    }
    if (type == LAST_DOTDOT) {
        return walk_dotdot(w);
    }
    d = lookup_child(w->cur.dentry, name, false);
    if (IS_ERR(d)) {
        return (int)PTR_ERR(d);
    }
    return walk_step_into(w, d, follow, trailing, frame);
}

/* ---- many components ---- */

static const char *skip_slashes(const char *s)
{
    while (*s == '/') {
        s++;
    }
    return s;
}

/* The name at s; returns where the next component begins. */
static const char *next_component(const char *s, struct name *name)
{
    const char *end = s;

    while (*end != '\0' && *end != '/') {
        end++;
    }
    *name = (struct name){s, (u32)(end - s)};
    return skip_slashes(end);
}

/* Take the frame of a link that is walked through off the stack; its body stays for w->last. */
static const char *frame_pop(struct walk *w)
{
    struct link_frame *f = w->frames;
    const char *rest = f->rest;

    w->frames = f->next;
    f->next = w->done_frames;
    w->done_frames = f;
    return rest;
}

static int check_search(struct walk *w)
{
    struct inode *dir = dentry_inode(w->cur.dentry);

    if (dir == NULL || !S_ISDIR(dir->mode)) {
        return -ENOTDIR;
    }
    return inode_permission(dir, MAY_EXEC, w->ctx->cred);
}

static void walk_set_last(struct walk *w, enum last_type type, struct name name)
{
    const struct inode *dir = dentry_inode(w->cur.dentry);

    w->type = type;
    w->last = name;
    w->last_slash = type != LAST_ROOT && name.str[name.len] == '/';
    w->dir_mode = dir->mode;
    w->dir_uid = dir->uid;
}

int walk_parent(struct walk *w, const char *s)
{
    struct link_frame *frame;
    struct name name = {s, 0};
    int err;

    s = skip_slashes(s);
    if (*s == '\0') {
        walk_set_last(w, LAST_ROOT, name);
        return dentry_is_dir(w->cur.dentry) ? 0 : -ENOTDIR;
    }
    for (;;) {
        const char *next = next_component(s, &name);
        enum last_type type = component_type(name);

        err = check_search(w);
        if (err != 0) {
            return err;
        }
        if (*next == '\0' && w->frames == NULL) {
            walk_set_last(w, type, name);
            return 0;
        }
        if (*next == '\0') {
            next = frame_pop(w); /* the end of a link in the middle: on in the path that held it */
        }
        err = walk_component(w, type, name, true, false, &frame);
        if (err != 0) {
            return err;
        }
        if (frame != NULL) {
            frame->rest = next;
            frame->next = w->frames;
            w->frames = frame;
            s = skip_slashes(frame->body);
            if (*s == '\0') { /* the link is "/" */
                s = frame_pop(w);
            }
        } else {
            s = next;
        }
    }
}

int walk_step_last(struct walk *w, struct dentry *d, const char **body)
{
    struct link_frame *frame;
    int err = walk_step_into(w, d, (w->flags & LOOKUP_FOLLOW) != 0, true, &frame);

    *body = NULL;
    if (err == 0 && frame != NULL) {
        frame->next = w->done_frames;
        w->done_frames = frame;
        *body = frame->body;
    }
    return err;
}

int walk_last(struct walk *w, const char **body)
{
    struct dentry *d;

    *body = NULL;
    if (w->type == LAST_DOTDOT) {
        return walk_dotdot(w);
    }
    if (w->type != LAST_NORM) {
        return 0;
    }
    if (w->last_slash) {
        w->flags |= LOOKUP_FOLLOW | LOOKUP_DIRECTORY;
    }
    d = lookup_child(w->cur.dentry, w->last, false);
    return IS_ERR(d) ? (int)PTR_ERR(d) : walk_step_last(w, d, body);
}

/* Is cur below the root of a scoped walk, mounts included? */
static bool walk_is_below_root(const struct walk *w)
{
    struct path at = w->cur;
    bool below;

    path_get(&at);
    while (at.mnt != w->root.mnt) {
        dentry_put(at.dentry);
        at.dentry = dentry_get(at.mnt->root);
        if (!path_follow_up(&at)) {
            break;
        }
    }
    below = at.mnt == w->root.mnt && dentry_is_below(at.dentry, w->root.dentry);
    path_put(&at);
    return below;
}

int walk_check_done(struct walk *w)
{
    if ((w->flags & LOOKUP_DIRECTORY) != 0 && !dentry_is_dir(w->cur.dentry)) {
        return -ENOTDIR;
    }
    return w->is_scoped && !walk_is_below_root(w) ? -EXDEV : 0;
}

int walk_to_parent(struct walk *w, const struct vfs_ctx *ctx, int dirfd, const char *name)
{
    int err = walk_start(w, ctx, dirfd, name, 0);

    if (err == 0) {
        err = walk_parent(w, name);
        if (err != 0) {
            walk_end(w);
        }
    }
    return err;
}

int path_lookup(const struct vfs_ctx *ctx, int dirfd, const char *name, u32 flags, struct path *out)
{
    struct walk w;
    const char *body = name;
    int err = walk_start(&w, ctx, dirfd, name, flags);

    if (err != 0) {
        return err;
    }
    while (err == 0 && body != NULL && *name != '\0') {
        err = walk_parent(&w, body);
        if (err == 0) {
            err = walk_last(&w, &body);
        }
    }
    if (err == 0) {
        err = walk_check_done(&w);
    }
    if (err == 0) {
        *out = w.cur;
        path_get(out);
    }
    walk_end(&w);
    return err;
}
