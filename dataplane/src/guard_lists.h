/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Allow and deny lists: two bits for a network of 24 bits, 4 MiB a family; behind them hosts of IPv4 in
 * lines, and what else is longer in a trie. */
#pragma once
#include "guard.h"

INLINE __u32 host4(__u32 generation, __u32 address)
{
	__u32 line = mix(0, address) & guard_settings.host_mask[generation & 1];
	void *lines = bpf_map_lookup_elem(&guard_hosts, &generation);
	struct gtm_guard_hosts *hosts = lines ? bpf_map_lookup_elem(lines, &line) : 0;

	if (!hosts)
		return GTM_GUARD_UNLISTED;
#pragma unroll
	for (int i = 0; i < 15; i++)
		if (hosts->address[i] == address)
			return hosts->classes >> 2 * i & 3;
	return GTM_GUARD_UNLISTED;
}

INLINE __u32 further4(__u32 generation, const struct seen *s)
{
	__u32 class = host4(generation, s->source[1] >> 32);

	if (class != GTM_GUARD_UNLISTED || !(guard_settings.flags & GTM_GUARD_HAS_TRIE4))
		return class;
	struct { __u32 length, address; } key = { 32, s->source[1] >> 32 };
	void *trie = bpf_map_lookup_elem(&guard_longer4, &generation);
	__u32 *found = trie ? bpf_map_lookup_elem(trie, &key) : 0;

	return found ? *found : GTM_GUARD_UNLISTED;
}

INLINE __u32 further6(__u32 generation, const struct seen *s)
{
	struct { __u32 length, address[4]; } key = { 128, {
		s->source[0], s->source[0] >> 32, s->source[1], s->source[1] >> 32 } };
	void *trie = bpf_map_lookup_elem(&guard_longer6, &generation);
	__u32 *found = trie ? bpf_map_lookup_elem(trie, &key) : 0;

	return found ? *found : GTM_GUARD_UNLISTED;
}

/* The class of a network in the pages from `first` on. */
INLINE __u32 class_of(__u32 first, __u32 network)
{
	__u32 number = first + (network >> 18);
	struct gtm_guard_page *page = bpf_map_lookup_elem(&guard_pages, &number);

	return page ? page->word[network >> 5 & 8191] >> ((network & 31) << 1) & 3 : GTM_GUARD_UNLISTED;
}

/* GTM_GUARD_UNLISTED, _DENIED or _LISTED_ALLOWED. */
INLINE __u32 classify(const struct seen *s)
{
	if (!(guard_settings.flags & (s->six ? GTM_GUARD_LISTS6 : GTM_GUARD_LISTS4)))
		return GTM_GUARD_UNLISTED;
	__u32 generation = *(volatile __u32 *)&guard_settings.generation & 1;
	__u32 top = bpf_ntohl(s->six ? s->source[0] : s->source[1] >> 32) >> 8;
	__u32 first = (generation << 1 | s->six) * (GTM_GUARD_PAGES / 4);
	__u32 class = class_of(first + 64, top >> 4);

	if (class == GTM_GUARD_FURTHER)
		class = class_of(first, top);
	if (class != GTM_GUARD_FURTHER)
		return class;
	return s->six ? further6(generation, s) : further4(generation, s);
}
