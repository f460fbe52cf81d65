/* SPDX-License-Identifier: Apache-2.0 */
/* /proc/PID and /proc/PID/task/TID: the directories and their small files. The object of every node
 * is the task, counted. */
#include "base/heap.h"
#include "base/usermem.h"
#include "sentry/kernel/namespace.h"
#include "sentry/kernel/process.h"
#include "sentry/proc/proc_priv.h"
#include "vfs/dentry.h"
#include "vfs/mount.h"

#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>

static void *obj_get(void *obj)
{
    return task_get(obj);
}

static void obj_put(void *obj)
{
    task_put(obj);
}

static void obj_owner(void *obj, u32 *uid, u32 *gid)
{
    const struct cred *c = task_cred_get(obj);

    if (c != NULL) {
        *uid = c->euid;
        *gid = c->egid;
        cred_put(c);
    }
}

const struct pseudo_obj_ops task_obj_ops = {.get = obj_get, .put = obj_put, .owner = obj_owner};
HEAP_OPS(task_obj_ops);

int may_inspect_node(struct pseudo_node *n, u32 flags, const struct cred *cred)
{
    (void)flags;
    (void)cred;
    return task_may_inspect(task_current(), node_task(n)) == 0 ? 0 : -EACCES;
}

/* ---- small files ---- */

static int show_comm(struct pseudo_node *n, struct seqbuf *s)
{
    return seq_printf(s, "%.15s\n", node_task(n)->comm);
}

static ssize_t write_comm(struct pseudo_node *n, struct file *f, const char *text, size_t len)
{
    struct task *t = node_task(n);

    (void)f;
    if (t->tg != task_current()->tg) {
        return -EINVAL;
    }
    spin_lock(&t->vfs_lock);
    snprintf(t->comm, sizeof(t->comm), "%.*s", (int)strcspn(text, "\n"), text);
    spin_unlock(&t->vfs_lock);
    return (ssize_t)len;
}

static int show_wchan(struct pseudo_node *n, struct seqbuf *s)
{
    (void)n;
    return seq_puts(s, "0");
}

static int show_personality(struct pseudo_node *n, struct seqbuf *s)
{
    return seq_printf(s, "%08x\n", node_task(n)->personality);
}

static int show_oom_score(struct pseudo_node *n, struct seqbuf *s)
{
    struct mm *mm = task_mm_get(node_task(n));
    struct mm_usage u = {0};
    u64 score;

    if (mm != NULL) {
        mm_get_usage(mm, &u);
        mm_put(mm);
    }
    score = kernel->total_ram > 0
                ? (u.rss_anon + u.rss_file + u.rss_shmem) * 1000 / kernel->total_ram
                : 0;
    return seq_printf(s, "%lu\n", 666 + score);
}

static int show_oom_adj(struct pseudo_node *n, struct seqbuf *s)
{
    return seq_printf(s, "%d\n", node_task(n)->tg->oom_score_adj);
}

static ssize_t write_oom_adj(struct pseudo_node *n, struct file *f, const char *text, size_t len)
{
    struct thread_group *tg = node_task(n)->tg;
    char *end;
    long v = strtol(text, &end, 10);

    (void)f;
    if (end == text || v < -1000 || v > 1000) {
        return -EINVAL;
    }
    if (v < tg->oom_score_adj && !cred_capable(task_current()->vfs.cred, CAP_SYS_RESOURCE)) {
        return -EACCES;
    }
    tg->oom_score_adj = (s32)v;
    return (ssize_t)len;
}

static int show_cgroup(struct pseudo_node *n, struct seqbuf *s)
{
    (void)n;
    return seq_puts(s, "0::/\n");
}

static int show_unset_id(struct pseudo_node *n, struct seqbuf *s)
{
    (void)n;
    return seq_puts(s, "4294967295");
}

static int show_idmap(struct pseudo_node *n, struct seqbuf *s)
{
    (void)n;
    return seq_printf(s, "%10u %10u %10u\n", 0U, 0U, 4294967295U);
}

static int show_setgroups(struct pseudo_node *n, struct seqbuf *s)
{
    (void)n;
    return seq_puts(s, "allow\n");
}

static int show_timerslack(struct pseudo_node *n, struct seqbuf *s)
{
    return seq_printf(s, "%lu\n", node_task(n)->timer_slack);
}

static int show_syscall(struct pseudo_node *n, struct seqbuf *s)
{
    struct task *t = node_task(n);

    return t->syscall_nr >= 0
               ? seq_printf(s, "%ld 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0\n", t->syscall_nr)
               : seq_puts(s, "running\n");
}

