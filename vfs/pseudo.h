/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine for generated trees (/proc, /sys, cgroupfs). Content lives in sentry/: tables of
 * entries, one line a name. An example:
 *
 *     static int show_uptime(struct pseudo_node *n, struct seqbuf *s)
 *     {
 *         return seq_printf(s, "%lu.%02lu 0.00\n", ...);
 *     }
 *     static const struct pseudo_entry root[] = {
 *         PSEUDO_FILE("uptime", 0444, show_uptime),
 *         PSEUDO_DIR("sys", 0555, sys_entries),
 *         PSEUDO_LINK("mounts", "self/mounts"),
 *         {.name = "self", .mode = S_IFLNK | 0777, .readlink = self_readlink},
 *         PSEUDO_END,
 *     };
 *     static const struct pseudo_entry proc_root = {
 *         .name = "", .mode = S_IFDIR | 0555, .children = root, .dir = &pid_dir_ops};
 *     sb = pseudo_super_new("proc", PROC_SUPER_MAGIC, &proc_root, NULL);
 *
 * A node is an inode made from an entry plus the object it is about: `obj` (a counted pointer, e.g.
 * a task) and `num` (e.g. a descriptor). Children of a static table inherit both from their
 * directory; a dynamic directory chooses them in its lookup.
 *
 * A file's text is made by `show` in one go at the first read and again by every read at offset 0,
 * without any lock held: show may take any lock and may park. Reads in between see one consistent
 * text. Text is bounded by PSEUDO_TEXT_MAX. Inode numbers are a hash of the path below the root,
 * hence stable.
 */
#ifndef PAVISE_VFS_PSEUDO_H
#define PAVISE_VFS_PSEUDO_H

#include "vfs/vfs.h"

#define PSEUDO_TEXT_MAX  (8 * MiB) /* most text of one file */
#define PSEUDO_WRITE_MAX PAGE_SIZE /* most bytes a write op sees at once */

/* ---- text that grows ---- */

/* The seq_ functions return 0 or -ENOMEM; the error is kept in `err` too, so that a show function
 * may ignore results and return s->err at its end. */
struct seqbuf {
    char *text; /* heap */
    size_t len, cap;
    int err;
};
int seq_printf(struct seqbuf *s, const char *fmt, ...) printf_like(2, 3);
int seq_puts(struct seqbuf *s, const char *str);
int seq_putc(struct seqbuf *s, char c);
int seq_write(struct seqbuf *s, const void *data, size_t len);
/* `str` with every byte of `esc` (and backslash, if it is in esc) as \ooo. */
int seq_escape(struct seqbuf *s, const char *str, const char *esc);
/* Spaces up to column `column` of the current text's last line (maps, smaps). */
int seq_pad(struct seqbuf *s, size_t column);
void seq_fini(struct seqbuf *s);

/* ---- nodes ---- */

struct pseudo_entry;

/* How the object of a node is counted and who owns its files. */
struct pseudo_obj_ops {
    void *(*get)(void *obj);
    void (*put)(void *obj);
    /* uid and gid that stat shows; NULL: root. */
    void (*owner)(void *obj, u32 *uid, u32 *gid);
};

struct pseudo_node {
    struct inode inode;
    const struct pseudo_entry *entry;     /* (c) */
    void *obj;                            /* (c) counted, or NULL */
    const struct pseudo_obj_ops *obj_ops; /* (c) NULL when obj is */
    u64 num;                              /* (c) */
    u64 parent_ino;                       /* (c) */
    bool is_static;                       /* (c) from a table that never hides it */
};
struct pseudo_node *pseudo_node_of(struct inode *inode);
/* The `arg` the super block was made with. */
void *pseudo_super_arg(const struct super *sb);

/* ---- dynamic directories ---- */

/* What a lookup found. obj NULL: inherit the directory's obj, obj_ops and, unless set, num. */
struct pseudo_child {
    const struct pseudo_entry *entry;
    void *obj; /* counted: taken over by the engine */
    const struct pseudo_obj_ops *obj_ops;
    u64 num;
};

struct pseudo_emit;

