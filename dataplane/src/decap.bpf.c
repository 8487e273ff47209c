/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* On a backend: takes the outer header off what our balancers sent. GUE may carry a second chance: a TCP packet that
 * starts no flow and that no socket here knows, or an ICMP error about one, goes on, once, to the next hop named in it
 * (GitHub's GLB has the idea). Twice the same: XDP for packet rates, tc for bulk, since GRO hands it 64 KiB at a time. */
#include <linux/pkt_cls.h>
#include "decap.h"

#define GTM_SHRINK_TO4 (1ULL << 7)   /* BPF_F_ADJ_ROOM_DECAP_L3_IPV4 and _IPV6, since 6.5 */
#define GTM_SHRINK_TO6 (1ULL << 8)
#define LOOKED_AT 182                /* bytes: Ethernet, IPv6, GUE with an IPv6 hop, IPv6, ICMPv6 that quotes IPv6 and ports */

SEC("xdp") int gtm_decap(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct wrapped w = {};
	__u32 link[5];
	int verdict = look(ctx, data, end, &w);

	if (verdict == GTM_DECAP_LEFT || data + 34 > end)
		return done(GTM_DECAP_LEFT), XDP_PASS;
	if (verdict == GTM_DECAP_SENT_ON)
		return turn(data, end, &w) ? XDP_DROP : (done(verdict), XDP_TX);
	__builtin_memcpy(link, data, 20);
	if (bpf_xdp_adjust_head(ctx, (int)w.strip))
		return XDP_DROP;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if (data + 34 > end)
		return XDP_DROP;
	__builtin_memcpy(data, link, 12);
	if (w.l3 > 14)
		*(__u32 *)(data + 12) = link[3];
	if (w.l3 > 18)
		*(__u32 *)(data + 16) = link[4];
	*(__u16 *)(data + (w.l3 - 2 & 31)) = w.type;
	return done(GTM_DECAP_UNWRAPPED), XDP_PASS;
}

/* The kernel has taken a VLAN tag off before tc sees the frame; one behind that stays wrapped. */
SEC("tc") int gtm_decap_tc(struct __sk_buff *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct wrapped w = {};
	__u32 want = ctx->len < LOOKED_AT ? ctx->len : LOOKED_AT;
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO;

	if (end - data < want) {
		if (bpf_skb_pull_data(ctx, want))
			return TC_ACT_UNSPEC;
		data = (void *)(long)ctx->data;
		end = (void *)(long)ctx->data_end;
	}
	int verdict = look(ctx, data, end, &w);

	if (verdict == GTM_DECAP_LEFT || w.l3 != 14)
		return done(GTM_DECAP_LEFT), TC_ACT_UNSPEC;
	if (verdict == GTM_DECAP_SENT_ON)
		return turn(data, end, &w) ? TC_ACT_SHOT : (done(verdict), bpf_redirect(ctx->ifindex, 0));
	if ((w.outer == 40) != (w.type == bpf_htons(ETH_P_IPV6)))
		flags |= w.outer == 40 ? GTM_SHRINK_TO4 : GTM_SHRINK_TO6;
	if (bpf_skb_adjust_room(ctx, -(int)w.strip, BPF_ADJ_ROOM_MAC, flags))
		return done(GTM_DECAP_LEFT), TC_ACT_UNSPEC;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if (data + 14 > end)
		return TC_ACT_SHOT;
	*(__u16 *)(data + 12) = w.type;
	return done(GTM_DECAP_UNWRAPPED), TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "Dual BSD/GPL";
