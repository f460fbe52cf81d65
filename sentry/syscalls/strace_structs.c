/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How strace writes a structure of the guest's: one printer a type, on a copy of the guest's bytes,
 * found through one table that also tells the size.
 */
#include "abi/signal.h"
#include "abi/xlat_gen.h"
#include "base/usermem.h"
#include "sentry/syscalls/strace_priv.h"

#include <inttypes.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <linux/sched/types.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <time.h>
#include <utime.h>

#define STRUCT_MAX 400

static void print_timespec(struct strace_line *l, const void *p)
{
    const struct timespec *t = p;

    line_printf(l, "{tv_sec=%ld, tv_nsec=%ld}", (long)t->tv_sec, t->tv_nsec);
}

static void print_timespec2(struct strace_line *l, const void *p)
{
    const struct timespec *t = p;

    line_printf(l, "[");
    print_timespec(l, &t[0]);
    line_printf(l, ", ");
    print_timespec(l, &t[1]);
    line_printf(l, "]");
}

static void print_timeval(struct strace_line *l, const void *p)
{
    const struct timeval *t = p;

    line_printf(l, "{tv_sec=%ld, tv_usec=%ld}", (long)t->tv_sec, (long)t->tv_usec);
}

static void print_timeval2(struct strace_line *l, const void *p)
{
    const struct timeval *t = p;

    line_printf(l, "[");
    print_timeval(l, &t[0]);
    line_printf(l, ", ");
    print_timeval(l, &t[1]);
    line_printf(l, "]");
}

static void print_itimerspec(struct strace_line *l, const void *p)
{
    const struct itimerspec *t = p;

    line_printf(l, "{it_interval=");
    print_timespec(l, &t->it_interval);
    line_printf(l, ", it_value=");
    print_timespec(l, &t->it_value);
    line_printf(l, "}");
}

static void print_itimerval(struct strace_line *l, const void *p)
{
    const struct itimerval *t = p;

    line_printf(l, "{it_interval=");
    print_timeval(l, &t->it_interval);
    line_printf(l, ", it_value=");
    print_timeval(l, &t->it_value);
    line_printf(l, "}");
}

static void print_timezone(struct strace_line *l, const void *p)
{
    const struct timezone *t = p;

    line_printf(l, "{tz_minuteswest=%d, tz_dsttime=%d}", t->tz_minuteswest, t->tz_dsttime);
}

static void print_mode(struct strace_line *l, u32 mode)
{
    line_printf(l, "st_mode=");
    line_xlat(l, &xlat_filetype, mode & S_IFMT);
    line_printf(l, "|%#o", mode & ~(u32)S_IFMT);
}

static void print_stat(struct strace_line *l, const void *p)
{
    const struct stat *s = p;

    line_printf(l, "{");
    print_mode(l, s->st_mode);
    line_printf(l, ", st_ino=%lu, st_nlink=%lu, st_uid=%u, st_gid=%u, st_size=%ld, ...}",
                (unsigned long)s->st_ino, (unsigned long)s->st_nlink, s->st_uid, s->st_gid,
                (long)s->st_size);
}

static void print_statx(struct strace_line *l, const void *p)
{
    const struct statx *s = p;

    line_printf(l, "{stx_mask=");
    line_xlat(l, &xlat_statx, s->stx_mask);
    line_printf(l, ", ");
    print_mode(l, s->stx_mode);
    line_printf(l, ", stx_ino=%llu, stx_size=%llu, ...}", (unsigned long long)s->stx_ino,
                (unsigned long long)s->stx_size);
}

static void print_statfs(struct strace_line *l, const void *p)
{
    const struct statfs *s = p;

    line_printf(l, "{f_type=%#lx, f_bsize=%lu, f_blocks=%lu, f_bfree=%lu, ...}", (long)s->f_type,
                (long)s->f_bsize, (long)s->f_blocks, (long)s->f_bfree);
}

static void print_rlimit(struct strace_line *l, const void *p)
{
    const struct rlimit *r = p;

    line_printf(l, "{rlim_cur=");
    line_printf(l, r->rlim_cur == RLIM_INFINITY ? "RLIM_INFINITY" : "%lu", (long)r->rlim_cur);
    line_printf(l, ", rlim_max=");
    line_printf(l, r->rlim_max == RLIM_INFINITY ? "RLIM_INFINITY}" : "%lu}", (long)r->rlim_max);
}

