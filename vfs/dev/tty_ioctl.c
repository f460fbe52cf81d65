/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ioctl_tty(2) on both sides of a pty. As on Linux the terminal settings and the window size are
 * those of the slave, whichever side asks.
 */
#include "base/usermem.h"
#include "vfs/dev/pty_priv.h"
#include "vfs/fdtable.h"
#include "vfs/hooks.h"

#include <asm/termbits.h>
#include <linux/capability.h>
#include <linux/tty.h>
#include <signal.h>
#include <sys/resource.h>

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

/* struct termio: the System V settings. */
struct abi_termio {
    u16 iflag, oflag, cflag, lflag;
    u8 line;
    u8 cc[8];
};
_Static_assert(sizeof(struct abi_termio) == 18, "struct termio");

static int put_int(uaddr arg, int value)
{
    return copy_out(arg, &value, sizeof(value));
}

/* ---- settings ---- */

static long get_termios(struct pty *p, uaddr arg, size_t size)
{
    struct abi_termios t;

    mutex_lock(&p->lock);
    t = p->termios;
    mutex_unlock(&p->lock);
    return copy_out(arg, &t, size);
}

static long get_termio(struct pty *p, uaddr arg)
{
    struct abi_termio o;

    mutex_lock(&p->lock);
    o = (struct abi_termio){.iflag = (u16)p->termios.iflag,
                            .oflag = (u16)p->termios.oflag,
                            .cflag = (u16)p->termios.cflag,
                            .lflag = (u16)p->termios.lflag,
                            .line = p->termios.line};
    memcpy(o.cc, p->termios.cc, sizeof(o.cc));
    mutex_unlock(&p->lock);
    return copy_out(arg, &o, sizeof(o));
}

static bool has_usual_flow(const struct abi_termios *t)
{
    return (t->iflag & IXON) != 0 && t->cc[VSTOP] == 19 && t->cc[VSTART] == 17;
}

/* Lock held. */
static void apply_termios(struct pty *p, const struct abi_termios *t)
{
    struct abi_termios old = p->termios;

    p->termios = *t;
    p->termios.cflag &= ~(u32)(CSIZE | PARENB); /* what a pty always has */
    p->termios.cflag |= CS8 | CREAD;
    ldisc_mode_changed(p, &old);
    if ((old.iflag & IXON) != 0 && (t->iflag & IXON) == 0) {
        ldisc_start(p);
    }
    if (has_usual_flow(&old) != has_usual_flow(t)) {
        u8 now = has_usual_flow(t) ? TIOCPKT_DOSTOP : TIOCPKT_NOSTOP;

        pty_packet_status(p, now, now ^ (TIOCPKT_DOSTOP | TIOCPKT_NOSTOP));
    }
    waitq_wake_all(&p->slave_read); /* VMIN may be smaller now */
}

/* TCSETS and kin: how says NOW, W(ait) or F(lush). Output needs no draining: a pty has no line. */
static long set_termios(struct pty *p, uaddr arg, size_t size, bool flush)
{
    struct abi_termios t;
    int err = tty_hooks->check_change(&p->tty, SIGTTOU);

    if (err != 0) {
        return err;
    }
    mutex_lock(&p->lock);
    t = p->termios;
    mutex_unlock(&p->lock);
    if (copy_in(&t, arg, size) != 0) {
        return -EFAULT;
    }
    MUTEX_GUARD(&p->lock);
    if (flush) {
        ldisc_flush_input(p);
    }
    apply_termios(p, &t);
    return 0;
}

static long set_termio(struct pty *p, uaddr arg, bool flush)
{
    struct abi_termio o;
    struct abi_termios t;
    int err = tty_hooks->check_change(&p->tty, SIGTTOU);

    if (err != 0) {
        return err;
    }
    if (copy_in(&o, arg, sizeof(o)) != 0) {
        return -EFAULT;
    }
    MUTEX_GUARD(&p->lock);
    t = p->termios;
    t.iflag = (t.iflag & 0xffff0000U) | o.iflag;
    t.oflag = (t.oflag & 0xffff0000U) | o.oflag;
    t.cflag = (t.cflag & 0xffff0000U) | o.cflag;
    t.lflag = (t.lflag & 0xffff0000U) | o.lflag;
    t.line = o.line;
    memcpy(t.cc, o.cc, sizeof(o.cc));
    if (flush) {
        ldisc_flush_input(p);
    }
    apply_termios(p, &t);
    return 0;
}

