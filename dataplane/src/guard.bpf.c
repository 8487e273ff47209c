/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What stands before the balancer: drops what its rules say, and only of what is sent to a VIP. A rule that is dry
 * counts what it would drop, and the packet goes on. */
#include "guard_lists.h"
#include "guard_parse.h"
#include "guard_rate.h"

#define DROP -1

INLINE struct gtm_guard_lane *lane(void) { return &guard_lanes[bpf_get_smp_processor_id() & (GTM_CPUS - 1)]; }

INLINE void count(struct gtm_counter *counter, __u32 bytes)
{
	counter->packets++;
	counter->bytes += bytes;
}

/* Counts one reason. Whether the packet is dropped. */
INLINE int falls(__u32 reason, __u32 bytes)
{
	struct gtm_guard_lane *own = lane();

	if (guard_settings.on & BIT(reason)) {
		count(&own->dropped[reason], bytes);
		return 1;
	}
	if (guard_settings.dry & BIT(reason))
		count(&own->would[reason], bytes);
	return 0;
}

INLINE __u32 find_target(const __u64 *address, __u64 hash)
{
	__u32 number = hash & (GTM_GUARD_TARGET_BUCKETS - 1);

	for (int choice = 0; choice < 2; choice++) {
		struct gtm_guard_bucket *b = bpf_map_lookup_elem(&guard_targets, &number);

		if (!b)
			return 0;
#pragma unroll
		for (int i = 0; i < 3; i++)
			if (b->address[i][1] == address[1] && b->address[i][0] == address[0] && b->number[i])
				return b->number[i];
		number = hash >> 32 & (GTM_GUARD_TARGET_BUCKETS - 1);
	}
	return 0;
}

/* A SYN that is one too many: for a while the balancer learns nothing of this VIP. */
INLINE void flooded(struct gtm_guard_lane *own, __u64 hash, __u32 bytes)
{
	__u32 word = flood_of(hash);
	__u64 *until = bpf_map_lookup_elem(&floods, &word);

	if (until && *until != ~0ULL)
		*until = bpf_jiffies64() + guard_settings.flood_jiffies;
	count(&own->passed[GTM_GUARD_FLOODED], bytes);
}

INLINE int judge(struct seen *s, __u32 number, __u64 hash, __u32 bytes)
{
	__u32 active = guard_settings.on | guard_settings.dry, class = GTM_GUARD_UNLISTED;
	__u32 allows = guard_settings.flags & (s->six ? GTM_GUARD_ALLOWS6 : GTM_GUARD_ALLOWS4);

	if (allows) {
		class = classify(s);
		if (class == GTM_GUARD_LISTED_ALLOWED)
			return GTM_GUARD_ALLOWED;
	}
	if (s->source[1] == s->target[1] && s->source[0] == s->target[0])
		s->reasons |= BIT(GTM_GUARD_LAND);
	if (active & BIT(GTM_GUARD_MARTIAN) &&
	    (s->six ? martian6(s->source) : martian4(bpf_ntohl(s->source[1] >> 32))))
		s->reasons |= BIT(GTM_GUARD_MARTIAN);
	if (s->reasons & active) {
#pragma unroll
		for (int reason = 0; reason < GTM_GUARD_DENY; reason++)
			if (s->reasons & BIT(reason) && falls(reason, bytes))
				return DROP;
	}
	/* Only now, as looking it up may take a cold line or two. */
	if (active & BIT(GTM_GUARD_DENY)) {
		if (!allows)
			class = classify(s);
		if (class == GTM_GUARD_DENIED && falls(GTM_GUARD_DENY, bytes))
			return DROP;
	}
	if (active & BIT(GTM_GUARD_SOURCE_RATE) && source_exceeds(s) && falls(GTM_GUARD_SOURCE_RATE, bytes))
		return DROP;
	if (!(active & BIT(GTM_GUARD_VIP_RATE)) && !guard_settings.flood_jiffies)
		return GTM_GUARD_PASSED;
	struct gtm_guard_target *rate = bpf_map_lookup_elem(&guard_rates, &number);
	struct gtm_guard_lane *own = lane();

	if (!rate)
		return GTM_GUARD_PASSED;
	__u64 at = number;

	asm volatile("%0 &= %1" : "+r"(at) : "i"(GTM_GUARD_TARGETS - 1));     /* for the verifier, who has lost sight of it */
	/* Connections under way must not starve beside a flood of what asks for new ones. */
	if (active & BIT(GTM_GUARD_VIP_RATE) && !s->going && exceeds(&own->target[at].packets, &rate->packets) &&
	    falls(GTM_GUARD_VIP_RATE, bytes))
		return DROP;
	if (s->syn && guard_settings.flood_jiffies && exceeds(&own->target[at].syns, &rate->syns))
		flooded(own, hash, bytes);
	return GTM_GUARD_PASSED;
}

INLINE int is_tag(__u16 type) { return type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD); }

INLINE int look(void *data, void *end)
{
	struct seen s = {};
	void *at = data + 14;

	if (at > end)
		return GTM_GUARD_NOT_IP;
	__u16 type = *(__u16 *)(data + 12);

#pragma unroll
	for (int tag = 0; tag < 2; tag++) {
		if (!is_tag(type))
			break;
		if (at + 4 > end)
			return GTM_GUARD_NOT_IP;
		type = *(__u16 *)(at + 2);
		at += 4;
	}
	if (type == bpf_htons(ETH_P_IP)) {
		if (at + 20 > end || *(__u8 *)at >> 4 != 4)
			return GTM_GUARD_NOT_IP;
		s.source[1] = mapped(*(__u32 *)(at + 12));
		s.target[1] = mapped(*(__u32 *)(at + 16));
	} else if (type == bpf_htons(ETH_P_IPV6)) {
		if (at + 40 > end || *(__u8 *)at >> 4 != 6)
			return GTM_GUARD_NOT_IP;
		s.six = 1;
		s.source[0] = *(__u64 *)(at + 8);
		s.source[1] = *(__u64 *)(at + 16);
		s.target[0] = *(__u64 *)(at + 24);
		s.target[1] = *(__u64 *)(at + 32);
	} else {
		return GTM_GUARD_NOT_IP;
	}
	__u64 hash = hash_address(s.target);
	__u32 number = find_target(s.target, hash);

	if (!number)
		return GTM_GUARD_NOT_VIP;
	if (s.six)
		see6(at, end, &s);
	else
		see4(at, end, &s);
	return judge(&s, number, hash, end - data);
}

SEC("xdp") int gtm_guard(struct xdp_md *ctx)
{
	__u32 bytes = ctx->data_end - ctx->data;
	int passed = look((void *)(long)ctx->data, (void *)(long)ctx->data_end);

	if (passed == DROP)
		return XDP_DROP;
	count(&lane()->passed[passed & (GTM_GUARD_PASSES_MAX - 1)], bytes);
	bpf_tail_call(ctx, &programs, GTM_PROGRAM_DNS);
	bpf_tail_call(ctx, &programs, GTM_PROGRAM_BALANCE);
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
