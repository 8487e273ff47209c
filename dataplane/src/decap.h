/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What a frame from our balancers needs, read and not yet done: for XDP and tc alike. */
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>
#include "gtm_decap.h"

#define INLINE static __always_inline

struct gtm_decap_settings settings;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, GTM_DECAP_CPUS);
	__type(key, __u32);
	__type(value, struct gtm_decap_counters);
} counters SEC(".maps");

/* Where things are in the frame. `type`: of the packet within, as on the wire. */
struct wrapped {
	__u32 l3, outer, strip;      /* of the outer header: its place and size; and of all that comes off */
	__u32 hop;                   /* place of GUE's index of the next hop, the address two bytes behind; 0: no second chance */
	__u16 type;
};

INLINE int done(int verdict)
{
	__u32 cpu = bpf_get_smp_processor_id() & (GTM_DECAP_CPUS - 1);
	struct gtm_decap_counters *c = bpf_map_lookup_elem(&counters, &cpu);

	if (c)
		c->packets[verdict & 3]++;
	return verdict;
}

INLINE int ours(const void *at, int six)
{
	__u32 source = *(__u32 *)(at + 12);

	if (six)
		return settings.source6 && *(__u64 *)(at + 8) == settings.source6;
	return settings.mask4 && (source & settings.mask4) == settings.source4;
}

/* Has this machine a socket for the flow? A listener has, if the packet brings back a SYN cookie that it gave out. */
INLINE int has_socket(void *ctx, struct bpf_sock_tuple *tuple, int six, void *ip, void *tcp)
{
	struct bpf_sock *socket =
		bpf_skc_lookup_tcp(ctx, tuple, six ? sizeof(tuple->ipv6) : sizeof(tuple->ipv4), BPF_F_CURRENT_NETNS, 0);
	int found = 1;

	if (!socket)
		return 0;
	if (socket->state == BPF_TCP_LISTEN)
		found = tcp && !bpf_tcp_check_syncookie(socket, ip, six ? 40 : 20, tcp, 20);
	bpf_sk_release(socket);
	return found;
}

INLINE int has_flow4(void *ctx, void *at, void *end)
{
	struct bpf_sock_tuple tuple = {};
	struct iphdr *ip = at, *quoted = at + 28;
	void *l4 = at + 20;

	if (at + 28 > end || *(__u8 *)at != 0x45 || ip->frag_off & bpf_htons(0x3fff))
		return 1;
	if (ip->protocol == IPPROTO_ICMP) {
		__u8 type = *(__u8 *)l4;

		if (at + 56 > end || (type != 3 && type != 11 && type != 12))
			return 1;
		if (*(__u8 *)quoted != 0x45 || quoted->frag_off & bpf_htons(0x1fff) || quoted->protocol != IPPROTO_TCP)
			return 1;
		tuple.ipv4.saddr = quoted->daddr;
		tuple.ipv4.daddr = quoted->saddr;
		tuple.ipv4.sport = *(__u16 *)(at + 50);
		tuple.ipv4.dport = *(__u16 *)(at + 48);
		return has_socket(ctx, &tuple, 0, 0, 0);
	}
	if (ip->protocol != IPPROTO_TCP || at + 40 > end || (*(__u8 *)(l4 + 13) & 0x12) == 2)
		return 1;
	__builtin_memcpy(&tuple.ipv4.saddr, at + 12, 8);
	__builtin_memcpy(&tuple.ipv4.sport, l4, 4);
	return has_socket(ctx, &tuple, 0, at, l4);
}

INLINE int has_flow6(void *ctx, void *at, void *end)
{
	struct bpf_sock_tuple tuple = {};
	void *l4 = at + 40, *quoted = at + 48;

	if (at + 48 > end)
		return 1;
	if (*(__u8 *)(at + 6) == IPPROTO_ICMPV6) {
		__u8 type = *(__u8 *)l4;

		if (at + 96 > end || type < 1 || type > 4 || *(__u8 *)quoted >> 4 != 6 || *(__u8 *)(quoted + 6) != IPPROTO_TCP)
			return 1;
		__builtin_memcpy(tuple.ipv6.saddr, quoted + 24, 16);
		__builtin_memcpy(tuple.ipv6.daddr, quoted + 8, 16);
		tuple.ipv6.sport = *(__u16 *)(quoted + 42);
		tuple.ipv6.dport = *(__u16 *)(quoted + 40);
		return has_socket(ctx, &tuple, 1, 0, 0);
	}
	if (*(__u8 *)(at + 6) != IPPROTO_TCP || at + 60 > end || (*(__u8 *)(l4 + 13) & 0x12) == 2)
		return 1;
	__builtin_memcpy(tuple.ipv6.saddr, at + 8, 32);
	__builtin_memcpy(&tuple.ipv6.sport, l4, 4);
	return has_socket(ctx, &tuple, 1, at, l4);
}

