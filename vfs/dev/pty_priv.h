/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of a pty pair share: the pair, its line discipline, its two kinds of open files.
 */
#ifndef PAVISE_VFS_DEV_PTY_PRIV_H
#define PAVISE_VFS_DEV_PTY_PRIV_H

#include "vfs/fasync.h"
#include "vfs/tty.h"

#include <sys/ioctl.h>

#define PTY_MAJOR      136U
#define PTY_MAX        4096U /* kernel.pty.max */
#define INPUT_SIZE     4096U /* N_TTY_BUF_SIZE */
#define OUTPUT_SIZE    16384U
#define OUTPUT_RESERVE 4096U /* of it, for echoes when writers filled the rest */
#define NR_CC          19U

/* struct termios2 of asm-generic/termbits.h; struct termios is its beginning. */
struct abi_termios {
    u32 iflag, oflag, cflag, lflag;
    u8 line;
    u8 cc[NR_CC];
    u32 ispeed, ospeed;
};
_Static_assert(sizeof(struct abi_termios) == 44, "struct termios2");
#define ABI_TERMIOS_OLD_SIZE 36U

struct devpts;

/*
 * One pair. Input flows master -> line discipline -> input ring -> slave; output flows slave ->
 * output processing -> output ring -> master. One lock for both sides.
 *
 * Ring indices run freely and are masked on use. In canonical mode [tail, canon) of the input is
 * complete lines, whose last bytes are marked in line_end, and [canon, head) is still being edited.
 */
struct pty {
    struct tty tty;
    struct mutex lock;  /* LOCK_TTY */
    u32 index;          /* (c) */
    struct devpts *fs;  /* (c) counted: its super */
    struct inode *node; /* (l) /dev/pts/N, counted while the master is open */

    struct abi_termios termios; /* (l) of the slave; master calls act on it too */
    struct winsize winsize;     /* (l) */
    bool locked;                /* (l) TIOCSPTLCK: the slave cannot be opened */
    bool exclusive;             /* (l) TIOCEXCL */
    bool packet;                /* (l) TIOCPKT */
    u8 packet_status;           /* (l) TIOCPKT_* to tell */
    bool master_open;           /* (l) */
    u32 slaves;                 /* (l) open slave files */
    bool slave_was_open;        /* (l) ever: then "no slave" is an end of file for the master */
    u32 hangups;                /* (l) slave files opened before the last one are hung up */

    u8 input[INPUT_SIZE];          /* (l) */
    u64 line_end[INPUT_SIZE / 64]; /* (l) bit map */
    u32 head, canon, tail;         /* (l) */
    bool lnext;                    /* (l) the next byte is literal */
    bool erasing;                  /* (l) ECHOPRT: inside "\ ... /" */
    u32 column, canon_column;      /* (l) of the cursor; where the edited line began */
    bool stopped;                  /* (l) by VSTOP or TCOOFF */

    u8 output[OUTPUT_SIZE]; /* (l) */
    u32 out_head, out_tail; /* (l) */

    struct waitq slave_read, slave_write, master_read, master_write;
    struct fasync_list slave_fasync, master_fasync;
};

struct tty_file {
    struct file f;
    struct pty *pty;  /* (c) counted */
    bool is_master;   /* (c) */
    u32 hangups;      /* (c) pty->hangups at open; differs: hung up */
    struct path root; /* (c) masters: the devpts mount, for TIOCGPTPEER; counted */
};

static inline struct tty_file *tty_file_of(struct file *f)
{
    return container_of(f, struct tty_file, f);
}
static inline struct pty *pty_of_tty(struct tty *tty)
{
    return container_of(tty, struct pty, tty);
}
static inline bool tty_file_is_hung_up(const struct tty_file *tf)
{
    return !tf->is_master && tf->hangups != tf->pty->hangups;
}

/* ---- ldisc.c: all with pty->lock held ---- */

void ldisc_init(struct pty *p);
/* How many bytes the master may write now. */
u32 ldisc_room(const struct pty *p);
/* One byte of input. */
void ldisc_receive(struct pty *p, u8 c);
/* Is there something to read? min: the number wanted in non-canonical mode (poll). */
bool ldisc_readable(const struct pty *p, u32 min);
/* Move input to buf. Canonical: at most to the end of a line; *eol says that it was reached. */
u32 ldisc_take(struct pty *p, u8 *buf, u32 len, bool *eol);
void ldisc_flush_input(struct pty *p);
u32 ldisc_input_bytes(const struct pty *p); /* FIONREAD */
/* c_lflag changed between canonical and not. */
void ldisc_mode_changed(struct pty *p, const struct abi_termios *old);
void ldisc_start(struct pty *p);
void ldisc_stop(struct pty *p);

/* ---- ldisc_out.c ---- */

/* Room for writers of the slave, in bytes of the ring. */
u32 output_room(const struct pty *p);
/* Process and queue output of the slave: bytes taken. */
u32 output_write(struct pty *p, const u8 *buf, u32 len);
/* As the slave's own output: one byte, processed if OPOST. */
void output_echo(struct pty *p, u8 c);
void output_raw(struct pty *p, u8 c);
u32 output_take(struct pty *p, u8 *buf, u32 len);
void output_flush(struct pty *p);
static inline u32 output_bytes(const struct pty *p)
{
    return p->out_head - p->out_tail;
}

/* ---- tty.c ---- */

void pty_packet_status(struct pty *p, u8 set, u8 clear);
struct tty_open_args {
    bool is_master;
    bool check_lock;    /* EIO while TIOCSPTLCK is in force */
    bool may_exclusive; /* CAP_SYS_ADMIN: TIOCEXCL does not hold it */
    struct inode *inode;
    const struct path *path;
    u32 flags;
    const struct cred *cred;
};
/* A file on one side, which counts the pty. Its lock is not held. ERR_PTR. */
must_check struct file *tty_file_new(struct pty *p, const struct tty_open_args *args);
bool file_is_tty(const struct file *f);

/* ---- tty_ioctl.c ---- */

long tty_ioctl(struct file *f, u32 cmd, u64 arg, const struct vfs_ctx *ctx);

/* ---- pts.c ---- */

/* TIOCGPTPEER: the slave's file through the master's mount. */
must_check struct file *pts_open_peer(struct tty_file *master, u32 flags, const struct cred *cred);
/* The master is closed: the name goes away. */
void pts_unregister(struct pty *p);
void pty_free(struct pty *p);

#endif
