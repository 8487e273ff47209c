/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Stands on the interface in the root program's place for as long as somebody looks: one in so many frames, as they come
 * in, is copied into a ring buffer. Then, or when there is no room, the programs run as they would: nobody waits. */
#include "shared.h"
#include "gtm_sample.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, GTM_SAMPLES_BYTES);
} samples SEC(".maps");

struct gtm_sample_settings sample_settings = { .snap = 128 };      /* .data, for a mapping of its own */
struct gtm_sample_counter sample_counters[GTM_CPUS];
const struct gtm_sample *const sample_layout = 0;

INLINE void copy(struct gtm_sample *to, void *data, void *end)
{
	__u32 limit = to->captured, at = 0;

	for (; at < GTM_SAMPLE_SNAP / 8; at++) {
		void *from = data + at * 8;

		if (at * 8 + 8 > limit || from + 8 > end)
			break;
		*(__u64 *)(to->bytes + at * 8) = *(__u64 *)from;
	}
	at *= 8;
	for (int i = 0; i < 8; i++, at++) {
		void *from = data + at;

		if (at >= limit || at >= GTM_SAMPLE_SNAP || from + 1 > end)
			return;
		to->bytes[at] = *(__u8 *)from;
	}
}

INLINE void sample(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct gtm_sample_counter *own = &sample_counters[bpf_get_smp_processor_id() & (GTM_CPUS - 1)];
	__u32 every = sample_settings.every, snap = sample_settings.snap;

	if (!every || own->seen++ % every || bpf_jiffies64() >= sample_settings.until)
		return;
	struct gtm_sample *found = bpf_ringbuf_reserve(&samples, sizeof(*found), 0);

	if (!found) {
		own->lost++;
		return;
	}
	own->taken++;
	found->at_ns = bpf_ktime_get_ns();
	found->length = end - data;
	found->captured = found->length < snap ? found->length : snap;
	if (found->captured > GTM_SAMPLE_SNAP)
		found->captured = GTM_SAMPLE_SNAP;
	copy(found, data, end);
	bpf_ringbuf_submit(found, 0);
}

SEC("xdp") int gtm_sample(struct xdp_md *ctx)
{
	sample(ctx);
	bpf_tail_call(ctx, &programs, GTM_PROGRAM_GUARD);
	bpf_tail_call(ctx, &programs, GTM_PROGRAM_DNS);
	bpf_tail_call(ctx, &programs, GTM_PROGRAM_BALANCE);
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
