/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostfs on a directory of the host: what the guest does is looked at from the host and the other
 * way round; then a hostile writer on the host changes names under our feet.
 */
#include "vfs/hostfs/hostfs.h"
#include "vfs/mappable.h"
#include "vfs/overlay/overlay.h"
#include "vfs_test.h"

#include <dirent.h>
#include <errno.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/xattr.h>
#include <unistd.h>

static char dir[64]; /* on the host; "in" below it is the tree, "secret" beside it is not */
static u32 fds_before;

static u32 count_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    u32 n = 0;

    assert_non_null(d);
    while (readdir(d) != NULL) {
        n++;
    }
    closedir(d);
    return n;
}

static const char *host(const char *name)
{
    static char buf[4][256];
    static u32 turn;
    char *b = buf[turn++ % 4];

    (void)snprintf(b, sizeof(buf[0]), "%s/%s", dir, name);
    return b;
}

static void host_write(const char *name, const char *text)
{
    FILE *f = fopen(host(name), "w");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

static void assert_host_content(const char *name, const char *want)
{
    char buf[256] = {0};
    FILE *f = fopen(host(name), "r");

    assert_non_null(f);
    (void)fread(buf, 1, sizeof(buf) - 1, f);
    (void)fclose(f);
    assert_string_equal(buf, want);
}

static struct super *tree_new(const struct hostfs_options *options)
{
    int fd = open(host("in"), O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct super *sb;

    assert_true(fd >= 0);
    sb = hostfs_super_new(fd, options);
    assert_false(IS_ERR(sb));
    return sb;
}

static void mount_super(struct super *sb, const char *at)
{
    struct path path;

    assert_false(IS_ERR(sb));
    make_dir(at, 0755);
    assert_int_equal(path_lookup(CTX, AT_FDCWD, at, LOOKUP_FOLLOW, &path), 0);
    assert_int_equal(mount_add(CTX->mnt_ns, sb, &path, MS_RELATIME), 0);
    path_put(&path);
    super_put(sb);
}

static void mount_tree(bool writable, bool shared)
{
    struct hostfs_options o = {.writable = writable, .revalidate = shared};

    mount_super(tree_new(&o), "/h");
}

static int start(void **state)
{
    int ret = fixture_start(state);

    fds_before = count_fds();
    (void)snprintf(dir, sizeof(dir), "/tmp/pavise-hostfs-XXXXXX");
    assert_non_null(mkdtemp(dir));
    assert_int_equal(mkdir(host("in"), 0755), 0);
    host_write("secret", "secret");
    assert_int_equal(chmod(host("secret"), 0600), 0);
    (void)umask(0);
    return ret;
}

static int stop(void **state)
{
    char cmd[96];
    int ret = fixture_stop(state);

    assert_int_equal(count_fds(), fds_before);
    (void)snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
    assert_int_equal(system(cmd), 0);
    return ret;
}

static ssize_t write_at(struct file *f, const char *text, u64 pos)
{
    struct uio u;

    uio_init_kernel(&u, (void *)(uintptr_t)text, strlen(text));
    return file_pwrite(f, &u, pos, 0, CTX);
}

static void assert_content(const char *name, const char *want)
{
    struct file *f = must_open(name, O_RDONLY, 0);
    char buf[256] = {0};

    assert_true(file_kernel_read(f, buf, sizeof(buf) - 1, 0) >= 0);
    assert_string_equal(buf, want);
    file_put(f);
}

/* ---- behaviours ---- */

static void host_tree_is_read(void **state)
{
    char buf[32] = {0};

    assert_int_equal(mkdir(host("in/d"), 0750), 0);
    host_write("in/d/f", "hello");
    assert_int_equal(link(host("in/d/f"), host("in/g")), 0);
    assert_int_equal(symlink("d/f", host("in/l")), 0);
    mount_tree(false, false);
    assert_content("/h/d/f", "hello");
    assert_content("/h/l", "hello");
    assert_int_equal(stat_of("/h/g", 0).ino, stat_of("/h/d/f", 0).ino);
    assert_int_equal(stat_of("/h/g", 0).nlink, 2);
    assert_int_equal(stat_of("/h/d", 0).mode, S_IFDIR | 0750);
    assert_int_equal(vfs_readlink(CTX, AT_FDCWD, "/h/l", buf, sizeof(buf)), 3);
    assert_int_equal(open_error("/h/d/f", O_RDWR), -EROFS);
    assert_int_equal(open_error("/h/new", O_CREAT | O_RDWR), -EROFS);
    assert_int_equal(vfs_unlink(CTX, AT_FDCWD, "/h/g", 0), -EROFS);
    assert_int_equal(vfs_chmod(CTX, AT_FDCWD, "/h/g", 0, 0), -EROFS);
    assert_int_equal(stat_error("/h/x"), -ENOENT);
}

static void changes_reach_the_host(void **state)
{
    struct stat st;
    struct timespec times[2] = {{5, 0}, {7, 0}};

    mount_tree(true, false);
    make_file("/h/f", "one");
    assert_host_content("in/f", "one");
    make_dir("/h/d", 0751);
    assert_int_equal(stat(host("in/d"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0751 & ~022);
    assert_int_equal(vfs_rename(CTX, AT_FDCWD, "/h/f", AT_FDCWD, "/h/d/g", 0), 0);
    assert_host_content("in/d/g", "one");
    assert_int_equal(vfs_link(CTX, AT_FDCWD, "/h/d/g", AT_FDCWD, "/h/k", 0), 0);
    assert_int_equal(stat_of("/h/d/g", 0).nlink, 2);
    assert_int_equal(vfs_chmod(CTX, AT_FDCWD, "/h/k", 04711, 0), 0);
    assert_int_equal(vfs_utimens(CTX, AT_FDCWD, "/h/k", times, 0), 0);
    assert_int_equal(vfs_truncate(CTX, "/h/k", 2), 0);
    assert_int_equal(stat(host("in/d/g"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 04711);
    assert_int_equal(st.st_size, 2);
    assert_int_equal(stat_of("/h/d/g", 0).size, 2);
    assert_int_equal(vfs_symlink(CTX, "../x", AT_FDCWD, "/h/d/s"), 0);
    assert_int_equal(vfs_mknod(CTX, AT_FDCWD, "/h/p", S_IFIFO | 0644, 0), 0);
    assert_int_equal(vfs_mknod(CTX, AT_FDCWD, "/h/c", S_IFCHR | 0644, 0x103), -EPERM);
    assert_int_equal(vfs_unlink(CTX, AT_FDCWD, "/h/d", AT_REMOVEDIR), -ENOTEMPTY);
    assert_int_equal(vfs_unlink(CTX, AT_FDCWD, "/h/d/s", 0), 0);
    assert_int_equal(vfs_unlink(CTX, AT_FDCWD, "/h/d/g", 0), 0);
    assert_int_equal(stat_of("/h/k", 0).nlink, 1);
    assert_int_equal(vfs_unlink(CTX, AT_FDCWD, "/h/d", AT_REMOVEDIR), 0);
    assert_int_equal(access(host("in/d"), F_OK), -1);
}

static void new_files_belong_to_the_guests_user(void **state)
{
    struct stat st;

    if (geteuid() != 0) {
        skip();
    }
    mount_tree(true, false);
    assert_int_equal(vfs_chmod(CTX, AT_FDCWD, "/h", 0777, 0), 0);
    become(1000, 1001);
    make_file("/h/f", "x");
    make_dir("/h/d", 0755);
    assert_int_equal(vfs_symlink(CTX, "f", AT_FDCWD, "/h/l"), 0);
    assert_int_equal(lstat(host("in/f"), &st), 0);
    assert_true(st.st_uid == 1000 && st.st_gid == 1001);
    assert_int_equal(lstat(host("in/d"), &st), 0);
    assert_true(st.st_uid == 1000 && st.st_gid == 1001);
    assert_int_equal(lstat(host("in/l"), &st), 0);
    assert_true(st.st_uid == 1000 && st.st_gid == 1001);
    become(0, 0);
}

static void unlinked_files_stay_usable(void **state)
{
    struct mappable *m;
    struct extent x;
    struct file *f;

    mount_tree(true, false);
    f = must_open("/h/t", O_CREAT | O_RDWR, 0600);
    assert_int_equal(vfs_unlink(CTX, AT_FDCWD, "/h/t", 0), 0);
    assert_int_equal(write_at(f, "abc", 0), 3);
    m = file_mmap(f, PROT_READ, MAP_SHARED);
    assert_int_equal(m->ops->get_extent(m, 0, PAGE_SIZE, false, &x), 0);
    assert_int_equal(x.len, PAGE_SIZE);
    assert_false(x.memfile);
    assert_int_equal(f->inode->nlink, 0);
    file_put(f);
}

static void appends_go_to_the_end(void **state)
{
    struct file *f;
    struct uio u;

    host_write("in/log", "one ");
    mount_tree(true, true);
    f = must_open("/h/log", O_WRONLY | O_APPEND, 0);
    host_write("in/log", "host ");
    uio_init_kernel(&u, (void *)(uintptr_t) "two", 3);
    assert_int_equal(file_write(f, &u, 0, CTX), 3);
    assert_int_equal(f->pos, 8);
    file_put(f);
    assert_host_content("in/log", "host two");
    assert_int_equal(stat_of("/h/log", 0).size, 8);
}

static void holes_are_found_and_punched(void **state)
{
    struct file *f;

    mount_tree(true, false);
    f = must_open("/h/f", O_CREAT | O_RDWR, 0644);
    assert_int_equal(write_at(f, "x", MiB), 1);
    if (file_seek(f, 0, SEEK_DATA) == 0) {
        file_put(f);
        skip(); /* a file system without holes */
    }
    assert_int_equal(
        file_fallocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, MiB, PAGE_SIZE, CTX), 0);
    assert_int_equal(file_seek(f, 0, SEEK_DATA), -ENXIO);
    assert_int_equal(stat_of("/h/f", 0).size, MiB + 1);
    file_put(f);
}

static void attributes_are_kept_on_the_host(void **state)
{
    char buf[16];
    struct file *f;

    host_write("in/f", "");
    if (setxattr(host("in/f"), "user.a", "1", 1, 0) != 0) {
        skip();
    }
    mount_tree(true, false);
    f = must_open("/h/f", O_RDONLY, 0);
    assert_int_equal(inode_getxattr(f->inode, "user.a", buf, sizeof(buf)), 1);
    assert_int_equal(inode_setxattr(f->inode, "user.b", "22", 2, 0), 0);
    assert_int_equal(inode_removexattr(f->inode, "user.a"), 0);
    assert_int_equal(inode_listxattr(f->inode, buf, sizeof(buf)), 7);
    assert_string_equal(buf, "user.b");
    assert_int_equal(inode_getxattr(f->inode, "system.posix_acl_access", buf, 16), -EOPNOTSUPP);
    file_put(f);
    assert_int_equal(getxattr(host("in/f"), "user.b", buf, sizeof(buf)), 2);
}

struct counting {
    struct dir_context ctx;
    u32 count, limit;
};

static bool count_one(struct dir_context *ctx, struct name name, u64 ino, u32 dt_type, u64 next)
{
    struct counting *c = container_of(ctx, struct counting, ctx);

    if (c->limit != 0 && c->count >= c->limit) {
        return false;
    }
    c->count++;
    return true;
}

static u32 count_entries(const char *name)
{
    struct file *f = must_open(name, O_RDONLY | O_DIRECTORY, 0);
    u32 total = 0;

    for (;;) {
        struct counting c = {.ctx = {.emit = count_one}, .limit = 13};

        assert_int_equal(file_readdir(f, &c.ctx), 0);
        total += c.count;
        if (c.count == 0) {
            break;
        }
    }
    file_put(f);
    return total;
}

static void directories_are_read_in_pieces(void **state)
{
    char name[32];

    for (int i = 0; i < 300; i++) {
        (void)snprintf(name, sizeof(name), "in/f%d", i);
        host_write(name, "");
    }
    mount_tree(false, false);
    assert_int_equal(count_entries("/h"), 302);
    assert_int_equal(count_entries("/h"), 302);
}

static void descriptors_are_bounded(void **state)
{
    struct hostfs_options o = {.writable = true, .max_fds = 16};
    char name[1024] = "/h", leaf[32];
    u32 before;

    mount_super(tree_new(&o), "/h");
    before = count_fds();
    for (int i = 0; i < 60; i++) {
        (void)snprintf(name + strlen(name), sizeof(name) - strlen(name), "/d%d", i);
        make_dir(name, 0755);
    }
    for (int i = 0; i < 100; i++) {
        (void)snprintf(leaf, sizeof(leaf), "/h/f%d", i);
        make_file(leaf, "x");
    }
    assert_true(count_fds() <= before + 20);
    strcat(name, "/leaf");
    make_file(name, "deep");
    for (int i = 0; i < 100; i++) {
        (void)snprintf(leaf, sizeof(leaf), "/h/f%d", i);
        assert_content(leaf, "x");
    }
    assert_content(name, "deep");
}

static void shared_trees_follow_the_host(void **state)
{
    host_write("in/f", "one");
    mount_tree(true, true);
    assert_content("/h/f", "one");
    assert_int_equal(stat_error("/h/g"), -ENOENT);
    assert_int_equal(rename(host("in/f"), host("in/g")), 0);
    host_write("in/f", "second");
    assert_content("/h/g", "one");
    assert_content("/h/f", "second");
    assert_int_equal(stat_of("/h/f", 0).size, 6);
    host_write("in/f", "3");
    assert_int_equal(stat_of("/h/f", 0).size, 1);
    assert_int_equal(unlink(host("in/f")), 0);
    assert_int_equal(stat_error("/h/f"), -ENOENT);
}

static void overlay_copies_from_the_host(void **state)
{
    struct hostfs_options o = {0};
    struct overlay_options oo = {0};
    struct super *lower, *upper;
    struct file *f;

    assert_int_equal(mkdir(host("in/d"), 0755), 0);
    host_write("in/d/f", "hello");
    lower = tree_new(&o);
    upper = tmpfs_super_new(&tmpfs_default_options);
    mount_super(overlay_super_new(upper, &lower, 1, &oo), "/o");
    super_put(upper);
    super_put(lower);
    f = must_open("/o/d/f", O_RDWR, 0);
    assert_int_equal(write_at(f, "J", 0), 1);
    file_put(f);
    assert_content("/o/d/f", "Jello");
    make_file("/o/d/g", "new");
    assert_int_equal(count_entries("/o/d"), 4);
    assert_int_equal(vfs_rename(CTX, AT_FDCWD, "/o/d", AT_FDCWD, "/o/e", 0), 0);
    dcache_shrink(NULL);
    assert_content("/o/e/f", "Jello");
    assert_host_content("in/d/f", "hello");
    assert_int_equal(access(host("in/d/g"), F_OK), -1);
}

static void failed_allocations_leave_nothing(void **state)
{
    char buf[8];
    u64 n;
    bool failed;

    assert_int_equal(mkdir(host("in/d"), 0755), 0);
    host_write("in/d/f", "one");
    assert_int_equal(symlink("d/f", host("in/l")), 0);
    mount_tree(true, false);
    for (n = 1, failed = true; failed && n < 2000; n++) {
        int errors = 0;

        heap_fail_nth(n);
        errors |= open_error("/h/d/f", O_RDWR);
        errors |= vfs_readlink(CTX, AT_FDCWD, "/h/l", buf, sizeof(buf)) != 3;
        errors |= vfs_mkdir(CTX, AT_FDCWD, "/h/m", 0755);
        errors |= open_error("/h/m/x", O_CREAT | O_RDWR);
        errors |= vfs_rename(CTX, AT_FDCWD, "/h/d", AT_FDCWD, "/h/m/d", 0);
        errors |= vfs_link(CTX, AT_FDCWD, "/h/m/x", AT_FDCWD, "/h/y", 0);
        heap_fail_nth(0);
        failed = errors != 0;
        (void)!vfs_unlink(CTX, AT_FDCWD, "/h/y", 0);
        dcache_shrink(NULL); /* where memory failed, a place may be out of date */
        (void)!vfs_rename(CTX, AT_FDCWD, "/h/m/d", AT_FDCWD, "/h/d", 0);
        (void)!vfs_unlink(CTX, AT_FDCWD, "/h/m/x", 0);
        (void)!vfs_unlink(CTX, AT_FDCWD, "/h/m", AT_REMOVEDIR);
        dcache_shrink(NULL);
    }
    assert_true(n > 10 && n < 2000);
    assert_content("/h/d/f", "one");
}

/* ---- a hostile writer on the host ---- */

static void other_objects_are_not_opened(void **state)
{
    struct stat st;

    host_write("in/f", "mine");
    mount_tree(true, false); /* names are believed: the worst case */
    assert_int_equal(stat_of("/h/f", 0).size, 4);
    assert_int_equal(unlink(host("in/f")), 0);
    assert_int_equal(symlink("../secret", host("in/f")), 0);
    assert_int_equal(open_error("/h/f", O_RDONLY), -ESTALE);
    assert_int_equal(open_error("/h/f", O_RDWR), -ESTALE);
    assert_int_equal(vfs_chmod(CTX, AT_FDCWD, "/h/f", 0666, 0), -ESTALE);
    assert_int_equal(vfs_chown(CTX, AT_FDCWD, "/h/f", 1, 1, 0), -ESTALE);
    assert_int_equal(vfs_truncate(CTX, "/h/f", 0), -ESTALE);
    assert_int_equal(vfs_link(CTX, AT_FDCWD, "/h/f", AT_FDCWD, "/h/g", 0), -ESTALE);
    assert_int_equal(access(host("in/g"), F_OK), -1);
    assert_int_equal(unlink(host("in/f")), 0);
    assert_int_equal(link(host("secret"), host("in/f")), 0);
    assert_int_equal(open_error("/h/f", O_RDONLY), -ESTALE);
    assert_int_equal(vfs_chmod(CTX, AT_FDCWD, "/h/f", 0666, 0), -ESTALE);
    assert_int_equal(vfs_link(CTX, AT_FDCWD, "/h/f", AT_FDCWD, "/h/g", 0), -ESTALE);
    assert_int_equal(access(host("in/g"), F_OK), -1);
    assert_int_equal(unlink(host("in/f")), 0);
    assert_int_equal(mkfifo(host("in/f"), 0644), 0);
    assert_int_equal(open_error("/h/f", O_RDONLY), -ESTALE); /* and it does not wait */
    assert_int_equal(stat(host("secret"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_nlink, 1);
    assert_host_content("secret", "secret");
}

static void directories_turned_links_lead_nowhere(void **state)
{
    assert_int_equal(mkdir(host("in/d"), 0755), 0);
    host_write("in/d/f", "mine");
    assert_int_equal(mkdir(host("out"), 0755), 0);
    host_write("out/f", "secret");
    mount_tree(true, false);
    assert_int_equal(stat_of("/h/d", 0).mode, S_IFDIR | 0755);
    assert_int_equal(rename(host("in/d"), host("in/e")), 0);
    assert_int_equal(symlink("../out", host("in/d")), 0);
    assert_int_equal(stat_error("/h/d/f"), -ESTALE);
    assert_int_equal(open_error("/h/d/new", O_CREAT | O_RDWR), -ESTALE);
    assert_int_equal(access(host("out/new"), F_OK), -1);
}

struct swapper {
    pthread_t thread;
    _Atomic bool stop;
    char file[256], link[256], name[256];
};

/* The name is now a file of the tree, now a link out of it, as fast as it goes. */
static void *swap_names(void *arg)
{
    struct swapper *s = arg;

    while (!atomic_load(&s->stop)) {
        (void)renameat2(AT_FDCWD, s->name, AT_FDCWD, s->link, RENAME_EXCHANGE);
    }
    return NULL;
}

static void races_with_links_are_lost_by_the_attacker(void **state)
{
    struct swapper s = {0};
    struct stat st;

    host_write("in/f", "mine");
    (void)snprintf(s.name, sizeof(s.name), "%s", host("in/f"));
    (void)snprintf(s.link, sizeof(s.link), "%s", host("in/l"));
    assert_int_equal(symlink("../secret", s.link), 0);
    mount_tree(true, true);
    assert_int_equal(pthread_create(&s.thread, NULL, swap_names, &s), 0);
    for (int i = 0; i < 3000; i++) {
        struct file *f = try_open("/h/f", O_RDWR | O_NOFOLLOW, 0);

        if (!IS_ERR(f)) {
            (void)write_at(f, "evil", 0);
            file_put(f);
        }
        (void)!vfs_chmod(CTX, AT_FDCWD, "/h/f", 0666, AT_SYMLINK_NOFOLLOW);
        (void)!vfs_chown(CTX, AT_FDCWD, "/h/f", 1000, 1000, AT_SYMLINK_NOFOLLOW);
        (void)!vfs_link(CTX, AT_FDCWD, "/h/f", AT_FDCWD, "/h/new", 0);
        (void)!vfs_unlink(CTX, AT_FDCWD, "/h/new", 0);
    }
    atomic_store(&s.stop, true);
    assert_int_equal(pthread_join(s.thread, NULL), 0);
    assert_host_content("secret", "secret");
    assert_int_equal(stat(host("secret"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_uid, geteuid());
    assert_int_equal(st.st_nlink, 1);
}

/* A new directory is given to the guest's user; another that was put in its place is not. */
static void *plant_directories(void *arg)
{
    struct swapper *s = arg;

    while (!atomic_load(&s->stop)) {
        (void)renameat2(AT_FDCWD, s->name, AT_FDCWD, s->link, RENAME_EXCHANGE);
    }
    return NULL;
}

static void planted_directories_are_not_given_away(void **state)
{
    struct swapper s = {0};
    struct stat st;

    if (geteuid() != 0) {
        skip();
    }
    assert_int_equal(mkdir(host("in/victim"), 0700), 0);
    host_write("in/victim/f", "");
    (void)usleep(50000); /* older than any clock's step */
    (void)snprintf(s.name, sizeof(s.name), "%s", host("in/new"));
    (void)snprintf(s.link, sizeof(s.link), "%s", host("in/victim"));
    mount_tree(true, true);
    assert_int_equal(vfs_chmod(CTX, AT_FDCWD, "/h", 0777, 0), 0);
    become(1000, 1000);
    assert_int_equal(pthread_create(&s.thread, NULL, plant_directories, &s), 0);
    for (int i = 0; i < 2000; i++) {
        if (vfs_mkdir(CTX, AT_FDCWD, "/h/new", 0755) == 0) {
            (void)rmdir(host("in/new"));
            (void)rmdir(host("in/victim"));
        }
    }
    atomic_store(&s.stop, true);
    assert_int_equal(pthread_join(s.thread, NULL), 0);
    become(0, 0);
    assert_true(stat(host("in/victim/f"), &st) == 0 || stat(host("in/new/f"), &st) == 0);
    if (stat(host("in/victim/f"), &st) == 0) {
        assert_int_equal(stat(host("in/victim"), &st), 0);
    } else {
        assert_int_equal(stat(host("in/new"), &st), 0);
    }
    assert_int_equal(st.st_uid, 0);
    assert_int_equal(st.st_mode & 07777, 0700);
}

#define host_test(fn) cmocka_unit_test_setup_teardown(fn, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        host_test(host_tree_is_read),
        host_test(changes_reach_the_host),
        host_test(new_files_belong_to_the_guests_user),
        host_test(unlinked_files_stay_usable),
        host_test(appends_go_to_the_end),
        host_test(holes_are_found_and_punched),
        host_test(attributes_are_kept_on_the_host),
        host_test(directories_are_read_in_pieces),
        host_test(descriptors_are_bounded),
        host_test(shared_trees_follow_the_host),
        host_test(overlay_copies_from_the_host),
        host_test(failed_allocations_leave_nothing),
        host_test(other_objects_are_not_opened),
        host_test(directories_turned_links_lead_nowhere),
        host_test(races_with_links_are_lost_by_the_attacker),
        host_test(planted_directories_are_not_given_away),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
