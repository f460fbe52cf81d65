/* SPDX-License-Identifier: Apache-2.0 */
/*
 * null(4), zero(4), full(4), random(4). None has state: a file is a plain struct file.
 */
#include "base/heap.h"
#include "base/rand.h"
#include "base/usermem.h"
#include "vfs/dev/dev_priv.h"

#include <linux/random.h>

#define MEM_MAJOR   1
#define RANDOM_BITS 256 /* what Linux says of a pool that is ready */

/* ---- null, zero, full ---- */

static ssize_t null_read(struct file *f, struct uio *u, u64 *pos, u32 rwf)
{
    return 0;
}

/* As on Linux the bytes are not even looked at. */
static ssize_t null_write(struct file *f, struct uio *u, u64 *pos, u32 rwf)
{
    size_t n = uio_left(u);

    uio_advance(u, n);
    return (ssize_t)n;
}

static s64 null_seek(struct file *f, s64 off, int whence)
{
    f->pos = 0;
    return 0;
}

static ssize_t zero_read(struct file *f, struct uio *u, u64 *pos, u32 rwf)
{
    return uio_left(u) == 0 ? 0 : uio_put_zeroes(u, uio_left(u));
}

static ssize_t full_write(struct file *f, struct uio *u, u64 *pos, u32 rwf)
{
    return uio_left(u) == 0 ? 0 : -ENOSPC;
}

static const struct file_ops null_ops = {.name = "/dev/null",
                                         .read = null_read,
                                         .write = null_write,
                                         .seek = null_seek,
                                         .release = file_release_plain};
static const struct file_ops zero_ops = {.name = "/dev/zero",
                                         .read = zero_read,
                                         .write = null_write,
                                         .seek = null_seek,
                                         .release = file_release_plain};
static const struct file_ops full_ops = {.name = "/dev/full",
                                         .read = zero_read,
                                         .write = full_write,
                                         .seek = null_seek,
                                         .release = file_release_plain};
HEAP_OPS(null_ops);
HEAP_OPS(zero_ops);
HEAP_OPS(full_ops);

bool file_is_dev_zero(const struct file *f)
{
    return f->ops == &zero_ops;
}

/* ---- random, urandom ---- */

static ssize_t random_read(struct file *f, struct uio *u, u64 *pos, u32 rwf)
{
    ssize_t done = 0, n = 0;
    u8 chunk[512];

    while (uio_left(u) != 0) {
        size_t len = min(uio_left(u), sizeof(chunk));

        rand_bytes(chunk, len);
        n = uio_put(u, chunk, len);
        if (n <= 0) {
            break;
        }
        done += n;
        if (fiber_is_interrupted()) {
            break;
        }
    }
    return done != 0 ? done : n;
}

static long random_ioctl(struct file *f, u32 cmd, u64 arg, const struct vfs_ctx *ctx)
{
    const int bits = RANDOM_BITS;

    switch (cmd) {
    case RNDGETENTCNT:
        return copy_out(arg, &bits, sizeof(bits));
    case RNDADDTOENTCNT:
    case RNDADDENTROPY:
    case RNDZAPENTCNT:
    case RNDCLEARPOOL:
    case RNDRESEEDCRNG:
        return -EPERM; /* the host's pool is not the guest's to feed */
    default:
        return -EINVAL;
    }
}

static const struct file_ops random_ops = {.name = "/dev/random",
                                           .read = random_read,
                                           .write = null_write,
                                           .seek = null_seek,
                                           .ioctl = random_ioctl,
                                           .release = file_release_plain};
HEAP_OPS(random_ops);

/* ---- open ---- */

static struct file *mem_open(struct inode *inode, const struct path *path, u32 flags,
                             const struct cred *cred, const struct vfs_ctx *ctx)
{
    const struct file_ops *ops = NULL;

    switch (minor(inode->rdev)) {
    case 3:
        ops = &null_ops;
        break;
    case 5:
        ops = &zero_ops;
        break;
    case 7:
        ops = &full_ops;
        break;
    case 8:
    case 9:
        ops = &random_ops;
        break;
    default:
        return ERR_PTR(-ENXIO);
    }
    return file_new_plain(ops, inode, path, flags, cred);
}

void mem_devices_register(void)
{
    chrdev_register(MEM_MAJOR, 3, 7, mem_open);
}
