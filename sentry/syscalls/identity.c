/* SPDX-License-Identifier: Apache-2.0 */
/* Who one is: process and thread ids, groups, sessions, user and group ids, capabilities
 * (credentials(7), capabilities(7)). */
#include "base/heap.h"
#include "base/usermem.h"
#include "sentry/kernel/creds.h"
#include "sentry/kernel/process.h"
#include "sentry/syscalls/syscalls.h"

#include <linux/capability.h>
#include <linux/securebits.h>

#define KEEP 0xffffffffU /* "leave it" of setreuid and kin */

long sys_getpid(struct task *t)
{
    return t->tg->tgid;
}

long sys_gettid(struct task *t)
{
    return t->tid;
}

long sys_getppid(struct task *t)
{
    return task_ppid(t);
}

long sys_getpgrp(struct task *t)
{
    return task_pgid(t);
}

long sys_getpgid(struct task *t, int pid)
{
    return process_getpgid(t, pid);
}

long sys_getsid(struct task *t, int pid)
{
    return process_getsid(t, pid);
}

long sys_setpgid(struct task *t, int pid, int pgid)
{
    return process_setpgid(t, pid, pgid);
}

long sys_setsid(struct task *t)
{
    return process_setsid(t);
}

long sys_getuid(struct task *t)
{
    return t->vfs.cred->uid;
}

long sys_geteuid(struct task *t)
{
    return t->vfs.cred->euid;
}

long sys_getgid(struct task *t)
{
    return t->vfs.cred->gid;
}

long sys_getegid(struct task *t)
{
    return t->vfs.cred->egid;
}

static int three_out(uaddr a, u32 va, uaddr b, u32 vb, uaddr c, u32 vc)
{
    if (copy_out(a, &va, 4) != 0 || copy_out(b, &vb, 4) != 0 || copy_out(c, &vc, 4) != 0) {
        return -EFAULT;
    }
    return 0;
}

long sys_getresuid(struct task *t, uaddr r, uaddr e, uaddr s)
{
    const struct cred *c = t->vfs.cred;

    return three_out(r, c->uid, e, c->euid, s, c->suid);
}

long sys_getresgid(struct task *t, uaddr r, uaddr e, uaddr s)
{
    const struct cred *c = t->vfs.cred;

    return three_out(r, c->gid, e, c->egid, s, c->sgid);
}

/* ---- user ids ---- */

/* Capabilities follow the user ids (capabilities(7) "Effect of user ID changes on capabilities").
 */
static void fix_caps(struct cred *c, const struct cred *old)
{
    bool had_root = old->uid == 0 || old->euid == 0 || old->suid == 0;
    bool has_root = c->uid == 0 || c->euid == 0 || c->suid == 0;

    if ((c->securebits & SECBIT_NO_SETUID_FIXUP) != 0) {
        return;
    }
    if (had_root && !has_root) {
        if ((c->securebits & SECBIT_KEEP_CAPS) == 0) {
            c->cap_permitted = c->cap_effective = 0;
        }
        c->cap_ambient = 0;
    }
    if (old->euid == 0 && c->euid != 0) {
        c->cap_effective = 0;
    } else if (old->euid != 0 && c->euid == 0) {
        c->cap_effective = c->cap_permitted;
    }
}

/* Publish changed credentials; also what the change of an effective id means for the process. */
static long commit(struct task *t, struct cred *c)
{
    const struct cred *old = t->vfs.cred;

    if (c->euid != old->euid || c->egid != old->egid || c->fsuid != old->fsuid ||
        c->fsgid != old->fsgid) {
        t->tg->dumpable = 0;
        t->pdeath_signal = 0;
    }
    task_set_cred(t, c);
    return 0;
}

static bool one_of3(u32 id, u32 a, u32 b, u32 c)
{
    return id == a || id == b || id == c;
}

static struct cred *begin(struct task *t)
{
    return cred_copy(t->vfs.cred);
}

static long refuse(struct cred *c)
{
    cred_put(c);
    return -EPERM;
}

long sys_setuid(struct task *t, unsigned int uid)
{
    const struct cred *old = t->vfs.cred;
    struct cred *c;

    if (uid == KEEP) {
        return -EINVAL;
    }
    c = begin(t);
    if (c == NULL) {
        return -ENOMEM;
    }
    if (cred_capable(old, CAP_SETUID)) {
        c->uid = c->suid = uid;
    } else if (uid != old->uid && uid != old->suid) {
        return refuse(c);
    }
    c->euid = c->fsuid = uid;
    fix_caps(c, old);
    return commit(t, c);
}

