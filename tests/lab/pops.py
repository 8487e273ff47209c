"""PoPs and the routers that they announce to: FRR and BIRD configured alike, and what their tables say, in one form."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
import yaml

from gtm.app.announce import report
from gtm.model.announcing import AnnouncerReport
from gtm.model.anycast import Phase
from gtm.model.errors import StoreError
from tests.lab.daemons import Bird, Exabgp, Frr
from tests.lab.fabric import Fabric, Fib, pids, run, until
from tests.lab.network import Host

ASN = 64500
PREFIXES = ("203.0.113.0/24", "2001:db8:61::/48")
VIPS = ("203.0.113.1", "2001:db8:61::1")
ETCD_PORT = 2379
PREFERENCE = {"IN": 100, "FIRST": 200}
COMMUNITIES = ("community", "ext_community", "large_community")  # in BIRD's words
KEY = "a-key-of-tcp-md5"

ZONE = "$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 300\n  NS ns\nns A 192.0.2.53\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A session of a router: with a PoP, perhaps one that it prefers, or with another router, of its own AS or not."""

    name: str
    address: str
    local: str
    asn: int
    pop: bool = False
    bfd: bool = False
    gtsm: bool = False
    preferred: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """A path to a prefix in a router's table, from one of its neighbours; extended communities without their kind."""

    med: int | None
    as_path: tuple[int, ...]
    communities: frozenset[str]
    extended: frozenset[str]
    large: frozenset[str]
    local_pref: int | None


@dataclass(slots=True)
class Router:
    """A router of either kind, with its routes in the kernel."""

    name: str
    kind: str
    host: Host
    asn: int
    fib: Fib
    daemon: Frr | Bird
    peers: tuple[Peer, ...] = ()

    def configure(self, peers: Iterable[Peer]) -> None:
        """Start its daemons with these sessions."""
        self.peers = tuple(peers)
        text = frr_conf(self.asn, self.peers) if self.kind == "FRR" else bird_conf(self.asn, self.peers)
        self.daemon.start(text)

    def seen(self, prefix: str, peer: str) -> Seen | None:
        """The path that it has from a neighbour, by the neighbour's name."""
        found = next(each for each in self.peers if each.name == peer)
        if isinstance(self.daemon, Frr):
            return _frr_path(
                self.daemon.show(f"show bgp ipv{6 if ':' in prefix else 4} unicast {prefix} json"), found.address
            )
        return _bird_path(self.daemon.show(f"show route {prefix} protocol {found.name.replace('-', '_')} all"))

    def is_up(self, peer: str) -> bool:
        """Whether the session with a neighbour, by its name, is established."""
        found = next(each for each in self.peers if each.name == peer)
        if isinstance(self.daemon, Frr):
            said = self.daemon.show(f"show bgp neighbors {found.address} json").get(found.address, {})
            return bool(said.get("bgpState") == "Established")
        return "Established" in self.daemon.show(f"show protocols {found.name.replace('-', '_')}")

    def bfd_is_up(self, peer: str) -> bool:
        """Whether BFD with a neighbour, by its name, is up."""
        found = next(each for each in self.peers if each.name == peer)
        if isinstance(self.daemon, Frr):
            states = self.daemon.show("show bfd peers json")
            return any(one["peer"] == found.address and one["status"] == "up" for one in states)
        return (
            re.search(rf"^{re.escape(found.address)}\s.*\bUp\b", self.daemon.show("show bfd sessions"), re.MULTILINE)
            is not None
        )


def inward(peer: Peer) -> str:
    """The policy for what a neighbour of another AS says."""
    return "FIRST" if peer.preferred else "IN"


