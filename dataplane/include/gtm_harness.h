/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What bench/l4.py tells the harness. */
#ifndef GTM_HARNESS_H
#define GTM_HARNESS_H
#include <linux/types.h>

#define GTM_TEMPLATE_BYTES 80        /* the frame's start that is put back: all of its headers */

struct gtm_template {
	__u32 length;                /* of the frame */
	__u32 flows;                 /* a power of two; 0: a new flow each time */
	__u32 runs;
	__u32 six;
	__u8 bytes[GTM_TEMPLATE_BYTES];
	__u64 received;              /* by gtm_sink */
};
#endif
