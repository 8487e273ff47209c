"""`gtm balance`: the load balancer of an instance."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from gtm.cli.command import OK, Commands, Parser, add_command, say

ABOUT = """\
Balance the services of dataplane/services.yaml among their backends, in the kernel's fast path (XDP).

A node is an instance if dataplane/services.yaml has one of its name (`node` in gtm.yaml).
"""

EXAMPLES = """\
from nothing to a balancer:
  gtm check                                        what dataplane/services.yaml says is checked with the rest
  gtm balance show --node lb1-us-east              what that comes to for an instance

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


def add_node(parser: argparse.ArgumentParser) -> None:
    """The option that names an instance."""
    parser.add_argument("--node", metavar="NAME", help="an instance of dataplane/services.yaml (default: this node)")


# Whoever adds an action adds it here.
ACTIONS: tuple[Callable[[Commands], None], ...] = (_add_show,)


def run_show(options: argparse.Namespace) -> int:
    """Show an instance."""
    from gtm.app.balance import show

    shown = show.show(options.folder, node=options.node)
    say(options, show.shown_document(shown), show.shown_text(shown))
    return OK
