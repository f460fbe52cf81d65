/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inotify(7): instances with watches and a queue of events.
 *
 * A mark joins one inode and one instance; it keeps the inode alive, as on Linux. Marks are on the
 * inode's list (struct inotify_marks) and in the instance's idr. Both change under one mutex of the
 * sandbox, marks_mutex (leaf), which event delivery takes too; without any watch nothing here runs
 * (fsnotify.h).
 *
 * Lifetimes: an instance is counted by its file and by nothing else: its release drops all marks
 * first. Events are queued under the instance's own spin lock and read in order. Inode references
 * are dropped after the mutex was let go.
 */
#include "vfs/inotify.h"

#include "base/heap.h"
#include "base/idr.h"
#include "base/usermem.h"
#include "vfs/dentry.h"
#include "vfs/dnotify.h"
#include "vfs/fasync.h"
#include "vfs/fsnotify.h"
#include "vfs/vfs_priv.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>

#define MAX_EVENTS    16384U /* fs.inotify.max_queued_events */
#define MAX_INSTANCES 128U   /* fs.inotify.max_user_instances, here of the sandbox */
#define MAX_WATCHES   65536U /* fs.inotify.max_user_watches */

#define IN_ALL_BITS                                                                                \
    (IN_ALL_EVENTS | IN_UNMOUNT | IN_Q_OVERFLOW | IN_IGNORED | IN_ONLYDIR | IN_DONT_FOLLOW |       \
     IN_EXCL_UNLINK | IN_MASK_CREATE | IN_MASK_ADD | IN_ISDIR | IN_ONESHOT)

struct in_event {
    TAILQ_ENTRY(in_event) link;
    struct inotify_event ev; /* name follows in text */
    char *text;              /* heap or NULL */
};

struct inotify {
    struct file f;
    struct idr marks; /* (marks_mutex) wd -> mark */
    struct spinlock lock;
    TAILQ_HEAD(in_events, in_event) queue; /* (lock) */
    u32 nr_events;                         /* (lock) */
    bool overflowed;                       /* (lock) IN_Q_OVERFLOW is the last event */
    struct waitq wait;
    struct fasync_list fasync;
};

struct in_mark {
    LIST_ENTRY(in_mark) link; /* (marks_mutex) inode's list */
    LIST_ENTRY(in_mark) all;  /* (marks_mutex) */
    struct inotify *in;       /* (c) */
    struct inode *inode;      /* (c) counted */
    s32 wd;                   /* (c) */
    u32 mask;                 /* (marks_mutex) */
};

struct inotify_marks {
    LIST_HEAD(in_mark_list, in_mark) list; /* (marks_mutex) */
};

DEFINE_CACHE(inotify_cache, struct inotify);
DEFINE_CACHE(in_mark_cache, struct in_mark);
DEFINE_CACHE(in_event_cache, struct in_event);
DEFINE_CACHE(inotify_marks_cache, struct inotify_marks);

_Atomic u32 inotify_nr_marks;
static _Atomic u32 nr_instances;
static struct mutex marks_mutex = MUTEX_INIT(LOCK_LEAF);
static LIST_HEAD(all_in_marks, in_mark) all_marks = LIST_HEAD_INITIALIZER(all_marks);
static _Atomic u32 next_cookie;

static const struct file_ops inotify_file_ops;

static struct inotify *inotify_of(const struct file *f)
{
    return container_of(f, struct inotify, f);
}

bool file_is_inotify(const struct file *f)
{
    return f->ops == &inotify_file_ops;
}

/* ---- the queue ---- */

static void event_free(struct in_event *e)
{
    if (e != NULL) {
        heap_free(e->text);
        cache_del(in_event_cache, e);
    }
}

/* Names are padded with NULs to a multiple of the header's size (inotify(7)). */
static u32 padded_len(u32 len)
{
    return len == 0 ? 0 : (u32)ALIGN_UP(len + 1, (u32)sizeof(struct inotify_event));
}

static struct in_event *event_new(s32 wd, u32 mask, u32 cookie, struct name name)
{
    struct in_event *e = cache_new(in_event_cache);

