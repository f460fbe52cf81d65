/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Red-black trees are libbsd's <bsd/sys/tree.h>; its RB_GENERATE_STATIC needs a macro that only
 * libbsd's overlay headers define, so that one is redone here. Include this header, then
 * RB_GENERATE_STATIC(...) without a prototype line.
 */
#ifndef PAVISE_BASE_TREE_H
#define PAVISE_BASE_TREE_H

#include <bsd/sys/tree.h>

#undef RB_GENERATE_STATIC
#define RB_GENERATE_STATIC(name, type, field, cmp)                                                 \
    RB_GENERATE_INTERNAL(name, type, field, cmp, __attribute__((unused)) static)

#endif
