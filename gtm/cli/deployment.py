"""`gtm init`, `gtm check`, `gtm version`: deployment folders, and which gtm this is."""

from __future__ import annotations

import argparse
import platform
from pathlib import Path

from gtm import __version__
from gtm.cli import checks
from gtm.cli.command import OK, PROBLEM, Commands, add_command, say


def add_commands(commands: Commands) -> None:
    """Add the commands of this group."""
    init = add_command(
        commands,
        "init",
        run_init,
        about="Write a deployment to start from. Commented files that check out and can be served as they are.",
        examples="""
gtm init mine
gtm check -C mine && gtm serve -C mine

Nothing that exists is overwritten.
""",
        deployment=False,
    )
    init.add_argument("folder", metavar="DIR", type=Path, help="the folder to write; made if need be")
    check = add_command(
        commands,
        "check",
        run_check,
        about="Check a deployment in full. Files, zones, geo databases and overrides, and the tests under `expect:`.",
        examples="""
gtm check                       the deployment in this folder
gtm check -C mine --json | jq -r '.errors[] | "\\(.file):\\(.line): \\(.message)"'

All errors are listed at once, each with file, line, key and what is allowed. Exit code 1 if there is any.
`gtm check log` shows how verdicts changed, `gtm check tune` tries other settings on what was seen.
""",
    )
    checks.add_actions(check)
    add_command(
        commands,
        "version",
        run_version,
        about="Say which gtm this is.",
        examples="gtm version --json",
        deployment=False,
    )


def run_init(options: argparse.Namespace) -> int:
    """Write a new deployment."""
    from gtm.app import init

    written = init.init(options.folder)
    say(options, init.init_document(written), init.init_text(written))
    return OK


def run_check(options: argparse.Namespace) -> int:
    """Check a deployment; 1 where anything is wrong."""
    from gtm.app import check
    from gtm.app.check_text import check_text

    report = check.check(options.folder)
    say(options, check.check_document(report), check_text(report))
    return OK if report.ok else PROBLEM


def run_version(options: argparse.Namespace) -> int:
    """Print the version."""
    python = platform.python_version()
    say(options, {"version": __version__, "python": python}, f"gtm {__version__} (Python {python})")
    return OK
