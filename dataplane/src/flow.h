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

/* For the other instances: a flow's word is new or means another thing. Readers are woken when they have read all else. */
INLINE void tell(__u64 flow, const struct gtm_vip *v, __u32 kind)
{
	if (!(settings.flags & GTM_TELL_EVENTS))
		return;
	struct gtm_event_counter *count = &counters.events[bpf_get_smp_processor_id() & (GTM_CPUS - 1)];
	struct gtm_flow_event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event) {
		count->lost++;
		return;
	}
	*event = (struct gtm_flow_event){ .flow = flow, .ring = v->ring, .kind = kind };
	bpf_ringbuf_submit(event, 0);
	count->told++;
}

/* Where the flow is in its bucket; 8: nowhere. */
INLINE __u32 find_flow(const __u64 *flow, __u64 tag)
{
#pragma unroll
	for (int i = 0; i < 8; i++)
		if (flow[i] >> GTM_FLOW_TAG_SHIFT == tag)
			return i;
	return 8;
}

/* Its backend, 0 for none; a hit moves up one place. */
INLINE __u32 recall(__u64 *flow, __u64 tag, const struct gtm_vip *v, __u32 ends)
{
	__u32 at = find_flow(flow, tag);

	if (at > 7)
		return 0;
	__u64 known = flow[at];

	if (ends && !(known & GTM_FLOW_CLOSED)) {
		known |= GTM_FLOW_CLOSED;
		flow[at] = known;
		tell(known, v, GTM_FLOW_ENDED);
	}
	if (at) {
		flow[at] = flow[at - 1];
		flow[at - 1] = known;
	}
	return known & GTM_FLOW_BACKEND;
}

/* A flow that is there already is set in its place; a new one enters in the middle, so that a flood of SYNs cannot push
 * out the busy half. */
INLINE void learn(__u64 *flow, __u64 tag, const struct gtm_vip *v, __u32 number)
{
	__u64 entry = tag << GTM_FLOW_TAG_SHIFT | number;

	__u32 at = find_flow(flow, tag);

	if (at > 7) {
		flow[7] = flow[6];
		flow[6] = flow[5];
		flow[5] = flow[4];
		flow[4] = entry;
	} else if (flow[at] == entry) {
		return;
	} else {
		flow[at] = entry;
	}
	tell(entry, v, GTM_FLOW_LEARNT);
}

/* Whether nothing is to be learnt of this VIP now: it, or every one, is under a flood of SYNs. */
INLINE __u32 is_flooded(const struct packet *p)
{
	__u32 word = flood_of(hash_address(p->target));
	__u64 *until = bpf_map_lookup_elem(&floods, &word);

	return settings.flags & GTM_LEARN_NOTHING || (until && bpf_jiffies64() < *until);
}

INLINE __u32 owner(const struct packet *p, const struct gtm_vip *v, __u32 slot, __u64 hash)
{
	__u32 current = slot & GTM_SLOT_BACKEND, previous = slot >> GTM_SLOT_PREVIOUS_SHIFT, known = current;
	__u32 moving = slot & GTM_SLOT_TRANSITION, track = v->flags & GTM_VIP_TRACK;

	if (!moving && !track)
		return current;
	if (p->flags & PACKET_FRAGMENT)                   /* one owner by its 3-tuple: nothing to learn */
		return moving && alive(previous) ? previous : current;
	__u32 bucket = hash >> GTM_FLOW_BUCKET_SHIFT & (GTM_FLOW_BUCKETS - 1);
	__u64 tag = hash >> GTM_FLOW_TAG_SHIFT;
	struct gtm_flow_bucket *b = bpf_map_lookup_elem(&flows, &bucket);

	if (!b)
		return current;
	__u32 flooded = is_flooded(p);

	/* What is not learnt must go where its next packets will, which nothing tells from an old flow's. */
	if (!(p->flags & PACKET_SYN) || flooded) {
		known = recall(b->flow, tag, v, p->flags & PACKET_END);
		if (known && alive(known))
			return known;
		/* An unknown established flow is the previous owner's. Where all flows are tracked, unknown UDP is a new flow. */
		known = moving && !(track && p->protocol == IPPROTO_UDP) && alive(previous) ? previous : current;
		if (p->flags & (PACKET_ICMP_ERROR | PACKET_END))
			return known;
	}
	if (!flooded)
		learn(b->flow, tag, v, known);
	return known;
}
