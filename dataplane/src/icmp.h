/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* ICMP that the balancer itself answers: echo for its VIPs, and packets that no outer header fits on. */
#pragma once
#include "encap.h"
#include "quic.h"

INLINE int answer_echo(struct xdp_md *ctx, const struct packet *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end, *at = data + (p->l3 & 31);
	void *icmp = at + (p->family == 6 ? 40 : 20);

	asm volatile("" : "+r"(at));
	asm volatile("" : "+r"(icmp));
	if (at + 20 > end || icmp + 8 > end || data + 14 > end)
		return GTM_PASS_TRUNCATED;
	swap_macs(data);
	if (p->family == 6) {
		if (at + 40 > end)
			return GTM_PASS_TRUNCATED;
		__builtin_memcpy(at + 8, p->target, 16);
		__builtin_memcpy(at + 24, p->source, 16);
	} else {
		*(__u32 *)(at + 12) = p->target[1] >> 32;
		*(__u32 *)(at + 16) = p->source[1] >> 32;
	}
	*(__u8 *)icmp = p->family == 6 ? 129 : 0;
	/* RFC 1624: the sum over words in which only the type changed: 8 -> 0, or 128 -> 129. */
	__u64 sum = (__u16)~*(__u16 *)(icmp + 2);

	sum += p->family == 6 ? 1 : (__u16)~8;
	*(__u16 *)(icmp + 2) = ~fold(sum);
	return GTM_TX_ECHO;
}

/* Whether the sender of a packet that does not fit is told (RFC 1812, 4.3.2.7 and 4.3.2.8; RFC 4443, 2.4). */
INLINE int may_tell(const struct packet *p)
{
	__u64 gap = settings.answer_gap_ns, now, *due = &counters.answers[bpf_get_smp_processor_id() & (GTM_CPUS - 1)];

	if (p->flags & PACKET_QUIET)
		return 0;
	if (!gap)
		return 1;
	now = bpf_ktime_get_ns();
	if (*due < now)
		*due = now;
	if (*due - now > gap * (settings.answer_burst - 1))
		return 0;
	*due += gap;
	return 1;
}

INLINE __u64 sum_words(const void *at, int bytes)
{
	__u64 sum = 0;

#pragma unroll
	for (int i = 0; i < bytes / 4; i++)
		sum += ((const __u32 *)at)[i];
	return sum;
}

/* Turns the frame into "fragmentation needed" (RFC 1191) or "packet too big" (RFC 8201) with 8 bytes of payload quoted. */
INLINE int answer_too_big(struct xdp_md *ctx, const struct packet *p, __u32 mtu)
{
	__u64 link[3];
	__u32 l3 = p->l3 & 31, six = p->family == 6, header = six ? 40 : 20;
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end, *at;
	long extra = end - data - (long)(l3 + header + 8);

	if (data + 34 > end || extra < 0)
		return GTM_PASS_TRUNCATED;
	__builtin_memcpy(link, data, 24);
	if (bpf_xdp_adjust_tail(ctx, -(int)extra) || bpf_xdp_adjust_head(ctx, -(int)(header + 8)))
		return GTM_DROP_NO_ROOM;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	at = data + l3;
	asm volatile("" : "+r"(at));
	if (data + 34 > end || at + 56 > end)
		return GTM_DROP_NO_ROOM;
	__builtin_memcpy(data, link, 24);
	swap_macs(data);
	__u32 *word = at, source = p->target[1] >> 32, target = p->source[1] >> 32;
	__u64 sum;

	if (!six) {
		word[0] = 0x45 | (__u32)bpf_htons(56) << 16;
		word[1] = bpf_htonl(0x4000);
		word[2] = TTL | IPPROTO_ICMP << 8;
		word[3] = source;
		word[4] = target;
		word[2] |= (__u32)(__u16)~fold(sum_words(at, 20)) << 16;
		word[5] = 3 | 4 << 8;
		word[6] = (__u32)bpf_htons(mtu) << 16;
		*(__u16 *)(at + 22) = ~fold(sum_words(at + 20, 36));
		return GTM_TX_TOO_BIG;
	}
	if (at + 96 > end)
		return GTM_DROP_NO_ROOM;
	word[0] = bpf_htonl(6u << 28);
	word[1] = bpf_htons(56) | IPPROTO_ICMPV6 << 16 | TTL << 24;
	__builtin_memcpy(at + 8, p->target, 16);
	__builtin_memcpy(at + 24, p->source, 16);
	word[10] = 2;
	word[11] = bpf_htonl(mtu);
	sum = sum_words(at + 8, 88) + bpf_htonl(56) + bpf_htonl(IPPROTO_ICMPV6);
	*(__u16 *)(at + 42) = ~fold(sum);
	return GTM_TX_TOO_BIG;
}
