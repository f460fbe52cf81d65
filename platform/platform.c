/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The choice of a platform at start-up: by name, or the first of the list (best first) that this
 * machine can run.
 */
#include "platform/platform.h"

#include "base/err.h"
#include "platform/ptrace/ptrace.h"

const struct platform_ops *platform;
struct platform_caps platform_caps;

static const struct platform_ops *const platforms[] = {&ptrace_platform_ops};

int platform_choose(const char *name, const char **why)
{
    bool known = false;

    *why = "no such platform";
    for (size_t i = 0; i < ARRAY_SIZE(platforms); i++) {
        if (strcmp(name, "auto") != 0 && strcmp(name, platforms[i]->name) != 0) {
            continue;
        }
        known = true;
        if (platforms[i]->probe(why) == 0) {
            platform = platforms[i];
            *why = NULL;
            return 0;
        }
    }
    return known ? -ENODEV : -EINVAL;
}
