/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tmpfs super blocks: limits, mount options, statfs. A limit of 0 is none.
 */
#include "base/memfile.h"
#include "vfs/tmpfs/tmpfs_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>

DEFINE_CACHE(tmpfs_super_cache, struct tmpfs_super);

struct super *shmem_super; /* of unnamed files; set at boot, found again through any of them */

const struct tmpfs_options tmpfs_default_options = {.mode = 01777};

/* ---- limits ---- */

int tmpfs_charge_pages(struct tmpfs_super *ts, u64 count)
{
    u64 max_pages;

    SPIN_GUARD(&ts->lock);
    max_pages = ts->options.size / PAGE_SIZE;
    if (ts->options.size != 0 &&
        (ts->used_pages > max_pages || count > max_pages - ts->used_pages)) {
        return -ENOSPC;
    }
    ts->used_pages += count;
    return 0;
}

void tmpfs_uncharge_pages(struct tmpfs_super *ts, u64 count)
{
    SPIN_GUARD(&ts->lock);
    ts->used_pages -= count;
}

int tmpfs_charge_inode(struct tmpfs_super *ts)
{
    SPIN_GUARD(&ts->lock);
    if (ts->options.nr_inodes != 0 && ts->used_inodes >= ts->options.nr_inodes) {
        return -ENOSPC;
    }
    ts->used_inodes++;
    return 0;
}

void tmpfs_uncharge_inode(struct tmpfs_super *ts)
{
    SPIN_GUARD(&ts->lock);
    ts->used_inodes--;
}

/* ---- options ---- */

/* "10", "10k", "1g", "50%" (of the sandbox's memory). */
static int parse_size(const char *text, u64 *out)
{
    char *end;
    unsigned long long n;
    unsigned shift = 0;

    if (*text < '0' || *text > '9') {
        return -EINVAL;
    }
    n = strtoull(text, &end, 0);
    switch (*end) {
    case 'k':
    case 'K':
        shift = 10;
        end++;
        break;
    case 'm':
    case 'M':
        shift = 20;
        end++;
        break;
    case 'g':
    case 'G':
        shift = 30;
        end++;
        break;
    case 't':
    case 'T':
        shift = 40;
        end++;
        break;
    case '%':
        n = n > 1000 ? 0 : memfile_limit(memfile) / 100 * n;
        end++;
        break;
    default:
        break;
    }
    if (*end != '\0' || n > (UINT64_MAX >> shift)) {
        return -EINVAL;
    }
    *out = n << shift;
    return 0;
}

static int parse_id(const char *text, unsigned base, u32 *out)
{
    char *end;
    unsigned long n;

    if (*text < '0' || *text > '9') {
        return -EINVAL;
    }
    n = strtoul(text, &end, (int)base);
    if (*end != '\0' || n > UINT32_MAX) {
        return -EINVAL;
    }
    *out = (u32)n;
    return 0;
}

static int parse_option(const char *key, const char *value, struct tmpfs_options *o)
{
    u64 n;
    int err;

    if (strcmp(key, "size") == 0) {
        err = parse_size(value, &n);
        o->size = err == 0 ? ALIGN_UP(min(n, UINT64_MAX - PAGE_SIZE), PAGE_SIZE) : o->size;
    } else if (strcmp(key, "nr_blocks") == 0) {
        err = parse_size(value, &n);
        o->size = err == 0 ? min(n, UINT64_MAX / PAGE_SIZE) * PAGE_SIZE : o->size;
    } else if (strcmp(key, "nr_inodes") == 0) {
        err = parse_size(value, &o->nr_inodes);
    } else if (strcmp(key, "mode") == 0) {
        err = parse_id(value, 8, &o->mode);
        o->mode &= 07777U;
    } else if (strcmp(key, "uid") == 0) {
        err = parse_id(value, 10, &o->uid);
    } else if (strcmp(key, "gid") == 0) {
        err = parse_id(value, 10, &o->gid);
    } else if (strcmp(key, "huge") == 0 || strcmp(key, "mpol") == 0) {
        err = 0; /* advice to a memory manager we do not have */
    } else {
        err = -EINVAL;
    }
    return err;
}

int tmpfs_parse_options(const char *data, struct tmpfs_options *out)
{
    char *copy, *rest, *opt;
    int err = 0;

    if (data == NULL || *data == '\0') {
        return 0;
    }
    copy = heap_strdup(data);
    if (copy == NULL) {
        return -ENOMEM;
    }
    rest = copy;
    while (err == 0 && (opt = strsep(&rest, ",")) != NULL) {
        char *value = strchr(opt, '=');

        if (*opt == '\0' || strcmp(opt, "inode64") == 0 || strcmp(opt, "inode32") == 0 ||
            strcmp(opt, "noswap") == 0) {
            continue;
        }
        if (value == NULL) {
            err = -EINVAL;
            break;
        }
        *value = '\0';
        err = parse_option(opt, value + 1, out);
    }
    heap_free(copy);
    return err;
}

/* ---- super operations ---- */

