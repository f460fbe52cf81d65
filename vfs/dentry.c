/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dentry cache.
 *
 * States of a dentry: *hashed* (in its parent's children, counted once by the cache, on the LRU
 * list); *unhashed* (removed, or never to be found: it lives as long as somebody holds it); a
 * *root* is unhashed by construction and its own parent; an *anonymous* one (pipes) is such a root
 * with a name. A child counts its parent, so the way up is always there.
 *
 * A look-up reads the parent's tree under its spin lock and counts what it found. Adding happens
 * with the directory's inode lock held, so two look-ups of one name agree; removing needs the
 * parent's spin lock only. Lock order: parent's lock, child's lock, lru_lock.
 *
 * The LRU is a clock: look-ups set `referenced`, the hand clears it and passes by; entries in use
 * are passed by too.
 */
#include "base/hash.h"
#include "base/heap.h"
#include "base/tree.h"
#include "vfs/fsnotify.h"
#include "vfs/vfs_priv.h"

#include <stdio.h>

#define DCACHE_MAX   65536U
#define SHRINK_BATCH 64U

DEFINE_CACHE(dentry_cache, struct dentry);

static int dentry_compare(const struct dentry *a, const struct dentry *b)
{
    if (a->hash != b->hash) {
        return a->hash < b->hash ? -1 : 1;
    }
    if (a->name_len != b->name_len) {
        return a->name_len < b->name_len ? -1 : 1;
    }
    return memcmp(a->name, b->name, a->name_len);
}

RB_GENERATE_STATIC(dentry_children, dentry, sibling, dentry_compare)

int dcache_boot(void)
{
    TAILQ_INIT(&vfs_state->lru);
    vfs_state->max_lru = DCACHE_MAX;
    return 0;
}

u32 name_hash(struct name name)
{
    return (u32)hash_bytes(name.str, name.len, 0);
}

/* ---- life ---- */

static struct dentry *dentry_alloc(struct super *sb, struct name name)
{
    struct dentry *d = cache_new(dentry_cache);

    if (d == NULL) {
        return NULL;
    }
    d->name = d->inline_name;
    if (name.len >= DENTRY_INLINE) {
        d->name = heap_alloc(name.len + 1);
        if (d->name == NULL) {
            cache_del(dentry_cache, d);
            return NULL;
        }
    }
    ref_init(&d->ref);
    memcpy(d->name, name.str, name.len);
    d->name[name.len] = '\0';
    d->name_len = name.len;
    d->sb = sb;
    d->unhashed = true;
    RB_INIT(&d->children);
    return d;
}

static struct dentry *dentry_new_parentless(struct inode *inode, struct name name)
{
    struct dentry *d = dentry_alloc(inode->sb, name);

    if (d != NULL) {
        d->parent = d;
        d->inode = inode_get(inode);
    }
    return d;
}

struct dentry *dentry_new_anon(struct inode *inode, const char *name)
{
    return dentry_new_parentless(inode, (struct name){name, (u32)strlen(name)});
}

/* For O_TMPFILE: a place below `parent` that no look-up finds. Takes over the inode, also on error.
 */
struct dentry *dentry_new_unlinked(struct dentry *parent, struct inode *inode)
{
    char text[32];
    int len = snprintf(text, sizeof(text), "#%lu", (unsigned long)inode->ino);
    struct dentry *d = dentry_alloc(parent->sb, (struct name){text, (u32)len});

    if (d == NULL) {
        inode_put(inode);
        return NULL;
    }
    d->parent = dentry_get(parent);
    d->inode = inode;
    return d;
}

struct dentry *super_root_dentry(struct super *sb)
{
    struct dentry *d = __atomic_load_n(&sb->root_dentry, __ATOMIC_ACQUIRE);
    struct dentry *expected = NULL;

    if (d != NULL) {
        return dentry_get(d);
    }
    d = dentry_new_parentless(sb->root, (struct name){"", 0});
    if (d == NULL) {
        return NULL;
    }
    d->unhashed = false;
    if (!__atomic_compare_exchange_n(&sb->root_dentry, &expected, d, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE)) {
        dentry_put(d);
        d = expected;
    }
    return dentry_get(d);
}

struct dentry *dentry_get(struct dentry *d)
{
    ref_get(&d->ref);
    return d;
}

