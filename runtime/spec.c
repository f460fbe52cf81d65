/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building a struct spec: the caller's surroundings first, then what the options change. Memory is
 * never given back: the process ends with the sandbox.
 */
#include "runtime/spec.h"

#include "runtime/error.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

extern char **environ;

static void *grow(void *array, size_t count, size_t size, struct error *err)
{
    void *p = reallocarray(array, count, size);

    if (p == NULL) {
        error_sys(err, "no memory");
    }
    return p;
}

int parse_u64(const char *text, u64 min, u64 max, u64 *out)
{
    char *end;
    unsigned long long v;

    if (text[0] < '0' || text[0] > '9') {
        return -1;
    }
    errno = 0;
    v = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || v < min || v > max) {
        return -1;
    }
    *out = v;
    return 0;
}

/* A number with a unit: `units` lists suffixes, `factors` what each multiplies by. */
static int parse_scaled(const char *text, const char *const *units, const double *factors, u64 *out)
{
    char *end;
    double v;

    if (text[0] < '0' || text[0] > '9') {
        return -1;
    }
    v = strtod(text, &end);
    for (unsigned i = 0; units[i] != NULL; i++) {
        if (strcasecmp(end, units[i]) == 0) {
            v *= factors[i];
            *out = (u64)v;
            return v >= 1 && v < 9e18 ? 0 : -1;
        }
    }
    return -1;
}

int parse_bytes(const char *text, u64 *out)
{
    static const char *const units[] = {"", "k", "kib", "m", "mib", "g", "gib", "t", "tib", NULL};
    static const double factors[] = {1, 1024, 1024, 0x1p20, 0x1p20, 0x1p30, 0x1p30, 0x1p40, 0x1p40};

    return parse_scaled(text, units, factors, out);
}

int parse_duration(const char *text, u64 *out)
{
    static const char *const units[] = {"", "s", "ms", "m", "h", "d", NULL};
    static const double factors[] = {1e9, 1e9, 1e6, 60e9, 3600e9, 86400e9};

    return parse_scaled(text, units, factors, out);
}

static int init_identity(struct spec *spec, struct error *err)
{
    int n = getgroups(0, NULL);

    spec->uid = geteuid();
    spec->gid = getegid();
    if (n > 0) {
        spec->groups = grow(NULL, (size_t)n, sizeof(gid_t), err);
        if (spec->groups == NULL || getgroups(n, spec->groups) != n) {
            return error_sys(err, "cannot read the supplementary groups");
        }
        spec->nr_groups = (u32)n;
    }
    return 0;
}

static u32 usable_cpus(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof(set), &set) == 0 ? (u32)CPU_COUNT(&set) : 1;
}

/* Descriptors 0 to 2 that the caller closed are filled, lest something of ours lands there. */
static int init_stdio(struct spec *spec, struct error *err)
{
    for (int fd = 0; fd < 3; fd++) {
        spec->stdio_open[fd] = fcntl(fd, F_GETFD) >= 0;
        if (!spec->stdio_open[fd] && open("/dev/null", O_RDWR) != fd) {
            return error_sys(err, "cannot open /dev/null");
        }
    }
    return 0;
}

int spec_init(struct spec *spec, struct error *err)
{
    static char slash[] = "/", hostname[] = "pavise", platform[] = "auto";
    size_t count = 0;

    *spec = (struct spec){.hostname = hostname, .platform = platform, .cpus = usable_cpus()};
    if (init_stdio(spec, err) != 0) {
        return -1;
    }
    spec->cwd = getcwd(NULL, 0);
    if (spec->cwd == NULL || spec->cwd[0] != '/') {
        spec->cwd = slash; /* the directory is gone or out of reach */
    }
    while (environ[count] != NULL) {
        count++;
    }
    spec->envp = grow(NULL, count + 1, sizeof(char *), err);
    spec->tmpfs = calloc(1, sizeof(char *));
    spec->trees = calloc(1, sizeof(spec->trees[0]));
    if (spec->envp == NULL || spec->tmpfs == NULL || spec->trees == NULL) {
        return error_set(err, "no memory");
    }
    memcpy(spec->envp, environ, (count + 1) * sizeof(char *));
    spec->trees[0] = (struct spec_tree){slash, slash, BOOT_TREE_OVERLAY};
    spec->nr_trees = 1;
    return init_identity(spec, err);
}

