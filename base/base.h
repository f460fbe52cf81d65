/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words every file uses: integer names, guest addresses, attributes and the
 * small macros that a function cannot replace.
 */
#ifndef PAVISE_BASE_BASE_H
#define PAVISE_BASE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;

/*
 * An address in the guest. It is an integer so that it can never be dereferenced:
 * the only ways to the bytes behind it are base/usermem.h and base/uio.h.
 */
typedef u64 uaddr;

#define PAGE_SHIFT 12
#define PAGE_SIZE  (1UL << PAGE_SHIFT)
#define PAGE_MASK  (~(PAGE_SIZE - 1))
#define CACHELINE  64

#define KiB (1UL << 10)
#define MiB (1UL << 20)
#define GiB (1UL << 30)
#define TiB (1UL << 40)

#define NSEC_PER_USEC 1000UL
#define NSEC_PER_MSEC 1000000UL
#define NSEC_PER_SEC  1000000000UL

#define ARRAY_SIZE(a)                   (sizeof(a) / sizeof((a)[0]))
#define ALIGN_DOWN(x, a)                ((x) & ~((__typeof__(x))(a)-1))
#define ALIGN_UP(x, a)                  ALIGN_DOWN((x) + ((__typeof__(x))(a)-1), a)
#define IS_ALIGNED(x, a)                (((x) & ((__typeof__(x))(a)-1)) == 0)
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* The names are unique, so that min(min(a, b), c) shadows nothing. */
#define CONCAT2(a, b) a##b
#define CONCAT(a, b)  CONCAT2(a, b)
#define PICK(a, op, b, n)                                                                          \
    ({                                                                                             \
        __typeof__(a) CONCAT(pick_a, n) = (a);                                                     \
        __typeof__(b) CONCAT(pick_b, n) = (b);                                                     \
        CONCAT(pick_a, n) op CONCAT(pick_b, n) ? CONCAT(pick_a, n) : CONCAT(pick_b, n);            \
    })
#define min(a, b) PICK(a, <, b, __COUNTER__)
#define max(a, b) PICK(a, >, b, __COUNTER__)

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define must_check             __attribute__((warn_unused_result))
#define noreturn_fn            __attribute__((noreturn))
#define noinline_fn            __attribute__((noinline))
#define cold_fn                __attribute__((cold))
#define unused_arg             __attribute__((unused))
#define printf_like(fmt, args) __attribute__((format(printf, fmt, args)))
#define packed_struct          __attribute__((packed))

/* Is [start, start + len) a range that neither wraps nor passes `limit`? */
static inline bool range_ok(u64 start, u64 len, u64 limit)
{
    return len <= limit && start <= limit - len;
}

#endif