static void print_rusage(struct strace_line *l, const void *p)
{
    const struct rusage *r = p;

    line_printf(l, "{ru_utime=");
    print_timeval(l, &r->ru_utime);
    line_printf(l, ", ru_stime=");
    print_timeval(l, &r->ru_stime);
    line_printf(l, ", ...}");
}

static void print_sigaction(struct strace_line *l, const void *p)
{
    const struct abi_sigaction *a = p;

    line_printf(l, "{sa_handler=");
    if (a->handler <= 1) {
        line_printf(l, a->handler == 0 ? "SIG_DFL" : "SIG_IGN");
    } else {
        line_printf(l, "%#" PRIx64, a->handler);
    }
    line_printf(l, ", sa_mask=");
    line_sigset(l, a->mask);
    line_printf(l, ", sa_flags=");
    line_xlat(l, &xlat_sigaction, a->flags);
    line_printf(l, "}");
}

static void print_stack(struct strace_line *l, const void *p)
{
    const struct abi_stack *s = p;

    line_printf(l, "{ss_sp=%#" PRIx64 ", ss_flags=%#x, ss_size=%" PRIu64 "}", s->ss_sp,
                (unsigned)s->ss_flags, s->ss_size);
}

static void print_siginfo(struct strace_line *l, const void *p)
{
    const struct abi_siginfo *s = p;

    line_printf(l, "{si_signo=");
    line_signal(l, (u32)s->si_signo);
    line_printf(l, ", si_code=%d, si_pid=%d, si_uid=%u", s->si_code, s->u.kill.pid, s->u.kill.uid);
    if (s->si_signo == SIGCHLD) {
        line_printf(l, ", si_status=%d", s->u.chld.status);
    }
    line_printf(l, "}");
}

static void print_sigevent(struct strace_line *l, const void *p)
{
    const struct sigevent *s = p;

    line_printf(l, "{sigev_signo=");
    line_signal(l, (u32)s->sigev_signo);
    line_printf(l, ", sigev_notify=%d, sigev_value=%p}", s->sigev_notify, s->sigev_value.sival_ptr);
}

static void print_sysinfo(struct strace_line *l, const void *p)
{
    const struct sysinfo *s = p;

    line_printf(l, "{uptime=%ld, totalram=%lu, freeram=%lu, procs=%u, ...}", s->uptime, s->totalram,
                s->freeram, s->procs);
}

static void print_utsname(struct strace_line *l, const void *p)
{
    const struct utsname *u = p;

    line_printf(l, "{sysname=");
    line_quote(l, u->sysname, strnlen(u->sysname, sizeof(u->sysname)), false);
    line_printf(l, ", nodename=");
    line_quote(l, u->nodename, strnlen(u->nodename, sizeof(u->nodename)), false);
    line_printf(l, ", ...}");
}

static void print_tms(struct strace_line *l, const void *p)
{
    const struct tms *t = p;

    line_printf(l, "{tms_utime=%ld, tms_stime=%ld, tms_cutime=%ld, tms_cstime=%ld}", t->tms_utime,
                t->tms_stime, t->tms_cutime, t->tms_cstime);
}

static void print_utimbuf(struct strace_line *l, const void *p)
{
    const struct utimbuf *u = p;

    line_printf(l, "{actime=%ld, modtime=%ld}", (long)u->actime, (long)u->modtime);
}

static void print_epoll_event(struct strace_line *l, const void *p)
{
    const struct epoll_event *e = p;

    line_printf(l, "{events=");
    line_xlat(l, &xlat_epoll_event, e->events);
    line_printf(l, ", data=%#" PRIx64 "}", (u64)e->data.u64);
}

static void print_open_how(struct strace_line *l, const void *p)
{
    const struct open_how *h = p;

    line_printf(l, "{flags=");
    line_xlat(l, &xlat_open, h->flags);
    line_printf(l, ", mode=%#llo, resolve=%#llx}", (unsigned long long)h->mode,
                (unsigned long long)h->resolve);
}

/* The first version of the struct: 64 bytes, the rest is rare. */
static void print_clone_args(struct strace_line *l, const void *p)
{
    const struct clone_args *c = p;

    line_printf(l, "{flags=");
    line_xlat(l, &xlat_clone, c->flags);
    line_printf(l, ", exit_signal=");
    line_signal(l, c->exit_signal);
    line_printf(l, ", stack=%#llx, stack_size=%#llx, tls=%#llx, ...}", (unsigned long long)c->stack,
                (unsigned long long)c->stack_size, (unsigned long long)c->tls);
}

static void print_sched_param(struct strace_line *l, const void *p)
{
    const s32 *priority = p;

    line_printf(l, "[%d]", *priority);
}

