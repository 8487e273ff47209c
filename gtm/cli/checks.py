"""`gtm check tune` and `gtm check log`: what was seen of checks, and what other settings would have made of it."""

from __future__ import annotations

import argparse
from pathlib import Path

from gtm.cli.command import OK, Parser, add_command, say
from gtm.model import duration


def add_actions(check: argparse.ArgumentParser) -> None:
    """Add the sub-commands of `gtm check`, which stays a command by itself."""
    actions = check.add_subparsers(metavar="ACTION", parser_class=Parser, title="the past of checks")
    _add_tune(add_command(
        actions,
        "tune",
        run_tune,
        about=(
            "Try other settings on what was seen. How often would interval, fall, rise and quorum have failed over, "
            "how often wrongly, and how soon?"
        ),
        examples="""
gtm check tune                                   every check, the last 7 days
gtm check tune web --since 30d --fall 2,3,5 --rise 1,2
gtm check tune web --interval 5s,10s,30s         intervals shorter than the recorded one are extrapolated
gtm check tune web --with eu.jsonl --with ap.jsonl --quorum 34%,51%,67%
gtm check tune web --outage 2m                   who comes back within 2 minutes should not be failed over

Results are rebuilt from their runs and folded by the functions that decide now.
FALSE are failovers behind which the results were bad for less than --outage, or not at enough nodes at once by the
quorum in force; MISSED are longer outages that never made a target DOWN. FOUND IN is the median time from the
first bad result to DOWN. The setting in force is first (now).
""",
    ))  # fmt: skip
    log = add_command(
        actions,
        "log",
        run_log,
        about="Show how verdicts changed, with the evidence. Kept for 30 days.",
        examples="""
gtm check log                                    the last day
gtm check log web@192.0.2.11 --since 7d --runs   and the results, as runs of equal ones
gtm check log --json | jq '.transitions[] | select(.now == "DOWN")'
gtm check log --export eu.jsonl                  for `gtm check tune --with` on another node

RESULTS are the latest ones, the newest last: . is not bad, X is bad.
""",
    )
    log.add_argument("subject", metavar="CHECK", nargs="?", help="a check, or CHECK@ADDRESS (default: all)")
    log.add_argument(
        "--since",
        dest="since_s",
        metavar="TIME",
        type=_duration,
        help="look this far back (default: 24h; --export: all)",
    )
    log.add_argument("--runs", action="store_true", help="show the results too, as runs of equal ones")
    log.add_argument(
        "--vantages", action="store_true", help="show what this node alone made of it too, before others agreed"
    )
    log.add_argument("--export", metavar="FILE", type=Path, help="write everything as JSON lines, show nothing")


def _add_tune(tune: argparse.ArgumentParser) -> None:
    tune.add_argument("check", metavar="CHECK", nargs="?", help="a check of the deployment (default: all)")
    tune.add_argument(
        "--since",
        dest="since_s",
        metavar="TIME",
        type=_duration,
        default=7 * 86400,
        help="look this far back (default: 7d)",
    )
    tune.add_argument("--interval", metavar="TIMES", help="intervals to try (default: the one in force)")
    tune.add_argument("--fall", metavar="COUNTS", help="values of fall to try (default: 2,3,5)")
    tune.add_argument("--rise", metavar="COUNTS", help="values of rise to try (default: 1,2)")
    tune.add_argument("--quorum", metavar="SHARES", help="quorums to try (default: the one in force)")
    tune.add_argument(
        "--outage", dest="outage_s", metavar="TIME", type=_duration, default=30,
        help="what is shorter should not be failed over (default: 30s)",
    )  # fmt: skip
    tune.add_argument(
        "--with", dest="files", metavar="FILE", type=Path, action="append", default=[],
        help="what another node saw, by `gtm check log --export`; may be repeated",
    )  # fmt: skip


def run_tune(options: argparse.Namespace) -> int:
    """Print what settings would have done."""
    from gtm.app import tune
    from gtm.app.tune_text import tune_text

    wanted = tune.Wanted(
        check=options.check,
        since_s=options.since_s,
        outage_s=options.outage_s,
        interval=options.interval,
        fall=options.fall,
        rise=options.rise,
        quorum=options.quorum,
        files=tuple(options.files),
    )
    tuned = tune.tune(options.folder, wanted)
    say(options, tune.tune_document(tuned), tune_text(tuned))
    return OK


def run_log(options: argparse.Namespace) -> int:
    """Print, or write to a file, what was written down."""
    from gtm.app import check_log

    logged = check_log.log(
        options.folder,
        options.subject,
        since_s=options.since_s,
        runs=options.runs,
        vantages=options.vantages,
        export=options.export,
    )
    say(options, check_log.log_document(logged), check_log.log_text(logged))
    return OK


def _duration(text: str) -> int:
    try:
        return duration.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
