/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The line discipline N_TTY, input side: what happens to a byte that the master writes until the
 * slave reads it (termios(3), POSIX "General Terminal Interface").
 *
 * Canonical mode edits the unfinished line in place at the head of the input ring. A line's last
 * byte is marked; VEOF stores a marked NUL that the reader does not see. When the ring is full an
 * unfinished line swallows what follows except what ends it, as Linux does.
 *
 * All functions are called with pty->lock held.
 */
#include "vfs/dev/pty_priv.h"

#include <asm/termbits.h>
#include <ctype.h>
#include <signal.h>

#define L(p, flag) (((p)->termios.lflag & (flag)) != 0)
#define I(p, flag) (((p)->termios.iflag & (flag)) != 0)
#define EOF_MARK   0 /* what VEOF leaves in the ring */

static const struct abi_termios default_termios = {
    .iflag = ICRNL | IXON,
    .oflag = OPOST | ONLCR,
    .cflag = B38400 | CS8 | CREAD,
    .lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
    .cc = {[VINTR] = 3,
           [VQUIT] = 28,
           [VERASE] = 127,
           [VKILL] = 21,
           [VEOF] = 4,
           [VMIN] = 1,
           [VSTART] = 17,
           [VSTOP] = 19,
           [VSUSP] = 26,
           [VREPRINT] = 18,
           [VDISCARD] = 15,
           [VWERASE] = 23,
           [VLNEXT] = 22},
    .ispeed = 38400,
    .ospeed = 38400,
};

void ldisc_init(struct pty *p)
{
    p->termios = default_termios;
}

/* ---- the ring ---- */

static u8 input_at(const struct pty *p, u32 index)
{
    return p->input[index & (INPUT_SIZE - 1)];
}

static bool is_line_end(const struct pty *p, u32 index)
{
    index &= INPUT_SIZE - 1;
    return (p->line_end[index / 64] >> (index % 64) & 1) != 0;
}

static void mark_line_end(struct pty *p, u32 index, bool on)
{
    u64 bit = 1UL << (index % 64);
    u64 *word = &p->line_end[(index & (INPUT_SIZE - 1)) / 64];

    *word = on ? *word | bit : *word & ~bit;
}

static bool is_full(const struct pty *p)
{
    return p->head - p->tail >= INPUT_SIZE;
}

static void put_input(struct pty *p, u8 c)
{
    if (!is_full(p)) {
        p->input[p->head & (INPUT_SIZE - 1)] = c;
        mark_line_end(p, p->head, false);
        p->head++;
    }
}

static void wake_reader(struct pty *p)
{
    (void)waitq_wake(&p->slave_read, POLLIN | POLLRDNORM, 0);
    fasync_send(&p->slave_fasync, POLL_IN);
}

/* The line is complete; `c` is its last byte. There is always one byte for it: an overlong line
 * gives up its last one. */
static void end_line(struct pty *p, u8 c)
{
    if (is_full(p)) {
        if (p->head == p->canon) {
            return; /* full of complete lines: the room was asked for before */
        }
        p->head--;
    }
    put_input(p, c);
    mark_line_end(p, p->head - 1, true);
    p->canon = p->head;
    wake_reader(p);
}

u32 ldisc_room(const struct pty *p)
{
    u32 room = INPUT_SIZE - (p->head - p->tail);

    if (room == 0 && L(p, ICANON) && p->canon == p->tail) {
        return 1; /* nobody can read before the line ends: go on, dropping */
    }
    return room;
}

u32 ldisc_input_bytes(const struct pty *p)
{
    u32 end = L(p, ICANON) ? p->canon : p->head, n = 0;

    for (u32 i = p->tail; i != end; i++) {
        n += L(p, ICANON) && is_line_end(p, i) && input_at(p, i) == EOF_MARK ? 0 : 1;
    }
    return n;
}

void ldisc_flush_input(struct pty *p)
{
    p->head = p->canon = p->tail = 0;
    p->lnext = p->erasing = false;
    memset(p->line_end, 0, sizeof(p->line_end));
    (void)waitq_wake(&p->master_write, POLLOUT | POLLWRNORM, 0);
}

/* What is being edited becomes readable, and the other way round nothing is lost
 * (n_tty_set_termios).
 */
void ldisc_mode_changed(struct pty *p, const struct abi_termios *old)
{
    if (((old->lflag ^ p->termios.lflag) & ICANON) == 0) {
        return;
    }
    p->lnext = p->erasing = false;
    if (L(p, ICANON)) {
        memset(p->line_end, 0, sizeof(p->line_end));
        p->canon = p->head;
        if (p->head != p->tail) {
            mark_line_end(p, p->head - 1, true);
        }
    } else {
        p->canon = p->head;
    }
    if (p->head != p->tail) {
        wake_reader(p);
    }
}

/* ---- echo ---- */

static bool is_continuation(const struct pty *p, u8 c)
{
    return I(p, IUTF8) && (c & 0xc0) == 0x80;
}

