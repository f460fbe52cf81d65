/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of /dev share. */
#ifndef PAVISE_VFS_DEV_PRIV_H
#define PAVISE_VFS_DEV_PRIV_H

#include "vfs/dev/dev.h"

#include <sys/sysmacros.h>

void mem_devices_register(void);

#endif
