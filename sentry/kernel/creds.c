/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credentials across execve (execve(2), capabilities(7) "Transformation of capabilities during
 * execve()"). File capabilities (the security.capability xattr) are read as Linux does.
 */
#include "sentry/kernel/creds.h"

#include "base/heap.h"
#include "vfs/mount.h"

#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/mount.h>

struct cred *cred_new(u32 uid, u32 gid, const u32 *groups, u32 nr_groups, bool privileged)
{
    struct cred base = {0}, *c;

    ref_init(&base.ref);
    base.uid = base.euid = base.suid = base.fsuid = uid;
    base.gid = base.egid = base.sgid = base.fsgid = gid;
    base.cap_bounding = CAP_ALL;
    if (privileged) {
        base.cap_permitted = base.cap_effective = CAP_ALL;
    }
    c = cred_copy(&base);
    if (c != NULL && nr_groups > 0) {
        c->groups = heap_memdup(groups, nr_groups * sizeof(u32));
        c->nr_groups = nr_groups;
        if (c->groups == NULL) {
            cred_put(c);
            return NULL;
        }
    }
    return c;
}

struct file_caps {
    bool present, effective;
    u64 permitted, inheritable;
};

/* struct vfs_cap_data of linux/capability.h, revisions 1 to 3. Damaged ones count as absent. */
static struct file_caps read_file_caps(struct file *file)
{
    struct file_caps caps = {0};
    u32 raw[6] = {0};
    ssize_t n;

    if (file->inode->ops->getxattr == NULL) {
        return caps;
    }
    n = file->inode->ops->getxattr(file->inode, "security.capability", raw, sizeof(raw));
    if (n < 12) {
        return caps;
    }
    caps.present = true;
    caps.effective = (raw[0] & VFS_CAP_FLAGS_EFFECTIVE) != 0;
    caps.permitted = raw[1];
    caps.inheritable = raw[2];
    if ((raw[0] & VFS_CAP_REVISION_MASK) != VFS_CAP_REVISION_1 && n >= 20) {
        caps.permitted |= (u64)raw[3] << 32;
        caps.inheritable |= (u64)raw[4] << 32;
    }
    return caps;
}

static bool has_root_privilege(const struct cred *c)
{
    return (c->securebits & SECBIT_NOROOT) == 0 && (c->uid == 0 || c->euid == 0);
}

static void transform_caps(struct cred *c, const struct cred *old, struct file_caps caps,
                           bool setid)
{
    bool root = has_root_privilege(c) && !(caps.present && c->uid != 0);
    u64 permitted;

    if (root) {
        caps.permitted = caps.inheritable = CAP_ALL;
        caps.effective = c->euid == 0;
        caps.present = true;
    }
    if (setid || (caps.present && !root)) {
        c->cap_ambient = 0;
    }
    permitted = (old->cap_inheritable & caps.inheritable) | (caps.permitted & old->cap_bounding);
    c->cap_permitted = (caps.present ? permitted : 0) | c->cap_ambient;
    c->cap_effective = caps.present && caps.effective ? c->cap_permitted : c->cap_ambient;
    c->securebits &= ~(u32)SECBIT_KEEP_CAPS;
}

/* Set-ID bits count unless the mount or the task says no. Returns whether an id changed. */
static bool apply_setid(struct cred *c, const struct inode *inode, bool allowed)
{
    u32 mode = inode->mode;
    bool changed = false;

    if (!allowed) {
        return false;
    }
    if ((mode & S_ISUID) != 0) {
        changed = c->euid != inode->uid;
        c->euid = inode->uid;
    }
    if ((mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP)) {
        changed = changed || c->egid != inode->gid;
        c->egid = inode->gid;
    }
    return changed;
}

const struct cred *cred_for_exec(const struct cred *old, struct file *file, bool *secure)
{
    struct cred *c = cred_copy(old);
    bool may_gain =
        !old->no_new_privs && (file->path.mnt == NULL || (file->path.mnt->flags & MS_NOSUID) == 0);
    struct file_caps caps = {0};
    bool changed;

    if (c == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    changed = apply_setid(c, file->inode, may_gain);
    if (may_gain) {
        caps = read_file_caps(file);
    }
    c->suid = c->fsuid = c->euid;
    c->sgid = c->fsgid = c->egid;
    transform_caps(c, old, caps, changed);
    *secure = changed || c->uid != c->euid || c->gid != c->egid ||
              (c->uid != 0 && (c->cap_permitted & ~c->cap_ambient) != 0);
    return c;
}