static void echo_byte(struct pty *p, u8 c)
{
    if (L(p, ECHOCTL) && iscntrl(c) && c != '\t' && c != '\n') {
        output_echo(p, '^');
        output_echo(p, c ^ 0x40);
    } else {
        output_echo(p, c);
    }
}

static void echo_input(struct pty *p, u8 c)
{
    if (L(p, ECHO)) {
        if (p->head == p->canon) {
            p->canon_column = p->column;
        }
        echo_byte(p, c);
    }
}

/* ---- erasing ---- */

static void finish_erasing(struct pty *p)
{
    if (p->erasing) {
        output_echo(p, '/');
        p->erasing = false;
    }
}

static void rub_out(struct pty *p)
{
    output_echo(p, '\b');
    output_echo(p, ' ');
    output_echo(p, '\b');
}

/* Where the cursor stands after the edited line as it is now. */
static u32 edited_column(const struct pty *p)
{
    u32 col = p->canon_column;

    for (u32 i = p->canon; i != p->head; i++) {
        u8 c = input_at(p, i);

        if (c == '\t') {
            col += 8 - col % 8;
        } else if (iscntrl(c)) {
            col += L(p, ECHOCTL) ? 2 : 0;
        } else if (!is_continuation(p, c)) {
            col++;
        }
    }
    return col;
}

/* Show that the character starting with `c` (count bytes at head, already taken away) is gone. */
static void echo_erased(struct pty *p, u8 c, u32 count, bool is_erase)
{
    if (L(p, ECHOPRT)) {
        if (!p->erasing) {
            output_echo(p, '\\');
            p->erasing = true;
        }
        for (u32 i = 0; i < count; i++) {
            echo_byte(p, input_at(p, p->head + i));
        }
    } else if (is_erase && !L(p, ECHOE)) {
        echo_byte(p, p->termios.cc[VERASE]);
    } else if (c == '\t') {
        u32 to = edited_column(p);

        while (p->column > to) {
            u32 before = p->column;

            output_echo(p, '\b');
            if (p->column == before) {
                break;
            }
        }
    } else {
        if (iscntrl(c) && L(p, ECHOCTL)) {
            rub_out(p);
        }
        if (!iscntrl(c) || L(p, ECHOCTL)) {
            rub_out(p);
        }
    }
}

/* Kill by just forgetting, where the line cannot be rubbed out. */
static bool kill_line_plainly(struct pty *p)
{
    if (L(p, ECHO) && L(p, ECHOK) && L(p, ECHOKE) && L(p, ECHOE)) {
        return false;
    }
    p->head = p->canon;
    if (L(p, ECHO)) {
        finish_erasing(p);
        echo_byte(p, p->termios.cc[VKILL]);
        if (L(p, ECHOK)) {
            output_echo(p, '\n');
        }
    }
    return true;
}

/* VERASE, VWERASE, VKILL on the line that is being edited. */
static void erase(struct pty *p, u8 key)
{
    const u8 *cc = p->termios.cc;
    bool is_word = key == cc[VWERASE] && L(p, IEXTEN) && key != cc[VERASE];
    bool seen_word = false;

    if (p->head == p->canon) {
        return;
    }
    if (key == cc[VKILL] && key != cc[VERASE] && !is_word && kill_line_plainly(p)) {
        return;
    }
    while (p->head != p->canon) {
        u32 start = p->head;
        u8 c;

        do {
            c = input_at(p, --start);
        } while (is_continuation(p, c) && start != p->canon);
        if (is_word) {
            if (isalnum(c) || c == '_' || c >= 0x80) {
                seen_word = true;
            } else if (seen_word) {
                break;
            }
        }
        u32 count = p->head - start;

        p->head = start;
        if (L(p, ECHO)) {
            echo_erased(p, c, count, key == cc[VERASE]);
        }
        if (key == cc[VERASE]) {
            break;
        }
    }
    if (p->head == p->canon && L(p, ECHO)) {
        finish_erasing(p);
    }
}

static void reprint(struct pty *p, u8 c)
{
    finish_erasing(p);
    echo_byte(p, c);
    output_echo(p, '\n');
    for (u32 i = p->canon; i != p->head; i++) {
        echo_byte(p, input_at(p, i));
    }
}

/* ---- flow and signals ---- */

void ldisc_start(struct pty *p)
{
    if (p->stopped) {
        p->stopped = false;
        pty_packet_status(p, TIOCPKT_START, TIOCPKT_STOP);
        (void)waitq_wake(&p->slave_write, POLLOUT | POLLWRNORM, 0);
    }
}

void ldisc_stop(struct pty *p)
{
    if (!p->stopped) {
        p->stopped = true;
        pty_packet_status(p, TIOCPKT_STOP, TIOCPKT_START);
    }
}

