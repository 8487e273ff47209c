/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Maps that the balancer makes and the programs in front of it share. */
#pragma once
#include "word.h"

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, GTM_PROGRAMS);
	__type(key, __u32);
	__type(value, __u32);
} programs SEC(".maps");

/* By a VIP's address: the jiffies64 until which its flows are not learnt. Two VIPs may share a word, and one's flood. */
GTM_TABLE(floods, __u64, GTM_FLOODS);

/* Of an address that is no secret, so unkeyed; a second round, since VIPs differ in their last octet only. */
INLINE __u64 hash_address(const __u64 *address) { return mix(mix(mix(0, address[0]), address[1]), 1); }

INLINE __u32 flood_of(__u64 hash) { return hash >> 54; }
_Static_assert(GTM_FLOODS == 1u << 10, "64 - 54 bits");
