/* SPDX-License-Identifier: Apache-2.0 */
/* The text of /proc/locks and of the lock lines in /proc/PID/fdinfo (proc(5)). */
#include "vfs/locks_priv.h"
#include "vfs/pseudo.h"

#include <sys/sysmacros.h>

static void show_one(struct seqbuf *s, u64 id, const struct file_lock *l, const struct inode *inode)
{
    static const char *const kinds[] = {"FLOCK ", "POSIX ", "OFDLCK"};

    (void)seq_printf(s, "%lu: %s ADVISORY  %s %d %02x:%02x:%lu %lu ", (unsigned long)id,
                     kinds[l->kind], l->type == F_WRLCK ? "WRITE" : "READ ", l->pid,
                     major(inode->sb->dev), minor(inode->sb->dev), (unsigned long)inode->ino,
                     (unsigned long)l->start);
    if (l->end == INT64_MAX) {
        (void)seq_puts(s, "EOF\n");
    } else {
        (void)seq_printf(s, "%lu\n", (unsigned long)l->end);
    }
}

int locks_show(struct seqbuf *s)
{
    struct file_lock_ctx *ctx;
    struct file_lock *l;
    u64 id = 1;

    MUTEX_GUARD(&locks_mutex);
    TAILQ_FOREACH (ctx, &locks_all, all) {
        TAILQ_FOREACH (l, &ctx->flocks, link) {
            show_one(s, id++, l, ctx->inode);
        }
        TAILQ_FOREACH (l, &ctx->posix, link) {
            show_one(s, id++, l, ctx->inode);
        }
    }
    return s->err;
}

int locks_show_file(struct file *f, const void *owner, struct seqbuf *s)
{
    struct file_lock_ctx *ctx = atomic_load_explicit(&f->inode->locks, memory_order_acquire);
    struct file_lock *l;
    u64 id = 1;

    if (ctx == NULL) {
        return 0;
    }
    MUTEX_GUARD(&locks_mutex);
    TAILQ_FOREACH (l, &ctx->flocks, link) {
        if (l->owner == f) {
            (void)seq_puts(s, "lock:\t");
            show_one(s, id++, l, f->inode);
        }
    }
    TAILQ_FOREACH (l, &ctx->posix, link) {
        if (l->owner == (l->kind == KIND_OFD ? f : owner)) {
            (void)seq_puts(s, "lock:\t");
            show_one(s, id++, l, f->inode);
        }
    }
    return s->err;
}
