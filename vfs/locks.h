/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Advisory locks: flock(2), POSIX record locks and open file description locks (fcntl_locking(2)).
 *
 * Who calls what: fdtable.c calls locks_remove_posix at every close of a descriptor, file.c calls
 * locks_remove_file when the last reference to an open file goes, inode.c calls locks_inode_fini.
 */
#ifndef PAVISE_VFS_LOCKS_H
#define PAVISE_VFS_LOCKS_H

#include "vfs/vfs.h"

struct seqbuf;

/* op: LOCK_SH, LOCK_EX or LOCK_UN, perhaps | LOCK_NB. -EWOULDBLOCK, -EINVAL, -ERESTARTSYS. */
must_check int flock_set(struct file *f, int op);

/* F_SETLK (wait false), F_SETLKW: owner is the descriptor table, pid what F_GETLK will say. With
 * owner NULL: the open file (F_OFD_SETLK, F_OFD_SETLKW). -EAGAIN, -EDEADLK, -EBADF, -EINVAL,
 * -EOVERFLOW, -ENOLCK, -ERESTARTSYS. */
must_check int posix_lock_set(struct file *f, const void *owner, s32 pid, const struct flock *fl,
                              bool wait);
/* F_GETLK, F_OFD_GETLK (owner NULL): fl is changed to what is in the way, or l_type F_UNLCK. */
must_check int posix_lock_get(struct file *f, const void *owner, struct flock *fl);

/* F_SETLEASE, F_GETLEASE. */
must_check int lease_set(struct file *f, int type);
int lease_get(struct file *f);

/* Drop the record locks that `owner` (a descriptor table) holds on f's inode. */
void locks_remove_posix(struct file *f, const void *owner);
/* Drop the flock and the OFD locks of f. */
void locks_remove_file(struct file *f);
void locks_inode_fini(struct inode *inode);

/* The text of /proc/locks; of f's own locks for /proc/PID/fdinfo ("lock:\t1: ..."). */
int locks_show(struct seqbuf *s);
int locks_show_file(struct file *f, const void *owner, struct seqbuf *s);

#endif
