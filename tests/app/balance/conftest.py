from __future__ import annotations

from tests.dataplane.conftest import built

__all__ = ["built"]  # the programs
