/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes of names in an overlay. The layers below are never asked to change anything: a change
 * merges the directory (dir.c) and then moves entries about, so renaming a lower directory is as
 * cheap as renaming any other and needs no copy.
 *
 * Everything that can fail comes before the first change. The wrappers hold the directories' locks,
 * and that of a directory that goes away.
 */
#include "vfs/overlay/overlay_priv.h"

#include <linux/fs.h>

#define SYMLINK_MAX_LEN 4095U

/* ---- making ---- */

static struct inode *make_inode(struct inode *dir, u32 mode, u64 rdev, const struct cred *cred)
{
    struct overlay_super *os = overlay_sb(dir->sb);
    struct inode *inode, *upper;
    u32 uid, gid;

    inode_init_owner(dir, cred, &mode, &uid, &gid);
    inode = overlay_new(os, mode, rdev, uid, gid);
    if (IS_ERR(inode) || !S_ISREG(mode)) {
        return inode;
    }
    upper = overlay_upper_new(os);
    if (IS_ERR(upper)) {
        inode_put(inode);
        return upper;
    }
    atomic_store_explicit(&overlay_i(inode)->file.upper, upper, memory_order_release);
    return inode;
}

/* Give it the name, or drop it. */
static struct inode *enter_new(struct inode *dir, struct name name, struct inode *inode)
{
    struct overlay_entry *e = overlay_entry_new(name);

    if (e == NULL) {
        inode_put(inode);
        return ERR_PTR(-ENOMEM);
    }
    overlay_entry_add(overlay_i(dir), e, inode);
    return inode;
}

struct inode *overlay_mknod(struct inode *dir, struct name name, u32 mode, u64 rdev,
                            const struct cred *cred)
{
    int err = overlay_fill(overlay_i(dir));
    struct inode *inode;

    if (err != 0) {
        return ERR_PTR(err);
    }
    if (overlay_entry_find(overlay_i(dir), name) != NULL) {
        return ERR_PTR(-EEXIST); /* a lower name whose inode cannot be had */
    }
    inode = make_inode(dir, mode, rdev, cred);
    return IS_ERR(inode) ? inode : enter_new(dir, name, inode);
}

struct inode *overlay_create(struct inode *dir, struct name name, u32 mode, const struct cred *cred)
{
    return overlay_mknod(dir, name, mode, 0, cred);
}

struct inode *overlay_symlink(struct inode *dir, struct name name, const char *target,
                              const struct cred *cred)
{
    size_t len = strlen(target);
    char *copy = len <= SYMLINK_MAX_LEN ? heap_memdup(target, len + 1) : NULL;
    struct inode *inode;

    if (copy == NULL) {
        return ERR_PTR(len <= SYMLINK_MAX_LEN ? -ENOMEM : -ENAMETOOLONG);
    }
    inode = overlay_mknod(dir, name, S_IFLNK | 0777, 0, cred);
    if (IS_ERR(inode)) {
        heap_free(copy);
        return inode;
    }
    overlay_i(inode)->target = copy;
    inode->size = len;
    return inode;
}

struct inode *overlay_tmpfile(struct inode *dir, u32 mode, const struct cred *cred)
{
    struct inode *inode = make_inode(dir, mode, 0, cred);

    if (!IS_ERR(inode)) {
        inode->nlink = 0;
    }
    return inode;
}

int overlay_link(struct inode *dir, struct name name, struct inode *inode)
{
    int err = overlay_fill(overlay_i(dir));
    struct overlay_entry *e;

    if (err != 0) {
        return err;
    }
    if (overlay_entry_find(overlay_i(dir), name) != NULL) {
        return -EEXIST;
    }
    e = overlay_entry_new(name);
    if (e == NULL) {
        return -ENOMEM;
    }
    write_lock(&inode->lock);
    inode->nlink++;
    inode->ctime = inode_now();
    overlay_pin(overlay_i(inode));
    write_unlock(&inode->lock);
    overlay_entry_add(overlay_i(dir), e, inode);
    return 0;
}

/* ---- taking away ---- */

/* One name less. A directory is locked by the wrapper. */
static void drop_link(struct inode *inode)
{
    struct overlay_inode *oi = overlay_i(inode);
    bool is_dir = S_ISDIR(inode->mode);

    if (!is_dir) {
        write_lock(&inode->lock);
    }
    if (is_dir) {
        inode->nlink = 0;
    } else if (inode->nlink != 0) {
        inode->nlink--; /* a host's count may be anything */
    }
    inode->ctime = inode_now();
    if (inode->nlink == 0) {
        overlay_unpin(oi);
    } else {
        overlay_pin(oi);
    }
    if (!is_dir) {
        write_unlock(&inode->lock);
    }
}

