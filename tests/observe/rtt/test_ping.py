"""Echo requests over real sockets, to hosts behind a tun device in a network namespace."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gtm.observe.arrival import way_s
from gtm.observe.ping import checksum
from tests.observe.rtt import echoing

ROOT = Path(__file__).resolve().parents[3]


def echoed(kind: str) -> Any:
    """What tests/observe/rtt/echoing.py prints in a namespace of its own."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare: a network namespace is made")
    if not Path("/dev/net/tun").exists():
        pytest.skip("this kernel has no tun device")
    ended = subprocess.run(
        ["unshare", "--net", sys.executable, "-m", "tests.observe.rtt.echoing", kind],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
        timeout=120,
    )
    return json.loads(ended.stdout)


@pytest.mark.parametrize("kind", ["ping", "raw"])
def test_only_the_reply_to_what_was_asked_counts(kind: str) -> None:
    found = echoed(kind)
    for net in ("10.9.0.", "fd09::"):
        by_host = {last: found[f"{net}{last}"] for last in range(10, 17)}
        assert by_host[echoing.LATE] >= echoing.LATE_S
        assert by_host[echoing.TWICE] >= echoing.LATE_S
        for last in (
            echoing.WRONG_TOKEN,
            echoing.WRONG_SOURCE,
            echoing.SILENT,
            echoing.UNREACHABLE,
            echoing.OTHER_NUMBER,
        ):
            assert by_host[last] is None
    # The process was held up for STALL_S while the replies came: the kernel's stamps know when they did.
    assert all(echoing.LATE_S <= rtt_s < echoing.STALL_S for rtt_s in found["stalled"])
    assert found["closed"] is None
    assert found["closing"] < 30.0


def test_without_the_right_it_is_said_what_would_give_it() -> None:
    four, six = echoed("none")
    assert "IPv4" in four
    assert "IPv6" in six
    assert all("ping_group_range" in said and "CAP_NET_RAW" in said for said in (four, six))


def test_a_wait_counts_only_where_it_can_be() -> None:
    assert way_s(10.0, 10.5, 0.25) == 0.25
    assert way_s(10.0, 10.5, 0.0) == 0.5  # no stamp
    assert way_s(10.0, 10.5, 3600.0) == 0.5  # the wall clock was set forward meanwhile
    assert way_s(10.0, 10.5, -3600.0) == 0.5  # or back


def test_the_checksum_is_that_of_rfc_1071() -> None:
    data = bytes.fromhex("0001f203f4f5f6f7")  # RFC 1071 3: their sum is 0xddf2
    assert checksum(data) == 0xFFFF & ~0xDDF2
    assert checksum(data + checksum(data).to_bytes(2, "big")) == 0
