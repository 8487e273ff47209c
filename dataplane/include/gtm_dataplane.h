/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The contract between the XDP programs and gtm: every table's layout, in one place.
 * gtm/publish/dataplane/layout.py says the same in numpy dtypes; a test compares the two through BTF.
 * Addresses are 16 bytes as on the wire, IPv4 as ::ffff:a.b.c.d; ports are as on the wire. */
#ifndef GTM_DATAPLANE_H
#define GTM_DATAPLANE_H
#include <linux/types.h>

#define GTM_CPUS 64u                 /* counters only: a CPU beyond it shares a line with CPU & 63 */
#define GTM_VIP_BUCKETS 1024u        /* x 64 B = 64 KiB */
#define GTM_VIPS 2048u               /* places there, and numbers of counters */
#define GTM_RINGS 512u               /* Maglev tables, one per VIP entry: 256 KiB each, made when used */
#define GTM_RING_SLOTS 65537u        /* the largest table; a VIP may use a smaller prime */
#define GTM_BACKENDS 4096u           /* x 64 B = 256 KiB; number 0 is "none" */
#define GTM_SERVER_BUCKETS 2048u     /* x 64 B = 128 KiB: 16384 QUIC-LB server IDs */
#define GTM_FLOW_BUCKETS (1u << 17)  /* x 64 B = 8 MiB, 8 flows each: 1 M flows of slots in transition */
#define GTM_FLOODS 1024u             /* x 8 B = 8 KiB */

/* Tail-call slots of the root program, in their order. An empty slot is stepped over. */
enum gtm_program { GTM_PROGRAM_GUARD, GTM_PROGRAM_DNS, GTM_PROGRAM_BALANCE, GTM_PROGRAMS };

struct gtm_vip {
	__u64 address[2];
	__u16 port;                  /* 0: fragments of this protocol, which have no ports; and for ICMP: answer echo */
	__u8 protocol;               /* 0: the entry is empty */
	__u8 flags;
	__u16 ring;
	__u16 number;                /* of its counters, for as long as it is in the table */
	__u32 quic;                  /* octets of a server ID by config rotation codepoint, 4 bits each; 0: that one is not known */
	__u32 spare;
};
#define GTM_VIP_TRACK 1u             /* always track: the flow table is asked and filled for every slot */

struct gtm_vip_bucket { struct gtm_vip vip[2]; };

/* A slot: current backend in bits 0-14, in transition in bit 15, the previous (oldest live) backend in bits 16-31.
 * Bit clear: the previous one is nothing but the second chance that GUE carries along. */
#define GTM_SLOT_BACKEND 0x7fffu
#define GTM_SLOT_TRANSITION 0x8000u
#define GTM_SLOT_PREVIOUS_SHIFT 16

struct gtm_ring {
	__u32 size;                  /* slots in use; 0: nothing is balanced, packets pass */
	__u32 generation;
	__u32 slot[GTM_RING_SLOTS + 1];
};

enum gtm_wrap {
	GTM_WRAP_NONE,               /* no such backend */
	GTM_WRAP_L2,                 /* rewrite the MAC only */
	GTM_WRAP_IP,                 /* IPIP, 6in4, 4in6, IP6IP6 by both families */
	GTM_WRAP_GRE,
	GTM_WRAP_GUE,
};
#define GTM_BACKEND_OUTER6 1u        /* address and source are IPv6 */
#define GTM_BACKEND_SECOND_CHANCE 2u /* GUE: carry the slot's other backend as next hop, if its family is the same */

struct gtm_backend {
	__u8 address[16];
	__u8 source[16];             /* of the outer header; its last 16 bits vary with the flow (not for GUE) */
	__u64 deadline;              /* jiffies64 at which its drain is over; 0: none */
	__u8 mac[6];                 /* of the gateway, or of the backend for L2 */
	__u8 wrap;
	__u8 flags;
	__u16 mtu;                   /* of the way to it: the largest outer IP packet */
	__u16 port;                  /* GUE's destination, as on the wire */
	__u8 pad[12];
};

/* A flow: its hash's bits 16-63 in place, GTM_FLOW_CLOSED, its backend in bits 0-14. Its bucket is bits 40-56 of the same
 * word, so whoever has the word knows its place. Busy ones move to the front. */
struct gtm_flow_bucket { __u64 flow[8]; };
#define GTM_FLOW_BACKEND 0x7fffu
#define GTM_FLOW_CLOSED 0x8000u      /* its client has sent FIN or RST. The backend still owns it: the other half may go on */
#define GTM_FLOW_TAG_SHIFT 16
#define GTM_FLOW_BUCKET_SHIFT 40

