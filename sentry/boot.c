/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The boot document: struct boot_config as bytes. One function, walk_config, visits every field in
 * order and serves both directions, so that writer and reader cannot get out of step. Numbers are
 * 8 bytes in host order; a string is its length (NONE: NULL) and its bytes; an array its count
 * and its elements.
 *
 * The writer is the launcher, which the sentry trusts; the reader checks all the same, because it
 * costs nothing: every length against what is left, every count against what it could hold.
 */
#include "sentry/boot.h"

#include "base/err.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define BOOT_MAGIC    0x31657369766150ULL /* "Pavise1" */
#define BOOT_SIZE_MAX (64 * MiB)
#define NONE          UINT64_MAX

/* A cursor over the document. */
struct codec {
    bool encode;
    bool failed; /* out of memory, or a damaged document: sticky */
    u8 *buf;
    size_t len; /* encode: bytes written; decode: bytes in all */
    size_t cap; /* encode: room; decode: bytes read */
};

static void put_bytes(struct codec *c, const void *p, size_t len)
{
    if (c->failed) {
        return;
    }
    if (len > c->cap - c->len) {
        size_t cap = c->cap + max(c->cap, len);
        u8 *buf = cap <= BOOT_SIZE_MAX ? realloc(c->buf, cap) : NULL;

        if (buf == NULL) {
            c->failed = true;
            return;
        }
        c->buf = buf;
        c->cap = cap;
    }
    memcpy(c->buf + c->len, p, len);
    c->len += len;
}

/* The next `len` bytes of the document, or NULL. */
static const u8 *get_bytes(struct codec *c, size_t len)
{
    const u8 *p = c->buf + c->cap;

    if (c->failed || len > c->len - c->cap) {
        c->failed = true;
        return NULL;
    }
    c->cap += len;
    return p;
}

static void walk_u64(struct codec *c, u64 *v)
{
    const u8 *p;

    if (c->encode) {
        put_bytes(c, v, sizeof(*v));
        return;
    }
    p = get_bytes(c, sizeof(*v));
    if (p != NULL) {
        memcpy(v, p, sizeof(*v));
    }
}

static void walk_u32(struct codec *c, u32 *v)
{
    u64 wide = *v;

    walk_u64(c, &wide);
    *v = (u32)wide;
}

static void walk_int(struct codec *c, int *v)
{
    u64 wide = (u64)(s64)*v;

    walk_u64(c, &wide);
    *v = (int)wide;
}

/* A count of elements, each at least `size` bytes in the document, and room for them. */
static void *walk_array(struct codec *c, u64 *count, void *array, size_t size, size_t doc_size)
{
    walk_u64(c, count);
    if (c->encode || c->failed) {
        return array;
    }
    if (*count > (c->len - c->cap) / doc_size) {
        c->failed = true;
        return NULL;
    }
    array = calloc(*count + 1, size); /* one more: vectors end with NULL */
    c->failed = array == NULL;
    return array;
}

static void walk_str(struct codec *c, char **s)
{
    u64 len = c->encode && *s != NULL ? strlen(*s) : NONE;
    const u8 *p;

    walk_u64(c, &len);
    if (len == NONE) {
        return;
    }
    if (c->encode) {
        put_bytes(c, *s != NULL ? *s : "", len);
        return;
    }
    p = get_bytes(c, len);
    *s = p == NULL ? NULL : strndup((const char *)p, len);
    c->failed = *s == NULL;
}

static void walk_strv(struct codec *c, char ***v)
{
    u64 count = 0;

    while (c->encode && *v != NULL && (*v)[count] != NULL) {
        count++;
    }
    *v = walk_array(c, &count, *v, sizeof(char *), sizeof(u64));
    for (u64 i = 0; i < count && !c->failed; i++) {
        walk_str(c, &(*v)[i]);
    }
}

static void walk_trees(struct codec *c, struct boot_config *b)
{
    u64 count = b->nr_trees;

    b->trees = walk_array(c, &count, b->trees, sizeof(b->trees[0]), 3 * sizeof(u64));
    b->nr_trees = (u32)count;
    for (u32 i = 0; i < b->nr_trees && !c->failed; i++) {
        walk_int(c, &b->trees[i].fd);
        walk_u32(c, &b->trees[i].mode);
        walk_str(c, &b->trees[i].guest_path);
    }
}

