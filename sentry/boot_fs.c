/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building the guest's mount tree, before any guest code runs: the first donated tree is the root
 * (with a memory layer above, if asked for), then /proc, /sys, /dev, /tmp of the sandbox's own,
 * then the other trees and tmpfs in the order given.
 */
#include "sentry/boot_fs.h"

#include "base/heap.h"
#include "base/host.h"
#include "base/host_fs.h"
#include "base/log.h"
#include "base/memfile.h"
#include "sentry/kernel/creds.h"
#include "sentry/proc/proc.h"
#include "vfs/dentry.h"
#include "vfs/dev/dev.h"
#include "vfs/fdtable.h"
#include "vfs/hostfs/hostfs.h"
#include "vfs/hostfs/stdio.h"
#include "vfs/namei.h"
#include "vfs/overlay/overlay.h"
#include "vfs/tmpfs/tmpfs.h"
#include "vfs/tty.h"

#include <sys/mount.h>

int boot_fs_init(void)
{
    static int (*const steps[])(void) = {vfs_boot, tmpfs_boot, stdio_boot, proc_boot};
    int err = 0;

    for (size_t i = 0; i < ARRAY_SIZE(steps) && err == 0; i++) {
        err = steps[i]();
    }
    if (err == 0) {
        dev_boot();
        tty_boot();
    }
    return err;
}

static struct super *new_tmpfs(u32 mode)
{
    struct tmpfs_options o = tmpfs_default_options;

    o.mode = mode;
    return tmpfs_super_new(&o);
}

static struct super *host_super(const struct boot_tree *tree)
{
    struct hostfs_options options = {
        .writable = tree->mode == BOOT_TREE_RW,
        .revalidate = tree->mode == BOOT_TREE_RW,
        .overflow_is_root = host_geteuid() != 0, /* only one user has a name here */
    };

    return hostfs_super_new(tree->fd, &options);
}

/* Make every directory of `path`, as far as the trees below let us; the look-up tells the rest. */
static int make_directories(const struct vfs_ctx *ctx, const char *path)
{
    char *part = heap_strdup(path);
    int err = part != NULL ? 0 : -ENOMEM;

    for (char *slash = part; err == 0 && slash != NULL; *slash = '/') {
        slash = strchr(slash + 1, '/');
        if (slash != NULL) {
            *slash = '\0';
        }
        err = vfs_mkdir(ctx, AT_FDCWD, part, 0755);
        err = err == -EEXIST || err == -EROFS ? 0 : err;
        if (slash == NULL) {
            break;
        }
    }
    heap_free(part);
    return err;
}

/* Put sb (taken over) on a directory of the guest, which is made if the trees below let us. */
/* The tree below, memory above: as many new inodes as Linux would allow in a tmpfs. */
static struct super *overlay_super(const struct boot_tree *tree)
{
    u64 memory = memfile_limit(memfile) != 0 ? memfile_limit(memfile) : host_total_ram();
    struct overlay_options options = {.max_inodes = memory / PAGE_SIZE / 2};
    struct super *lower = host_super(tree), *upper, *sb;

    if (IS_ERR(lower)) {
        return lower;
    }
    upper = new_tmpfs(0755);
    sb = IS_ERR(upper) ? upper : overlay_super_new(upper, &lower, 1, &options);
    super_put(IS_ERR(upper) ? NULL : upper);
    super_put(lower);
    return sb;
}

static struct super *tree_super(const struct boot_tree *tree)
{
    return tree->mode == BOOT_TREE_OVERLAY ? overlay_super(tree) : host_super(tree);
}

/* Put sb (taken over) on a directory of the guest, which is made if the tree below lets us. */
static int mount_at(const struct vfs_ctx *ctx, struct super *sb, const char *where, u32 flags)
{
    struct path at;
    int err;

    if (IS_ERR(sb)) {
        return (int)PTR_ERR(sb);
    }
    err = path_lookup(ctx, AT_FDCWD, where, LOOKUP_FOLLOW, &at);
    if (err == -ENOENT) {
        err = make_directories(ctx, where);
        if (err == 0) {
            err = path_lookup(ctx, AT_FDCWD, where, LOOKUP_FOLLOW, &at);
        }
    }
    if (err == 0) {
        err = mount_add(ctx->mnt_ns, sb, &at, flags);
        path_put(&at);
    }
    super_put(sb);
    return err;
}

