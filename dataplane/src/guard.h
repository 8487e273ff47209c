/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The guard's maps, and what it knows of a packet. */
#pragma once
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>
#include "shared.h"
#include "gtm_guard.h"

GTM_TABLE(guard_targets, struct gtm_guard_bucket, GTM_GUARD_TARGET_BUCKETS);
GTM_TABLE(guard_rates, struct gtm_guard_target, GTM_GUARD_TARGETS);
GTM_TABLE(guard_pages, struct gtm_guard_page, GTM_GUARD_PAGES);
GTM_TABLE(guard_sources, struct gtm_guard_line, GTM_GUARD_SOURCE_LINES);

struct trie4 {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__uint(key_size, 8);
	__uint(value_size, sizeof(__u32));
};

struct trie6 {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__uint(key_size, 20);
	__uint(value_size, sizeof(__u32));
};

/* What is longer than 24 bits, by generation: asked only where a page says so. A host takes one line, in a trie of
 * 100,000 it takes 17 of them. */
struct host_lines {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE | BPF_F_INNER_MAP);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct gtm_guard_hosts));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct host_lines);
} guard_hosts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct trie4);
} guard_longer4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct trie6);
} guard_longer6 SEC(".maps");

/* Plain .data and .bss, one variable each, as the balancer's. */
struct gtm_guard_settings guard_settings = { .seed = { 0x9e3779b97f4a7c15ULL, 0xc2b2ae3d27d4eb4fULL } };
struct gtm_guard_lane guard_lanes[GTM_CPUS];          /* 2 MiB */
const struct gtm_guard_hosts *const hosts_layout = 0; /* for BTF, as the balancer's ring_layout */

struct seen {
	__u64 source[2], target[2];
	__u32 reasons;               /* bits of enum gtm_guard_reason: what is wrong with it by itself */
	__u8 six, syn;
	__u8 going;                  /* TCP of a connection under way, as far as one packet says: ACK without SYN */
};

#define BIT(reason) (1u << (reason))
#define MARTIAN4(address, network, length) (((address) ^ (network)) >> (32 - (length)) == 0)

/* RFC 6890 and what followed: not globally reachable, or no unicast at all. The address in the host's order. */
INLINE int martian4(__u32 a)
{
	__u32 first = a >> 24;

	if (first == 0 || first == 10 || first == 127 || first >= 224)
		return 1;
	if (first == 100)
		return MARTIAN4(a, 0x64400000, 10);
	if (first == 169)
		return MARTIAN4(a, 0xa9fe0000, 16);
	if (first == 172)
		return MARTIAN4(a, 0xac100000, 12);
	if (first == 192)
		return MARTIAN4(a, 0xc0a80000, 16) || MARTIAN4(a, 0xc0000000, 24) || MARTIAN4(a, 0xc0000200, 24);
	if (first == 198)
		return MARTIAN4(a, 0xc6120000, 15) || MARTIAN4(a, 0xc6336400, 24);
	return MARTIAN4(a, 0xcb007100, 24);
}

/* All but 2000::/3 (without its documentation and benchmarking networks) and NAT64's 64:ff9b::/96. */
INLINE int martian6(const __u64 *address)
{
	__u64 high = bpf_be64_to_cpu(address[0]);

	if (high >> 61 == 1)
		return high >> 32 == 0x20010db8 || high >> 44 == 0x3fff0 || high >> 16 == 0x200100020000ULL;
	return !(high == 0x0064ff9b00000000ULL && !(__u32)address[1]);
}
