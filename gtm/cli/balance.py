"""`gtm balance`: the load balancer of an instance."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

from gtm.cli.balance_looking import add_explain, add_pins, add_sample, add_top
from gtm.cli.command import OK, PROBLEM, Commands, Parser, add_command, say
from gtm.model.address import IPNetwork
from gtm.model.balance import GUE_PORT, AttachMode

DECAP_PINS = Path("/sys/fs/bpf/gtm-decap")

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


# Whoever adds an action adds it here.
ACTIONS: tuple[Callable[[Commands], None], ...] = (
    _add_show,
    _add_setup,
    _add_run,
    _add_doctor,
    _add_drains,
    _add_detach,
    add_top,
    add_sample,
    add_explain,
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