    if (e == NULL) {
        return NULL;
    }
    e->ev = (struct inotify_event){
        .wd = wd, .mask = mask, .cookie = cookie, .len = padded_len(name.len)};
    if (name.len > 0) {
        e->text = heap_alloc(e->ev.len);
        if (e->text == NULL) {
            cache_del(in_event_cache, e);
            return NULL;
        }
        memcpy(e->text, name.str, name.len);
    }
    return e;
}

/* An event equal to the last one is dropped. */
static bool is_repeat(const struct in_event *a, const struct in_event *b)
{
    return a != NULL && a->ev.wd == b->ev.wd && a->ev.mask == b->ev.mask &&
           a->ev.cookie == b->ev.cookie && a->ev.len == b->ev.len &&
           (a->ev.len == 0 || strcmp(a->text, b->text) == 0);
}

static void queue_event(struct inotify *in, s32 wd, u32 mask, u32 cookie, struct name name)
{
    struct in_event *e = event_new(wd, mask, cookie, name);
    struct in_event *drop = NULL;

    spin_lock(&in->lock);
    if (e == NULL || in->nr_events >= MAX_EVENTS) {
        drop = e;
        e = in->overflowed ? NULL : event_new(-1, IN_Q_OVERFLOW, 0, (struct name){0});
        in->overflowed = true;
    } else if (is_repeat(TAILQ_LAST(&in->queue, in_events), e)) {
        drop = e;
        e = NULL;
    }
    if (e != NULL) {
        TAILQ_INSERT_TAIL(&in->queue, e, link);
        in->nr_events++;
    }
    spin_unlock(&in->lock);
    event_free(drop);
    if (e != NULL) {
        (void)waitq_wake(&in->wait, POLLIN | POLLRDNORM, 0);
        fasync_send(&in->fasync, POLL_IN);
    }
}

/* ---- marks; marks_mutex held ---- */

static struct inotify_marks *marks_of(const struct inode *inode)
{
    return atomic_load_explicit(&inode->marks, memory_order_acquire);
}

/* Take the mark out of everything and say so. The caller puts m->inode after the mutex and frees m.
 */
static void mark_unlink(struct in_mark *m)
{
    ASSERT_HELD(&marks_mutex);
    LIST_REMOVE(m, link);
    LIST_REMOVE(m, all);
    (void)idr_remove(&m->in->marks, (u32)m->wd);
    atomic_fetch_sub_explicit(&inotify_nr_marks, 1, memory_order_relaxed);
    queue_event(m->in, m->wd, IN_IGNORED, 0, (struct name){0});
}

static void mark_free(struct in_mark *m)
{
    inode_put(m->inode);
    cache_del(in_mark_cache, m);
}

/* Tell the marks of `inode`; one-shot marks that matched are moved to `gone`. */
static void deliver(struct inode *inode, u32 mask, struct name name, u32 cookie,
                    struct in_mark_list *gone)
{
    struct inotify_marks *marks = marks_of(inode);
    struct in_mark *m, *next;

    if (marks == NULL) {
        return;
    }
    for (m = LIST_FIRST(&marks->list); m != NULL; m = next) {
        next = LIST_NEXT(m, link);
        if ((m->mask & mask & (IN_ALL_EVENTS | IN_UNMOUNT)) == 0) {
            continue;
        }
        queue_event(m->in, m->wd, mask, cookie, name);
        if ((m->mask & IN_ONESHOT) != 0) {
            mark_unlink(m);
            LIST_INSERT_HEAD(gone, m, link);
        }
    }
}

static void free_gone(struct in_mark_list *gone)
{
    struct in_mark *m;

    while ((m = LIST_FIRST(gone)) != NULL) {
        LIST_REMOVE(m, link);
        mark_free(m);
    }
}

void inotify_event(struct inode *inode, u32 mask, struct name name, u32 cookie)
{
    struct in_mark_list gone = LIST_HEAD_INITIALIZER(gone);

    if (name.len != 0) {
        dnotify_event(inode, mask);
    }
    if (marks_of(inode) == NULL) {
        return;
    }
    mutex_lock(&marks_mutex);
    deliver(inode, mask, name, cookie, &gone);
    mutex_unlock(&marks_mutex);
    free_gone(&gone);
}

