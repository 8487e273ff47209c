/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What the sampler is told and tells. All zero: nothing is sampled.
 * gtm/publish/dataplane/sampler.py says the same in numpy dtypes; a test compares the two through BTF. */
#ifndef GTM_SAMPLE_H
#define GTM_SAMPLE_H
#include <linux/types.h>

#define GTM_SAMPLE_SNAP 512u         /* octets of a frame at most; a multiple of 8 */
#define GTM_SAMPLES_BYTES (1u << 20) /* 1 MiB: 1,900 samples that nobody has read yet */

struct gtm_sample {
	__u64 at_ns;                 /* CLOCK_MONOTONIC */
	__u32 length;                /* of the frame */
	__u32 captured;              /* of `bytes` */
	__u8 bytes[GTM_SAMPLE_SNAP];
};

struct gtm_sample_settings {
	__u64 until;                 /* jiffies64 from which on nothing is sampled, whatever became of the reader */
	__u32 every;                 /* one in so many frames of each CPU; 0: none */
	__u32 snap;
};

struct gtm_sample_counter { __u64 seen, taken, lost, pad[5]; };       /* lost: the ring buffer was full */

_Static_assert(sizeof(struct gtm_sample) == 16 + GTM_SAMPLE_SNAP, "no padding");
_Static_assert(sizeof(struct gtm_sample_settings) == 16, "no padding");
_Static_assert(sizeof(struct gtm_sample_counter) == 64, "a cache line");
#endif
