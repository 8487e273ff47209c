"""`gtm announce`: anycast, by way of ExaBGP."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from gtm.cli.command import OK, PROBLEM, Commands, Parser, add_command, add_folder, add_json, say

ABOUT = """\
Announce the prefixes of bgp/anycast.yaml by way of ExaBGP, and withdraw them when they must not be announced.

A node announces if bgp/anycast.yaml has a speaker of its name (`node` in gtm.yaml). ExaBGP speaks BGP; it starts gtm as
its process, and gtm tells it what to announce: by the checks of this machine's own services, by what the controller
(`gtm serve` on this machine) thinks of the region, and by what people ordered (`gtm drain`).
"""

EXAMPLES = """\
from nothing to an announcement:
  gtm check                                                    what bgp/anycast.yaml says is checked with the rest
  gtm announce render --out /etc/exabgp/exabgp.conf            the neighbours, and gtm as the process
  gtm announce render --bfd frr --out /etc/frr/gtm-bfd.conf    BFD beside ExaBGP, which speaks none
  gtm announce check                                           would ExaBGP take it, and could gtm work under it?
  exabgp /etc/exabgp/exabgp.conf

coming from ExaBGP's own healthcheck.py:
  gtm announce convert -- --cmd "curl -sf http://127.0.0.1/ok" --ip 203.0.113.1/32 --rise 2 --withdraw-on-down

docs/configuration.md lists the keys of bgp/anycast.yaml.
"""


def add_commands(commands: Commands) -> None:
    """Add the commands of this group; each action has its function in ACTIONS."""
    group: Parser = commands.add_parser(
        "announce",
        help="announce anycast prefixes by way of ExaBGP",
        description=ABOUT,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    group.set_defaults(run=run_announcer)
    add_json(group, default=argparse.SUPPRESS)
    add_folder(group, default=argparse.SUPPRESS)
    actions = group.add_subparsers(metavar="ACTION", parser_class=Parser)
    for add in ACTIONS:
        add(actions)


def _add_render(actions: Commands) -> None:
    render = add_command(
        actions,
        "render",
        run_render,
        about="Write ExaBGP's configuration of a speaker, or with --bfd that of BFD beside it.",
        examples="""
gtm announce render                                           this node's, to look at
gtm announce render --out /etc/exabgp/exabgp.conf             with the keys of TCP MD5, mode 0600 if there are any
gtm announce render --node edge1-us-east --run "/usr/bin/gtm announce run -C /etc/gtm"
gtm announce render --bfd bird --out /etc/bird/bfd.conf

Routes are not in it: gtm, which ExaBGP starts, announces and withdraws them.
""",
    )
    render.add_argument("--node", metavar="NAME", help="a speaker of bgp/anycast.yaml (default: this node)")
    render.add_argument(
        "--out", metavar="FILE", type=Path, help="write it there (default: standard output, without keys)"
    )
    what = render.add_mutually_exclusive_group()
    what.add_argument("--bfd", choices=("frr", "bird"), help="BFD's configuration, for FRR's bfdd or for BIRD 2")
    what.add_argument(
        "--run",
        dest="command",
        metavar="COMMAND",
        help="what ExaBGP is to start (default: this gtm's `announce run` on this folder)",
    )


def _add_check(actions: Commands) -> None:
    check = add_command(
        actions,
        "check",
        run_check,
        about="Check a speaker. What is declared, what ExaBGP says of it, whether gtm could work under that ExaBGP.",
        examples="""
gtm announce check                                            this node
gtm announce check --conf /etc/exabgp/exabgp.conf             and whether ExaBGP runs with what would be rendered now
gtm announce check --node edge1-us-east --exabgp /opt/exabgp/bin/exabgp

Started as root, ExaBGP becomes `nobody` before it starts gtm, unless exabgp.daemon.user says otherwise: what gtm needs
must be within that account's reach. Run this as ExaBGP is run: same account, same environment.
Exit code 1 if there is an error; warnings may be meant.
""",
    )
    check.add_argument("--node", metavar="NAME", help="a speaker of bgp/anycast.yaml (default: this node)")
    check.add_argument("--conf", metavar="FILE", type=Path, help="the configuration that ExaBGP runs with")
    check.add_argument("--exabgp", metavar="PROGRAM", help="the ExaBGP to ask (default: beside gtm, or on PATH)")


def _add_convert(actions: Commands) -> None:
    convert = add_command(
        actions,
        "convert",
        run_convert,
        about="Turn the options of ExaBGP's own healthcheck.py into a service and its check.",
        examples="""