long sys_setreuid(struct task *t, unsigned int ruid, unsigned int euid)
{
    const struct cred *old = t->vfs.cred;
    bool may = cred_capable(old, CAP_SETUID);
    struct cred *c = begin(t);

    if (c == NULL) {
        return -ENOMEM;
    }
    if (ruid != KEEP) {
        if (!may && ruid != old->uid && ruid != old->euid) {
            return refuse(c);
        }
        c->uid = ruid;
    }
    if (euid != KEEP) {
        if (!may && !one_of3(euid, old->uid, old->euid, old->suid)) {
            return refuse(c);
        }
        c->euid = euid;
    }
    if (ruid != KEEP || (euid != KEEP && euid != old->uid)) {
        c->suid = c->euid;
    }
    c->fsuid = c->euid;
    fix_caps(c, old);
    return commit(t, c);
}

long sys_setresuid(struct task *t, unsigned int ruid, unsigned int euid, unsigned int suid)
{
    const struct cred *old = t->vfs.cred;
    u32 want[3] = {ruid, euid, suid};
    struct cred *c = begin(t);

    if (c == NULL) {
        return -ENOMEM;
    }
    for (int i = 0; i < 3; i++) {
        if (want[i] != KEEP && !one_of3(want[i], old->uid, old->euid, old->suid) &&
            !cred_capable(old, CAP_SETUID)) {
            return refuse(c);
        }
    }
    c->uid = ruid != KEEP ? ruid : old->uid;
    c->euid = euid != KEEP ? euid : old->euid;
    c->suid = suid != KEEP ? suid : old->suid;
    c->fsuid = c->euid;
    fix_caps(c, old);
    return commit(t, c);
}

long sys_setfsuid(struct task *t, unsigned int uid)
{
    const struct cred *old = t->vfs.cred;
    u32 was = old->fsuid;
    struct cred *c;

    if (uid == KEEP || (uid != was && !one_of3(uid, old->uid, old->euid, old->suid) &&
                        !cred_capable(old, CAP_SETUID))) {
        return was;
    }
    c = begin(t);
    if (c != NULL) {
        c->fsuid = uid;
        (void)commit(t, c);
    }
    return was;
}

/* ---- group ids ---- */

long sys_setgid(struct task *t, unsigned int gid)
{
    const struct cred *old = t->vfs.cred;
    struct cred *c;

    if (gid == KEEP) {
        return -EINVAL;
    }
    c = begin(t);
    if (c == NULL) {
        return -ENOMEM;
    }
    if (cred_capable(old, CAP_SETGID)) {
        c->gid = c->sgid = gid;
    } else if (gid != old->gid && gid != old->sgid) {
        return refuse(c);
    }
    c->egid = c->fsgid = gid;
    return commit(t, c);
}

long sys_setregid(struct task *t, unsigned int rgid, unsigned int egid)
{
    const struct cred *old = t->vfs.cred;
    bool may = cred_capable(old, CAP_SETGID);
    struct cred *c = begin(t);

    if (c == NULL) {
        return -ENOMEM;
    }
    if (rgid != KEEP) {
        if (!may && rgid != old->gid && rgid != old->egid) {
            return refuse(c);
        }
        c->gid = rgid;
    }
    if (egid != KEEP) {
        if (!may && !one_of3(egid, old->gid, old->egid, old->sgid)) {
            return refuse(c);
        }
        c->egid = egid;
    }
    if (rgid != KEEP || (egid != KEEP && egid != old->gid)) {
        c->sgid = c->egid;
    }
    c->fsgid = c->egid;
    return commit(t, c);
}

long sys_setresgid(struct task *t, unsigned int rgid, unsigned int egid, unsigned int sgid)
{
    const struct cred *old = t->vfs.cred;
    u32 want[3] = {rgid, egid, sgid};
    struct cred *c = begin(t);

    if (c == NULL) {
        return -ENOMEM;
    }
    for (int i = 0; i < 3; i++) {
        if (want[i] != KEEP && !one_of3(want[i], old->gid, old->egid, old->sgid) &&
            !cred_capable(old, CAP_SETGID)) {
            return refuse(c);
        }
    }
    c->gid = rgid != KEEP ? rgid : old->gid;
    c->egid = egid != KEEP ? egid : old->egid;
    c->sgid = sgid != KEEP ? sgid : old->sgid;
    c->fsgid = c->egid;
    return commit(t, c);
}

long sys_setfsgid(struct task *t, unsigned int gid)
{
    const struct cred *old = t->vfs.cred;
    u32 was = old->fsgid;
    struct cred *c;

    if (gid == KEEP || (gid != was && !one_of3(gid, old->gid, old->egid, old->sgid) &&
                        !cred_capable(old, CAP_SETGID))) {
        return was;
    }
    c = begin(t);
    if (c != NULL) {
        c->fsgid = gid;
        (void)commit(t, c);
    }
    return was;
}

long sys_getgroups(struct task *t, int count, uaddr list)
{
    const struct cred *c = t->vfs.cred;

    if (count < 0 || (count > 0 && (u32)count < c->nr_groups)) {
        return -EINVAL;
    }
    if (count > 0 && c->nr_groups > 0 &&
        copy_out(list, c->groups, c->nr_groups * sizeof(u32)) != 0) {
        return -EFAULT;
    }
    return c->nr_groups;
}

