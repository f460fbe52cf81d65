/* SPDX-License-Identifier: Apache-2.0 */
/* The page in front of our vDSO ("[vvar]"): written once by the sentry at boot, read by guests. */
#ifndef PAVISE_SENTRY_LOADER_VDSO_DATA_H
#define PAVISE_SENTRY_LOADER_VDSO_DATA_H

#include <stdint.h>

/* Addresses of the host's vDSO functions in every guest address space; 0: make the call. */
struct vdso_data {
    uint64_t clock_gettime, gettimeofday, time, getcpu, clock_getres;
    uint32_t nr_cpus; /* the sandbox's; CPU numbers of the host are folded into it */
};

#endif
