/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines: built in one buffer, sent with one write, so that lines of several threads do not mix.
 */
#include "base/log.h"

#include "base/err.h"
#include "base/host.h"

#include <stdarg.h>
#include <stdio.h>

u8 log_levels[LOG_NR_CHANNELS] = {
    [LOG_BASE] = LOG_WARN,    [LOG_SCHED] = LOG_WARN,  [LOG_PLATFORM] = LOG_WARN,
    [LOG_MM] = LOG_WARN,      [LOG_VFS] = LOG_WARN,    [LOG_KERNEL] = LOG_WARN,
    [LOG_LOADER] = LOG_WARN,  [LOG_SOCKET] = LOG_WARN, [LOG_SYSCALL] = LOG_WARN,
    [LOG_RUNTIME] = LOG_WARN,
};

static const char *const channel_names[LOG_NR_CHANNELS] = {
    "base", "sched", "platform", "mm", "vfs", "kernel", "loader", "socket", "syscall", "runtime",
};
static const char *const level_names[] = {"error", "warn", "info", "debug"};

static int log_fd = 2;

void log_set_fd(int fd)
{
    log_fd = fd;
}

void log_write(enum log_channel ch, enum log_level level, const char *fmt, ...)
{
    char line[1024];
    int head =
        snprintf(line, sizeof(line), "pavise: %s: %s: ", channel_names[ch], level_names[level]);
    int body;
    size_t len;
    va_list ap;

    va_start(ap, fmt);
    body = vsnprintf(line + head, sizeof(line) - (size_t)head - 1, fmt, ap);
    va_end(ap);
    if (body < 0) {
        return;
    }
    len = (size_t)head + (size_t)body;
    if (len > sizeof(line) - 2) {
        len = sizeof(line) - 2;
    }
    line[len++] = '\n';
    (void)!host_write(log_fd, line, len);
}

static int find_word(const char *const *names, unsigned count, const char *word, size_t len)
{
    for (unsigned i = 0; i < count; i++) {
        if (strlen(names[i]) == len && memcmp(names[i], word, len) == 0) {
            return (int)i;
        }
    }
    return -1;
}

int log_parse(const char *spec)
{
    while (*spec != '\0') {
        size_t item = strcspn(spec, ",");
        const char *colon = memchr(spec, ':', item);
        const char *word = colon != NULL ? colon + 1 : spec;
        int level =
            find_word(level_names, ARRAY_SIZE(level_names), word, item - (size_t)(word - spec));
        int channel = -1;

        if (level < 0) {
            return -EINVAL;
        }
        if (colon == NULL) {
            memset(log_levels, level, sizeof(log_levels));
        } else {
            channel = find_word(channel_names, LOG_NR_CHANNELS, spec, (size_t)(colon - spec));
            if (channel < 0) {
                return -EINVAL;
            }
            log_levels[channel] = (u8)level;
        }
        spec += item;
        spec += *spec == ',';
    }
    return 0;
}
