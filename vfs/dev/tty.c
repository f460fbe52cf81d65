/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The open files of a pty pair: reading, writing and readiness of both sides.
 *
 * Life: pts.c makes the pair when ptmx is opened. Every open file counts it, and so does the
 * session whose controlling terminal it is, and the inode in devpts. When the master is closed the
 * slave's files are hung up: reads end, writes give EIO (p->hangups moves past the number each file
 * remembers). When the last slave file is closed the master reads EIO until somebody opens it
 * again.
 *
 * Bytes go through a buffer on the stack, so that p->lock is never held while guest memory is
 * touched. Waiting follows the usual rule: queue first, then look, then park.
 */
#include "base/clock.h"
#include "base/heap.h"
#include "vfs/dev/pty_priv.h"

#include <asm/termbits.h>
#include <signal.h>

#define CHUNK 1024U

DEFINE_CACHE(tty_file_cache, struct tty_file);

static const struct file_ops tty_file_ops;

bool file_is_tty(const struct file *f)
{
    return f->ops == &tty_file_ops;
}

/* ---- struct tty ---- */

void tty_init(struct tty *tty, const struct tty_ops *ops, u64 rdev)
{
    ref_init(&tty->ref);
    tty->ops = ops;
    tty->rdev = rdev;
}

struct tty *tty_get(struct tty *tty)
{
    ref_get(&tty->ref);
    return tty;
}

void tty_put(struct tty *tty)
{
    if (tty != NULL && ref_put(&tty->ref)) {
        tty->ops->release(tty);
    }
}

/* Something for a master in packet mode (TIOCPKT). Lock held. */
void pty_packet_status(struct pty *p, u8 set, u8 clear)
{
    if (p->packet) {
        p->packet_status = (u8)((p->packet_status & ~clear) | set);
        (void)waitq_wake(&p->master_read, POLLIN | POLLRDNORM | POLLPRI, 0);
    }
}

/* ---- the slave reads ---- */

static bool slave_can_read(struct tty_file *tf)
{
    MUTEX_GUARD(&tf->pty->lock);
    return tty_file_is_hung_up(tf) || ldisc_readable(tf->pty, 1);
}

/* VMIN and VTIME as one read uses them (termios(3), cases A to D). */
struct read_rule {
    bool canonical;
    u32 minimum;
    u64 first_wait; /* ns; 0: do not wait; CLOCK_NEVER */
    u64 next_wait;
};

static struct read_rule read_rule(struct pty *p)
{
    struct read_rule r = {.minimum = 1, .first_wait = CLOCK_NEVER, .next_wait = CLOCK_NEVER};
    u64 time;

    MUTEX_GUARD(&p->lock);
    r.canonical = (p->termios.lflag & ICANON) != 0;
    if (r.canonical) {
        return r;
    }
    time = p->termios.cc[VTIME] * 100 * NSEC_PER_MSEC;
    if (p->termios.cc[VMIN] == 0) {
        r.first_wait = time;
    } else {
        r.minimum = p->termios.cc[VMIN];
        r.next_wait = time != 0 ? time : CLOCK_NEVER;
    }
    return r;
}

/* One step: 1 something was read (*n, *eol), 0 nothing is there, 2 the line is gone. */
static int slave_take(struct tty_file *tf, u8 *buf, u32 len, u32 *n, bool *eol)
{
    struct pty *p = tf->pty;

    MUTEX_GUARD(&p->lock);
    if (tty_file_is_hung_up(tf)) {
        return 2;
    }
    if (!ldisc_readable(p, 1)) {
        return 0;
    }
    *n = ldisc_take(p, buf, len, eol);
    return 1;
}

static int slave_wait(struct tty_file *tf, u64 wait, bool nonblock)
{
    u64 deadline = wait == CLOCK_NEVER ? CLOCK_NEVER : clock_monotonic() + wait;

    if (wait == 0) {
        return -ETIMEDOUT;
    }
    if (nonblock) {
        return -EAGAIN;
    }
    return waitq_wait_event(&tf->pty->slave_read, slave_can_read(tf), PARK_INTERRUPTIBLE, deadline);
}

