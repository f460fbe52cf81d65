/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Id maps (user_namespaces(7)). Every id that exists inside means the same as outside: the sentry
 * keeps the guest's users itself, and what it asks of the host is done under the caller's own ids.
 * Root maps whatever ids it has, which need not be all when we run inside a container.
 */
#include "runtime/idmap.h"

#include "runtime/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static int write_file(pid_t pid, const char *name, const char *text, struct error *err)
{
    char path[64];
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0) {
        error_sys(err, "cannot write %s", path);
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    close(fd);
    return 0;
}

/* Our own map of `name`, with each range mapped to itself. */
static int identity_of_self(const char *name, char *out, size_t size, struct error *err)
{
    char path[64];
    unsigned inside, outside, count;
    size_t len = 0;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/self/%s", name);
    f = fopen(path, "re");
    if (f == NULL) {
        return error_sys(err, "cannot read %s", path);
    }
    while (len < size && fscanf(f, "%u %u %u", &inside, &outside, &count) == 3) {
        len += (size_t)snprintf(out + len, size - len, "%u %u %u\n", inside, inside, count);
    }
    fclose(f);
    return len < size ? 0 : error_set(err, "%s has too many ranges", path);
}

static int map_everything(pid_t pid, struct error *err)
{
    char uids[4096], gids[4096];

    if (identity_of_self("uid_map", uids, sizeof(uids), err) != 0 ||
        identity_of_self("gid_map", gids, sizeof(gids), err) != 0 ||
        write_file(pid, "uid_map", uids, err) != 0) {
        return -1;
    }
    return write_file(pid, "gid_map", gids, err);
}

/* Without rights only the own ids can be mapped, and only where groups cannot be given up. */
static int map_self(pid_t pid, struct error *err)
{
    char uid[64], gid[64];

    snprintf(uid, sizeof(uid), "%u %u 1\n", geteuid(), geteuid());
    snprintf(gid, sizeof(gid), "%u %u 1\n", getegid(), getegid());
    if (write_file(pid, "uid_map", uid, err) != 0 ||
        write_file(pid, "setgroups", "deny", err) != 0) {
        return -1;
    }
    return write_file(pid, "gid_map", gid, err);
}

int idmap_write(pid_t pid, struct error *err)
{
    return geteuid() == 0 ? map_everything(pid, err) : map_self(pid, err);
}
