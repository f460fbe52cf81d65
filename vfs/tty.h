/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Terminals. struct tty is the half of a terminal that job control sees; the pty pairs of pts.c
 * embed it, and so may a terminal that stands for one of the host.
 *
 * Sessions are the kernel's business: it keeps tty->session and answers through a hook table.
 * Without hooks (unit tests) no terminal ever controls anybody.
 */
#ifndef PAVISE_VFS_TTY_H
#define PAVISE_VFS_TTY_H

#include "base/ref.h"
#include "vfs/vfs.h"

struct session;
struct tty;

struct tty_ops {
    void (*release)(struct tty *tty); /* the last reference is gone: free */
    /* A file on the terminal for /dev/tty and TIOCGPTPEER: ERR_PTR. */
    struct file *(*open)(struct tty *tty, struct inode *inode, const struct path *path, u32 flags,
                         const struct cred *cred);
};

struct tty {
    struct ref ref;
    const struct tty_ops *ops; /* (c) */
    u64 rdev;                  /* (c) for tty_nr of /proc/PID/stat */
    struct session *session; /* (kernel's tasklist) whose controlling terminal it is; borrowed: the
                                session clears it before it goes */
};

void tty_init(struct tty *tty, const struct tty_ops *ops, u64 rdev);
struct tty *tty_get(struct tty *tty);
void tty_put(struct tty *tty);

/*
 * All may be called with the terminal's lock (LOCK_TTY) held and take the task list inside it; the
 * "current" ones are about the calling task.
 */
struct tty_hooks {
    /* TIOCSCTTY: 0, -EPERM. steal: may be taken away from another session. */
    int (*acquire)(struct tty *tty, bool steal);
    /* Opened without O_NOCTTY: acquire if the caller leads a session without a terminal and the
     * terminal has no session. */
    void (*opened)(struct tty *tty);
    /* Its last file is closed: no longer anybody's controlling terminal. */
    void (*closed)(struct tty *tty);
    /* TIOCNOTTY: 0, -ENOTTY when it is not the caller's. A leader hangs up its whole session. */
    int (*give_up)(struct tty *tty);
    /* The caller's controlling terminal, counted; NULL. */
    struct tty *(*controlling)(void);
    /* Ids, 0 for none, of the terminal's session and its foreground group. */
    s32 (*get_sid)(struct tty *tty);
    s32 (*get_pgrp)(struct tty *tty);
    /* TIOCSPGRP after the checks of check_change: 0, -ENOTTY, -ESRCH, -EPERM. */
    int (*set_pgrp)(struct tty *tty, s32 pgid);
    /* May the caller read (SIGTTIN) or change and write (SIGTTOU)? 0; -EIO; -ERESTARTSYS after the
     * signal was sent to its group. */
    int (*check_change)(struct tty *tty, int sig);
    void (*signal_foreground)(struct tty *tty, int sig);
    /* The line is gone: SIGHUP and SIGCONT to the session's leader, and the session loses it. */
    void (*hangup)(struct tty *tty);
};
void tty_set_hooks(const struct tty_hooks *hooks);
extern const struct tty_hooks *tty_hooks; /* never NULL, every member callable */

/* TIOCSCTTY, TIOCNOTTY, TIOCGPGRP, TIOCSPGRP, TIOCGSID on a terminal that is no pty master; -ENOTTY
 * for others. readable: the file may be read. */
must_check long tty_job_ioctl(struct tty *tty, bool readable, u32 cmd, u64 arg,
                              const struct vfs_ctx *ctx);

/* At boot: registers /dev/tty, /dev/ptmx, the pty slaves' numbers and the type "devpts". */
void tty_boot(void);

/* A devpts instance, for a boot that makes its own mounts: mode of new slaves, their group
 * (UINT32_MAX: the opener's), mode of ptmx. ERR_PTR. */
must_check struct super *devpts_super_new(u32 mode, u32 gid, u32 ptmx_mode);

#endif