/* What every sandbox has of its own. A root without the directory goes without. */
static int mount_own(const struct vfs_ctx *ctx, const char **what)
{
    static const struct {
        const char *where, *type;
        u32 flags;
    } own[] = {
        {"/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC},
        {"/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY},
        {"/dev", "devtmpfs", MS_NOSUID},
        {"/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC},
        {"/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV},
        {"/tmp", "tmpfs", MS_NOSUID | MS_NODEV},
    };

    for (size_t i = 0; i < ARRAY_SIZE(own); i++) {
        const struct fs_type *type = fs_type_find(own[i].type);
        struct super *sb =
            type != NULL ? type->mount(type, own[i].type, 0, "", ctx) : ERR_PTR(-ENODEV);
        int err = mount_at(ctx, sb, own[i].where, own[i].flags);

        if (err != 0) {
            *what = own[i].where;
            log_info(LOG_VFS, "%s is not mounted: error %d", own[i].where, -err);
        }
    }
    return 0;
}

static int mount_all(const struct vfs_ctx *ctx, const struct boot_config *b, const char **what)
{
    int err = mount_own(ctx, what);

    for (u32 i = 1; i < b->nr_trees && err == 0; i++) {
        *what = b->trees[i].guest_path;
        err = mount_at(ctx, tree_super(&b->trees[i]), *what,
                       b->trees[i].mode == BOOT_TREE_RO ? MS_RDONLY : 0);
    }
    for (char **p = b->tmpfs; p != NULL && *p != NULL && err == 0; p++) {
        *what = *p;
        err = mount_at(ctx, new_tmpfs(01777), *what, MS_NOSUID | MS_NODEV);
    }
    return err;
}

struct mnt_ns *boot_fs_mounts(const struct boot_config *b, const char **what)
{
    struct super *root = tree_super(&b->trees[0]);
    struct vfs_ctx ctx = {.fsize_limit = RLIM_INFINITY};
    struct mnt_ns *ns;
    struct path at;
    int err = -ENOMEM;

    *what = "/";
    if (IS_ERR(root)) {
        return ERR_PTR(PTR_ERR(root));
    }
    ns = mnt_ns_new(root, b->trees[0].mode == BOOT_TREE_RO ? MS_RDONLY : 0);
    super_put(root);
    if (ns == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    mnt_ns_root(ns, &at);
    ctx.mnt_ns = ns;
    ctx.cred = cred_new(0, 0, NULL, 0, true);
    ctx.fs = fs_context_new(&at, &at, 022);
    ctx.fdt = fdtable_new();
    path_put(&at);
    if (ctx.cred != NULL && ctx.fs != NULL && ctx.fdt != NULL) {
        err = mount_all(&ctx, b, what);
    }
    cred_put(ctx.cred);
    fs_context_put(ctx.fs);
    fdtable_put(ctx.fdt);
    if (err != 0) {
        mnt_ns_put(ns);
        return ERR_PTR(err);
    }
    return ns;
}

/* /dev/console belongs to the first process's user, as a login gives a terminal to its user. */
static void own_console(const struct vfs_ctx *ctx)
{
    struct vfs_ctx root = *ctx;
    int err;

    root.cred = cred_new_root();
    if (root.cred != NULL) {
        err = vfs_chown(&root, AT_FDCWD, "/dev/console", ctx->cred->uid, ctx->cred->gid, 0);
        log_debug(LOG_VFS, "owner of /dev/console: %d", err);
        cred_put(root.cred);
    }
}

/* The terminal as /dev/console, so that ttyname(3) finds it; by its own name if there is none. */
static struct file *by_name(struct file *f, const struct vfs_ctx *ctx)
{
    const struct open_how_args how = {.flags = (f->flags & (O_ACCMODE | O_NONBLOCK)) | O_NOCTTY};
    struct file *named;

    if (stdio_tty(f) == NULL) {
        return f;
    }
    own_console(ctx);
    named = vfs_open(ctx, AT_FDCWD, "/dev/console", &how);
    if (IS_ERR(named)) {
        return f;
    }
    file_put(f);
    return named;
}

struct fdtable *boot_fs_fds(const struct boot_config *b, const struct vfs_ctx *ctx)
{
    struct fdtable *fdt = fdtable_new();
    int err = fdt != NULL ? 0 : -ENOMEM;

    for (u32 i = 0; i < b->nr_fds && err >= 0; i++) {
        struct file *f = stdio_file_new(b->fds[i].fd, ctx->cred);

        err = IS_ERR(f) ? (int)PTR_ERR(f)
                        : fd_install(fdt, by_name(f, ctx), b->fds[i].guest_fd,
                                     (u64)b->fds[i].guest_fd + 1, false);
    }
    if (err < 0) {
        if (fdt != NULL) {
            fdtable_put(fdt);
        }
        return ERR_PTR(err);
    }
    return fdt;
}
