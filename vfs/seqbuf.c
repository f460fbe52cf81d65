/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seqbuf: the text of a generated file while it is being written. It doubles as it grows, up to
 * PSEUDO_TEXT_MAX; after an error everything more is dropped and the error kept. Owned by one
 * fiber, no locks.
 */
#include "base/heap.h"
#include "vfs/pseudo.h"

#include <stdarg.h>
#include <stdio.h>

#define SEQ_FIRST_SIZE 512UL

/* Room for `len` more bytes and a NUL. */
static int seq_reserve(struct seqbuf *s, size_t len)
{
    size_t want = max(s->cap, SEQ_FIRST_SIZE);
    char *text;

    if (s->err != 0) {
        return s->err;
    }
    if (len > PSEUDO_TEXT_MAX - 1 - s->len) {
        return s->err = -ENOMEM;
    }
    if (s->len + len < s->cap) {
        return 0;
    }
    while (want <= s->len + len) {
        want *= 2;
    }
    want = min(want, PSEUDO_TEXT_MAX);
    text = s->text == NULL ? heap_alloc(want) : heap_realloc(s->text, s->cap, want);
    if (text == NULL) {
        return s->err = -ENOMEM;
    }
    s->text = text;
    s->cap = want;
    return 0;
}

int seq_write(struct seqbuf *s, const void *data, size_t len)
{
    if (seq_reserve(s, len) == 0) {
        memcpy(s->text + s->len, data, len);
        s->len += len;
        s->text[s->len] = '\0';
    }
    return s->err;
}

int seq_puts(struct seqbuf *s, const char *str)
{
    return seq_write(s, str, strlen(str));
}

int seq_putc(struct seqbuf *s, char c)
{
    return seq_write(s, &c, 1);
}

int seq_printf(struct seqbuf *s, const char *fmt, ...)
{
    char small[256];
    va_list ap;
    int len;

    va_start(ap, fmt);
    len = vsnprintf(small, sizeof(small), fmt, ap);
    va_end(ap);
    if (len < (int)sizeof(small)) {
        return seq_write(s, small, len > 0 ? (size_t)len : 0);
    }
    if (seq_reserve(s, (size_t)len) == 0) {
        va_start(ap, fmt);
        (void)vsnprintf(s->text + s->len, (size_t)len + 1, fmt, ap);
        va_end(ap);
        s->len += (size_t)len;
    }
    return s->err;
}

int seq_escape(struct seqbuf *s, const char *str, const char *esc)
{
    for (; *str != '\0'; str++) {
        if (strchr(esc, *str) != NULL) {
            (void)seq_printf(s, "\\%03o", (unsigned)(u8)*str);
        } else {
            (void)seq_putc(s, *str);
        }
    }
    return s->err;
}

int seq_pad(struct seqbuf *s, size_t column)
{
    size_t line = s->len;

    while (line > 0 && s->text[line - 1] != '\n') {
        line--;
    }
    while (s->err == 0 && s->len - line < column) {
        (void)seq_putc(s, ' ');
    }
    return s->err;
}

void seq_fini(struct seqbuf *s)
{
    heap_free(s->text);
    *s = (struct seqbuf){0};
}