static int show_children(struct pseudo_node *n, struct seqbuf *s)
{
    struct thread_group *child;

    MUTEX_GUARD(&kernel->tasklist);
    TAILQ_FOREACH (child, &node_task(n)->tg->children, sibling) {
        seq_printf(s, "%d ", child->tgid);
    }
    return s->err;
}

/* ---- mounts ---- */

static void emit_seq(void *arg, const char *text, size_t len)
{
    (void)seq_write(arg, text, len);
}

static int mounts_of(struct pseudo_node *n, struct seqbuf *s, bool mountinfo)
{
    struct task *t = node_task(n);
    struct fs_context *fs = task_fs_get(t);
    struct mnt_ns *ns;
    struct path root;

    if (fs == NULL) {
        return -EINVAL;
    }
    spin_lock(&t->vfs_lock);
    ns = t->vfs.mnt_ns != NULL ? mnt_ns_get(t->vfs.mnt_ns) : NULL;
    spin_unlock(&t->vfs_lock);
    fs_context_paths(fs, &root, NULL);
    if (ns != NULL) {
        mnt_ns_show(ns, &root, mountinfo, emit_seq, s);
        mnt_ns_put(ns);
    }
    path_put(&root);
    fs_context_put(fs);
    return s->err;
}

static int show_mounts(struct pseudo_node *n, struct seqbuf *s)
{
    return mounts_of(n, s, false);
}

static int show_mountinfo(struct pseudo_node *n, struct seqbuf *s)
{
    return mounts_of(n, s, true);
}

static u32 poll_mounts(struct pseudo_node *n, u64 *seen, struct poller *p)
{
    struct mnt_ns *ns = node_task(n)->vfs.mnt_ns;
    u64 seq;

    if (ns == NULL) {
        return POLLIN | POLLRDNORM;
    }
    if (p == NULL && *seen == 0) {
        *seen = ns->seq;
    }
    poller_add(p, &ns->changed);
    seq = ns->seq;
    if (seq != *seen) {
        *seen = seq;
        return POLLIN | POLLRDNORM | POLLERR | POLLPRI;
    }
    return POLLIN | POLLRDNORM;
}

/* ---- links ---- */

ssize_t proc_path_text(const struct path *p, char *buf, size_t size)
{
    char *tmp = heap_alloc(PATH_LEN_MAX), *text;
    struct fs_context *fs = task_current()->vfs.fs;
    struct path root;
    ssize_t n;

    if (tmp == NULL) {
        return -ENOMEM;
    }
    fs_context_paths(fs, &root, NULL);
    text = path_text(p, &root, tmp, PATH_LEN_MAX);
    path_put(&root);
    n = IS_ERR(text) ? PTR_ERR(text) : (ssize_t)min(strlen(text), size);
    if (n > 0) {
        memcpy(buf, text, (size_t)n);
    }
    heap_free(tmp);
    return n;
}

enum which_link { LINK_EXE, LINK_CWD, LINK_ROOT };

static int find_link(struct task *t, enum which_link which, struct path *out)
{
    struct fs_context *fs;
    struct file *exe;
    struct mm *mm;

    if (task_may_inspect(task_current(), t) != 0) {
        return -EACCES;
    }
    if (which == LINK_EXE) {
        mm = task_mm_get(t);
        exe = mm != NULL ? mm_exe_file(mm) : NULL;
        if (mm != NULL) {
            mm_put(mm);
        }
        if (exe == NULL) {
            return -ENOENT;
        }
        *out = exe->path;
        path_get(out);
        file_put(exe);
        return 0;
    }
    fs = task_fs_get(t);
    if (fs == NULL) {
        return -ENOENT;
    }
    fs_context_paths(fs, which == LINK_ROOT ? out : NULL, which == LINK_CWD ? out : NULL);
    fs_context_put(fs);
    return 0;
}

static ssize_t link_text(struct pseudo_node *n, enum which_link which, char *buf, size_t size)
{
    struct path p;
    ssize_t ret = find_link(node_task(n), which, &p);

    if (ret == 0) {
        ret = proc_path_text(&p, buf, size);
        path_put(&p);
    }
    return ret;
}