static int tmpfs_statfs(struct super *sb, struct statfs_info *out)
{
    struct tmpfs_super *ts = tmpfs_sb(sb);

    SPIN_GUARD(&ts->lock);
    out->blocks = ts->options.size / PAGE_SIZE;
    out->bfree = out->blocks > ts->used_pages ? out->blocks - ts->used_pages : 0;
    out->bavail = out->bfree;
    out->files = ts->options.nr_inodes;
    out->ffree = out->files > ts->used_inodes ? out->files - ts->used_inodes : 0;
    return 0;
}

static int tmpfs_remount(struct super *sb, const char *data)
{
    struct tmpfs_super *ts = tmpfs_sb(sb);
    struct tmpfs_options o;
    int err;

    spin_lock(&ts->lock);
    o = ts->options;
    spin_unlock(&ts->lock);
    err = tmpfs_parse_options(data, &o);
    if (err != 0) {
        return err;
    }
    SPIN_GUARD(&ts->lock);
    /* Below what is in use is refused, as is a limit where there was none. */
    if ((o.size != 0 && (o.size / PAGE_SIZE < ts->used_pages || ts->options.size == 0)) ||
        (o.nr_inodes != 0 && (o.nr_inodes < ts->used_inodes || ts->options.nr_inodes == 0))) {
        return -EINVAL;
    }
    ts->options.size = o.size;
    ts->options.nr_inodes = o.nr_inodes;
    return 0;
}

static void tmpfs_show_options(struct super *sb, char *buf, size_t size)
{
    struct tmpfs_super *ts = tmpfs_sb(sb);
    struct tmpfs_options o;
    size_t n = 0;

    spin_lock(&ts->lock);
    o = ts->options;
    spin_unlock(&ts->lock);
    buf[0] = '\0';
    if (o.size != 0) {
        n += (size_t)snprintf(buf, size, ",size=%luk", (unsigned long)(o.size >> 10));
    }
    if (o.nr_inodes != 0 && n < size) {
        n += (size_t)snprintf(buf + n, size - n, ",nr_inodes=%lu", (unsigned long)o.nr_inodes);
    }
    if (o.mode != 01777 && n < size) {
        n += (size_t)snprintf(buf + n, size - n, ",mode=%03o", o.mode);
    }
    if (o.uid != 0 && n < size) {
        n += (size_t)snprintf(buf + n, size - n, ",uid=%u", o.uid);
    }
    if (o.gid != 0 && n < size) {
        (void)snprintf(buf + n, size - n, ",gid=%u", o.gid);
    }
}

static void tmpfs_super_release(struct super *sb)
{
    cache_del(tmpfs_super_cache, tmpfs_sb(sb));
}

static const struct super_ops tmpfs_super_ops = {
    .name = "tmpfs",
    .statfs = tmpfs_statfs,
    .remount = tmpfs_remount,
    .show_options = tmpfs_show_options,
    .release = tmpfs_super_release,
};
HEAP_OPS(tmpfs_super_ops);

struct super *tmpfs_super_new(const struct tmpfs_options *options)
{
    struct tmpfs_super *ts = cache_new(tmpfs_super_cache);
    struct inode *root;

    if (ts == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    ts->options = *options;
    super_init(&ts->sb, &tmpfs_super_ops, "tmpfs", TMPFS_MAGIC);
    root = tmpfs_inode_new(ts, S_IFDIR | options->mode, 0, options->uid, options->gid);
    if (IS_ERR(root)) {
        super_fini(&ts->sb);
        cache_del(tmpfs_super_cache, ts);
        return (struct super *)root;
    }
    ts->sb.root = root;
    return &ts->sb;
}

static struct super *tmpfs_mount(const struct fs_type *type, const char *source, u32 ms_flags,
                                 const char *data, const struct vfs_ctx *ctx)
{
    struct tmpfs_options o = tmpfs_default_options;
    struct super *sb;
    int err;

    o.uid = ctx->cred->fsuid;
    o.gid = ctx->cred->fsgid;
    o.size = ALIGN_DOWN(memfile_limit(memfile) / 2, PAGE_SIZE); /* half of the memory there is */
    err = tmpfs_parse_options(data, &o);
    if (err != 0) {
        return ERR_PTR(err);
    }
    sb = tmpfs_super_new(&o);
    if (!IS_ERR(sb)) {
        sb->type = type->name;
        err = super_set_source(sb, source != NULL ? source : "none");
        if (err != 0) {
            super_put(sb);
            sb = ERR_PTR(err);
        }
    }
    return sb;
}

static struct fs_type tmpfs_type = {.name = "tmpfs", .mount = tmpfs_mount, .no_dev = true};
static struct fs_type ramfs_type = {.name = "ramfs", .mount = tmpfs_mount, .no_dev = true};

int tmpfs_boot(void)
{
    struct super *sb = tmpfs_super_new(&tmpfs_default_options);

    if (IS_ERR(sb)) {
        return (int)PTR_ERR(sb);
    }
    shmem_super = sb;
    fs_type_register(&tmpfs_type);
    fs_type_register(&ramfs_type);
    return 0;
}

void tmpfs_shutdown(void)
{
    super_put(shmem_super);
    shmem_super = NULL;
}
