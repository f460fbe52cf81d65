/* SPDX-License-Identifier: Apache-2.0 */
/* pidfds: a descriptor for a process (pidfd_open(2)); readable once it is a zombie. */
#include "sentry/kernel/pidfd.h"

#include "base/heap.h"
#include "sentry/kernel/kernel_priv.h"
#include "vfs/fdtable.h"

#include <stdio.h>

struct pidfd_file {
    struct file f;
    struct thread_group *tg; /* (c) counted */
};
DEFINE_CACHE(pidfd_cache, struct pidfd_file);

static struct pidfd_file *to_pidfd(struct file *f)
{
    return container_of(f, struct pidfd_file, f);
}

static u32 pidfd_poll(struct file *f, struct poller *p)
{
    struct thread_group *tg = to_pidfd(f)->tg;

    poller_add(p, &tg->pidfd_wait);
    MUTEX_GUARD(&kernel->tasklist);
    return tg->dead ? POLLIN | POLLRDNORM : 0;
}

static void pidfd_fdinfo(struct file *f, char *buf, size_t size)
{
    s32 pid = to_pidfd(f)->tg->dead ? -1 : to_pidfd(f)->tg->tgid;

    snprintf(buf, size, "Pid:\t%d\nNSpid:\t%d\n", pid, pid);
}

static void pidfd_release(struct file *f)
{
    struct pidfd_file *p = to_pidfd(f);

    file_fini(f);
    tg_put(p->tg);
    cache_del(pidfd_cache, p);
}

static const struct file_ops pidfd_ops = {
    .name = "pidfd",
    .poll = pidfd_poll,
    .show_fdinfo = pidfd_fdinfo,
    .release = pidfd_release,
};
HEAP_OPS(pidfd_ops);

struct file *pidfd_new(struct thread_group *tg, u32 flags, const struct cred *cred)
{
    struct pidfd_file *p = cache_new(pidfd_cache);
    int err;

    if (p == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    err = file_init_anon(&p->f, &pidfd_ops, "[pidfd]", O_RDWR | flags, cred);
    if (err != 0) {
        cache_del(pidfd_cache, p);
        return ERR_PTR(err);
    }
    p->tg = tg_get(tg);
    return &p->f;
}

int pidfd_prepare(struct task *t, struct thread_group *tg, struct file **file)
{
    struct file *f = pidfd_new(tg, 0, t->vfs.cred);

    *file = f;
    if (IS_ERR(f)) {
        return (int)PTR_ERR(f);
    }
    return fd_install(t->vfs.fdt, f, 0, task_rlimit(t, RLIMIT_NOFILE), true);
}

struct thread_group *pidfd_tg(struct file *f)
{
    return f->ops == &pidfd_ops ? tg_get(to_pidfd(f)->tg) : NULL;
}