static void walk_fds(struct codec *c, struct boot_config *b)
{
    u64 count = b->nr_fds;

    b->fds = walk_array(c, &count, b->fds, sizeof(b->fds[0]), 2 * sizeof(u64));
    b->nr_fds = (u32)count;
    for (u32 i = 0; i < b->nr_fds && !c->failed; i++) {
        walk_int(c, &b->fds[i].guest_fd);
        walk_int(c, &b->fds[i].fd);
    }
}

static void walk_numbers(struct codec *c, struct boot_config *b)
{
    u64 groups = b->nr_groups;
    u64 limits = b->nr_rlimits;

    b->groups = walk_array(c, &groups, b->groups, sizeof(u32), sizeof(u64));
    b->nr_groups = (u32)groups;
    for (u32 i = 0; i < b->nr_groups && !c->failed; i++) {
        walk_u32(c, &b->groups[i]);
    }
    b->rlimits = walk_array(c, &limits, b->rlimits, sizeof(u64), sizeof(u64));
    b->nr_rlimits = (u32)limits;
    for (u32 i = 0; i < b->nr_rlimits && !c->failed; i++) {
        walk_u64(c, &b->rlimits[i]);
    }
}

/* Every field, in one order for both directions. */
static void walk_config(struct codec *c, struct boot_config *b)
{
    u64 magic = BOOT_MAGIC;

    walk_u64(c, &magic);
    c->failed = c->failed || magic != BOOT_MAGIC;
    walk_strv(c, &b->argv);
    walk_strv(c, &b->envp);
    walk_str(c, &b->cwd);
    walk_u32(c, &b->uid);
    walk_u32(c, &b->gid);
    walk_u32(c, &b->umask);
    walk_u64(c, &b->sig_ignored);
    walk_u64(c, &b->sig_blocked);
    walk_numbers(c, b);
    walk_str(c, &b->hostname);
    walk_trees(c, b);
    walk_strv(c, &b->tmpfs);
    walk_fds(c, b);
    walk_u64(c, &b->memory_limit);
    walk_u32(c, &b->cpus);
    walk_u32(c, &b->pids);
    walk_str(c, &b->platform);
    walk_str(c, &b->strace);
    walk_str(c, &b->log);
    walk_u64(c, &b->sched_seed);
    walk_u32(c, &b->count_unsupported);
    walk_u32(c, &b->filter_log);
    walk_int(c, &b->root_fd);
    walk_int(c, &b->control_fd);
    walk_int(c, &b->log_fd);
}

static int write_all(int fd, const u8 *p, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, p, len);

        if (n < 0) {
            return -errno;
        }
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

int boot_encode(struct boot_config *config)
{
    struct codec c = {.encode = true};
    int fd, err;

    walk_config(&c, config);
    if (c.failed) {
        free(c.buf);
        return -ENOMEM;
    }
    fd = memfd_create("pavise-boot", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    err = fd < 0 ? -errno : write_all(fd, c.buf, c.len);
    free(c.buf);
    if (err == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK) != 0) {
        err = -errno;
    }
    if (err != 0 && fd >= 0) {
        close(fd);
    }
    return err != 0 ? err : fd;
}

/* Does it hold what the sentry takes for granted? */
static bool is_complete(const struct boot_config *b)
{
    bool ok = b->argv != NULL && b->argv[0] != NULL && b->cwd != NULL && b->cwd[0] == '/' &&
              b->hostname != NULL && b->platform != NULL && b->nr_trees > 0 && b->cpus > 0;

    for (u32 i = 0; ok && i < b->nr_trees; i++) {
        const struct boot_tree *t = &b->trees[i];

        ok = t->mode < BOOT_TREE_MODES && t->guest_path != NULL && t->guest_path[0] == '/';
    }
    return ok;
}

struct boot_config *boot_decode(int fd)
{
    struct boot_config *b = calloc(1, sizeof(*b));
    struct codec c = {.encode = false};
    struct stat st;

    if (b == NULL || fstat(fd, &st) != 0 || st.st_size <= 0 || (u64)st.st_size > BOOT_SIZE_MAX) {
        return NULL;
    }
    c.len = (size_t)st.st_size;
    c.buf = malloc(c.len);
    if (c.buf == NULL || pread(fd, c.buf, c.len, 0) != st.st_size) {
        return NULL;
    }
    walk_config(&c, b);
    free(c.buf);
    return c.failed || !is_complete(b) ? NULL : b;
}