static void print_sched_attr(struct strace_line *l, const void *p)
{
    const struct sched_attr *a = p;

    line_printf(l, "{sched_policy=");
    line_xlat(l, &xlat_sched, a->sched_policy);
    line_printf(l, ", sched_nice=%d, sched_priority=%u, ...}", a->sched_nice, a->sched_priority);
}

static void print_sembuf(struct strace_line *l, const void *p)
{
    const struct sembuf *s = p;

    line_printf(l, "[{sem_num=%u, sem_op=%d, sem_flg=%#x}, ...]", s->sem_num, s->sem_op,
                (u16)s->sem_flg);
}

static void print_caphdr(struct strace_line *l, const void *p)
{
    const struct __user_cap_header_struct *h = p;

    line_printf(l, "{version=%#x, pid=%d}", h->version, h->pid);
}

static void print_capdata(struct strace_line *l, const void *p)
{
    const struct __user_cap_data_struct *d = p;

    line_printf(l, "{effective=%#x, permitted=%#x, inheritable=%#x, ...}", d->effective,
                d->permitted, d->inheritable);
}

static void print_timex(struct strace_line *l, const void *p)
{
    const u32 *modes = p;

    line_printf(l, "{modes=%#x, ...}", *modes);
}

static const struct {
    size_t size;
    void (*print)(struct strace_line *l, const void *p);
} printers[STRACE_NR_STRUCTS] = {
    [STRACE_CAPDATA] = {sizeof(struct __user_cap_data_struct), print_capdata},
    [STRACE_CAPHDR] = {sizeof(struct __user_cap_header_struct), print_caphdr},
    [STRACE_CLONE_ARGS] = {64, print_clone_args},
    [STRACE_EPOLL_EVENT] = {sizeof(struct epoll_event), print_epoll_event},
    [STRACE_ITIMERSPEC] = {sizeof(struct itimerspec), print_itimerspec},
    [STRACE_ITIMERVAL] = {sizeof(struct itimerval), print_itimerval},
    [STRACE_OPEN_HOW] = {sizeof(struct open_how), print_open_how},
    [STRACE_RLIMIT] = {sizeof(struct rlimit), print_rlimit},
    [STRACE_RUSAGE] = {sizeof(struct rusage), print_rusage},
    [STRACE_SCHED_ATTR] = {48, print_sched_attr},
    [STRACE_SCHED_PARAM] = {sizeof(s32), print_sched_param},
    [STRACE_SEMBUF] = {sizeof(struct sembuf), print_sembuf},
    [STRACE_SIGACTION] = {sizeof(struct abi_sigaction), print_sigaction},
    [STRACE_SIGEVENT] = {sizeof(struct sigevent), print_sigevent},
    [STRACE_SIGINFO] = {sizeof(struct abi_siginfo), print_siginfo},
    [STRACE_STACK] = {sizeof(struct abi_stack), print_stack},
    [STRACE_STAT] = {sizeof(struct stat), print_stat},
    [STRACE_STATFS] = {sizeof(struct statfs), print_statfs},
    [STRACE_STATX] = {sizeof(struct statx), print_statx},
    [STRACE_SYSINFO] = {sizeof(struct sysinfo), print_sysinfo},
    [STRACE_TIMESPEC] = {sizeof(struct timespec), print_timespec},
    [STRACE_TIMESPEC2] = {2 * sizeof(struct timespec), print_timespec2},
    [STRACE_TIMEVAL] = {sizeof(struct timeval), print_timeval},
    [STRACE_TIMEVAL2] = {2 * sizeof(struct timeval), print_timeval2},
    [STRACE_TIMEX] = {sizeof(u32), print_timex},
    [STRACE_TIMEZONE] = {sizeof(struct timezone), print_timezone},
    [STRACE_TMS] = {sizeof(struct tms), print_tms},
    [STRACE_UTIMBUF] = {sizeof(struct utimbuf), print_utimbuf},
    [STRACE_UTSNAME] = {sizeof(struct utsname), print_utsname},
};

void strace_struct(struct strace_line *l, unsigned type, uaddr addr)
{
    _Alignas(16) u8 data[STRUCT_MAX] = {0};
    size_t size = printers[type].size;

    if (addr == 0 || size > sizeof(data) || copy_in_some(data, addr, size) != (ssize_t)size) {
        line_printf(l, addr == 0 ? "NULL" : "%#" PRIx64, addr);
        return;
    }
    printers[type].print(l, data);
}
