from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from gtm.geo import tablefile
from gtm.geo.classify import classify
from gtm.geo.container import DamagedError
from gtm.geo.overrides import parse_overrides
from gtm.geo.space import build_space
from gtm.model.classes import ClassTable
from gtm.model.errors import StoreError
from tests.geo.databases import nested, networks, write


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ClassTable:
    records = {"1.0.0.0/8": nested("US", "CA"), "2.0.0.0/8": nested("JP"), "2600::/16": nested("US")}
    path = write(tmp_path_factory.mktemp("db") / "t.mmdb", records)
    rows = parse_overrides("network,country,asn\n1.2.3.128/25,,AS64500\n", "o.csv")
    space = build_space([path], rows)
    return classify(space, networks("1.2.3.0/26", "2600:1::/64"), lambda locus: locus, "a key")


def test_a_table_survives_its_file(table: ClassTable, tmp_path: Path) -> None:
    tablefile.save(tmp_path / "t.gtm", table)
    again = tablefile.load(tmp_path / "t.gtm", verify=True)
    assert (again.key, again.leaves, again.loci) == (table.key, table.leaves, table.loci)
    for part in ("leaves24", "pages", "starts6", "leaves6"):
        assert getattr(again, part) == getattr(table, part)
    assert again.find4(0x010203FF) == table.find4(0x010203FF)
    assert again.find6(0x2600_0001 << 96) == table.find6(0x2600_0001 << 96)
    assert [p.name for p in tmp_path.iterdir()] == ["t.gtm"], "nothing is left beside it"
    tablefile.save(tmp_path / "u.gtm", again)
    assert (tmp_path / "u.gtm").read_bytes() == (tmp_path / "t.gtm").read_bytes()


def test_a_mapped_table_outlives_its_replacement(table: ClassTable, tmp_path: Path) -> None:
    path = tmp_path / "t.gtm"
    tablefile.save(path, table)
    old = tablefile.load(path)
    tablefile.save(path, table)
    path.unlink()
    assert old.find4(0x01020304) == table.find4(0x01020304)
    with pytest.raises(FileNotFoundError):
        tablefile.load(path)


def test_a_file_cut_short_is_damaged(table: ClassTable, tmp_path: Path) -> None:
    path = tmp_path / "t.gtm"
    tablefile.save(path, table)
    size = path.stat().st_size
    for keep in (size - 64, size - 4096, size // 2, 5000, 1000, 100, 17, 16, 8, 1, 0):
        with path.open("r+b") as file:
            file.truncate(keep)
        with pytest.raises(DamagedError, match=r"t\.gtm"):
            tablefile.load(path)


def test_a_changed_header_is_damaged_and_changed_parts_are_found(table: ClassTable, tmp_path: Path) -> None:
    path = tmp_path / "t.gtm"
    tablefile.save(path, table)
    chance = random.Random(4)
    header = 16 + int.from_bytes(path.read_bytes()[8:12], "little")
    with path.open("r+b") as file:
        for where in (*range(16), *(chance.randrange(16, header) for _ in range(60))):
            file.seek(where)
            (byte,) = file.read(1)
            file.seek(where)
            file.write(bytes([byte ^ 1 << chance.randrange(8)]))
            file.flush()
            with pytest.raises(DamagedError):
                tablefile.load(path)
            file.seek(where)
            file.write(bytes([byte]))
            file.flush()
        tablefile.load(path, verify=True)
        file.seek(1 << 20)
        file.write(b"\xa5\x5a")
        file.flush()
        with pytest.raises(DamagedError, match="leaves24 is damaged"):
            tablefile.load(path, verify=True)


def test_other_files_are_told_from_tables(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("this is no table at all, but it is long enough\n")
    with pytest.raises(DamagedError, match="another kind or version"):
        tablefile.load(tmp_path / "text")
    with pytest.raises(StoreError):
        tablefile.load(tmp_path)


def test_a_table_that_cannot_be_written_says_so(table: ClassTable, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be written"):
        tablefile.save(tmp_path / "none" / "t.gtm", table)


def test_workers_load_without_numpy(table: ClassTable, tmp_path: Path) -> None:
    tablefile.save(tmp_path / "t.gtm", table)
    code = (
        "import sys; from pathlib import Path; from gtm.geo import tablefile;"
        "t = tablefile.load(Path(sys.argv[1])); print(t.find4(0x01020304));"
        "print([m for m in ('numpy', 'maxminddb', 'geoip2', 'pydantic', 'dns') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "t.gtm")]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=root)
    assert done.stdout.split("\n")[:2] == [str(table.find4(0x01020304)), "[]"]