#define LINK_FUNCTIONS(name, which)                                                                \
    static ssize_t name##_readlink(struct pseudo_node *n, const struct vfs_ctx *ctx, char *buf,    \
                                   size_t size)                                                    \
    {                                                                                              \
        (void)ctx;                                                                                 \
        return link_text(n, which, buf, size);                                                     \
    }                                                                                              \
    static int name##_follow(struct pseudo_node *n, const struct vfs_ctx *ctx, struct path *out)   \
    {                                                                                              \
        (void)ctx;                                                                                 \
        return find_link(node_task(n), which, out);                                                \
    }
LINK_FUNCTIONS(exe, LINK_EXE)
LINK_FUNCTIONS(cwd, LINK_CWD)
LINK_FUNCTIONS(root, LINK_ROOT)

/* ---- ns ---- */

static ssize_t ns_readlink(struct pseudo_node *n, const struct vfs_ctx *ctx, char *buf, size_t size)
{
    struct task *t = node_task(n);
    const char *name = n->entry->name;
    u64 ino = 0xeffffffc; /* the initial ones of what we have only one of */

    (void)ctx;
    if (strcmp(name, "mnt") == 0 && t->vfs.mnt_ns != NULL) {
        ino = t->vfs.mnt_ns->ino;
    } else if (strcmp(name, "uts") == 0 && t->uts_ns != NULL) {
        ino = t->uts_ns->ino;
    }
    return min(snprintf(buf, size, "%s:[%lu]", name, ino), (int)size);
}

#define NS_ENTRY(n)                                                                                \
    {                                                                                              \
        .name = (n), .mode = S_IFLNK | 0777, .readlink = ns_readlink                               \
    }
static const struct pseudo_entry ns_entries[] = {
    NS_ENTRY("cgroup"), NS_ENTRY("ipc"),  NS_ENTRY("mnt"), NS_ENTRY("net"),
    NS_ENTRY("pid"),    NS_ENTRY("user"), NS_ENTRY("uts"), PSEUDO_END,
};

/* ---- the directories ---- */

static const struct pseudo_dir_ops task_dir_ops;

#define COMMON_ENTRIES                                                                             \
    {.name = "auxv", .mode = S_IFREG | 0400, .show = show_auxv, .may_open = may_inspect_node},     \
        PSEUDO_FILE("cgroup", 0444, show_cgroup), PSEUDO_FILE("cmdline", 0444, show_cmdline),      \
        PSEUDO_FILE("children", 0444, show_children),                                              \
        PSEUDO_RW("comm", 0644, show_comm, write_comm),                                            \
        PSEUDO_MAGIC("cwd", 0777, cwd_readlink, cwd_follow),                                       \
        {.name = "environ",                                                                        \
         .mode = S_IFREG | 0400,                                                                   \
         .show = show_environ,                                                                     \
         .may_open = may_inspect_node},                                                            \
        PSEUDO_MAGIC("exe", 0777, exe_readlink, exe_follow), PSEUDO_DYN("fd", 0500, &fd_dir_ops),  \
        PSEUDO_DYN("fdinfo", 0555, &fdinfo_dir_ops), PSEUDO_FILE("gid_map", 0644, show_idmap),     \
        PSEUDO_FILE("io", 0400, show_io), PSEUDO_FILE("limits", 0444, show_limits),                \
        PSEUDO_FILE("loginuid", 0644, show_unset_id), PSEUDO_FILE("maps", 0444, show_maps),        \
        {.name = "mem", .mode = S_IFREG | 0600, .open = open_mem},                                 \
        {.name = "mountinfo",                                                                      \
         .mode = S_IFREG | 0444,                                                                   \
         .show = show_mountinfo,                                                                   \
         .poll = poll_mounts},                                                                     \
        {.name = "mounts", .mode = S_IFREG | 0444, .show = show_mounts, .poll = poll_mounts},      \
        PSEUDO_DIR("net", 0555, net_entries), PSEUDO_DIR("ns", 0511, ns_entries),                  \
        PSEUDO_FILE("oom_score", 0444, show_oom_score),                                            \
        PSEUDO_RW("oom_score_adj", 0644, show_oom_adj, write_oom_adj),                             \
        PSEUDO_FILE("personality", 0400, show_personality),                                        \
        PSEUDO_MAGIC("root", 0777, root_readlink, root_follow),                                    \
        PSEUDO_FILE("sched", 0644, show_sched), PSEUDO_FILE("schedstat", 0444, show_schedstat),    \
        PSEUDO_FILE("sessionid", 0444, show_unset_id), PSEUDO_FILE("smaps", 0444, show_smaps),     \
        PSEUDO_FILE("smaps_rollup", 0444, show_smaps_rollup),                                      \
        PSEUDO_FILE("statm", 0444, show_statm), PSEUDO_FILE("status", 0444, show_status),          \
        PSEUDO_FILE("syscall", 0400, show_syscall), PSEUDO_FILE("uid_map", 0644, show_idmap),      \
        PSEUDO_FILE("setgroups", 0644, show_setgroups), PSEUDO_FILE("wchan", 0444, show_wchan)

