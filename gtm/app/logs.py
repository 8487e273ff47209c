"""Where logs go and how they look: standard error; lines for people, or JSON lines."""

from __future__ import annotations

import io
import sys
from typing import TextIO, cast

import structlog


def log_to_stderr(*, in_json: bool, file: io.TextIOBase | None = None) -> None:
    """Configure structlog for this process. Standard output stays free for answers.

    `file` takes the lines instead of standard error.
    """
    renderer: structlog.typing.Processor = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    if in_json:
        renderer = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr if file is None else cast(TextIO, file)),
        cache_logger_on_first_use=True,
    )