gtm announce convert -- --cmd "curl -sf http://127.0.0.1/ok" --ip 203.0.113.1/32 --rise 2 --fall 2 --withdraw-on-down
gtm announce convert -- /etc/exabgp/healthcheck.conf
gtm announce convert -- python3 -m exabgp healthcheck --config /etc/exabgp/healthcheck.conf

What stands after -- is what healthcheck.py is given: its options, or its configuration file (`key = value`), or the
whole line behind `run` in exabgp.conf. Printed are what to put into probes/checks.yaml and bgp/anycast.yaml, and which
options have no equivalent, and why. Nothing is written.
""",
        deployment=False,
    )
    convert.add_argument("arguments", metavar="OPTION", nargs="+", help="what healthcheck.py is given, after --")


def _add_plan(actions: Commands) -> None:
    plan = add_command(
        actions,
        "plan",
        run_plan,
        about="Show what would be announced. By whom, how, each rung of a drain with its time, what the guard refuses.",
        examples="""
gtm announce plan                                             as it is while all is well
gtm announce plan --drain region/us-east                      each rung: when, and what the routes look like on it
gtm announce plan --drain speaker/edge1-us-east --json
gtm announce plan --down web --node edge1-us-east             what becomes of it when its checks are DOWN there

Nothing is changed, and no node is asked: this is what the files come to, by the functions that decide.
Exit code 1 if something may not be announced at all.
""",
    )
    plan.add_argument("--node", metavar="NAME", help="only this speaker (default: all that are concerned)")
    what = plan.add_mutually_exclusive_group()
    what.add_argument("--drain", metavar="SUBJECT", help="as though that were drained, as by `gtm drain`")
    what.add_argument("--down", metavar="SERVICE", help="as though its checks were DOWN at one speaker")


def _add_run(actions: Commands) -> None:
    add_command(
        actions,
        "run",
        run_announcer,
        about="Announce, as ExaBGP's process. ExaBGP starts this; people do not.",
        examples="""
process gtm { run /usr/bin/gtm announce run -C /etc/gtm; encoder json; }     in exabgp.conf

`gtm announce` alone is the same. It talks to ExaBGP on its standard input and output, and logs to standard error.
""",
    )


# `gtm announce` alone is ExaBGP's process; whoever adds an action adds it here.
ACTIONS: tuple[Callable[[Commands], None], ...] = (_add_render, _add_check, _add_convert, _add_plan, _add_run)


def run_announcer(options: argparse.Namespace) -> int:
    """Be ExaBGP's process until it ends."""
    from gtm.app.announce import run

    return run.run(options.folder)


def run_render(options: argparse.Namespace) -> int:
    """Render a configuration."""
    from gtm.app.announce import render

    rendered = render.render(options.folder, node=options.node, bfd=options.bfd, out=options.out, run=options.command)
    say(options, render.rendered_document(rendered), render.rendered_text(rendered))
    return OK


def run_check(options: argparse.Namespace) -> int:
    """Check a speaker."""
    from gtm.app.announce import check

    inspected = check.check(options.folder, node=options.node, conf=options.conf, program=options.exabgp)
    say(options, check.inspected_document(inspected), check.inspected_text(inspected))
    return OK if inspected.ok else PROBLEM


def run_convert(options: argparse.Namespace) -> int:
    """Print the equivalent of healthcheck.py's options."""
    from gtm.app.announce import convert

    converted = convert.convert(options.arguments)
    say(options, convert.converted_document(converted), convert.converted_text(converted))
    return OK


def run_plan(options: argparse.Namespace) -> int:
    """Print a dry run."""
    from gtm.app.announce import plan
    from gtm.app.announce.plan_text import plan_text

    planned = plan.plan(options.folder, node=options.node, drain=options.drain, down=options.down)
    say(options, plan.plan_document(planned), plan_text(planned))
    return PROBLEM if any(one.refused for one in planned.announcements) else OK
