/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of mappings of a file's content (see mappable.h). The links are embedded in mm's VMAs;
 * m->lock is held while invalidate callbacks run, so a link cannot go away under one.
 */
#include "vfs/mappable.h"

#include "base/panic.h"

void mappable_init(struct mappable *m, const struct mappable_ops *ops, struct inode *inode)
{
    m->ops = ops;
    m->inode = inode;
    mutex_init(&m->lock, LOCK_MAPPING);
    LIST_INIT(&m->links);
}

void mappable_fini(struct mappable *m)
{
    CHECK(LIST_EMPTY(&m->links), "a mapped file is freed");
}

void mappable_link(struct mappable *m, struct mapping_link *l)
{
    MUTEX_GUARD(&m->lock);
    LIST_INSERT_HEAD(&m->links, l, link);
}

void mappable_unlink(struct mappable *m, struct mapping_link *l)
{
    MUTEX_GUARD(&m->lock);
    LIST_REMOVE(l, link);
}

void mappable_invalidate(struct mappable *m, u64 off, u64 len, bool even_private)
{
    struct mapping_link *l;

    MUTEX_GUARD(&m->lock);
    LIST_FOREACH (l, &m->links, link) {
        l->invalidate(l, off, len, even_private);
    }
}
