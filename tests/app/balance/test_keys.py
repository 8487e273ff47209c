from __future__ import annotations

from pathlib import Path

import pytest

from gtm.app.balance.keys import Keys, read_secret
from gtm.model.balance import Secret
from gtm.model.errors import GtmError

TEXT = b"0123456789abcdef0123456789abcdef"


def test_from_a_file_or_the_environment(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(TEXT + b"\n")
    from_file = read_secret(Secret(file="secret"), tmp_path, {})
    assert from_file == read_secret(Secret(env="LB"), tmp_path, {"LB": TEXT.decode()}) == TEXT
    one, other = Keys.of(from_file), Keys.of(from_file + b"x")
    assert one == Keys.of(TEXT)
    assert len({one.maglev, one.sync, other.maglev, other.sync}) == 4
    assert one.seed != other.seed
    assert all(0 <= word < 1 << 64 for word in one.seed)


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        (Secret(file="absent"), r"absent: No such file or directory"),
        (Secret(file="short"), r"a secret of 5 octets; at least 16"),
        (Secret(env="LB"), r"the environment's LB: a secret of 0 octets"),
    ],
)
def test_what_is_no_secret(tmp_path: Path, secret: Secret, message: str) -> None:
    (tmp_path / "short").write_bytes(b"short\n")
    with pytest.raises(GtmError, match=message):
        read_secret(secret, tmp_path, {})
