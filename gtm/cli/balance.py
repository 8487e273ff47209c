"""`gtm balance`: the load balancer of an instance."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

from gtm.cli.command import OK, PROBLEM, Commands, Parser, add_command, on_terminal, say
from gtm.model.address import IPNetwork
from gtm.model.balance import GUE_PORT, AttachMode

PINS, DECAP_PINS = Path("/sys/fs/bpf/gtm"), Path("/sys/fs/bpf/gtm-decap")
CLEAR = "\x1b[H\x1b[2J"
TCP_FLAGS = ("fin", "syn", "rst", "psh", "ack")

ABOUT = """\
Balance the services of dataplane/services.yaml among their backends, in the kernel's fast path (XDP).

A node is an instance if dataplane/services.yaml has one of its name (`node` in gtm.yaml).
"""

EXAMPLES = """\
from nothing to a balancer:
  gtm check                                        what dataplane/services.yaml says is checked with the rest
  gtm balance show --node lb1-us-east              what that comes to for an instance
  gtm balance run --dry-run                        what would change in the kernel
  gtm balance doctor                               would this machine do it well?
  gtm balance run                                  on the instance itself
  gtm balance explain 198.51.100.7:40000 203.0.113.1:443 tcp

docs/configuration.md lists the keys of dataplane/services.yaml, docs/dataplane.md says how machines are set up.
"""


def add_commands(commands: Commands) -> None:
    """Add the commands of this group; each action has its function in ACTIONS."""
    group: Parser = commands.add_parser(
        "balance",
        help="balance services among backends, in the kernel's fast path",
        description=ABOUT,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = group.add_subparsers(metavar="ACTION", required=True, parser_class=Parser)
    for add in ACTIONS:
        add(actions)


def _add_show(actions: Commands) -> None:
    show = add_command(
        actions,
        "show",
        run_show,
        about="Show what an instance is to do. Services, backends, shares, what fits, the MSS that backends need.",
        examples="""
gtm balance show                                 this node
gtm balance show --node lb1-us-east --json

This is what the files come to: no kernel is asked, and nothing is changed.
""",
    )
    add_node(show)


def _add_setup(actions: Commands) -> None:
    setup = add_command(
        actions,
        "setup",
        run_setup,
        about="Say what a backend's machine needs. Its VIPs, sysctls, what it unwraps, its MSS: lines for a shell.",
        examples="""
gtm balance setup web/a1                                 to read, and to run there
gtm balance setup web/a1 --interface bond0 --json

This is what the files come to: nothing is asked and nothing is changed.
""",
    )
    setup.add_argument("backend", metavar="SERVICE/NAME", help="a backend of dataplane/services.yaml")
    setup.add_argument(
        "--interface", metavar="NAME", type=_interface, default="eth0", help="where packets come in (default: eth0)"
    )


def _add_decap(actions: Commands) -> None:
    decap = add_command(
        actions,
        "decap",
        run_decap,
        about="On a backend, unwrap what balancers send. IPIP, GRE and GUE, both families, and GUE's second chance.",
        examples="""
gtm balance decap eth0 --from 10.1.0.0/24                                  GUE: the addresses of the instances
gtm balance decap eth0 --from 172.31.0.0/16 --from fd00:31::/64            IPIP and GRE: their `source`
gtm balance decap eth0                                                     what unwraps there now, and how much
gtm balance decap eth0 --off