static void sort_groups(u32 *g, u32 n)
{
    for (u32 gap = n / 2; gap > 0; gap /= 2) {
        for (u32 i = gap; i < n; i++) {
            u32 v = g[i], k = i;

            for (; k >= gap && g[k - gap] > v; k -= gap) {
                g[k] = g[k - gap];
            }
            g[k] = v;
        }
    }
}

long sys_setgroups(struct task *t, int count, uaddr list)
{
    u32 *groups = NULL;
    struct cred *c;

    if (!cred_capable(t->vfs.cred, CAP_SETGID)) {
        return -EPERM;
    }
    if (count < 0 || count > CRED_MAX_GROUPS) {
        return -EINVAL;
    }
    if (count > 0) {
        groups = heap_alloc((u32)count * sizeof(u32));
        if (groups == NULL) {
            return -ENOMEM;
        }
        if (copy_in(groups, list, (u32)count * sizeof(u32)) != 0) {
            heap_free(groups);
            return -EFAULT;
        }
        sort_groups(groups, (u32)count);
    }
    c = begin(t);
    if (c == NULL) {
        heap_free(groups);
        return -ENOMEM;
    }
    heap_free(c->groups);
    c->groups = groups;
    c->nr_groups = (u32)count;
    return commit(t, c);
}

/* ---- capabilities ---- */

/* Which revision's layout does the header ask for? Number of 32-bit data sets, or -EINVAL (the
 * kernel's version is written back). */
static int cap_header(uaddr uhdr, struct __user_cap_header_struct *hdr)
{
    u32 ours = _LINUX_CAPABILITY_VERSION_3;

    if (copy_in(hdr, uhdr, sizeof(*hdr)) != 0) {
        return -EFAULT;
    }
    switch (hdr->version) {
    case _LINUX_CAPABILITY_VERSION_1:
        return 1;
    case _LINUX_CAPABILITY_VERSION_2:
    case _LINUX_CAPABILITY_VERSION_3:
        return 2;
    default:
        return copy_out(uhdr, &ours, sizeof(ours)) != 0 ? -EFAULT : -EINVAL;
    }
}

long sys_capget(struct task *t, uaddr uhdr, uaddr udata)
{
    struct __user_cap_header_struct hdr;
    struct __user_cap_data_struct data[2];
    const struct cred *c;
    struct task *other;
    int sets = cap_header(uhdr, &hdr);

    if (sets < 0) {
        return sets == -EINVAL && udata == 0 ? 0 : sets;
    }
    if (hdr.pid < 0) {
        return -EINVAL;
    }
    other = hdr.pid == 0 ? task_get(t) : task_find(hdr.pid);
    c = other != NULL ? task_cred_get(other) : NULL;
    task_put(other);
    if (c == NULL) {
        return -ESRCH;
    }
    for (int i = 0; i < 2; i++) {
        data[i].effective = (u32)(c->cap_effective >> (32 * i));
        data[i].permitted = (u32)(c->cap_permitted >> (32 * i));
        data[i].inheritable = (u32)(c->cap_inheritable >> (32 * i));
    }
    cred_put(c);
    return copy_out(udata, data, (size_t)sets * sizeof(data[0]));
}

long sys_capset(struct task *t, uaddr uhdr, uaddr udata)
{
    struct __user_cap_header_struct hdr;
    struct __user_cap_data_struct data[2] = {0};
    const struct cred *old = t->vfs.cred;
    u64 eff, perm, inh;
    struct cred *c;
    int sets = cap_header(uhdr, &hdr);

    if (sets < 0) {
        return sets;
    }
    if (hdr.pid != 0 && hdr.pid != t->tid) {
        return -EPERM;
    }
    if (copy_in(data, udata, (size_t)sets * sizeof(data[0])) != 0) {
        return -EFAULT;
    }
    eff = (data[0].effective | (u64)data[1].effective << 32) & CAP_ALL;
    perm = (data[0].permitted | (u64)data[1].permitted << 32) & CAP_ALL;
    inh = (data[0].inheritable | (u64)data[1].inheritable << 32) & CAP_ALL;
    if ((perm & ~old->cap_permitted) != 0 || (eff & ~perm) != 0 ||
        (inh & ~(old->cap_inheritable | old->cap_bounding)) != 0 ||
        (!cred_capable(old, CAP_SETPCAP) &&
         (inh & ~(old->cap_inheritable | old->cap_permitted)) != 0)) {
        return -EPERM;
    }
    c = begin(t);
    if (c == NULL) {
        return -ENOMEM;
    }
    c->cap_effective = eff;
    c->cap_permitted = perm;
    c->cap_inheritable = inh;
    c->cap_ambient &= perm & inh;
    return commit(t, c);
}
