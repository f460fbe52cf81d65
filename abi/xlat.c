/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking up and writing names of flags and constants. An entry that fits takes its bits out of the
 * word; what is left at the end is written as a number. Nothing here allocates or fails.
 */
#include "abi/xlat.h"

#include <stdio.h>

/* Append to buf[0..size) at *len; text that does not fit is cut. */
static void append(char *buf, size_t size, size_t *len, const char *text)
{
    size_t n = strlen(text);
    size_t room = size - 1 - *len;

    n = min(n, room);
    memcpy(buf + *len, text, n);
    *len += n;
    buf[*len] = '\0';
}

size_t xlat_format(const struct xlat *x, u64 value, char *buf, size_t size)
{
    size_t len = 0;
    u64 left = value;
    char number[24];

    buf[0] = '\0';
    for (size_t i = 0; i < x->count; i++) {
        const struct xlat_entry *e = &x->entries[i];
        u64 word = e->mask == ~0ULL ? value : left;

        if (e->mask != 0 && (word & e->mask) == e->value) {
            append(buf, size, &len, len == 0 ? "" : "|");
            append(buf, size, &len, e->name);
            left &= ~e->mask;
            if (e->mask == ~0ULL) {
                return len;
            }
        }
    }
    if (left != 0 || len == 0) {
        snprintf(number, sizeof(number), left == 0 ? "%s0" : "%s0x%llx", len == 0 ? "" : "|",
                 (unsigned long long)left);
        append(buf, size, &len, number);
    }
    return len;
}

const char *xlat_name(const struct xlat *x, u64 value)
{
    for (size_t i = 0; i < x->count; i++) {
        if (x->entries[i].value == value) {
            return x->entries[i].name;
        }
    }
    return NULL;
}
