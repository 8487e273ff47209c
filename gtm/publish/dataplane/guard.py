"""The guard in the kernel: its program before the balancer's, its tables written, its counters read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from struct import unpack
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from gtm.decide.balance import mix
from gtm.decide.guard import Bucket, Pass, Policy, Reason, masks
from gtm.model.address import IPNetwork
from gtm.publish.dataplane import bpf, layout
from gtm.publish.dataplane import guard_layout as own
from gtm.publish.dataplane.lists import Lists, compile4, compile6
from gtm.publish.dataplane.servers import Full

OBJECT = Path(__file__).with_name("guard.bpf.o")
SHARED = ("programs", "floods")  # maps that the balancer makes
NEVER = (1 << 64) - 1  # a flood that is not over by itself
PAGES = own.PAGES // 4  # of one family in one generation

Load = Callable[[Path, Mapping[str, int]], bpf.Object]
Counts = Mapping[Reason, tuple[int, int]]


def load_alone(path: Path, shared: Mapping[str, int]) -> bpf.Object:
    """The object with maps of its own, and the shared ones."""
    return bpf.Object(path, lambda name, _shape: shared.get(name))


class Guard:
    """Loads the object beside a balancer's; it drops nothing until it has a policy and is put before it."""

    def __init__(self, balancer: bpf.Object, path: Path = OBJECT, load: Load = load_alone) -> None:
        """`load` is Pins.load where maps are to outlive this process."""
        self._programs = balancer.map_fd("programs")
        self.floods = balancer.map_view("floods", np.dtype([("until", "<u8")]))["until"]
        self.object = load(path, {name: balancer.map_fd(name) for name in SHARED})
        self.program = self.object.program("gtm_guard")
        self.settings = self.object.map_view(".data", own.SETTINGS)[0]
        self.lanes = self.object.map_view(".bss", own.LANES)[0]["lane"]
        self.targets = self.object.map_view("guard_targets", own.BUCKET)
        self.rates = self.object.map_view("guard_rates", own.TARGET)
        self.pages = self.object.map_view("guard_pages", own.PAGE)
        self.sources = self.object.map_view("guard_sources", own.LINE)
        self._listed: tuple[tuple[IPNetwork, ...], tuple[IPNetwork, ...]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.object.close()

    def install(self) -> None:
        """Puts it before the balancer, or in the place of an older one, at once."""
        bpf.set_descriptor(self._programs, layout.PROGRAM_GUARD, self.program)

    def remove(self) -> None:
        """Takes whichever guard there is from before the balancer."""
        bpf.clear_descriptor(self._programs, layout.PROGRAM_GUARD)

    def set_policy(self, policy: Policy) -> None:
        """Brings the tables to a policy. Buckets and counters stay, lists change at once, VIPs keep their numbers.

        Raises maps.Full where two buckets cannot take a VIP, which below 1,024 of them does not happen.
        """
        self._set_targets(policy)
        if self._listed != (policy.allow, policy.deny):
            self.set_lists(compile4(policy.allow, policy.deny), compile6(policy.allow, policy.deny))
            self._listed = policy.allow, policy.deny
        settings = self.settings
        settings["seed"] = policy.seed
        settings["mask4"], settings["mask6"] = masks(policy)
        settings["source"] = _rate(policy.source)
        settings["amplifier"] = _bits(policy.amplifiers)
        settings["flood_jiffies"] = policy.flood_jiffies
        settings["on"], settings["dry"] = _mask(policy.on), _mask(policy.dry - policy.on)
        if not policy.learn:
            self.floods[:] = NEVER
        else:
            self.floods[self.floods == NEVER] = 0

    def set_lists(self, four: Lists, six: Lists) -> None:
        """Swaps the lists of both families; one store, and every packet is judged by the new ones."""
        following = int(self.settings["generation"]) + 1 & 1
        for name, lists in (("guard_longer4", four), ("guard_longer6", six)):
            self._swap(name, following, bpf.create_trie(name, lists.keys, lists.values))
        self._swap("guard_hosts", following, _host_lines(four))
        self.settings["host_mask"][following] = len(four.hosts) - 1
        first = following * 2 * PAGES
        self.pages[first : first + PAGES] = four.pages
        self.pages[first + PAGES : first + 2 * PAGES] = six.pages
        flags = own.LISTS4 * (not four.empty) | own.LISTS6 * (not six.empty) | own.HAS_TRIE4 * bool(len(four.keys))
        flags |= own.ALLOWS4 * four.allows | own.ALLOWS6 * six.allows
        self.settings["flags"] |= flags  # what only one of the two needs is asked in vain for a moment
        self.settings["generation"] = following
        self.settings["flags"] = flags

    def dropped(self) -> Counts:
        """(Packets, bytes) dropped by reason."""
        return _counts(self.lanes["dropped"])

    def would(self) -> Counts:
        """(Packets, bytes) that dry rules would have dropped, by reason."""
        return _counts(self.lanes["would"])

    def passed(self) -> Mapping[Pass, tuple[int, int]]:
        """(Packets, bytes) that went on; FLOODED ones are among PASSED."""
        found = self.lanes["passed"]
        return {way: (int(found["packets"][:, way].sum()), int(found["bytes"][:, way].sum())) for way in Pass}

    def flooded(self, address: bytes) -> int:
        """The jiffies64 until which nothing is learnt of a VIP (16 bytes); 0: it never was."""
        return int(self.floods[hash_address(address) >> 54])

    def _swap(self, name: str, generation: int, fd: int) -> None:
        """Puts a map in its place, and closes it; returns when no packet is looked up in what was there."""
        try:
            bpf.set_descriptor(self.object.map_fd(name), generation, fd)
        finally:
            os.close(fd)

    def _set_targets(self, policy: Policy) -> None:
        table, numbers = place(policy.targets, self.targets)
        for address, limits in policy.targets.items():
            self.rates[numbers[address]] = _rate(limits.packets), _rate(limits.syns)
        for at in np.flatnonzero(self.targets != table):
            self.targets[at]["number"] = 0
            self.targets[at]["address"] = table[at]["address"]
            self.targets[at]["number"] = table[at]["number"]


def hash_address(address: bytes) -> int:
    """64 bits of a VIP's address, as the programs have it."""
    low, high = unpack("<QQ", address)
    return mix(mix(mix(0, low), high), 1)


def place(targets: Iterable[bytes], standing: NDArray[np.void]) -> tuple[NDArray[np.void], dict[bytes, int]]:
    """VIPs in buckets, and their numbers: those that stand there already stay. Raises Full."""
    table: NDArray[np.void] = np.zeros(own.TARGET_BUCKETS, own.BUCKET)
    missing, numbers = dict.fromkeys(targets), dict[bytes, int]()
    for bucket, at in zip(*np.nonzero(standing["number"]), strict=True):
        address = standing["address"][bucket, at].tobytes()
        if address in missing:
            del missing[address]
            numbers[address] = int(standing["number"][bucket, at])
            table["address"][bucket, at], table["number"][bucket, at] = address, numbers[address]
    free = iter(sorted(set(range(1, own.TARGETS)) - set(numbers.values())))
    for address in missing:
        hashed = hash_address(address)
        for bucket in (hashed % own.TARGET_BUCKETS, (hashed >> 32) % own.TARGET_BUCKETS):
            room = np.flatnonzero(table["number"][bucket] == 0)
            if len(room):
                numbers[address] = next(free)
                table["address"][bucket, room[0]], table["number"][bucket, room[0]] = address, numbers[address]
                break
        else:
            raise Full
    return table, numbers


def _host_lines(lists: Lists) -> int:
    """The descriptor of a new array with the lines of hosts."""
    octets = own.HOSTS.itemsize
    fd = bpf.create_array("guard_hosts", value_bytes=octets, entries=len(lists.hosts), any_size=True)
    try:
        bpf.view(fd, octets * len(lists.hosts), own.HOSTS)[:] = lists.hosts
    except BaseException:
        os.close(fd)
        raise
    return fd


def _rate(bucket: Bucket | None) -> tuple[int, int]:
    return (0, 0) if bucket is None else (bucket.cost, bucket.burst)


def _mask(reasons: Iterable[Reason]) -> int:
    return sum(1 << reason for reason in reasons)


def _bits(ports: Iterable[int]) -> NDArray[np.uint64]:
    flags = np.zeros(1 << 16, np.uint8)
    flags[list(ports)] = 1
    return np.packbits(flags, bitorder="little").view(np.uint64)


def _counts(found: NDArray[np.void]) -> dict[Reason, tuple[int, int]]:
    return {reason: (int(found["packets"][:, reason].sum()), int(found["bytes"][:, reason].sum())) for reason in Reason}
