/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logging by channel and level. `--log=mm:debug,vfs:info` sets the levels; the text goes to
 * the log fd given at boot (standard error by default), one write(2) a line. Off costs one
 * predictable branch.
 */
#ifndef PAVISE_BASE_LOG_H
#define PAVISE_BASE_LOG_H

#include "base/base.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

enum log_channel {
    LOG_BASE,
    LOG_SCHED,
    LOG_PLATFORM,
    LOG_MM,
    LOG_VFS,
    LOG_KERNEL,
    LOG_LOADER,
    LOG_SOCKET,
    LOG_SYSCALL,
    LOG_RUNTIME,
    LOG_NR_CHANNELS
};

extern u8 log_levels[LOG_NR_CHANNELS];

void log_write(enum log_channel ch, enum log_level level, const char *fmt, ...) printf_like(3, 4);

/* Send log lines to `fd` (borrowed for ever). */
void log_set_fd(int fd);

/* "channel:level[,channel:level...]" or a bare level for all; -EINVAL on anything else. */
must_check int log_parse(const char *spec);

#define log_at(ch, level, ...)                                                                     \
    do {                                                                                           \
        if (unlikely(log_levels[ch] >= (level))) {                                                 \
            log_write((ch), (level), __VA_ARGS__);                                                 \
        }                                                                                          \
    } while (0)
#define log_error(ch, ...) log_at(ch, LOG_ERROR, __VA_ARGS__)
#define log_warn(ch, ...)  log_at(ch, LOG_WARN, __VA_ARGS__)
#define log_info(ch, ...)  log_at(ch, LOG_INFO, __VA_ARGS__)
#define log_debug(ch, ...) log_at(ch, LOG_DEBUG, __VA_ARGS__)

#endif
