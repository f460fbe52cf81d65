/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mount tree: what a sentry could reach on the host if it were taken over, and no more. It is a
 * read-only memory file system whose only entries are the container's trees, "0", "1", ...: each a
 * recursive bind of a host directory (or file), without devices and set-user-id programs, and
 * read-only unless it was shared with --rw. The sentry makes it its root (sentry/lockdown.c) and
 * reaches a tree through the descriptor opened here.
 *
 * Kernel file systems of the host (/proc, /sys, /dev, ...) are covered with an empty directory
 * wherever they are mounted inside a tree: the guest has its own, and what they show of the host is
 * nobody's business.
 *
 * This runs in the child, with all capabilities in its own user and mount namespace, on the new
 * mount API: trees are cloned detached, restricted, and only then attached, so that there is no
 * moment at which they are too open.
 */
#include "runtime/rootfs.h"

#include "runtime/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define TREE_ATTRS (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)

/* A detached memory file system, or -1. */
static int new_tmpfs(struct error *err)
{
    int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);
    int fd = -1;

    if (fs >= 0 && fsconfig(fs, FSCONFIG_SET_STRING, "mode", "0755", 0) == 0 &&
        fsconfig(fs, FSCONFIG_SET_STRING, "size", "64k", 0) == 0 &&
        fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0) {
        fd = fsmount(fs, FSMOUNT_CLOEXEC, TREE_ATTRS | MOUNT_ATTR_NOEXEC);
    }
    if (fd < 0) {
        error_sys(err, "cannot make a memory file system");
    }
    if (fs >= 0) {
        close(fs);
    }
    return fd;
}

static int restrict_mount(int fd, u64 attrs, unsigned flags)
{
    struct mount_attr attr = {.attr_set = attrs};

    return mount_setattr(fd, "", AT_EMPTY_PATH | flags, &attr, sizeof(attr));
}

