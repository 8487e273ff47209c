"""`gtm balance top`, `sample`, `explain`: looking at what the kernel does."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from gtm.cli.command import OK, Commands, add_command, on_terminal, say

PINS = Path("/sys/fs/bpf/gtm")
CLEAR = "\x1b[H\x1b[2J"
TCP_FLAGS = ("fin", "syn", "rst", "psh", "ack")


def add_pins(parser: argparse.ArgumentParser, *, default: Path = PINS) -> None:
    """The option that says where maps and links are pinned."""
    parser.add_argument(
        "--pins", metavar="DIR", type=Path, default=default, help=f"a folder in a bpffs for what is pinned ({default})"
    )


def add_top(actions: Commands) -> None:
    """Add `gtm balance top`."""
    top = add_command(
        actions,
        "top",
        run_top,
        about="Show what goes where. Packets, octets and flows by service and backend, verdicts, drops.",
        examples="""
gtm balance top
gtm balance top --once --interval 5 --json
gtm balance top --json | jq --unbuffered '.services[].rates.packets_per_s'

The kernel's counters are read in its memory, so it works without a manager; names are those of the last one's report.
Needs root.
""",
    )
    top.add_argument("--once", action="store_true", help="one reading, after one interval")
    top.add_argument(
        "--interval",
        metavar="SECONDS",
        type=_seconds,
        default=1.0,
        help="what rates are over, 0.1 to 3600 (default: 1)",
    )
    add_pins(top)


def _seconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0.1 <= found <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed (allowed: 0.1 to 3600 seconds)")
    return found


def add_sample(actions: Commands) -> None:
    """Add `gtm balance sample`."""
    sample = add_command(
        actions,
        "sample",
        run_sample,
        about="Write some of the frames that come in to a pcap file. As they come, before the guard.",
        examples="""
gtm balance sample /tmp/lb.pcap --every 1000 --seconds 30
gtm balance sample /tmp/lb.pcap --every 1 --frames 200 --snap 96

A program takes the root's place on the interface for that time and gives it back, without a frame lost; at other times
sampling costs nothing. Files hold what clients sent: mind who reads them. Needs root.
""",
        deployment=False,
    )
    sample.add_argument("file", metavar="FILE", type=Path, help="what is written, anew")
    for option, low, high, default, about in (
        ("--every", 1, 1 << 31, 100, "one in so many frames of each CPU"),
        ("--frames", 1, 1 << 31, 1000, "end after so many"),
        ("--seconds", 1, 3600, 10, "end after that time"),
        ("--snap", 14, 512, 128, "octets of a frame"),
    ):
        sample.add_argument(
            option, metavar="N", type=_between(low, high), default=default, help=f"{about} (default: {default})"
        )
    sample.add_argument("--interface", metavar="NAME", help="where, if there are several")
    sample.add_argument("--objects", metavar="DIR", type=Path, help="the folder of the programs (default: gtm's own)")
    add_pins(sample)


def _between(low: int, high: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if text.isascii() and text.isdigit() and len(text) < 12 and low <= int(text) <= high:
            return int(text)
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed (allowed: {low} to {high})")

    return number


def add_explain(actions: Commands) -> None:
    """Add `gtm balance explain`."""
    explain = add_command(
        actions,
        "explain",
        run_explain,
        about="Say what becomes of a packet. The real programs run on it, on the tables as they stand.",
        examples="""
gtm balance explain 198.51.100.7:40000 203.0.113.1:443 tcp                an ACK, as most packets of a connection
gtm balance explain 198.51.100.7:40000 203.0.113.1:443 tcp --flags syn
gtm balance explain '[2001:db8:c::7]:40000' '[2001:db8:61::1]:443' udp --payload 1400 --json
gtm balance explain 198.51.100.7 203.0.113.1 icmp                         an echo request
gtm balance explain 198.51.100.7:40000 203.0.113.1:443 udp --connection-id 0b01020304aabbccdd
gtm balance explain 198.51.100.7:40000 203.0.113.1:443 tcp --quoted --vlan 100