static long get_winsize(struct pty *p, uaddr arg)
{
    struct winsize ws;

    mutex_lock(&p->lock);
    ws = p->winsize;
    mutex_unlock(&p->lock);
    return copy_out(arg, &ws, sizeof(ws));
}

static long set_winsize(struct pty *p, uaddr arg)
{
    struct winsize ws;

    if (copy_in(&ws, arg, sizeof(ws)) != 0) {
        return -EFAULT;
    }
    MUTEX_GUARD(&p->lock);
    if (memcmp(&ws, &p->winsize, sizeof(ws)) != 0) {
        p->winsize = ws;
        tty_hooks->signal_foreground(&p->tty, SIGWINCH);
    }
    return 0;
}

/* ---- flow, flushing, input ---- */

static long flow_control(struct tty_file *tf, u64 arg)
{
    struct pty *p = tf->pty;

    MUTEX_GUARD(&p->lock);
    switch (arg) {
    case TCOOFF:
        ldisc_stop(p);
        return 0;
    case TCOON:
        ldisc_start(p);
        return 0;
    case TCIOFF:
    case TCION:
        if (!tf->is_master) {
            output_raw(p, p->termios.cc[arg == TCIOFF ? VSTOP : VSTART]);
        }
        return 0;
    default:
        return -EINVAL;
    }
}

static long flush_queues(struct tty_file *tf, u64 arg)
{
    struct pty *p = tf->pty;
    bool input = arg == TCIFLUSH || arg == TCIOFLUSH, output = arg == TCOFLUSH || arg == TCIOFLUSH;

    if (!input && !output) {
        return -EINVAL;
    }
    MUTEX_GUARD(&p->lock);
    if (tf->is_master) {
        if (input) {
            output_flush(p);
        }
        return 0;
    }
    if (input) {
        ldisc_flush_input(p);
        pty_packet_status(p, TIOCPKT_FLUSHREAD, 0);
    }
    if (output) {
        output_flush(p);
        pty_packet_status(p, TIOCPKT_FLUSHWRITE, 0);
    }
    return 0;
}

/* Is it the calling task's controlling terminal? */
static bool is_controlling(struct tty *t)
{
    struct tty *tty = tty_hooks->controlling();
    bool same = tty == t;

    tty_put(tty);
    return same;
}

static long fake_input(struct pty *p, uaddr arg, const struct cred *cred)
{
    u8 c;

    if (!is_controlling(&p->tty) && !cred_capable(cred, CAP_SYS_ADMIN)) {
        return -EPERM;
    }
    if (copy_in(&c, arg, 1) != 0) {
        return -EFAULT;
    }
    MUTEX_GUARD(&p->lock);
    if (ldisc_room(p) > 0) {
        ldisc_receive(p, c);
    }
    return 0;
}

/* ---- sessions and groups ---- */

static long set_pgrp(struct tty *tty, uaddr arg)
{
    int err = tty_hooks->check_change(tty, SIGTTOU);
    s32 pgid;

    if (err != 0) {
        return err == -EIO ? -ENOTTY : err;
    }
    if (copy_in(&pgid, arg, sizeof(pgid)) != 0) {
        return -EFAULT;
    }
    return pgid < 0 ? -EINVAL : tty_hooks->set_pgrp(tty, pgid);
}

