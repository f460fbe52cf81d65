/* SPDX-License-Identifier: Apache-2.0 */
/*
 * devtmpfs: a tmpfs that is born with the nodes of /dev. Each mount is a new one: what a guest adds
 * or removes concerns nobody else.
 */
#include "vfs/dev/dev_priv.h"

#include "vfs/vfs.h"

static const struct {
    const char *name;
    u32 mode; /* type and permissions */
    u32 major, minor;
    const char *target;
} dev_nodes[] = {
    {"null", S_IFCHR | 0666, 1, 3, NULL},
    {"zero", S_IFCHR | 0666, 1, 5, NULL},
    {"full", S_IFCHR | 0666, 1, 7, NULL},
    {"random", S_IFCHR | 0666, 1, 8, NULL},
    {"urandom", S_IFCHR | 0666, 1, 9, NULL},
    {"tty", S_IFCHR | 0666, 5, 0, NULL},
    {"console", S_IFCHR | 0600, 5, 1, NULL},
    {"ptmx", S_IFCHR | 0666, 5, 2, NULL},
    {"fd", S_IFLNK | 0777, 0, 0, "/proc/self/fd"},
    {"stdin", S_IFLNK | 0777, 0, 0, "/proc/self/fd/0"},
    {"stdout", S_IFLNK | 0777, 0, 0, "/proc/self/fd/1"},
    {"stderr", S_IFLNK | 0777, 0, 0, "/proc/self/fd/2"},
    {"pts", S_IFDIR | 0755, 0, 0, NULL},
    {"shm", S_IFDIR | 01777, 0, 0, NULL},
    {"mqueue", S_IFDIR | 01777, 0, 0, NULL},
};

static int make_node(struct inode *dir, size_t i, const struct cred *cred)
{
    struct name name = {dev_nodes[i].name, (u32)strlen(dev_nodes[i].name)};
    u32 mode = dev_nodes[i].mode;
    struct inode *inode;

    if (S_ISLNK(mode)) {
        inode = dir_symlink(dir, name, dev_nodes[i].target, cred);
    } else if (S_ISDIR(mode)) {
        inode = dir_mkdir(dir, name, mode, cred);
    } else {
        inode = dir_mknod(dir, name, mode, makedev(dev_nodes[i].major, dev_nodes[i].minor), cred);
    }
    if (IS_ERR(inode)) {
        return (int)PTR_ERR(inode);
    }
    inode_put(inode);
    return 0;
}

static struct super *devtmpfs_mount(const struct fs_type *type, const char *source, u32 ms_flags,
                                    const char *data, const struct vfs_ctx *ctx)
{
    const struct fs_type *tmpfs = fs_type_find("tmpfs");
    struct super *sb;
    int err = 0;

    sb = tmpfs->mount(tmpfs, source != NULL ? source : "devtmpfs", ms_flags, "mode=755", ctx);
    if (IS_ERR(sb)) {
        return sb;
    }
    sb->type = type->name;
    for (size_t i = 0; i < ARRAY_SIZE(dev_nodes) && err == 0; i++) {
        err = make_node(sb->root, i, ctx->cred);
    }
    if (err != 0) {
        super_put(sb);
        return ERR_PTR(err);
    }
    return sb;
}

static struct fs_type devtmpfs_type = {.name = "devtmpfs", .mount = devtmpfs_mount, .no_dev = true};

void dev_boot(void)
{
    mem_devices_register();
    fs_type_register(&devtmpfs_type);
}
