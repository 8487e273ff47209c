/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* From the frame to a `struct packet`. Every read is behind a check; what is not understood gets a PASS verdict. */
#pragma once
#include "packet.h"
#include "tables.h"

#define PARSED -1

/* `l4` and what follows belong to the packet for `room` bytes. */
INLINE int parse_ports(void *l4, void *end, __u32 room, struct packet *p)
{
	if (p->protocol == IPPROTO_TCP) {
		if (l4 + 20 > end || room < 20)
			return GTM_PASS_TRUNCATED;
		p->ports = *(__u32 *)l4;
		__u8 flags = *(__u8 *)(l4 + 13);

		if ((flags & 0x12) == 2)
			p->flags |= PACKET_SYN;
		else if (flags & 0x05)
			p->flags |= PACKET_END;
		return PARSED;
	}
	if (p->protocol == IPPROTO_UDP) {
		if (l4 + 8 > end || room < 8)
			return GTM_PASS_TRUNCATED;
		p->ports = *(__u32 *)l4;
		return PARSED;
	}
	return GTM_PASS_PROTOCOL;
}

INLINE __u32 swap_ports(__u32 ports) { return ports << 16 | ports >> 16; }

/* ICMP to us: an echo request, or an error that quotes a packet of ours with at least 8 bytes behind its IP header. */
INLINE int parse_icmp4(void *icmp, void *end, __u32 room, struct packet *p)
{
	if (icmp + 8 > end || room < 8)
		return GTM_PASS_TRUNCATED;
	__u8 type = *(__u8 *)icmp;

	if (type == 8) {
		p->flags |= PACKET_ECHO;
		p->ports = 0;
		return PARSED;
	}
	if (type != 3 && type != 11 && type != 12)
		return GTM_PASS_PROTOCOL;
	struct iphdr *quoted = icmp + 8;

	if (icmp + 36 > end || room < 36)
		return GTM_PASS_TRUNCATED;
	if (*(__u8 *)quoted != 0x45 || quoted->frag_off & bpf_htons(0x1fff))
		return GTM_PASS_OPTIONS;
	if (mapped(quoted->saddr) != p->target[1])
		return GTM_PASS_NO_VIP;
	p->protocol = quoted->protocol;
	if (p->protocol != IPPROTO_TCP && p->protocol != IPPROTO_UDP)
		return GTM_PASS_PROTOCOL;
	p->source[1] = mapped(quoted->daddr);
	p->ports = swap_ports(*(__u32 *)(icmp + 28));
	p->flags |= PACKET_ICMP_ERROR | PACKET_QUIET;
	return PARSED;
}

INLINE int parse_icmp6(void *icmp, void *end, __u32 room, struct packet *p)
{
	if (icmp + 8 > end || room < 8)
		return GTM_PASS_TRUNCATED;
	__u8 type = *(__u8 *)icmp;

	if (type == 128) {
		p->flags |= PACKET_ECHO;
		p->ports = 0;
		return PARSED;
	}
	if (type < 1 || type > 4)
		return GTM_PASS_PROTOCOL;
	void *quoted = icmp + 8;

	if (icmp + 56 > end || room < 56)
		return GTM_PASS_TRUNCATED;
	if (*(__u8 *)quoted >> 4 != 6)
		return GTM_PASS_OPTIONS;
	if (*(__u64 *)(quoted + 8) != p->target[0] || *(__u64 *)(quoted + 16) != p->target[1])
		return GTM_PASS_NO_VIP;
	p->protocol = *(__u8 *)(quoted + 6);
	if (p->protocol != IPPROTO_TCP && p->protocol != IPPROTO_UDP)
		return GTM_PASS_PROTOCOL;
	p->source[0] = *(__u64 *)(quoted + 24);
	p->source[1] = *(__u64 *)(quoted + 32);
	p->ports = swap_ports(*(__u32 *)(icmp + 48));
	p->flags |= PACKET_ICMP_ERROR | PACKET_QUIET;
	return PARSED;
}

