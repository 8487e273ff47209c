"""What every command has: its parser with `--json` and, where it needs a deployment, `-C DIR`; and how it prints."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

OK, PROBLEM, USAGE, REFUSED = 0, 1, 2, 3

Run = Callable[[argparse.Namespace], int]


class UsageError(Exception):
    """A command line that cannot be parsed: the parser's usage line and what is wrong."""

    def __init__(self, usage: str, message: str) -> None:
        super().__init__(message)
        self.usage = usage


class Parser(argparse.ArgumentParser):
    """A parser that raises UsageError instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        """Raises UsageError."""
        raise UsageError(self.format_usage(), message)


if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[Parser]
else:
    Commands = argparse._SubParsersAction  # not subscriptable when running


def add_command(
    commands: Commands, name: str, run: Run, *, about: str, examples: str, deployment: bool = True
) -> argparse.ArgumentParser:
    """A command's parser: `about` is its help, `examples` stand at its end; `run` gets the parsed options."""
    parser = commands.add_parser(
        name,
        help=about[0].lower() + about[1:].partition(".")[0],
        description=about,
        epilog=f"examples:\n{_indented(examples)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    # SUPPRESS: what was given before the command's name must not be overwritten by the default after it.
    add_json(parser, default=argparse.SUPPRESS)
    if deployment:
        add_folder(parser, default=argparse.SUPPRESS)
    return parser


def add_json(parser: argparse.ArgumentParser, *, default: object) -> None:
    """The option that makes the output one JSON document."""
    parser.add_argument(
        "--json", action="store_true", default=default, help="print one JSON document with the same facts"
    )


def add_folder(parser: argparse.ArgumentParser, *, default: object) -> None:
    """The option that names the deployment."""
    parser.add_argument(
        "-C", dest="folder", metavar="DIR", type=Path, default=default, help="the deployment folder (default: this one)"
    )


def _indented(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.strip().splitlines())


def say(options: argparse.Namespace, document: Mapping[str, object], text: str) -> None:
    """Print one answer: the document with `--json`, else the text."""
    print(json.dumps(document, indent=2, ensure_ascii=False) if options.json else text, flush=True)


def on_terminal() -> bool:
    """Whether people read standard output as it comes, so that colours make sense (https://no-color.org)."""
    import os

    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