static ssize_t slave_read(struct tty_file *tf, struct uio *u, bool nonblock)
{
    struct read_rule r = read_rule(tf->pty);
    u64 wait = r.first_wait;
    u8 buf[CHUNK];
    ssize_t done = 0;
    int err = tty_hooks->check_change(&tf->pty->tty, SIGTTIN);

    while (err == 0 && uio_left(u) > 0) {
        bool eol = false;
        u32 n = 0;
        int got = slave_take(tf, buf, (u32)min(uio_left(u), (u64)CHUNK), &n, &eol);
        ssize_t put;

        if (got == 2 || (got == 0 && r.canonical && done > 0)) {
            break;
        }
        if (got == 0) {
            err = slave_wait(tf, wait, nonblock);
            continue;
        }
        put = uio_put(u, buf, n);
        if (put < 0) {
            err = (int)put;
            break;
        }
        done += put;
        if (eol || (!r.canonical && done >= (ssize_t)r.minimum && n < CHUNK)) {
            break;
        }
        wait = r.next_wait;
    }
    return done > 0 || err == -ETIMEDOUT ? done : err;
}

/* ---- the master reads ---- */

static bool slave_is_gone(const struct pty *p)
{
    return p->slave_was_open && p->slaves == 0;
}

static bool master_can_read(struct pty *p)
{
    MUTEX_GUARD(&p->lock);
    return output_bytes(p) > 0 || (p->packet && p->packet_status != 0) || slave_is_gone(p);
}

/* Bytes for the master, the packet byte included; 0: nothing is there; -EIO: no slave. */
static int master_take(struct pty *p, u8 *buf, u32 len)
{
    MUTEX_GUARD(&p->lock);
    if (p->packet && p->packet_status != 0) {
        buf[0] = p->packet_status;
        p->packet_status = 0;
        return 1;
    }
    if (output_bytes(p) == 0) {
        return slave_is_gone(p) ? -EIO : 0;
    }
    if (!p->packet) {
        return (int)output_take(p, buf, len);
    }
    buf[0] = TIOCPKT_DATA;
    return (int)output_take(p, buf + 1, len - 1) + 1;
}

static ssize_t master_read(struct tty_file *tf, struct uio *u, bool nonblock)
{
    u8 buf[CHUNK];
    ssize_t done = 0;

    while (uio_left(u) > 0) {
        int n = done > 0 && tf->pty->packet
                    ? 0
                    : master_take(tf->pty, buf, (u32)min(uio_left(u), (u64)CHUNK));
        ssize_t put;
        int err;

        if (n > 0) {
            put = uio_put(u, buf, (size_t)n);
            if (put < 0) {
                return done > 0 ? done : put;
            }
            done += put;
            continue;
        }
        if (n < 0 || done > 0) {
            return done > 0 ? done : n;
        }
        if (nonblock) {
            return -EAGAIN;
        }
        err = waitq_wait_event(&tf->pty->master_read, master_can_read(tf->pty), PARK_INTERRUPTIBLE,
                               CLOCK_NEVER);
        if (err != 0) {
            return err;
        }
    }
    return done;
}

static ssize_t tty_read(struct file *f, struct uio *u, u64 *pos, u32 rwf)
{
    struct tty_file *tf = tty_file_of(f);
    bool nonblock = file_nonblock(f) || (rwf & RWF_NOWAIT) != 0;

    return tf->is_master ? master_read(tf, u, nonblock) : slave_read(tf, u, nonblock);
}

/* ---- writing ---- */

static bool can_write(struct tty_file *tf)
{
    MUTEX_GUARD(&tf->pty->lock);
    if (tf->is_master) {
        return ldisc_room(tf->pty) > 0;
    }
    return tty_file_is_hung_up(tf) || output_room(tf->pty) >= 8;
}