def frr_conf(asn: int, peers: Sequence[Peer]) -> str:
    """FRR as a router that honours GRACEFUL_SHUTDOWN, and keeps its kernel routes whole when links flap."""
    lines = ["no zebra nexthop kernel enable", "bgp community-list standard GSHUT permit graceful-shutdown"]
    for name in ("IN", "FIRST"):
        lines += [f"route-map {name} permit 10", " match community GSHUT", " set local-preference 0"]
        lines += [f"route-map {name} permit 20", f" set local-preference {PREFERENCE[name]}"]
    lines += ["bfd", " profile fast", "  transmit-interval 50", "  receive-interval 50", "  detect-multiplier 3"]
    lines += [f"router bgp {asn}", " no bgp ebgp-requires-policy", " no bgp default ipv4-unicast", " timers bgp 3 9"]
    for peer in peers:
        lines += [f" neighbor {peer.address} remote-as {peer.asn}", f" neighbor {peer.address} timers connect 1"]
        if peer.pop:
            lines.append(f" neighbor {peer.address} password {KEY}")
        if peer.gtsm:
            lines.append(f" neighbor {peer.address} ttl-security hops 1")
        if peer.bfd:
            lines.append(f" neighbor {peer.address} bfd profile fast")
    for family in ("ipv4", "ipv6"):
        lines += [f" address-family {family} unicast", "  redistribute connected", "  maximum-paths 1"]
        for peer in peers:
            policy = "next-hop-self" if peer.asn == asn else f"route-map {inward(peer)} in"
            lines += [f"  neighbor {peer.address} activate", f"  neighbor {peer.address} {policy}"]
        lines.append(" exit-address-family")
    return "\n".join([*lines, "exit", ""])


def bird_conf(asn: int, peers: Sequence[Peer], *, multipath: bool = False) -> str:
    """BIRD, the same; with `multipath` the kernel has the paths of all PoPs, however unattractive they are made."""
    merge = " merge paths on limit 16;" if multipath else ""
    lines = [
        f"router id {peers[0].local};",
        "protocol device {}",
        "protocol direct { ipv4; ipv6; }",
        f"protocol kernel k4 {{ ipv4 {{ import none; export where source = RTS_BGP; }};{merge} }}",
        f"protocol kernel k6 {{ ipv6 {{ import none; export where source = RTS_BGP; }};{merge} }}",
        'protocol bfd bfd1 { interface "*" { interval 50 ms; multiplier 3; }; }',
    ]
    for name, preference in PREFERENCE.items():
        rule = f"if (65535, 0) ~ bgp_community then bgp_local_pref = 0; else bgp_local_pref = {preference};"
        lines.append(f"filter {name} {{ {'bgp_med = 0; bgp_local_pref = 100;' if multipath else rule} accept; }}")
    for peer in peers:
        taken = "import all; next hop self;" if peer.asn == asn else f"import filter {inward(peer)};"
        told = "export none;" if peer.pop else "export where source ~ [ RTS_DEVICE, RTS_BGP ];"
        lines.append(f"protocol bgp {peer.name.replace('-', '_')} {{")
        lines.append(f"  local {peer.local} as {asn}; neighbor {peer.address} as {peer.asn}; hold time 9;")
        lines.append("  connect retry time 1; connect delay time 1; error wait time 1,2;")
        if peer.pop:
            lines.append(f'  password "{KEY}";')
        if peer.gtsm:
            lines.append("  ttl security on;")
        if peer.bfd:
            lines.append("  bfd on;")
        lines += [f"  {family} {{ {taken} {told} }};" for family in ("ipv4", "ipv6")]
        lines.append("}")
    return "\n".join([*lines, ""])


def _frr_path(said: Mapping[str, Any], address: str) -> Seen | None:
    for path in said.get("paths", ()):
        if path["peer"]["peerId"] == address:
            return Seen(
                med=path.get("metric"),
                as_path=tuple(map(int, path["aspath"]["string"].split())) if path["aspath"]["length"] else (),
                communities=frozenset(
                    "65535:0" if one == "graceful-shutdown" else one
                    for one in path.get("community", {}).get("string", "").split()
                ),
                extended=frozenset(
                    one.partition(":")[2] for one in path.get("extendedCommunity", {}).get("string", "").split()
                ),
                large=frozenset(path.get("largeCommunity", {}).get("string", "").split()),
                local_pref=path.get("locPrf"),
            )
    return None


