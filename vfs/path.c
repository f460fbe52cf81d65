/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths: counting, and their text. A path without a mount is an object of no file system tree
 * (pipe, socket, anonymous inode): its dentry's name is all there is.
 */
#include "vfs/vfs_priv.h"

void path_get(const struct path *p)
{
    if (p->mnt != NULL) {
        (void)mount_get(p->mnt);
    }
    if (p->dentry != NULL) {
        (void)dentry_get(p->dentry);
    }
}

void path_put(struct path *p)
{
    /* The dentry first: the mount keeps its super alive. */
    if (p->dentry != NULL) {
        dentry_put(p->dentry);
    }
    if (p->mnt != NULL) {
        mount_put(p->mnt);
    }
    *p = (struct path){0};
}

/* Text that grows from the end of a buffer towards its start. */
struct backwards {
    char *start, *pos;
};

static bool prepend(struct backwards *b, const char *text, size_t len)
{
    if ((size_t)(b->pos - b->start) < len) {
        return false;
    }
    b->pos -= len;
    memcpy(b->pos, text, len);
    return true;
}

/* One component up: its name is put before the text. */
static bool prepend_name(struct backwards *b, struct path *at)
{
    struct dentry *d = at->dentry, *parent;
    bool fits;

    spin_lock(&d->lock);
    fits = prepend(b, d->name, d->name_len) && prepend(b, "/", 1);
    parent = dentry_get(d->parent);
    spin_unlock(&d->lock);
    dentry_put(d);
    at->dentry = parent;
    return fits;
}

/* The path of d inside its file system. */
char *dentry_text(struct dentry *d, char *buf, size_t size)
{
    struct backwards b = {.start = buf, .pos = buf + size};
    struct path at = {.dentry = dentry_get(d)};
    bool fits = prepend(&b, "", 1);

    while (fits && at.dentry->parent != at.dentry) {
        fits = prepend_name(&b, &at);
    }
    dentry_put(at.dentry);
    return fits ? b.pos : ERR_PTR(-ENAMETOOLONG);
}

static bool dentry_is_deleted(struct dentry *d)
{
    SPIN_GUARD(&d->lock);
    return d->unhashed && d->parent != d;
}

char *path_text(const struct path *path, const struct path *root, char *buf, size_t size)
{
    struct backwards b = {.start = buf, .pos = buf + size};
    struct path at = *path;
    bool fits = prepend(&b, "", 1), reached = true;

    if (path->mnt == NULL) {
        struct dentry *d = path->dentry;

        SPIN_GUARD(&d->lock);
        fits = fits && prepend(&b, d->name, d->name_len);
        return fits ? b.pos : ERR_PTR(-ENAMETOOLONG);
    }
    if (dentry_is_deleted(path->dentry)) {
        fits = fits && prepend(&b, " (deleted)", 10);
    }
    path_get(&at);
    while (fits && !path_equal(&at, root)) {
        if (at.dentry == at.mnt->root) {
            if (path_follow_up(&at)) {
                continue;
            }
            reached = false;
            break;
        }
        fits = prepend_name(&b, &at);
    }
    path_put(&at);
    if (fits && (b.pos[0] == '\0' || b.pos[0] == ' ')) {
        fits = prepend(&b, "/", 1);
    }
    if (fits && !reached) {
        fits = prepend(&b, "(unreachable)", 13);
    }
    return fits ? b.pos : ERR_PTR(-ENAMETOOLONG);
}