/* Bytes taken from buf, or -EIO. */
static ssize_t write_chunk(struct tty_file *tf, const u8 *buf, u32 len)
{
    struct pty *p = tf->pty;
    u32 done = 0;

    MUTEX_GUARD(&p->lock);
    if (tty_file_is_hung_up(tf)) {
        return -EIO;
    }
    if (!tf->is_master) {
        return output_write(p, buf, len);
    }
    while (done < len && ldisc_room(p) > 0) {
        ldisc_receive(p, buf[done++]);
    }
    return done;
}

static int write_allowed(struct tty_file *tf)
{
    bool tostop;

    if (tf->is_master) {
        return 0;
    }
    mutex_lock(&tf->pty->lock);
    tostop = (tf->pty->termios.lflag & TOSTOP) != 0;
    mutex_unlock(&tf->pty->lock);
    return tostop ? tty_hooks->check_change(&tf->pty->tty, SIGTTOU) : 0;
}

static ssize_t tty_write(struct file *f, struct uio *u, u64 *pos, u32 rwf)
{
    struct tty_file *tf = tty_file_of(f);
    struct waitq *wq = tf->is_master ? &tf->pty->master_write : &tf->pty->slave_write;
    bool nonblock = file_nonblock(f) || (rwf & RWF_NOWAIT) != 0;
    u8 buf[CHUNK];
    ssize_t done = 0, n;
    int err = write_allowed(tf);

    while (err == 0 && uio_left(u) > 0) {
        struct uio saved = *u;
        ssize_t len = uio_take(u, buf, min(uio_left(u), (u64)CHUNK));

        if (len <= 0) {
            err = len < 0 ? (int)len : -EFAULT;
            break;
        }
        n = write_chunk(tf, buf, (u32)len);
        if (n < len) {
            *u = saved;
            uio_advance(u, (size_t)max(n, (ssize_t)0));
        }
        if (n < 0) {
            err = (int)n;
            break;
        }
        done += n;
        if (n < len) {
            err = nonblock ? -EAGAIN
                           : waitq_wait_event(wq, can_write(tf), PARK_INTERRUPTIBLE, CLOCK_NEVER);
        }
    }
    return done > 0 ? done : err;
}

/* ---- readiness ---- */

static u32 slave_poll(struct tty_file *tf, struct poller *poller)
{
    struct pty *p = tf->pty;
    u32 mask = 0, min;

    poller_add(poller, &p->slave_read);
    poller_add(poller, &p->slave_write);
    MUTEX_GUARD(&p->lock);
    if (tty_file_is_hung_up(tf)) {
        return POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDNORM | POLLWRNORM;
    }
    min = p->termios.cc[VTIME] == 0 ? p->termios.cc[VMIN] : 1;
    mask |= ldisc_readable(p, min) ? POLLIN | POLLRDNORM : 0;
    mask |= output_room(p) >= 8 ? POLLOUT | POLLWRNORM : 0;
    return mask;
}

static u32 tty_poll(struct file *f, struct poller *poller)
{
    struct tty_file *tf = tty_file_of(f);
    struct pty *p = tf->pty;
    u32 mask = 0;

    if (!tf->is_master) {
        return slave_poll(tf, poller);
    }
    poller_add(poller, &p->master_read);
    poller_add(poller, &p->master_write);
    MUTEX_GUARD(&p->lock);
    mask |= output_bytes(p) > 0 ? POLLIN | POLLRDNORM : 0;
    mask |= p->packet && p->packet_status != 0 ? POLLPRI | POLLIN | POLLRDNORM : 0;
    mask |= slave_is_gone(p) ? POLLHUP : 0;
    mask |= ldisc_room(p) > 0 ? POLLOUT | POLLWRNORM : 0;
    return mask;
}

static int tty_fasync(struct file *f, bool on)
{
    struct tty_file *tf = tty_file_of(f);

    return fasync_set(f, on, tf->is_master ? &tf->pty->master_fasync : &tf->pty->slave_fasync);
}

/* ---- life of files ---- */

static void master_closed(struct pty *p)
{
    mutex_lock(&p->lock);
    p->master_open = false;
    p->packet = false;
    p->hangups++;
    mutex_unlock(&p->lock);
    waitq_wake_all(&p->slave_read);
    waitq_wake_all(&p->slave_write);
    tty_hooks->hangup(&p->tty);
    pts_unregister(p);
}

