/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of sentry/proc. */
#ifndef PAVISE_SENTRY_PROC_PROC_PRIV_H
#define PAVISE_SENTRY_PROC_PROC_PRIV_H

#include "sentry/kernel/task.h"
#include "vfs/pseudo.h"

#define CLK_TCK_NS 10000000UL /* USER_HZ is 100 */

/* The task a node of /proc/PID is about (borrowed from the node). */
static inline struct task *node_task(struct pseudo_node *n)
{
    return n->obj;
}

extern const struct pseudo_dir_ops pid_dir_ops; /* pid.c: the PID directories of /proc */
extern const struct pseudo_entry sys_entries[]; /* sys.c */
extern const struct pseudo_entry net_entries[]; /* net.c */
extern const struct pseudo_dir_ops fd_dir_ops, fdinfo_dir_ops; /* fd.c */
extern const struct pseudo_obj_ops task_obj_ops;               /* pid.c */

/* pid.c: the text of a path as the calling task sees it, at most size bytes: its length. */
must_check ssize_t proc_path_text(const struct path *p, char *buf, size_t size);
/* A decimal number of at most nine digits without leading zeroes, or -1. */
s32 proc_parse_number(struct name name);

/* status.c */
int show_status(struct pseudo_node *n, struct seqbuf *s);
int show_stat(struct pseudo_node *n, struct seqbuf *s);
int show_task_stat(struct pseudo_node *n, struct seqbuf *s);
int show_statm(struct pseudo_node *n, struct seqbuf *s);
int show_limits(struct pseudo_node *n, struct seqbuf *s);
int show_io(struct pseudo_node *n, struct seqbuf *s);
int show_sched(struct pseudo_node *n, struct seqbuf *s);
int show_schedstat(struct pseudo_node *n, struct seqbuf *s);

/* maps.c */
int show_maps(struct pseudo_node *n, struct seqbuf *s);
int show_smaps(struct pseudo_node *n, struct seqbuf *s);
int show_smaps_rollup(struct pseudo_node *n, struct seqbuf *s);
int show_cmdline(struct pseudo_node *n, struct seqbuf *s);
int show_environ(struct pseudo_node *n, struct seqbuf *s);
int show_auxv(struct pseudo_node *n, struct seqbuf *s);
struct file *open_mem(struct pseudo_node *n, const struct path *path, u32 flags,
                      const struct cred *cred);

/* May the calling task look into the node's task? For may_open: 0 or -EACCES. */
int may_inspect_node(struct pseudo_node *n, u32 flags, const struct cred *cred);

#endif
