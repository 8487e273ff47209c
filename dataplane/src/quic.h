/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* QUIC packets by the server ID that their connection ID has in clear (draft-ietf-quic-load-balancers): a connection stays
 * with its server though the client's address changes. What has no known server ID goes by the hash. */
#pragma once
#include "flow.h"

/* The backend's number; 0: none. Header forms and places are those of all versions (RFC 8999). */
INLINE __u32 find_server(struct xdp_md *ctx, const struct packet *p, const struct gtm_vip *v)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end, *payload;
	__u32 headers = p->family == 6 ? 48 : 28, at = (p->l3 & 31) + headers, id, size, rotation, known = 0;

	payload = data + at;
	asm volatile("" : "+r"(payload));
	if (payload + 7 > end || p->length < headers + 7)
		return 0;
	if (*(__u8 *)payload & 0x80) {
		id = 6;
		known = *(__u8 *)(payload + 5);           /* a server's has a nonce of 4 octets at least */
		rotation = *(__u8 *)(payload + 6) >> 5;
		size = v->quic >> rotation * 4 & 15;
		if (known < size + 5)
			return 0;
	} else {
		id = 1;
		rotation = *(__u8 *)(payload + 1) >> 5;
		size = v->quic >> rotation * 4 & 15;
	}
	if (!size || p->length < headers + id + 1 + size)
		return 0;
	/* The 16 bytes that end where the server ID ends; whatever stands before it is shifted out. */
	at += id + 1 + size - 16;
	payload = data + at;
	asm volatile("" : "+r"(payload));
	if (payload + 16 > end)
		return 0;
	__u64 low = *(__u64 *)payload, high = *(__u64 *)(payload + 8);

	if (size <= 8) {
		low = 0;
		high >>= (8 - size & 7) * 8;
	} else {
		low >>= (16 - size & 7) * 8;
	}
	__u64 hash = mix(mix(settings.seed[1], low), high);
	__u32 bucket;

	hash = mix(hash ^ settings.seed[0], (__u64)v->ring << 16 | rotation << 8 | size);
	bucket = hash & (GTM_SERVER_BUCKETS - 1);
#pragma unroll
	for (int choice = 0; choice < 2; choice++) {
		struct gtm_flow_bucket *b = bpf_map_lookup_elem(&servers, &bucket);

		if (!b)
			return 0;
		known = find_flow(b->flow, hash >> GTM_FLOW_TAG_SHIFT);
		if (known < 8)
			return b->flow[known] & GTM_FLOW_BACKEND;
		bucket = hash >> 32 & (GTM_SERVER_BUCKETS - 1);
	}
	return 0;
}