void inotify_event_dentry(struct dentry *d, u32 mask)
{
    struct in_mark_list gone = LIST_HEAD_INITIALIZER(gone);
    struct inode *inode = dentry_inode(d), *dir;
    struct dentry *parent;
    char text[NAME_LEN_MAX + 1];
    struct name name;

    if (inode == NULL) {
        return;
    }
    mask |= S_ISDIR(inode->mode) ? IN_ISDIR : 0;
    name = dentry_name_snapshot(d, text);
    parent = dentry_parent(d);
    dir = parent != NULL && parent != d ? dentry_inode(parent) : NULL;
    if (dir != NULL) {
        dnotify_event(dir, mask);
    }
    if ((dir != NULL && marks_of(dir) != NULL) || marks_of(inode) != NULL) {
        mutex_lock(&marks_mutex);
        if (dir != NULL) {
            deliver(dir, mask, name, 0, &gone);
        }
        deliver(inode, mask, (struct name){0}, 0, &gone);
        mutex_unlock(&marks_mutex);
    }
    free_gone(&gone);
    if (parent != NULL) {
        dentry_put(parent);
    }
}

void inotify_event_rename(struct inode *old_dir, struct name old_name, struct inode *new_dir,
                          struct name new_name, struct inode *inode)
{
    u32 is_dir = S_ISDIR(inode->mode) ? IN_ISDIR : 0;
    u32 cookie = atomic_fetch_add_explicit(&next_cookie, 1, memory_order_relaxed) + 1;

    inotify_event(old_dir, IN_MOVED_FROM | is_dir, old_name, cookie);
    inotify_event(new_dir, IN_MOVED_TO | is_dir, new_name, cookie);
    inotify_event(inode, IN_MOVE_SELF | is_dir, (struct name){0}, 0);
}

/* Drop every mark of the inode after telling `mask`. */
static void drop_marks(struct inode *inode, u32 mask)
{
    struct in_mark_list gone = LIST_HEAD_INITIALIZER(gone);
    struct inotify_marks *marks = marks_of(inode);
    struct in_mark *m;

    if (marks == NULL) {
        return;
    }
    mutex_lock(&marks_mutex);
    deliver(inode, mask, (struct name){0}, 0, &gone);
    while ((m = LIST_FIRST(&marks->list)) != NULL) {
        mark_unlink(m);
        LIST_INSERT_HEAD(&gone, m, link);
    }
    mutex_unlock(&marks_mutex);
    free_gone(&gone);
}

void inotify_inode_deleted(struct inode *inode)
{
    drop_marks(inode, IN_DELETE_SELF | (S_ISDIR(inode->mode) ? (u32)IN_ISDIR : 0));
}

/* The super's last mount is gone (super_put): marks must not keep its inodes. */
void inotify_unmount(struct super *sb)
{
    for (;;) {
        struct inode *inode = NULL;
        struct in_mark *m;

        mutex_lock(&marks_mutex);
        LIST_FOREACH (m, &all_marks, all) {
            if (m->inode->sb == sb) {
                inode = inode_get(m->inode);
                break;
            }
        }
        mutex_unlock(&marks_mutex);
        if (inode == NULL) {
            return;
        }
        drop_marks(inode, IN_UNMOUNT);
        inode_put(inode);
    }
}

void inotify_inode_fini(struct inode *inode)
{
    struct inotify_marks *marks = marks_of(inode);

    if (marks != NULL) {
        CHECK(LIST_EMPTY(&marks->list), "a freed inode has watches");
        cache_del(inotify_marks_cache, marks);
    }
}

/* ---- watches ---- */

static struct inotify_marks *marks_make(struct inode *inode)
{
    struct inotify_marks *marks = marks_of(inode);

    ASSERT_HELD(&marks_mutex);
    if (marks == NULL) {
        marks = cache_new(inotify_marks_cache);
        if (marks != NULL) {
            LIST_INIT(&marks->list);
            atomic_store_explicit(&inode->marks, marks, memory_order_release);
        }
    }
    return marks;
}

static struct in_mark *find_mark(struct inotify *in, struct inotify_marks *marks)
{
    struct in_mark *m;

    LIST_FOREACH (m, &marks->list, link) {
        if (m->in == in) {
            return m;
        }
    }
    return NULL;
}

static int update_mark(struct in_mark *m, u32 mask)
{
    if ((mask & IN_MASK_CREATE) != 0) {
        return -EEXIST;
    }
    m->mask = (mask & ~(u32)IN_MASK_ADD) | ((mask & IN_MASK_ADD) != 0 ? m->mask : 0);
    return m->wd;
}