/* What GUE puts behind the outer header; 0, or the protocol of the packet within. */
INLINE __u8 look_gue(void *at, void *end, struct wrapped *w)
{
	void *gue = at + w->outer;

	asm volatile("" : "+r"(gue));
	if (gue + 12 > end || *(__u16 *)(gue + 2) != settings.port)
		return 0;
	__u8 words = *(__u8 *)(gue + 8), type;            /* version 0, no control flag, and words of private data */

	w->strip += 12;
	if (!words)
		return *(__u8 *)(gue + 9);
	if ((words != 2 && words != 5) || gue + 20 > end)
		return 0;
	type = words == 5;
	w->strip += 4 * words;
	/* Type 0 has an IPv4 address, type 1 an IPv6 one: of use where the outer header is of that family. */
	if (w->outer == (type ? 40 : 20) && *(__u16 *)(gue + 12) == bpf_htons(type) && *(__u8 *)(gue + 14) < *(__u8 *)(gue + 15))
		w->hop = w->l3 + w->outer + 14;
	return *(__u8 *)(gue + 9);
}

/* GTM_DECAP_LEFT, or what is to be done with the frame. */
INLINE int look(void *ctx, void *data, void *end, struct wrapped *w)
{
	void *at = data + 14, *shim;
	__u8 protocol;

	if (at > end)
		return GTM_DECAP_LEFT;
	__u16 type = *(__u16 *)(data + 12);

	w->l3 = 14;
#pragma unroll
	for (int tag = 0; tag < 2; tag++) {
		if (type != bpf_htons(ETH_P_8021Q) && type != bpf_htons(ETH_P_8021AD))
			break;
		if (at + 4 > end)
			return GTM_DECAP_LEFT;
		type = *(__u16 *)(at + 2);
		at += 4;
		w->l3 += 4;
	}
	if (type == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = at;

		if (at + 20 > end || *(__u8 *)at != 0x45 || ip->frag_off & bpf_htons(0x3fff) || !ours(at, 0))
			return GTM_DECAP_LEFT;
		protocol = ip->protocol;
		w->outer = 20;
	} else if (type == bpf_htons(ETH_P_IPV6)) {
		if (at + 40 > end || !ours(at, 1))
			return GTM_DECAP_LEFT;
		protocol = *(__u8 *)(at + 6);
		w->outer = 40;
	} else {
		return GTM_DECAP_LEFT;
	}
	w->strip = w->outer;
	w->hop = 0;
	if (protocol == IPPROTO_GRE) {
		shim = at + w->outer;
		asm volatile("" : "+r"(shim));
		if (shim + 4 > end || *(__u16 *)shim)
			return GTM_DECAP_LEFT;
		type = *(__u16 *)(shim + 2);
		protocol = type == bpf_htons(ETH_P_IP) ? IPPROTO_IPIP : type == bpf_htons(ETH_P_IPV6) ? IPPROTO_IPV6 : 0;
		w->strip += 4;
	} else if (protocol == IPPROTO_UDP) {
		protocol = look_gue(at, end, w);
	}
	if (protocol != IPPROTO_IPIP && protocol != IPPROTO_IPV6)
		return GTM_DECAP_LEFT;
	int six = protocol == IPPROTO_IPV6;

	w->type = six ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
	at += w->strip & 127;
	asm volatile("" : "+r"(at));
	if (at + 20 > end || *(__u8 *)at >> 4 != (six ? 6 : 4) || (six && at + 40 > end))
		return GTM_DECAP_LEFT;
	if (w->hop && !(six ? has_flow6(ctx, at, end) : has_flow4(ctx, at, end)))
		return GTM_DECAP_SENT_ON;
	return GTM_DECAP_UNWRAPPED;
}

/* Turns the frame round to its next hop: the outer target, IPv4's sum, and the index of the next hop change. 0, or -1. */
INLINE int turn(void *data, void *end, const struct wrapped *w)
{
	__u8 target[6];
	void *at = data + (w->l3 & 31), *hop = data + (w->hop & 127);

	asm volatile("" : "+r"(at));
	asm volatile("" : "+r"(hop));
	if (data + 14 > end || at + 40 > end || hop + 18 > end)
		return -1;
	*(__u8 *)hop += 1;
	if (w->outer == 40) {
		__builtin_memcpy(at + 24, hop + 2, 16);
	} else {
		struct iphdr *ip = at;
		__u32 next = *(__u32 *)(hop + 2);
		__u64 sum = (__u16)~ip->check;

		sum += (__u16)~ip->daddr + (__u16)~(ip->daddr >> 16) + (next & 0xffff) + (next >> 16);
		sum = (sum & 0xffff) + (sum >> 16);
		sum = (sum & 0xffff) + (sum >> 16);
		ip->check = ~sum;
		ip->daddr = next;
	}
	__builtin_memcpy(target, data, 6);
	__builtin_memcpy(data, data + 6, 6);
	__builtin_memcpy(data + 6, target, 6);
	return 0;
}
