/* SPDX-License-Identifier: Apache-2.0 */
/* What `pavise do` tells about a run that is over. */
#ifndef PAVISE_RUNTIME_REPORT_H
#define PAVISE_RUNTIME_REPORT_H

#include "sentry/boot.h"

struct report {
    bool have_result;
    bool timed_out;
    int wait_status;
    u64 wall_ns;
    struct control_result result;
    struct control_msg *unsupported; /* CONTROL_UNSUPPORTED */
    u32 nr_unsupported;
};

/* Keep one more refused call. */
void report_add_unsupported(struct report *r, const struct control_msg *msg);
/* A table on standard error. */
void report_print_unsupported(const struct report *r);
/* One line of JSON on standard error. */
void report_print_json(const struct report *r);

#endif