static void dentry_drop_inode(struct inode *inode)
{
    if (inode != NULL) {
        if (inode->nlink == 0 || inode->dead) {
            fsnotify_deleted(inode);
        }
        inode_put(inode);
    }
}

void dentry_put(struct dentry *d)
{
    while (d != NULL && ref_put(&d->ref)) {
        struct dentry *parent = d->parent != d ? d->parent : NULL;

        CHECK(!d->in_tree, "a dentry in the cache lost its count");
        dentry_drop_inode(d->inode);
        if (d->name != d->inline_name) {
            heap_free(d->name);
        }
        cache_del(dentry_cache, d);
        d = parent; /* its child counted it */
    }
}

struct dentry *dentry_parent(struct dentry *d)
{
    SPIN_GUARD(&d->lock);
    return dentry_get(d->parent);
}

struct name dentry_name_snapshot(struct dentry *d, char buf[NAME_LEN_MAX + 1])
{
    SPIN_GUARD(&d->lock);
    memcpy(buf, d->name, min(d->name_len, (u32)NAME_LEN_MAX));
    return (struct name){buf, min(d->name_len, (u32)NAME_LEN_MAX)};
}

bool dentry_is_below(struct dentry *d, struct dentry *ancestor)
{
    struct dentry *cur = dentry_get(d);
    bool found = false;

    for (;;) {
        struct dentry *up;

        if (cur == ancestor) {
            found = true;
            break;
        }
        up = dentry_parent(cur);
        if (up == cur) {
            dentry_put(up);
            break;
        }
        dentry_put(cur);
        cur = up;
    }
    dentry_put(cur);
    return found;
}

/* ---- the LRU ---- */

static void lru_add(struct dentry *d)
{
    SPIN_GUARD(&vfs_state->lru_lock);
    TAILQ_INSERT_TAIL(&vfs_state->lru, d, lru);
    vfs_state->nr_lru++;
    d->on_lru = true;
}

static void lru_remove(struct dentry *d)
{
    SPIN_GUARD(&vfs_state->lru_lock);
    if (d->on_lru) {
        TAILQ_REMOVE(&vfs_state->lru, d, lru);
        vfs_state->nr_lru--;
        d->on_lru = false;
    }
}

/* The next one under the hand, counted (what is on the list is counted by the cache). */
static struct dentry *lru_next(void)
{
    struct dentry *d;

    SPIN_GUARD(&vfs_state->lru_lock);
    d = TAILQ_FIRST(&vfs_state->lru);
    if (d != NULL) {
        TAILQ_REMOVE(&vfs_state->lru, d, lru);
        TAILQ_INSERT_TAIL(&vfs_state->lru, d, lru);
        dentry_get(d);
    }
    return d;
}

/* Take d (held by the caller) out of its parent's tree unless more than `max_refs` hold it. */
static bool dentry_unhash_if(struct dentry *d, u32 max_refs)
{
    struct dentry *parent = dentry_parent(d);
    bool done = false;

    spin_lock(&parent->lock);
    if (d->in_tree && d->parent == parent && (max_refs == 0 || ref_read(&d->ref) <= max_refs)) {
        RB_REMOVE(dentry_children, &parent->children, d);
        d->in_tree = false;
        spin_lock(&d->lock);
        d->unhashed = true;
        spin_unlock(&d->lock);
        lru_remove(d);
        done = true;
    }
    spin_unlock(&parent->lock);
    dentry_put(parent);
    if (done) {
        dentry_put(d); /* the cache's */
    }
    return done;
}

void dentry_unhash(struct dentry *d)
{
    (void)dentry_unhash_if(d, 0);
}

static void dcache_trim(void)
{
    for (u32 i = 0; i < SHRINK_BATCH; i++) {
        struct dentry *d = lru_next();

        if (d == NULL) {
            return;
        }
        if (!atomic_exchange_explicit(&d->referenced, false, memory_order_relaxed)) {
            (void)dentry_unhash_if(d, 2);
        }
        dentry_put(d);
    }
}

/* ---- the tree of names ---- */

static struct dentry *dentry_find_locked(struct dentry *parent, struct name name, u32 hash)
{
    struct dentry key;

    key.hash = hash;
    key.name = (char *)(uintptr_t)name.str;
    key.name_len = name.len;
    return RB_FIND(dentry_children, &parent->children, &key);
}

struct dentry *dentry_lookup_cached(struct dentry *parent, struct name name)
{
    u32 hash = name_hash(name);
    struct dentry *d;