static const struct pseudo_entry pid_entries[] = {
    COMMON_ENTRIES,
    PSEUDO_FILE("stat", 0444, show_stat),
    PSEUDO_DYN("task", 0555, &task_dir_ops),
    PSEUDO_FILE("timerslack_ns", 0666, show_timerslack),
    PSEUDO_END,
};

static const struct pseudo_entry tid_entries[] = {
    COMMON_ENTRIES,
    PSEUDO_FILE("stat", 0444, show_task_stat),
    PSEUDO_END,
};

static const struct pseudo_entry pid_entry = {
    .name = "pid", .mode = S_IFDIR | 0555, .children = pid_entries};
static const struct pseudo_entry tid_entry = {
    .name = "tid", .mode = S_IFDIR | 0555, .children = tid_entries};

s32 proc_parse_number(struct name name)
{
    s64 v = 0;

    if (name.len == 0 || name.len > 9 || (name.str[0] == '0' && name.len > 1)) {
        return -1;
    }
    for (u32 i = 0; i < name.len; i++) {
        if (name.str[i] < '0' || name.str[i] > '9') {
            return -1;
        }
        v = v * 10 + (name.str[i] - '0');
    }
    return (s32)v;
}

static int found(struct task *t, const struct pseudo_entry *entry, struct pseudo_child *out)
{
    *out = (struct pseudo_child){.entry = entry, .obj = t, .obj_ops = &task_obj_ops};
    return 0;
}

/* Linux finds /proc/TID of any thread, though readdir shows leaders only. */
static int pid_lookup(struct pseudo_node *dir, struct name name, struct pseudo_child *out)
{
    s32 id = proc_parse_number(name);
    struct task *t = id > 0 ? task_find(id) : NULL;

    (void)dir;
    return t != NULL ? found(t, &pid_entry, out) : -ENOENT;
}

static bool still_there(struct pseudo_node *dir, struct name name, struct pseudo_node *child)
{
    s32 id = proc_parse_number(name);
    struct task *t = id > 0 ? task_find(id) : NULL;
    bool same = t != NULL && t == child->obj;

    (void)dir;
    task_put(t);
    return same;
}

static int pid_readdir(struct pseudo_node *dir, u64 pos, struct pseudo_emit *e)
{
    s32 id = (s32)max(pos, 1UL);
    struct task *t;
    char name[16];
    bool more = true;

    (void)dir;
    for (; more && (t = task_next(&id)) != NULL; id++) {
        if (t->tg->leader == t) {
            snprintf(name, sizeof(name), "%d", id);
            more = pseudo_emit(e, name, &pid_entry, (u64)id + 1);
        }
        task_put(t);
    }
    return 0;
}

const struct pseudo_dir_ops pid_dir_ops = {
    .lookup = pid_lookup,
    .readdir = pid_readdir,
    .revalidate = still_there,
};
HEAP_OPS(pid_dir_ops);

static int task_lookup(struct pseudo_node *dir, struct name name, struct pseudo_child *out)
{
    s32 id = proc_parse_number(name);
    struct task *t = id > 0 ? task_find(id) : NULL;

    if (t == NULL || t->tg != node_task(dir)->tg) {
        task_put(t);
        return -ENOENT;
    }
    return found(t, &tid_entry, out);
}

static int task_readdir(struct pseudo_node *dir, u64 pos, struct pseudo_emit *e)
{
    s32 id = (s32)max(pos, 1UL);
    struct task *t;
    char name[16];
    bool more = true;

    for (; more && (t = task_next(&id)) != NULL; id++) {
        if (t->tg == node_task(dir)->tg) {
            snprintf(name, sizeof(name), "%d", id);
            more = pseudo_emit(e, name, &tid_entry, (u64)id + 1);
        }
        task_put(t);
    }
    return 0;
}

static const struct pseudo_dir_ops task_dir_ops = {
    .lookup = task_lookup,
    .readdir = task_readdir,
    .revalidate = still_there,
};
HEAP_OPS(task_dir_ops);