long tty_job_ioctl(struct tty *tty, bool readable, u32 cmd, u64 arg, const struct vfs_ctx *ctx)
{
    bool admin = cred_capable(ctx->cred, CAP_SYS_ADMIN);
    s32 sid;

    switch (cmd) {
    case TIOCSCTTY:
        return readable || admin ? tty_hooks->acquire(tty, arg == 1 && admin) : -EPERM;
    case TIOCNOTTY:
        return tty_hooks->give_up(tty);
    case TIOCGPGRP:
        return is_controlling(tty) ? put_int(arg, tty_hooks->get_pgrp(tty)) : -ENOTTY;
    case TIOCSPGRP:
        return set_pgrp(tty, arg);
    case TIOCGSID:
        sid = tty_hooks->get_sid(tty);
        return sid != 0 && is_controlling(tty) ? put_int(arg, sid) : -ENOTTY;
    default:
        return -ENOTTY;
    }
}

/* A master asks about its slave, without being controlled by it. */
static long master_job_ioctl(struct tty *tty, u32 cmd, u64 arg)
{
    s32 sid;

    switch (cmd) {
    case TIOCSCTTY:
        return -EINVAL;
    case TIOCGPGRP:
        return put_int(arg, tty_hooks->get_pgrp(tty));
    case TIOCSPGRP:
        return set_pgrp(tty, arg);
    case TIOCGSID:
        sid = tty_hooks->get_sid(tty);
        return sid != 0 ? put_int(arg, sid) : -ENOTTY;
    default: /* TIOCNOTTY */
        return -ENOTTY;
    }
}

/* ---- the master's own ---- */

static long set_flag(struct pty *p, bool *flag, uaddr arg)
{
    int value;

    if (copy_in(&value, arg, sizeof(value)) != 0) {
        return -EFAULT;
    }
    MUTEX_GUARD(&p->lock);
    if (flag == &p->packet && value != 0 && !p->packet) {
        p->packet_status = 0;
    }
    *flag = value != 0;
    return 0;
}

static long master_signal(struct pty *p, u64 sig)
{
    if (sig != SIGINT && sig != SIGQUIT && sig != SIGTSTP) {
        return -EINVAL;
    }
    MUTEX_GUARD(&p->lock);
    tty_hooks->signal_foreground(&p->tty, (int)sig);
    return 0;
}

static long open_peer(struct tty_file *tf, u64 arg, const struct vfs_ctx *ctx)
{
    struct file *f = pts_open_peer(tf, (u32)arg, ctx->cred);

    return IS_ERR(f) ? PTR_ERR(f)
                     : fd_install(ctx->fdt, f, 0, vfs_hooks->current_rlimit(RLIMIT_NOFILE),
                                  (arg & O_CLOEXEC) != 0);
}

static long master_ioctl(struct tty_file *tf, u32 cmd, u64 arg, const struct vfs_ctx *ctx)
{
    struct pty *p = tf->pty;

    if (!tf->is_master) {
        return -ENOTTY;
    }
    switch (cmd) {
    case TIOCGPTN:
        return put_int(arg, (int)p->index);
    case TIOCSPTLCK:
        return set_flag(p, &p->locked, arg);
    case TIOCGPTLCK:
        return put_int(arg, p->locked);
    case TIOCPKT:
        return set_flag(p, &p->packet, arg);
    case TIOCGPKT:
        return put_int(arg, p->packet);
    case TIOCSIG:
        return master_signal(p, arg);
    default: /* TIOCGPTPEER */
        return open_peer(tf, arg, ctx);
    }
}

/* ---- dispatch ---- */

static long set_exclusive(struct pty *p, bool on)
{
    MUTEX_GUARD(&p->lock);
    p->exclusive = on;
    return 0;
}

static long count_bytes(struct tty_file *tf, uaddr arg)
{
    struct pty *p = tf->pty;
    int n;

    mutex_lock(&p->lock);
    n = (int)(tf->is_master ? output_bytes(p) : ldisc_input_bytes(p));
    mutex_unlock(&p->lock);
    return put_int(arg, n);
}

