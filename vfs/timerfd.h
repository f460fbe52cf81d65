/* SPDX-License-Identifier: Apache-2.0 */
/* timerfd_create(2). */
#ifndef PAVISE_VFS_TIMERFD_H
#define PAVISE_VFS_TIMERFD_H

#include "vfs/vfs.h"

/* flags: TFD_NONBLOCK, TFD_CLOEXEC. ERR_PTR(-EINVAL) for a clock or flag Linux refuses, -EPERM for
 * alarm clocks without CAP_WAKE_ALARM. TFD_TIMER_CANCEL_ON_SET is accepted: a guest cannot set the
 * clock. */
must_check struct file *timerfd_new(int clockid, int flags, const struct cred *cred);
bool file_is_timerfd(const struct file *f);
/* old may be NULL. -EINVAL: not a timerfd, bad flags or times. */
must_check int timerfd_set(struct file *f, int flags, const struct itimerspec *new,
                           struct itimerspec *old);
must_check int timerfd_get(struct file *f, struct itimerspec *cur);
#endif