/* `servers` are such buckets too: a hash of a QUIC-LB server ID, of its length and rotation, and of the VIP's ring; and its
 * backend. Two choices: bits 0-10 and bits 32-42 of the hash. */

/* What GTM_TELL_EVENTS puts into the ring buffer `events` whenever a word of the flow table is new or means another thing
 * than before. An instance with the same seed and tables may put the word into its own table as it is. */
enum gtm_flow_kind { GTM_FLOW_LEARNT = 1, GTM_FLOW_ENDED };

struct gtm_flow_event {
	__u64 flow;                  /* the word as it now stands in the table */
	__u16 ring;                  /* of its VIP */
	__u8 kind;
	__u8 pad[5];
};
#define GTM_EVENT_BYTES (1u << 22)   /* 4 MiB: 170,000 events that nobody has read yet */

struct gtm_counter { __u64 packets, bytes; };

struct gtm_traffic_counter {
	__u64 packets, bytes;
	__u64 opened, closed;        /* SYNs; packets with FIN or RST. Repeated ones count again, UDP has none */
};

struct gtm_event_counter { __u64 told, lost; };       /* lost: the ring buffer was full */

/* Why a packet went where it went. PASS_* goes to the kernel, TX_* back out, DROP_* nowhere. */
enum gtm_verdict {
	GTM_PASS_NO_PROGRAM,         /* root: no slot is filled */
	GTM_PASS_ETHERTYPE,
	GTM_PASS_TRUNCATED,          /* shorter than its own headers say */
	GTM_PASS_OPTIONS,            /* IPv4 options or IPv6 extension headers other than a fragment's */
	GTM_PASS_PROTOCOL,
	GTM_PASS_NO_VIP,
	GTM_PASS_NO_TABLE,
	GTM_TX_FORWARD,
	GTM_TX_ICMP_ERROR,           /* an ICMP error, sent on to the backend whose packet it quotes */
	GTM_TX_ECHO,
	GTM_TX_TOO_BIG,              /* answered with fragmentation needed / packet too big */
	GTM_DROP_NO_BACKEND,         /* nobody alive owns the slot */
	GTM_DROP_NO_ROOM,            /* the driver has no headroom for the outer header */
	GTM_DROP_TOO_BIG,            /* fits no outer header, and nobody is told: it may be fragmented, or too many were told */
	GTM_VERDICTS,
};

#define GTM_VERDICTS_MAX 16          /* room in the counters */

/* Read through mmap, without a system call. Packets and bytes of the frame as it came in; for backends and VIPs, of its IP. */
struct gtm_counters {
	struct gtm_traffic_counter backend[GTM_CPUS][GTM_BACKENDS];  /* sent to it */
	struct gtm_traffic_counter vip[GTM_CPUS][GTM_VIPS];          /* came for it, whatever became of it then */
	struct gtm_counter verdict[GTM_CPUS][GTM_VERDICTS_MAX];
	struct gtm_event_counter events[GTM_CPUS];
	__u64 answers[GTM_CPUS];     /* no counter: when the CPU's too-big answers are within their rate, on the monotonic clock */
};

struct gtm_settings {
	__u64 seed[2];               /* a secret that the PoP's instances share, so that they decide alike */
	__u32 flags;
	__u32 answer_burst;          /* too-big answers at once, for each CPU */
	__u64 answer_gap_ns;         /* and from one to the next on average; 0: no limit */
};
#define GTM_LEARN_NOTHING 1u         /* SYN flood: the hash alone decides, the flow table is read but not written */
#define GTM_TELL_EVENTS 2u
#define GTM_SYNCED 4u                /* for gtm alone: the flows of every peer came in full since this table was made */

_Static_assert(sizeof(struct gtm_vip) == 32, "half a cache line");
_Static_assert(sizeof(struct gtm_vip_bucket) == 64, "a cache line");
_Static_assert(sizeof(struct gtm_backend) == 64, "a cache line");
_Static_assert(sizeof(struct gtm_flow_bucket) == 64, "a cache line");
_Static_assert(sizeof(struct gtm_flow_event) == 16, "no padding");
_Static_assert(sizeof(struct gtm_traffic_counter) == 32, "half a cache line");
_Static_assert(sizeof(struct gtm_ring) == 8 + 4 * 65538, "no padding");
_Static_assert(sizeof(struct gtm_settings) == 32, "no padding");
_Static_assert(GTM_VERDICTS <= GTM_VERDICTS_MAX, "a counter for each");
#endif
