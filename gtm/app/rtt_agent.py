"""The agent on machines that clients connect to: round-trip times of their TCP connections, told to a gtm node.

It keeps nothing from one look to the next, and no more than NETWORKS_MAX networks within one.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from gtm.model.address import IPNetwork
from gtm.model.errors import AskedError, GtmError, PeerError
from gtm.observe.rtt.network import Width
from gtm.observe.rtt.sockdiag import Peer, peers

NETWORKS_MAX = 50_000
REPORTED_MAX = 1000  # networks in one request; some 60 KiB
PUSH_PATH = "/api/v1/push/rtt"
NODE_FORMS = "http://HOST:PORT or https://HOST:PORT"
ANSWER_S = 10.0
ANSWER_BYTES = 4096
COUNT_MAX = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The mean of the least round-trip times of `count` connections from one network."""

    prefix: str
    rtt_ms: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at the connections. `passed_over`: peers that were private, or one network too many."""

    region: str
    samples: tuple[Sample, ...]
    passed_over: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What an agent is to do: look at the connections to `ports` every `every_s` (None: once), and tell `to`.

    `to` is the address of a gtm node's API, a file, or None for standard output. Raises AskedError for what makes no
    sense.
    """

    region: str
    ports: tuple[int, ...]
    every_s: int | None = None
    to: str | None = None
    token_file: Path | None = None
    include_private: bool = False
    as_json: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if not self.region or not self.region.isprintable() or any(mark in self.region for mark in ',"# '):
            raise AskedError(f"{self.region!r} is not a region's name", argument="--region")
        if self.by_http and self.token_file is None:
            raise AskedError("a node takes reports from those who know its token only", argument="--token-file")
        if self.token_file is not None and not self.by_http:
            raise AskedError("nobody is shown it; --to names no http:// or https://", argument="--token-file")
        if self.by_http and not is_node(str(self.to)):
            raise AskedError(f"{self.to} is no node's address (allowed: {NODE_FORMS})", argument="--to")

    @property
    def by_http(self) -> bool:
        """Whether a node is told."""
        return self.to is not None and self.to.startswith(("http://", "https://"))


def is_node(url: str) -> bool:
    """Whether a URL is the root of a server."""
    try:
        split = urlsplit(url)
        named = bool(split.hostname) and split.port != 0
    except ValueError:  # half an IPv6 address, or a port that is none
        return False
    return named and not split.username and split.path in {"", "/"} and not split.query and not split.fragment


def run(errand: Errand) -> None:
    """Look and tell, once or until interrupted. Raises GtmError; where it goes on, what failed is a line on stderr."""
    if errand.every_s is None:
        tell(errand, look(errand, None))
        return
    stop = threading.Event()
    due_s = time.monotonic()
    looked_s: float | None = None
    while True:
        now_s = time.monotonic()
        within_s, looked_s = None if looked_s is None else now_s - looked_s, now_s
        try:
            tell(errand, look(errand, within_s))
        except GtmError as error:
            sys.stderr.write(f"gtm: {error}\n")
            sys.stderr.flush()
        due_s = max(due_s + errand.every_s, time.monotonic())
        stop.wait(due_s - time.monotonic())


def look(errand: Errand, within_s: float | None) -> Look:
    """The connections now, by network; within_s: only those that were heard of since. Raises GtmError."""
    found = (peer for port in errand.ports for peer in peers(port))
    return gather(errand.region, found, within_s=within_s, include_private=errand.include_private)


def gather(region: str, found: Iterable[Peer], *, within_s: float | None = None, include_private: bool = False) -> Look:
    """The mean for each network of what its connections took at the least."""
    width = Width()
    sums: dict[IPNetwork, tuple[float, int]] = {}
    passed_over = 0
    for peer in found:
        rtt_s = peer.info.least_s
        if rtt_s is None or (within_s is not None and peer.info.quiet_s > within_s):
            continue  # nothing new: it was told before
        network = width.network(peer.address)
        if (not include_private and not peer.address.is_global) or (len(sums) >= NETWORKS_MAX and network not in sums):
            passed_over += 1
            continue
        total_s, count = sums.get(network, (0.0, 0))
        sums[network] = (total_s + rtt_s, count + 1)
    samples = tuple(
        Sample(prefix=str(network), rtt_ms=round(total_s / count * 1e3, 3), count=min(count, COUNT_MAX))
        for network, (total_s, count) in sums.items()
    )
    return Look(region=region, samples=samples, passed_over=passed_over)