static void slave_closed(struct pty *p)
{
    bool last;

    mutex_lock(&p->lock);
    last = --p->slaves == 0;
    mutex_unlock(&p->lock);
    if (last) {
        tty_hooks->closed(&p->tty);
        (void)waitq_wake(&p->master_read, POLLHUP | POLLIN, 0);
        (void)waitq_wake(&p->master_write, POLLHUP | POLLOUT, 0);
        fasync_send(&p->master_fasync, POLL_HUP);
    }
}

static void tty_release_file(struct file *f)
{
    struct tty_file *tf = tty_file_of(f);
    struct pty *p = tf->pty;

    (void)tty_fasync(f, false);
    if (tf->is_master) {
        master_closed(p);
    } else {
        slave_closed(p);
    }
    path_put(&tf->root);
    file_fini(f);
    file_free(&tty_file_cache, f);
    tty_put(&p->tty);
}

static const struct file_ops tty_file_ops = {
    .name = "tty",
    .read = tty_read,
    .write = tty_write,
    .poll = tty_poll,
    .ioctl = tty_ioctl,
    .fasync = tty_fasync,
    .release = tty_release_file,
};
HEAP_OPS(tty_file_ops);

/* May the slave be opened? Counts it if so. */
static int slave_enter(struct pty *p, bool check_lock, bool may_exclusive)
{
    MUTEX_GUARD(&p->lock);
    if (!p->master_open || (check_lock && p->locked)) {
        return -EIO;
    }
    if (p->exclusive && !may_exclusive) {
        return -EBUSY;
    }
    p->slaves++;
    p->slave_was_open = true;
    return 0;
}

struct file *tty_file_new(struct pty *p, const struct tty_open_args *args)
{
    struct tty_file *tf = cache_new(tty_file_cache);
    int err;

    if (tf == NULL) {
        return ERR_PTR(-ENOMEM);
    }
    if (!args->is_master) {
        err = slave_enter(p, args->check_lock, args->may_exclusive);
        if (err != 0) {
            cache_del(tty_file_cache, tf);
            return ERR_PTR(err);
        }
    }
    file_init(&tf->f, &tty_file_ops, args->inode, args->path, args->flags, args->cred);
    tf->f.mode |= FMODE_STREAM | FMODE_NOPOSLOCK;
    (void)tty_get(&p->tty);
    tf->pty = p;
    tf->is_master = args->is_master;
    tf->hangups = p->hangups;
    if (!args->is_master && (args->flags & O_NOCTTY) == 0 && (tf->f.mode & FMODE_READ) != 0) {
        tty_hooks->opened(&p->tty);
    }
    return &tf->f;
}

/* ---- without hooks ---- */

static int no_acquire(struct tty *tty, bool steal)
{
    return -EPERM;
}
static int no_give_up(struct tty *tty)
{
    return -ENOTTY;
}
static void no_event(struct tty *tty)
{
}
static struct tty *no_controlling(void)
{
    return NULL;
}
static s32 no_id(struct tty *tty)
{
    return 0;
}
static int no_set_pgrp(struct tty *tty, s32 pgid)
{
    return -ENOTTY;
}
static int no_check(struct tty *tty, int sig)
{
    return 0;
}
static void no_signal(struct tty *tty, int sig)
{
}

static const struct tty_hooks no_hooks = {
    .acquire = no_acquire,
    .opened = no_event,
    .closed = no_event,
    .give_up = no_give_up,
    .controlling = no_controlling,
    .get_sid = no_id,
    .get_pgrp = no_id,
    .set_pgrp = no_set_pgrp,
    .check_change = no_check,
    .signal_foreground = no_signal,
    .hangup = no_event,
};

const struct tty_hooks *tty_hooks = &no_hooks;

void tty_set_hooks(const struct tty_hooks *hooks)
{
    tty_hooks = hooks != NULL ? hooks : &no_hooks;
}
