/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The caller's terminal inside the sandbox. The host's line discipline edits and echoes; the keys
 * that make signals reach the launcher, which passes them on to the guest's foreground group. What
 * the host cannot do is job control among guest processes, so the terminal also is a struct tty:
 * the first session's controlling terminal, with a foreground group of the guest.
 *
 * It is known as /dev/console, so that ttyname(3) finds it. The first terminal among the donated
 * descriptors is the one; others on the same device share it, any further terminal is only read and
 * written.
 *
 * Not done: TOSTOP for background writers (the flag lives in the host's terminal).
 */
#include "base/heap.h"
#include "base/host.h"
#include "base/usermem.h"
#include "vfs/hostfs/stdio.h"
#include "vfs/hostfs/stdio_priv.h"

#include <asm/termbits.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

struct host_tty {
    struct tty tty;
    struct stdio_host *host; /* (c) its inode is counted */
};
DEFINE_CACHE(host_tty_cache, struct host_tty);

static struct host_tty *host_tty; /* made at boot, stays */

static void host_tty_release(struct tty *tty)
{
    BUG("the sandbox's terminal was freed");
}

static struct file *host_tty_open(struct tty *tty, struct inode *inode, const struct path *path,
                                  u32 flags, const struct cred *cred)
{
    return stdio_file_on(container_of(tty, struct host_tty, tty)->host, inode, path, flags, cred);
}

static const struct tty_ops host_tty_ops = {.release = host_tty_release, .open = host_tty_open};
HEAP_OPS(host_tty_ops);

void stdio_tty_found(struct stdio_host *h)
{
    if (host_tty == NULL) {
        host_tty = cache_new(host_tty_cache);
        if (host_tty == NULL) {
            return; /* then it is a terminal without job control */
        }
        tty_init(&host_tty->tty, &host_tty_ops, makedev(5, 1)); /* as the guest knows it */
        (void)inode_get(&h->inode);
        host_tty->host = h;
    }
    if (host_tty->host->inode.rdev == h->inode.rdev) {
        h->tty = &host_tty->tty;
    }
}

struct tty *stdio_tty(struct file *f)
{
    struct stdio_host *h = stdio_host_of_file(f);

    return h != NULL ? h->tty : NULL;
}

int stdio_tty_check(struct stdio_host *h, int sig)
{
    return h->tty != NULL ? tty_hooks->check_change(h->tty, sig) : 0;
}

/* /dev/console. */
static struct file *console_open(struct inode *inode, const struct path *path, u32 flags,
                                 const struct cred *cred, const struct vfs_ctx *ctx)
{
    if (host_tty == NULL) {
        return ERR_PTR(-ENXIO);
    }
    return stdio_file_on(host_tty->host, inode, path, flags, cred);
}

void stdio_tty_boot(void)
{
    chrdev_register(5, 1, 1, console_open);
}

/* What a terminal may be asked, and how many bytes go in or out. */
struct tty_request {
    u32 cmd;
    bool in;      /* into the terminal: changes it */
    bool guarded; /* not from the background */
    u16 size;
};
static const struct tty_request tty_requests[] = {
    {TCGETS, false, false, sizeof(struct termios)},
    {TCSETS, true, true, sizeof(struct termios)},
    {TCSETSW, true, true, sizeof(struct termios)},
    {TCSETSF, true, true, sizeof(struct termios)},
    {TCGETS2, false, false, sizeof(struct termios2)},
    {TCSETS2, true, true, sizeof(struct termios2)},
    {TCSETSW2, true, true, sizeof(struct termios2)},
    {TCSETSF2, true, true, sizeof(struct termios2)},
    {TIOCGWINSZ, false, false, sizeof(struct winsize)},
    {TIOCSWINSZ, true, false, sizeof(struct winsize)},
    {TIOCOUTQ, false, false, sizeof(int)},
};

static long pass_on(struct stdio_host *h, const struct tty_request *r, u64 arg)
{
    u8 buf[64];
    long ret = r->guarded ? stdio_tty_check(h, SIGTTOU) : 0;

    if (ret == 0 && r->in) {
        ret = copy_in(buf, arg, r->size);
    }
    if (ret == 0) {
        ret = host_ioctl(h->fd, r->cmd, (u64)buf);
    }
    if (ret == 0 && !r->in) {
        ret = copy_out(arg, buf, r->size);
    }
    return ret;
}

long stdio_tty_ioctl(struct stdio_host *h, struct file *f, u32 cmd, u64 arg,
                     const struct vfs_ctx *ctx)
{
    long ret;

    if (cmd == TCSBRK || cmd == TCXONC || cmd == TCFLSH || cmd == TCSBRKP) {
        ret = stdio_tty_check(h, SIGTTOU);
        return ret != 0 ? ret : host_ioctl(h->fd, cmd, arg);
    }
    for (size_t i = 0; i < ARRAY_SIZE(tty_requests); i++) {
        if (tty_requests[i].cmd == cmd) {
            return pass_on(h, &tty_requests[i], arg);
        }
    }
    return h->tty != NULL ? tty_job_ioctl(h->tty, (f->mode & FMODE_READ) != 0, cmd, arg, ctx)
                          : -ENOTTY;
}