They run beside those that are attached, with copies of all that they write, so no flow is learnt, nothing is counted,
and no bucket is taken from. Needs root.
""",
    )
    explain.add_argument("source", metavar="SRC:PORT", help="whom it is from; without a port for icmp")
    explain.add_argument("target", metavar="DST:PORT", help="whom it is for")
    explain.add_argument("protocol", metavar="PROTO", choices=("tcp", "udp", "icmp"), help="tcp, udp or icmp (an echo)")
    explain.add_argument(
        "--flags",
        type=_flags,
        metavar="FLAG,...",
        help="of TCP: fin, syn, rst, psh, ack (default: ack)",
    )
    explain.add_argument(
        "--payload", metavar="BYTES", type=int, default=0, help="octets behind its headers (default: 0)"
    )
    explain.add_argument(
        "--vlan",
        dest="vlans",
        type=_vlans,
        default=(),
        metavar="ID[,ID]",
        help="tags of its frame, the outer one first (default: none)",
    )
    explain.add_argument("--fragment", action="store_true", help="the first piece of a packet that was fragmented")
    explain.add_argument(
        "--quoted", action="store_true", help="an ICMP error from SRC instead, which quotes a packet from DST to SRC"
    )
    explain.add_argument(
        "--connection-id",
        type=_connection_id,
        default=b"",
        metavar="HEX",
        help="of QUIC (udp), its first octet included: 1 to 20 octets",
    )
    explain.add_argument("--long-header", action="store_true", help="of QUIC: as in a handshake (default: a short one)")
    explain.add_argument("--objects", metavar="DIR", type=Path, help="the folder of the programs (default: gtm's own)")
    add_pins(explain)


def _flags(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    for name in names:
        if name not in TCP_FLAGS:
            raise argparse.ArgumentTypeError(f"{name!r} is not a flag (allowed: {', '.join(TCP_FLAGS)})")
    return names


def _vlans(text: str) -> tuple[int, ...]:
    try:
        found = tuple(map(int, text.split(",")))
    except ValueError:
        found = ()
    if not 1 <= len(found) <= 2 or not all(1 <= each <= 4094 for each in found):
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed (allowed: 1 to 4094, or two of them: 10,100)")
    return found


def _connection_id(text: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if not 1 <= len(found) <= 20:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed (allowed: 2 to 40 hexadecimal digits)")
    return found


def run_top(options: argparse.Namespace) -> int:
    """Show what goes where."""
    from gtm.app.balance import top

    clear = CLEAR if on_terminal() and not options.once else ""
    try:
        for found in top.follow(options.folder, pins=options.pins, interval_s=options.interval):
            if options.json and not options.once:
                print(json.dumps(top.top_document(found), ensure_ascii=False), flush=True)
                continue
            say(options, top.top_document(found), clear + top.top_text(found))
            if options.once:
                break
    except KeyboardInterrupt:
        return OK
    return OK


def run_sample(options: argparse.Namespace) -> int:
    """Write some of the frames that come in."""
    from gtm.app.balance import sample

    found = sample.sample(
        options.file,
        pins=options.pins,
        interface=options.interface,
        every=options.every,
        snap_bytes=options.snap,
        frames=options.frames,
        limit_s=float(options.seconds),
        objects=options.objects,
    )
    say(options, sample.sampled_document(found), sample.sampled_text(found))
    return OK


def run_explain(options: argparse.Namespace) -> int:
    """Say what becomes of a packet."""
    from gtm.app.balance import explain
    from gtm.app.balance.question import asked

    question = asked(
        options.source,
        options.target,
        options.protocol,
        flags=options.flags,
        payload_bytes=options.payload,
        vlans=options.vlans,
        fragment=options.fragment,
        quoted=options.quoted,
        connection_id=options.connection_id,
        long_header=options.long_header,
    )
    found = explain.explain(options.folder, question, pins=options.pins, objects=options.objects)
    say(options, explain.explained_document(found), explain.explained_text(found))
    return OK
