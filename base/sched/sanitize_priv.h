/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the sanitizers want to hear about stacks and switches; nothing in other builds. TSan's
 * switch is told to synchronise (flag 0): what the fiber did is before what its thread does next.
 */
#ifndef PAVISE_BASE_SCHED_SANITIZE_PRIV_H
#define PAVISE_BASE_SCHED_SANITIZE_PRIV_H

#include "base/base.h"

#ifdef PAVISE_ASAN
#include <sanitizer/asan_interface.h>
#define asan_start_switch(save, bottom, size)  __sanitizer_start_switch_fiber(save, bottom, size)
#define asan_finish_switch(save, bottom, size) __sanitizer_finish_switch_fiber(save, bottom, size)
#define asan_unpoison(addr, size)              __asan_unpoison_memory_region(addr, size)
#else
#define asan_start_switch(save, bottom, size)  ((void)(save), (void)(bottom), (void)(size))
#define asan_finish_switch(save, bottom, size) ((void)(save), (void)(bottom), (void)(size))
#define asan_unpoison(addr, size)              ((void)(addr), (void)(size))
#endif

#ifdef PAVISE_TSAN
#include <sanitizer/tsan_interface.h>
#define tsan_fiber_new()         __tsan_create_fiber(0)
#define tsan_fiber_free(fiber)   __tsan_destroy_fiber(fiber)
#define tsan_fiber_switch(fiber) __tsan_switch_to_fiber(fiber, 0)
#define tsan_fiber_current()     __tsan_get_current_fiber()
#else
#define tsan_fiber_new()         NULL
#define tsan_fiber_free(fiber)   ((void)(fiber))
#define tsan_fiber_switch(fiber) ((void)(fiber))
#define tsan_fiber_current()     NULL
#endif

#endif
