"""`gtm geodata`: the databases of who is where."""

from __future__ import annotations

import argparse
from pathlib import Path

from gtm.cli.command import OK, Commands, Parser, add_command, say


def add_commands(commands: Commands) -> None:
    """Add the commands of this group."""
    group: Parser = commands.add_parser(
        "geodata",
        help="look addresses up; check databases and swap them in",
        description="Look addresses up; check databases and swap them in while serving.",
        epilog="examples:\n  gtm geodata show 198.51.100.9\n  gtm geodata update /tmp/GeoLite2-City.mmdb",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = group.add_subparsers(metavar="ACTION", required=True, parser_class=Parser)
    update = add_command(
        actions,
        "update",
        run_update,
        about="Check a database and swap it in. A running node takes it up by itself; answers go on meanwhile.",
        examples="""
gtm geodata update /tmp/GeoLite2-City.mmdb
gtm geodata update new.mmdb --as country.mmdb     which of several databases it replaces, or what a new one is called

What it replaces stays beside it as NAME.previous.
""",
    )
    update.add_argument("file", metavar="FILE", type=Path, help="an MMDB file")
    update.add_argument("--as", dest="name", metavar="NAME", help="the file of the deployment that it replaces")
    show = add_command(
        actions,
        "show",
        run_show,
        about="Say where an address is. Its place, where that is known from, and its class and ECS scope.",
        examples="gtm geodata show 198.51.100.9\ngtm geodata show 2001:db8::/48",
    )
    show.add_argument("address", metavar="ADDR", help="an address, a network, a country or a subdivision")
    check = add_command(
        actions,
        "check",
        run_check,
        about="Check a database without using it. Reads all of it, and says what is in it and how old it is.",
        examples="gtm geodata check /tmp/GeoLite2-City.mmdb",
        deployment=False,
    )
    check.add_argument("file", metavar="FILE", type=Path, help="an MMDB file")


def run_update(options: argparse.Namespace) -> int:
    """Check a database and put it in place."""
    from gtm.app import geodata

    updated = geodata.update(options.folder, options.file, name=options.name)
    say(options, geodata.document_of(updated), geodata.updated_text(updated))
    return OK


def run_show(options: argparse.Namespace) -> int:
    """Print where an address is."""
    from gtm.app import geodata

    shown = geodata.show(options.folder, options.address)
    say(options, geodata.document_of(shown), geodata.shown_text(shown))
    return OK


def run_check(options: argparse.Namespace) -> int:
    """Print what is in a database."""
    from gtm.app import geodata

    checked = geodata.check(options.file)
    say(options, geodata.document_of(checked), geodata.checked_text(checked))
    return OK
