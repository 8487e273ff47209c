/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What a backend's decapsulation is told. All zero: nothing is taken for a balancer's, and everything passes. */
#ifndef GTM_DECAP_H
#define GTM_DECAP_H
#include <linux/types.h>

struct gtm_decap_settings {
	__u32 source4, mask4;        /* outer sources that are ours, as on the wire; they vary in their last 16 bits */
	__u64 source6;               /* the first 64 bits of IPv6 ones, as on the wire */
	__u16 port;                  /* GUE's, as on the wire */
	__u16 pad[3];
};
_Static_assert(sizeof(struct gtm_decap_settings) == 24, "no padding");
#endif