static int add_mark(struct inotify *in, struct inode *inode, struct inotify_marks *marks, u32 mask)
{
    struct in_mark *m;
    int wd;

    if (atomic_load_explicit(&inotify_nr_marks, memory_order_relaxed) >= MAX_WATCHES) {
        return -ENOSPC;
    }
    m = cache_new(in_mark_cache);
    if (m == NULL) {
        return -ENOMEM;
    }
    wd = idr_alloc_cyclic(&in->marks, m, 1, INT_MAX);
    if (wd < 0) {
        cache_del(in_mark_cache, m);
        return wd;
    }
    m->in = in;
    m->inode = inode_get(inode);
    m->wd = wd;
    m->mask = mask & ~(u32)(IN_MASK_ADD | IN_MASK_CREATE);
    LIST_INSERT_HEAD(&marks->list, m, link);
    LIST_INSERT_HEAD(&all_marks, m, all);
    atomic_fetch_add_explicit(&inotify_nr_marks, 1, memory_order_relaxed);
    return wd;
}

int inotify_add(struct file *f, struct inode *inode, u32 mask)
{
    struct inotify *in = inotify_of(f);
    struct inotify_marks *marks;
    struct in_mark *m;

    if ((mask & IN_ALL_BITS) == 0 ||
        (mask & (IN_MASK_ADD | IN_MASK_CREATE)) == (IN_MASK_ADD | IN_MASK_CREATE)) {
        return -EINVAL;
    }
    MUTEX_GUARD(&marks_mutex);
    marks = marks_make(inode);
    if (marks == NULL) {
        return -ENOMEM;
    }
    m = find_mark(in, marks);
    return m != NULL ? update_mark(m, mask) : add_mark(in, inode, marks, mask);
}

int inotify_remove(struct file *f, int wd)
{
    struct inotify *in = inotify_of(f);
    struct in_mark *m = NULL;

    mutex_lock(&marks_mutex);
    if (wd > 0) {
        m = idr_find(&in->marks, (u32)wd);
    }
    if (m != NULL) {
        mark_unlink(m);
    }
    mutex_unlock(&marks_mutex);
    if (m == NULL) {
        return -EINVAL;
    }
    mark_free(m);
    return 0;
}

/* ---- the instance as a file ---- */

/* The first event if it fits into `room`: 1; 0 none; -EINVAL too small. */
static int take_event(struct inotify *in, size_t room, struct in_event **out)
{
    struct in_event *e;

    SPIN_GUARD(&in->lock);
    e = TAILQ_FIRST(&in->queue);
    *out = NULL;
    if (e == NULL) {
        return 0;
    }
    if (sizeof(e->ev) + e->ev.len > room) {
        return -EINVAL;
    }
    TAILQ_REMOVE(&in->queue, e, link);
    in->nr_events--;
    if (e->ev.mask == IN_Q_OVERFLOW) {
        in->overflowed = false;
    }
    *out = e;
    return 1;
}

static ssize_t put_event(struct uio *u, const struct in_event *e)
{
    if (uio_put(u, &e->ev, sizeof(e->ev)) != sizeof(e->ev)) {
        return -EFAULT;
    }
    if (e->ev.len > 0 && uio_put(u, e->text, e->ev.len) != (ssize_t)e->ev.len) {
        return -EFAULT;
    }
    return (ssize_t)(sizeof(e->ev) + e->ev.len);
}

static bool has_events(struct inotify *in)
{
    SPIN_GUARD(&in->lock);
    return !TAILQ_EMPTY(&in->queue);
}

static ssize_t inotify_read(struct file *f, struct uio *u, u64 *pos, u32 rwf)
{
    struct inotify *in = inotify_of(f);
    ssize_t done = 0;

    for (;;) {
        struct in_event *e;
        int got = take_event(in, uio_left(u), &e);
        ssize_t n;
        int err;

        if (got > 0) {
            n = put_event(u, e);
            event_free(e);
            if (n < 0) {
                return n; /* EFAULT wins even over events already given, as on Linux */
            }
            done += n;
            continue;
        }
        if (done > 0 || got < 0) {
            return done > 0 ? done : got;
        }
        if (file_nonblock(f) || (rwf & RWF_NOWAIT) != 0) {
            return -EAGAIN;
        }
        err = waitq_wait_event(&in->wait, has_events(in), PARK_INTERRUPTIBLE, CLOCK_NEVER);
        if (err != 0) {
            return err;
        }
    }
}

