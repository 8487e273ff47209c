/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* A keyed hash: a multiply and a xor for each word, 1 ns each (siphash-1-3 takes 15-20). */
#pragma once
#include "parse.h"

INLINE __u64 hash_flow(const struct packet *p)
{
	__u64 hash = mix(settings.seed[0], p->source[1]);

	if (p->family == 6)
		hash = mix(mix(hash, p->source[0]), p->target[0]);
	hash = mix(hash, p->target[1]);
	return mix(hash ^ settings.seed[1], (__u64)p->ports << 8 | p->protocol);
}
