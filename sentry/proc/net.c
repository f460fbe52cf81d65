/* SPDX-License-Identifier: Apache-2.0 */
/* /proc/PID/net of a sandbox without a network: the tables exist and are empty. */
#include "sentry/proc/proc_priv.h"
#include "sentry/socket/socket.h"

static int show_dev(struct pseudo_node *n, struct seqbuf *s)
{
    (void)n;
    return seq_puts(s,
                    "Inter-|   Receive                                                |  Transmit\n"
                    " face |bytes    packets errs drop fifo frame compressed multicast|bytes    "
                    "packets errs drop fifo "
                    "colls carrier compressed\n");
}

static int show_unix(struct pseudo_node *n, struct seqbuf *s)
{
    (void)n;
    return unix_show(s);
}

static int show_route(struct pseudo_node *n, struct seqbuf *s)
{
    (void)n;
    return seq_puts(
        s, "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n");
}

const struct pseudo_entry net_entries[] = {
    PSEUDO_FILE("dev", 0444, show_dev),
    PSEUDO_FILE("route", 0444, show_route),
    PSEUDO_FILE("unix", 0444, show_unix),
    PSEUDO_END,
};
