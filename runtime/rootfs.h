/* SPDX-License-Identifier: Apache-2.0 */
/* The mount tree of a sandbox, as its sentry sees it. */
#ifndef PAVISE_RUNTIME_ROOTFS_H
#define PAVISE_RUNTIME_ROOTFS_H

#include "runtime/spec.h"

/* In the child: make the tree and fill boot->root_fd and boot->trees. */
int rootfs_build(const struct spec *spec, struct boot_config *boot, struct error *err);

#endif
