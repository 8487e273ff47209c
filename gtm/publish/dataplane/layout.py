"""The layouts of dataplane/include/gtm_dataplane.h as numpy dtypes; a test compares them with the object's BTF."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

CPUS = 64
VIP_BUCKETS = 1024
VIPS = 2048
RINGS = 512
RING_SLOTS = 65537
BACKENDS = 4096
SERVER_BUCKETS = 2048
FLOW_BUCKETS = 1 << 17
FLOODS = 1024
VERDICTS_MAX = 16

PROGRAM_GUARD, PROGRAM_DNS, PROGRAM_BALANCE = range(3)

VIP_TRACK = 1
BACKEND_OUTER6 = 1
BACKEND_SECOND_CHANCE = 2
LEARN_NOTHING = 1
SLOT_BACKEND, SLOT_TRANSITION = 0x7FFF, 0x8000
TELL_EVENTS = 2
SYNCED = 4
FLOW_BACKEND = 0x7FFF
FLOW_CLOSED = 0x8000
FLOW_TAG_SHIFT = 16
FLOW_BUCKET_SHIFT = 40
FLOW_LEARNT, FLOW_ENDED = 1, 2
EVENT_BYTES = 1 << 22

VIP = np.dtype(
    [
        ("address", "V16"),
        ("port", ">u2"),
        ("protocol", "u1"),
        ("flags", "u1"),
        ("ring", "<u2"),
        ("number", "<u2"),
        ("quic", "<u4"),
        ("spare", "<u4"),
    ]
)
VIP_BUCKET = np.dtype([("vip", VIP, 2)])
RING = np.dtype([("size", "<u4"), ("generation", "<u4"), ("slot", "<u4", RING_SLOTS + 1)])
BACKEND = np.dtype(
    [
        ("address", "V16"),
        ("source", "V16"),
        ("deadline", "<u8"),
        ("mac", "V6"),
        ("wrap", "u1"),
        ("flags", "u1"),
        ("mtu", "<u2"),
        ("port", ">u2"),
        ("pad", "V12"),
    ]
)
FLOW_BUCKET = np.dtype([("flow", "<u8", 8)])
FLOW_EVENT = np.dtype([("flow", "<u8"), ("ring", "<u2"), ("kind", "u1"), ("pad", "V5")])
COUNTER = np.dtype([("packets", "<u8"), ("bytes", "<u8")])
TRAFFIC_COUNTER = np.dtype([("packets", "<u8"), ("bytes", "<u8"), ("opened", "<u8"), ("closed", "<u8")])
EVENT_COUNTER = np.dtype([("told", "<u8"), ("lost", "<u8")])
COUNTERS = np.dtype(
    [
        ("backend", TRAFFIC_COUNTER, (CPUS, BACKENDS)),
        ("vip", TRAFFIC_COUNTER, (CPUS, VIPS)),
        ("verdict", COUNTER, (CPUS, VERDICTS_MAX)),
        ("events", EVENT_COUNTER, CPUS),
        ("answers", "<u8", CPUS),
    ]
)
SETTINGS = np.dtype([("seed", "<u8", 2), ("flags", "<u4"), ("answer_burst", "<u4"), ("answer_gap_ns", "<u8")])
DECAP_SETTINGS = np.dtype([("source4", "V4"), ("mask4", "V4"), ("source6", "V8"), ("port", ">u2"), ("pad", "<u2", 3)])
DECAP_COUNTERS = np.dtype([("packets", "<u8", 8)])

BY_STRUCT = {
    "gtm_vip": VIP,
    "gtm_vip_bucket": VIP_BUCKET,
    "gtm_ring": RING,
    "gtm_backend": BACKEND,
    "gtm_flow_bucket": FLOW_BUCKET,
    "gtm_flow_event": FLOW_EVENT,
    "gtm_counter": COUNTER,
    "gtm_traffic_counter": TRAFFIC_COUNTER,
    "gtm_event_counter": EVENT_COUNTER,
    "gtm_counters": COUNTERS,
    "gtm_settings": SETTINGS,
}

MEANING = 2  # raised when a record means something else though its bytes lie where they did


def digest(structs: Mapping[str, np.dtype[np.void]] = BY_STRUCT) -> str:
    """12 hexadecimal digits that name the layout of some structs: programs with the same one can share maps."""
    told = (MEANING, RINGS, sorted((name, str(dtype.descr), dtype.itemsize) for name, dtype in structs.items()))
    return hashlib.sha256(repr(told).encode()).hexdigest()[:12]