    SPIN_GUARD(&parent->lock);
    d = dentry_find_locked(parent, name, hash);
    if (d != NULL) {
        dentry_get(d);
        if (!atomic_load_explicit(&d->referenced, memory_order_relaxed)) {
            atomic_store_explicit(&d->referenced, true, memory_order_relaxed);
        }
    }
    return d;
}

/* parent->lock held; the cache gets its count. */
static void dentry_hash_locked(struct dentry *parent, struct dentry *d)
{
    RB_INSERT(dentry_children, &parent->children, d);
    d->in_tree = true;
    spin_lock(&d->lock);
    d->unhashed = false;
    spin_unlock(&d->lock);
    dentry_get(d);
    lru_add(d);
}

struct dentry *dentry_add_child(struct dentry *parent, struct name name, struct inode *inode)
{
    struct dentry *d = dentry_alloc(parent->sb, name);
    struct dentry *other = NULL;

    if (d == NULL) {
        inode_put(inode);
        return ERR_PTR(-ENOMEM);
    }
    d->hash = name_hash(name);
    d->inode = inode;
    d->parent = dentry_get(parent);
    if (inode == NULL && parent->sb->no_dcache_negative) {
        return d;
    }
    spin_lock(&parent->lock);
    other = dentry_find_locked(parent, name, d->hash);
    if (other == NULL) {
        dentry_hash_locked(parent, d);
    } else {
        dentry_get(other);
    }
    spin_unlock(&parent->lock);
    if (other != NULL) {
        dentry_put(d);
        return other;
    }
    if (vfs_state->nr_lru > vfs_state->max_lru) {
        dcache_trim();
    }
    return d;
}

void dentry_instantiate(struct dentry *d, struct inode *inode)
{
    struct dentry *parent = d->parent; /* stable: the directory is locked */

    spin_lock(&parent->lock);
    spin_lock(&d->lock);
    CHECK(d->inode == NULL, "a positive dentry gets a second inode");
    __atomic_store_n(&d->inode, inode, __ATOMIC_RELEASE);
    spin_unlock(&d->lock);
    if (!d->in_tree &&
        dentry_find_locked(parent, (struct name){d->name, d->name_len}, d->hash) == NULL) {
        dentry_hash_locked(parent, d);
    }
    spin_unlock(&parent->lock);
}

/* A name is gone; if nobody else uses its dentry it turns negative, else it leaves the cache. */
void dentry_delete(struct dentry *d)
{
    struct dentry *parent = d->parent;
    struct inode *inode = NULL;

    if (dentry_is_dir(d)) {
        dentry_prune_children(d);
    } else if (!d->sb->no_dcache_negative && atomic_load(&d->mounts) == 0) {
        spin_lock(&parent->lock);
        if (d->in_tree && ref_read(&d->ref) == 2) {
            spin_lock(&d->lock);
            inode = d->inode;
            __atomic_store_n(&d->inode, NULL, __ATOMIC_RELEASE);
            spin_unlock(&d->lock);
        }
        spin_unlock(&parent->lock);
    }
    if (inode != NULL) {
        dentry_drop_inode(inode);
    } else {
        dentry_unhash(d);
    }
}

static void dentry_take_out(struct dentry *d)
{
    struct dentry *parent = d->parent;

    SPIN_GUARD(&parent->lock);
    if (d->in_tree) {
        RB_REMOVE(dentry_children, &parent->children, d);
        d->in_tree = false;
    } else {
        dentry_get(d); /* the count it gets back below */
        lru_add(d);
    }
}

static void dentry_put_in(struct dentry *d)
{
    struct dentry *parent = d->parent;

    SPIN_GUARD(&parent->lock);
    RB_INSERT(dentry_children, &parent->children, d);
    d->in_tree = true;
    d->unhashed = false;
}

static void swap_names(struct dentry *a, struct dentry *b)
{
    char text[DENTRY_INLINE];
    char *heap_a = a->name != a->inline_name ? a->name : NULL;
    char *heap_b = b->name != b->inline_name ? b->name : NULL;
    u32 len = a->name_len, hash = a->hash;

    memcpy(text, a->inline_name, sizeof(text));
    memcpy(a->inline_name, b->inline_name, sizeof(text));
    memcpy(b->inline_name, text, sizeof(text));
    a->name = heap_b != NULL ? heap_b : a->inline_name;
    b->name = heap_a != NULL ? heap_a : b->inline_name;
    a->name_len = b->name_len;
    a->hash = b->hash;
    b->name_len = len;
    b->hash = hash;
}

