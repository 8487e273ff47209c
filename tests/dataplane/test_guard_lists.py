"""Allow and deny lists: what is compiled of them, looked up in Python and in the kernel, and swapped under packets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm.decide.balance import mix
from gtm.decide.guard import Reason, classify
from gtm.model.address import IPAddress, IPNetwork
from gtm.publish.dataplane import guard_layout as layout
from gtm.publish.dataplane.lists import Lists, compile4, compile6
from tests.dataplane import world as w
from tests.dataplane.guarded import DROP, PASS, VIP, Guarded, guarded, policy

NAMES = {None: layout.UNLISTED, False: layout.DENIED, True: layout.LISTED_ALLOWED}
WIDTH = {4: 32, 6: 128}
LENGTHS = {4: (0, 1, 8, 15, 23, 24, 25, 28, 31, 32), 6: (0, 3, 16, 23, 24, 25, 32, 48, 64, 127, 128)}


def looked_up(lists: Lists, source: IPAddress) -> int:
    """What the program finds: two bits, and where they say so the longest network of the trie."""
    words = lists.pages["word"].reshape(-1)
    top = int(source) >> WIDTH[source.version] - 20
    found = int(words[(1 << 19) + (top >> 5)]) >> (top & 31) * 2 & 3
    if found == layout.FURTHER:
        top = int(source) >> WIDTH[source.version] - 24
        found = int(words[top >> 5]) >> (top & 31) * 2 & 3
    if found != layout.FURTHER:
        return found
    if source.version == 4:
        wire = int.from_bytes(source.packed, "little")
        line = lists.hosts[mix(0, wire) % len(lists.hosts)]
        for at in np.flatnonzero(line["address"] == wire).tolist():
            if int(line["classes"]) >> 2 * at & 3:
                return int(line["classes"]) >> 2 * at & 3
    best = (-1, layout.UNLISTED)
    for key, value in zip(lists.keys, lists.values, strict=True):
        length, first = int(key["length"]), int.from_bytes(key["address"].tobytes(), "big")
        if length > best[0] and (int(source) ^ first) >> WIDTH[source.version] - length == 0:
            best = length, int(value)
    return best[1]


def networks(family: int, bits: int) -> st.SearchStrategy[IPNetwork]:
    """Networks that have much to do with each other: few bits of an address vary."""
    width = WIDTH[family]
    addresses = st.lists(st.sampled_from((0, 1)), min_size=bits, max_size=bits).map(
        lambda chosen: sum(bit << width - 1 - at for bit, at in zip(chosen, _places(family), strict=True))
    )
    made = IPv4Network if family == 4 else IPv6Network
    return st.builds(
        lambda address, length: made((address >> width - length << width - length, length)),
        addresses,
        st.sampled_from(LENGTHS[family]),
    )


def _places(family: int) -> tuple[int, ...]:
    return (0, 7, 22, 23, 24, 27, 31) if family == 4 else (0, 2, 22, 23, 24, 63, 127)


@pytest.mark.parametrize("family", [4, 6])
def test_compiled_lists_say_what_the_networks_say(family: int) -> None:
    compiled, made = (compile4, IPv4Address) if family == 4 else (compile6, IPv6Address)
    random = Random(family)
    strategy = st.lists(networks(family, 7), max_size=6)

    @given(strategy, strategy)
    def check(allow: list[IPNetwork], deny: list[IPNetwork]) -> None:
        rules, lists = policy(allow=tuple(allow), deny=tuple(deny)), compiled(allow, deny)
        assert lists.empty == (not allow and not deny)
        assert lists.allows == bool(allow)
        for _ in range(20):
            number = sum(random.getrandbits(1) << WIDTH[family] - 1 - at for at in _places(family))
            source = made(number)
            assert looked_up(lists, source) == NAMES[classify(source, rules)]

    check()


def test_lists_of_the_other_family_are_left_out() -> None:
    both = tuple(map(ip_network, ("192.0.2.0/24", "2001:db8::/32", "192.0.2.7/32", "2001:db8::7/128")))
    assert looked_up(compile4((), both), IPv4Address("192.0.2.9")) == layout.DENIED
    assert looked_up(compile6(both, ()), IPv6Address("2001:db8::9")) == layout.LISTED_ALLOWED
    assert compile4(both[1::2], both[1::2]).empty
    assert compile6(both[::2], both[::2]).empty


@pytest.fixture(scope="module")
def there(built: Path) -> Iterator[Guarded]:
    if os.geteuid() != 0:
        pytest.skip("needs root: loads BPF programs")
    with guarded(built) as found:
        yield found


def _frame(source: IPAddress) -> bytes:
    return w.frame(w.packet(source.version, w.vip(source.version, VIP), w.tcp(), source=str(source)))


def test_the_kernel_looks_up_what_python_does(there: Guarded) -> None:
    """Random lists, with sources at the edges of their networks."""
    random = Random(1)
    for _ in range(40):
        family = random.choice((4, 6))
        width, made = WIDTH[family], IPv4Network if family == 4 else IPv6Network
        found: list[IPNetwork] = []
        for _ in range(random.randrange(40)):
            length = random.choice(LENGTHS[family][1:])
            near = int(random.choice(found).network_address) if found and random.random() < 0.5 else 0
            address = near ^ random.getrandbits(width) >> random.choice((0, 20, 24))
            found.append(made((address >> width - length << width - length, length)))
        half = len(found) // 3
        rules = policy(allow=tuple(found[:half]), deny=tuple(found[half:]), on=frozenset({Reason.DENY}))
        there.guard.set_policy(rules)
        there.counted()
        for network in found:
            first, last = int(network[0]), int(network[-1])
            for number in {first, last, max(0, first - 1), min((1 << width) - 1, last + 1)}:
                source = IPv4Address(number) if family == 4 else IPv6Address(number)
                listed = classify(source, rules)
                wanted = {None: "PASSED", False: "dropped DENY", True: "ALLOWED"}[listed]
                assert (there.run(_frame(source)), there.counted()) == (DROP if listed is False else PASS, {wanted: 1})


def test_lists_are_swapped_at_once(there: Guarded) -> None:
    """Old lists and new ones both name the source, so at no moment is it let through."""
    source = IPv4Address("9.9.9.9")
    names = [
        tuple(map(ip_network, each.split())) for each in ("9.9.9.0/24 2a00::/16", "9.9.9.9/32 2a00::/128", "9.0.0.0/8")
    ]
    for number in range(12):
        there.guard.set_policy(policy(deny=names[number % 3], on=frozenset({Reason.DENY})))
        assert there.run(_frame(source)) == DROP
    there.guard.set_policy(policy(on=frozenset({Reason.DENY})))
    assert there.run(_frame(source)) == PASS
    assert not there.guard.settings["flags"]


def test_hosts_that_find_their_line_full_are_in_the_trie(there: Guarded) -> None:
    """40 hosts of one line: three fifths go to the trie, and all are dropped; their neighbours in its /24 are not."""
    count = 4096
    lines = 1 << (-(-count // 5) - 1).bit_length()
    random = Random(3)
    crowd: list[IPv4Address] = []
    others: set[IPv4Address] = set()
    while len(crowd) < 40 or len(others) < count - 40:
        source = IPv4Address(random.randrange(0x0B000000, 0x7F000000))
        if mix(0, int.from_bytes(source.packed, "little")) % lines == 5:
            crowd.append(source)
        else:
            others.add(source)
    crowd, listed = crowd[:40], sorted(others)[: count - 40]
    deny = tuple(IPv4Network(source) for source in (*crowd, *listed))
    lists = compile4((), deny)
    assert (len(lists.hosts), len(lists.keys)) == (lines, 40 - layout.HOSTS_IN_LINE)
    there.guard.set_policy(policy(deny=deny, on=frozenset({Reason.DENY})))
    assert {there.run(_frame(source)) for source in (*crowd, *listed[:200])} == {DROP}
    known = {*crowd, *listed}
    assert {there.run(_frame(source + 1)) for source in crowd if source + 1 not in known} == {PASS}


def test_a_list_of_many(there: Guarded) -> None:
    """100,000 networks of all lengths: those that are listed are dropped, their neighbours are not."""
    random = Random(2)
    deny = {
        IPv4Network((random.getrandbits(31) & ~0 << 32 - length, length))
        for length in (24, 28, 32)
        for _ in range(33_000)
    }
    there.guard.set_policy(policy(deny=tuple(deny), on=frozenset({Reason.DENY})))
    there.counted()
    for network in random.sample(sorted(deny), 300):
        assert there.run(_frame(network[-1])) == DROP
    for _ in range(300):
        assert there.run(_frame(IPv4Address(random.getrandbits(31) | 1 << 31))) == PASS
    assert there.counted() == {"dropped DENY": 300, "PASSED": 300}
