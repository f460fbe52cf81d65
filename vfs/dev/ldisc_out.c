/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The line discipline N_TTY, output side: from the slave's write, or an echo, to the ring that the
 * master reads. Writers leave OUTPUT_RESERVE bytes for echoes; an echo that finds no room is lost.
 *
 * All functions are called with pty->lock held.
 */
#include "vfs/dev/pty_priv.h"

#include <asm/termbits.h>
#include <ctype.h>
#include <signal.h>

#define O(p, flag) (((p)->termios.oflag & (flag)) != 0)

static void put(struct pty *p, u8 c)
{
    if (output_bytes(p) < OUTPUT_SIZE) {
        p->output[p->out_head & (OUTPUT_SIZE - 1)] = c;
        p->out_head++;
    }
}

u32 output_room(const struct pty *p)
{
    u32 limit = OUTPUT_SIZE - OUTPUT_RESERVE, used = output_bytes(p);

    return p->stopped || used >= limit ? 0 : limit - used;
}

static void tell_master(struct pty *p)
{
    (void)waitq_wake(&p->master_read, POLLIN | POLLRDNORM, 0);
    fasync_send(&p->master_fasync, POLL_IN);
}

static void put_newline(struct pty *p)
{
    if (O(p, ONLRET)) {
        p->column = 0;
    }
    if (O(p, ONLCR)) {
        p->column = 0;
        put(p, '\r');
    }
    p->canon_column = p->column;
    put(p, '\n');
}

static void put_return(struct pty *p)
{
    if (O(p, ONOCR) && p->column == 0) {
        return;
    }
    if (O(p, OCRNL)) {
        if (O(p, ONLRET)) {
            p->canon_column = p->column = 0;
        }
        put(p, '\n');
        return;
    }
    p->canon_column = p->column = 0;
    put(p, '\r');
}

static void put_tab(struct pty *p)
{
    u32 spaces = 8 - p->column % 8;

    p->column += spaces;
    if ((p->termios.oflag & TABDLY) != XTABS) {
        put(p, '\t');
        return;
    }
    while (spaces-- > 0) {
        put(p, ' ');
    }
}

/* One byte through OPOST (do_output_char of Linux). */
static void put_processed(struct pty *p, u8 c)
{
    switch (c) {
    case '\n':
        put_newline(p);
        return;
    case '\r':
        put_return(p);
        return;
    case '\t':
        put_tab(p);
        return;
    case '\b':
        p->column -= p->column > 0 ? 1 : 0;
        break;
    default:
        if (iscntrl(c)) {
            break;
        }
        if (O(p, OLCUC)) {
            c = (u8)toupper(c);
        }
        if ((p->termios.iflag & IUTF8) == 0 || (c & 0xc0) != 0x80) {
            p->column++;
        }
    }
    put(p, c);
}

void output_raw(struct pty *p, u8 c)
{
    put(p, c);
    tell_master(p);
}

void output_echo(struct pty *p, u8 c)
{
    if (O(p, OPOST)) {
        put_processed(p, c);
    } else {
        put(p, c);
    }
    tell_master(p);
}

u32 output_write(struct pty *p, const u8 *buf, u32 len)
{
    u32 done = 0;

    /* A byte may become eight (a tab): stop while there is room for that. */
    while (done < len && output_room(p) >= 8) {
        if (O(p, OPOST)) {
            put_processed(p, buf[done++]);
        } else {
            put(p, buf[done++]);
        }
    }
    if (done > 0) {
        tell_master(p);
    }
    return done;
}

u32 output_take(struct pty *p, u8 *buf, u32 len)
{
    u32 n = 0;

    while (n < len && p->out_tail != p->out_head) {
        buf[n++] = p->output[p->out_tail++ & (OUTPUT_SIZE - 1)];
    }
    if (n > 0 && output_room(p) >= OUTPUT_SIZE / 4) {
        (void)waitq_wake(&p->slave_write, POLLOUT | POLLWRNORM, 0);
        fasync_send(&p->slave_fasync, POLL_OUT);
    }
    return n;
}

void output_flush(struct pty *p)
{
    p->out_tail = p->out_head;
    (void)waitq_wake(&p->slave_write, POLLOUT | POLLWRNORM, 0);
}
