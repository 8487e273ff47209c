/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* For tests and measurements only: what runs in front of the program under test, which it then tail-calls. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "gtm_harness.h"

struct gtm_template frame_template;

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} tested SEC(".maps");

/* Fills the room in front of the frame with 0xff, so that a byte which the program forgets to write is seen. */
SEC("xdp") int gtm_poison(struct xdp_md *ctx)
{
	if (bpf_xdp_adjust_head(ctx, -128))
		return XDP_ABORTED;
	__u64 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	if (data + 16 > end)
		return XDP_ABORTED;
	for (int i = 0; i < 16; i++)
		*(volatile __u64 *)(data + i) = ~0ULL;
	if (bpf_xdp_adjust_head(ctx, 128))
		return XDP_ABORTED;
	bpf_tail_call(ctx, &tested, 0);
	return XDP_ABORTED;
}

/* Puts the template back in place of what the last run left, varies its flow, and goes on to the program under test.
 * Without it, a repeated test-run feeds the program its own output. */
static __always_inline int restore(struct xdp_md *ctx)
{
	long longer = (long)ctx->data_end - (long)ctx->data - (long)frame_template.length;

	if (longer && bpf_xdp_adjust_head(ctx, (int)longer))
		return -1;
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	if (data + GTM_TEMPLATE_BYTES > end)
		return -1;
#pragma unroll
	for (int i = 0; i < GTM_TEMPLATE_BYTES / 8; i++)
		((__u64 *)data)[i] = *(volatile __u64 *)(frame_template.bytes + 8 * i);
	__u32 flow = frame_template.flows ? frame_template.runs++ & (frame_template.flows - 1) : bpf_get_prandom_u32();

	flow *= 2654435761u;
	if (frame_template.six) {
		*(__u32 *)(data + 34) = flow | 1;
		*(__u16 *)(data + 54) = flow >> 7 | 1;
	} else {
		*(__u32 *)(data + 26) = flow | 1;
		*(__u16 *)(data + 34) = flow >> 7 | 1;
	}
	return 0;
}

SEC("xdp") int gtm_restore(struct xdp_md *ctx)
{
	if (restore(ctx))
		return XDP_ABORTED;
	bpf_tail_call(ctx, &tested, 0);
	return XDP_ABORTED;
}

/* Makes a live frame (BPF_F_TEST_XDP_LIVE_FRAMES), which leaves by the interface that the test-run names. */
SEC("xdp") int gtm_generate(struct xdp_md *ctx)
{
	return restore(ctx) || bpf_xdp_adjust_tail(ctx, -1) ? XDP_ABORTED : XDP_TX;
}

/* Where live frames come back to. */
SEC("xdp") int gtm_sink(struct xdp_md *ctx)
{
	frame_template.received++;
	return XDP_DROP;
}

/* What "net" leaves out: the harness, and one bare adjust_head. */
SEC("xdp") int gtm_bare(struct xdp_md *ctx)
{
	return bpf_xdp_adjust_head(ctx, -20) ? XDP_ABORTED : XDP_TX;
}

SEC("xdp") int gtm_nothing(struct xdp_md *ctx)
{
	return XDP_TX;
}

char _license[] SEC("license") = "Dual BSD/GPL";