struct pseudo_dir_ops {
    /* 0, -ENOENT (no such name) or another error. */
    int (*lookup)(struct pseudo_node *dir, struct name name, struct pseudo_child *out);
    /* Emit entries from cookie `pos` on (0: the first) until pseudo_emit says false. Each carries
     * the cookie of the entry behind it. */
    int (*readdir)(struct pseudo_node *dir, u64 pos, struct pseudo_emit *e);
    /* Is a cached child still right? NULL: ask lookup again each time. */
    bool (*revalidate)(struct pseudo_node *dir, struct name name, struct pseudo_node *child);
};
/* From readdir: false when the caller's buffer is full. */
must_check bool pseudo_emit(struct pseudo_emit *e, const char *name,
                            const struct pseudo_entry *entry, u64 next);

/* ---- entries ---- */

struct pseudo_entry {
    const char *name; /* ignored in what dynamic directories return */
    u32 mode;         /* S_IFREG, S_IFDIR or S_IFLNK | permissions */

    /* S_IFDIR: names that are always there, then dynamic ones; either may be NULL. */
    const struct pseudo_entry *children; /* ended by PSEUDO_END */
    const struct pseudo_dir_ops *dir;
    /* Leave a static child out (a name that this directory's object lacks). NULL: all are there. */
    bool (*hide)(struct pseudo_node *dir, const struct pseudo_entry *child);

    /* S_IFREG. show: append the text; 0 or -errno (returned by read). */
    int (*show)(struct pseudo_node *n, struct seqbuf *s);
    /* The bytes of one write(2), copied in and NUL-terminated (len without the NUL, at most
     * PSEUDO_WRITE_MAX). Bytes used or -errno. NULL: -EIO as Linux. */
    ssize_t (*write)(struct pseudo_node *n, struct file *f, const char *text, size_t len);
    /* Called at open, before the file is made: 0 or -errno (ptrace access checks). May be NULL. */
    int (*may_open)(struct pseudo_node *n, u32 flags, const struct cred *cred);
    /* Readiness. *seen is a word of the open file: set at open by a call with p NULL, for
     * comparing generations (mounts). NULL: always ready. */
    u32 (*poll)(struct pseudo_node *n, u64 *seen, struct poller *p);
    /* A file of another kind (mem, pagemap, kmsg): replaces everything above. */
    struct file *(*open)(struct pseudo_node *n, const struct path *path, u32 flags,
                         const struct cred *cred);

    /* S_IFLNK: a fixed target, or readlink; follow makes it a magic link. */
    const char *target;
    ssize_t (*readlink)(struct pseudo_node *n, const struct vfs_ctx *ctx, char *buf, size_t size);
    int (*follow)(struct pseudo_node *n, const struct vfs_ctx *ctx, struct path *out);

    /* Any kind: replaces the check of mode bits (hidepid, fd directories). */
    int (*permission)(struct pseudo_node *n, u32 mask, const struct cred *cred);
    /* Any kind: the size that stat shows (sysfs shows 4096). */
    u64 size;
};

#define PSEUDO_FILE(n, m, show_fn)                                                                 \
    {                                                                                              \
        .name = (n), .mode = S_IFREG | (m), .show = (show_fn)                                      \
    }
#define PSEUDO_RW(n, m, show_fn, write_fn)                                                         \
    {                                                                                              \
        .name = (n), .mode = S_IFREG | (m), .show = (show_fn), .write = (write_fn)                 \
    }
#define PSEUDO_DIR(n, m, table)                                                                    \
    {                                                                                              \
        .name = (n), .mode = S_IFDIR | (m), .children = (table)                                    \
    }
#define PSEUDO_DYN(n, m, ops)                                                                      \
    {                                                                                              \
        .name = (n), .mode = S_IFDIR | (m), .dir = (ops)                                           \
    }
#define PSEUDO_LINK(n, to)                                                                         \
    {                                                                                              \
        .name = (n), .mode = S_IFLNK | 0777, .target = (to)                                        \
    }
#define PSEUDO_MAGIC(n, m, link_fn, follow_fn)                                                     \
    {                                                                                              \
        .name = (n), .mode = S_IFLNK | (m), .readlink = (link_fn), .follow = (follow_fn)           \
    }
#define PSEUDO_END                                                                                 \
    {                                                                                              \
        .name = NULL                                                                               \
    }

/* A super block whose root is `root` (a directory). `arg` is kept for pseudo_super_arg, uncounted.
 * ERR_PTR(-ENOMEM). */
must_check struct super *pseudo_super_new(const char *type, u64 magic,
                                          const struct pseudo_entry *root, void *arg);

#endif
