/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The root program with its slots, and the balancer that stands in one of them. */
#include "icmp.h"

INLINE void count(struct gtm_traffic_counter *counter, const struct packet *p)
{
	counter->packets++;
	counter->bytes += p->length;
	if (p->flags & PACKET_SYN)
		counter->opened++;
	else if (p->flags & PACKET_END)
		counter->closed++;
}

INLINE int decide(struct xdp_md *ctx, struct packet *p)
{
	int verdict = parse((void *)(long)ctx->data, (void *)(long)ctx->data_end, p);

	if (verdict != PARSED)
		return verdict;
	struct gtm_vip *v = find_vip(p);

	if (!v)
		return GTM_PASS_NO_VIP;
	__u32 cpu = bpf_get_smp_processor_id() & (GTM_CPUS - 1);

	count(&counters.vip[cpu][v->number & (GTM_VIPS - 1)], p);
	if (p->flags & PACKET_ECHO)
		return answer_echo(ctx, p);
	__u32 number = v->ring, zero = 0;
	void *table = bpf_map_lookup_elem(&rings, &number);
	struct gtm_ring *ring = table ? bpf_map_lookup_elem(table, &zero) : 0;

	if (!ring || !ring->size)
		return GTM_PASS_NO_TABLE;
	__u64 hash = hash_flow(p);
	__u32 at = (hash & 0xffffffff) * ring->size >> 32;    /* an even share of the hash for each slot: no division */

	if (at >= GTM_RING_SLOTS)
		return GTM_PASS_NO_TABLE;
	__u32 slot = ring->slot[at], own = 0, next = slot >> GTM_SLOT_PREVIOUS_SHIFT;
	struct gtm_backend *b = 0, *hop = 0;

	if (v->quic && !(p->flags & (PACKET_FRAGMENT | PACKET_ICMP_ERROR))) {
		own = find_server(ctx, p, v);
		b = alive(own);
	}
	if (!b) {
		own = owner(p, v, slot, hash);
		b = alive(own);
	}

	if (!b)
		return GTM_DROP_NO_BACKEND;
	if (b->flags & GTM_BACKEND_SECOND_CHANCE) {
		/* Whichever of the two did not get it: a new flow's packets go on to the previous one, and the reverse. */
		if (next == own)
			next = slot & GTM_SLOT_BACKEND;
		hop = next == own ? 0 : alive(next);
		if (hop && (hop->flags ^ b->flags) & GTM_BACKEND_OUTER6)
			hop = 0;
	}
	__u32 limit = b->mtu - overhead(b, hop);

	if (p->length > limit)
		return may_tell(p) ? answer_too_big(ctx, p, limit) : GTM_DROP_TOO_BIG;
	count(&counters.backend[cpu][own & (GTM_BACKENDS - 1)], p);
	return encapsulate(ctx, p, b, hop, hash, p->flags & PACKET_ICMP_ERROR ? GTM_TX_ICMP_ERROR : GTM_TX_FORWARD);
}

SEC("xdp") int gtm_balance(struct xdp_md *ctx)
{
	struct packet p = {};
	__u32 bytes = ctx->data_end - ctx->data;

	return done(decide(ctx, &p), bytes);
}

SEC("xdp") int gtm_root(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &programs, GTM_PROGRAM_GUARD);
	bpf_tail_call(ctx, &programs, GTM_PROGRAM_DNS);
	bpf_tail_call(ctx, &programs, GTM_PROGRAM_BALANCE);
	return done(GTM_PASS_NO_PROGRAM, ctx->data_end - ctx->data);
}

char _license[] SEC("license") = "Dual BSD/GPL";
