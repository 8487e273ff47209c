/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What is wrong with a packet by itself. Behind IPv4 options and IPv6 extension headers nothing is looked at: the
 * balancer leaves those to the kernel. */
#pragma once
#include "guard.h"

/* By the low six flags of TCP (URG ACK PSH RST SYN FIN): those that no sender means. */
#define GOOD(flags) \
	(((flags) & 3) != 3 && ((flags) & 6) != 6 && ((flags) & 5) != 5 && ((flags) & 0x16))
#define B1(n) ((__u64)!GOOD(n) << (n))
#define B4(n) (B1(n) | B1((n) + 1) | B1((n) + 2) | B1((n) + 3))
#define B16(n) (B4(n) | B4((n) + 4) | B4((n) + 8) | B4((n) + 12))
#define BAD_FLAGS (B16(0) | B16(16) | B16(32) | B16(48))

/* `piece`: the first fragment, which has its header but not all that the header speaks of. */
INLINE void see_tcp(void *l4, void *end, __u32 room, __u32 piece, struct seen *s)
{
	__u32 length = piece ? BIT(GTM_GUARD_PIECE) : BIT(GTM_GUARD_LENGTH);

	if (l4 + 20 > end || room < 20) {
		s->reasons |= length;
		return;
	}
	__u32 header = *(__u8 *)(l4 + 12) >> 4 << 2, flags = *(__u8 *)(l4 + 13);

	if (header < 20)
		s->reasons |= BIT(GTM_GUARD_LENGTH);
	else if (header > room)
		s->reasons |= length;
	if (BAD_FLAGS >> (flags & 63) & 1)
		s->reasons |= BIT(GTM_GUARD_FLAGS);
	if (!*(__u16 *)l4 || !*(__u16 *)(l4 + 2))
		s->reasons |= BIT(GTM_GUARD_PORT);
	s->syn = (flags & 0x12) == 2 && !piece;
	s->going = (flags & 0x12) == 0x10 && !piece;
}

INLINE void see_udp(void *l4, void *end, __u32 room, __u32 piece, struct seen *s)
{
	if (l4 + 8 > end || room < 8) {
		s->reasons |= piece ? BIT(GTM_GUARD_PIECE) : BIT(GTM_GUARD_LENGTH);
		return;
	}
	__u32 length = bpf_ntohs(*(__u16 *)(l4 + 4)), port = bpf_ntohs(*(__u16 *)l4);

	if (length < 8 || (length > room && !piece))
		s->reasons |= BIT(GTM_GUARD_LENGTH);
	if (!*(__u16 *)(l4 + 2))
		s->reasons |= BIT(GTM_GUARD_PORT);
	if (guard_settings.amplifier[port >> 6] >> (port & 63) & 1)
		s->reasons |= BIT(GTM_GUARD_AMPLIFICATION);
}

INLINE void see_transport(void *l4, void *end, __u32 room, __u8 protocol, __u32 piece, struct seen *s)
{
	if (protocol == IPPROTO_TCP)
		see_tcp(l4, end, room, piece, s);
	else if (protocol == IPPROTO_UDP)
		see_udp(l4, end, room, piece, s);
	else if (protocol == (s->six ? IPPROTO_ICMPV6 : IPPROTO_ICMP) && room < 8)
		s->reasons |= piece ? BIT(GTM_GUARD_PIECE) : BIT(GTM_GUARD_LENGTH);
}

/* `offset` in bytes; `more` fragments follow; `length` bytes are in this one, and `before` it in the first. */
INLINE void see_fragment(__u32 offset, __u32 more, __u32 length, __u32 before, __u8 protocol, struct seen *s)
{
	s->reasons |= BIT(GTM_GUARD_FRAGMENT);
	if ((more && (length & 7 || !length)) || offset + length + before > 65535)
		s->reasons |= BIT(GTM_GUARD_PIECE);
	if (offset && offset < 20 && protocol == IPPROTO_TCP)         /* RFC 1858: writes over the flags */
		s->reasons |= BIT(GTM_GUARD_PIECE);
}

INLINE void see4(void *at, void *end, struct seen *s)
{
	struct iphdr *ip = at;
	__u32 header = (*(__u8 *)at & 15) << 2, length = bpf_ntohs(ip->tot_len);

	if (header < 20 || length < header || length > end - at) {
		s->reasons |= BIT(GTM_GUARD_LENGTH);
		return;
	}
	if (header != 20)
		return;
	__u32 fragment = bpf_ntohs(ip->frag_off), offset = (fragment & 0x1fff) << 3;

	length -= 20;
	if (fragment & 0x3fff) {
		see_fragment(offset, fragment & 0x2000, length, 20, ip->protocol, s);
		if (offset)
			return;
	}
	see_transport(at + 20, end, length, ip->protocol, fragment & 0x2000, s);
}

INLINE void see6(void *at, void *end, struct seen *s)
{
	__u32 length = bpf_ntohs(*(__u16 *)(at + 4));
	__u8 protocol = *(__u8 *)(at + 6);

	if (length + 40 > end - at) {
		s->reasons |= BIT(GTM_GUARD_LENGTH);
		return;
	}
	if (protocol != IPPROTO_FRAGMENT) {
		see_transport(at + 40, end, length, protocol, 0, s);
		return;
	}
	if (at + 48 > end || length < 8) {
		s->reasons |= BIT(GTM_GUARD_LENGTH);
		return;
	}
	__u32 fragment = bpf_ntohs(*(__u16 *)(at + 42)), offset = fragment & 0xfff8;

	protocol = *(__u8 *)(at + 40);
	length -= 8;
	see_fragment(offset, fragment & 1, length, 0, protocol, s);
	if (!offset)
		see_transport(at + 48, end, length, protocol, fragment & 1, s);
}