def _bird_path(said: str) -> Seen | None:
    found = dict(re.findall(r"BGP\.(\w+): ?(.*)", said))
    if "as_path" not in found:
        return None
    texts = {name: re.findall(r"\(([^)]*)\)", found.get(name, "")) for name in COMMUNITIES}
    each = {name: frozenset(":".join(re.findall(r"\b\d+\b", one)) for one in some) for name, some in texts.items()}
    return Seen(
        med=int(found["med"]) if "med" in found else None,
        as_path=tuple(map(int, found["as_path"].split())),
        communities=each["community"],
        extended=each["ext_community"],
        large=each["large_community"],
        local_pref=int(found["local_pref"]) if "local_pref" in found else None,
    )


@dataclass(slots=True)
class Pop:
    """A PoP: a host with a deployment's folder, ExaBGP and `gtm announce` in it."""

    node: str
    region: str
    host: Host
    router: Router
    folder: Path
    address: str
    neighbour: str
    etcd: str | None = None
    exabgp: Exabgp = field(init=False)

    def __post_init__(self) -> None:
        self.exabgp = Exabgp(host=self.host, folder=self.folder)

    @property
    def state(self) -> Path:
        """Its state folder."""
        return self.folder / "state"

    def gateway(self, prefix: str) -> str:
        """Its address as its router's next hop to a prefix."""
        return f"fd{self.address.replace('.', ':')}::2" if ":" in prefix else f"10.{self.address}.2"

    def helper(self, who: str) -> int:
        """The process ID of the supervisor, which ExaBGP started, or of the thinker, which that one started.

        Raises ProcessLookupError where there is none just now.
        """
        said = self.report()
        if said is None or not self.is_running(said):
            raise ProcessLookupError(f"{self.node} has no {who} now")
        return said.supervisor_pid if who == "supervisor" else said.pid

    def is_running(self, said: AnnouncerReport) -> bool:
        """Whether a report is that of processes that are there, of the ExaBGP that was started last."""
        engine = self.exabgp.process
        there = all(pid > 1 and Path(f"/proc/{pid}").exists() for pid in (said.pid, said.supervisor_pid))
        return there and engine is not None and engine.pid == said.exabgp_pid

    def go_on(self) -> None:
        """SIGCONT to whatever of it is stopped."""
        for pid in pids(self.host):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def gtm(self, *words: str) -> Any:
        """What a gtm command says as JSON, run inside."""
        said = run(*self.host.command(sys.executable, "-m", "gtm.cli.main", *words, "-C", str(self.folder), "--json"))
        return json.loads(said) if said else None

    def report(self) -> AnnouncerReport | None:
        """What its announcer says of itself, if it has said anything yet."""
        try:
            return report.load(self.state)
        except StoreError:
            return None

    def phase(self) -> Phase | None:
        """The phase of its service."""
        said = self.report()
        return None if said is None else said.services[0].phase

    def announce(self) -> None:
        """Start ExaBGP, as `gtm announce render` has it, and with it the announcer."""
        config = self.folder / "exabgp.conf"
        if not config.exists():
            words = f"{sys.executable} -m gtm.cli.main announce run -C {self.folder}"
            self.gtm("announce", "render", "--out", str(config), "--run", words)
        self.exabgp.start(config)


@dataclass(slots=True)
class World:
    """The routers and PoPs of one fabric."""

    fabric: Fabric
    routers: dict[str, Router] = field(default_factory=dict)
    pops: dict[str, Pop] = field(default_factory=dict)
    stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def router(self, name: str, kind: str, asn: int) -> Router:
        """A router whose daemons are started once its wires are there."""
        host = self.fabric.host(name)
        place = self.fabric.folder / name
        daemon = Frr(host=host, folder=place) if kind == "FRR" else Bird(host=host, folder=place)
        fib = self.stack.enter_context(Fib(host, PREFIXES))
        self.routers[name] = Router(name=name, kind=kind, host=host, asn=asn, fib=fib, daemon=daemon)
        return self.routers[name]

    def pop(self, node: str, region: str, router: str, subnet: str, folder: Path) -> Pop:
        """A PoP on a wire to its router, by which it reaches everything."""
        host = self.fabric.host(node)
        self.fabric.join(router, node, subnet)
        default_route(host, subnet)
        self.pops[node] = Pop(
            node=node, region=region, host=host, router=self.routers[router], folder=folder / node,
            address=subnet, neighbour=f"10.{subnet}.1",
        )  # fmt: skip
        return self.pops[node]

    def peer(self, pop: Pop, *, bfd: bool = False, gtsm: bool = False, preferred: bool = False) -> Peer:
        """The session of its router with a PoP."""
        subnet = pop.address
        return Peer(
            name=pop.node,
            address=f"10.{subnet}.2",
            local=f"10.{subnet}.1",
            asn=ASN,
            pop=True,
            bfd=bfd,
            gtsm=gtsm,
            preferred=preferred,
        )