static u32 inotify_poll(struct file *f, struct poller *p)
{
    struct inotify *in = inotify_of(f);

    poller_add(p, &in->wait);
    return has_events(in) ? POLLIN | POLLRDNORM : 0;
}

static long inotify_ioctl(struct file *f, u32 cmd, u64 arg, const struct vfs_ctx *ctx)
{
    struct inotify *in = inotify_of(f);
    struct in_event *e;
    int bytes = 0;

    if (cmd != FIONREAD) {
        return -ENOTTY;
    }
    spin_lock(&in->lock);
    TAILQ_FOREACH (e, &in->queue, link) {
        bytes += (int)(sizeof(e->ev) + e->ev.len);
    }
    spin_unlock(&in->lock);
    return copy_out(arg, &bytes, sizeof(bytes));
}

static int inotify_fasync(struct file *f, bool on)
{
    return fasync_set(f, on, &inotify_of(f)->fasync);
}

static void inotify_show(struct file *f, char *buf, size_t size)
{
    struct inotify *in = inotify_of(f);
    struct in_mark *m;
    size_t len = 0;

    MUTEX_GUARD(&marks_mutex);
    for (u32 wd = 0; (m = idr_next(&in->marks, &wd)) != NULL; wd++) {
        int n = snprintf(buf + len, size - len,
                         "inotify wd:%x ino:%lx sdev:%lx mask:%x ignored_mask:0\n", (u32)m->wd,
                         (unsigned long)m->inode->ino, (unsigned long)m->inode->sb->dev, m->mask);

        if (n < 0 || (size_t)n >= size - len) {
            buf[len] = '\0';
            return;
        }
        len += (size_t)n;
    }
}

static void inotify_release(struct file *f)
{
    struct inotify *in = inotify_of(f);
    struct in_mark_list gone = LIST_HEAD_INITIALIZER(gone);
    struct in_event *e;
    struct in_mark *m;

    mutex_lock(&marks_mutex);
    for (u32 wd = 0; (m = idr_next(&in->marks, &wd)) != NULL; wd++) {
        mark_unlink(m);
        LIST_INSERT_HEAD(&gone, m, link);
    }
    mutex_unlock(&marks_mutex);
    free_gone(&gone);
    while ((e = TAILQ_FIRST(&in->queue)) != NULL) {
        TAILQ_REMOVE(&in->queue, e, link);
        event_free(e);
    }
    (void)fasync_set(f, false, &in->fasync);
    idr_fini(&in->marks);
    waitq_fini(&in->wait);
    atomic_fetch_sub_explicit(&nr_instances, 1, memory_order_relaxed);
    file_fini(f);
    file_free(&inotify_cache, f);
}

static const struct file_ops inotify_file_ops = {
    .name = "inotify",
    .read = inotify_read,
    .poll = inotify_poll,
    .ioctl = inotify_ioctl,
    .fasync = inotify_fasync,
    .show_fdinfo = inotify_show,
    .release = inotify_release,
};
HEAP_OPS(inotify_file_ops);

struct file *inotify_new(int flags, const struct cred *cred)
{
    struct inotify *in;
    int err;

    if ((flags & ~(IN_CLOEXEC | IN_NONBLOCK)) != 0) {
        return ERR_PTR(-EINVAL);
    }
    if (atomic_load_explicit(&nr_instances, memory_order_relaxed) >= MAX_INSTANCES) {
        return ERR_PTR(-EMFILE);
    }
    in = cache_new(inotify_cache);
    if (in == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    err = file_init_anon(&in->f, &inotify_file_ops, "inotify", O_RDONLY | ((u32)flags & O_NONBLOCK),
                         cred);
    if (err != 0) {
        cache_del(inotify_cache, in);
        return ERR_PTR(err);
    }
    in->f.mode |= FMODE_STREAM | FMODE_NOPOSLOCK;
    idr_init(&in->marks);
    TAILQ_INIT(&in->queue);
    waitq_init(&in->wait);
    fasync_init(&in->fasync);
    atomic_fetch_add_explicit(&nr_instances, 1, memory_order_relaxed);
    return &in->f;
}