static void receive_signal(struct pty *p, u8 c, int sig)
{
    if (!L(p, NOFLSH)) {
        ldisc_flush_input(p);
        output_flush(p);
        pty_packet_status(p, TIOCPKT_FLUSHREAD | TIOCPKT_FLUSHWRITE, 0);
    }
    tty_hooks->signal_foreground(&p->tty, sig);
    if (I(p, IXON)) {
        ldisc_start(p);
    }
    if (L(p, ECHO)) {
        echo_byte(p, c);
    }
}

/* Is `c` the control character `which`? NUL disables one. */
static bool is_cc(const struct pty *p, u8 c, int which)
{
    return c != 0 && c == p->termios.cc[which];
}

/* Flow control and signals: true when the byte is used up. */
static bool receive_control(struct pty *p, u8 c)
{
    if (I(p, IXON)) {
        if (is_cc(p, c, VSTART)) {
            ldisc_start(p);
            return true;
        }
        if (is_cc(p, c, VSTOP)) {
            ldisc_stop(p);
            return true;
        }
    }
    if (L(p, ISIG)) {
        int sig = is_cc(p, c, VINTR)   ? SIGINT
                  : is_cc(p, c, VQUIT) ? SIGQUIT
                  : is_cc(p, c, VSUSP) ? SIGTSTP
                                       : 0;

        if (sig != 0) {
            receive_signal(p, c, sig);
            return true;
        }
    }
    if (p->stopped && I(p, IXON) && I(p, IXANY)) {
        ldisc_start(p);
    }
    return false;
}

/* ---- receiving ---- */

/* Canonical editing and line ends: true when the byte is used up. */
static bool receive_canonical(struct pty *p, u8 c)
{
    if (is_cc(p, c, VERASE) || is_cc(p, c, VKILL) || (is_cc(p, c, VWERASE) && L(p, IEXTEN))) {
        erase(p, c);
        return true;
    }
    if (is_cc(p, c, VLNEXT) && L(p, IEXTEN)) {
        p->lnext = true;
        if (L(p, ECHO) && L(p, ECHOCTL)) {
            finish_erasing(p);
            output_echo(p, '^');
            output_echo(p, '\b');
        }
        return true;
    }
    if (is_cc(p, c, VREPRINT) && L(p, ECHO) && L(p, IEXTEN)) {
        reprint(p, c);
        return true;
    }
    if (c == '\n') {
        if (L(p, ECHO) || L(p, ECHONL)) {
            finish_erasing(p);
            output_echo(p, '\n');
        }
        end_line(p, c);
        return true;
    }
    if (is_cc(p, c, VEOF)) {
        end_line(p, EOF_MARK);
        return true;
    }
    if (is_cc(p, c, VEOL) || (is_cc(p, c, VEOL2) && L(p, IEXTEN))) {
        echo_input(p, c);
        end_line(p, c);
        return true;
    }
    return false;
}

static void receive_data(struct pty *p, u8 c)
{
    finish_erasing(p);
    if (is_full(p)) {
        if (I(p, IMAXBEL)) {
            output_echo(p, '\a');
        }
        return;
    }
    echo_input(p, c);
    put_input(p, c);
    if (!L(p, ICANON)) {
        p->canon = p->head;
        wake_reader(p);
    }
}

void ldisc_receive(struct pty *p, u8 c)
{
    if (p->lnext) {
        p->lnext = false;
        receive_data(p, c);
        return;
    }
    if (I(p, ISTRIP)) {
        c &= 0x7f;
    }
    if (I(p, IUCLC) && L(p, IEXTEN)) {
        c = (u8)tolower(c);
    }
    if (receive_control(p, c)) {
        return;
    }
    if (c == '\r') {
        if (I(p, IGNCR)) {
            return;
        }
        c = I(p, ICRNL) ? '\n' : c;
    } else if (c == '\n' && I(p, INLCR)) {
        c = '\r';
    }
    if (L(p, ICANON) && receive_canonical(p, c)) {
        return;
    }
    receive_data(p, c);
}

/* ---- reading ---- */

bool ldisc_readable(const struct pty *p, u32 min)
{
    return L(p, ICANON) ? p->canon != p->tail : p->head - p->tail >= max(min, 1U);
}

u32 ldisc_take(struct pty *p, u8 *buf, u32 len, bool *eol)
{
    bool canonical = L(p, ICANON);
    u32 end = canonical ? p->canon : p->head, n = 0;

    *eol = false;
    while (p->tail != end && !*eol) {
        u8 c = input_at(p, p->tail);
        bool is_end = canonical && is_line_end(p, p->tail);
        bool is_eof = is_end && c == EOF_MARK;

        if (!is_eof) {
            if (n == len) {
                break;
            }
            buf[n++] = c;
        }
        p->tail++;
        *eol = is_end;
    }
    if (ldisc_room(p) >= INPUT_SIZE / 4) {
        (void)waitq_wake(&p->master_write, POLLOUT | POLLWRNORM, 0);
    }
    return n;
}
