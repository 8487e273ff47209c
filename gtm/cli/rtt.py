"""`gtm rtt`: round-trip times between clients and regions."""

from __future__ import annotations

import argparse
from pathlib import Path

from gtm.cli.command import OK, Commands, Parser, add_command, say
from gtm.model import duration


def add_commands(commands: Commands) -> None:
    """Add the commands of this group."""
    group: Parser = commands.add_parser(
        "rtt",
        help="measure round-trip times of clients on other machines",
        description="Round-trip times between clients and regions.",
        epilog="examples:\n  gtm rtt agent --region us-east --port 443 --once",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = group.add_subparsers(metavar="ACTION", required=True, parser_class=Parser)
    show = add_command(
        actions,
        "show",
        run_show,
        about="Show what the node knows of round-trip times. With --from for one client, and what of it decides.",
        examples="""
gtm rtt show                          how much is known, and of whom
gtm rtt show --from 198.51.100.9      what is known of a client's network, AS and country
""",
    )
    show.add_argument("--from", dest="client", metavar="ADDR", help="the address of a client")
    agent = add_command(
        actions,
        "agent",
        run_agent,
        about=(
            "Report how far clients are from this machine. Reads the round-trip times that the kernel has measured on "
            "TCP connections, and tells a gtm node."
        ),
        examples="""
gtm rtt agent --region us-east --port 443 --once               what would be told, as CSV
gtm rtt agent --region us-east --port 443 --port 80 --to http://192.0.2.53:8053 --token-file /etc/gtm/push.token
gtm rtt agent --region us-east --port 443 --every 5m --to /var/lib/gtm/us-east.csv

Runs on the machines that clients connect to, such as load balancers; needs no root and changes nothing. Each look
takes the established connections to the ports on which something was acknowledged since the last one, and gives the
mean of their least round-trip times for each /24 (IPv4) or /48 (IPv6), and how many connections that was.
The node must want it: `reports: true` in probes/rtt.yaml, and `push:` in gtm.yaml with the file of the token.
The CSV can also be one of the files that probes/rtt.yaml names.
""",
        deployment=False,
    )
    agent.add_argument("--region", metavar="NAME", required=True, help="the region that this machine is in")
    agent.add_argument(
        "--port",
        dest="ports",
        metavar="N",
        type=_port,
        action="append",
        required=True,
        help="the local port that clients connect to; may be repeated",
    )
    how_often = agent.add_mutually_exclusive_group()
    how_often.add_argument(
        "--every",
        dest="every_s",
        metavar="TIME",
        type=_duration,
        default=60,
        help="look this often: 30s, 5m (default: 60s)",
    )
    how_often.add_argument("--once", action="store_true", help="look once, at all connections, and end")
    agent.add_argument(
        "--to", metavar="WHERE", help="http://NODE:PORT of a node's API, or a file (default: standard output)"
    )
    agent.add_argument("--token-file", metavar="FILE", type=Path, help="the file that has the node's push token")
    agent.add_argument(
        "--include-private",
        action="store_true",
        help="report loopback, private and other addresses that the Internet does not route, too",
    )


def run_show(options: argparse.Namespace) -> int:
    """Print what is known."""
    from gtm.app import rtt_show

    shown = rtt_show.show(options.folder, options.client)
    say(options, rtt_show.rtt_document(shown), rtt_show.rtt_text(shown))
    return OK


def run_agent(options: argparse.Namespace) -> int:
    """Report until interrupted, or once."""
    from gtm.app import rtt_agent

    errand = rtt_agent.Errand(
        region=options.region,
        ports=tuple(dict.fromkeys(options.ports)),
        every_s=None if options.once else options.every_s,
        to=options.to,
        token_file=options.token_file,
        include_private=options.include_private,
        as_json=options.json,
    )
    rtt_agent.run(errand)
    return OK


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 6 and 0 < int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a port (allowed: 1 to 65535)")


def _duration(text: str) -> int:
    try:
        return duration.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
