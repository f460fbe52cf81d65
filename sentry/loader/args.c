/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Argument and environment strings on their way from one address space to the next. Each of the two
 * is a stream of NUL-terminated strings in fixed chunks of kernel heap, bounded as in Linux: 128
 * KiB a string, and in all (a pointer each included) the limit given to arg_block_new.
 *
 * The guest's vector and strings are read once; a string that changes meanwhile is taken as it was
 * read, always ended by a NUL of ours.
 */
#include "base/heap.h"
#include "base/usermem.h"
#include "sentry/loader/loader_priv.h"

#define CHUNK_BYTES    (16 * KiB - sizeof(void *) - sizeof(u32))
#define ARG_STRLEN_MAX (128 * KiB) /* with the NUL */
#define LIMIT_MIN      (128 * KiB)
#define LIMIT_MAX      (6 * MiB)
#define PTR_BATCH      32U

struct arg_chunk {
    struct arg_chunk *next;
    u32 len;
    char bytes[CHUNK_BYTES];
};

DEFINE_CACHE(arg_chunk_cache, struct arg_chunk);
DEFINE_CACHE(arg_block_cache, struct arg_block);

struct arg_block *arg_block_new(u64 limit)
{
    struct arg_block *b = cache_new(arg_block_cache);

    if (b != NULL) {
        b->limit = min(max(limit, LIMIT_MIN), LIMIT_MAX);
    }
    return b;
}

static void stream_free(struct arg_stream *s)
{
    struct arg_chunk *c;

    while ((c = s->first) != NULL) {
        s->first = c->next;
        cache_del(arg_chunk_cache, c);
    }
}

void arg_block_free(struct arg_block *b)
{
    if (b == NULL) {
        return;
    }
    for (u32 i = 0; i < b->nr_front; i++) {
        heap_free(b->front[i]);
    }
    stream_free(&b->args);
    stream_free(&b->envs);
    cache_del(arg_block_cache, b);
}

/* Room at the end of the stream: *room bytes at the result, at least one. NULL: no memory. */
static char *stream_room(struct arg_stream *s, size_t *room)
{
    struct arg_chunk *c = s->last;

    if (c == NULL || c->len == CHUNK_BYTES) {
        c = cache_new(arg_chunk_cache);
        if (c == NULL) {
            return NULL;
        }
        if (s->last != NULL) {
            s->last->next = c;
        } else {
            s->first = c;
        }
        s->last = c;
    }
    *room = CHUNK_BYTES - c->len;
    return c->bytes + c->len;
}

static void stream_took(struct arg_stream *s, size_t len)
{
    s->last->len += (u32)len;
    s->len += len;
}

static int charge(struct arg_block *b, u64 bytes)
{
    if (bytes > b->limit - b->used) {
        return -E2BIG;
    }
    b->used += bytes;
    return 0;
}

int arg_block_add(struct arg_block *b, const char *str, bool env)
{
    struct arg_stream *s = env ? &b->envs : &b->args;
    size_t left = strlen(str) + 1, room;
    int err = left > ARG_STRLEN_MAX ? -E2BIG : charge(b, left + sizeof(u64));

    if (err != 0) {
        return err;
    }
    while (left > 0) {
        char *to = stream_room(s, &room);

        if (to == NULL) {
            return -ENOMEM;
        }
        room = min(room, left);
        memcpy(to, str, room);
        stream_took(s, room);
        str += room;
        left -= room;
    }
    s->count++;
    return 0;
}

/* One string of the guest. */
static int add_user_string(struct arg_block *b, struct arg_stream *s, uaddr str)
{
    u64 len = 0;
    int err = charge(b, sizeof(u64));

    while (err == 0) {
        size_t room, want;
        char *to = stream_room(s, &room), *nul;
        ssize_t n;

        if (to == NULL) {
            return -ENOMEM;
        }
        want = min(room, PAGE_SIZE - ((str + len) & ~PAGE_MASK));
        n = copy_in_some(to, str + len, want);
        if (n <= 0) {
            return -EFAULT;
        }
        nul = memchr(to, 0, (size_t)n);
        n = nul != NULL ? nul + 1 - to : n;
        len += (u64)n;
        err = len > ARG_STRLEN_MAX ? -E2BIG : charge(b, (u64)n);
        if (err == 0) {
            stream_took(s, (size_t)n);
        }
        if (err == 0 && nul != NULL) {
            s->count++;
            return 0;
        }
    }
    return err;
}

