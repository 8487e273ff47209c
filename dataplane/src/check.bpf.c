/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* On a balancer, tc egress: what its own health checks send to a VIP, marked with a backend's number, goes to that backend
 * wrapped as clients' packets are. The answer comes straight back, as to a client. The table is of its own, since those that
 * are checked and down are in no other. */
#include <linux/pkt_cls.h>
#include "outer.h"
#include "gtm_check.h"

GTM_TABLE(checked, struct gtm_backend, GTM_BACKENDS);

INLINE int wrap(struct __sk_buff *ctx, const struct gtm_backend *b)
{
	__u32 outer6 = b->flags & GTM_BACKEND_OUTER6, grow = overhead(b, 0), ip = outer6 ? 40 : 20;
	__u64 flags = outer6 ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV4;
	struct packet p = { .family = ctx->protocol == bpf_htons(ETH_P_IPV6) ? 6 : 4 };
	__u32 inner = p.family == 6 ? IPPROTO_IPV6 : IPPROTO_IPIP, protocol = inner;
	__u16 type = outer6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
	__u8 head[8], out[56] = {};

	if (bpf_skb_load_bytes(ctx, 14, head, 8))
		return TC_ACT_SHOT;
	p.length = p.family == 6 ? 40 + (head[4] << 8 | head[5]) : head[2] << 8 | head[3];
	p.traffic_class = p.family == 6 ? head[0] << 4 | head[1] >> 4 : head[1];
	if (b->wrap == GTM_WRAP_GRE) {
		flags |= BPF_F_ADJ_ROOM_ENCAP_L4_GRE;
		protocol = IPPROTO_GRE;
	} else if (b->wrap == GTM_WRAP_GUE) {
		flags |= BPF_F_ADJ_ROOM_ENCAP_L4_UDP;
		protocol = IPPROTO_UDP;
	}
	if (bpf_skb_adjust_room(ctx, grow, BPF_ADJ_ROOM_MAC, flags))
		return TC_ACT_SHOT;
	if (outer6) {
		write6(out, &p, b, p.length + grow, protocol, 0);
		write_shim(out + 40, &p, b, p.length + grow - ip, inner, 0, 0);
	} else {
		write4(out, &p, b, p.length + grow, protocol, 0);
		write_shim(out + 20, &p, b, p.length + grow - ip, inner, 0, 0);
	}
	if (grow < 20 || grow > sizeof(out) || bpf_skb_store_bytes(ctx, 14, out, grow, 0) ||
	    bpf_skb_store_bytes(ctx, 12, &type, 2, 0))
		return TC_ACT_SHOT;
	return TC_ACT_UNSPEC;
}

/* A check of a backend that nobody knows is dropped: by itself it would go to the VIP's next balancer, and back here. */
SEC("tc") int gtm_check(struct __sk_buff *ctx)
{
	__u32 number = ctx->mark & GTM_CHECK_NUMBER;

	if ((ctx->mark & ~GTM_CHECK_NUMBER) != GTM_CHECK_MARK)
		return TC_ACT_UNSPEC;
	struct gtm_backend *b = bpf_map_lookup_elem(&checked, &number);

	if (!b || b->wrap == GTM_WRAP_NONE)
		return TC_ACT_SHOT;
	if (b->wrap != GTM_WRAP_L2 && wrap(ctx, b) == TC_ACT_SHOT)
		return TC_ACT_SHOT;
	return bpf_skb_store_bytes(ctx, 0, b->mac, 6, 0) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "Dual BSD/GPL";
