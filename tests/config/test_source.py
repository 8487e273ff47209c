from __future__ import annotations

import os
from pathlib import Path

import pytest

from gtm.config.source import SIZE_MAX_BYTES, read
from gtm.model.errors import ConfigError
from tests.config.folders import GOOD, said, write


@pytest.mark.parametrize(
    ("data", "line", "message"),
    [
        (b"node: a\nnsid: \xff\n", 2, "byte 0xff is not UTF-8 text"),
        (b"node: \xc3\n", 1, "byte 0xc3 is not UTF-8 text"),
        (b"\xff\xfen\x00o\x00", 1, "byte 0xff is not UTF-8 text"),
        (b"node: a\n\nnsid: \x00\n", 3, "control character U+0000"),
        (b"node: \x1b[31m\n", 1, "control character U+001B"),
        (b"node: \xef\xbf\xbe\n", 1, "control character U+FFFE"),
    ],
)
def test_bytes_that_are_no_text_are_located(tmp_path: Path, data: bytes, line: int, message: str) -> None:
    assert said(write(tmp_path, {**GOOD, "gtm.yaml": data})).startswith(f"gtm.yaml:{line}: {message}")


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    files = {name: b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode() for name, text in GOOD.items()}
    assert said(write(tmp_path, files)) == "ok\n"


def test_a_missing_file_is_none(tmp_path: Path) -> None:
    assert read(tmp_path / "none") is None
    assert read(tmp_path / "none" / "none") is None


def test_what_is_no_file_is_an_error_and_does_not_block(tmp_path: Path) -> None:
    write(tmp_path, {name: text for name, text in GOOD.items() if name != "gtm.yaml"})
    os.mkfifo(tmp_path / "gtm.yaml")
    assert said(tmp_path) == "gtm.yaml: is not a regular file\n"
    (tmp_path / "gtm.yaml").unlink()
    (tmp_path / "gtm.yaml").mkdir()
    assert said(tmp_path) == "gtm.yaml: is not a regular file\n"
    (tmp_path / "gtm.yaml").rmdir()
    (tmp_path / "gtm.yaml").symlink_to("nowhere")
    assert said(tmp_path) == "gtm.yaml: is a link to a file that does not exist\n"
    (tmp_path / "gtm.yaml").unlink()
    (tmp_path / "gtm.yaml").symlink_to("gtm.yaml")
    assert said(tmp_path).startswith("gtm.yaml: cannot be read: ")


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "big").open("wb") as file:
        file.truncate(SIZE_MAX_BYTES + 1)
    with pytest.raises(ConfigError, match="too large"):
        read(tmp_path / "big")


def test_master_files_that_are_none(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    (tmp_path / "zones/sub.example.zone").mkdir()
    os.mkfifo(tmp_path / "zones/pipe.example.zone")
    assert said(tmp_path) == (
        "zones/pipe.example.zone: is not a regular file\nzones/sub.example.zone: is not a regular file\n"
    )


@pytest.mark.parametrize("name", ["none", "gtm.yaml", "a\0b", "x" * 5000])
def test_a_folder_that_is_none(tmp_path: Path, name: str) -> None:
    write(tmp_path, GOOD)
    assert "is not a folder" in said(tmp_path / name)


def test_an_unreadable_folder_of_zones(tmp_path: Path) -> None:
    (tmp_path / "zones").write_text("not a folder")
    assert said(tmp_path) == "zones: cannot be read: Not a directory\n"