The program stays when this command has ended, and takes the place of an older one without a gap when it is said again.
Only packets from those networks are unwrapped, so let no others send from there. L2 needs none of it. Takes CAP_BPF,
CAP_NET_ADMIN and CAP_PERFMON. No deployment folder is read.
""",
        deployment=False,
    )
    decap.add_argument("interface", metavar="INTERFACE", help="where packets come in")
    decap.add_argument(
        "--from",
        dest="sources",
        metavar="NETWORK",
        type=_network,
        action="append",
        help="the outer sources that are ours: one IPv4 network, one IPv6 /64, or both",
    )
    decap.add_argument("--port", metavar="N", type=_port, default=GUE_PORT, help="GUE's UDP port (default: 6080)")
    decap.add_argument(
        "--mode",
        choices=[*(str(mode) for mode in AttachMode), "tc"],
        default=str(AttachMode.NATIVE),
        help="native: XDP in the driver (default); generic: behind it, anywhere; tc: behind GRO, faster for bulk",
    )
    decap.add_argument("--replace", action="store_true", help="from native to generic or back: a moment in between")
    decap.add_argument("--off", action="store_true", help="take the program off")
    decap.add_argument(
        "--objects", metavar="DIR", type=Path, help="the folder of the program, decap.bpf.o (default: gtm's own)"
    )
    add_pins(decap, default=DECAP_PINS)


def _network(text: str) -> IPNetwork:
    try:
        return ip_network(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error} (allowed: a network such as 10.1.0.0/24)") from error


def _interface(text: str) -> str:
    """A name that a shell takes as it is, since it goes into lines for one."""
    if re.fullmatch(r"[A-Za-z0-9._:@-]{1,15}", text) and text not in {".", ".."}:
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is not an interface (allowed: 1 to 15 letters, digits or ._:@-)")


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= 65535:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a port (allowed: 1 to 65535)")


def add_node(parser: argparse.ArgumentParser) -> None:
    """The option that names an instance."""
    parser.add_argument("--node", metavar="NAME", help="an instance of dataplane/services.yaml (default: this node)")


def _add_run(actions: Commands) -> None:
    run = add_command(
        actions,
        "run",
        run_balancer,
        about="Balance. Loads the programs, keeps the kernel's tables to files, checks and orders, until it is ended.",
        examples="""
gtm balance run                                  on the instance itself, as root; the unit of systemd does that
gtm balance run --dry-run                        what it would change now: nothing is loaded, probed or written
gtm balance run --once                           until the tables are right once, then the kernel goes on alone
gtm balance run --replace                        in place of a release with other maps, or of another mode

Ended or killed, it leaves the kernel balancing with the tables as they are; the next one takes over from there, program
and all, without a packet lost. `gtm balance detach` takes everything away.
""",
    )
    how = run.add_mutually_exclusive_group()
    how.add_argument("--dry-run", action="store_true", help="show what would change, and change nothing")
    how.add_argument("--once", action="store_true", help="end when the tables are right for the first time")
    run.add_argument(
        "--replace",
        action="store_true",
        help="take the place of maps that this release cannot read (flows in transition are lost), or of another mode",
    )
    run.add_argument(
        "--objects", metavar="DIR", type=Path, help="the folder of the programs, balance.bpf.o (default: gtm's own)"
    )
    add_pins(run)


def _add_top(actions: Commands) -> None:
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


def _add_sample(actions: Commands) -> None:
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


def _add_explain(actions: Commands) -> None:
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
        default=("ack",),
        metavar="FLAG,...",
        help="of TCP: fin, syn, rst, psh, ack (default: ack)",
    )
    explain.add_argument(
        "--payload", metavar="BYTES", type=int, default=0, help="octets behind its headers (default: 0)"
    )
    explain.add_argument("--objects", metavar="DIR", type=Path, help="the folder of the programs (default: gtm's own)")
    add_pins(explain)


def _flags(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    for name in names:
        if name not in TCP_FLAGS:
            raise argparse.ArgumentTypeError(f"{name!r} is not a flag (allowed: {', '.join(TCP_FLAGS)})")
    return names


def _add_doctor(actions: Commands) -> None:
    doctor = add_command(
        actions,
        "doctor",
        run_doctor,
        about="Examine this machine. Driver, mode, queues, offloads, MTU, next hops, rights; and what to change.",
        examples="""
gtm balance doctor                               before the first `gtm balance run`, or when something is odd
gtm balance doctor --json

Nothing is changed. Exit code 1 if there is an error; warnings may be meant.
""",
    )
    add_pins(doctor)


def _add_drains(actions: Commands) -> None:
    add_command(
        actions,
        "drains",
        run_drains,
        about="Show how far drains have come on this instance. Flows and packets that backends still have, time left.",
        examples="""
