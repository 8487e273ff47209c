/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* On a backend: takes the outer header off what our balancers sent. GUE may carry a second chance: a TCP packet that
 * starts no flow and that no socket here knows goes on, once, to the next hop named in it (GitHub's GLB has the idea). */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <bpf/bpf_endian.h>
#include "gtm_decap.h"

struct gtm_decap_settings settings;

static __always_inline int ours4(__u32 source)
{
	return settings.mask4 && (source & settings.mask4) == settings.source4;
}

static __always_inline int ours6(const __u64 *source)
{
	return settings.source6 && source[0] == settings.source6;
}

/* Is the TCP packet, IPv4 or IPv6 by `six`, one that this machine should have? */
static __always_inline int known(struct xdp_md *ctx, void *at, void *end, int six)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *socket;
	void *tcp = at + (six ? 40 : 20);
	int found;

	if (tcp + 20 > end)
		return 1;
	if (six ? *(__u8 *)(at + 6) != IPPROTO_TCP : *(__u8 *)(at + 9) != IPPROTO_TCP || *(__u8 *)at != 0x45)
		return 1;
	if ((*(__u8 *)(tcp + 13) & 0x12) == 2)
		return 1;
	if (six) {
		__builtin_memcpy(tuple.ipv6.saddr, at + 8, 32);
		__builtin_memcpy(&tuple.ipv6.sport, tcp, 4);
		socket = bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	} else {
		__builtin_memcpy(&tuple.ipv4.saddr, at + 12, 8);
		__builtin_memcpy(&tuple.ipv4.sport, tcp, 4);
		socket = bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	}
	if (!socket)
		return 0;
	found = socket->state != BPF_TCP_LISTEN;          /* a listener knows no flow, unless it gave this one a SYN cookie */
	if (!found)
		found = !bpf_tcp_check_syncookie(socket, at, six ? 40 : 20, tcp, 20);
	bpf_sk_release(socket);
	return found;
}

/* Sends the frame on to `hop`: only the outer target, its sum, and the index of the next hop change. */
static __always_inline int send_on(void *data, struct iphdr *ip, __u8 *next, __u32 hop)
{
	__u8 target[6];
	__u64 sum = (__u16)~ip->check;

	sum += (__u16)~ip->daddr + (__u16)~(ip->daddr >> 16) + (hop & 0xffff) + (hop >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	ip->check = ~sum;
	ip->daddr = hop;
	*next += 1;
	__builtin_memcpy(target, data, 6);
	__builtin_memcpy(data, data + 6, 6);
	__builtin_memcpy(data + 6, target, 6);
	return XDP_TX;
}

SEC("xdp") int gtm_decap(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end, *shim;
	__u8 macs[12], protocol;
	__u32 strip;

	if (data + 34 > end)
		return XDP_PASS;
	__u16 type = *(__u16 *)(data + 12);

	if (type == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = data + 14;

		if (*(__u8 *)ip != 0x45 || ip->frag_off & bpf_htons(0x3fff) || !ours4(ip->saddr))
			return XDP_PASS;
		protocol = ip->protocol;
		shim = data + 34;
		strip = 20;
	} else if (type == bpf_htons(ETH_P_IPV6)) {
		if (data + 54 > end || !ours6(data + 22))
			return XDP_PASS;
		protocol = *(__u8 *)(data + 20);
		shim = data + 54;
		strip = 40;
	} else {
		return XDP_PASS;
	}
	if (protocol == IPPROTO_GRE) {
		if (shim + 4 > end || *(__u16 *)shim)
			return XDP_PASS;
		type = *(__u16 *)(shim + 2);
		if (type != bpf_htons(ETH_P_IP) && type != bpf_htons(ETH_P_IPV6))
			return XDP_PASS;
		strip += 4;
	} else {
		if (protocol == IPPROTO_UDP) {
			if (shim + 12 > end || *(__u16 *)(shim + 2) != settings.port)
				return XDP_PASS;
			__u8 words = *(__u8 *)(shim + 8);             /* version 0, no control flag, 0 or 2 words more */

			protocol = *(__u8 *)(shim + 9);
			strip += 12;
			if (words == 2) {
				if (shim + 20 > end)
					return XDP_PASS;
				strip += 8;
				if (strip == 40 && *(__u8 *)(shim + 14) < *(__u8 *)(shim + 15) &&
				    !known(ctx, shim + 20, end, protocol == IPPROTO_IPV6))
					return send_on(data, data + 14, shim + 14, *(__u32 *)(shim + 16));
			} else if (words) {
				return XDP_PASS;
			}
		}
		if (protocol == IPPROTO_IPIP)
			type = bpf_htons(ETH_P_IP);
		else if (protocol == IPPROTO_IPV6)
			type = bpf_htons(ETH_P_IPV6);
		else
			return XDP_PASS;
	}
	__builtin_memcpy(macs, data, 12);
	if (bpf_xdp_adjust_head(ctx, (int)strip))
		return XDP_DROP;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if (data + 14 > end)
		return XDP_DROP;
	__builtin_memcpy(data, macs, 12);
	*(__u16 *)(data + 12) = type;
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