INLINE int parse4(void *at, void *end, struct packet *p)
{
	struct iphdr *ip = at;

	if (at + 20 > end)
		return GTM_PASS_TRUNCATED;
	p->family = 4;
	p->length = bpf_ntohs(ip->tot_len);
	if (*(__u8 *)at != 0x45)
		return GTM_PASS_OPTIONS;
	if (p->length < 20 || p->length > end - at)
		return GTM_PASS_TRUNCATED;
	p->source[0] = p->target[0] = 0;
	p->source[1] = mapped(ip->saddr);
	p->target[1] = mapped(ip->daddr);
	p->traffic_class = ip->tos;
	p->protocol = ip->protocol;
	if (ip->frag_off != bpf_htons(0x4000))            /* no ICMP error: it may be fragmented, or is a fragment */
		p->flags |= PACKET_QUIET;
	if (ip->frag_off & bpf_htons(0x3fff)) {
		p->flags |= PACKET_FRAGMENT;
		p->ports = 0;
		return p->protocol == IPPROTO_TCP || p->protocol == IPPROTO_UDP ? PARSED : GTM_PASS_PROTOCOL;
	}
	if (p->protocol == IPPROTO_ICMP)
		return parse_icmp4(at + 20, end, p->length - 20, p);
	return parse_ports(at + 20, end, p->length - 20, p);
}

INLINE int parse6(void *at, void *end, struct packet *p)
{
	if (at + 40 > end)
		return GTM_PASS_TRUNCATED;
	__u32 first = bpf_ntohl(*(__u32 *)at), room = bpf_ntohs(*(__u16 *)(at + 4));

	p->family = 6;
	if (first >> 28 != 6)
		return GTM_PASS_OPTIONS;
	p->length = room + 40;
	if (p->length > end - at)
		return GTM_PASS_TRUNCATED;
	p->source[0] = *(__u64 *)(at + 8);
	p->source[1] = *(__u64 *)(at + 16);
	p->target[0] = *(__u64 *)(at + 24);
	p->target[1] = *(__u64 *)(at + 32);
	p->traffic_class = first >> 20;
	p->protocol = *(__u8 *)(at + 6);
	if (p->protocol == IPPROTO_FRAGMENT) {
		if (at + 48 > end || room < 8)
			return GTM_PASS_TRUNCATED;
		p->protocol = *(__u8 *)(at + 40);
		p->flags |= PACKET_FRAGMENT;
		p->ports = 0;
		return p->protocol == IPPROTO_TCP || p->protocol == IPPROTO_UDP ? PARSED : GTM_PASS_PROTOCOL;
	}
	if (p->protocol == IPPROTO_ICMPV6)
		return parse_icmp6(at + 40, end, room, p);
	if (p->protocol == IPPROTO_HOPOPTS || p->protocol == IPPROTO_ROUTING || p->protocol == IPPROTO_DSTOPTS)
		return GTM_PASS_OPTIONS;
	return parse_ports(at + 40, end, room, p);
}

INLINE int is_tag(__u16 type) { return type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD); }

/* PARSED, or the verdict on a packet that is not for balancing. */
INLINE int parse(void *data, void *end, struct packet *p)
{
	void *at = data + 14;

	if (at > end)
		return GTM_PASS_TRUNCATED;
	__u16 type = *(__u16 *)(data + 12);

	p->l3 = 14;
#pragma unroll
	for (int tag = 0; tag < 2; tag++) {
		if (!is_tag(type))
			break;
		if (at + 4 > end)
			return GTM_PASS_TRUNCATED;
		type = *(__u16 *)(at + 2);
		at += 4;
		p->l3 += 4;
	}
	if (type == bpf_htons(ETH_P_IP))
		return parse4(at, end, p);
	if (type == bpf_htons(ETH_P_IPV6))
		return parse6(at, end, p);
	return GTM_PASS_ETHERTYPE;
}
