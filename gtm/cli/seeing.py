"""`gtm status` and `gtm explain`: what is, and why."""

from __future__ import annotations

import argparse

from gtm.cli.command import OK, PROBLEM, Commands, add_command, on_terminal, say

PREFIX = "prefix"  # in place of a name; with --from it is one


def add_commands(commands: Commands) -> None:
    """Add the commands of this group."""
    add_command(
        commands,
        "status",
        run_status,
        about="Show the node. Processes, regions, pools and instances with their health, orders in force, geodata.",
        examples="""
gtm status                      of the deployment in this folder
gtm status -C mine --json | jq '.pools[].regions[] | select(.available | not)'

Exit code 1 means that `problems`, at the end, is not empty.
""",
    )
    explain = add_command(
        commands,
        "explain",
        run_explain,
        about="Say why a client gets its answer. Every rule tried, every region and instance considered.",
        examples="""
gtm explain www.lb.example.com --from 198.51.100.9
gtm explain www.lb.example.com AAAA --from 2001:db8::/32
gtm explain www.lb.example.com --from BR                   a country
gtm explain www.lb.example.com --from US-CA                a state
gtm explain www.lb.example.com --from JP --down ap-southeast --down us-west
gtm explain www.lb.example.com --from JP --at-revision 17             why a past answer was given
gtm explain www.lb.example.com --from JP --at 2026-01-31T14:05:00Z    the same, by its time
gtm explain prefix 203.0.113.0/24                          why an anycast prefix is announced as it is
gtm explain prefix 2001:db8:61::1                          the same, by an address in it

Without a node running in the folder, the files are read and every instance counts as not yet judged.
""",
    )
    explain.add_argument("name", metavar="NAME", help="the name that is asked for; or the word `prefix`")
    explain.add_argument(
        "type", metavar="TYPE", nargs="?", default="A", help="the record type (default: A); or a prefix"
    )
    explain.add_argument(
        "--from",
        dest="client",
        metavar="CLIENT",
        help="who asks (needed but with `prefix`): an address, a network, a country (JP) or a subdivision (US-CA)",
    )
    explain.add_argument(
        "--down", metavar="REGION", action="append", default=[], help="as though this region were down; may be repeated"
    )
    explain.set_defaults(usage_error=explain.error)
    when = explain.add_mutually_exclusive_group()
    when.add_argument(
        "--at-revision", metavar="N", type=int, help="the answer when revision N began, from the node's journal"
    )
    when.add_argument("--at", metavar="TIME", help="the answer at a moment in the past, such as 2026-01-31T14:05:00Z")


def run_status(options: argparse.Namespace) -> int:
    """Print the node's status; 1 where something should be looked at."""
    from gtm.app import report
    from gtm.app.columns import colour, plain
    from gtm.app.status_text import status_text

    status = report.status_of_folder(options.folder)
    say(options, report.status_document(status), status_text(status, paint=colour if on_terminal() else plain))
    return PROBLEM if status.problems else OK


def run_explain(options: argparse.Namespace) -> int:
    """Print the explanation of one answer, or of a prefix."""
    from gtm.app import explain
    from gtm.app.explain_text import explain_text
    from gtm.app.question import Question, moment_of

    if options.name == PREFIX and options.client is None:
        return _run_prefix(options)
    if options.client is None:
        options.usage_error("the following arguments are required: --from")
    question = Question(name=options.name, rtype=options.type, client=options.client, down=tuple(options.down))
    if options.at is None and options.at_revision is None:
        explained = explain.explain_folder(options.folder, question)
    else:
        at_s = None if options.at is None else moment_of(options.at)
        explained = explain.explain_past(options.folder, question, revision=options.at_revision, at_s=at_s)
    say(options, explain.explain_document(explained), explain_text(explained))
    return OK


def _run_prefix(options: argparse.Namespace) -> int:
    """Print why a prefix is announced as it is."""
    from gtm.app.explain_prefix import explain_prefix, prefix_document
    from gtm.app.explain_prefix_text import prefix_text

    explained = explain_prefix(options.folder, options.type)
    say(options, prefix_document(explained), prefix_text(explained))
    return OK
