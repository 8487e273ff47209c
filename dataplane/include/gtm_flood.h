/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What the laboratory tells its flood. */
#ifndef GTM_FLOOD_H
#define GTM_FLOOD_H
#include <linux/types.h>

#define GTM_FLOOD_BYTES 64

struct gtm_flood {
	__u32 network, mask;         /* sources: these bits of it, the others random; as on the wire */
	__u64 packets;
	__u8 bytes[GTM_FLOOD_BYTES]; /* an IPv4 frame from source 0.0.0.0, its sums made with that; TCP, or UDP without a sum */
};
#endif
