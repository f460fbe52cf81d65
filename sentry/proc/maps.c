/* SPDX-License-Identifier: Apache-2.0 */
/* /proc/PID/{maps,smaps,cmdline,environ,auxv,mem}: the address space of a task. */
#include "base/heap.h"
#include "sentry/kernel/process.h"
#include "sentry/proc/proc_priv.h"
#include "vfs/dentry.h"

#include <sys/mman.h>
#include <sys/sysmacros.h>

#define ARG_TEXT_MAX (2 * MiB)

/* One line of maps. */
static void vma_line(const struct vma_info *v, struct seqbuf *s, char *tmp)
{
    struct path none = {0};
    size_t start = s->len;
    struct attr a = {0};
    char *text;

    if (v->file != NULL && inode_getattr(v->file->inode, &a) != 0) {
        a = (struct attr){0};
    }
    seq_printf(s, "%08lx-%08lx %c%c%c%c %08lx %02x:%02x %lu ", v->start, v->end,
               (v->prot & PROT_READ) != 0 ? 'r' : '-', (v->prot & PROT_WRITE) != 0 ? 'w' : '-',
               (v->prot & PROT_EXEC) != 0 ? 'x' : '-', (v->flags & MAP_SHARED) != 0 ? 's' : 'p',
               v->off, major(a.dev), minor(a.dev), a.ino);
    if (v->file != NULL || v->name != NULL) {
        while (s->len - start < 73 && seq_putc(s, ' ') == 0) {
        }
        if (v->file != NULL) {
            text = path_text(&v->file->path, &none, tmp, PATH_LEN_MAX);
            seq_escape(s, IS_ERR(text) ? "(too long)" : text, "\n");
        } else {
            seq_puts(s, v->name);
        }
    }
    seq_putc(s, '\n');
}

typedef void (*vma_fn)(const struct vma_info *v, struct seqbuf *s, char *tmp, void *arg);

static int for_each_vma(struct task *t, struct seqbuf *s, vma_fn fn, void *arg)
{
    char *tmp = heap_alloc(PATH_LEN_MAX);
    struct mm *mm = task_mm_get(t);
    struct vma_info v;
    uaddr at = 0;

    while (tmp != NULL && mm != NULL && mm_next_vma(mm, at, &v) == 0) {
        at = v.end;
        fn(&v, s, tmp, arg);
        file_put(v.file);
    }
    if (mm != NULL) {
        mm_put(mm);
    }
    heap_free(tmp);
    return tmp == NULL ? -ENOMEM : s->err;
}

static int check(struct task *t)
{
    return task_may_inspect(task_current(), t) == 0 ? 0 : -EACCES;
}

static void maps_fn(const struct vma_info *v, struct seqbuf *s, char *tmp, void *arg)
{
    (void)arg;
    vma_line(v, s, tmp);
}

int show_maps(struct pseudo_node *n, struct seqbuf *s)
{
    int err = check(node_task(n));

    return err != 0 ? err : for_each_vma(node_task(n), s, maps_fn, NULL);
}

struct smaps_sum {
    u64 rss, dirty, shared, locked, anon;
};

static void smaps_body(struct seqbuf *s, u64 size, const struct smaps_sum *m)
{
    if (size != 0) {
        seq_printf(s, "Size:           %8lu kB\nKernelPageSize: %8u kB\nMMUPageSize:    %8u kB\n",
                   size / KiB, 4U, 4U);
    }
    seq_printf(s,
               "Rss:            %8lu kB\nPss:            %8lu kB\nShared_Clean:   %8u "
               "kB\nShared_Dirty:   %8lu kB\n"
               "Private_Clean:  %8lu kB\nPrivate_Dirty:  %8lu kB\nReferenced:     %8lu "
               "kB\nAnonymous:      %8lu kB\n"
               "LazyFree:       %8u kB\nAnonHugePages:  %8u kB\nSwap:           %8u kB\nSwapPss:   "
               "     %8u kB\n"
               "Locked:         %8lu kB\n",
               m->rss / KiB, m->rss / KiB, 0U, m->shared / KiB,
               (m->rss - min(m->rss, m->dirty + m->shared)) / KiB, m->dirty / KiB, m->rss / KiB,
               m->anon / KiB, 0U, 0U, 0U, 0U, m->locked / KiB);
}

static void sum_vma(const struct vma_info *v, struct smaps_sum *m)
{
    m->rss += v->rss;
    m->dirty += v->private_dirty;
    m->shared += v->shared;
    m->locked += v->locked;
    m->anon += v->file == NULL ? v->rss : v->private_dirty;
}

static void smaps_fn(const struct vma_info *v, struct seqbuf *s, char *tmp, void *arg)
{
    struct smaps_sum m = {0};

    (void)arg;
    sum_vma(v, &m);
    vma_line(v, s, tmp);
    smaps_body(s, v->end - v->start, &m);
    seq_printf(s, "THPeligible:           0\nVmFlags:%s%s%s%s mr mw me%s%s%s\n",
               (v->prot & PROT_READ) != 0 ? " rd" : "", (v->prot & PROT_WRITE) != 0 ? " wr" : "",
               (v->prot & PROT_EXEC) != 0 ? " ex" : "", (v->flags & MAP_SHARED) != 0 ? " sh" : "",
               v->locked != 0 ? " lo" : "", v->dontfork ? " dc" : "", v->wipeonfork ? " wf" : "");
}

