"""`gtm drain`, `undrain`, `force`, `unforce`, `overrides`: what people order."""

from __future__ import annotations

import argparse
import os
import pwd

from gtm.cli.command import OK, Commands, add_command, say
from gtm.model import duration

SUBJECTS = "region/REGION, pool/ZONE/POOL, instance/REGION/LABEL, speaker/NODE, or backend/SERVICE/NAME"


def add_commands(commands: Commands) -> None:
    """Add the commands of this group."""
    drain = add_command(
        commands,
        "drain",
        run_drain,
        about="Take traffic away from a region, pool, instance or backend. It gets nothing new until `gtm undrain`.",
        examples="""
gtm drain region/us-east --reason "kernel update" --for 1h
gtm drain instance/eu-west/192.0.2.21 --reason "disk" --dry-run     only show what would change
gtm drain pool/lb.example.com/web --reason "moving" --force
gtm drain speaker/edge1-us-east --reason "new kernel"               what that node announces by BGP, and nothing else
gtm drain backend/web/a1 --reason "disk"                            no new flows; its own for `drain` of its service

Refused (exit code 3) if a pool that is served now would have no region left, or a balanced service no backend in a
region; --force overrules that. Announcements of a drained region, instance or speaker go down the ladder of
bgp/anycast.yaml; the last PoP of a service stays.
""",
    )
    _order(drain, lasting=True)
    undrain = add_command(
        commands,
        "undrain",
        run_undrain,
        about="Take a drain back.",
        examples="gtm undrain region/us-east",
    )
    _order(undrain, lasting=False)
    force = add_command(
        commands,
        "force",
        run_force,
        about="Overrule health checks. What is forced up is answered, what is forced down is not, whatever checks say.",
        examples="""
gtm force up instance/eu-west/192.0.2.21 --reason "check is broken" --for 30m
gtm force down region/us-west --reason "fibre cut"
""",
    )
    force.add_argument("direction", metavar="up|down", choices=("up", "down"), help="what to take its health for")
    _order(force, lasting=True)
    unforce = add_command(
        commands,
        "unforce",
        run_unforce,
        about="Take a forced state back, up or down.",
        examples="gtm unforce region/us-west",
    )
    _order(unforce, lasting=False)
    overrides = add_command(
        commands,
        "overrides",
        run_overrides,
        about="List the orders in force, and what was ordered before. Who, what, why, when, and how it ended.",
        examples="""
gtm overrides
gtm overrides --limit 200 --json
""",
    )
    overrides.add_argument(
        "--limit",
        metavar="N",
        type=_limit,
        default=20,
        help="how much of the past to show (default: 20, at most 10000)",
    )
    _local(overrides)


def _order(parser: argparse.ArgumentParser, *, lasting: bool) -> None:
    parser.add_argument("subject", metavar="SUBJECT", help=SUBJECTS)
    if lasting:
        parser.add_argument("--reason", metavar="TEXT", required=True, help="why; kept with the order")
        parser.add_argument(
            "--for", dest="for_s", metavar="TIME", type=_duration, help="end by itself after 90s, 15m, 1h30m, 2d"
        )
    parser.add_argument("--by", metavar="WHO", help="the owner of the order (default: the account that runs this)")
    parser.add_argument("--force", action="store_true", help="do it even where a guard would refuse")
    _local(parser)
    parser.add_argument("--dry-run", action="store_true", help="show the effect and change nothing")


def _local(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--local", action="store_true", help="of this node alone, where nodes share orders (state: etcd)"
    )


def _duration(text: str) -> int:
    try:
        return duration.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _limit(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = -1
    if not 0 <= number <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 10000")
    return number


def owner() -> str:
    """The person behind this process: who called sudo, else the account's name."""
    named = os.environ.get("SUDO_USER") or os.environ.get("USER")
    if named:
        return named
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def run_drain(options: argparse.Namespace) -> int:
    """Order a drain."""
    return _give(options, "drain")


def run_force(options: argparse.Namespace) -> int:
    """Order a forced state."""
    return _give(options, f"force-{options.direction}")


def run_undrain(options: argparse.Namespace) -> int:
    """Take a drain back."""
    return _take_back(options, ("drain",))


def run_unforce(options: argparse.Namespace) -> int:
    """Take forced states back."""
    return _take_back(options, ("force-up", "force-down"))


def _give(options: argparse.Namespace, action: str) -> int:
    from gtm.app import people
    from gtm.app.people_text import order_text

    done = people.give(
        options.folder,
        subject=options.subject,
        action=action,
        owner=options.by or owner(),
        reason=options.reason,
        for_s=options.for_s,
        force=options.force,
        dry_run=options.dry_run,
        local=options.local,
    )
    say(options, people.order_document(done), order_text(done))
    return OK


def _take_back(options: argparse.Namespace, actions: tuple[str, ...]) -> int:
    from gtm.app import people
    from gtm.app.people_text import order_text

    done = people.take_back(
        options.folder,
        subject=options.subject,
        actions=actions,
        owner=options.by or owner(),
        force=options.force,
        dry_run=options.dry_run,
        local=options.local,
    )
    say(options, people.order_document(done), order_text(done))
    return OK


def run_overrides(options: argparse.Namespace) -> int:
    """List orders and their audit."""
    from gtm.app import people
    from gtm.app.people_text import listing_text

    listed = people.listing(options.folder, limit=options.limit, local=options.local)
    say(options, people.listing_document(listed), listing_text(listed))
    return OK
