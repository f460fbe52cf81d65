/* SPDX-License-Identifier: Apache-2.0 */
/*
 * execve(2), execveat(2): load first, then, past the point of no return, become the new program:
 * the other threads of the process are killed, the caller takes the leader's id, and everything
 * execve does not keep is dropped.
 */
#include "base/heap.h"
#include "sentry/kernel/creds.h"
#include "sentry/kernel/futex.h"
#include "sentry/kernel/kernel_priv.h"
#include "sentry/kernel/timer.h"
#include "sentry/loader/loader.h"
#include "vfs/fdtable.h"
#include "vfs/namei.h"

#include <sys/personality.h>

static bool others_are_gone(struct thread_group *tg)
{
    MUTEX_GUARD(&kernel->tasklist);
    return tg->nr_live == 1;
}

/* The old leader is a zombie that keeps the process id: take it over. tasklist held. */
static void take_leaders_tid(struct task *t)
{
    struct thread_group *tg = t->tg;
    struct task *leader = tg->leader;
    s32 tid = t->tid;

    spin_lock(&tg->siglock);
    TAILQ_REMOVE(&tg->threads, leader, tg_link);
    TAILQ_REMOVE(&tg->threads, t, tg_link);
    TAILQ_INSERT_HEAD(&tg->threads, t, tg_link);
    tg->leader = t;
    leader->state = TASK_DEAD;
    t->pdeath_signal = 0;
    t->tid = tg->tgid;
    spin_unlock(&tg->siglock);
    (void)idr_replace(&kernel->pids, t, (u32)tg->tgid);
    (void)idr_remove(&kernel->pids, (u32)tid);
    tg->nr_threads--;
    kernel->nr_tasks--;
    task_put(leader);
}

/* Kill the other threads and wait for them (Linux: de_thread). -EAGAIN: somebody else execs or
 * exits. */
static int become_single(struct task *t)
{
    struct thread_group *tg = t->tg;
    struct task *other;

    spin_lock(&tg->siglock);
    if (tg->group_exit || tg->exec_task != NULL) {
        spin_unlock(&tg->siglock);
        return -EAGAIN;
    }
    tg->exec_task = t;
    TAILQ_FOREACH (other, &tg->threads, tg_link) {
        if (other != t && (other->state == TASK_RUNNING || other->state == TASK_NEW)) {
            task_kick(other, true);
        }
    }
    waitq_wake_all(&tg->stop_wait);
    spin_unlock(&tg->siglock);
    while (!others_are_gone(tg)) {
        (void)!fiber_park(PARK_UNINTERRUPTIBLE, CLOCK_NEVER); /* become_zombie wakes us */
    }
    mutex_lock(&kernel->tasklist);
    if (tg->leader != t) {
        take_leaders_tid(t);
    }
    spin_lock(&tg->siglock);
    tg->exec_task = NULL;
    spin_unlock(&tg->siglock);
    mutex_unlock(&kernel->tasklist);
    return 0;
}

/* A private table of handlers in which what was caught is default again (execve(2)). */
static int reset_handlers(struct task *t)
{
    struct thread_group *tg = t->tg;
    struct sighand *fresh = sighand_new(), *old;

    if (fresh == NULL) {
        return -ENOMEM;
    }
    spin_lock(&tg->siglock);
    old = tg->sighand;
    for (unsigned i = 0; i < ABI_NSIG; i++) {
        if (old->action[i].handler == SIG_IGNORE) {
            fresh->action[i].handler = SIG_IGNORE;
        }
    }
    tg->sighand = fresh;
    spin_unlock(&tg->siglock);
    sighand_put(old);
    return 0;
}

/* Move into the new address space; the old one may die here. */
static void switch_mm(struct task *t, struct exec_image *image, struct pcontext *pctx)
{
    struct mm *old_mm;
    struct pcontext *old_ctx;

    task_note_maxrss(t);
    spin_lock(&t->tg->siglock);
    old_ctx = t->pctx;
    t->pctx = pctx;
    spin_unlock(&t->tg->siglock);
    spin_lock(&t->mm_lock);
    old_mm = t->mm;
    t->mm = image->mm;
    spin_unlock(&t->mm_lock);
    vfork_finish(t);
    if (old_ctx != NULL) {
        platform->context_free(old_ctx);
    }
    if (old_mm != NULL) {
        mm_put(old_mm);
    }
}

