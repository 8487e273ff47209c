"""BFD beside ExaBGP, which speaks none (RFC 5880, RFC 5881): for FRR's bfdd, or for a BIRD that does nothing else."""

from __future__ import annotations

from gtm.model.anycast import Bfd, Neighbour, Speaker

HEAD = """\
{sign} BFD of {speaker.node} in {speaker.region} with its BGP neighbours, beside ExaBGP.
{sign} Rendered from bgp/anycast.yaml by `gtm announce render --bfd {flavour}`: change it there."""


def render_bfd_frr(speaker: Speaker) -> str:
    """FRR's configuration: zebra and bfdd read it, by `vtysh -f FILE`. With no BFD at all, comments only."""
    lines = [HEAD.format(sign="!", speaker=speaker, flavour="frr")]
    if peers := _peers(speaker):
        lines.append("bfd")
        for neighbour, bfd in peers:
            lines += [
                f" ! {neighbour.name}",
                f" peer {neighbour.address} local-address {neighbour.local_address}",
                f"  transmit-interval {bfd.transmit_ms}",
                f"  receive-interval {bfd.receive_ms}",
                f"  detect-multiplier {bfd.multiplier}",
                " exit",
            ]
        lines.append("exit")
    return "\n".join(lines) + "\n"


def render_bfd_bird(speaker: Speaker) -> str:
    """The configuration of a BIRD 2 that only speaks BFD: `bird -c FILE -s SOCKET`.

    Raises ValueError where neighbours have different intervals.
    """
    lines = [
        HEAD.format(sign="#", speaker=speaker, flavour="bird"),
        f"router id {speaker.router_id};",
        "protocol device {}",
    ]
    if peers := _peers(speaker):
        lines.append("protocol bfd gtm {")
        lines.append(_intervals(peers))
        lines += [
            f"    neighbor {neighbour.address} local {neighbour.local_address};  # {neighbour.name}"
            for neighbour, _ in peers
        ]
        lines.append("}")
    return "\n".join(lines) + "\n"


def _peers(speaker: Speaker) -> list[tuple[Neighbour, Bfd]]:
    return [(each, each.bfd) for each in speaker.neighbours if each.bfd is not None]


def _intervals(peers: list[tuple[Neighbour, Bfd]]) -> str:
    """BIRD has intervals by interface, and which interface a session will use is not known here."""
    times = {(bfd.transmit_ms, bfd.receive_ms, bfd.multiplier) for _, bfd in peers}
    if len(times) > 1:
        names = ", ".join(neighbour.name for neighbour, _ in peers)
        raise ValueError(f"BIRD cannot have intervals of BFD by neighbour: {names} must have the same, or use FRR")
    ((transmit_ms, receive_ms, multiplier),) = times
    each = f"min tx interval {transmit_ms} ms; min rx interval {receive_ms} ms; multiplier {multiplier};"
    return f'    interface "*" {{ {each} }};'
