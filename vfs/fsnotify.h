/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the path and file layers tell inotify(7). Each wrapper costs one load while no watch exists
 * in the whole sandbox. All may be called with directory and inode locks held; none parks.
 *
 * Who calls what:
 *   create, mkdir, mknod, symlink, link   fsnotify_name(dir, IN_CREATE [| IN_ISDIR], name, 0)
 *   unlink, rmdir                         fsnotify_name(dir, IN_DELETE [| IN_ISDIR], name, 0)
 *   rename                                fsnotify_rename
 *   link, unlink with other links left    fsnotify_self(inode, IN_ATTRIB)
 *   setattr, setxattr                     fsnotify_dentry(dentry, IN_ATTRIB); size: IN_MODIFY
 *   open, read, write, close              fsnotify_file(f, IN_OPEN / IN_ACCESS / IN_MODIFY /
 *                                         IN_CLOSE_WRITE / IN_CLOSE_NOWRITE)
 *   the last name and user of an inode    fsnotify_deleted(inode): when an unhashed dentry with
 *                                         nlink 0 is freed
 *   umount                                fsnotify_unmount(sb)
 */
#ifndef PAVISE_VFS_FSNOTIFY_H
#define PAVISE_VFS_FSNOTIFY_H

#include "vfs/vfs.h"

#include <sys/inotify.h>

/* Watches in the sandbox. */
extern _Atomic u32 inotify_nr_marks;

void inotify_event(struct inode *inode, u32 mask, struct name name, u32 cookie);
void inotify_event_dentry(struct dentry *d, u32 mask);
void inotify_event_rename(struct inode *old_dir, struct name old_name, struct inode *new_dir,
                          struct name new_name, struct inode *inode);
void inotify_inode_deleted(struct inode *inode);
void inotify_unmount(struct super *sb);
/* A watch keeps its inode alive, so an inode that goes away has only an empty list to free. */
void inotify_inode_fini(struct inode *inode);

static inline bool fsnotify_active(void)
{
    return unlikely(atomic_load_explicit(&inotify_nr_marks, memory_order_relaxed) != 0);
}

static inline void fsnotify_name(struct inode *dir, u32 mask, struct name name, u32 cookie)
{
    if (fsnotify_active()) {
        inotify_event(dir, mask, name, cookie);
    }
}

static inline void fsnotify_self(struct inode *inode, u32 mask)
{
    if (fsnotify_active()) {
        inotify_event(inode, mask, (struct name){0}, 0);
    }
}

/* To the watches of the inode, and with its name to those of its directory. */
static inline void fsnotify_dentry(struct dentry *d, u32 mask)
{
    if (fsnotify_active() && d != NULL) {
        inotify_event_dentry(d, mask);
    }
}

static inline void fsnotify_file(struct file *f, u32 mask)
{
    if (fsnotify_active() && (f->mode & FMODE_PATH) == 0) {
        inotify_event_dentry(f->path.dentry, mask);
    }
}

static inline void fsnotify_rename(struct inode *old_dir, struct name old_name,
                                   struct inode *new_dir, struct name new_name, struct inode *inode)
{
    if (fsnotify_active()) {
        inotify_event_rename(old_dir, old_name, new_dir, new_name, inode);
    }
}

static inline void fsnotify_deleted(struct inode *inode)
{
    if (fsnotify_active()) {
        inotify_inode_deleted(inode);
    }
}

static inline void fsnotify_unmount(struct super *sb)
{
    if (fsnotify_active()) {
        inotify_unmount(sb);
    }
}

#endif
