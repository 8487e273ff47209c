"""TLS for checks: contexts that verify, a sans-IO channel, and plain words for what fails."""

from __future__ import annotations

import os
import ssl
import time
from functools import lru_cache

from gtm.observe.outcome import ProbeFault, Reason

CONTEXTS_MAX = 64
_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which ssl does not name

# X509_V_ERR_* of OpenSSL's x509_vfy.h, which ssl hands out as verify_code.
_NOT_YET_VALID = 9
_EXPIRED = 10
_SELF_SIGNED = 18
_SELF_SIGNED_IN_CHAIN = 19
_NO_ISSUER = frozenset({2, 20, 21, 27})
_REVOKED = 23
_WRONG_NAME = frozenset({62, 63, 64})


class WrongTime(Exception):
    """The certificate, or one above it, has expired or is not valid yet: worth a second look at its dates."""


def context(ca_file: str | None, *, ignore_time: bool = False, alpn: tuple[str, ...] = ("http/1.1",)) -> ssl.SSLContext:
    """A verifying client context for the system's roots or those of `ca_file`; a replaced file is read again.

    `alpn` are the protocols that are offered (RFC 7301); none: the extension is not sent.
    Raises ProbeFault (ours) if the file cannot be used.
    """
    if ca_file is None:
        return _context(None, 0, 0, ignore_time, alpn)
    try:
        stat = os.stat(ca_file)  # noqa: PTH116 -- once per probe; Path would cost more than the call
        return _context(ca_file, stat.st_mtime_ns, stat.st_ino, ignore_time, alpn)
    except ssl.SSLError as error:
        raise ProbeFault(Reason.OURS, f"no certificates in the CA file {ca_file}") from error
    except OSError as error:
        raise ProbeFault(Reason.OURS, f"cannot read the CA file {ca_file}: {error.strerror}") from error


@lru_cache(maxsize=CONTEXTS_MAX)
def _context(
    ca_file: str | None,
    _mtime_ns: int,
    _inode: int,
    ignore_time: bool,  # noqa: FBT001
    alpn: tuple[str, ...],
) -> ssl.SSLContext:
    """Reading the roots takes some 20 ms, so contexts are shared."""
    made = ssl.create_default_context(cafile=ca_file)
    if alpn:
        made.set_alpn_protocols(list(alpn))
    if ignore_time:
        made.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
    return made


class TlsChannel:
    """One TLS connection without a socket: what comes in is fed, what must go out is taken.

    `handshake` and `read` return what there is, or None when more must come in first.
    """

    __slots__ = ("_incoming", "_name", "_object", "_outgoing")

    def __init__(self, tls_context: ssl.SSLContext, name: str) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._name = name
        try:
            self._object = tls_context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        except ValueError as error:
            raise ProbeFault(Reason.OURS, f"{name!r} cannot be asked for as a server name") from error

    def feed(self, data: bytes) -> None:
        """Take in what arrived; nothing means that the other side has closed."""
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def outgoing(self) -> bytes:
        """What must be sent now."""
        return self._outgoing.read()

    def handshake(self) -> bool:
        """Whether the handshake is complete and the certificate good. Raises ProbeFault or WrongTime."""
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLCertVerificationError as error:
            if error.verify_code in {_EXPIRED, _NOT_YET_VALID}:
                raise WrongTime(_certificate_words(error, self._name)) from error
            raise ProbeFault(Reason.TLS, _certificate_words(error, self._name)) from error
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
            raise ProbeFault(Reason.CLOSED, "connection closed in the TLS handshake") from error
        except ssl.SSLError as error:
            raise ProbeFault(Reason.TLS, _words(error)) from error
        return True

    def write(self, data: bytes) -> None:
        """Encrypt; take it with `outgoing`."""
        self._object.write(data)

    def read(self, size: int) -> bytes | None:
        """Up to `size` bytes of what was said; b"" at the end; None: more must come in. Raises ProbeFault."""
        try:
            return self._object.read(size)
        except ssl.SSLWantReadError:
            return None
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return b""  # many servers close without close_notify; framing says whether anything is missing
        except ssl.SSLError as error:
            raise ProbeFault(Reason.TLS, _words(error)) from error

    @property
    def alpn(self) -> str | None:
        """The protocol that was agreed on by ALPN (RFC 7301), after a handshake."""
        return self._object.selected_alpn_protocol()

    def dates(self) -> tuple[str, str]:
        """When the server's certificate begins and ends ("Jan  5 09:34:43 2018 GMT"), after a handshake."""
        certificate = self._object.getpeercert() or {}
        return str(certificate.get("notBefore", "")), str(certificate.get("notAfter", ""))


def date_words(begin: str, end: str) -> str:
    """What is wrong with a certificate that is valid from `begin` to `end`, both as ssl gives them."""
    now_s = time.time()
    if end and ssl.cert_time_to_seconds(end) < now_s:
        return f"certificate expired on {_day(end)}"
    if begin and ssl.cert_time_to_seconds(begin) > now_s:
        return f"certificate is not valid before {_day(begin)}"
    return "a certificate above the server's has expired or is not valid yet"


def ends_within(end: str, expires_s: float) -> str | None:
    """The words "certificate ends on DATE" if one that ends at `end`, as ssl gives it, does so within `expires_s`."""
    if not end or _seconds(end) > time.time() + expires_s:
        return None
    return f"certificate ends on {_day(end)}"


@lru_cache(maxsize=4096)
def _seconds(text: str) -> int:
    """Seconds since the epoch of a date as ssl gives it: read once for each certificate, it takes 20 us."""
    return ssl.cert_time_to_seconds(text)


def _day(text: str) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(ssl.cert_time_to_seconds(text)))


def _certificate_words(error: ssl.SSLCertVerificationError, name: str) -> str:
    match error.verify_code:
        case code if code == _EXPIRED:
            return "certificate expired"
        case code if code == _NOT_YET_VALID:
            return "certificate is not valid yet"
        case code if code == _SELF_SIGNED:
            return "certificate is self-signed"
        case code if code == _SELF_SIGNED_IN_CHAIN:
            return "certificate comes from a CA that is not trusted"
        case code if code in _NO_ISSUER:
            return "certificate comes from an unknown CA, or an intermediate is missing"
        case code if code == _REVOKED:
            return "certificate is revoked"
        case code if code in _WRONG_NAME:
            return f"certificate is not for {name}"
        case _:
            return f"certificate not accepted: {error.verify_message}"


def _words(error: ssl.SSLError) -> str:
    reason = (error.reason or "error").lower().replace("_", " ")
    if reason in {"wrong version number", "http request", "packet length too long", "record layer failure"}:
        return "no TLS on this port"
    return f"TLS: {reason}"
