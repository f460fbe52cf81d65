/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The current task's memory, for code that knows no tasks (ioctl handlers, uio). The address
 * space is that of the calling fiber. sentry/mm supplies the operations at boot; unit tests
 * supply their own.
 *
 * Every function may fault pages in and may park: never call one with a spin lock or a
 * leaf-ranked lock held. Nothing is ever read twice: copy in once, check the copy, use the copy.
 */
#ifndef PAVISE_BASE_USERMEM_H
#define PAVISE_BASE_USERMEM_H

#include "base/base.h"

#include <sys/uio.h>

struct usermem_ops {
    /* All or nothing: 0 or -EFAULT. */
    int (*copy_in)(void *dst, uaddr src, size_t len);
    int (*copy_out)(uaddr dst, const void *src, size_t len);
    /* As far as possible: bytes done, or -EFAULT if none. */
    ssize_t (*copy_in_some)(void *dst, uaddr src, size_t len);
    ssize_t (*copy_out_some)(uaddr dst, const void *src, size_t len);
    ssize_t (*zero_out_some)(uaddr dst, size_t len);
    /* A C string of at most size-1 bytes: its length without NUL, -EFAULT or -ENAMETOOLONG. */
    ssize_t (*copy_in_str)(char *dst, uaddr src, size_t size);
    /*
     * Sentry addresses of the guest bytes [addr, addr+len), faulted in for `write` or read and
     * kept from being freed until unpin: fills at most `max` iovecs, returns how many (they may
     * cover only the beginning), 0 when the first byte lies in memory that has no sentry address
     * (a mapped host file: use the copy functions), or -EFAULT.
     */
    int (*pin)(uaddr addr, size_t len, bool write, struct iovec *iov, int max);
    void (*unpin)(const struct iovec *iov, int count);
};

void usermem_set_ops(const struct usermem_ops *ops);

must_check int copy_in(void *dst, uaddr src, size_t len);
must_check int copy_out(uaddr dst, const void *src, size_t len);
must_check ssize_t copy_in_some(void *dst, uaddr src, size_t len);
must_check ssize_t copy_out_some(uaddr dst, const void *src, size_t len);
must_check ssize_t zero_out_some(uaddr dst, size_t len);
must_check ssize_t copy_in_str(char *dst, uaddr src, size_t size);
must_check int usermem_pin(uaddr addr, size_t len, bool write, struct iovec *iov, int max);
void usermem_unpin(const struct iovec *iov, int count);

#endif
