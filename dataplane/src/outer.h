/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The outer header that a backend asks for, as words. */
#pragma once
#include "packet.h"

#define TTL 64

INLINE __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* Bytes in front of the packet for this backend; `hop`: GUE carries a next hop, of the family of its outer header. */
INLINE __u32 overhead(const struct gtm_backend *b, const struct gtm_backend *hop)
{
	__u32 six = b->flags & GTM_BACKEND_OUTER6, ip = six ? 40 : 20;

	if (b->wrap == GTM_WRAP_GUE)
		return ip + 12 + (!hop ? 0 : six ? 20 : 8);
	return b->wrap == GTM_WRAP_L2 ? 0 : b->wrap == GTM_WRAP_GRE ? ip + 4 : ip;
}

INLINE void write4(void *at, const struct packet *p, const struct gtm_backend *b, __u32 length, __u32 protocol, __u32 vary)
{
	__u32 *word = at, source = *(const __u32 *)(b->source + 12) ^ vary << 16, target = *(const __u32 *)(b->address + 12);
	__u32 total = bpf_htons(length);
	__u64 sum = (__u64)(0x45 | p->traffic_class << 8) + total + bpf_htons(0x4000) + (TTL | protocol << 8) + source + target;

	word[0] = 0x45 | p->traffic_class << 8 | total << 16;
	word[1] = bpf_htonl(0x4000);                      /* may not be fragmented: then its id means nothing (RFC 6864) */
	word[2] = TTL | protocol << 8 | (__u32)(__u16)~fold(sum) << 16;
	word[3] = source;
	word[4] = target;
}

INLINE void write6(void *at, const struct packet *p, const struct gtm_backend *b, __u32 length, __u32 protocol, __u32 vary)
{
	__u32 *word = at;

	word[0] = bpf_htonl(6u << 28 | (__u32)p->traffic_class << 20);
	word[1] = bpf_htons(length - 40) | protocol << 16 | TTL << 24;
	__builtin_memcpy(at + 8, b->source, 16);
	__builtin_memcpy(at + 24, b->address, 16);
	word[5] ^= vary << 16;
}

/* What stands between the outer IP header and the packet. */
INLINE void write_shim(void *at, const struct packet *p, const struct gtm_backend *b, __u32 length, __u32 inner, __u32 words, __u32 vary)
{
	__u32 *word = at;

	if (b->wrap == GTM_WRAP_GRE) {
		word[0] = (__u32)(p->family == 6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP)) << 16;
		return;
	}
	word[0] = bpf_htons(0xc000 | (vary & 0x3fff)) | (__u32)b->port << 16;
	word[1] = bpf_htons(length);                      /* no checksum (RFC 6935) */
	word[2] = words | inner << 8;                     /* GUE variant 0: length of what follows in words, protocol */
}
