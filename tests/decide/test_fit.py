"""What fits: the octets that the packet path's model adds to a packet are those that are reckoned with."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from gtm.decide import balance
from gtm.decide.balance import TCP
from gtm.decide.fit import overhead_bytes, room_bytes
from gtm.model.balance import Backend, Instance, Wrap
from tests.dataplane import world as w

LB = Instance(node="lb", region="us-east", interface="eth0")
KINDS = {
    "l2": (Wrap.L2, 4, False), "ip": (Wrap.IPIP, 4, False), "ip6": (Wrap.IPIP, 6, False), "gre": (Wrap.GRE, 4, False),
    "gre6": (Wrap.GRE, 6, False), "gue": (Wrap.GUE, 4, False), "gue6": (Wrap.GUE, 6, False),
    "second": (Wrap.GUE, 4, True), "second6": (Wrap.GUE, 6, True),
}  # fmt: skip


@pytest.mark.parametrize("family", w.FAMILIES)
@pytest.mark.parametrize("name", list(w.WRAPS))
def test_what_is_reckoned_is_what_is_added(name: str, family: int) -> None:
    wrap, version, second_chance = KINDS[name]
    address = ip_address("10.0.0.1" if version == 4 else "fd00::1")
    backend = Backend(name="a", address=address, wrap=wrap, second_chance=second_chance)

    def sent(size: int) -> tuple[balance.Verdict, bytes, bytes]:
        head = len(w.packet(family, w.vip(family, w.WRAPS[name]), w.tcp(payload=b"")))
        frame = w.frame(w.packet(family, w.vip(family, w.WRAPS[name]), w.tcp(payload=bytes(size - head)), protocol=TCP))
        return *balance.balance(frame, w.tables()), frame

    room = room_bytes(backend, LB)
    verdict, out, frame = sent(room)
    assert verdict is balance.Verdict.TX_FORWARD
    assert len(out) - len(frame) == overhead_bytes(backend)
    assert sent(room + 1)[0] is balance.Verdict.TX_TOO_BIG
