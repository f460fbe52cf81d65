/* SPDX-License-Identifier: Apache-2.0 */
/* What the guest tests of files share: a directory of their own, small files, another user. */
#ifndef PAVISE_TESTS_GUEST_FS_H
#define PAVISE_TESTS_GUEST_FS_H

#include "tests/guest/guest.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>

/* An address where nothing is; volatile, so that the compiler does not know. */
static void *volatile bad_address = (void *)1;
#define BAD ((void *)bad_address)

/* Go into a new empty directory. */
static inline void enter_temp_dir(void)
{
    const char *base = getenv("GUEST_TMP"); /* to try another file system by hand */
    char name[256];

    (void)snprintf(name, sizeof(name), "%s/guest-fs-XXXXXX", base != NULL ? base : "/tmp");
    EXPECT(mkdtemp(name) != NULL);
    EXPECT_EQ(chdir(name), 0);
    umask(022);
}

static inline void make_file(const char *name, const char *text)
{
    int fd = open(name, O_CREAT | O_WRONLY | O_TRUNC, 0644);

    EXPECT(fd >= 0);
    EXPECT_EQ(write(fd, text, strlen(text)), strlen(text));
    EXPECT_EQ(close(fd), 0);
}

/* Give up root for an ordinary user; skips for those who are none. */
static inline void become_nobody(void)
{
    if (getuid() != 0) {
        SKIP("needs root to become another user");
    }
    EXPECT_EQ(setgroups(0, NULL), 0);
    EXPECT_EQ(setresgid(65534, 65534, 65534), 0);
    EXPECT_EQ(setresuid(65534, 65534, 65534), 0);
}

#endif
