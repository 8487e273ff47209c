/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What a backend's decapsulation is told and counts. All zero: nothing is taken for a balancer's, and everything passes. */
#ifndef GTM_DECAP_H
#define GTM_DECAP_H
#include <linux/types.h>

#define GTM_DECAP_CPUS 64u           /* counters only: a CPU beyond it shares a line with CPU & 63 */

struct gtm_decap_settings {
	__u32 source4, mask4;        /* outer sources that are ours, as on the wire; they vary in their last 16 bits */
	__u64 source6;               /* the first 64 bits of IPv6 ones, as on the wire */
	__u16 port;                  /* GUE's, as on the wire */
	__u16 pad[3];
};

/* What became of a frame. */
enum gtm_decap_verdict {
	GTM_DECAP_LEFT,              /* as it was: not our balancers', or not whole */
	GTM_DECAP_UNWRAPPED,
	GTM_DECAP_SENT_ON,           /* to the next hop, since nobody here knows its flow */
	GTM_DECAP_VERDICTS,
};

struct gtm_decap_counters { __u64 packets[8]; };      /* by verdict; a line for each CPU */

_Static_assert(sizeof(struct gtm_decap_settings) == 24, "no padding");
_Static_assert(sizeof(struct gtm_decap_counters) == 64, "a cache line");
#endif
