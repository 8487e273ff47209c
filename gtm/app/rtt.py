"""A node's round-trip times while it runs: its own estimates, those that other nodes told, and what follows from both.

`tick` and `save` may run in a thread beside everything else, and should where networks are many: they copy under a lock
and work on the copy.
"""

from __future__ import annotations

import base64
import json
import threading
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from pathlib import Path

from gtm.decide.prefer import NO_PREFERENCES, Preference, Preferences, prefer
from gtm.decide.rtt import Estimate, Estimates, Key, Levels, Regional, levels, merged, newest_s, warm
from gtm.decide.rtt_codec import UnreadableError, dump, load
from gtm.decide.steer import MEASURED_MIN
from gtm.model.address import IPNetwork
from gtm.model.errors import PeerError, StoreError
from gtm.model.place import Place
from gtm.model.policy import Asn, Country, matcher_text
from gtm.model.rtt import RttSample, RttSettings
from gtm.publish.dns.sealed import replace as replace_file

FILE = "rtt"  # in the state folder
TICK_S = 30.0
POST_S = 30.0  # other nodes are told at most this often
NODES_MAX = 256
_MAGIC = b"GTMRTS1\0"
_FILE_MAX = 256_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RttSummary:
    """What is known of round-trip times. Ages in seconds; None where there is nothing.

    `networks` with any estimate, `warm` those with enough to decide by; `preferences` by kind of key.
    """

    networks: int = 0
    warm: int = 0
    regions: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    networks_preferring: int = 0
    asns_preferring: int = 0
    countries_preferring: int = 0
    oldest_age_s: float | None = None
    newest_age_s: float | None = None
    changed_at_s: float | None = None