int show_smaps(struct pseudo_node *n, struct seqbuf *s)
{
    int err = check(node_task(n));

    return err != 0 ? err : for_each_vma(node_task(n), s, smaps_fn, NULL);
}

static void rollup_fn(const struct vma_info *v, struct seqbuf *s, char *tmp, void *arg)
{
    (void)s;
    (void)tmp;
    sum_vma(v, arg);
}

int show_smaps_rollup(struct pseudo_node *n, struct seqbuf *s)
{
    struct smaps_sum m = {0};
    int err = check(node_task(n));

    if (err == 0) {
        err = for_each_vma(node_task(n), s, rollup_fn, &m);
    }
    seq_puts(s, "00400000-7ffffffff000 ---p 00000000 00:00 0 [rollup]\n");
    smaps_body(s, 0, &m);
    return err;
}

/* ---- arguments, environment, auxv ---- */

static int copy_range(struct mm *mm, uaddr start, uaddr end, struct seqbuf *s)
{
    char buf[512];
    ssize_t n;

    if (end < start || end - start > ARG_TEXT_MAX) {
        return 0;
    }
    while (start < end) {
        n = mm_copy_in(mm, buf, start, min(end - start, sizeof(buf)), true);
        if (n <= 0) {
            break;
        }
        seq_write(s, buf, (size_t)n);
        start += (uaddr)n;
    }
    return s->err;
}

int show_cmdline(struct pseudo_node *n, struct seqbuf *s)
{
    struct mm *mm = task_mm_get(node_task(n));
    const struct mm_layout *l;

    if (mm == NULL) {
        return 0;
    }
    l = mm_layout(mm);
    (void)copy_range(mm, l->arg_start, l->arg_end, s);
    /* setproctitle: the terminator was overwritten, the text goes on into the environment. */
    if (s->len > 0 && s->text[s->len - 1] != '\0') {
        size_t before = s->len;

        (void)copy_range(mm, l->env_start, l->env_end, s);
        s->len = strnlen(s->text, s->len);
        s->len = max(s->len, min(before, s->len));
    }
    mm_put(mm);
    return s->err;
}

int show_environ(struct pseudo_node *n, struct seqbuf *s)
{
    struct mm *mm = task_mm_get(node_task(n));

    if (mm != NULL) {
        (void)copy_range(mm, mm_layout(mm)->env_start, mm_layout(mm)->env_end, s);
        mm_put(mm);
    }
    return s->err;
}

int show_auxv(struct pseudo_node *n, struct seqbuf *s)
{
    struct mm *mm = task_mm_get(node_task(n));

    if (mm != NULL) {
        seq_write(s, mm_layout(mm)->auxv, mm_layout(mm)->auxv_len * sizeof(u64));
        mm_put(mm);
    }
    return s->err;
}

/* ---- mem ---- */

struct mem_file {
    struct file f;
    struct mm *mm; /* (c) counted */
};
DEFINE_CACHE(mem_file_cache, struct mem_file);

static ssize_t mem_move(struct file *f, struct uio *u, u64 *pos, bool write)
{
    struct mm *mm = container_of(f, struct mem_file, f)->mm;
    char buf[1024];
    ssize_t done = 0, n = 0;

    while (uio_left(u) > 0) {
        size_t part = min(uio_left(u), sizeof(buf));

        if (write) {
            n = uio_take(u, buf, part);
            n = n > 0 ? mm_copy_out(mm, *pos, buf, (size_t)n, true) : n;
        } else {
            n = mm_copy_in(mm, buf, *pos, part, true);
            n = n > 0 ? uio_put(u, buf, (size_t)n) : n;
        }
        if (n <= 0) {
            break;
        }
        done += n;
        *pos += (u64)n;
    }
    return done > 0 ? done : n == -EFAULT ? -EIO : n;
}

static ssize_t mem_read(struct file *f, struct uio *u, u64 *pos, u32 rwf)
{
    (void)rwf;
    return mem_move(f, u, pos, false);
}

static ssize_t mem_write(struct file *f, struct uio *u, u64 *pos, u32 rwf)
{
    (void)rwf;
    return mem_move(f, u, pos, true);
}

static s64 mem_seek(struct file *f, s64 off, int whence)
{
    if (whence == SEEK_CUR) {
        off += (s64)f->pos;
    } else if (whence != SEEK_SET) {
        return -EINVAL;
    }
    f->pos = (u64)off;
    return off;
}

static void mem_release(struct file *f)
{
    struct mem_file *m = container_of(f, struct mem_file, f);

    file_fini(f);
    mm_put(m->mm);
    cache_del(mem_file_cache, m);
}

static const struct file_ops mem_file_ops = {
    .name = "proc mem",
    .read = mem_read,
    .write = mem_write,
    .seek = mem_seek,
    .release = mem_release,
};
HEAP_OPS(mem_file_ops);

struct file *open_mem(struct pseudo_node *n, const struct path *path, u32 flags,
                      const struct cred *cred)
{
    struct mem_file *m;
    struct mm *mm;

    if (check(node_task(n)) != 0) {
        return ERR_PTR(-EACCES);
    }
    mm = task_mm_get(node_task(n));
    m = mm != NULL ? cache_new(mem_file_cache) : NULL;
    if (m == NULL) {
        if (mm != NULL) {
            mm_put(mm);
        }
        return ERR_PTR(mm != NULL ? -ENOMEM : -ESRCH);
    }
    m->mm = mm;
    file_init(&m->f, &mem_file_ops, &n->inode, path, flags, cred);
    return &m->f;
}