int overlay_unlink(struct inode *dir, struct name name, struct inode *inode)
{
    int err = overlay_fill(overlay_i(dir));
    struct overlay_entry *e;

    if (err != 0) {
        return err;
    }
    e = overlay_entry_find(overlay_i(dir), name);
    if (e == NULL) {
        return -ENOENT;
    }
    drop_link(inode);
    overlay_entry_remove(overlay_i(dir), e);
    return 0;
}

/* dir's lock is held, for writing if it goes away. */
static int check_empty(struct inode *dir)
{
    int err = overlay_fill(overlay_i(dir));

    return err != 0 ? err : overlay_i(dir)->dir.nr_entries != 0 ? -ENOTEMPTY : 0;
}

int overlay_rmdir(struct inode *dir, struct name name, struct inode *inode)
{
    int err = check_empty(inode);

    return err != 0 ? err : overlay_unlink(dir, name, inode);
}

/* ---- rename ---- */

static void entry_set_inode(struct overlay_entry *e, struct inode *inode)
{
    inode_put(e->inode);
    e->inode = inode;
}

static void exchange(struct overlay_inode *from, struct overlay_entry *old, struct inode *inode,
                     struct overlay_inode *to, struct overlay_entry *new, struct inode *target)
{
    bool is_dir = S_ISDIR(inode->mode), target_is_dir = S_ISDIR(target->mode);

    (void)inode_get(inode);
    (void)inode_get(target);
    entry_set_inode(old, target);
    entry_set_inode(new, inode);
    if (is_dir != target_is_dir) {
        overlay_dir_nlink(from, target_is_dir ? 1 : -1);
        overlay_dir_nlink(to, is_dir ? 1 : -1);
    }
    if (is_dir) {
        atomic_store(&overlay_i(inode)->dir.parent_ino, to->inode.ino);
    }
    if (target_is_dir) {
        atomic_store(&overlay_i(target)->dir.parent_ino, from->inode.ino);
    }
    overlay_dir_touched(from);
    overlay_dir_touched(to);
    inode->ctime = target->ctime = to->inode.ctime;
}

/* RENAME_WHITEOUT leaves a character device 0/0 behind. */
static int whiteout_prepare(struct overlay_super *os, struct name name, struct inode **inode,
                            struct overlay_entry **entry)
{
    *inode = overlay_new(os, S_IFCHR, 0, 0, 0);
    if (IS_ERR(*inode)) {
        return (int)PTR_ERR(*inode);
    }
    *entry = overlay_entry_new(name);
    if (*entry == NULL) {
        inode_put(*inode);
        return -ENOMEM;
    }
    return 0;
}

struct moving {
    struct overlay_inode *from, *to;
    struct overlay_entry *old, *new; /* new: NULL if there is none */
    struct inode *inode, *target;
};

static int move(struct moving *m, struct name old_name, struct name new_name, bool whiteout)
{
    struct overlay_entry *moved = overlay_entry_new(new_name), *left = NULL;
    struct inode *mark = NULL;
    int err = moved == NULL ? -ENOMEM : 0;

    if (err == 0 && whiteout) {
        err = whiteout_prepare(overlay_sb(m->inode->sb), old_name, &mark, &left);
    }
    if (err != 0) {
        heap_free(moved);
        return err;
    }
    if (m->target != NULL) {
        drop_link(m->target);
    }
    if (m->new != NULL) {
        overlay_entry_remove(m->to, m->new);
    }
    overlay_entry_add(m->to, moved, m->inode);
    overlay_entry_remove(m->from, m->old);
    m->inode->ctime = m->to->inode.ctime;
    if (whiteout) {
        overlay_entry_add(m->from, left, mark);
        inode_put(mark);
    }
    return 0;
}

int overlay_rename(struct inode *old_dir, struct name old_name, struct inode *inode,
                   struct inode *new_dir, struct name new_name, struct inode *target, u32 flags)
{
    struct moving m = {
        .from = overlay_i(old_dir), .to = overlay_i(new_dir), .inode = inode, .target = target};
    int err = overlay_fill(m.from);

    if (err == 0) {
        err = overlay_fill(m.to);
    }
    if (err == 0 && target != NULL && S_ISDIR(target->mode) && (flags & RENAME_EXCHANGE) == 0) {
        err = check_empty(target);
    }
    if (err != 0) {
        return err;
    }
    m.old = overlay_entry_find(m.from, old_name);
    m.new = overlay_entry_find(m.to, new_name);
    if (m.old == NULL || (target != NULL && m.new == NULL)) {
        return -ENOENT;
    }
    if ((flags & RENAME_EXCHANGE) != 0) {
        exchange(m.from, m.old, inode, m.to, m.new, target);
        return 0;
    }
    return move(&m, old_name, new_name, (flags & RENAME_WHITEOUT) != 0);
}
