/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "#!" lines (execve(2)): the interpreter's path, then at most one argument, which is the rest of
 * the line without surrounding blanks. Only the first LOADER_HEAD_SIZE bytes of a file count: a
 * path that may go on behind them is an error, an argument is cut.
 */
#include "sentry/loader/loader_priv.h"

bool script_is(const char *head, size_t len)
{
    return len >= 2 && head[0] == '#' && head[1] == '!';
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

int script_parse(char head[LOADER_HEAD_SIZE + 1], size_t len, char **interp, char **arg)
{
    char *at = head + 2, *end = memchr(head, '\n', len), *stop;
    bool cut = end == NULL && len == LOADER_HEAD_SIZE;

    end = end != NULL ? end : head + len;
    while (at < end && is_blank(*at)) {
        at++;
    }
    while (end > at && is_blank(end[-1])) {
        end--;
    }
    *end = '\0';
    for (stop = at; stop < end && !is_blank(*stop) && *stop != '\0'; stop++) {
    }
    if (stop == at || (cut && stop == end)) {
        return -ENOEXEC;
    }
    *interp = at;
    *arg = NULL;
    if (stop < end && *stop != '\0') {
        *stop++ = '\0';
        while (stop < end && is_blank(*stop)) {
            stop++;
        }
        *arg = *stop != '\0' ? stop : NULL;
    }
    return 0;
}