def tell(errand: Errand, seen: Look) -> None:
    """Hand over what was seen. Raises GtmError if it cannot be."""
    if errand.by_http:
        push(errand, seen)
        return
    text = json_text(seen) if errand.as_json else csv_text(seen)
    if errand.to is None:
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        replace(Path(errand.to), text)


def csv_text(seen: Look) -> str:
    """Lines of prefix,region,rtt,count under a header: a file that rtt.yaml can name."""
    lines = (f"{one.prefix},{seen.region},{one.rtt_ms},{one.count}" for one in seen.samples)
    return "\n".join(("prefix,region,rtt,count", *lines)) + "\n"


def json_text(seen: Look) -> str:
    """One line: the document that a node takes."""
    return json.dumps(document(seen.region, seen.samples)) + "\n"


def document(region: str, samples: Iterable[Sample]) -> dict[str, object]:
    """What a node takes."""
    entries = [{"prefix": one.prefix, "rtt_ms": one.rtt_ms, "count": one.count} for one in samples]
    return {"region": region, "samples": entries}


def replace(path: Path, text: str) -> None:
    """Put a text in a file's place: who reads it sees the old one or the new one. Raises GtmError."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                os.fchmod(file.fileno(), 0o644)
            Path(name).replace(path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise GtmError(f"{path}: {error.strerror or error}") from error


def push(errand: Errand, seen: Look) -> None:
    """Send it to a node, in as many requests as it takes. Raises GtmError for a token that cannot be read, or a node
    that cannot be reached or does not take it.
    """
    token = token_of(errand.token_file)
    for part in parts(seen.samples):
        send(str(errand.to), token, document(seen.region, part))


def parts(samples: tuple[Sample, ...]) -> Iterator[tuple[Sample, ...]]:
    """The samples in portions that one request carries."""
    for start in range(0, len(samples), REPORTED_MAX):
        yield samples[start : start + REPORTED_MAX]


def token_of(path: Path | None) -> str:
    """The token in a file, read anew each time, so that it can be changed. Raises GtmError."""
    if path is None:
        raise GtmError("no token: --token-file names the file that has it")
    try:
        token = path.read_text("ascii").strip()
    except OSError as error:
        raise GtmError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError:
        token = ""
    if not token or not token.isprintable() or " " in token:
        raise GtmError(f"{path}: is not a token (allowed: one line of ASCII without blanks)")
    return token


def send(node: str, token: str, body: dict[str, object]) -> None:
    """POST one document. Raises PeerError with what the node says if it does not take it."""
    request = urllib.request.Request(  # noqa: S310 - Errand lets http and https through only
        node.rstrip("/") + PUSH_PATH,
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        method="POST",
    )
    try:
        with _OPENER.open(request, timeout=ANSWER_S) as answer:
            answer.read(ANSWER_BYTES)
    except urllib.error.HTTPError as error:
        with error:
            raise PeerError(said(error), peer=node) from error
    except (OSError, HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        hint = "; is it HTTPS at all?" if isinstance(reason, ssl.SSLError) and "WRONG_VERSION" in str(reason) else ""
        raise PeerError(f"cannot be told: {reason}{hint}", peer=node) from error


def said(error: urllib.error.HTTPError) -> str:
    """A refusal in the node's words, where it has any."""
    why = {401: "the token is not the node's", 403: "the token is not the node's", 404: "this node takes no reports"}
    try:
        detail = json.loads(error.read(ANSWER_BYTES)).get("detail")
    except (OSError, ValueError, AttributeError, HTTPException):
        detail = None
    words = detail if isinstance(detail, str) and detail else why.get(error.code, error.reason)
    return f"HTTP {error.code}: {words}"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is not followed: the token is the node's, not that of whoever it points at."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Message,
        newurl: str,
    ) -> None:
        """None: not to be followed."""


# Straight to the node: a proxy that the environment names for other programs would see the token.
_OPENER = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))