int arg_block_add_user(struct arg_block *b, uaddr vec, bool env)
{
    struct arg_stream *s = env ? &b->envs : &b->args;
    u64 ptrs[PTR_BATCH];

    if (vec == 0) {
        return 0;
    }
    for (;;) {
        /* Not past the page: what lies behind the vector's end may not exist. */
        u64 in_page = (PAGE_SIZE - (vec & ~PAGE_MASK)) / sizeof(u64);
        u64 count = min(max(in_page, 1UL), (u64)PTR_BATCH);

        if (copy_in(ptrs, vec, count * sizeof(u64)) != 0) {
            return -EFAULT;
        }
        for (u64 i = 0; i < count; i++) {
            int err = ptrs[i] == 0 ? 0 : add_user_string(b, s, ptrs[i]);

            if (ptrs[i] == 0 || err != 0) {
                return err;
            }
        }
        vec += count * sizeof(u64);
    }
}

u32 arg_block_argc(const struct arg_block *b)
{
    return b->nr_front + b->args.count;
}

static int push_front(struct arg_block *b, const char *str)
{
    int err = charge(b, strlen(str) + 1 + sizeof(u64));

    if (err != 0) {
        return err;
    }
    if (b->nr_front == ARRAY_SIZE(b->front)) {
        return -ELOOP;
    }
    b->front[b->nr_front] = heap_strdup(str);
    if (b->front[b->nr_front] == NULL) {
        return -ENOMEM;
    }
    b->nr_front++;
    return 0;
}

/* Drop argv[0]. */
static void drop_first(struct arg_block *b)
{
    struct arg_stream *s = &b->args;
    u64 at = 0;

    if (b->nr_front > 0) {
        heap_free(b->front[--b->nr_front]);
        b->front[b->nr_front] = NULL;
        return;
    }
    if (s->count == 0) {
        return;
    }
    for (struct arg_chunk *c = s->first; c != NULL; at += c->len, c = c->next) {
        u64 from = s->skip > at ? s->skip - at : 0;
        char *nul = from < c->len ? memchr(c->bytes + from, 0, c->len - from) : NULL;

        if (nul != NULL) {
            s->skip = at + (u64)(nul + 1 - c->bytes);
            s->count--;
            return;
        }
    }
}

int arg_block_interpret(struct arg_block *b, const char *interp, const char *arg, const char *name)
{
    int err;

    drop_first(b);
    err = push_front(b, name);
    if (err == 0 && arg != NULL) {
        err = push_front(b, arg);
    }
    return err != 0 ? err : push_front(b, interp);
}

u64 arg_block_bytes(const struct arg_block *b, bool env)
{
    u64 sum = env ? b->envs.len : b->args.len - b->args.skip;

    for (u32 i = 0; !env && i < b->nr_front; i++) {
        sum += strlen(b->front[i]) + 1;
    }
    return sum;
}

/* ---- into the new address space ---- */

/* Where the strings and the pointers to them go. */
struct store {
    struct mm *mm;
    uaddr at, vec;
    u64 ptrs[PTR_BATCH];
    u32 nr_ptrs;
    bool in_string;
};

static int store_bytes(struct mm *mm, uaddr at, const void *src, size_t len)
{
    return mm_copy_out(mm, at, src, len, false) == (ssize_t)len ? 0 : -EFAULT;
}

static int store_flush(struct store *st)
{
    size_t len = st->nr_ptrs * sizeof(u64);
    int err = store_bytes(st->mm, st->vec, st->ptrs, len);

    st->vec += len;
    st->nr_ptrs = 0;
    return err;
}

static int store_pointer(struct store *st, u64 ptr)
{
    st->ptrs[st->nr_ptrs++] = ptr;
    return st->nr_ptrs == PTR_BATCH ? store_flush(st) : 0;
}

/* A piece of a stream of strings. */
static int store_piece(struct store *st, const char *bytes, size_t len)
{
    int err = store_bytes(st->mm, st->at, bytes, len);

    for (size_t i = 0; err == 0 && i < len;) {
        const char *nul = memchr(bytes + i, 0, len - i);

        if (!st->in_string) {
            err = store_pointer(st, st->at + i);
        }
        st->in_string = nul == NULL;
        i = nul != NULL ? (size_t)(nul + 1 - bytes) : len;
    }
    st->at += len;
    return err;
}

int arg_block_store(const struct arg_block *b, bool env, struct mm *mm, uaddr at, uaddr vec)
{
    const struct arg_stream *s = env ? &b->envs : &b->args;
    struct store st = {.mm = mm, .at = at, .vec = vec};
    u64 skip = s->skip;
    int err = 0;

    for (u32 i = env ? 0 : b->nr_front; err == 0 && i > 0; i--) {
        err = store_piece(&st, b->front[i - 1], strlen(b->front[i - 1]) + 1);
    }
    for (const struct arg_chunk *c = s->first; err == 0 && c != NULL; c = c->next) {
        u64 drop = min(skip, (u64)c->len);

        skip -= drop;
        if (drop < c->len) {
            err = store_piece(&st, c->bytes + drop, c->len - drop);
        }
    }
    if (err == 0) {
        err = store_pointer(&st, 0);
    }
    return err != 0 ? err : store_flush(&st);
}
