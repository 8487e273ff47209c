"""The layouts of dataplane/include/gtm_guard.h as numpy dtypes; a test compares them with the object's BTF."""

from __future__ import annotations

import numpy as np

from gtm.publish.dataplane.layout import COUNTER, CPUS

TARGET_BUCKETS = 1024
TARGETS = 2048
PAGES = 272
SOURCE_LINES = 1 << 15
REASONS_MAX = 16
PASSES_MAX = 8

UNLISTED, DENIED, LISTED_ALLOWED, FURTHER = range(4)
LISTS4, LISTS6, ALLOWS4, ALLOWS6, HAS_TRIE4 = 1, 2, 4, 8, 16

BUCKET = np.dtype([("address", "V16", 3), ("number", "<u2", 3), ("pad", "<u2", 5)])
RATE = np.dtype([("cost", "<u8"), ("burst", "<u8")])
TARGET = np.dtype([("packets", RATE), ("syns", RATE)])
LINE = np.dtype([("source", "<u8", 8)])
PAGE = np.dtype([("word", "<u8", 8192)])
HOSTS_IN_LINE = 15
HOSTS = np.dtype([("address", "<u4", HOSTS_IN_LINE), ("classes", "<u4")])
SETTINGS = np.dtype(
    [
        ("seed", "<u8", 2),
        ("on", "<u4"),
        ("dry", "<u4"),
        ("generation", "<u4"),
        ("flags", "<u4"),
        ("mask4", "<u8"),
        ("mask6", "<u8"),
        ("source", RATE),
        ("flood_jiffies", "<u8"),
        ("host_mask", "<u4", 2),
        ("amplifier", "<u8", 1024),
    ]
)
LANE = np.dtype(
    [
        ("dropped", COUNTER, REASONS_MAX),
        ("would", COUNTER, REASONS_MAX),
        ("passed", COUNTER, PASSES_MAX),
        ("target", [("packets", "<u8"), ("syns", "<u8")], TARGETS),
    ]
)
LANES = np.dtype([("lane", LANE, CPUS)])
TRIE4 = np.dtype([("length", "<u4"), ("address", "V4")])
TRIE6 = np.dtype([("length", "<u4"), ("address", "V16")])

BY_STRUCT = {
    "gtm_guard_bucket": BUCKET,
    "gtm_guard_rate": RATE,
    "gtm_guard_target": TARGET,
    "gtm_guard_line": LINE,
    "gtm_guard_page": PAGE,
    "gtm_guard_hosts": HOSTS,
    "gtm_guard_settings": SETTINGS,
    "gtm_guard_lane": LANE,
}
