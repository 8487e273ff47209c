"""`gtm`: parses the command line, runs one command, and turns what went wrong into one line and an exit code."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from gtm import __version__
from gtm.cli import announce, balance, deployment, fib, geodata, orders, push, rtt, seeing, serving
from gtm.cli.command import PROBLEM, REFUSED, USAGE, Parser, UsageError, add_folder, add_json
from gtm.model.errors import AskedError, ConfigError, ConfigErrors, GtmError, Refused

INTERRUPTED, BROKEN_PIPE = 130, 141  # 128 + the signal's number, as shells have it

ABOUT = """\
gtm decides which region, and which load balancer in it, each client reaches, and answers DNS accordingly.
"""

EXAMPLES = """\
to begin:
  gtm demo                       a working deployment with four regions on this machine
  gtm init mine                  a deployment of your own to start from
  gtm check -C mine              every error, with file, line and what is allowed
  gtm serve -C mine              serve it

to see and to steer:
  gtm status                     regions, instances, workers, orders in force
  gtm explain www.lb.example.com --from 198.51.100.9
  gtm drain region/us-east --reason "kernel update" --for 1h

exit codes: 0 ok, 1 a problem was found, 2 usage, 3 refused by a guard.
`gtm COMMAND --help` has examples of each; docs/cli.md has the JSON.
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line. Building it imports no part of gtm.app."""
    parser = Parser(
        prog="gtm",
        description=ABOUT,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"gtm {__version__}")
    add_json(parser, default=False)
    add_folder(parser, default=Path())
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    for group in (deployment, serving, seeing, orders, geodata, rtt, push, announce, fib, balance):
        group.add_commands(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 ok, 1 problem found, 2 usage, 3 refused."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    in_json = "--json" in arguments
    try:
        options = build_parser().parse_args(arguments)
        code: int = options.run(options)
        sys.stdout.flush()
    except SystemExit as stop:  # --help and --version
        return stop.code if isinstance(stop.code, int) else USAGE
    except UsageError as error:
        return _failed(error, USAGE, in_json=in_json, before=error.usage)
    except AskedError as error:
        return _failed(error, USAGE, in_json=in_json)
    except Refused as error:
        return _failed(error, REFUSED, in_json=in_json)
    except GtmError as error:
        return _failed(error, PROBLEM, in_json=in_json)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # What could not be written must not be tried again when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    return code


def _failed(error: Exception, code: int, *, in_json: bool, before: str = "") -> int:
    """Say what went wrong: for people on standard error, and as the one JSON document where that was asked for."""
    if in_json:
        print(json.dumps({"error": error_document(error, code)}, indent=2, ensure_ascii=False))
    lines = str(error).splitlines() or [type(error).__name__]
    print(before + "\n".join(f"gtm: {line}" for line in lines), file=sys.stderr)
    return code


def error_document(error: Exception, code: int) -> dict[str, object]:
    """An error as JSON: always `kind`, `message` and `exit_code`, and what its kind adds."""
    document: dict[str, object] = {"kind": _kind(error), "message": str(error), "exit_code": code}
    match error:
        case AskedError():
            document |= {"argument": error.argument, "known": list(error.known)}
        case Refused():
            document |= {"guard": error.guard, "reason": error.reason}
        case ConfigErrors():
            document["errors"] = [config_document(one) for one in error.errors]
        case ConfigError():
            document["errors"] = [config_document(error)]
    return document


def _kind(error: Exception) -> str:
    kinds = {
        UsageError: "usage",
        AskedError: "asked",
        Refused: "refused",
        ConfigError: "config",
        ConfigErrors: "config",
    }
    return kinds.get(type(error), "problem")


def config_document(error: ConfigError) -> dict[str, object]:
    """One fault of a deployment file as JSON."""
    return {
        "file": error.file,
        "line": error.line,
        "key": error.key,
        "message": error.message,
        "allowed": error.allowed,
    }


if __name__ == "__main__":
    raise SystemExit(main())
