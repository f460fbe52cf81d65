/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of flags and constants, for strace, logs and test messages. The tables are generated from
 * abi/xlat/NAME.in as `xlat_NAME` (xlat_gen.h of the build directory).
 */
#ifndef PAVISE_ABI_XLAT_H
#define PAVISE_ABI_XLAT_H

#include "base/base.h"

/* `name` stands for `value` where the word, restricted to `mask`, equals it. */
struct xlat_entry {
    const char *name;
    u64 value;
    u64 mask;
};

struct xlat {
    const struct xlat_entry *entries;
    size_t count;
};

/* Write `value` as "A|B|0x8" into buf (always terminated, shortened if need be). Its length. */
size_t xlat_format(const struct xlat *x, u64 value, char *buf, size_t size);

/* The name of exactly this value, or NULL. */
const char *xlat_name(const struct xlat *x, u64 value);

#endif
