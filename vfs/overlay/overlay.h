/* SPDX-License-Identifier: Apache-2.0 */
/*
 * overlay: one writable tree made of read-only ones below and memory above. See
 * vfs/overlay/README.md.
 */
#ifndef PAVISE_VFS_OVERLAY_OVERLAY_H
#define PAVISE_VFS_OVERLAY_OVERLAY_H

#include "vfs/vfs.h"

#define OVERLAY_MAGIC      0x794c7630
#define OVERLAY_MAX_LOWERS 128U

struct overlay_options {
    u64 max_inodes; /* new files, links and directories at most; 0: no limit */
};

/*
 * `lowers` (topmost first; 1 to OVERLAY_MAX_LOWERS) seen as one tree, with changes kept above them:
 * names and attributes in the overlay itself, the content of written files in unnamed files of
 * `upper`, which must offer tmpfile. Counts its own references on all of them. From now on upper
 * belongs to the overlay alone, and nobody changes the lowers through this vfs. ERR_PTR.
 */
must_check struct super *overlay_super_new(struct super *upper, struct super *const *lowers,
                                           u32 nr_lowers, const struct overlay_options *options);

#endif
