"""`gtm announce`: anycast, by way of ExaBGP."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from gtm.cli.command import OK, Commands, Parser, add_command, say

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
  exabgp /etc/exabgp/exabgp.conf

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
    actions = group.add_subparsers(metavar="ACTION", required=True, parser_class=Parser)
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


ACTIONS: tuple[Callable[[Commands], None], ...] = (_add_render,)


def run_render(options: argparse.Namespace) -> int:
    """Render a configuration."""
    from gtm.app.announce import render

    rendered = render.render(options.folder, node=options.node, bfd=options.bfd, out=options.out, run=options.command)
    say(options, render.rendered_document(rendered), render.rendered_text(rendered))
    return OK
