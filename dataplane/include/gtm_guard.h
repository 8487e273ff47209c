/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The contract between the guard and gtm: what stands before the balancer and drops. All zero: nothing is dropped.
 * gtm/publish/dataplane/guard_layout.py says the same in numpy dtypes; a test compares the two through BTF. */
#ifndef GTM_GUARD_H
#define GTM_GUARD_H
#include "gtm_dataplane.h"

#define GTM_GUARD_TARGET_BUCKETS 1024u   /* x 64 B = 64 KiB */
#define GTM_GUARD_TARGETS 2048u          /* numbers of VIPs, 0 is "none"; x 32 B = 64 KiB, and 32 KiB of state a CPU */
#define GTM_GUARD_PAGES 272u             /* x 64 KiB = 17 MiB: two generations, two families, 68 pages each */
#define GTM_GUARD_SOURCE_LINES (1u << 15)    /* x 64 B = 2 MiB, 8 each: 256 k source prefixes that lack tokens at a time */

/* Why a packet is dropped, in the order in which it is asked; the numbers are bits of `on` and `dry`. */
enum gtm_guard_reason {
	GTM_GUARD_LENGTH,            /* headers that say more, or less, than there is */
	GTM_GUARD_FLAGS,             /* SYN with FIN or RST, FIN with RST, none of SYN, RST and ACK */
	GTM_GUARD_PORT,              /* to port 0, or TCP from it */
	GTM_GUARD_LAND,              /* from the address it is sent to */
	GTM_GUARD_PIECE,             /* a fragment that overlaps headers, is uneven, or ends beyond 65535 */
	GTM_GUARD_MARTIAN,           /* from where nobody can be (RFC 6890) */
	GTM_GUARD_FRAGMENT,
	GTM_GUARD_AMPLIFICATION,     /* UDP from a port that reflectors answer from */
	GTM_GUARD_DENY,              /* its source is in a deny list */
	GTM_GUARD_SOURCE_RATE,
	GTM_GUARD_VIP_RATE,          /* of all but TCP with ACK and without SYN */
	GTM_GUARD_REASONS,
};
#define GTM_GUARD_REASONS_MAX 16

/* What went on, to the next program. */
enum gtm_guard_pass {
	GTM_GUARD_NOT_IP,            /* or not enough of it to say where it goes */
	GTM_GUARD_NOT_VIP,           /* not looked at any further: the machine's own traffic is nobody's to drop here */
	GTM_GUARD_ALLOWED,
	GTM_GUARD_PASSED,
	GTM_GUARD_FLOODED,           /* of PASSED: SYNs beyond their VIP's rate, so that for a while nothing is learnt */
	GTM_GUARD_PASSES,
};
#define GTM_GUARD_PASSES_MAX 8

/* The guarded addresses, in buckets of a cache line, two choices. Unkeyed: nothing in it comes from packets. */
struct gtm_guard_bucket {
	__u64 address[3][2];
	__u16 number[3];             /* 0: the entry is empty */
	__u16 pad[5];
};

/* Token buckets are kept as one moment each (GCRA, ITU-T I.371): when the bucket will be full again. Moments and costs
 * are 2^-20 jiffies; a packet costs the time in which its tokens grow, `burst` is how far ahead of now one may be. */
#define GTM_GUARD_TICK_SHIFT 20
struct gtm_guard_rate { __u64 cost, burst; };
struct gtm_guard_target { struct gtm_guard_rate packets, syns; };     /* cost 0: no limit; a share for each CPU */

/* A tag in bits 40-63, the moment modulo 2^40 (over an hour) below. One word: a race costs a token, never the truth. */
struct gtm_guard_line { __u64 source[8]; };
#define GTM_GUARD_MOMENT ((1ULL << 40) - 1)

/* Two bits for each network of 24 bits, IPv4's and the first ones of IPv6, in 64 pages; then the same of 20 bits in 4,
 * which stay in the L2 cache and answer for most. */
enum gtm_guard_class { GTM_GUARD_UNLISTED, GTM_GUARD_DENIED, GTM_GUARD_LISTED_ALLOWED, GTM_GUARD_FURTHER };
struct gtm_guard_page { __u64 word[8192]; };

/* IPv4 hosts (/32) that lists name, in lines by a hash of the address, as on the wire; two bits of class for each. What
 * finds its line full is in the trie with the longer networks. */
struct gtm_guard_hosts {
	__u32 address[15];
	__u32 classes;               /* GTM_GUARD_UNLISTED: the place is empty */
};

struct gtm_guard_settings {
	__u64 seed[2];
	__u32 on, dry;               /* bits by reason; neither: the rule is off */
	__u32 generation;            /* of the lists: its last bit says which half */
	__u32 flags;
	__u64 mask4, mask6;          /* of source prefixes: on the mapped address's second word, on the first word */
	struct gtm_guard_rate source;
	__u64 flood_jiffies;         /* how long nothing is learnt after a SYN too many; 0: SYNs are not counted */
	__u32 host_mask[2];          /* of the numbers of lines of hosts, by generation */
	__u64 amplifier[1024];       /* bits by UDP port */
};
#define GTM_GUARD_LISTS4 1u          /* flags: there are lists for this family */
#define GTM_GUARD_LISTS6 2u
#define GTM_GUARD_ALLOWS4 4u         /* and they allow somebody, whom no rule drops */
#define GTM_GUARD_ALLOWS6 8u
#define GTM_GUARD_HAS_TRIE4 16u          /* there are networks longer than 24 bits that are in no line of hosts */

/* A CPU's own: nothing here is shared, so counting takes no lock. */
struct gtm_guard_lane {
	struct gtm_counter dropped[GTM_GUARD_REASONS_MAX];
	struct gtm_counter would[GTM_GUARD_REASONS_MAX];
	struct gtm_counter passed[GTM_GUARD_PASSES_MAX];
	struct { __u64 packets, syns; } target[GTM_GUARD_TARGETS];
};

_Static_assert(sizeof(struct gtm_guard_bucket) == 64, "a cache line");
_Static_assert(sizeof(struct gtm_guard_target) == 32, "half a cache line");
_Static_assert(sizeof(struct gtm_guard_line) == 64, "a cache line");
_Static_assert(sizeof(struct gtm_guard_hosts) == 64, "a cache line");
_Static_assert(sizeof(struct gtm_guard_page) == 65536, "64 pages are 2^24 classes, 4 are 2^20");
_Static_assert(sizeof(struct gtm_guard_settings) == 80 + 8192, "no padding");
_Static_assert(sizeof(struct gtm_guard_lane) % 64 == 0, "whole cache lines");
_Static_assert(GTM_GUARD_REASONS <= GTM_GUARD_REASONS_MAX && GTM_GUARD_PASSES <= GTM_GUARD_PASSES_MAX, "a counter for each");
#endif
