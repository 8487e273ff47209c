from __future__ import annotations

import json
import os
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path

import pytest

from gtm.app.announce.vrps import Validator, read_export
from gtm.decide.announce.rpki import Validity
from gtm.model.anycast import Guard, Neighbour, RpkiMode, Service, Speaker
from gtm.model.errors import StoreError

NOW_S = 1_800_000_000.0
V4, V6 = ip_network("203.0.113.0/24"), ip_network("2001:db8:61::/48")
SPEAKER = Speaker(
    node="edge1",
    region="us-east",
    asn=64496,
    router_id=IPv4Address("192.0.2.1"),
    neighbours=(
        Neighbour(
            name="transit",
            address=IPv6Address("2001:db8::1"),
            local_address=IPv6Address("2001:db8::2"),
            asn=64500,
            local_asn=64496,
            next_hops={},
        ),
    ),
)
SERVICE = Service(name="web", prefixes=(V4, V6), regions=("us-east",), local={}, treatments={}, providers={})
GUARD = Guard(rpki=RpkiMode.REFUSE, vrps="rpki/export.json", vrps_age_max_s=3600.0)
RPKI_CLIENT = {
    "metadata": {"buildtime": "2027-01-15T08:00:00Z", "vrps": 2},
    "roas": [
        {"asn": 64496, "prefix": "203.0.113.0/24", "maxLength": 24, "ta": "ripe", "expires": 1800090000},
        {"asn": 64511, "prefix": "2001:db8::/32", "maxLength": 48, "ta": "ripe", "expires": 1800090000},
    ],
}
ROUTINATOR = {
    "metadata": {"generated": 1800000000, "generatedTime": "2027-01-15T08:00:00Z"},
    "roas": [{"asn": "AS64496", "prefix": "203.0.113.0/24", "maxLength": 24, "ta": "ripe"}],
}


def write(folder: Path, document: object) -> Path:
    path = folder / "rpki" / "export.json"
    path.parent.mkdir(exist_ok=True)
    aside = path.with_suffix(".new")
    aside.write_text(document if isinstance(document, str) else json.dumps(document))
    aside.replace(path)
    return path


def test_both_forms_are_read(tmp_path: Path) -> None:
    client = read_export(write(tmp_path, RPKI_CLIENT))
    assert (client.vrps.count, client.at_s) == (2, NOW_S)
    routinator = read_export(write(tmp_path, ROUTINATOR))
    assert (routinator.vrps.count, routinator.at_s) == (1, NOW_S)


def test_without_metadata_the_time_of_the_file_counts(tmp_path: Path) -> None:
    path = write(tmp_path, {"roas": ROUTINATOR["roas"]})
    os.utime(path, (NOW_S - 7, NOW_S - 7))
    assert read_export(path).at_s == NOW_S - 7


def test_what_the_verdicts_are(tmp_path: Path) -> None:
    write(tmp_path, RPKI_CLIENT)
    validator = Validator(GUARD, tmp_path)
    assert validator.verdicts(SPEAKER, SERVICE, NOW_S) == {}
    assert validator.look()
    assert not validator.look()
    assert validator.verdicts(SPEAKER, SERVICE, NOW_S) == {V4: Validity.VALID, V6: Validity.INVALID}
    assert validator.covering(SPEAKER, SERVICE, NOW_S)[V6] == ("2001:db8::/32 up to /48 by AS64511",)
    assert validator.problem(NOW_S) is None


def test_a_new_file_is_taken_and_a_broken_one_is_not(tmp_path: Path) -> None:
    validator = Validator(GUARD, tmp_path)
    assert validator.look()
    assert "no such file" in str(validator.problem(NOW_S))
    write(tmp_path, RPKI_CLIENT)
    assert validator.look()
    write(tmp_path, '{"roas": [')
    assert validator.look()
    assert validator.verdicts(SPEAKER, SERVICE, NOW_S)[V6] is Validity.INVALID
    assert "is not JSON" in str(validator.problem(NOW_S))
    write(tmp_path, ROUTINATOR)
    assert validator.look()
    assert validator.verdicts(SPEAKER, SERVICE, NOW_S)[V6] is Validity.NOT_FOUND
    assert validator.problem(NOW_S) is None


def test_what_is_too_old_or_of_the_future_says_nothing(tmp_path: Path) -> None:
    write(tmp_path, RPKI_CLIENT)
    validator = Validator(GUARD, tmp_path)
    validator.look()
    assert validator.verdicts(SPEAKER, SERVICE, NOW_S + 3600)
    assert validator.verdicts(SPEAKER, SERVICE, NOW_S + 3601) == {}
    assert "is 60 min old (at most 60 min): not asked" in str(validator.problem(NOW_S + 3601))
    assert validator.verdicts(SPEAKER, SERVICE, NOW_S - 301) == {}
    assert "was made 5 min from now" in str(validator.problem(NOW_S - 301))


def test_where_it_is_off_nothing_is_read(tmp_path: Path) -> None:
    for guard in (replace(GUARD, rpki=RpkiMode.OFF), replace(GUARD, vrps=None)):
        validator = Validator(guard, tmp_path)
        assert not validator.look()
        assert validator.problem(NOW_S) is None
        assert validator.verdicts(SPEAKER, SERVICE, NOW_S) == {}


ROW = {"asn": "AS64496", "prefix": "203.0.113.0/24", "maxLength": 24}


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ("[]", "it has no list `roas`"),
        ({"roas": {}}, "it has no list `roas`"),
        ({"roas": []}, "has no VRP at all"),
        ("[" * 200_000, "is not JSON"),
        ({"roas": [ROW, {"asn": 1}]}, r"roas\[1\] has not all of prefix, maxLength and asn"),
        ({"roas": [7]}, r"roas\[0\] has not all of"),
        ({"roas": [{**ROW, "asn": "ASX"}]}, r"roas\[0\]: 'ASX' is not an AS number"),
        ({"roas": [{**ROW, "asn": True}]}, r"roas\[0\]: True is not an AS number"),
        ({"roas": [{**ROW, "asn": 1 << 32}]}, "by AS4294967296 is not a VRP"),
        ({"roas": [{**ROW, "maxLength": "24"}]}, "is not a prefix and a length"),
        ({"roas": [{**ROW, "maxLength": 23}]}, "up to /23 by AS64496 is not a VRP"),
        ({"roas": [{**ROW, "prefix": "203.0.113.1/24"}]}, "has host bits set"),
        ({"roas": [ROW], "metadata": {"buildtime": "yesterday"}}, "metadata.buildtime: 'yesterday' is no time"),
        ('{"roas": [' + json.dumps(ROW) + '], "metadata": {"generated": Infinity}}', "generated: inf is no time"),
    ],
)
def test_what_is_no_export_is_refused_in_words(tmp_path: Path, document: object, why: str) -> None:
    path = write(tmp_path, document)
    with pytest.raises(StoreError, match=f"export.json: .*{why}"):
        read_export(path)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    with path.open("wb") as file:
        file.truncate(600 * 1024 * 1024)  # sparse
    with pytest.raises(StoreError, match="octets are too many"):
        read_export(path)
