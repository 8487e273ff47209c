"""`gtm push`: results from outside, given to the node on this machine."""

from __future__ import annotations

import argparse

from gtm.cli.command import OK, Commands, Parser, add_command, say
from gtm.model import duration


def add_commands(commands: Commands) -> None:
    """Add the commands of this group."""
    group: Parser = commands.add_parser(
        "push",
        help="tell the node what others have found out",
        description="Tell the node on this machine what others have found out: results of checks, and load.",
        epilog=(
            "examples:\n"
            "  gtm push health outside@192.0.2.11 up\n"
            "  gtm push load region/us-east requests=1200 utilisation=40%"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = group.add_subparsers(metavar="WHAT", required=True, parser_class=Parser)
    health = add_command(
        kinds,
        "health",
        run_health,
        about="Tell the result of a push check. It is the verdict at once, and for its time.",
        examples="""
gtm push health outside@192.0.2.11 up
gtm push health outside@192.0.2.11 down --detail "no orders for 5 minutes" --ttl 60s

CHECK is one of probes/checks.yaml that has `push:`, ADDRESS what its pools probe. Say it again before its time is over:
otherwise the target is shown as stale, with its last verdict. No token is needed here, only the right to write the
node's store; from other machines it is POST /api/v1/push/health, see docs/operating.md.
""",
    )
    health.add_argument("target", metavar="CHECK@ADDRESS", help="the target, as `gtm status` names it")
    health.add_argument(
        "health", metavar="up|degraded|down", choices=("up", "degraded", "down"), help="how the target is"
    )
    health.add_argument("--detail", metavar="TEXT", default="", help="why; `gtm status` shows it")
    health.add_argument(
        "--ttl",
        dest="ttl_s",
        metavar="TIME",
        type=_duration,
        help="how long it counts: 30s, 5m (default, and at most: the check's own)",
    )
    load = add_command(
        kinds,
        "load",
        run_load,
        about="Tell how busy a region or an instance is.",
        examples="""
gtm push load region/us-east requests=1200 utilisation=40%
gtm push load instance/us-east/192.0.2.11 connections=300

The deployment must want it: `reports: true` in probes/load.yaml. Requests are per second; utilisation is the share of
capacity in use, 0.4 or 40%.
""",
    )
    load.add_argument("subject", metavar="SUBJECT", help="region/REGION or instance/REGION/LABEL")
    load.add_argument(
        "values", metavar="METRIC=NUMBER", nargs="+", help="requests=, connections=, utilisation=; one or more"
    )


def _duration(text: str) -> int:
    try:
        return duration.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def run_health(options: argparse.Namespace) -> int:
    """Tell a result."""
    from gtm.app import push

    done = push.push_health(
        options.folder, target=options.target, health=options.health, detail=options.detail, ttl_s=options.ttl_s
    )
    say(options, push.delivered_document(done), push.delivered_text(done))
    return OK


def run_load(options: argparse.Namespace) -> int:
    """Tell load."""
    from gtm.app import push

    done = push.push_load(options.folder, subject=options.subject, values=options.values)
    say(options, push.delivered_document(done), push.delivered_text(done))
    return OK
