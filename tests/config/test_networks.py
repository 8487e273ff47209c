"""Lists of networks in files: what is read, and what is said of the rest."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from gtm.config.networks import FAULTS_MAX, read_networks
from gtm.model.errors import ConfigErrors


def test_networks_and_addresses_with_comments(tmp_path: Path) -> None:
    path = tmp_path / "deny"
    path.write_text("# bad\n198.51.100.0/24\n\n 192.0.2.7   ; one\n2001:db8::/32 # all\n198.51.100.0/24\n2001:db8::1\n")
    assert read_networks(path) == tuple(
        map(ip_network, ("198.51.100.0/24", "192.0.2.7/32", "2001:db8::/32", "2001:db8::1/128"))
    )


def test_each_line_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "deny"
    path.write_text("198.51.100.0/24\nexample.com\n192.0.2.7/24\n10.0.0.0/33\n")
    with pytest.raises(ConfigErrors) as caught:
        read_networks(path)
    assert [(error.line, error.message) for error in caught.value.errors] == [
        (2, "'example.com' is not a network"),
        (3, "192.0.2.7/24 has host bits; did you mean 192.0.2.0/24?"),
        (4, "'10.0.0.0/33' is not a network"),
    ]


def test_a_file_of_another_format_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "deny"
    path.write_text("x\n" * 1000)
    with pytest.raises(ConfigErrors) as caught:
        read_networks(path)
    assert len(caught.value.errors) == FAULTS_MAX


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match="deny: there is no such file"):
        read_networks(tmp_path / "deny")