gtm drain backend/web/a1 --reason "disk"         on this instance, or all of them with state: etcd
gtm balance drains                               how far that is
""",
    )


def _add_detach(actions: Commands) -> None:
    detach = add_command(
        actions,
        "detach",
        run_detach,
        about="Take the programs off, and all that is pinned with them. Packets to VIPs then pass to the kernel.",
        examples="""
gtm drain speaker/lb1-us-east --reason "new kernel"   first, where it announces: routers then send it nothing
gtm balance detach

Refused (exit code 3) while this machine announces a VIP, for its packets would go nowhere.
""",
    )
    detach.add_argument("--force", action="store_true", help="do it even where a guard would refuse")
    add_pins(detach)


def add_pins(parser: argparse.ArgumentParser, *, default: Path = PINS) -> None:
    """The option that says where maps and links are pinned."""
    parser.add_argument(
        "--pins", metavar="DIR", type=Path, default=default, help=f"a folder in a bpffs for what is pinned ({default})"
    )


# Whoever adds an action adds it here.
ACTIONS: tuple[Callable[[Commands], None], ...] = (
    _add_show,
    _add_setup,
    _add_run,
    _add_doctor,
    _add_drains,
    _add_detach,
    _add_top,
    _add_sample,
    _add_explain,
    _add_decap,
)


def run_balancer(options: argparse.Namespace) -> int:
    """Balance."""
    from gtm.app.balance import run

    if options.dry_run:
        foreseen = run.foresee(options.folder, pins=options.pins)
        say(options, run.foreseen_document(foreseen), run.foreseen_text(foreseen))
        return OK
    run.run(options.folder, pins=options.pins, once=options.once, replace=options.replace, objects=options.objects)
    return OK


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
        options.source, options.target, options.protocol, flags=options.flags, payload_bytes=options.payload
    )
    found = explain.explain(options.folder, question, pins=options.pins, objects=options.objects)
    say(options, explain.explained_document(found), explain.explained_text(found))
    return OK


def run_doctor(options: argparse.Namespace) -> int:
    """Examine this machine."""
    from gtm.app.balance import doctor

    found = doctor.doctor(options.folder, pins=options.pins)
    say(options, doctor.examined_document(found), doctor.examined_text(found))
    return OK if found.ok else PROBLEM


def run_drains(options: argparse.Namespace) -> int:
    """Show drains."""
    from gtm.app.balance import drains

    found = drains.drains(options.folder)
    say(options, drains.drains_document(found), drains.drains_text(found))
    return OK


def run_detach(options: argparse.Namespace) -> int:
    """Take everything away."""
    from gtm.app.balance import run
    from gtm.app.logs import log_to_stderr

    log_to_stderr(in_json=options.json)
    gone = run.detach(options.folder, pins=options.pins, force=options.force)
    say(options, {"interfaces": list(gone)}, "\n".join(f"{name}: detached" for name in gone) or "nothing was attached")
    return OK


def run_show(options: argparse.Namespace) -> int:
    """Show an instance."""
    from gtm.app.balance import show

    shown = show.show(options.folder, node=options.node)
    say(options, show.shown_document(shown), show.shown_text(shown))
    return OK


def run_setup(options: argparse.Namespace) -> int:
    """Say what a backend's machine needs."""
    from gtm.app.balance import setup

    found = setup.setup(options.folder, options.backend, interface=options.interface)
    say(options, setup.setup_document(found), setup.setup_text(found))
    return OK


def run_decap(options: argparse.Namespace) -> int:
    """Unwrap on an interface, or no more."""
    from gtm.app.balance import decap

    if options.off:
        done = decap.detach(options.interface, pins=options.pins)
    elif not options.sources:
        done = decap.show(options.interface, pins=options.pins)
    else:
        done = decap.attach(
            options.interface,
            sources=options.sources,
            port=options.port,
            mode=options.mode,
            replace=options.replace,
            pins=options.pins,
            program=decap.OBJECT if options.objects is None else options.objects / decap.OBJECT.name,
        )
    say(options, decap.decap_document(done), decap.decap_text(done))
    return OK
