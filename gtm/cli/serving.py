"""`gtm serve` and `gtm demo`: processes that stay."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from gtm.app.endpoint import parse_endpoint
from gtm.cli.command import OK, Commands, add_command

if TYPE_CHECKING:
    from gtm.model.node import Node


def add_commands(commands: Commands) -> None:
    """Add the commands of this group."""
    serve = add_command(
        commands,
        "serve",
        run_serve,
        about="Serve a deployment. Controller, one DNS worker per core, and API, until SIGTERM or Ctrl-C.",
        examples="""
gtm serve                                      the deployment in this folder
gtm serve -C mine --listen 192.0.2.53:53 --listen '[2001:db8::53]:53'
kill -HUP PID                                  reload now; a changed file does it by itself

A folder that holds nothing but zones/*.zone is served as plain authoritative zones.
With --json, logs are JSON lines on standard error, and one JSON document on standard output says that it serves.
""",
    )
    serve.add_argument(
        "--listen",
        metavar="ADDR:PORT",
        type=parse_endpoint,
        action="append",
        default=[],
        help="answer here, over UDP and TCP, instead of where gtm.yaml says; may be repeated",
    )
    add_command(
        commands,
        "demo",
        run_demo,
        about="Run the reference deployment. Stand-ins on loopback addresses are its load balancers in four regions.",
        examples="""
gtm demo                        then follow what it prints; Ctrl-C stops everything
gtm demo -C copy                the same with a deployment of yours whose instances are loopback addresses
""",
    )


def run_serve(options: argparse.Namespace) -> int:
    """Serve until told to stop."""
    from gtm.app.logs import log_to_stderr
    from gtm.app.loop import run
    from gtm.app.serve import serve

    log_to_stderr(in_json=options.json)

    def ready(node: Node) -> None:
        listen = [str(endpoint) for endpoint in options.listen or node.listen]
        document = {
            "serving": {"node": node.name, "listen": listen, "api": None if node.api is None else str(node.api)}
        }
        api = "" if node.api is None else f", API on http://{node.api}/"
        print(
            json.dumps(document) if options.json else f"{node.name} serves DNS on {', '.join(listen)}{api}", flush=True
        )

    run(serve(options.folder, listen=options.listen, ready=ready))
    return OK


def run_demo(options: argparse.Namespace) -> int:
    """Run the demo until told to stop."""
    from gtm.app import demo

    given = options.folder != Path()
    return demo.run(options.folder if given else None, in_json=options.json)
