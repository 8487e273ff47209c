/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Which backend owns a flow. No state is read or written while the answer cannot change: only a slot in transition, or
 * a VIP that always tracks, asks the flow table. One table serves all CPUs: a flow is one word, so a race may cost an
 * entry its place, never its truth; and a flow that moves to another queue is found again. */
#pragma once
#include "vip.h"

INLINE struct gtm_backend *alive(__u32 number)
{
	struct gtm_backend *b = bpf_map_lookup_elem(&backends, &number);

	if (!b || !number || b->wrap == GTM_WRAP_NONE)
		return 0;
	return b->deadline && bpf_jiffies64() >= b->deadline ? 0 : b;
}

INLINE __u32 recall(__u64 *flow, __u64 tag)
{
	__u64 known = flow[0];

	if (known >> 16 == tag)
		return known & 0xffff;
#pragma unroll
	for (int i = 1; i < 8; i++) {
		known = flow[i];
		if (known >> 16 == tag) {
			flow[i] = flow[i - 1];
			flow[i - 1] = known;
			return known & 0xffff;
		}
	}
	return 0;
}

/* A flow that is there already is set in its place; a new one enters in the middle, so that a flood of SYNs cannot push
 * out the busy half. */
INLINE void learn(__u64 *flow, __u64 tag, __u32 number)
{
	__u64 entry = tag << 16 | number;

	if (settings.flags & GTM_LEARN_NOTHING)
		return;
#pragma unroll
	for (int i = 0; i < 8; i++)
		if (flow[i] >> 16 == tag) {
			flow[i] = entry;
			return;
		}
	flow[7] = flow[6];
	flow[6] = flow[5];
	flow[5] = flow[4];
	flow[4] = entry;
}

INLINE __u32 owner(const struct packet *p, const struct gtm_vip *v, __u32 slot, __u64 hash)
{
	__u32 current = slot & GTM_SLOT_BACKEND, previous = slot >> GTM_SLOT_PREVIOUS_SHIFT, known;
	__u32 moving = slot & GTM_SLOT_TRANSITION, track = v->flags & GTM_VIP_TRACK;

	if (!moving && !track)
		return current;
	if (p->flags & PACKET_FRAGMENT)                   /* one owner by its 3-tuple: nothing to learn */
		return moving && alive(previous) ? previous : current;
	__u32 bucket = hash >> 40 & (GTM_FLOW_BUCKETS - 1);
	__u64 tag = hash >> 16;
	struct gtm_flow_bucket *b = bpf_map_lookup_elem(&flows, &bucket);

	if (!b)
		return current;
	if (p->flags & PACKET_SYN) {
		learn(b->flow, tag, current);
		return current;
	}
	known = recall(b->flow, tag);
	if (known && alive(known))
		return known;
	/* An unknown established flow is the previous owner's. Where all flows are tracked, unknown UDP is a new flow. */
	known = moving && !(track && p->protocol == IPPROTO_UDP) && alive(previous) ? previous : current;
	if (!(p->flags & PACKET_ICMP_ERROR))
		learn(b->flow, tag, known);
	return known;
}
