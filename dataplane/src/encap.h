/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Out to the backend: new MACs, and the outer header that it asks for, in front of the packet. */
#pragma once
#include "flow.h"
#include "outer.h"

INLINE void swap_macs(void *data)
{
	__u8 target[6];

	__builtin_memcpy(target, data, 6);
	__builtin_memcpy(data, data + 6, 6);
	__builtin_memcpy(data + 6, target, 6);
}

/* XDP verdict: the packet, `p->length` bytes of IP at `p->l3`, on its way to `b`. */
INLINE int encapsulate(struct xdp_md *ctx, const struct packet *p, const struct gtm_backend *b, const struct gtm_backend *hop,
		       __u64 hash, int verdict)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u64 link[3];
	__u32 outer6 = b->flags & GTM_BACKEND_OUTER6, grow = overhead(b, hop), l3 = p->l3 & 31;
	__u32 inner = p->family == 6 ? IPPROTO_IPV6 : IPPROTO_IPIP, vary = hash >> 16 & 0xffff;

	if (data + 34 > end)
		return GTM_PASS_TRUNCATED;
	if (b->wrap == GTM_WRAP_L2) {
		__builtin_memcpy(data + 6, data, 6);
		__builtin_memcpy(data, b->mac, 6);
		return verdict;
	}
	__builtin_memcpy(link, data, 24);
	if (bpf_xdp_adjust_head(ctx, -(int)grow))
		return GTM_DROP_NO_ROOM;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if (data + 34 > end)
		return GTM_DROP_NO_ROOM;
	__builtin_memcpy(data, link, 24);                 /* tags and all; the outer header covers what is too much */
	__builtin_memcpy(data + 6, link, 6);
	__builtin_memcpy(data, b->mac, 6);
	void *at = data + l3, *shim;
	__u32 protocol = b->wrap == GTM_WRAP_GRE ? IPPROTO_GRE : b->wrap == GTM_WRAP_GUE ? IPPROTO_UDP : inner;

	asm volatile("" : "+r"(at));
	if (at + 40 > end)                                /* the packet itself is 20 at least */
		return GTM_DROP_NO_ROOM;
	*(__u16 *)(at - 2) = outer6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
	if (outer6) {
		write6(at, p, b, p->length + grow, protocol, b->wrap == GTM_WRAP_GUE ? 0 : vary);
		shim = at + 40;
	} else {
		write4(at, p, b, p->length + grow, protocol, b->wrap == GTM_WRAP_GUE ? 0 : vary);
		shim = at + 20;
	}
	if (b->wrap == GTM_WRAP_IP)
		return verdict;
	asm volatile("" : "+r"(shim));
	if (shim + 20 > end)
		return GTM_DROP_NO_ROOM;
	write_shim(shim, p, b, p->length + grow - (outer6 ? 40 : 20), inner, !hop ? 0 : outer6 ? 5 : 2, vary);
	if (!hop || b->wrap != GTM_WRAP_GUE)
		return verdict;
	/* Private data as GLB writes it: type 0, next hop 0 of 1, its IPv4 address. Type 1, with an IPv6 address, is ours. */
	if (!outer6) {
		((__u32 *)shim)[3] = 1u << 24;
		((__u32 *)shim)[4] = *(const __u32 *)(hop->address + 12);
		return verdict;
	}
	if (shim + 32 > end)
		return GTM_DROP_NO_ROOM;
	((__u32 *)shim)[3] = 1u << 24 | 1u << 8;
	__builtin_memcpy(shim + 16, hop->address, 16);
	return verdict;
}