class RttKeeper:
    """Keeps estimates, and says when what they prefer has changed. `clock` gives seconds since the epoch."""

    def __init__(
        self,
        settings: RttSettings,
        node_region: str | None,
        place_of: Callable[[IPNetwork], Place],
        clock: Callable[[], float],
    ) -> None:
        self.settings = settings
        self.node_region = node_region
        self.preferences: Preferences = NO_PREFERENCES
        self._place_of = place_of
        self._clock = clock
        self._own = Estimates()
        self._heard: dict[str, tuple[bytes, dict[IPNetwork, dict[str, Estimate]]]] = {}
        self._places: dict[IPNetwork, Place] = {}
        self._restored_s: float | None = None
        self._ticked_s: float | None = None
        self._changed_at_s: float | None = None
        self._unposted = False
        self._posted_s: float | None = None
        self._lock = threading.Lock()  # of self._own
        self._levels = Levels(networks={}, asns={}, countries={})

    def configure(self, settings: RttSettings, node_region: str | None = None) -> None:
        """Go on with other settings; networks of other widths are forgotten."""
        same = (settings.prefix4, settings.prefix6) == (self.settings.prefix4, self.settings.prefix6)
        with self._lock:
            self.settings, self.node_region = settings, node_region
            if not same:
                self._own, self._heard, self._unposted = Estimates(), {}, True
            self._own.bound(settings.networks_max)
        self._ticked_s = None

    def relocated(self, place_of: Callable[[IPNetwork], Place]) -> None:
        """Go on with other geo data."""
        self._place_of = place_of
        self._places = {}
        self._ticked_s = None

    def add(self, samples: Iterable[RttSample]) -> None:
        """Fold measurements in; those of a wider or narrower network than the settings have are dropped.

        After a restart a file is read again: what is not newer than what was saved counts no second time.
        """
        with self._lock:
            wanted = [one for one in samples if self._fits(one.network) and not self._repeated(one)]
            if wanted:
                self._own.add(wanted, self.settings, self._clock())
                self._unposted = True

    def _fits(self, network: IPNetwork) -> bool:
        return network.prefixlen == (self.settings.prefix4 if network.version == 4 else self.settings.prefix6)

    def _repeated(self, sample: RttSample) -> bool:
        if self._restored_s is None or sample.at_s > self._restored_s:
            return False
        known = self._own.networks.get(sample.network, {}).get(sample.region)
        return known is not None and sample.at_s <= known.at_s

    def own(self) -> bytes | None:
        """What to tell other nodes; None where nothing was measured since they were told, or that was just now."""
        now_s = self._clock()
        if not self._unposted or (self._posted_s is not None and 0 <= now_s - self._posted_s < POST_S):
            return None
        self._unposted, self._posted_s = False, now_s
        return dump(self._copy())

    def _copy(self) -> dict[IPNetwork, dict[str, Estimate]]:
        with self._lock:
            return {network: dict(regions) for network, regions in self._own.networks.items()}

    def heard(self, node: str, payload: bytes) -> None:
        """Take what another node told, in place of what it told before; no octets: it is gone. Raises PeerError."""
        if not payload:
            self._heard.pop(node, None)
            return
        before = self._heard.get(node)
        if before is not None and before[0] == payload:
            return
        if before is None and len(self._heard) >= NODES_MAX:
            raise PeerError("tells of round-trip times, and so do too many others", peer=node)
        try:
            told = load(payload)
        except UnreadableError as error:
            raise PeerError(f"its round-trip times {error}", peer=node) from error
        self._heard[node] = payload, {network: regions for network, regions in told.items() if self._fits(network)}

    def tick(self, now_s: float) -> Preferences | None:
        """New preferences where they changed; else None, and always None within TICK_S of the last look."""
        if self._ticked_s is not None and 0 <= now_s - self._ticked_s < TICK_S:
            return None
        self._ticked_s = now_s
        settings = self.settings
        with self._lock:
            self._own.forget(settings.age_max_s, now_s)
        known = self._together()
        self._levels = levels(known, self._place, settings, now_s)
        found = prefer(self.preferences, self._levels, settings, now_s)
        if found is self.preferences:
            return None
        self.preferences, self._changed_at_s = found, now_s
        return found

    def _together(self) -> dict[IPNetwork, dict[str, Estimate]]:
        tables = [self._copy(), *(told for _, told in tuple(self._heard.values()))]
        whole = Estimates(tables[0] if len(tables) == 1 else merged(tables))
        whole.bound(self.settings.networks_max)
        return whole.networks

    def _place(self, network: IPNetwork) -> Place:
        found = self._places.get(network)
        if found is None:
            if len(self._places) >= 2 * self.settings.networks_max:
                self._places.clear()
            found = self._places[network] = self._place_of(network)
        return found

    def summary(self) -> RttSummary:
        """What is known, as of the last tick."""
        now_s, known = self._clock(), self._levels.networks
        ages = [now_s - newest_s(regions) for regions in known.values() if regions]
        keys = list(self.preferences.by_key)
        asns, countries = (sum(isinstance(key, kind) for key in keys) for kind in (Asn, Country))
        return RttSummary(
            networks=len(known),
            warm=sum(
                sum(warm(one, self.settings, now_s) for one in regions.values()) >= MEASURED_MIN
                for regions in known.values()
            ),
            regions=tuple(sorted({region for regions in known.values() for region in regions})),
            nodes=tuple(sorted(self._heard)),
            networks_preferring=len(keys) - asns - countries,
            asns_preferring=asns,
            countries_preferring=countries,
            oldest_age_s=max(ages, default=None),
            newest_age_s=min(ages, default=None),
            changed_at_s=self._changed_at_s,
        )

    def save(self, path: Path) -> None:
        """Write everything to a file, whole or not at all. Raises StoreError."""
        kept = Kept(
            saved_at_s=self._clock(),
            own=self._copy(),
            heard={node: told for node, (_, told) in tuple(self._heard.items())},
            preferences=self.preferences,
            areas=dict((*self._levels.asns.items(), *self._levels.countries.items())),
        )
        replace_file(path, freeze(kept))

    def load(self, path: Path) -> None:
        """Take over what an earlier run saved; nothing where there is no file. Raises StoreError for a damaged one."""
        kept = read_kept(path)
        if kept is None:
            return
        now_s = self._clock()
        self._own = Estimates({n: regions for n, regions in kept.own.items() if self._fits(n)})
        self._own.forget(self.settings.age_max_s, now_s)
        self._own.bound(self.settings.networks_max)
        # What others told is told again by the store; what is preferred stands until then, for a dwell at least.
        self.preferences = Preferences(
            by_key={key: replace(one, since_s=now_s) for key, one in kept.preferences.by_key.items()}
        )
        self._restored_s, self._unposted, self._ticked_s = kept.saved_at_s, True, None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What the file in the state folder has; `areas` are the estimates of ASs and countries, as of the last look."""

    saved_at_s: float
    own: dict[IPNetwork, dict[str, Estimate]]
    heard: dict[str, dict[IPNetwork, dict[str, Estimate]]]
    preferences: Preferences
    areas: Mapping[Key, Regional] = field(default_factory=dict)

    def together_at(self, network: IPNetwork) -> Regional:
        """What all nodes know of one network."""
        tables = ({network: told[network]} for told in (self.own, *self.heard.values()) if network in told)
        return merged(tables).get(network, {})

    def together(self) -> dict[IPNetwork, dict[str, Estimate]]:
        """What all nodes know."""
        return {network: dict(regions) for network, regions in merged([self.own, *self.heard.values()]).items()}


def freeze(kept: Kept) -> bytes:
    """The octets of a file."""
    document = {
        "saved_at_s": kept.saved_at_s,
        "own": _text(kept.own),
        "heard": {node: _text(told) for node, told in kept.heard.items()},
        "preferences": [
            [key_text(key), one.since_s, one.samples, [list(each) for each in one.rtts]]
            for key, one in kept.preferences.by_key.items()
        ],
        "areas": [[key_text(key), regions] for key, regions in kept.areas.items()],
    }
    return _MAGIC + zlib.compress(json.dumps(document).encode(), 1)


def _text(networks: dict[IPNetwork, dict[str, Estimate]]) -> str:
    return base64.b64encode(dump(networks, size_max=32_000_000)).decode()


def read_kept(path: Path) -> Kept | None:
    """What a file has; None if there is none. Raises StoreError for one that cannot be read or is damaged."""
    try:
        octets = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    try:
        if not octets.startswith(_MAGIC):
            raise ValueError("not of this version")
        document = json.loads(zlib.decompressobj().decompress(octets[len(_MAGIC) :], _FILE_MAX))
        return Kept(
            saved_at_s=float(document["saved_at_s"]),
            own=load(base64.b64decode(document["own"])),
            heard={str(node): load(base64.b64decode(told)) for node, told in document["heard"].items()},
            preferences=Preferences(
                by_key={
                    key_of(str(key)): Preference(
                        rtts=tuple((str(region), float(rtt_s)) for region, rtt_s in rtts),
                        since_s=float(since_s),
                        samples=int(samples),
                    )
                    for key, since_s, samples, rtts in document["preferences"]
                }
            ),
            areas={
                key_of(str(key)): {str(region): _estimate(*numbers) for region, numbers in regions.items()}
                for key, regions in document["areas"]
            },
        )
    except (zlib.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path}: holds no round-trip times of this version: {error}") from error


def _estimate(rtt_s: float, spread_s: float, weight: float, samples: int, at_s: float) -> Estimate:
    return Estimate(float(rtt_s), float(spread_s), float(weight), int(samples), float(at_s))


def key_text(key: Key) -> str:
    """A key as people write it: 192.0.2.0/24, AS64500, BR."""
    return matcher_text(key) if isinstance(key, Asn | Country) else str(key)


def key_of(text: str) -> Key:
    """The key that `key_text` wrote. Raises ValueError."""
    if "/" in text:
        return ip_network(text)
    return Asn(asn=int(text[2:])) if text.startswith("AS") and text[2:].isdigit() else Country(code=text)
