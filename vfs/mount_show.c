/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of /proc/PID/mounts, mountinfo (proc(5)) and of the paths in them.
 */
#include "vfs/vfs_priv.h"

#include <stdio.h>
#include <sys/sysmacros.h>

/* Where the text goes, and room for one path. */
struct shower {
    void (*emit)(void *arg, const char *text, size_t len);
    void *arg;
    struct path root;
    bool mountinfo;
    char path[PATH_LEN_MAX];
    char text[512];
};
DEFINE_CACHE(shower_cache, struct shower);

static void show(struct shower *s, const char *text)
{
    s->emit(s->arg, text, strlen(text));
}

/* Space, tab, newline, backslash and '#' as \ooo. */
static void show_escaped(struct shower *s, const char *text)
{
    for (const char *run = text;; text++) {
        char esc[8];

        if (*text != '\0' && strchr(" \t\n\\#", *text) == NULL) {
            continue;
        }
        if (text > run) {
            s->emit(s->arg, run, (size_t)(text - run));
        }
        if (*text == '\0') {
            return;
        }
        (void)snprintf(esc, sizeof(esc), "\\%03o", (unsigned char)*text);
        show(s, esc);
        run = text + 1;
    }
}

static void show_options(struct shower *s, u32 flags)
{
    static const struct {
        u32 flag;
        const char *text;
    } names[] = {
        {MS_NOSUID, ",nosuid"},           {MS_NODEV, ",nodev"},
        {MS_NOEXEC, ",noexec"},           {MS_NOATIME, ",noatime"},
        {MS_NODIRATIME, ",nodiratime"},   {MS_RELATIME, ",relatime"},
        {MS_NOSYMFOLLOW, ",nosymfollow"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if ((flags & names[i].flag) != 0) {
            show(s, names[i].text);
        }
    }
}

static void show_super_options(struct shower *s, struct super *sb)
{
    if (sb->ops->show_options != NULL) {
        s->text[0] = '\0';
        sb->ops->show_options(sb, s->text, sizeof(s->text));
        show(s, s->text);
    }
}

/* The mount point as seen from s->root; NULL: not from there. */
static const char *mount_point_text(struct shower *s, struct mount *m)
{
    const struct path p = {.mnt = m, .dentry = m->root};
    char *text = path_text(&p, &s->root, s->path, sizeof(s->path));

    return IS_ERR(text) || text[0] == '(' ? NULL : text;
}

static void show_source(struct shower *s, const struct mount *m)
{
    show_escaped(s, m->sb->source != NULL ? m->sb->source : "none");
}

static void show_mounts_line(struct shower *s, struct mount *m, const char *point)
{
    bool ro = (m->flags & MS_RDONLY) != 0 || atomic_load(&m->sb->read_only);

    show_source(s, m);
    show(s, " ");
    show_escaped(s, point);
    show(s, " ");
    show_escaped(s, m->sb->type);
    show(s, ro ? " ro" : " rw");
    show_options(s, m->flags);
    show_super_options(s, m->sb);
    show(s, " 0 0\n");
}

/* The place of m's root within its file system. */
static void show_root_of(struct shower *s, struct mount *m)
{
    struct path p = {.mnt = m, .dentry = m->root};
    const struct path top = {.mnt = m, .dentry = m->sb->root_dentry};
    char *room = s->path, *text;

    if (p.dentry == top.dentry) {
        show(s, "/");
        return;
    }
    text = dentry_text(p.dentry, room, sizeof(s->path));
    show_escaped(s, IS_ERR(text) ? "/" : text);
}

static void show_mountinfo_line(struct shower *s, struct mount *m)
{
    const char *point;

    (void)snprintf(s->text, sizeof(s->text), "%u %u %u:%u ", m->id, m->parent->id,
                   major(m->sb->dev), minor(m->sb->dev));
    show(s, s->text);
    show_root_of(s, m);
    show(s, " ");
    point = mount_point_text(s, m);
    show_escaped(s, point != NULL ? point : "/");
    show(s, (m->flags & MS_RDONLY) != 0 ? " ro" : " rw");
    show_options(s, m->flags);
    if (m->peer_group != 0) {
        (void)snprintf(s->text, sizeof(s->text), " shared:%u", m->peer_group);
        show(s, s->text);
    }
    if (m->master_group != 0) {
        (void)snprintf(s->text, sizeof(s->text), " master:%u", m->master_group);
        show(s, s->text);
    }
    show(s, m->unbindable ? " unbindable - " : " - ");
    show_escaped(s, m->sb->type);
    show(s, " ");
    show_source(s, m);
    show(s, atomic_load(&m->sb->read_only) ? " ro" : " rw");
    show_super_options(s, m->sb);
    show(s, "\n");
}

void mnt_ns_show(struct mnt_ns *ns, const struct path *root, bool mountinfo,
                 void (*emit)(void *arg, const char *text, size_t len), void *arg)
{
    struct shower *s = cache_new(shower_cache);
    struct mount *m;

    if (s == NULL) {
        return;
    }
    s->emit = emit;
    s->arg = arg;
    s->root = *root;
    s->mountinfo = mountinfo;
    read_lock(&vfs_state->mounts);
    for (m = mount_next(ns->base, ns->base); m != NULL; m = mount_next(m, ns->base)) {
        const char *point = mount_point_text(s, m);

        if (point == NULL) {
            continue;
        }
        if (mountinfo) {
            show_mountinfo_line(s, m);
        } else {
            show_mounts_line(s, m, point);
        }
    }
    read_unlock(&vfs_state->mounts);
    cache_del(shower_cache, s);
}