/* Does this file system show the host's kernel? */
static bool is_kernel_fs(const char *type)
{
    static const char *const types[] = {
        "proc",     "sysfs",     "devtmpfs",    "devpts",    "cgroup",     "cgroup2", "debugfs",
        "tracefs",  "bpf",       "securityfs",  "configfs",  "mqueue",     "fusectl", "pstore",
        "efivarfs", "hugetlbfs", "binfmt_misc", "selinuxfs", "rpc_pipefs", "nfsd",    "functionfs"};

    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        if (strcmp(type, types[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* mountinfo writes blanks, tabs, line feeds and backslashes as \ooo. */
static void unescape(char *s)
{
    char *out = s;

    for (; *s != '\0'; out++) {
        if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] != '\0' && s[3] != '\0') {
            *out = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
            s += 4;
        } else {
            *out = *s++;
        }
    }
    *out = '\0';
}

/* Cover tree/path with a clone of the empty directory `cover`; one that is not there needs none. */
static int hide(int tree, const char *path, int cover, struct error *err)
{
    int clone = open_tree(cover, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    int ret;

    if (clone < 0) {
        return error_sys(err, "cannot clone an empty directory");
    }
    ret = move_mount(clone, "", tree, path, MOVE_MOUNT_F_EMPTY_PATH);
    close(clone);
    if (ret != 0 && errno != ENOENT && errno != ENOTDIR && errno != EACCES) {
        return error_sys(err, "cannot hide /%s", path);
    }
    return 0;
}

/* The part of `path` below `base`, or NULL when it is not strictly inside. */
static const char *path_below(const char *path, const char *base)
{
    size_t len = strcmp(base, "/") == 0 ? 0 : strlen(base);

    if (strncmp(path, base, len) != 0 || path[len] != '/' || path[len + 1] == '\0') {
        return NULL;
    }
    return path + len + 1;
}

/* Cover what mounts of the host's kernel there are below `host`, cloned as `tree`. */
static int hide_kernel_fs(const char *host, int tree, int cover, struct error *err)
{
    char *line = NULL, *mount_point = NULL, *type = NULL;
    size_t size = 0;
    int ret = 0;
    FILE *f = fopen("/proc/self/mountinfo", "re");

    if (f == NULL) {
        return error_sys(err, "cannot read /proc/self/mountinfo");
    }
    while (ret == 0 && getline(&line, &size, f) > 0) {
        const char *dash = strstr(line, " - ");
        const char *below;

        if (dash == NULL || sscanf(line, "%*s %*s %*s %*s %ms", &mount_point) != 1 ||
            sscanf(dash, " - %ms", &type) != 1) {
            continue;
        }
        unescape(mount_point);
        below = path_below(mount_point, host);
        if (below != NULL && is_kernel_fs(type)) {
            ret = hide(tree, below, cover, err);
        }
        free(mount_point);
        free(type);
    }
    free(line);
    fclose(f);
    return ret;
}

/* The entry of the root directory on which tree `index` is mounted: as the tree, a file or not. */
static int make_mount_point(int root, const char *name, int tree, struct error *err)
{
    struct stat st;
    int ret;

    if (fstat(tree, &st) != 0) {
        return error_sys(err, "cannot look at a tree");
    }
    ret = S_ISDIR(st.st_mode) ? mkdirat(root, name, 0755) : mknodat(root, name, S_IFREG | 0644, 0);
    return ret != 0 ? error_sys(err, "cannot make a mount point") : 0;
}

/* Clone, restrict and attach one tree: its descriptor, or -1. */
static int add_tree(int root, u32 index, const struct spec_tree *t, struct error *err)
{
    u64 attrs = TREE_ATTRS | (t->mode == BOOT_TREE_RW ? 0 : MOUNT_ATTR_RDONLY);
    char name[16];
    int fd = open_tree(AT_FDCWD, t->host, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);

    if (fd < 0) {
        return error_sys(err, "cannot open '%s'", t->host);
    }
    snprintf(name, sizeof(name), "%u", index);
    if (restrict_mount(fd, attrs, AT_RECURSIVE) != 0) {
        return error_sys(err, "cannot restrict the tree '%s'", t->host);
    }
    if (make_mount_point(root, name, fd, err) != 0) {
        return -1;
    }
    if (move_mount(fd, "", root, name, MOVE_MOUNT_F_EMPTY_PATH) != 0) {
        return error_sys(err, "cannot attach the tree '%s'", t->host);
    }
    return fd;
}

/* The root of the machine gets its /dev covered in any case: in containers it is a plain tmpfs. */
static int hide_host(const struct spec_tree *t, int tree, int cover, struct error *err)
{
    char *host = realpath(t->host, NULL);
    int ret;

    if (host == NULL) {
        return error_sys(err, "cannot resolve '%s'", t->host);
    }
    ret = hide_kernel_fs(host, tree, cover, err);
    if (ret == 0 && strcmp(host, "/") == 0) {
        ret = hide(tree, "dev", cover, err);
    }
    free(host);
    return ret;
}

static int add_trees(const struct spec *spec, struct boot_config *boot, int cover,
                     struct error *err)
{
    boot->trees = calloc(spec->nr_trees, sizeof(boot->trees[0]));
    if (boot->trees == NULL) {
        return error_set(err, "no memory");
    }
    for (u32 i = 0; i < spec->nr_trees; i++) {
        const struct spec_tree *t = &spec->trees[i];
        int fd = add_tree(boot->root_fd, i, t, err);

        if (fd < 0 || hide_host(t, fd, cover, err) != 0) {
            return -1;
        }
        boot->trees[i] = (struct boot_tree){fd, t->mode, t->guest};
    }
    boot->nr_trees = spec->nr_trees;
    return 0;
}

int rootfs_build(const struct spec *spec, struct boot_config *boot, struct error *err)
{
    int cover;

    /* Mounts that come and go on the host must not come and go here. */
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
        return error_sys(err, "cannot make mounts private");
    }
    boot->root_fd = new_tmpfs(err);
    cover = boot->root_fd < 0 ? -1 : new_tmpfs(err);
    if (cover < 0) {
        return -1;
    }
    /* Attached on top of "/", where no path of ours leads: pivot_root needs it in the tree. */
    if (restrict_mount(cover, MOUNT_ATTR_RDONLY, 0) != 0 ||
        move_mount(boot->root_fd, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) != 0 ||
        move_mount(cover, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) != 0) {
        return error_sys(err, "cannot attach the sandbox's root");
    }
    if (add_trees(spec, boot, cover, err) != 0) {
        return -1;
    }
    close(cover);
    if (restrict_mount(boot->root_fd, MOUNT_ATTR_RDONLY, 0) != 0) {
        return error_sys(err, "cannot make the sandbox's root read-only");
    }
    return 0;
}
