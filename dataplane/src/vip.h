/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* VIPs in buckets of one cache line, two choices: 3 ns where a hash map takes 35. The last round is for both to differ
 * where VIPs do so in one octet. */
#pragma once
#include "hash.h"

INLINE struct gtm_vip *find_vip(const struct packet *p)
{
	__u32 port = p->ports >> 16, bucket;
	__u64 hash = mix(mix(mix(settings.seed[0], p->target[1]), p->target[0] ^ ((__u64)p->protocol << 16 | port)), 1);

	bucket = hash & (GTM_VIP_BUCKETS - 1);
	for (int choice = 0; choice < 2; choice++) {
		struct gtm_vip_bucket *b = bpf_map_lookup_elem(&vips, &bucket);

		if (!b)
			return 0;
		for (int i = 0; i < 2; i++) {
			struct gtm_vip *v = &b->vip[i];

			if (v->address[1] == p->target[1] && v->address[0] == p->target[0] &&
			    v->port == port && v->protocol == p->protocol)
				return v;
		}
		bucket = hash >> 32 & (GTM_VIP_BUCKETS - 1);
	}
	return 0;
}
