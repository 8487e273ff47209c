/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Words of packets, and how they are hashed: for every program. */
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "gtm_dataplane.h"

#define INLINE static __always_inline
#define GTM_TABLE(name, type_of, entries) \
	struct { \
		__uint(type, BPF_MAP_TYPE_ARRAY); \
		__uint(map_flags, BPF_F_MMAPABLE); \
		__uint(max_entries, entries); \
		__type(key, __u32); \
		__type(value, type_of); \
	} name SEC(".maps")

/* The second half of ::ffff:a.b.c.d, as it is read from memory. */
INLINE __u64 mapped(__u32 address) { return 0xffff0000ULL | (__u64)address << 32; }

INLINE __u64 mix(__u64 hash, __u64 word)
{
	hash = (hash ^ word) * 0xff51afd7ed558ccdULL;
	return hash ^ hash >> 32;
}