static void lock_two_dentries(struct dentry *a, struct dentry *b)
{
    spin_lock(a < b ? &a->lock : &b->lock);
    spin_lock(a < b ? &b->lock : &a->lock);
}

static void unlock_two_dentries(struct dentry *a, struct dentry *b)
{
    spin_unlock(&a->lock);
    spin_unlock(&b->lock);
}

/*
 * `d` takes the name of `target`, which is in new_parent and leaves the cache. The name is copied
 * so that an overwritten file in use still tells its own; without memory the two swap.
 */
void dentry_move(struct dentry *d, struct dentry *new_parent, struct dentry *target)
{
    struct dentry *old_parent = d->parent;
    char *copy = NULL;

    if (dentry_is_dir(target)) {
        dentry_prune_children(target);
    }
    dentry_unhash(target);
    dentry_take_out(d);
    if (target->name != target->inline_name && target->inode != NULL) {
        copy = heap_strdup(target->name);
    }
    lock_two_dentries(d, target);
    swap_names(d, target);
    if (copy != NULL) {
        if (target->name != target->inline_name) {
            heap_free(target->name);
        }
        target->name = copy;
        target->name_len = d->name_len;
    } else if (d->name == d->inline_name) {
        if (target->name != target->inline_name) {
            heap_free(target->name);
        }
        target->name = target->inline_name;
        memcpy(target->inline_name, d->inline_name, DENTRY_INLINE);
        target->name_len = d->name_len;
    }
    d->parent = dentry_get(new_parent);
    unlock_two_dentries(d, target);
    dentry_put_in(d);
    atomic_fetch_add(&vfs_state->tree_seq, 1);
    dentry_put(old_parent);
}

void dentry_exchange(struct dentry *a, struct dentry *b)
{
    struct dentry *parent_a = a->parent;

    dentry_take_out(a);
    dentry_take_out(b);
    lock_two_dentries(a, b);
    swap_names(a, b);
    a->parent = b->parent;
    b->parent = parent_a;
    unlock_two_dentries(a, b);
    dentry_put_in(a);
    dentry_put_in(b);
    atomic_fetch_add(&vfs_state->tree_seq, 1);
}

/* ---- pruning ---- */

/* The first child after `prev` in tree order that nobody but the cache and its own children use. */
static struct dentry *first_child(struct dentry *d)
{
    struct dentry *c;

    SPIN_GUARD(&d->lock);
    c = RB_MIN(dentry_children, &d->children);
    return c != NULL ? dentry_get(c) : NULL;
}

static struct dentry *next_sibling(struct dentry *parent, struct dentry *c)
{
    struct dentry *n = NULL;

    SPIN_GUARD(&parent->lock);
    if (c->in_tree && c->parent == parent) {
        n = RB_NEXT(dentry_children, &parent->children, c);
    }
    return n != NULL ? dentry_get(n) : NULL;
}

/* Forget all unused names below d, deepest first, without recursion: a step down is a counted
 * reference that the step up gives back. */
void dentry_prune_children(struct dentry *d)
{
    struct dentry *cur = dentry_get(d);

    for (;;) {
        struct dentry *child = first_child(cur);
        struct dentry *parent, *next;

        if (child != NULL) {
            dentry_put(cur);
            cur = child;
            continue;
        }
        for (;;) { /* cur has no children (left): away with it, go on beside or above */
            if (cur == d) {
                dentry_put(cur);
                return;
            }
            parent = dentry_parent(cur);
            next = next_sibling(parent, cur);
            (void)dentry_unhash_if(cur, 2);
            dentry_put(cur);
            if (next != NULL) {
                dentry_put(parent);
                cur = next;
                break;
            }
            cur = parent;
        }
    }
}

void dcache_shrink(struct super *sb)
{
    if (sb == NULL) {
        for (u64 n = vfs_state->nr_lru / SHRINK_BATCH + 1; n > 0; n--) {
            dcache_trim();
        }
    } else if (sb->root_dentry != NULL) {
        dentry_prune_children(sb->root_dentry);
    }
}

void dentry_invalidate(struct dentry *parent, struct name name)
{
    struct dentry *d = dentry_lookup_cached(parent, name);

    if (d != NULL) {
        dentry_unhash(d);
        dentry_put(d);
    }
}
