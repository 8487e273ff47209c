"""What goes wrong with etcd, in words, and what may be done about it."""

from __future__ import annotations

import os
import socket
import ssl

from gtm.model.errors import StoreError
from gtm.wire.etcd_answer import COMPACTED, NOT_FOUND, UNAUTHENTICATED, Failure

PERMISSION_DENIED = 7
RESOURCE_EXHAUSTED = 8
INVALID_ARGUMENT = 3
FAILED_PRECONDITION = 9


class Compacted(StoreError):
    """The revision that was asked for is compacted away, or of another history: everything must be read anew."""


class LeaseLost(StoreError):
    """The lease has ended, and with it its keys."""


class Unconfirmed(StoreError):
    """A change was sent and no answer came: etcd may have made it, or make it yet."""


class TokenRefused(StoreError):
    """The token is not valid (any more)."""


class TryNext(StoreError):
    """This endpoint does not serve just now; `maybe` if it may have done all the same what it was asked."""

    def __init__(self, message: str, *, maybe: bool) -> None:
        super().__init__(message)
        self.maybe = maybe


def refusal(failure: Failure, *, user: str | None) -> StoreError:
    """What an etcd's refusal means."""
    said = failure.message.rpartition(" desc = ")[2].removeprefix("etcdserver: ").removeprefix("mvcc: ")
    if failure.code == UNAUTHENTICATED or "auth store is old" in said or "invalid auth token" in said:
        return TokenRefused(said)
    if failure.code == COMPACTED:
        return Compacted(said)
    if failure.code == NOT_FOUND and "lease" in said:
        return LeaseLost(said)
    if failure.code == PERMISSION_DENIED:
        return StoreError(f"the user {user or '(none)'} may not do this: {said}")
    if "user name is empty" in said:
        return StoreError("it asks who we are: etcd.user and etcd.password_file are needed")
    if failure.code == RESOURCE_EXHAUSTED:
        return StoreError(f"it takes no more: {said}")
    if failure.code in (INVALID_ARGUMENT, FAILED_PRECONDITION):
        return StoreError(said)
    return TryNext(said or f"code {failure.code}", maybe="no leader" not in said)


def unspoken(status: int, body: bytes) -> StoreError:
    """What an answer means that is not in the words of etcd's own faults."""
    if b"CommonName" in body:  # its gateway, since 3.4.0, where users are required
        return StoreError("etcd: with users it takes no client certificate that has a CommonName; use one without")
    return TryNext(f"status {status}, and not in the words of etcd", maybe=True)


def words(error: BaseException) -> str:
    """Why a connection failed: what lies deepest and says something."""
    said = ""
    seen: BaseException | None = error
    while seen is not None:
        match seen:
            case ssl.SSLCertVerificationError():
                return f"its certificate is not trusted: {seen.verify_message}"
            case ssl.SSLError():
                return f"TLS: {(seen.reason or str(seen)).lower().replace('_', ' ')}"
            case socket.gaierror(strerror=str() as strerror):
                return strerror.lower()
            case OSError(errno=int() as number):
                return os.strerror(number).lower()
        said = str(seen) or said
        seen = seen.__cause__ or seen.__context__
    return said.lower() or type(error).__name__
