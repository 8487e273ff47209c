"""`gtm fib`: resilient next-hop groups on a router."""

from __future__ import annotations

import argparse
from ipaddress import ip_network

from gtm.cli.command import OK, Commands, Parser, add_command, say
from gtm.model import duration
from gtm.model.address import IPNetwork
from gtm.model.fib import METRIC, FibSettings, Resilience

BUCKETS_MAX = 65535


def add_commands(commands: Commands) -> None:
    """Add the commands of this group."""
    group: Parser = commands.add_parser(
        "fib",
        help="keep flows with their instance when another one leaves (on a router)",
        description=(
            "An ordinary multipath route moves a part of all flows when one of its next hops leaves. `gtm fib` runs on "
            "a router beside BIRD or FRR and puts a route with a resilient next-hop group beside each of theirs: only "
            "the flows of the next hop that left are moved."
        ),
        epilog="examples:\n  gtm fib plan --prefix 203.0.113.0/24\n  gtm fib run --prefix 203.0.113.0/24",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = group.add_subparsers(metavar="ACTION", required=True, parser_class=Parser)
    show = add_command(
        actions,
        "show",
        run_show,
        about="Show the routing daemon's routes within the prefixes, and the groups they have.",
        examples="gtm fib show --prefix 203.0.113.0/24",
    )
    plan = add_command(
        actions,
        "plan",
        run_plan,
        about="Say what `run` would change now, and change nothing.",
        examples="gtm fib plan -C /etc/gtm        the prefixes of bgp/anycast.yaml",
    )
    run = add_command(
        actions,
        "run",
        run_run,
        about="Keep a resilient group beside each route of the daemon, until told to end. Takes CAP_NET_ADMIN.",
        examples="""
gtm fib run --prefix 203.0.113.0/24 --prefix 2001:db8:61::/48
gtm fib run --prefix 203.0.113.0/24 --idle 2m      a flow may pause for two minutes
gtm fib run --once --prefix 203.0.113.0/24         bring all in step, and end

Our routes have a better metric than the daemon's, which stay. Ending it leaves the groups as they are: packets go on,
but the leaving of a next hop is no longer followed until it runs again, unless its link goes down. `gtm fib clear`
takes them away. FRR 8.4 needs `no zebra nexthop kernel enable`.
""",
    )
    run.add_argument("--once", action="store_true", help="bring all in step and end")
    clear = add_command(
        actions,
        "clear",
        run_clear,
        about="Remove our routes and groups: packets go by the daemon's routes again.",
        examples="gtm fib clear --prefix 203.0.113.0/24",
    )
    for parser in (show, plan, run, clear):
        _add_settings(parser)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--prefix",
        dest="prefixes",
        metavar="PREFIX",
        type=_prefix,
        action="append",
        help="routes within it; may be repeated (default: the prefixes of bgp/anycast.yaml)",
    )
    parser.add_argument(
        "--from",
        dest="daemons",
        metavar="NAME",
        choices=("bird", "bgp", "zebra"),
        action="append",
        help="whose routes: bird, bgp (FRR), zebra; may be repeated (default: all three)",
    )
    parser.add_argument(
        "--metric",
        metavar="N",
        type=_metric,
        default=METRIC,
        help="of our routes; the daemon's is larger (default: 10)",
    )
    parser.add_argument(
        "--buckets",
        metavar="N",
        type=_buckets,
        default=Resilience().buckets,
        help="of a group, 1 to 65535: many for each next hop (default: 128)",
    )
    parser.add_argument(
        "--idle",
        dest="idle_s",
        metavar="TIME",
        type=_duration,
        default=round(Resilience().idle_s),
        help="a bucket that was idle for so long may move: longer than a live flow pauses (default: 1m)",
    )
    parser.add_argument(
        "--unbalanced",
        dest="unbalanced_s",
        metavar="TIME",
        type=_duration,
        default=0,
        help="after so long busy buckets move too (default: never)",
    )


def run_show(options: argparse.Namespace) -> int:
    """Print the routes."""
    from gtm.app import fib

    shown = fib.show(_settings(options))
    say(options, fib.show_document(shown), fib.show_text(shown))
    return OK


def run_plan(options: argparse.Namespace) -> int:
    """Print what would change."""
    from gtm.app import fib

    wanted = [fib.said(change) for change in fib.planned(_settings(options))]
    say(options, {"changes": wanted}, "\n".join(wanted) or "nothing to change")
    return OK


def run_run(options: argparse.Namespace) -> int:
    """Keep in step."""
    from gtm.app import fib, logs

    logs.log_to_stderr(in_json=options.json)
    fib.run(_settings(options), once=options.once)
    return OK


def run_clear(options: argparse.Namespace) -> int:
    """Remove what is ours."""
    from gtm.app import fib

    made = [fib.said(change) for change in fib.clear(_settings(options))]
    say(options, {"changes": made}, "\n".join(made) or "nothing of ours is there")
    return OK


def _settings(options: argparse.Namespace) -> FibSettings:
    from gtm.app import fib

    return fib.settings_of(
        options.folder,
        prefixes=tuple(options.prefixes or ()),
        daemons=tuple(options.daemons or ()),
        metric=options.metric,
        resilience=Resilience(
            buckets=options.buckets, idle_s=float(options.idle_s), unbalanced_s=float(options.unbalanced_s)
        ),
    )


def _prefix(text: str) -> IPNetwork:
    try:
        return ip_network(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error} (allowed: a prefix such as 203.0.113.0/24)") from error


def _metric(text: str) -> int:
    return _number(text, 1, 2**32 - 1)


def _buckets(text: str) -> int:
    return _number(text, 1, BUCKETS_MAX)


def _number(text: str, least: int, most: int) -> int:
    if text.isascii() and text.isdigit() and len(text) < 11 and least <= int(text) <= most:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of this kind (allowed: {least} to {most})")


def _duration(text: str) -> int:
    if text == "0":
        return 0
    try:
        return duration.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