/* `path` made absolute and cleaned of "." and "..", by text alone: it is a name in the guest. */
static char *absolute_guest_path(const struct spec *spec, const char *path)
{
    size_t size = strlen(spec->cwd) + strlen(path) + 3;
    char *joined = malloc(size), *out = malloc(size), *save = NULL;
    size_t len = 0;

    if (joined == NULL || out == NULL) {
        return NULL;
    }
    snprintf(joined, size, "%s/%s", path[0] == '/' ? "" : spec->cwd, path);
    for (char *part = strtok_r(joined, "/", &save); part != NULL;
         part = strtok_r(NULL, "/", &save)) {
        if (strcmp(part, "..") == 0) {
            while (len > 0 && out[--len] != '/') {
            }
        } else if (strcmp(part, ".") != 0) {
            len += (size_t)sprintf(out + len, "/%s", part);
        }
    }
    strcpy(out + len, len == 0 ? "/" : "");
    free(joined);
    return out;
}

int spec_add_tree(struct spec *spec, const char *arg, enum boot_tree_mode mode, struct error *err)
{
    const char *colon = strrchr(arg, ':');
    bool split = colon != NULL && colon != arg && colon[1] == '/';
    struct spec_tree tree = {.mode = mode};

    tree.host = split ? strndup(arg, (size_t)(colon - arg)) : strdup(arg);
    tree.guest = absolute_guest_path(spec, split ? colon + 1 : arg);
    if (tree.host == NULL || tree.guest == NULL) {
        return error_set(err, "no memory");
    }
    if (tree.host[0] == '\0') {
        return error_set(err, "an empty path names no directory");
    }
    if (strcmp(tree.guest, "/") == 0) {
        spec->trees[0] = tree;
        return 0;
    }
    spec->trees = grow(spec->trees, spec->nr_trees + 1, sizeof(tree), err);
    if (spec->trees == NULL) {
        return -1;
    }
    spec->trees[spec->nr_trees++] = tree;
    return 0;
}

/* Append to a NULL-terminated vector. */
static int strv_add(char ***v, char *s, struct error *err)
{
    size_t count = 0;

    while ((*v)[count] != NULL) {
        count++;
    }
    *v = grow(*v, count + 2, sizeof(char *), err);
    if (*v == NULL || s == NULL) {
        return error_set(err, "no memory");
    }
    (*v)[count] = s;
    (*v)[count + 1] = NULL;
    return 0;
}

int spec_add_tmpfs(struct spec *spec, const char *arg, struct error *err)
{
    return strv_add(&spec->tmpfs, absolute_guest_path(spec, arg), err);
}

int spec_add_pass_fd(struct spec *spec, const char *arg, struct error *err)
{
    u64 fd;

    if (parse_u64(arg, 3, 1 << 20, &fd) != 0) {
        return error_set(err, "'%s' is not a descriptor above 2", arg);
    }
    if (fcntl((int)fd, F_GETFD) < 0) {
        return error_set(err, "descriptor %s is not open", arg);
    }
    spec->pass_fds = grow(spec->pass_fds, spec->nr_pass_fds + 1, sizeof(int), err);
    if (spec->pass_fds == NULL) {
        return -1;
    }
    spec->pass_fds[spec->nr_pass_fds++] = (int)fd;
    return 0;
}

int spec_set_env(struct spec *spec, const char *arg, struct error *err)
{
    const char *equals = strchr(arg, '=');
    size_t len = equals != NULL ? (size_t)(equals - arg) : strlen(arg);
    char *entry = NULL;

    if (len == 0) {
        return error_set(err, "'%s' is not NAME=VALUE", arg);
    }
    if (equals == NULL) {
        const char *value = getenv(arg);

        if (value == NULL) {
            return 0;
        }
        if (asprintf(&entry, "%s=%s", arg, value) < 0) {
            return error_set(err, "no memory");
        }
    } else {
        entry = strdup(arg);
    }
    for (char **e = spec->envp; *e != NULL && entry != NULL; e++) {
        if (strncmp(*e, arg, len) == 0 && (*e)[len] == '=') {
            *e = entry;
            return 0;
        }
    }
    return strv_add(&spec->envp, entry, err);
}

void spec_clear_env(struct spec *spec)
{
    spec->envp[0] = NULL;
}

int spec_set_user(struct spec *spec, const char *arg, struct error *err)
{
    char text[32];
    u64 uid, gid;
    char *colon;

    snprintf(text, sizeof(text), "%s", arg);
    colon = strchr(text, ':');
    if (colon != NULL) {
        *colon = '\0';
    }
    if (strlen(arg) >= sizeof(text) || parse_u64(text, 0, UINT32_MAX - 1, &uid) != 0 ||
        parse_u64(colon != NULL ? colon + 1 : text, 0, UINT32_MAX - 1, &gid) != 0) {
        return error_set(err, "'%s' is not UID or UID:GID", arg);
    }
    spec->uid = (u32)uid;
    spec->gid = (u32)gid;
    spec->nr_groups = 0;
    return 0;
}
