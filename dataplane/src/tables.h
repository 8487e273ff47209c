/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The maps. All but the program slots and the outer ring map are mmapable arrays: gtm writes them without system calls. */
#pragma once
#include "shared.h"

GTM_TABLE(vips, struct gtm_vip_bucket, GTM_VIP_BUCKETS);
GTM_TABLE(backends, struct gtm_backend, GTM_BACKENDS);
GTM_TABLE(servers, struct gtm_flow_bucket, GTM_SERVER_BUCKETS);
GTM_TABLE(flows, struct gtm_flow_bucket, GTM_FLOW_BUCKETS);

struct ring_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct gtm_ring));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, GTM_RINGS);
	__type(key, __u32);
	__array(values, struct ring_map);
} rings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, GTM_EVENT_BYTES);
} events SEC(".maps");

/* Plain .data and .bss, one variable each, so that a mapping's first byte is the struct's. */
struct gtm_settings settings = {
	.seed = { 0x9e3779b97f4a7c15ULL, 0xc2b2ae3d27d4eb4fULL },
	.answer_burst = 50,
	.answer_gap_ns = 1000000,
};
const struct gtm_ring *const ring_layout = 0;         /* for BTF: inner maps are declared by size, and nothing else names it */
const struct gtm_flow_event *const event_layout = 0;
struct gtm_counters counters;                         /* 12 MiB */

/* Counts and returns the XDP action of a verdict. */
INLINE int done(__u32 verdict, __u32 bytes)
{
	struct gtm_counter *counter = &counters.verdict[bpf_get_smp_processor_id() & (GTM_CPUS - 1)][verdict & 15];

	counter->packets++;
	counter->bytes += bytes;
	return verdict < GTM_TX_FORWARD ? XDP_PASS : verdict < GTM_DROP_NO_BACKEND ? XDP_TX : XDP_DROP;
}
