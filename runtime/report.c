/* SPDX-License-Identifier: Apache-2.0 */
/* Printing the result of a run: for people, or as one JSON object for programs. */
#include "runtime/report.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

void report_add_unsupported(struct report *r, const struct control_msg *msg)
{
    void *p = reallocarray(r->unsupported, r->nr_unsupported + 1, sizeof(*msg));

    if (p != NULL) {
        r->unsupported = p;
        r->unsupported[r->nr_unsupported] = *msg;
        r->unsupported[r->nr_unsupported].text[sizeof(msg->text) - 1] = '\0';
        r->nr_unsupported++;
    }
}

void report_print_unsupported(const struct report *r)
{
    if (r->nr_unsupported == 0) {
        fprintf(stderr, "pavise: it asked for no call that is not supported\n");
        return;
    }
    fprintf(stderr, "pavise: calls that are not supported:\n");
    for (u32 i = 0; i < r->nr_unsupported; i++) {
        const struct control_msg *m = &r->unsupported[i];

        fprintf(stderr, "%10llu  %s (%d)\n", (unsigned long long)m->count, m->text, m->value);
    }
}

static void set_int(json_t *object, const char *key, u64 value)
{
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

static void add_outcome(json_t *o, const struct report *r)
{
    bool signaled = r->have_result && WIFSIGNALED(r->wait_status);
    bool exited = r->have_result && WIFEXITED(r->wait_status);
    const char *outcome = r->timed_out ? "timeout" : exited ? "exited" : "failed";

    json_object_set_new(o, "outcome", json_string(signaled ? "signaled" : outcome));
    if (exited) {
        set_int(o, "exit_code", (u64)WEXITSTATUS(r->wait_status));
    }
    if (signaled) {
        set_int(o, "signal", (u64)WTERMSIG(r->wait_status));
    }
}

static void add_resources(json_t *o, const struct control_result *res)
{
    json_object_set_new(o, "user_seconds", json_real((double)res->utime_ns / 1e9));
    json_object_set_new(o, "system_seconds", json_real((double)res->stime_ns / 1e9));
    set_int(o, "max_rss_bytes", res->maxrss);
    set_int(o, "minor_faults", res->minflt);
    set_int(o, "major_faults", res->majflt);
    set_int(o, "voluntary_switches", res->nvcsw);
    set_int(o, "involuntary_switches", res->nivcsw);
    set_int(o, "system_calls", res->syscalls);
    set_int(o, "tasks", res->tasks);
    set_int(o, "heap_objects", res->heap_objects);
}

void report_print_json(const struct report *r)
{
    json_t *o = json_object();
    json_t *calls = json_array();
    char *text;

    add_outcome(o, r);
    json_object_set_new(o, "wall_seconds", json_real((double)r->wall_ns / 1e9));
    if (r->have_result) {
        add_resources(o, &r->result);
    }
    for (u32 i = 0; i < r->nr_unsupported; i++) {
        json_t *call = json_object();

        json_object_set_new(call, "name", json_string(r->unsupported[i].text));
        set_int(call, "count", r->unsupported[i].count);
        json_array_append_new(calls, call);
    }
    json_object_set_new(o, "unsupported", calls);
    text = json_dumps(o, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9));
    fprintf(stderr, "%s\n", text != NULL ? text : "{}");
    free(text);
    json_decref(o);
}