static void reset_task(struct task *t, const struct exec_image *image)
{
    spin_lock(&t->vfs_lock);
    memcpy(t->comm, image->comm, sizeof(t->comm));
    spin_unlock(&t->vfs_lock);
    t->altstack = (struct abi_stack){.ss_flags = SS_DISABLE};
    t->clear_child_tid = 0;
    t->set_child_tid = 0;
    t->robust_list = 0;
    t->rseq = 0;
    t->rseq_len = 0;
    t->restart.fn = NULL;
    t->personality &= ~0x0400000U; /* READ_IMPLIES_EXEC */
    t->tg->did_exec = true;
}

/* Past the point of no return: an error here kills the process. */
static int commit(struct task *t, struct exec_image *image, const struct cred *cred)
{
    struct pcontext *pctx;
    struct regs *r;
    int err;

    futex_exit_robust(t);
    pctx = platform->context_new(mm_aspace(image->mm));
    if (IS_ERR(pctx)) {
        mm_put(image->mm);
        return (int)PTR_ERR(pctx);
    }
    switch_mm(t, image, pctx);
    err = reset_handlers(t);
    if (err == 0 && fdtable_is_shared(t->vfs.fdt)) {
        err = task_unshare_files(t);
    }
    if (err != 0) {
        return err;
    }
    fdtable_close_on_exec(t->vfs.fdt);
    timers_exec(t->tg);
    reset_task(t, image);
    if (cred->euid != t->vfs.cred->euid || cred->egid != t->vfs.cred->egid || image->secure) {
        t->pdeath_signal = 0;
    }
    t->tg->dumpable = image->secure ? 0 : 1;
    task_set_cred(t, cred_get(cred));
    r = task_regs(t);
    memset(r, 0, sizeof(*r));
    r->rip = image->entry;
    r->rsp = image->stack;
    r->eflags = 0x202;
    r->cs = REGS_USER_CS;
    r->ss = REGS_USER_SS;
    r->orig_rax = (u64)-1;
    t->syscall_nr = -1;
    return 0;
}

static int load(struct task *t, struct file *file, const char *name, struct arg_block *args,
                struct exec_image *image, const struct cred **cred)
{
    int err;

    *cred = cred_for_exec(t->vfs.cred, file, &image->secure);
    if (IS_ERR(*cred)) {
        return (int)PTR_ERR(*cred);
    }
    image->cred = *cred;
    image->fixed_layout = (t->personality & ADDR_NO_RANDOMIZE) != 0;
    err = loader_load(file, name, args, &t->vfs, task_rlimit(t, RLIMIT_STACK), image);
    if (err != 0) {
        cred_put(*cred);
    }
    return err;
}

/* The common part of the first program's start and of execve. Consumes nothing on error before the
 * commit. */
long task_exec_file(struct task *t, struct file *file, const char *name, struct arg_block *args)
{
    struct exec_image image = {0};
    const struct cred *cred;
    int err = load(t, file, name, args, &image, &cred);

    if (err != 0) {
        return err;
    }
    err = become_single(t);
    if (err != 0) {
        cred_put(cred);
        mm_put(image.mm);
        file_put(image.exe);
        return err;
    }
    err = commit(t, &image, cred);
    cred_put(cred);
    file_put(image.exe);
    if (err != 0) {
        task_exit_group(t, SIGKILL);
    }
    return 0;
}

long task_execve(struct task *t, int dirfd, const char *name, uaddr argv, uaddr envp, u32 at_flags)
{
    AUTOPUT_FILE file = vfs_open_exec(&t->vfs, dirfd, name, at_flags);
    struct arg_block *args;
    long err;

    if (IS_ERR(file)) {
        return PTR_ERR(file);
    }
    args = arg_block_new(task_rlimit(t, RLIMIT_STACK));
    if (args == NULL) {
        return -ENOMEM;
    }
    err = arg_block_add_user(args, argv, false);
    if (err == 0 && arg_block_argc(args) == 0) {
        err = arg_block_add(args, "", false); /* Linux 5.18: never an empty argv */
    }
    if (err == 0) {
        err = arg_block_add_user(args, envp, true);
    }
    if (err == 0) {
        err = task_exec_file(t, file, name, args);
    }
    arg_block_free(args);
    return err;
}
