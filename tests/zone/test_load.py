"""Folders of master files: every fault with file and line, includes, reloads, and what is strange but served."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from gtm.model.errors import ConfigErrors
from gtm.model.zone import Zone
from gtm.wire import name
from gtm.zone.load import Loaded, load_zones, zone_name

HEAD = "$TTL 300\n@ IN SOA ns h 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n"


def load(folder: Path, text: str, **more: str) -> Loaded:
    (folder / "z.test.zone").write_text(text)
    for file, content in more.items():
        (folder / file).write_text(content)
    return load_zones({"z.test.": str(folder / "z.test.zone")}, folder=str(folder))


def faults(folder: Path, text: str) -> list[tuple[int | None, str]]:
    with pytest.raises(ConfigErrors) as caught:
        load(folder, text)
    assert {error.file for error in caught.value.errors} == {str(folder / "z.test.zone")}
    return [(error.line, error.message) for error in caught.value.errors]


def rdatas(zone: Zone, owner: str, rtype: int) -> tuple[bytes, ...]:
    return zone.nodes[name.parse(owner)][rtype].rdatas


@pytest.mark.parametrize(
    ("file", "zone"),
    [
        ("lb.example.com.zone", "lb.example.com."),
        ("zones/LB.Example.zone", "lb.example."),
        ("@.zone", "."),
        ("a.zone", "a."),
        (".zone", None),
        ("a.yaml", None),
        ("zone", None),
    ],
)
def test_zone_name(file: str, zone: str | None) -> None:
    assert zone_name(file) == zone


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a A 1.2.3", "bad A data '1.2.3'"),
        ("a AAAA 1.2.3.4", "bad AAAA data '1.2.3.4'"),
        ("a A 1.2.3.4 5", "bad A data '1.2.3.4 5': expected EOL"),
        ("a MX mail", "bad MX data"),
        ("a MX 70000 mail", "bad MX data"),
        ("a NOSUCHTYPE x", "unknown record type 'NOSUCHTYPE'"),
        ("a AXFR x", "for messages"),
        ("a CH TXT x", "class CH is not served"),
        ("a", "record type is missing"),
        ("a 300", "record type is missing"),
        ("a 99999999999 A 1.2.3.4", "TTL 99999999999 is larger"),
        ("a " + "9" * 5000 + " A 1.2.3.4", "is larger"),
        ("a MX " + "9" * 5000 + " b", "bad MX data"),
        ("a TYPE" + "9" * 5000 + " b", "unknown record type"),
        ("$TTL " + "9" * 5000, "is larger"),
        ('a TXT "open', "not closed"),
        ("a TXT ( x", "never closed"),
        ("a TXT x )", "without an opening"),
        ("a..b A 1.2.3.4", "empty label"),
        ("a" * 64 + " A 1.2.3.4", "longer than 63"),
        ('"a" A 1.2.3.4', "quoted"),
        ("é A 1.2.3.4", "not ASCII"),
        ("a.other. A 1.2.3.4", "outside of the zone"),
        ("$FOO bar", "unknown directive $FOO"),
        ("$TTL", "wrong number of words"),
        ("$TTL x", "not a TTL"),
        ("$ORIGIN a..b", "empty label"),
        ("$INCLUDE ../secret", "leads out of the zones folder"),
        ("$INCLUDE /etc/passwd", "leads out of the zones folder"),
        ("$GENERATE 3-1 a$ A 192.0.2.$", "range must count up"),
        ("$GENERATE 1-99999999 a$ A 192.0.2.$", "range must count up"),
        ("$GENERATE x a$ A 192.0.2.$", "wants RANGE"),
        ("$GENERATE 255-256 a$ A 192.0.2.$", "bad A data '192.0.2.256'"),
        ("a CNAME b\na A 1.2.3.4", "CNAME and other data"),
        ("a CNAME b\na CNAME c", "more than one CNAME"),
        ("a DNAME b\na DNAME c", "more than one DNAME"),
        ("a DNAME b\nx.a A 1.2.3.4", "below the DNAME"),
        ("a SOA ns h 1 2 3 4 5", "not at the apex"),
        ("@ SOA ns h 2 2 3 4 5", "more than one SOA"),
        ("@ CNAME b", "CNAME and other data"),
    ],
)
def test_faults(tmp_path: Path, line: str, message: str) -> None:
    found = faults(tmp_path, HEAD + line + "\n")
    assert any(message in text for _, text in found), found
    assert all(where is not None for where, _ in found)


def test_every_fault_of_every_file_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.test.zone").write_text(HEAD + "x A 1\n\ny ( A\n 2 )\nz A 192.0.2.1\n")
    (tmp_path / "b.test.zone").write_text("@ 1 IN NS ns.c.\n")
    files = {f"{zone}.test.": str(tmp_path / f"{zone}.test.zone") for zone in "abc"}
    with pytest.raises(ConfigErrors) as caught:
        load_zones({**files, "bad..name.": "x.zone"})
    told = [(Path(error.file).name, error.line) for error in caught.value.errors]
    assert told == [
        ("a.test.zone", 5),
        ("a.test.zone", 7),
        ("b.test.zone", None),
        ("c.test.zone", None),
        ("x.zone", None),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "has no SOA"), ("@ 1 IN SOA ns h 1 2 3 4 5\n", "has no NS"), ("  A 1.2.3.4\n", "no owner")],
)
def test_faults_of_the_zone_as_a_whole(tmp_path: Path, text: str, message: str) -> None:
    assert any(message in told for _, told in faults(tmp_path, text))


def test_not_utf_8(tmp_path: Path) -> None:
    (tmp_path / "z.test.zone").write_bytes(HEAD.encode() + b"a TXT \xff\n")
    with pytest.raises(ConfigErrors, match=r"z\.test\.zone:5: is not UTF-8"):
        load_zones({"z.test.": str(tmp_path / "z.test.zone")})


def test_soa_of_another_zone(tmp_path: Path) -> None:
    found = faults(tmp_path, "$ORIGIN other.test.\n" + HEAD)
    assert any("outside of the zone z.test." in message for _, message in found)


@pytest.mark.parametrize(
    ("lines", "doubts"),
    [
        ("a 1 A 1.2.3.4\na 2 A 1.2.3.5", ["TTLs of a.z.test. A differ: the least one is used"]),
        ("d NS ns.d", ["name server ns.d.z.test. has no address in the zone"]),
        ("d NS al\nal CNAME ns", []),
        ("@ NS al\nal CNAME ns", ["name server al.z.test. is an alias"]),
        ("d NS ns.d\nns.d A 1.2.3.4\nx.d TXT x", ["x.d.z.test. is hidden below d.z.test."]),
        ("d NS ns.d\nns.d A 1.2.3.4", []),
        ("d DS 1 8 1 0123456789ABCDEF0123456789ABCDEF01234567", ["d.z.test. has a DS but is not delegated"]),
    ],
)
def test_doubts(tmp_path: Path, lines: str, doubts: list[str]) -> None:
    assert [doubt.message for doubt in load(tmp_path, HEAD + lines + "\n").doubts] == doubts


def test_a_doubt_says_where(tmp_path: Path) -> None:
    (doubt,) = load(tmp_path, HEAD + "d NS ns.d\n").doubts
    assert str(doubt) == f"{tmp_path / 'z.test.zone'}:5: warning: name server ns.d.z.test. has no address in the zone"


def test_least_ttl_and_no_duplicates(tmp_path: Path) -> None:
    zone = load(
        tmp_path, HEAD + "a 60 A 1.2.3.4\nA 30 A 1.2.3.5\na 90 A 1.2.3.4\nm MX 65 X\nm MX 65 x\nm MX 97 x\n"
    ).zones[0]
    node = zone.nodes[name.parse("a.z.test.")][1]
    assert (node.ttl_s, node.rdatas) == (30, (b"\1\2\3\4", b"\1\2\3\5"))
    assert len(rdatas(zone, "m.z.test.", 15)) == 2


def test_include(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "inner.inc").write_text("$TTL 9\nx A 1.2.3.4\n$INCLUDE leaf.inc leaf\ny A 1.2.3.5\n")
    (tmp_path / "sub" / "leaf.inc").write_text("@ A 1.2.3.6\n")
    zone = load(tmp_path, HEAD + "o A 1.1.1.1\n$INCLUDE sub/inner.inc in\n TXT still-o\n").zones[0]
    assert rdatas(zone, "x.in.z.test.", 1) == (b"\1\2\3\4",)
    assert rdatas(zone, "leaf.in.z.test.", 1) == (b"\1\2\3\6",)
    assert rdatas(zone, "y.in.z.test.", 1) == (b"\1\2\3\5",)
    assert rdatas(zone, "o.z.test.", 16) == (b"\x07still-o",)


def test_faults_in_an_included_file(tmp_path: Path) -> None:
    (tmp_path / "z.test.zone").write_text(HEAD + "$INCLUDE bad.inc\n$INCLUDE missing.inc\n$INCLUDE z.test.zone\n")
    (tmp_path / "bad.inc").write_text("\nx A 1\n")
    with pytest.raises(ConfigErrors) as caught:
        load_zones({"z.test.": str(tmp_path / "z.test.zone")})
    told = {(Path(error.file).name, error.line, error.message.split(":")[0]) for error in caught.value.errors}
    assert ("bad.inc", 2, "bad A data '1'") in told
    assert ("z.test.zone", 6, "$INCLUDE missing.inc cannot be read") in told
    assert any("nested deeper" in message for _, _, message in told)


def test_generate(tmp_path: Path) -> None:
    text = "$GENERATE 1-5/2 h$ A 192.0.2.$\n$GENERATE 10-11 ${-10,3,d} 60 IN TXT x${0,4,x}-$$\n"
    text += "$GENERATE 27-27 ${0,3,n} PTR a\n"
    zone = load(tmp_path, HEAD + text).zones[0]
    assert [rdatas(zone, f"h{i}.z.test.", 1) for i in (1, 3, 5)] == [(bytes((192, 0, 2, i)),) for i in (1, 3, 5)]
    assert b"\2h2\1z\4test\0" not in zone.nodes
    assert rdatas(zone, "000.z.test.", 16) == (b"\7x000a-$",)
    assert rdatas(zone, "001.z.test.", 16) == (b"\7x000b-$",)
    assert rdatas(zone, "b.1.z.test.", 12) == (name.parse("a.z.test."),)


@pytest.mark.parametrize(
    ("text", "ttl_s"),
    [
        ("@ 50 IN SOA ns h 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n", 50),
        ("@ IN SOA ns h 1 2 3 4 7\n@ NS ns\nns A 192.0.2.1\n", 7),
        ("$TTL 9\n@ 50 IN SOA ns h 1 2 3 4 5\n@ 60 NS ns\nns A 192.0.2.1\n", 9),
        ("@ 50 IN SOA ns h 1 2 3 4 5\n@ IN 1h NS ns\nns A 192.0.2.1\n", 3600),
    ],
)
def test_where_a_ttl_comes_from(tmp_path: Path, text: str, ttl_s: int) -> None:
    assert load(tmp_path, text).zones[0].nodes[name.parse("ns.z.test.")][1].ttl_s == ttl_s


def write(folder: Path, zones: Mapping[str, str]) -> dict[str, str]:
    for zone, text in zones.items():
        (folder / f"{zone}zone").write_text(text)
    return {zone: str(folder / f"{zone}zone") for zone in zones}


def test_reload_takes_over_what_has_not_changed(tmp_path: Path) -> None:
    (tmp_path / "inc").write_text("i A 1.1.1.1\n")
    files = write(tmp_path, {"a.": HEAD, "b.": HEAD, "c.": HEAD + "$INCLUDE inc\n"})
    first = load_zones(files)
    (tmp_path / "b.zone").write_text(HEAD + "new A 1.2.3.4\n")
    (tmp_path / "inc").write_text("i A 2.2.2.2\n")
    second = load_zones(files, previous=first)
    assert second.sources["a."] is first.sources["a."]
    assert name.parse("new.b.") in second.sources["b."].zone.nodes
    assert rdatas(second.sources["c."].zone, "i.c.", 1) == (b"\2\2\2\2",)
    assert [zone.origin for zone in second.zones] == [b"\1a\0", b"\1b\0", b"\1c\0"]
    (tmp_path / "a.zone").unlink()
    with pytest.raises(ConfigErrors, match="cannot be read"):
        load_zones(files, previous=second)


def test_a_folder_of_many_zones(tmp_path: Path) -> None:
    files = write(tmp_path, {f"z{number}.example.": HEAD for number in range(500)})
    assert len(load_zones(files).zones) == 500