def start_etcd(fabric: Fabric, pops: Sequence[Pop], folder: Path) -> None:
    """A store for all of them, in a host of its own on a wire to each that nothing else uses."""
    if shutil.which("etcd") is None:
        pytest.skip("needs the package etcd-server")
    host = fabric.host("store")
    for number, pop in enumerate(pops, start=1):
        fabric.join("store", pop.node, f"84.{number}")
        pop.etcd = f"http://10.84.{number}.1:{ETCD_PORT}"
    host.start(
        "etcd", "--data-dir", str(folder / "etcd"), "--listen-client-urls", f"http://0.0.0.0:{ETCD_PORT}",
        "--advertise-client-urls", f"http://10.84.1.1:{ETCD_PORT}", "--listen-peer-urls", "http://127.0.0.1:2380",
        "--logger", "zap", "--log-level", "error", log=folder / "etcd.log",
    )  # fmt: skip
    until(lambda: "true" in host.inside(_etcd_health), "etcd is up")


def _etcd_health() -> str:
    try:
        return httpx.get(f"http://127.0.0.1:{ETCD_PORT}/health", timeout=60).text
    except httpx.HTTPError:
        return ""


def default_route(host: Host, subnet: str) -> None:
    """Everything by the first host of a wire."""
    run("ip", "-n", host.name, "route", "add", "default", "via", f"10.{subnet}.1")
    run("ip", "-n", host.name, "-6", "route", "add", "default", "via", f"fd{subnet.replace('.', ':')}::1")


def write_deployment(
    pop: Pop, pops: Sequence[Pop], *, service: Mapping[str, Any], session: Mapping[str, Any], more: Mapping[str, Any]
) -> None:
    """The files of a PoP's folder; bgp/anycast.yaml is the same for all of them."""
    speakers = {
        each.node: {
            "region": each.region,
            "address": [f"10.{each.address}.2", f"fd{each.address.replace('.', ':')}::2"],
            "neighbours": {"transit-a" if each.router.asn == 64496 else "transit-b": each.neighbour},
        }
        for each in pops
    }
    key = pop.folder / "md5"
    anycast = {
        "asn": ASN,
        "session": {"hold_time": "9s", "md5_file": str(key), **session},
        "speakers": speakers,
        "providers": {
            "transit-a": {"asn": 64496, "words": {"only-here": "64496:2:1"}},
            "transit-b": {"asn": 64497, "words": {"only-here": "64497:10"}},
        },
        "services": {"web": {"prefixes": list(PREFIXES), "regions": "all", **service}},
        **more,
    }
    node: dict[str, Any] = {"node": pop.node, "region": pop.region, "listen": ["127.0.0.1:5300"], "geo": []}
    if pop.etcd is not None:
        node |= {"state": "etcd", "etcd": {"endpoints": [pop.etcd], "lease": "3s"}}
    regions = {each.region: {"latitude": 1.0, "longitude": 1.0} for each in pops}
    share = 100 // len(regions)
    for number, region in enumerate(regions.values()):
        region["share"] = f"{share if number else 100 - share * (len(regions) - 1)}%"  # type: ignore[assignment]
    http = {"http": {"port": 8080, "path": "/healthz"}}
    files = {
        "gtm.yaml": node,
        "geodata/regions.yaml": {"regions": regions},
        "probes/checks.yaml": {"checks": {"web": http}},
        "bgp/anycast.yaml": anycast,
    }
    for name, document in files.items():
        file = pop.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump(document, sort_keys=False))
    (pop.folder / "zones").mkdir(exist_ok=True)
    (pop.folder / "zones/example.com.zone").write_text(ZONE)
    key.write_text(KEY)
    key.chmod(0o600)
