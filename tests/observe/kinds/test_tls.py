"""TLS handshakes with real servers: each bad certificate has words of its own."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from gtm.model.check import HttpProbe, HttpVersion, Tls, TlsProbe
from gtm.observe.outcome import Outcome, Reason
from tests.observe.kinds.asked import HERE, LONG_S, SHORT_S, asked, run, shown
from tests.observe.peers import DAY, NOW, Authority, says_and_waits, serving, unused_port

NAME = "www.example.com"
SOON = NOW + 10 * DAY


async def met(authority: Authority, settings: Tls, **certificate: object) -> Outcome:
    names = certificate.pop("names", (NAME,))
    context = authority.server(*names, **certificate)  # type: ignore[misc,arg-type]
    async with serving(says_and_waits(), address=HERE, tls=context, head=False) as peer:
        return await asked(TlsProbe(port=peer.port, tls=settings))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_a_good_certificate(authority: Authority) -> None:
    outcome = run(met(authority, Tls(server_name=NAME, ca_file=authority.ca_file)))
    assert shown(outcome) == (Reason.OK, "TLS handshake in N ms")
    assert outcome.poor is None
    assert outcome.phases.connect_s is not None
    assert outcome.phases.tls_s is not None
    assert outcome.phases.first_byte_s is None


def test_without_a_name_the_address_must_be_in_the_certificate(authority: Authority) -> None:
    assert run(met(authority, Tls(ca_file=authority.ca_file), names=(HERE,))).ok
    assert shown(run(met(authority, Tls(ca_file=authority.ca_file)))) == (
        Reason.TLS,
        f"certificate is not for {HERE}",
    )


def test_expired_self_signed_and_wrong_name_are_told_apart(authority: Authority) -> None:
    settings = Tls(server_name=NAME, ca_file=authority.ca_file)
    end = NOW - DAY
    said = [
        run(met(authority, settings, begin=end - DAY, end=end)),
        run(met(authority, settings, begin=NOW + DAY, end=NOW + 2 * DAY)),
        run(met(authority, settings, self_signed=True)),
        run(met(authority, settings, names=("other.example.com",))),
        run(met(authority, Tls(server_name=NAME))),
    ]
    assert [outcome.detail for outcome in said] == [
        f"certificate expired on {end:%Y-%m-%d}",
        f"certificate is not valid before {NOW + DAY:%Y-%m-%d}",
        "certificate is self-signed",
        f"certificate is not for {NAME}",
        "certificate comes from an unknown CA, or an intermediate is missing",
    ]
    assert {outcome.reason for outcome in said} == {Reason.TLS}


@pytest.mark.parametrize(("days", "poor"), [(9, None), (11, f"certificate ends on {SOON:%Y-%m-%d}")])
def test_a_certificate_near_its_end_is_good_and_poor(authority: Authority, days: int, poor: str | None) -> None:
    outcome = run(met(authority, Tls(server_name=NAME, ca_file=authority.ca_file, expires_s=days * 86400), end=SOON))
    assert (outcome.ok, outcome.poor) == (True, poor)


def test_http2_over_a_certificate_near_its_end(authority: Authority) -> None:
    """The same settings count for every kind that uses TLS; here the server speaks no HTTP/2."""

    async def go() -> Outcome:
        async with serving(says_and_waits(), address=HERE, tls=authority.server(NAME), head=False) as peer:
            tls = Tls(server_name=NAME, ca_file=authority.ca_file)
            return await asked(HttpProbe(port=peer.port, version=HttpVersion.HTTP_2, tls=tls))

    assert shown(run(go())) == (Reason.PROTOCOL, "the server does not offer HTTP/2 (ALPN)")


def test_no_tls_nobody_and_silence() -> None:
    async def go() -> list[Outcome]:
        async with (
            serving(says_and_waits(b"220 mail.example.com\r\n"), address=HERE, head=False) as plain,
            serving(says_and_waits(), address=HERE, head=False) as silent,
        ):
            return list(
                await asyncio.gather(
                    asked(TlsProbe(port=plain.port), timeout_s=LONG_S),
                    asked(TlsProbe(port=unused_port(HERE)), timeout_s=LONG_S),
                    asked(TlsProbe(port=silent.port), timeout_s=SHORT_S),
                )
            )

    plain, nobody, silent = run(go())
    assert shown(plain) == (Reason.TLS, "no TLS on this port")
    assert shown(nobody) == (Reason.REFUSED, "connection refused")
    assert re.fullmatch(r"timeout after 0.5 s while in the TLS handshake", silent.detail)
