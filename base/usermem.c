/* SPDX-License-Identifier: Apache-2.0 */
/* The door to guest memory for code that knows no tasks; see the header. */
#include "base/usermem.h"

#include "base/err.h"

static const struct usermem_ops *ops;

void usermem_set_ops(const struct usermem_ops *o)
{
    ops = o;
}

int copy_in(void *dst, uaddr src, size_t len)
{
    return ops->copy_in(dst, src, len);
}

int copy_out(uaddr dst, const void *src, size_t len)
{
    return ops->copy_out(dst, src, len);
}

ssize_t copy_in_some(void *dst, uaddr src, size_t len)
{
    return ops->copy_in_some(dst, src, len);
}

ssize_t copy_out_some(uaddr dst, const void *src, size_t len)
{
    return ops->copy_out_some(dst, src, len);
}

ssize_t zero_out_some(uaddr dst, size_t len)
{
    return ops->zero_out_some(dst, len);
}

ssize_t copy_in_str(char *dst, uaddr src, size_t size)
{
    return ops->copy_in_str(dst, src, size);
}

int usermem_pin(uaddr addr, size_t len, bool write, struct iovec *iov, int max)
{
    return ops->pin != NULL ? ops->pin(addr, len, write, iov, max) : 0;
}

void usermem_unpin(const struct iovec *iov, int count)
{
    if (ops->unpin != NULL) {
        ops->unpin(iov, count);
    }
}
