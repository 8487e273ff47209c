/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Token buckets of one word each. The clock is jiffies64, 0.3 ns, so what comes in one jiffy comes at once. */
#pragma once
#include "guard.h"

INLINE __u64 ticks(void) { return bpf_jiffies64() << GTM_GUARD_TICK_SHIFT; }

/* How far ahead of now a bucket's moment is. More than `burst` cannot be: that moment is over, and the bucket full. */
INLINE __u64 ahead(__u64 moment, __u64 now, __u64 mask, __u64 burst)
{
	__u64 by = (moment - now) & mask;

	return by > burst ? 0 : by;
}

/* For an entry of a line; an empty one is behind. */
INLINE __u64 source_ahead(__u64 entry, __u64 now, __u64 burst)
{
	return entry ? ahead(entry, now, GTM_GUARD_MOMENT, burst) : 0;
}

/* Whether a bucket of this CPU's has too little; if not, one packet's worth is taken. */
INLINE int exceeds(__u64 *moment, const struct gtm_guard_rate *rate)
{
	if (!rate->cost)
		return 0;
	__u64 now = ticks(), then = ahead(*moment, now, ~0ULL, rate->burst) + rate->cost;

	if (then > rate->burst)
		return 1;
	*moment = now + then;
	return 0;
}

/* The same for the prefix of a source. A new one takes the place that is the least ahead: a bucket that is full says
 * nothing that a new one does not, so what is lost there is nothing. */
INLINE int source_exceeds(const struct seen *s)
{
	__u64 cost = guard_settings.source.cost, burst = guard_settings.source.burst;

	if (!cost)
		return 0;
	__u64 prefix = s->six ? s->source[0] & guard_settings.mask6 : s->source[1] & guard_settings.mask4;
	__u64 hash = mix(mix(guard_settings.seed[0], prefix) ^ guard_settings.seed[1], s->six);
	__u32 number = hash & (GTM_GUARD_SOURCE_LINES - 1), at = 8;
	__u64 tag = hash >> 40, now = ticks(), then = cost, least = ~0ULL;
	struct gtm_guard_line *line = bpf_map_lookup_elem(&guard_sources, &number);

	if (!line)
		return 0;
#pragma unroll
	for (int i = 0; i < 8; i++)
		if (line->source[i] >> 40 == tag) {
			at = i;
			break;
		}
	if (at < 8) {
		then += source_ahead(line->source[at & 7], now, burst);
		if (then > burst)
			return 1;
	} else {
#pragma unroll
		for (int i = 0; i < 8; i++) {
			__u64 by = source_ahead(line->source[i], now, burst);

			if (by < least) {
				least = by;
				at = i;
			}
		}
	}
	line->source[at & 7] = tag << 40 | ((now + then) & GTM_GUARD_MOMENT);
	return 0;
}