/* Those that a background process may not do. */
static long guarded_ioctl(struct tty_file *tf, u32 cmd, u64 arg)
{
    int err = tf->is_master ? 0 : tty_hooks->check_change(&tf->pty->tty, SIGTTOU);
    int ldisc;

    if (err != 0) {
        return err;
    }
    switch (cmd) {
    case TCXONC:
        return flow_control(tf, arg);
    case TCFLSH:
        return flush_queues(tf, arg);
    case TIOCSETD:
        if (copy_in(&ldisc, arg, sizeof(ldisc)) != 0) {
            return -EFAULT;
        }
        return ldisc == N_TTY ? 0 : -EINVAL;
    default: /* TCSBRK, TCSBRKP: no line to break, nothing to drain */
        return 0;
    }
}

static long misc_ioctl(struct tty_file *tf, u32 cmd, u64 arg, const struct vfs_ctx *ctx)
{
    struct pty *p = tf->pty;

    switch (cmd) {
    case TIOCGWINSZ:
        return get_winsize(p, arg);
    case TIOCSWINSZ:
        return set_winsize(p, arg);
    case TIOCSTI:
        return fake_input(p, arg, ctx->cred);
    case FIONREAD:
        return count_bytes(tf, arg);
    case TIOCOUTQ:
        return put_int(arg, 0); /* what was written is at the master already */
    case TIOCGETD:
        return put_int(arg, N_TTY);
    case TIOCEXCL:
    case TIOCNXCL:
        return set_exclusive(p, cmd == TIOCEXCL);
    case TIOCGEXCL:
        return put_int(arg, p->exclusive);
    case TIOCGDEV:
        return put_int(arg, (int)p->tty.rdev);
    default:
        return -ENOTTY;
    }
}

static long termios_ioctl(struct pty *p, u32 cmd, u64 arg)
{
    switch (cmd) {
    case TCGETS:
        return get_termios(p, arg, ABI_TERMIOS_OLD_SIZE);
    case TCGETS2:
        return get_termios(p, arg, sizeof(struct abi_termios));
    case TCSETS:
    case TCSETSW:
    case TCSETSF:
        return set_termios(p, arg, ABI_TERMIOS_OLD_SIZE, cmd == TCSETSF);
    case TCSETS2:
    case TCSETSW2:
    case TCSETSF2:
        return set_termios(p, arg, sizeof(struct abi_termios), cmd == TCSETSF2);
    case TCGETA:
        return get_termio(p, arg);
    default: /* TCSETA, TCSETAW, TCSETAF */
        return set_termio(p, arg, cmd == TCSETAF);
    }
}

long tty_ioctl(struct file *f, u32 cmd, u64 arg, const struct vfs_ctx *ctx)
{
    struct tty_file *tf = tty_file_of(f);

    if (tty_file_is_hung_up(tf)) {
        return cmd == TIOCSPGRP ? -ENOTTY : -EIO;
    }
    switch (cmd) {
    case TCGETS:
    case TCGETS2:
    case TCSETS:
    case TCSETSW:
    case TCSETSF:
    case TCSETS2:
    case TCSETSW2:
    case TCSETSF2:
    case TCGETA:
    case TCSETA:
    case TCSETAW:
    case TCSETAF:
        return termios_ioctl(tf->pty, cmd, arg);
    case TIOCSCTTY:
    case TIOCNOTTY:
    case TIOCGPGRP:
    case TIOCSPGRP:
    case TIOCGSID:
        return tf->is_master
                   ? master_job_ioctl(&tf->pty->tty, cmd, arg)
                   : tty_job_ioctl(&tf->pty->tty, (f->mode & FMODE_READ) != 0, cmd, arg, ctx);
    case TIOCGPTN:
    case TIOCSPTLCK:
    case TIOCGPTLCK:
    case TIOCPKT:
    case TIOCGPKT:
    case TIOCSIG:
    case TIOCGPTPEER:
        return master_ioctl(tf, cmd, arg, ctx);
    case TCXONC:
    case TCFLSH:
    case TCSBRK:
    case TCSBRKP:
    case TIOCSETD:
        return guarded_ioctl(tf, cmd, arg);
    default:
        return misc_ioctl(tf, cmd, arg, ctx);
    }
}
