/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* For the laboratory only: a flood from random sources, by a test-run with live frames (kernel 5.18). */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <linux/in.h>
#include "gtm_flood.h"

struct gtm_flood flood;

/* One's complement sum `check` after `word` was added to what it sums, which had zero there. */
static __always_inline __u16 summed(__u16 check, __u32 word)
{
	__u32 sum = (__u16)~check + (word & 0xffff) + (word >> 16);

	sum = (sum & 0xffff) + (sum >> 16);
	return ~((sum & 0xffff) + (sum >> 16));
}

SEC("xdp") int gtm_flood(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	if (data + GTM_FLOOD_BYTES > end)
		return XDP_ABORTED;
	/* All of it is written each time: the kernel takes its frames round and round, as the last program left them. */
#pragma unroll
	for (int i = 0; i < GTM_FLOOD_BYTES / 8; i++)
		((__u64 *)data)[i] = *(volatile __u64 *)(flood.bytes + 8 * i);
	__u32 random = bpf_get_prandom_u32(), source = flood.network | (random & ~flood.mask);
	__u16 port = (random >> 7 | 1) ^ random >> 16;

	*(__u32 *)(data + 26) = source;
	*(__u16 *)(data + 34) = port;
	*(__u16 *)(data + 24) = summed(*(__u16 *)(data + 24), source);
	if (*(__u8 *)(data + 23) == IPPROTO_TCP)
		*(__u16 *)(data + 50) = summed(summed(*(__u16 *)(data + 50), source), port);
	flood.packets++;
	/* A byte too many was asked for: without this cut a frame would keep the length that it had when it last went out. */
	return bpf_xdp_adjust_tail(ctx, -1) ? XDP_ABORTED : XDP_TX;
}

/* Where a flood ends that is to cost no more than its own making. */
SEC("xdp") int gtm_sink(struct xdp_md *ctx)
{
	return XDP_DROP;
}

char _license[] SEC("license") = "Dual BSD/GPL";
