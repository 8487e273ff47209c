/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What a frame's packet is, once parsed. */
#pragma once
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>
#include "word.h"

enum { PACKET_SYN = 1, PACKET_FRAGMENT = 2, PACKET_ICMP_ERROR = 4, PACKET_ECHO = 8, PACKET_END = 16, PACKET_QUIET = 32 };

struct packet {
	__u64 source[2], target[2];  /* of the flow: for an ICMP error, the quoted packet's the other way round */
	__u32 ports;                 /* source in the low half, target in the high half, as on the wire */
	__u32 length;                /* of the IP packet */
	__u32 l3;                    /* where it starts in the frame: 14, 18 or 22 */
	__u8 family, protocol, traffic_class, flags;
};
